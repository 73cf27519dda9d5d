"""Masks as polygons and back, without a pixel's difference.

A polygon runs along the edges of pixels: the pixel in column x of row y covers x to x + 1 and y to
y + 1. A hole is part of the same polygon, reached over a cut of no width. COCO's own rasterisation,
which we use, gives back the same pixels.
"""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from skimage.measure import label as connected
from skimage.measure import regionprops

NEAREST = 8  # corners that are looked at around each, where rings are joined


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


def outline_of(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """All parts and holes of a mask as one polygon, as `polygons_of` makes several.

    Parameters
    ----------
    mask : (H, W) bool
        At least one pixel.
    """
    return joined(_rings(mask))


def joined(rings: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """One polygon that goes around several, over short cuts of no width between them.

    Parameters
    ----------
    rings : sequence of (n, 2) float64
        At least one.
    """
    if len(rings) == 1:
        return rings[0]
    corners = np.concatenate(rings)
    ends = np.cumsum([len(ring) for ring in rings]).tolist()
    # A linked list: of each stop on the way, the corner it is at and the stop that follows.
    corner, following = list(range(len(corners))), list(range(1, len(corners) + 1))
    for ring, end in zip(rings, ends, strict=True):
        following[end - 1] = end - len(ring)
    for number, at, begin in _cuts(corners, rings):
        # There, once around this ring, on which nothing hangs yet, and back.
        end = ends[number]
        before = begin - 1 if begin > end - len(rings[number]) else end - 1
        following[before] = len(following)
        following += [len(following) + 1, following[at]]
        corner += [begin, at]
        following[at] = begin
    path, stop = [], 0
    for _ in following:
        path.append(corner[stop])
        stop = following[stop]
    return np.asarray(corners[path])


def _cuts(
    corners: NDArray[np.float64], rings: Sequence[NDArray[np.float64]]
) -> Iterator[tuple[int, int, int]]:
    """Which cuts join all rings to the first one; those that are nearer to it come first.

    Yields
    ------
    ring : int
        Which one is joined.
    at, begin : int
        The cut leads from this corner, of a ring that is joined already, to this one of its own.
    """
    from scipy.sparse import coo_matrix  # type: ignore[import-untyped]
    from scipy.sparse.csgraph import (  # type: ignore[import-untyped]
        breadth_first_order,
        minimum_spanning_tree,
    )

    owner = np.repeat(np.arange(len(rings)), [len(ring) for ring in rings])
    ends = _candidates(corners, owner)
    length = ((corners[ends[:, 0]] - corners[ends[:, 1]]) ** 2).sum(1)
    ends = ends[np.argsort(length, kind="stable")]
    ends = np.where((owner[ends[:, 0]] > owner[ends[:, 1]])[:, None], ends[:, ::-1], ends)
    low, high = owner[ends].T
    # The shortest cut between each two rings, known by its place in the order.
    _, place = np.unique(low * len(rings) + high, return_index=True)
    size = (len(rings), len(rings))
    graph = coo_matrix((place + 1.0, (low[place], high[place])), size).tocsr()
    tree = minimum_spanning_tree(graph)
    cuts = {(low[i], high[i]): ends[i].tolist() for i in tree.data.astype(int) - 1}
    order, parents = breadth_first_order(tree, 0, directed=False)
    for ring in order[1:].tolist():
        above = int(parents[ring])
        first, second = cuts[min(ring, above), max(ring, above)]
        yield (ring, first, second) if above < ring else (ring, second, first)


def _candidates(corners: NDArray[np.float64], owner: NDArray[np.int64]) -> NDArray[np.int64]:
    """Short cuts between rings, (n, 2) corners, which surely reach all of them.

    From each corner to some of the nearest, and from each ring's corner farthest to the left to the
    nearest one of a ring that begins farther to the left.
    """
    from scipy.spatial import KDTree  # type: ignore[import-untyped]

    # Many corners have the same x or y, with which the other ways to build it are slow.
    tree = KDTree(corners, balanced_tree=False, compact_nodes=False)
    near = tree.query(corners, min(NEAREST, len(corners)))[1]
    found = [np.stack([np.repeat(np.arange(len(near)), near.shape[1]), near.ravel()], 1)]
    sorted_ = np.lexsort([corners[:, 1], corners[:, 0]])
    _, first = np.unique(owner[sorted_], return_index=True)
    rank = np.argsort(np.argsort(first))[owner]  # of each corner's ring, from the left
    for begin in sorted_[np.sort(first)[1:]].tolist():
        number, others = NEAREST, near[begin]
        while not (earlier := rank[others] < rank[begin]).any():
            number *= 4
            others = tree.query(corners[begin], min(number, len(corners)))[1]
        found.append(np.array([[begin, others[earlier][0]]]))
    cuts = np.concatenate(found)
    return np.asarray(cuts[owner[cuts[:, 0]] != owner[cuts[:, 1]]])


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
    """The outlines of all parts and holes of a mask; the first is an outer one."""
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
    return rings


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
