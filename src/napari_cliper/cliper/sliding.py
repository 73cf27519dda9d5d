"""Sliding crops of the resized picture (METHOD step 4, the rows marked * in the reference)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_cliper.cliper.early_layer_fusion import FusedFeatures
from napari_cliper.cliper.steps import Steps

Window: TypeAlias = tuple[slice, slice]
"""Rows and columns of the picture's patches that a crop holds."""


@dataclass(frozen=True)
class SlidingFeatures:
    """Crops of a picture, put back in their places.

    Attributes
    ----------
    embeddings : (K, h * w, D) float
        For each patch, the mean over the crops that hold it of its unit embeddings.
    attention : (h * w, h * w) float
        The crops' Ā, averaged over the crops that hold both patches; rows sum to 1.
    """

    embeddings: Tensor
    attention: Tensor


def crop_starts(side: int, crop: int, stride: int) -> list[int]:
    """Where crops begin along one side; the last one is shifted back to end at the border."""
    last = max(side - crop, 0)
    return [*range(0, last, stride), last]


def encode_crops(
    pixels: Tensor,
    patch: int,
    crop: int,
    stride: int,
    encode: Callable[[Tensor, Window], Steps[FusedFeatures]],
) -> Steps[SlidingFeatures]:
    """Run every crop through the encoder and put the results together.

    Parameters
    ----------
    pixels : (1, 3, h * patch, w * patch)
    patch : pixels of a patch's side
    crop, stride : int
        In pixels; both are whole multiples of the patch.
    encode : callable
        What turns a crop's pixels, and where they were, into features.

    Yields
    ------
    Step

    Returns
    -------
    SlidingFeatures
    """
    height, width = pixels.shape[-2:]
    rows, columns = height // patch, width // patch
    positions = torch.arange(rows * columns, device=pixels.device).view(rows, columns)
    embeddings = count = attention = pairs = torch.zeros(())
    for top in crop_starts(height, crop, stride):
        for left in crop_starts(width, crop, stride):
            place = (
                slice(top // patch, (top + crop) // patch),
                slice(left // patch, (left + crop) // patch),
            )
            features = yield from encode(pixels[..., top : top + crop, left : left + crop], place)
            units = F.normalize(features.embeddings[:, 1:], dim=-1)
            if embeddings.ndim == 0:
                embeddings = units.new_zeros(len(units), rows * columns, units.shape[-1])
                attention = units.new_zeros(rows * columns, rows * columns)
                count, pairs = attention.new_zeros(rows * columns), torch.zeros_like(attention)
            window = positions[place].flatten()
            embeddings[:, window] += units
            count[window] += 1
            attention[window[:, None], window] += features.attention
            pairs[window[:, None], window] += 1
    attention = attention / (pairs + 1e-5)
    return SlidingFeatures(
        embeddings / count[:, None], attention / attention.sum(dim=-1, keepdim=True)
    )
