"""Masks as polygons and back, without a pixel's difference.

A polygon runs along the edges of pixels: the pixel in column x of row y covers x to x + 1 and y to
y + 1. A hole is part of the same polygon, reached over a cut of no width. COCO's own rasterisation,
which we use, gives back the same pixels.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from skimage.measure import label as connected
from skimage.measure import regionprops

Points = NDArray[np.floating]


def polygons_of(mask: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """The outline of each part whose pixels are connected by sides.

    Parameters
    ----------
    mask : (H, W) bool

    Returns
    -------
    list of (n, 2) float64
        x and y of corners, in order; the last is joined to the first.
    """
    found = []
    for part in regionprops(np.asarray(connected(mask, background=0, connectivity=1))):
        top, left = part.bbox[:2]
        found.append(joined(_rings(part.image)) + np.array([left, top]))
    return found


def border_of(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The pixels at the border of a part, as tools want them that draw a polygon's line as well.

    Parameters
    ----------
    mask : (H, W) bool
        Its pixels are connected by sides; at least one.

    Returns
    -------
    (n, 2) float64
        x and y of pixels in order, 0 the first column or row; holes are joined to the outer border.
    """
    return joined([_border(ring) for ring in _rings(mask)])


def joined(rings: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """One polygon that goes around several, over cuts of no width between them.

    Parameters
    ----------
    rings : sequence of (n, 2) float64
        At least one.
    """
    path = rings[0]
    for ring in rings[1:]:
        # From the corner that is nearest to one of this ring's.
        start = ring[np.argmin(ring[:, 0])]
        at = int(np.argmin(((path - start) ** 2).sum(1)))
        begin = int(np.argmin(((ring - path[at]) ** 2).sum(1)))
        turned = np.roll(ring, -begin, axis=0)
        path = np.concatenate([path[: at + 1], turned, turned[:1], path[at:]])
    return path


def filled(polygons: Sequence[ArrayLike], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels that polygons cover together.

    Parameters
    ----------
    polygons : sequence of (n, 2) or (2 n,) numbers
        x and y of each corner. What has fewer than three corners covers nothing.
    size : (H, W)

    Returns
    -------
    (H, W) bool
    """
    from pycocotools import mask as coco

    flat = [np.asarray(polygon, np.float64).reshape(-1) for polygon in polygons]
    kept = [corners.tolist() for corners in flat if len(corners) >= 6]
    if not kept:
        return np.zeros(size, bool)
    runs = coco.frPyObjects(kept, *size)
    return decoded(coco.merge(runs))


def decoded(runs: Any) -> NDArray[np.bool_]:
    """The mask of pycocotools' compressed run lengths."""
    from pycocotools import mask as coco

    with warnings.catch_warnings():
        # Its arrays do not know numpy 2's keyword `copy`; they are copied here all the same.
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        return np.array(coco.decode(runs), bool)


def _rings(mask: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """The outlines of a mask whose pixels are connected by sides, the outer one first."""
    padded = np.pad(mask, 1)
    height, width = mask.shape[0] + 1, mask.shape[1] + 1  # of the grid of corners
    # The four pixels around each corner.
    nw, ne, sw, se = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    # Whether an edge begins there: to the right, down, left, up; with the mask on its right.
    starts = np.stack([se & ~ne, sw & ~se, nw & ~sw, ne & ~nw])
    flat = starts.reshape(4, -1)
    steps = np.array([1, width, -1, -width])
    following = np.full(flat.shape, -1)
    for way in range(4):
        corner = np.flatnonzero(flat[way])
        end = corner + steps[way]
        # Right before straight before left: so rings that touch at a corner stay apart.
        turns = [(way + turn) % 4 for turn in (1, 0, 3)]
        chosen = np.select([flat[turn, end] for turn in turns], turns)
        following[way, corner] = chosen * height * width + end
    follow = following.reshape(-1).tolist()
    rings = []
    for first in np.flatnonzero(flat.reshape(-1)).tolist():
        if follow[first] < 0:
            continue
        corners, edge, way = [], first, -1
        while follow[edge] >= 0:
            if edge // (height * width) != way:
                way = edge // (height * width)
                corners.append(edge % (height * width))
            follow[edge], edge = -1, follow[edge]
        places = np.array(corners)
        rings.append(np.stack([places % width, places // width], 1).astype(np.float64))
    return sorted(rings, key=lambda ring: -_area(ring))


def _border(ring: NDArray[np.float64]) -> NDArray[np.float64]:
    """The pixels on the right of a ring's sides: of each side the first and the last."""
    following = np.roll(ring, -1, axis=0)
    step = np.sign(following - ring)
    # Off each corner, half a pixel along the side and half a pixel to its right.
    right = np.stack([-step[:, 1], step[:, 0]], 1)
    first = ring + (step + right - 1) / 2
    last = following + (right - step - 1) / 2
    pixels = np.stack([first, last], 1).reshape(-1, 2)
    new = (pixels != np.roll(pixels, 1, axis=0)).any(1)
    return pixels[new] if new.any() else pixels[:1]


def _area(ring: NDArray[np.float64]) -> float:
    """Twice the area, less than 0 for a hole."""
    x, y = ring[:, 0], ring[:, 1]
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1))
