"""Text files of polygons, a line an object, as YOLO has them; and shapes laid over each other."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_cliper.errors import NapariCliperError
from napari_cliper.evaluation.datasets.dataset import (
    IGNORED,
    Labels,
    Sample,
    by_stem,
    pictures_in,
)
from napari_cliper.files.bounded import read_bounded
from napari_cliper.files.foreign import Part, drawn
from napari_cliper.files.pictures import explained, read_picture

SLACK = 0.01  # how far a corner may lie outside: other tools round


def laid(size: tuple[int, int], shapes: Iterable[tuple[int, Part]], none: int = 0) -> Labels:
    """Shapes as labels, smaller ones on top: what lies on a table covers it.

    Parameters
    ----------
    size : (H, W)
    shapes : iterable of (label, part)
        Taken one by one, for all their masks together may not fit into memory; of two that are as
        large, the later one lies on top.
    none : int
        The label where there is none.
    """
    labels = np.full(size, none, np.uint16)
    # Of each pixel, how many pixels the shape has that it shows.
    uppermost = np.full(size, np.iinfo(np.int32).max, np.int32)
    for label, (top, left, mask) in shapes:
        box = np.s_[top : top + mask.shape[0], left : left + mask.shape[1]]
        area = np.count_nonzero(mask)
        seen = mask & (area <= uppermost[box])
        labels[box][seen], uppermost[box][seen] = label, area
    return labels


def text_files(
    folder: Path, pictures: Path, indices: Sequence[int], background: bool
) -> tuple[tuple[Sample, ...], tuple[str, ...]]:
    """A folder of `NAME.txt` and one of pictures; a picture without a text file has no objects.

    Parameters
    ----------
    folder, pictures : Path
    indices : sequence of int
        What each class is called in the text files.
    background : bool
        Whether 0 counts.

    Returns
    -------
    samples : tuple of Sample
    remarks : tuple of str
        About pictures without a text file, and text files without a picture: such data sets often
        have some.

    Raises
    ------
    NapariCliperError
        No text file has a picture, or a line is no polygon of one of the classes.
    """
    found, texts = pictures_in(pictures), by_stem(folder.glob("*.txt"))
    stray, plain = sorted(texts.keys() - found.keys()), sorted(found.keys() - texts.keys())
    if len(stray) == len(texts):
        raise NapariCliperError(
            f"None of the text files in “{folder}” has a picture of its name in “{pictures}”, "
            f"“{stray[0]}.txt” for one: give the folders that belong together."
        )
    none = 0 if background else IGNORED
    labels = {index: label for label, index in enumerate(indices, 1)}
    samples = []
    for stem, picture in found.items():
        objects = _objects(texts[stem], labels) if stem in texts else []
        samples.append(Sample(stem, picture, _reader(picture, objects, none)))
    remarks = []
    if stray:
        remarks.append(f"Text files without a picture are left out: {_listed(stray)}.")
    if plain:
        remarks.append(f"Pictures without a text file are taken to be empty: {_listed(plain)}.")
    return tuple(samples), tuple(remarks)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _reader(
    picture: Path, objects: Sequence[tuple[int, NDArray[np.float64]]], none: int
) -> Callable[[], Labels]:
    def read() -> Labels:
        height, width = read_picture(picture).shape[:2]
        shapes = (
            (label, drawn(picture, [corners * (width, height)], (height, width)))
            for label, corners in objects
        )
        return laid((height, width), shapes, none)

    return read


def _objects(path: Path, labels: Mapping[int, int]) -> list[tuple[int, NDArray[np.float64]]]:
    """Label and corners, (n, 2) in shares of width and height, of each line."""
    with explained(path):
        text = read_bounded(path).decode("utf-8-sig")
    objects = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            index, *values = map(float, line.split())
            corners = np.array(values).reshape(-1, 2)
        except ValueError:
            index, corners = -1.0, np.zeros((0, 2))
        inside = np.all((corners >= -SLACK) & (corners <= 1 + SLACK))
        if not index.is_integer() or index < 0 or len(corners) < 3 or not inside:
            raise NapariCliperError(
                f"“{path}”, line {number}: it is no class index and three or more pairs of x and y "
                "from 0 to 1: correct the line, or export the file again."
            )
        if index not in labels:
            raise NapariCliperError(
                f"“{path}”, line {number}: it has the class {int(index)}, which the class list "
                "does not name: add it, or give the list that belongs to the files."
            )
        objects.append((labels[int(index)], corners))
    return objects
