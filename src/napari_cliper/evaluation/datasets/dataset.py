"""What is evaluated: pictures with their true labels, whatever layout they come in."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_cliper.annotation.class_list import ClassEntry, ClassList
from napari_cliper.errors import NapariCliperError
from napari_cliper.evaluation.datasets.sizes import Size, stored_size, upright_size
from napari_cliper.files.pictures import explained, read_picture
from napari_cliper.files.review import SUFFIXES

IGNORED = 65535  # in truth: this pixel does not count

Labels = NDArray[np.uint16]


def unknown() -> None:
    """The size of a truth that only reading tells."""


@dataclass(frozen=True)
class Sample:
    """One picture and where its truth comes from.

    Attributes
    ----------
    name : str
        The picture's file name without its ending; different within a data set.
    picture : Path
    truth : callable
        Reads (H, W) uint16: 0 what is none of the classes, i + 1 the i-th class, `IGNORED`. Raises
        NapariCliperError if it cannot.
    size : callable
        Tells the truth's height and width without reading it; None if they are not known.
    """

    name: str
    picture: Path
    truth: Callable[[], Labels]
    size: Callable[[], Size | None] = unknown


@dataclass(frozen=True)
class Dataset:
    """Pictures, their truth and the words they are compared with.

    Attributes
    ----------
    title : str
        For people.
    split : str
        Which of its pictures these are.
    classes : ClassList
        What is asked; the i-th class has the id i + 1.
    names : tuple of str
        What each class is called in tables.
    background : bool
        Whether 0 counts as a class; else its pixels do not count.
    samples : tuple of Sample
        By name; at least one.
    remarks : tuple of str
        What a person should know of how they were read, each in one sentence.
    """

    title: str
    split: str
    classes: ClassList
    names: tuple[str, ...]
    background: bool
    samples: tuple[Sample, ...]
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.samples:
            raise NapariCliperError(f"{self.title} ({self.split}) has no pictures: check its path.")

    @property
    def legend(self) -> ClassList:
        """The classes by the names of tables, to be drawn with."""
        entries = [ClassEntry(id=id_, name=name) for id_, name in enumerate(self.names, 1)]
        return ClassList(classes=tuple(entries))

    def limited(self, count: int | None) -> "Dataset":
        """With this many of its pictures, spread evenly; all for None."""
        if count is None or count >= len(self.samples):
            return self
        places = np.linspace(0, len(self.samples) - 1, count).round().astype(int)
        chosen = tuple(self.samples[place] for place in places.tolist())
        return replace(self, split=f"{self.split}, {count} of its pictures", samples=chosen)

    def only(self, names: Collection[str], split: str) -> "Dataset":
        """With the pictures of these names alone, each with or without its ending.

        Raises
        ------
        NapariCliperError
            One of them is not there.
        """
        if lost := self.lost(names):
            raise NapariCliperError(
                f"{split} names “{lost[0]}”, which is none of the pictures: correct it there."
            )
        wanted = set(names)
        kept = tuple(sample for sample in self.samples if wanted.intersection(_keys(sample)))
        return replace(self, split=split, samples=kept)

    def lost(self, names: Iterable[str]) -> list[str]:
        """Those of the names that none of its pictures has."""
        known = {key for sample in self.samples for key in _keys(sample)}
        return [name for name in names if name not in known]

    def joined(self, other: "Dataset") -> "Dataset":
        """With another split's pictures too; of two of one name, its own."""
        by_name = {sample.name: sample for sample in (*other.samples, *self.samples)}
        return replace(self, samples=tuple(by_name[name] for name in sorted(by_name)))

    def halves(self) -> tuple["Dataset", "Dataset"]:
        """Two halves that never change: by a hash of the pictures' names."""
        ordered = sorted(self.samples, key=lambda one: sha256(one.name.encode()).digest())
        first = {sample.name for sample in ordered[: len(ordered) // 2]}
        other = {sample.name for sample in self.samples} - first
        return self.only(first, f"{self.split}, one half"), self.only(
            other, f"{self.split}, the other half"
        )


def _keys(sample: Sample) -> tuple[str, ...]:
    return sample.name, sample.picture.name


def by_stem(paths: Iterable[Path], suffix: str = "") -> dict[str, Path]:
    """Files by their names without ending, sorted.

    Parameters
    ----------
    paths : iterable of Path
    suffix : str
        What each name ends in besides, and what is cut off it.

    Raises
    ------
    NapariCliperError
        Two have the same.
    """
    found: dict[str, Path] = {}
    for path in sorted(paths):
        stem = path.stem.removesuffix(suffix)
        if stem in found:
            raise NapariCliperError(
                f"“{found[stem]}” and “{path}” have the same name but for the ending: "
                "rename or move one of them."
            )
        found[stem] = path
    return found


def pictures_in(folder: Path, pattern: str = "*") -> dict[str, Path]:
    """The pictures of a folder, by their names without ending.

    Raises
    ------
    NapariCliperError
        There is no such folder, it holds no picture, or two of one name.
    """
    with explained(folder):
        folder.stat()
        paths = [path for path in folder.glob(pattern) if path.suffix.lower() in SUFFIXES]
    if not paths:
        raise NapariCliperError(f"The folder “{folder}” holds no pictures: give another one.")
    return by_stem(paths)


def part_of(root: Path, *places: str) -> Path:
    """The first of several places below a folder that is there.

    Raises
    ------
    NapariCliperError
        None of them is.
    """
    for place in places:
        if (root / place).exists():
            return root / place
    raise NapariCliperError(
        f"“{root}” has no {places[0]}: give the folder that the benchmark was unpacked into."
    )


def names_in(path: Path) -> list[str]:
    """The names that a text file lists, the first word of each line.

    Raises
    ------
    NapariCliperError
    """
    with explained(path):
        text = path.read_bytes().decode("utf-8-sig")
    return [line.split()[0] for line in text.splitlines() if line.strip()]


def paired(
    names: Sequence[str],
    picture: Callable[[str], Path],
    mask: Callable[[str], Path],
    read: Callable[[Path], Labels],
) -> tuple[Sample, ...]:
    """Samples whose picture and mask are files.

    Raises
    ------
    NapariCliperError
        One of the files is not there.
    """
    samples = []
    for name in sorted(dict.fromkeys(names)):
        where, truth = picture(name), mask(name)
        if lost := [path for path in (where, truth) if not path.is_file()]:
            raise NapariCliperError(
                f"“{name}” is listed, but there is no “{lost[0]}”: unpack it, or take the name out."
            )
        samples.append(Sample(name, where, partial(read, truth), partial(stored_size, truth)))
    return tuple(samples)


def check_sizes(samples: Iterable[Sample]) -> None:
    """Refuse samples whose truth has another size than their picture, before either is decoded.

    What a header does not tell is let pass: it shows when the picture is read.

    Raises
    ------
    NapariCliperError
        Some have; the first is named.
    """
    wrong = [(sample.name, *sizes) for sample in samples if (sizes := _misfit(sample)) is not None]
    if wrong:
        more = f" ({len(wrong)} pictures do not fit)" if len(wrong) > 1 else ""
        raise does_not_fit(*wrong[0], more)


def does_not_fit(name: str, truth: Size, picture: Size, more: str = "") -> NapariCliperError:
    """What to raise of a sample whose truth has another size than its picture."""
    return NapariCliperError(
        f"The truth of “{name}” has {truth[0]} × {truth[1]} pixels, its picture {picture[0]} × "
        f"{picture[1]}{more}: export it again in the picture's size, or leave it out."
    )


def _misfit(sample: Sample) -> tuple[Size, Size] | None:
    """The sizes of truth and picture, if they are known and differ."""
    truth, picture = sample.size(), upright_size(sample.picture)
    if truth is None or picture is None:
        return None
    if truth == picture[::-1] != picture:
        # Only behind its pixels may a PNG tell that it lies on its side.
        try:
            height, width = read_picture(sample.picture).shape[:2]
        except NapariCliperError:
            return None
        picture = height, width
    return None if truth == picture else (truth, picture)


def indices_of(path: Path) -> NDArray[np.integer]:
    """The values of a mask as stored: indices of a palette, or grey.

    Raises
    ------
    NapariCliperError
        The file cannot be read, or has colours.
    """
    with explained(path), Image.open(path, formats=["PNG", "TIFF", "BMP", "GIF"]) as picture:
        picture.load()
        if picture.mode not in ("1", "L", "P", "I;16", "I"):
            raise NapariCliperError(
                f"“{path}” holds colours, not labels: give an indexed or grey picture."
            )
        return np.array(picture).astype(np.int64)


def looked_up(
    values: NDArray[np.integer], meaning: Mapping[int, int], path: Path, other: int | None = None
) -> Labels:
    """Stored values as labels.

    Parameters
    ----------
    values : (H, W) integers
    meaning : mapping
        Of each stored value its label.
    path : Path
        Where they are from.
    other : int or None
        What any other value means; None refuses it.

    Raises
    ------
    NapariCliperError
    """
    present, places = np.unique(values, return_inverse=True)
    if other is None and (strange := [v for v in present.tolist() if v not in meaning]):
        raise NapariCliperError(
            f"“{path}” holds the value {strange[0]}, which is no class: add it to the class list, "
            "or say that it does not count."
        )
    table = np.array([meaning.get(v, other) for v in present.tolist()], np.uint16)
    return table[places].reshape(values.shape)
