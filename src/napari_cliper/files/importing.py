"""Annotations read, in whatever format they are."""

from collections.abc import Iterator
from pathlib import Path

from napari_cliper.annotation.annotation import Annotation
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.formats import Format, formats
from napari_cliper.files.pictures import explained


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
