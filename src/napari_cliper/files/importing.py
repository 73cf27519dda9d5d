"""Annotations read, in whatever format they are."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from napari_cliper.annotation.annotation import Annotation, foreign_classes, with_all
from napari_cliper.annotation.class_edits import with_entry, without_strays
from napari_cliper.annotation.class_list import ClassEntry, ClassList, one_sentence
from napari_cliper.annotation.session import INSTANCES, Session
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.formats import Format, formats
from napari_cliper.files.indexed_png import CLASSES_FILE, OVERLAY, present_ids
from napari_cliper.files.names import plain
from napari_cliper.files.pictures import explained
from napari_cliper.files.review import REVIEW_FILE
from napari_cliper.files.session import SESSION_FILE, is_session, load_session

Layer: TypeAlias = Literal["refined", "coarse", "instances", "all"]

_NO_MASKS = (CLASSES_FILE, REVIEW_FILE, SESSION_FILE)


def recognized(path: str | Path) -> Format | None:
    """The format of a file or folder, or None if it is surely of none."""
    path = Path(path)
    return next((known for known in formats().values() if known.recognizes(path)), None)


def read_annotations(
    path: str | Path, format_: Format | None = None, pictures: str | Path | None = None
) -> Iterator[Annotation]:
    """Read annotations, one by one.

    Parameters
    ----------
    path : str or Path
    format_ : Format, optional
        What it is; found out unless given.
    pictures : str or Path, optional
        The folder of the pictures; unless given, they are looked for near the file.

    Yields
    ------
    Annotation

    Raises
    ------
    NapariCliperError
        There is no such file, it is of no format or damaged, or lacks its pictures.
    """
    path = Path(path)
    with explained(path):
        path.lstat()
    format_ = format_ or recognized(path)
    if format_ is None:
        known = ", ".join(formats())
        raise NapariCliperError(
            f"“{path}” is of no format that is known surely: say which it is, one of {known}."
        )
    found = False
    for annotation in format_.read(path, None if pictures is None else Path(pictures)):
        found = True
        yield annotation
    if not found:
        raise NapariCliperError(f"“{path}” holds no masks: choose another file.")


def session_annotations(
    path: str | Path, objects: bool = False, layer: Layer = "all"
) -> Iterator[Annotation]:
    """The label layers of a session folder, named after its picture, plane and what they show.

    Parameters
    ----------
    path : str or Path
    objects : bool
        Whether a layer that numbers the objects of one class becomes that class and `instances`.
    layer : Layer
        Which of them, perhaps none; all for "refined" if that is not there.

    Raises
    ------
    NapariCliperError
        It cannot be read.
    """
    loaded = load_session(path)
    picture = loaded.session.picture
    file = Path(picture.path) if picture.path and not picture.place else None
    plane = "".join(f"_{index}" for index in picture.place)
    roles = [mask.role for mask in loaded.session.masks]
    if layer == "refined" and layer not in roles:
        layer = "all"
    for role, mask, maps in zip(roles, loaded.session.masks, loaded.maps, strict=True):
        numbered = role.startswith(INSTANCES)
        if layer not in ("all", "instances" if numbered else role):
            continue
        name, labels = plain(f"{picture.name}{plane}_{role}"), maps.labels.astype(np.uint16)
        if objects and numbered:
            entry = _class_called(role.removeprefix(INSTANCES), loaded.session)
            one = np.where(labels != 0, entry.id, 0).astype(np.uint16)
            classes, numbers = ClassList(classes=(entry,)), labels.astype(np.uint32)
            yield Annotation(name, one, classes, numbers, picture=file)
        else:
            classes = with_all(without_strays(mask.classes), labels)
            yield Annotation(name, labels, classes, picture=file)


def _class_called(name: str, session: Session) -> ClassEntry:
    """The class of a name in a session's masks; if it is gone, one of a number that is free."""
    lists = [mask.classes for mask in session.masks if not mask.role.startswith(INSTANCES)]
    for classes in lists:
        for entry in classes:
            if entry.name.casefold() == name.casefold():
                return entry
    return with_entry(next(iter(lists), None), foreign_classes({1: name})[0])[-1]


def by_names(annotation: Annotation, classes: ClassList) -> Annotation:
    """With another class list, in which classes are found by their names.

    Raises
    ------
    NapariCliperError
        A class that has pixels is not there.
    """
    ids = {entry.name.casefold(): entry.id for entry in classes}
    present = present_ids(annotation.labels)
    becomes = np.zeros(max(present, default=0) + 1, np.uint16)
    for entry in annotation.classes:
        if entry.id not in present:
            continue
        if entry.name.casefold() not in ids:
            raise NapariCliperError(
                f"“{annotation.name}” has the class “{entry.name}”, which is none of the classes "
                f"that were given ({', '.join(classes.names)}): add it to them."
            )
        becomes[entry.id] = ids[entry.name.casefold()]
    return replace(annotation, labels=becomes[annotation.labels], classes=classes)


class Numbering:
    """One number for each name, for files that give their classes names alone."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}

    def note(self, classes: ClassList) -> None:
        """Take over the numbers of a list, as far as they and its names are new."""
        for entry in classes:
            if entry.id not in self._ids.values():
                self._ids.setdefault(entry.name.casefold(), entry.id)

    @one_sentence
    def renumbered(self, annotation: Annotation) -> Annotation:
        """The same classes under the numbers that they have had so far; new ones get free ones.

        Raises
        ------
        NapariCliperError
            No number is free.
        """
        self.note(annotation.classes)
        taken = set(self._ids.values())
        free = (number for number in count(1) if number not in taken)
        entries = []
        for entry in annotation.classes:
            name = entry.name.casefold()
            if name not in self._ids:
                self._ids[name] = next(free)
            id_ = self._ids[name]
            # Such files have no colours: it gets that of its number.
            new = ClassEntry(id=id_, name=entry.name, synonyms=entry.synonyms)
            entries.append(entry if id_ == entry.id else new)
        classes = annotation.classes.model_copy(update={"classes": tuple(entries)})
        return by_names(annotation, classes)


def within(path: str | Path, format_: Format | None = None) -> list[Path]:
    """What there is to read at a path: itself, or in a folder all that is recognized, by name.

    Parameters
    ----------
    path : str or Path
    format_ : Format, optional
        What somebody says it is: then all files with its ending, but for class lists and overlays,
        or the folder itself if the format is a folder.

    Raises
    ------
    NapariCliperError
        There is no such path, or the folder holds nothing that is known.
    """
    path = Path(path)
    with explained(path):
        path.lstat()
        if not path.is_dir():
            return [path]
        if format_ is not None:
            if not format_.suffix or format_.recognizes(path):
                return [path]
            found = [one for one in path.iterdir() if _may_be_masks(one, [format_.suffix])]
        elif _is_known(path):
            return [path]
        else:
            found = [one for one in path.iterdir() if _is_known(one)]
    if not found:
        raise NapariCliperError(
            f"The folder “{path}” holds no masks of {'a known' if format_ is None else 'this'} "
            "format: give the files, and say with --from which format they are."
        )
    return sorted(found)


def left_out(path: str | Path, found: Sequence[Path]) -> list[Path]:
    """What else in a folder may be masks, as its ending says, but is of no format surely.

    Parameters
    ----------
    path : str or Path
    found : sequence of Path
        What `within` has found there.
    """
    path = Path(path)
    if list(found) == [path]:
        return []
    endings = {
        known.suffix[known.suffix.rindex(".") :] for known in formats().values() if known.suffix
    }
    with explained(path):
        return sorted(one for one in {*path.iterdir()} - {*found} if _may_be_masks(one, endings))


def _may_be_masks(path: Path, endings: Iterable[str]) -> bool:
    name = path.name.lower()
    return name.endswith(tuple(endings)) and name not in _NO_MASKS and not name.endswith(OVERLAY)


def _is_known(path: Path) -> bool:
    return is_session(path) or recognized(path) is not None
