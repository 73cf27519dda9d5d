"""Bilinear resizing, without corner alignment, as products with matrices.

Several times faster than the interpolation itself where maps grow much, and a part of what is
resized needs no more than a part of the maps.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def interpolation(positions: NDArray[np.floating], places: int, device: torch.device) -> Tensor:
    """What each place of a line contributes at each position.

    Parameters
    ----------
    positions : (n,) float
        In places: 0 is the middle of the first one. What lies beyond the first or the last middle
        has that place's value.
    places : int
    device : torch.device

    Returns
    -------
    (n, places) float32
        Rows sum to 1.
    """
    inside = np.clip(positions, 0, places - 1)
    first = inside.astype(np.intp)
    second = np.minimum(first + 1, places - 1)
    share = inside - first
    matrix = np.zeros((len(positions), places), np.float32)
    rows = np.arange(len(positions))
    matrix[rows, first] = 1 - share
    matrix[rows, second] += share
    return torch.from_numpy(matrix).to(device)


def middles(part: slice, pixels: int, places: int) -> NDArray[np.float64]:
    """Where the middles of some of a line's pixels lie among its places, (n,) float64."""
    return (np.arange(part.start, part.stop) + 0.5) * (places / pixels) - 0.5


def enlargement(
    part: slice, pixels: int, places: int, device: torch.device
) -> tuple[slice, Tensor]:
    """What makes some of a line's pixels of its places.

    Parameters
    ----------
    part : slice
        Which pixels.
    pixels, places : int
        How many the line has of each.
    device : torch.device

    Returns
    -------
    needed : slice
        The places that contribute.
    matrix : (n, needed) float32
    """
    positions = middles(part, pixels, places)
    first = min(max(int(np.floor(positions[0])), 0), places - 1)
    last = min(max(int(np.ceil(positions[-1])), first), places - 1)
    needed = slice(first, last + 1)
    return needed, interpolation(positions - first, last + 1 - first, device)
