"""How well two label maps of one picture agree, class by class."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from napari_cliper.annotation.painted import LabelMap, Mask
from napari_cliper.errors import NapariCliperError

# Berkeley's segmentation benchmark's share of the diagonal; whole pixels, upwards, as DAVIS does.
TOLERANCE = 0.0075

Points: TypeAlias = NDArray[np.intp]


@dataclass(frozen=True)
class ClassAgreement:
    """How well one class agrees.

    Attributes
    ----------
    id : int
    iou : float
        Pixels that have it in both maps, of those that have it in either; 0 to 1.
    boundary_f : float
        The harmonic mean of two shares, 0 to 1: of the first map's boundary that the second's is
        near, and the other way round. 1 if there is no boundary in either map, 0 if in only one.
    """

    id: int
    iou: float
    boundary_f: float


@dataclass(frozen=True)
class Agreement:
    """How well two label maps agree.

    Attributes
    ----------
    classes : tuple of ClassAgreement
        Those of the ids asked for that are in either map, in the order asked for.
    pixel_accuracy : float
        The share of all pixels that have the same label, or none, in both maps.
    tolerance : float
        How far apart boundaries may be and still agree, in pixels.
    different : (H, W) bool
        Where the labels differ.
    """

    classes: tuple[ClassAgreement, ...]
    pixel_accuracy: float
    tolerance: float
    different: Mask = field(repr=False, compare=False)

    @property
    def mean_iou(self) -> float:
        """Over the classes; 1 if neither map has any."""
        return _mean([entry.iou for entry in self.classes])

    @property
    def mean_boundary_f(self) -> float:
        """Over the classes; 1 if neither map has any."""
        return _mean([entry.boundary_f for entry in self.classes])


def compare(
    labels: LabelMap, others: LabelMap, ids: Iterable[int], tolerance: float | None = None
) -> Agreement:
    """Compare two label maps of one picture.

    Parameters
    ----------
    labels, others : (H, W) int
        0 or more. An id means the same class in both.
    ids : iterable of int
        The classes to compare, 1 or more; other labels count for the pixel accuracy alone.
    tolerance : float, optional
        How far apart boundaries may be and still agree, in pixels, straight across. Without it,
        0.0075 of the diagonal, rounded up. A class's boundary is its outermost pixels, each with
        a side to another label; at the picture's edge there is none.

    Returns
    -------
    Agreement

    Raises
    ------
    NapariCliperError
        The maps are of different sizes.
    """
    different = _different(labels, others)
    if tolerance is None:
        tolerance = math.ceil(TOLERANCE * math.hypot(*labels.shape))
    wanted = list(dict.fromkeys(ids))
    size = 1 + max(int(labels.max()), int(others.max()), *wanted, 0)
    areas, other_areas, shared = (
        np.bincount(values.ravel().astype(np.intp), minlength=size).tolist()
        for values in (labels, others, labels[~different])
    )
    boundaries, other_boundaries = _boundaries(labels), _boundaries(others)
    classes = []
    for id_ in wanted:
        either = areas[id_] + other_areas[id_] - shared[id_]
        if not either:
            continue
        in_both = areas[id_] > 0 and other_areas[id_] > 0
        boundary_f = (
            _boundary_f(_of(id_, boundaries), _of(id_, other_boundaries), tolerance)
            if in_both
            else 0.0  # also where the class fills one map and so has no boundary in either
        )
        classes.append(ClassAgreement(id_, shared[id_] / either, boundary_f))
    return Agreement(tuple(classes), 1 - float(different.mean()), tolerance, different)


def difference(labels: LabelMap, others: LabelMap) -> NDArray[np.uint8]:
    """How two label maps of one picture differ.

    Parameters
    ----------
    labels, others : (H, W) int

    Returns
    -------
    (H, W) uint8 array
        0 the same, 1 labelled only in the first, 2 only in the second, 3 in both, differently.

    Raises
    ------
    NapariCliperError
        The maps are of different sizes.
    """
    different = _different(labels, others)
    kinds: NDArray[np.uint8] = different * ((labels != 0) + np.uint8(2) * (others != 0))
    return kinds


def _different(labels: LabelMap, others: LabelMap) -> Mask:
    if labels.shape != others.shape:
        raise NapariCliperError(
            f"Masks of {labels.shape} and {others.shape} pixels cannot be compared: "
            "give two of the same picture."
        )
    different: Mask = labels != others
    return different


def _boundaries(labels: LabelMap) -> tuple[Points, LabelMap]:
    """The boundary pixels of all classes, (n, 2), and their labels, (n,)."""
    from skimage.segmentation import find_boundaries

    # A pixel of the thick boundary is on the inner one of its own label.
    boundary = find_boundaries(labels, mode="thick")
    return np.argwhere(boundary), labels[boundary]


def _of(id_: int, boundaries: tuple[Points, LabelMap]) -> Points:
    points, labels = boundaries
    chosen: Points = points[labels == id_]
    return chosen


def _boundary_f(ours: Points, theirs: Points, tolerance: float) -> float:
    if not len(ours) or not len(theirs):
        return float(len(ours) == len(theirs))
    precision, recall = _near(ours, theirs, tolerance), _near(theirs, ours, tolerance)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _near(points: Points, others: Points, tolerance: float) -> float:
    """The share of the points that another is within the tolerance of."""
    from scipy.spatial import KDTree  # type: ignore[import-untyped]

    distances, _ = KDTree(others).query(points)
    return float((distances <= tolerance).mean())


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 1.0
