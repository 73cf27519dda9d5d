"""Frames of videos and pages of TIFF files, written as pictures that a person can review."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_cliper.batch.journal import stamp
from napari_cliper.batch.sources import STACKS
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.atomic import atomic_write
from napari_cliper.files.names import plain
from napari_cliper.files.pictures import explained, pages_of, read_picture
from napari_cliper.images import to_rgb

if TYPE_CHECKING:
    from napari_cliper.cliper.steps import Steps


OF = ".film"  # in a folder of frames: what they are of


def extract(films: Sequence[Path], top: Path, every: int = 1) -> "Steps[tuple[str, ...]]":
    """Write each frame as a PNG file; what is there already stays.

    Parameters
    ----------
    films : sequence of Path
    top : Path
        A folder for each of them is made in it, named after the file.
    every : int
        Of how many frames one is taken, from the first.

    Yields
    ------
    Step

    Returns
    -------
    tuple of str
        The pictures' paths from `top`, in the films' order.

    Raises
    ------
    NapariCliperError
        A film cannot be read, two have the same name, the frames cannot be written, or others are
        there.
    """
    from napari_cliper.cliper.steps import Step

    _check_names(films)
    pictures = []
    for number, film in enumerate(films):
        name = plain(film.stem)
        _check_same(top / name / OF, f"{stamp(film)} {every}")
        for index, frame in enumerate(frames(film)):
            if index % every:
                continue
            yield Step(f"Taking frames from {film.name}: {index}", number, len(films))
            picture = f"{name}/{name}_{index:06}.png"
            if not (top / picture).exists():
                with atomic_write(top / picture) as file:
                    file.write(_png(frame))
            pictures.append(picture)
    return tuple(pictures)


def frames(film: Path) -> Iterator[NDArray[Any]]:
    """The frames of a video or the pages of a TIFF file, one by one.

    Yields
    ------
    (H, W) or (H, W, 3) array

    Raises
    ------
    NapariCliperError
        The file is damaged, or nothing here can read it.
    """
    read = _pages if film.suffix.lower() in STACKS else _video
    with explained(film):
        yield from read(film)


def _pages(film: Path) -> Iterator[NDArray[Any]]:
    for page in pages_of(film):
        yield read_picture(film, page=page)


def _video(film: Path) -> Iterator[NDArray[Any]]:
    import imageio.v3 as imageio

    try:
        file = imageio.imopen(film, "r", plugin="pyav")
    except ImportError as error:
        raise NapariCliperError(
            "Videos need PyAV: install it with pip install “napari-cliper[batch]”."
        ) from error
    with file:
        yield from file.iter()


def _png(frame: NDArray[Any]) -> bytes:
    """As stored if PNG holds it, else in the 8-bit colours that the model sees."""
    if not (frame.dtype == np.uint8 or (frame.dtype == np.uint16 and frame.ndim == 2)):
        frame = to_rgb(frame)
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _check_same(note: Path, of: str) -> None:
    """Refuse frames of another film, or others of the same; note which they are."""
    with explained(note):
        known = note.read_text("utf-8") if note.exists() else None
    if known is None:
        with atomic_write(note) as file:
            file.write(of.encode())
    elif known != of:
        raise NapariCliperError(
            f"“{note.parent}” holds frames of another film, or not every so many as now: choose "
            "another folder for the results."
        )


def _check_names(films: Sequence[Path]) -> None:
    known: dict[str, Path] = {}
    for film in films:
        other = known.setdefault(plain(film.stem).casefold(), film)
        if other != film:
            raise NapariCliperError(
                f"“{other}” and “{film}” would be written to the same folder: rename one of them."
            )
