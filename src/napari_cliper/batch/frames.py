"""Frames of videos and pages of TIFF files, written as pictures that a person can review."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_cliper.batch.journal import stamp
from napari_cliper.batch.sources import STACKS, VIDEOS
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.atomic import atomic_write
from napari_cliper.files.names import plain
from napari_cliper.files.pictures import explained, read_pages
from napari_cliper.images import Percentiles, normalised, to_rgb

if TYPE_CHECKING:
    from napari_cliper.cliper.steps import Steps


OF = ".film"  # in a folder of frames: what they are of


@dataclass(frozen=True)
class Frames:
    """What was taken from films.

    Attributes
    ----------
    pictures : tuple of str
        Their paths from the folder they are in, in the films' order.
    failed : tuple of str
        A sentence for each film that could not be read to its end.
    """

    pictures: tuple[str, ...]
    failed: tuple[str, ...] = ()


def extract(
    films: Sequence[Path], top: Path, every: int = 1, percentiles: Percentiles | None = None
) -> "Steps[Frames]":
    """Write each frame as a PNG file; what is there already stays.

    Parameters
    ----------
    films : sequence of Path
    top : Path
        A folder for each of them is made in it, named after the file.
    every : int
        Of how many frames one is taken, from the first.
    percentiles : (float, float) or None
        As of `images.normalised`, for frames of values that PNG does not hold.

    Yields
    ------
    Step

    Returns
    -------
    Frames

    Raises
    ------
    NapariCliperError
        No film can be read, two have the same name, the frames cannot be written, others are
        there, or PyAV is not installed.
    """
    from napari_cliper.cliper.steps import Step

    _check_names(films)
    if any(film.suffix.lower() in VIDEOS for film in films):
        _check_reader()
    pictures: list[str] = []
    failed: list[str] = []
    for number, film in enumerate(films):
        name = plain(film.stem)
        cut_off = percentiles if film.suffix.lower() in STACKS else None  # videos have 8 bits
        of = f"{stamp(film)} {every}" + (f" {cut_off}" if cut_off else "")
        _check_same(top / name / OF, of)
        for index, frame in enumerate(_until_damaged(frames(film), failed)):
            if index % every:
                continue
            yield Step(f"Taking frames from {film.name}: {index}", number, len(films))
            picture = f"{name}/{name}_{index:06}.png"
            if not (top / picture).exists():
                with atomic_write(top / picture) as file:
                    file.write(_png(frame, cut_off))
            pictures.append(picture)
    if not pictures:
        raise NapariCliperError(failed[0] if failed else "The films have no frames: give others.")
    return Frames(tuple(pictures), tuple(failed))


def _until_damaged(frames: Iterator[NDArray[Any]], failed: list[str]) -> Iterator[NDArray[Any]]:
    """Frames as far as they can be read; why not further is added to `failed`."""
    try:
        yield from frames
    except NapariCliperError as error:
        failed.append(f"{error} Frames that could be read before were taken.")


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
    read = read_pages if film.suffix.lower() in STACKS else _video
    with explained(film):
        yield from read(film)


def _video(film: Path) -> Iterator[NDArray[Any]]:
    import imageio.v3 as imageio

    with imageio.imopen(film, "r", plugin="pyav") as file:
        yield from file.iter()


def _png(frame: NDArray[Any], percentiles: Percentiles | None) -> bytes:
    """As stored if PNG holds it, else in the 8-bit colours that the model sees."""
    if not (frame.dtype == np.uint8 or (frame.dtype == np.uint16 and frame.ndim == 2)):
        frame = to_rgb(normalised(frame, percentiles))
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _check_reader() -> None:
    if find_spec("av") is None:
        raise NapariCliperError(
            "Videos need PyAV: install it with pip install “napari-cliper[batch]”."
        )


def _check_same(note: Path, of: str) -> None:
    """Refuse frames of another film, or others of the same; note which they are."""
    with explained(note):
        known = note.read_text("utf-8") if note.exists() else None
    if known is None:
        with atomic_write(note) as file:
            file.write(of.encode())
    elif known != of:
        raise NapariCliperError(
            f"“{note.parent}” holds frames of another film, or of this one taken in another "
            "way: choose another folder for the results."
        )


def _check_names(films: Sequence[Path]) -> None:
    known: dict[str, Path] = {}
    for film in films:
        other = known.setdefault(plain(film.stem).casefold(), film)
        if other != film:
            raise NapariCliperError(
                f"“{other}” and “{film}” would be written to the same folder: rename one of them."
            )
