"""Regions of a label map: picked, put right class by class, and split into instances."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from napari_cliper.annotation.painted import LabelMap, Mask
from napari_cliper.errors import NapariCliperError

MAX_INSTANCES = 65535  # what a 16-bit map holds beside 0

Method: TypeAlias = Literal["components", "watershed"]
Change: TypeAlias = Callable[[LabelMap, int, int], LabelMap]


def region(labels: LabelMap, place: tuple[int, int]) -> Mask:
    """The pixels that a bucket would fill: connected, of one label, without corners.

    Parameters
    ----------
    labels : (H, W) int
    place : (row, column)
        A pixel of the map.

    Returns
    -------
    (H, W) bool array
        Pixels of the same label as at `place` that sides connect with it.
    """
    from skimage.measure import label

    parts = label(labels == labels[place], connectivity=1)  # three times faster than a flood
    found: Mask = parts == parts[place]
    return found


@dataclass(frozen=True)
class Size:
    """The one number a fix asks for, in pixels.

    Attributes
    ----------
    title : str
        What stands before the number.
    default, least, most : int
    """

    title: str
    default: int
    least: int
    most: int


@dataclass(frozen=True)
class Fix:
    """One way to put a class right.

    Attributes
    ----------
    name : str
        Short and stable, for settings and scripts.
    title : str
        What a button says.
    help_text : str
        One line for its tooltip.
    size : Size
    change : callable
        Does the work on a part of the map: the class and some pixels around it.
    reach : int
        How many of those, as a multiple of the size; one more is always there.
    """

    name: str
    title: str
    help_text: str
    size: Size
    change: Change
    reach: int

    def apply(self, labels: LabelMap, id_: int, size: int) -> LabelMap:
        """The map with one class put right.

        Parameters
        ----------
        labels : (H, W) int
            Left as it is.
        id_ : int
            The class, or 0 for what has none.
        size : int
            From `Size.least` to `Size.most`.

        Returns
        -------
        (H, W) array of the same type
            A copy without a change if the class is nowhere, or everywhere.
        """
        inside = labels == id_
        changed = labels.copy()
        if inside.any() and not inside.all():
            box = box_around(inside, margin=1 + self.reach * size)
            changed[box] = self.change(labels[box], id_, size)
        return changed


def box_around(mask: Mask, margin: int = 0) -> tuple[slice, slice]:
    """The rows and columns that hold all of a mask, and `margin` more where the map has them.

    Parameters
    ----------
    mask : (H, W) bool
        Somewhere true.
    margin : int
    """
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return (
        slice(max(0, int(rows[0]) - margin), int(rows[-1]) + 1 + margin),
        slice(max(0, int(columns[0]) - margin), int(columns[-1]) + 1 + margin),
    )


def _fill_holes(labels: LabelMap, id_: int, size: int) -> LabelMap:
    from skimage.measure import label
    from skimage.morphology import dilation

    holes = label(labels == 0, connectivity=1)
    filled = np.bincount(holes.ravel()) <= size
    # The part's edge is the picture's, or lies outside the class: a hole reaches neither.
    filled[holes[[0, -1]]] = filled[holes[:, [0, -1]]] = False
    filled[holes[dilation((labels != 0) & (labels != id_))]] = False
    filled[0] = False
    return np.where(filled[holes], id_, labels)


def _drop_specks(labels: LabelMap, id_: int, size: int) -> LabelMap:
    from skimage.measure import label

    # By corners too, so that a thin slanting line is no row of specks.
    components = label(labels == id_, connectivity=2)
    small = np.bincount(components.ravel()) < size
    small[0] = False
    specks = np.where(small[components], components, 0)

    first, rest = np.s_[:-1], np.s_[1:]
    borders = []
    for here, beside in ((first, rest), (rest, first)):
        for ours, theirs in ((here, beside), ((np.s_[:], here), (np.s_[:], beside))):
            touching = (specks[ours] > 0) & (components[theirs] == 0)
            borders.append((specks[ours][touching], labels[theirs][touching].astype(np.intp)))
    speck, label_there = np.concatenate(borders, axis=1)
    span = int(labels.max()) + 1
    pairs, lengths = np.unique(speck * span + label_there, return_counts=True)
    speck, label_there = np.divmod(pairs, span)
    # Shortest border first, the smaller label last among equals: the last one written counts.
    order = np.lexsort((-label_there, lengths))
    taken = np.zeros(len(small), labels.dtype)
    taken[speck[order]] = label_there[order]
    return np.where(specks > 0, taken[specks], labels)


def _smooth(labels: LabelMap, id_: int, size: int) -> LabelMap:
    """The class where it holds most of the disk around a pixel.

    Unlike opening and closing, this treats both sides of an outline alike, so that a ragged region
    keeps its size: of a disk 160 pixels wide whose outline scatters by 10, opening and closing with
    radius 3 take 30 % or add it, depending on which comes first; this takes 2 %.
    """
    from scipy.signal import oaconvolve  # type: ignore[import-untyped]
    from skimage.morphology import disk

    inside = labels == id_
    around = disk(size, dtype=np.float32)
    # Mirrored beyond the picture's edge, so that an outline runs on there.
    framed = np.pad(inside.astype(np.float32), size, mode="symmetric")
    smooth = oaconvolve(framed, around, mode="valid") > around.sum() / 2
    changed = np.where(smooth, id_, labels)
    lost = inside & ~smooth
    if lost.any():
        _, nearest = _nearest_others(inside)
        changed[lost] = labels[tuple(nearest[:, lost])]
    return changed


def _grow(labels: LabelMap, id_: int, size: int) -> LabelMap:
    from skimage.morphology import isotropic_dilation

    return np.where(isotropic_dilation(labels == id_, size), id_, labels)


def _shrink(labels: LabelMap, id_: int, size: int) -> LabelMap:
    inside = labels == id_
    distances, nearest = _nearest_others(inside)
    lost = inside & (distances <= size)
    changed = labels.copy()
    changed[lost] = labels[tuple(nearest[:, lost])]
    return changed


def _nearest_others(inside: Mask) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """How far the nearest pixel that is not `inside` is, (H, W), and its place, (2, H, W)."""
    from scipy.ndimage import distance_transform_edt  # type: ignore[import-untyped]

    distances, places = distance_transform_edt(inside, return_indices=True)
    return distances, places


FIXES = (
    Fix(
        name="fill-holes",
        title="Fill holes",
        help_text="Give the class the unlabelled holes that it alone encloses.",
        size=Size("Up to (pixels)", default=500, least=1, most=1_000_000),
        change=_fill_holes,
        reach=0,
    ),
    Fix(
        name="drop-specks",
        title="Drop specks",
        help_text="Give the class's small pieces to the label that borders them most.",
        size=Size("Smaller than (pixels)", default=100, least=2, most=1_000_000),
        change=_drop_specks,
        reach=0,
    ),
    Fix(
        name="smooth",
        title="Smooth",
        help_text="Even out the class's outline; what is thinner than the radius may vanish.",
        size=Size("Radius (pixels)", default=3, least=1, most=50),
        change=_smooth,
        reach=2,
    ),
    Fix(
        name="grow",
        title="Grow",
        help_text="Widen the class on all sides, over whatever is there.",
        size=Size("By (pixels)", default=2, least=1, most=100),
        change=_grow,
        reach=1,
    ),
    Fix(
        name="shrink",
        title="Shrink",
        help_text="Narrow the class on all sides; the nearest other label takes its place.",
        size=Size("By (pixels)", default=2, least=1, most=100),
        change=_shrink,
        reach=0,
    ),
)


def instances(
    labels: LabelMap, id_: int, method: Method = "components", distance: int = 10
) -> NDArray[np.uint16]:
    """One class as separate things.

    Parameters
    ----------
    labels : (H, W) int
    id_ : int
        The class.
    method : {"components", "watershed"}
        Pieces that touch nowhere, not at corners either; or those cut where they are narrow.
    distance : int
        For "watershed": the middles of two things are farther apart than this, in pixels, at
        least 1. Smaller values cut more.

    Returns
    -------
    (H, W) uint16 array
        1 to n from top to bottom, by the first pixel in reading order; 0 where the class is not.

    Raises
    ------
    NapariCliperError
        The class has no pixel, or there are more than 65535 instances.
    """
    from skimage.measure import label

    inside = labels == id_
    if not inside.any():
        raise NapariCliperError(
            f"The class with the id {id_} has no pixel: paint some, or choose another class."
        )
    box = box_around(inside)
    things = label(inside[box], connectivity=2)
    if method == "watershed":
        things = _watershed(things, distance)
    count = int(things.max())
    if count > MAX_INSTANCES:
        raise NapariCliperError(
            f"The class falls into {count} instances, and {MAX_INSTANCES} are the most: "
            "drop its specks first."
        )
    numbered = np.zeros(labels.shape, np.uint16)
    numbered[box] = _in_reading_order(things, count)
    return numbered


def _watershed(components: NDArray[np.intp], distance: int) -> NDArray[np.intp]:
    """Components (H, W), cut between the places that are farthest from any outline."""
    from skimage.feature import peak_local_max
    from skimage.measure import label
    from skimage.segmentation import watershed

    # With a frame, so that there is an outline even where the class fills the picture.
    components = np.pad(components, 1)
    depth, _ = _nearest_others(components > 0)
    peaks = peak_local_max(depth, min_distance=distance, exclude_border=False, labels=components)
    # A ridge of one height has many peaks, but is the middle of one thing.
    levels = label(np.rint(depth**2).astype(np.intp), connectivity=2)
    middles = np.unique(levels[tuple(peaks.T)])
    markers = np.zeros(levels.max() + 1, np.intp)
    markers[middles] = np.arange(1, len(middles) + 1)
    things: NDArray[np.intp] = watershed(
        -depth, markers[levels], mask=components > 0, connectivity=2
    )
    return things[1:-1, 1:-1]


def _in_reading_order(things: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """The same things, (H, W), numbered by their first pixels."""
    flat = things.ravel()
    first = np.empty(count + 1, np.intp)
    first[flat[::-1]] = np.arange(flat.size)[::-1]  # of several, the last one written counts
    numbers = np.zeros(count + 1, np.intp)
    numbers[1 + np.argsort(first[1:])] = np.arange(1, count + 1)
    return numbers[things]
