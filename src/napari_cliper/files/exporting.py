"""Masks written in any format: all the files of an export, or none.

A format writes into a folder of its own, hidden in the one that was asked for. Only when that went
well, and nothing is in the way, its files are moved to their places. A folder that is one thing,
such as OME-Zarr's, is moved as one.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from napari_cliper.annotation.annotation import Annotation, merged_classes
from napari_cliper.annotation.class_list import ClassList
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.atomic import atomic_write, check_writable
from napari_cliper.files.formats.format import Format, Options
from napari_cliper.files.indexed_png import CLASSES_FILE
from napari_cliper.files.names import plain
from napari_cliper.files.session import KEPT_FOR

HIDDEN = ".napari-cliper-"  # how the name of a hidden folder begins


@dataclass(frozen=True)
class Planned:
    """One file, or folder that is one thing, of an export.

    Attributes
    ----------
    place : str
        Below the folder of the export, with ``/``.
    nbytes : int
    taken : bool
        Whether something else is there already.
    """

    place: str
    nbytes: int
    taken: bool


def export(
    annotations: Iterable[Annotation],
    format_: Format,
    folder: str | Path,
    options: Options = Options(),
    overwrite: bool | Collection[str] = False,
    ready: Callable[[], None] = lambda: None,
) -> list[Path]:
    """Write annotations in a format, and `classes.json` beside them.

    That is left out where pictures have different classes and the format itself keeps them all, and
    for such a format where another one lies that is not among those to replace.

    Parameters
    ----------
    annotations : iterable of Annotation
        Asked for one by one: not all need to fit into memory.
    format_ : Format
    folder : str or Path
        Where the files go, made if it is missing.
    options : Options
    overwrite : bool or collection of str
        Whether files that are there may be replaced, or which: paths below the folder, with ``/``;
        one that ends with ``/`` stands for all below it.
    ready : callable
        Called when everything is made and nothing has been put into its place. What it raises ends
        the export.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    NapariCliperError
        The format cannot hold an annotation, two have the same name, or classes that contradict
        each other, a file is in the way, or the folder cannot be written. Nothing has changed then;
        only if the disk fails while the last step moves several files, some may have been replaced
        already, each of them whole.
    """
    folder = Path(folder)
    with _written(folder), _made(folder):
        _remove_left_behind(folder)
        with tempfile.TemporaryDirectory(
            prefix=HIDDEN, suffix=".part", dir=folder, ignore_cleanup_errors=True
        ) as hidden:
            new, old = Path(hidden, "new"), Path(hidden, "old")
            new.mkdir()
            old.mkdir()
            _write(annotations, format_, new, options)
            places = _to_move(folder, new, format_, overwrite)
            ready()
            for place in places:
                _move(new / place, folder / place, old)
    return [folder / place for place in places]


def preview(
    annotations: Iterable[Annotation],
    format_: Format,
    folder: str | Path,
    options: Options = Options(),
) -> list[Planned]:
    """What `export` would write; it is written elsewhere for a moment, and nothing is changed.

    Raises
    ------
    NapariCliperError
        As by `export`, but not for files that are in the way.
    """
    folder = Path(folder)
    check_writable(folder)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as hidden:
        new = Path(hidden)
        with _written(new):
            _write(annotations, format_, new, options)
            return [
                Planned(place, _size(new / place), _is_taken(folder / place, new / place))
                for place in _places(new, format_)
            ]


def _to_move(
    folder: Path, new: Path, format_: Format, overwrite: bool | Collection[str]
) -> list[str]:
    """What is to be put into its place, once it is known that everything can be.

    Raises
    ------
    NapariCliperError
    """
    places = list(_places(new, format_))
    taken = [place for place in places if _is_taken(folder / place, new / place)]
    if overwrite is not True:
        allowed = tuple(overwrite or ())
        below = tuple(one for one in allowed if one.endswith("/"))
        taken = [place for place in taken if place not in allowed and not place.startswith(below)]
        if taken == [CLASSES_FILE] and _keeps_classes(format_) and overwrite is not False:
            return [place for place in places if place != CLASSES_FILE]
        _refuse(folder, taken)
    for place in places:
        target, made = folder / place, new / place
        above = next(up for up in target.parents if os.path.lexists(up))
        if not above.is_dir():
            raise NapariCliperError(f"“{above}” is a file, no folder: choose another folder.")
        if os.path.lexists(target) and target.is_dir() != made.is_dir():
            kind = "folder" if target.is_dir() else "file"
            raise NapariCliperError(f"“{target}” is a {kind}: choose another name or folder.")
    return places


def _write(
    annotations: Iterable[Annotation], format_: Format, folder: Path, options: Options
) -> None:
    """Have a format write, and the class list with it."""
    lists: dict[ClassList, None] = {}
    format_.write(_checked(annotations, format_, options, lists), folder, options)
    try:
        text = merged_classes(lists).to_json()
    except NapariCliperError:
        if not lists or not _keeps_classes(format_):
            raise
        return  # each picture has classes of its own, and its own file says so
    if (folder / CLASSES_FILE).exists():
        raise NapariCliperError(f"“{CLASSES_FILE}” is the class list's: name the mask otherwise.")
    (folder / CLASSES_FILE).write_bytes(text.encode())


def _keeps_classes(format_: Format) -> bool:
    """Whether its own files tell all there is to know about the classes of a label map."""
    return format_.keeps.names and format_.keeps.colors and format_.keeps.ids


def _checked(
    annotations: Iterable[Annotation],
    format_: Format,
    options: Options,
    lists: dict[ClassList, None],
) -> Iterator[Annotation]:
    """The same, as far as a format can hold them; their class lists are noted."""
    names: dict[str, str] = {}
    for annotation in annotations:
        name = annotation.name
        if plain(name) != name:
            raise NapariCliperError(
                f"“{name}” is no name for a file: take another, for example “{plain(name)}”."
            )
        if name.casefold() in names:
            raise NapariCliperError(
                f"“{names[name.casefold()]}” and “{name}” would be written to the same files: "
                "let the file name pattern tell them apart."
            )
        names[name.casefold()] = name
        if options.void is not None and format_.void_label:
            annotation = annotation.with_void(options.void)
        _check_fits(annotation, format_)
        lists.setdefault(annotation.classes)
        yield annotation


def _check_fits(annotation: Annotation, format_: Format) -> None:
    labels = annotation.labels
    if labels.ndim != 2 and not format_.stacks:
        raise NapariCliperError(
            f"“{annotation.name}” has {labels.ndim} axes, and {format_.title} holds 2: "
            "export one plane, or take OME-TIFF or OME-Zarr."
        )
    highest = max(int(labels.max()), *annotation.classes.ids)
    if highest > format_.max_label:
        raise NapariCliperError(
            f"“{annotation.name}” has the label {highest}, and {format_.title} holds labels up to "
            f"{format_.max_label}: take another format, or give its class another label."
        )


def _places(folder: Path, format_: Format, below: str = "") -> Iterator[str]:
    """What there is in a folder, with ``/``: files, and folders that are one thing."""
    for path in sorted((folder / below).iterdir()):
        if path.is_dir() and not format_.one_thing:
            yield from _places(folder, format_, f"{below}{path.name}/")
        else:
            yield below + path.name


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in _files(path).values())


def _files(path: Path) -> dict[str, Path]:
    """A file itself, or all files below a folder, by their paths in it."""
    if not path.is_dir():
        return {"": path}
    return {str(file.relative_to(path)): file for file in path.rglob("*") if file.is_file()}


def _refuse(folder: Path, taken: list[str]) -> None:
    """Say what is in the way, if anything is."""
    if not taken:
        return
    first = folder / taken[0]
    if taken[0] == CLASSES_FILE:
        raise NapariCliperError(
            f"“{first}” holds other classes: choose another folder, or allow overwriting."
        )
    more = f", and {len(taken) - 1} more do" if len(taken) > 1 else ""
    raise NapariCliperError(
        f"“{first}” exists already{more}: choose another name or folder, or allow overwriting."
    )


def _is_taken(target: Path, new: Path) -> bool:
    """Whether something is there that is not the same."""
    if not os.path.lexists(target):
        return False
    try:
        there, made = _files(target), _files(new)
        if target.is_dir() != new.is_dir() or there.keys() != made.keys():
            return True
        return any(file.read_bytes() != made[name].read_bytes() for name, file in there.items())
    except OSError:
        return True


def _move(new: Path, target: Path, old: Path) -> None:
    """Put something in its place in one step; a folder that was there goes first."""
    # Through symbolic links, as open() writes: the link stays and what it points to is replaced.
    target = Path(os.path.realpath(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    if new.is_file():
        with new.open("rb") as made, atomic_write(target, overwrite=True) as file:
            shutil.copyfileobj(made, file)
        return
    kept = Path(tempfile.mkdtemp(dir=old)) / target.name
    try:
        if os.path.lexists(target):
            target.rename(kept)
        new.rename(target)
    except BaseException:
        if os.path.lexists(kept) and not os.path.lexists(target):
            kept.rename(target)
        raise


def _remove_left_behind(folder: Path) -> None:
    """Delete what exports that were killed have left here an hour ago or earlier."""
    for path in folder.glob(f"{HIDDEN}*.part"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > KEPT_FOR:
                shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Make a folder, and take away what was made if the body raises and leaves it empty."""
    missing = [above for above in (folder, *folder.parents) if not os.path.lexists(above)]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):
            for made in missing:
                made.rmdir()
        raise


@contextmanager
def _written(folder: Path) -> Iterator[None]:
    """Turn a failing disk into one sentence."""
    try:
        yield
    except OSError as error:
        raise NapariCliperError(
            f"“{folder}” cannot be written ({error.strerror or error}): "
            "choose another folder, or make room and check its permissions."
        ) from error
