"""Where a segmentation is least sure, so that a person looks there first."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from napari_cliper.annotation.painted import Mask

LEAST_SHARE, LEAST_AREA = 0.0002, 9  # of the picture, and pixels: smaller spots are specks


@dataclass(frozen=True)
class Spot:
    """A connected region that is unsure.

    Attributes
    ----------
    weight : float
        The sum of the uncertainty over its pixels: mean uncertainty times area.
    area : int
        Pixels.
    box : (top, left, bottom, right)
        The pixels that hold it; bottom and right are the first ones beyond.
    place : (row, column)
        Its most uncertain pixel, of several the first in reading order.
    inside : (bottom - top, right - left) bool
        Which pixels of the box belong to it.
    """

    weight: float
    area: int
    box: tuple[int, int, int, int]
    place: tuple[int, int]
    inside: Mask = field(repr=False, compare=False)


def spots(
    uncertainty: NDArray[np.float32], left_out: Mask | None = None, most: int = 50
) -> tuple[Spot, ...]:
    """The regions that deserve a look, weightiest first.

    Parameters
    ----------
    uncertainty : (H, W) float32
        From 0 to 1. A region's pixels are above Otsu's threshold of the whole map, and connected
        by sides or corners.
    left_out : (H, W) bool, optional
        Pixels that a person painted or has seen. They belong to no region, but leave the
        threshold where it is: what is unsure does not change as a person goes on.
    most : int
        How many regions at most.

    Returns
    -------
    tuple of Spot
        Without those under 0.0002 of the picture or 9 pixels. None for a constant map.
    """
    from skimage.filters import threshold_otsu
    from skimage.measure import label, regionprops

    unsure = uncertainty > threshold_otsu(uncertainty)
    if left_out is not None:
        unsure &= ~left_out
    regions = label(unsure, connectivity=2)
    numbers, count = regions[unsure], int(regions.max()) + 1
    areas = np.bincount(numbers, minlength=count)
    weights = np.bincount(numbers, uncertainty[unsure], minlength=count)
    kept = np.flatnonzero(areas >= max(LEAST_AREA, LEAST_SHARE * uncertainty.size))
    kept = kept[np.argsort(-weights[kept], kind="stable")][:most]
    rank = np.zeros(count, np.int32)
    rank[kept] = np.arange(1, len(kept) + 1)
    return tuple(
        _spot(float(weights[number]), found.bbox, found.image, uncertainty)
        for number, found in zip(kept, regionprops(rank[regions]), strict=True)
    )


def weight_of(uncertainty: NDArray[np.float32]) -> float:
    """How unsure a picture is as a whole, to order the pictures of a folder by.

    The mean over all pixels, of spots or not: the sum of the uncertainty, which is what spots
    are weighed by, as a share of the most there could be, 1 everywhere.

    Parameters
    ----------
    uncertainty : (H, W) float32
        From 0 to 1.

    Returns
    -------
    float
        From 0 to 1.
    """
    return float(uncertainty.mean(dtype=np.float64))


def _spot(
    weight: float,
    box: tuple[int, int, int, int],
    inside: Mask,
    uncertainty: NDArray[np.float32],
) -> Spot:
    top, left, bottom, right = box
    values = np.where(inside, uncertainty[top:bottom, left:right], -1)
    row, column = np.unravel_index(int(values.argmax()), inside.shape)
    place = (top + int(row), left + int(column))
    return Spot(weight, int(np.count_nonzero(inside)), (top, left, bottom, right), place, inside)
