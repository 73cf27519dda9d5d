"""The paper's benchmarks as data: their words, and each encoder's settings (`benchmarks.toml`)."""

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from napari_cliper.annotation.class_list import ClassEntry, ClassList
from napari_cliper.errors import NapariCliperError
from napari_cliper.models.schema import ClipEncoder, Preset, Setting

FILE = Path(__file__).with_name("benchmarks.toml")
IMAGENET = "imagenet"


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Benchmark(_Data):
    """One benchmark of the paper's Table 1.

    Attributes
    ----------
    title : str
    column : str
        What the paper's tables call it.
    vocabulary : str
    background : bool
        Whether what is none of the classes counts as a class; else such pixels do not count.
    """

    title: str
    column: str
    vocabulary: str
    background: bool


class Vocabulary(_Data):
    """The words of a benchmark.

    Attributes
    ----------
    background : tuple of str
        Words for what is none of the classes.
    classes : tuple of str
        "name = what is asked", or a name that is asked as it is; in the order of the labels.
    """

    background: tuple[str, ...]
    classes: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """What each class is called in tables."""
        return tuple(text.partition(" = ")[0] for text in self.classes)

    @property
    def prompts(self) -> tuple[str, ...]:
        """What is asked for each class."""
        return tuple(text.rpartition(" = ")[2] for text in self.classes)


class Setup(_Data):
    """How the reference implementation runs an encoder on a benchmark.

    Attributes
    ----------
    templates : str
        A key of the file's templates, or "imagenet" for open_clip's own list.
    settings : mapping
        Fields of `cliper.Settings`.
    """

    templates: str
    settings: dict[str, Setting]


class _File(_Data):
    benchmarks: dict[str, Benchmark]
    encoders: dict[str, dict[str, Setup]]
    templates: dict[str, tuple[str, ...]]
    vocabularies: dict[str, Vocabulary]


@cache
def _file() -> _File:
    return _File.model_validate(tomllib.loads(FILE.read_text(encoding="utf-8")))


def load_benchmarks() -> Mapping[str, Benchmark]:
    """All benchmarks by name."""
    return _file().benchmarks


def get_benchmark(name: str) -> Benchmark:
    """A benchmark by its name.

    Raises
    ------
    NapariCliperError
        There is no such benchmark.
    """
    known = load_benchmarks()
    if name not in known:
        raise NapariCliperError(f"There is no benchmark “{name}”: choose {', '.join(known)}.")
    return known[name]


def vocabulary_of(name: str) -> Vocabulary:
    """The words of a benchmark."""
    return _file().vocabularies[get_benchmark(name).vocabulary]


def architecture_of(preset: Preset) -> str:
    """What a preset's encoder is called in the file: without “-quickgelu”."""
    return preset.encoder.architecture.removesuffix("-quickgelu")


def setup_of(name: str, preset: Preset) -> Setup | None:
    """How the reference implementation runs a preset's encoder here; None if it is not known."""
    if not isinstance(preset.encoder, ClipEncoder):
        return None
    return _file().encoders.get(architecture_of(preset), {}).get(name)


def asked(name: str, setup: Setup | None) -> ClassList:
    """The class list that a benchmark's pictures are compared with; ids as its labels, from 1.

    Templates are the preset's own where no setup is known.
    """
    words = vocabulary_of(name)
    entries = []
    for id_, prompt in enumerate(words.prompts, 1):
        first, *synonyms = prompt.split(", ")
        entries.append(ClassEntry(id=id_, name=first, synonyms=tuple(synonyms)))
    templates = None if setup is None else _templates(setup.templates)
    return ClassList(classes=tuple(entries), background=words.background, templates=templates)


def _templates(key: str) -> tuple[str, ...]:
    """A list of templates; open_clip's are functions, here made into sentences with a gap."""
    if key != IMAGENET:
        return _file().templates[key]
    from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES

    return tuple(template("{}") for template in OPENAI_IMAGENET_TEMPLATES)
