"""The pictures that a person names: files, folders, patterns; frames of videos, pages of TIFFs."""

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_cliper.annotation.review import natural_key
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.pictures import has_pages
from napari_cliper.files.review import SUFFIXES, pictures_in
from napari_cliper.files.session import is_session
from napari_cliper.models.paths import path_of

VIDEOS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")
STACKS = (".tif", ".tiff")


@dataclass(frozen=True)
class Sources:
    """What there is to segment.

    Attributes
    ----------
    top : Path
        The folder that all pictures lie in, with or without folders between.
    pictures : tuple of str
        Their paths from there, with ``/``, in natural order.
    films : tuple of Path
        Videos and TIFF files of several pages, of which each frame becomes a picture first.
    """

    top: Path
    pictures: tuple[str, ...] = ()
    films: tuple[Path, ...] = ()


def find_sources(given: Sequence[str | Path], results: Path) -> Sources:
    """List pictures or films; nothing is read but the beginning of TIFF files.

    Parameters
    ----------
    given : sequence of str or Path
        Files; folders, looked through with all folders in them; patterns with ``*``, ``?``, ``**``.
    results : Path
        Where results go: what lies there is no source.

    Raises
    ------
    NapariCliperError
        There is nothing of that name, a folder holds nothing, or what is named are pictures and
        films, or pictures from all over the disk.
    """
    files = sorted({path for one in given for path in _expanded(one, results)})
    films = [path for path in files if is_film(path)]
    pictures = sorted(set(files).difference(films))
    if films and pictures:
        raise NapariCliperError(
            f"“{films[0]}” has several frames and “{pictures[0]}” is one picture: give the ones "
            "and the others in runs of their own, with output folders of their own."
        )
    if films:
        return Sources(results / "frames", films=tuple(films))
    try:
        top = Path(os.path.commonpath([path.parent for path in pictures]))
    except ValueError:  # other drives
        top = Path(pictures[0].anchor)
    if top == top.parent and len(pictures) > 1:
        raise NapariCliperError(
            f"“{pictures[0]}” and “{pictures[-1]}” lie in no common folder: give them in runs of "
            "their own, with output folders of their own."
        )
    names = sorted((path.relative_to(top).as_posix() for path in pictures), key=natural_key)
    _check_stems(names)
    return Sources(top, tuple(names))


def is_film(path: Path) -> bool:
    """Whether a file holds more than one picture, as far as can be seen."""
    if path.suffix.lower() in VIDEOS:
        return True
    if path.suffix.lower() not in STACKS:
        return False
    try:
        return has_pages(path)
    except NapariCliperError:
        return False  # what is damaged is told when it is segmented, and keeps no other from it


def _expanded(given: str | Path, results: Path) -> list[Path]:
    """The files that one argument stands for, each by its one true path."""
    path = path_of(given)
    try:
        if path.is_dir():
            found = _in_folder(path.resolve(), results.resolve())
        elif path.exists():
            return [path.resolve()]
        elif glob.has_magic(str(path)):
            found = _matching(path, results.resolve())
        else:
            raise NapariCliperError(f"There is no “{given}”: check its name and folder.")
    except OSError as error:
        raise NapariCliperError(
            f"“{error.filename or given}” cannot be read ({error.strerror or error}): change its "
            "permissions, check its disk, or move it away."
        ) from error
    if not found:
        raise NapariCliperError(
            f"There are no pictures in “{given}”: give PNG, JPEG, TIFF, BMP, WebP or GIF files, or "
            "videos."
        )
    return found


def _in_folder(folder: Path, results: Path) -> list[Path]:
    return [folder / name for name in pictures_in(folder, results, (*SUFFIXES, *VIDEOS))]


def _matching(pattern: Path, results: Path) -> list[Path]:
    """What a pattern matches, of what a folder would be looked through for."""
    matches = (Path(one) for one in glob.glob(str(pattern), recursive=True))  # noqa: PTH207  # absolute patterns too
    files = {path.resolve() for path in matches if path.is_file()}
    known = {
        path
        for folder in {file.parent for file in files}
        if not _is_set_aside(folder, results)
        for path in _in_folder(folder, results)
    }
    return sorted(files & known)


def _is_set_aside(folder: Path, results: Path) -> bool:
    """Whether a folder holds results, or a session."""
    return any(above == results or is_session(above) for above in (folder, *folder.parents))


def _check_stems(names: Sequence[str]) -> None:
    """Refuse two pictures whose results would be one file."""
    known: dict[str, str] = {}
    for name in names:
        stem = name.rpartition(".")[0].casefold()
        other = known.setdefault(stem, name)
        if other != name:
            raise NapariCliperError(
                f"“{other}” and “{name}” would be written to the same files: rename one of them, "
                "or give them in runs with output folders of their own."
            )
