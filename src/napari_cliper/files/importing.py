"""Annotations read, in whatever format they are."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from napari_cliper.annotation.annotation import Annotation
from napari_cliper.annotation.class_edits import without_strays
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.formats import Format, formats
from napari_cliper.files.names import plain
from napari_cliper.files.pictures import explained
from napari_cliper.files.session import is_session, load_session


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


def session_annotations(path: str | Path) -> Iterator[Annotation]:
    """The label layers of a session folder, named after its picture and what they show.

    Raises
    ------
    NapariCliperError
        It cannot be read.
    """
    loaded = load_session(path)
    picture = loaded.session.picture
    file = Path(picture.path) if picture.path and not picture.place else None
    for mask, maps in zip(loaded.session.masks, loaded.maps, strict=True):
        yield Annotation(
            plain(f"{picture.name}_{mask.role}"),
            maps.labels.astype(np.uint16),
            without_strays(mask.classes),
            picture=file,
        )


def within(path: str | Path, format_: Format | None = None) -> list[Path]:
    """What there is to read at a path: itself, or in a folder all that is recognized, by name.

    Parameters
    ----------
    path : str or Path
    format_ : Format, optional
        What somebody says it is: then all files with its ending, or the folder itself if the format
        is a folder.

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
            found = [one for one in path.iterdir() if one.name.lower().endswith(format_.suffix)]
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


def _is_known(path: Path) -> bool:
    return is_session(path) or recognized(path) is not None
