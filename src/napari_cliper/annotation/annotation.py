"""What is exchanged with other tools: the labels of a picture, and what they mean."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_cliper.annotation.class_edits import with_strays
from napari_cliper.annotation.class_list import (
    MAX_CLASSES,
    ClassEntry,
    ClassList,
    default_colors,
    one_sentence,
)
from napari_cliper.errors import NapariCliperError

VOID = 255  # Pascal VOC's label for what nobody has decided
VOID_NAME, VOID_COLOR = "void", (224, 224, 192)
# What the text form of a class list cannot hold in a name, and letters that look like it.
_FULL_WIDTH = str.maketrans({",": "，", ";": "；", "=": "＝", "#": "＃"})  # noqa: RUF001


@dataclass(frozen=True, eq=False)
class Annotation:
    """The labels of one picture, or of a stack of planes.

    Attributes
    ----------
    name : str
        What its files are called, without their ending.
    labels : (..., H, W) uint16
        0 background, else the id of a class.
    classes : ClassList
        What the labels mean, each that occurs.
    instances : (..., H, W) uint32, or None
        Which object of its class each pixel belongs to, 0 for background; other numbers are
        different objects. None if that is not known: then connected regions are objects.
    picture : Path or None
        The file of what was annotated, if that is known. It may be a bare name.
    scale : tuple of float
        Size of a pixel along each axis; () for 1 each.
    units : tuple of str
        Of the scale, for example "micrometer"; () if they are not known.
    remarks : tuple of str
        What was lost when it was read, each in one sentence.
    """

    name: str
    labels: NDArray[np.uint16]
    classes: ClassList
    instances: NDArray[np.uint32] | None = None
    picture: Path | None = None
    scale: tuple[float, ...] = ()
    units: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, labels: ArrayLike, classes: ClassList | None, **more: Any) -> Self:
        """Check labels, and name those that have no class after themselves.

        Parameters
        ----------
        name : str
        labels : (..., H, W) integers or booleans
        classes : ClassList or None
        **more
            Other attributes.

        Raises
        ------
        NapariCliperError
            The labels are no integers, or not between 0 and 65535.
        """
        values = checked_labels(labels)
        return cls(name, values, with_all(classes, values), **more)

    def only(self, ids: Collection[int]) -> "Annotation":
        """With these classes alone; the others' pixels are background."""
        kept = tuple(entry for entry in self.classes if entry.id in ids)
        if not kept:
            raise NapariCliperError("No class is left to write: show or choose at least one.")
        labels = np.where(np.isin(self.labels, [entry.id for entry in kept]), self.labels, 0)
        classes = self.classes.model_copy(update={"classes": kept})
        instances = None if self.instances is None else np.where(labels, self.instances, 0)
        return replace(self, labels=labels.astype(np.uint16), classes=classes, instances=instances)

    def with_void(self, name: str) -> "Annotation":
        """With the class of this name as Pascal VOC's void: its label is 255.

        Raises
        ------
        NapariCliperError
            Another class has that label.
        """
        void = next((entry for entry in self.classes if same_name(entry.name, name)), None)
        if void is None or void.id == VOID:
            return self
        if VOID in self.classes.ids:
            raise NapariCliperError(
                f"“{void.name}” cannot become the void, for another class has the label {VOID}: "
                "give that one another label."
            )
        labels = np.where(self.labels == void.id, VOID, self.labels).astype(np.uint16)
        entries = (entry for entry in self.classes if entry is not void)
        moved = ClassEntry(id=VOID, name=void.name, synonyms=void.synonyms, color=VOID_COLOR)
        classes = self.classes.model_copy(update={"classes": (*entries, moved)})
        return replace(self, labels=labels, classes=classes)


def checked_labels(labels: ArrayLike) -> NDArray[np.uint16]:
    """The same labels as uint16.

    Parameters
    ----------
    labels : (..., H, W) integers or booleans

    Raises
    ------
    NapariCliperError
    """
    array = np.asarray(labels)
    if array.ndim < 2 or array.size == 0 or array.dtype.kind not in "bui":
        raise NapariCliperError(
            f"Labels of shape {array.shape} and type {array.dtype} cannot be saved: "
            "give planes of integers."
        )
    if array.min() < 0 or array.max() > MAX_CLASSES:
        raise NapariCliperError(
            f"The labels go from {array.min()} to {array.max()}: keep them from 0 to {MAX_CLASSES}."
        )
    return array.astype(np.uint16)


def with_all(classes: ClassList | None, labels: NDArray[np.uint16]) -> ClassList:
    """A class for each label there is; those that have none are named after it, 255 void."""
    ids = np.flatnonzero(np.bincount(labels.ravel())).tolist()
    known = classes.ids if classes is not None else ()
    missing = set(ids) - {0, *known}
    if classes is not None and not missing:
        return classes
    entries = list(classes or ())
    if VOID in missing and not any(same_name(e.name, VOID_NAME) for e in entries):
        entries.append(ClassEntry(id=VOID, name=VOID_NAME, color=VOID_COLOR))
        missing.discard(VOID)
    if not entries:
        first = min(missing, default=1)
        entries.append(ClassEntry(id=first, name=f"label {first}"))
    if classes is None:
        return with_strays(ClassList(classes=tuple(entries)), missing)
    return with_strays(classes.model_copy(update={"classes": tuple(entries)}), missing)


def same_name(one: str, other: str) -> bool:
    """Whether two names are taken for the same class."""
    return one.strip().casefold() == other.strip().casefold()


@one_sentence
def foreign_classes(
    names: Mapping[int, str], colors: Mapping[int, Iterable[int]] | None = None
) -> ClassList:
    """A class list of another tool's names.

    A name that holds one of the marks of our text form gets the full-width letter that looks like
    it; one that is empty becomes "label" and its id; one that is there already, whatever its case,
    gets its id added.

    Parameters
    ----------
    names : mapping
        Of each id, 1 to 65535, its name.
    colors : mapping, optional
        Of an id: red, green and blue, 0 to 255. Others get Pascal VOC's.

    Raises
    ------
    NapariCliperError
        There is no name, or an id is not within its bounds.
    """
    entries: list[ClassEntry] = []
    taken: set[str] = set()
    for id_, name in names.items():
        plain = " ".join(name.translate(_FULL_WIDTH).split())
        plain = "".join("�" if "\ud800" <= letter <= "\udfff" else letter for letter in plain)
        plain = plain or f"label {id_}"
        while plain.casefold() in taken:
            plain = f"{plain} ({id_})"
        taken.add(plain.casefold())
        more = {"color": tuple(colors[id_])} if colors and id_ in colors else {}
        entries.append(ClassEntry.model_validate({"id": id_, "name": plain, **more}))
    return ClassList(classes=tuple(entries))


def merged_classes(lists: Iterable[ClassList]) -> ClassList:
    """All classes of several lists, ascending by id.

    Raises
    ------
    NapariCliperError
        Two lists mean different classes by one id, or give one class two ids.
    """
    ids: dict[int, ClassEntry] = {}
    names: dict[str, int] = {}
    first: ClassList | None = None
    for classes in lists:
        first = first or classes
        for entry in classes:
            known = ids.setdefault(entry.id, entry)
            id_ = names.setdefault(entry.name.casefold(), entry.id)
            if not same_name(known.name, entry.name) or id_ != entry.id:
                raise NapariCliperError(
                    f"“{entry.name}” has the label {entry.id} in one picture, which has another "
                    f"meaning elsewhere (“{known.name}”, label {id_}): export these pictures into "
                    "different folders, or give both the same classes."
                )
    if first is None:
        raise NapariCliperError("There is nothing to write: choose at least one mask.")
    entries = tuple(ids[id_] for id_ in sorted(ids))
    # In the order of the first list where it has them all.
    return (
        first
        if set(first.classes) == set(entries)
        else first.model_copy(update={"classes": entries})
    )


def default_color(id_: int) -> tuple[int, int, int]:
    """Pascal VOC's colour of a label."""
    return default_colors()[id_]
