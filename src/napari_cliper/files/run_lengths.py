"""COCO's run lengths: how many pixels in turn are not of an object and are.

They go down each column, and through the columns from left to right. Reading is not left to
pycocotools, which trusts a file to be whole and reads beyond its end.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_cliper.files.foreign import Part
from napari_cliper.files.objects import Object


def encode(thing: Object) -> str:
    """The compressed run lengths of an object in its picture, made from its box alone."""
    from pycocotools import mask as coco

    height, width = thing.size
    columns, rows = np.nonzero(thing.mask.T)
    places = (thing.left + columns) * height + thing.top + rows
    last = np.append(np.diff(places) != 1, True)
    first = np.roll(last, 1)
    bounds = np.stack([places[first], places[last] + 1], 1).ravel()
    counts = np.diff(bounds, prepend=0, append=height * width).tolist()
    if not counts[-1]:
        del counts[-1]
    runs = coco.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    text: str = runs["counts"].decode("ascii")
    return text


def decode(counts: str | Sequence[int], size: tuple[int, int]) -> Part | None:
    """The pixels of run lengths within their box, None if there are none.

    Parameters
    ----------
    counts : str or sequence of int
        Compressed or not.
    size : (H, W)

    Raises
    ------
    ValueError
        They do not fit the picture, or are damaged.
    """
    lengths = _uncompressed(counts) if isinstance(counts, str) else _checked(counts)
    height, width = size
    pixels = height * width
    # Each first: the sum of numbers as large as these may be has no room in 64 bits.
    if lengths.min(initial=0) < 0 or lengths.max(initial=0) > pixels or lengths.sum() != pixels:
        raise ValueError("They do not fit the picture.")
    ends = np.cumsum(lengths)
    starts, stops = ends[0::2][: len(ends) // 2], ends[1::2]
    there = starts < stops
    if not there.any():
        return None
    # Only the columns that the object has.
    left, right = int(starts[there][0]) // height, -(-int(stops[there][-1]) // height)
    bounds = np.stack([starts[there], stops[there]], 1).ravel() - left * height
    lengths = np.diff(bounds, prepend=0, append=(right - left) * height)
    mask = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(right - left, height).T
    rows = np.flatnonzero(mask.any(1))
    # A copy, so that the rest of the columns is not kept.
    return int(rows[0]), left, mask[rows[0] : rows[-1] + 1].copy()


def _checked(counts: Sequence[int]) -> NDArray[np.int64]:
    try:
        return np.array(counts, np.int64)
    except OverflowError as error:
        raise ValueError("A number is too large.") from error


def _uncompressed(text: str) -> NDArray[np.int64]:
    """The numbers of COCO's text.

    A letter holds five bits of a number, the lowest first, and one that says that more follow. From
    the fourth on, a number is a difference to the last but one.
    """
    letters = np.frombuffer(text.encode("ascii"), np.uint8).astype(np.int64) - 48
    if not letters.size:
        return letters
    if letters.min() < 0 or letters.max() > 63 or letters[-1] & 32:
        raise ValueError("The text is damaged.")
    last = np.flatnonzero(letters & 32 == 0)
    first = np.append(0, last[:-1] + 1)
    lengths = last - first + 1
    if lengths.max() > 7:  # more than 35 bits
        raise ValueError("A number is too large.")
    shifts = 5 * (np.arange(len(letters)) - np.repeat(first, lengths))
    values = np.add.reduceat((letters & 31) << shifts, first)
    values -= np.where(letters[last] & 16, 1 << 5 * lengths, 0)  # it is negative
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values
