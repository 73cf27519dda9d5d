"""Scores and thresholds become label maps (METHOD step 7)."""

from collections.abc import Iterator

import torch
from torch import Tensor

from napari_cliper.cliper.coarse import resize_maps
from napari_cliper.cliper.settings import Settings


def presence(coarse: Tensor, refined: Tensor) -> Tensor:
    """How sure the maps are that a class is in the picture: (C,) from (C, …) maps.

    The mean of both maps' maxima, before any resizing.
    """
    return (refined.flatten(1).amax(dim=1) + coarse.flatten(1).amax(dim=1)) / 2


def score_map(map_: Tensor, presence_: Tensor, size: tuple[int, int], normalise: bool) -> Tensor:
    """One class's map in the picture's size, scaled by its presence.

    Parameters
    ----------
    map_ : (gh, gw) float
    presence_ : () float
    size : (H, W)
    normalise : bool
        Whether to stretch the result to [0, 1].

    Returns
    -------
    (H, W) float
    """
    resized = resize_maps(map_[None], size)[0]
    score = resized / (resized.max() + 1e-5) * presence_
    if normalise:
        score = score - score.min()
        score = score / (score.max() + 1e-6)
    return score


def score_maps(
    maps: Tensor, presence_: Tensor, size: tuple[int, int], normalise: bool
) -> Iterator[Tensor]:
    """Each class's `score_map` in turn, so that no more than one need be in memory."""
    return (
        score_map(map_, present, size, normalise)
        for map_, present in zip(maps, presence_, strict=True)
    )


def label_map(
    maps: Tensor,
    presence_: Tensor,
    size: tuple[int, int],
    settings: Settings,
    present: Tensor | None = None,
) -> Tensor:
    """The class of each pixel.

    Parameters
    ----------
    maps : (C, gh, gw) float
    presence_ : (C,) float
    size : (H, W)
    settings : Settings
        Its thresholds; a background threshold of 0 uses (1 - maximum)² as the background's score,
        and drops no class.
    present : (C,) bool or None
        Which classes are known to be in the picture, in place of the presence threshold.

    Returns
    -------
    (H, W) int64: 0 background, i + 1 the i-th class
    """
    threshold = settings.background_threshold
    if present is None:
        present = (presence_ > settings.presence_threshold) | (threshold == 0)
    labels = torch.zeros(size, dtype=torch.int64, device=maps.device)
    best = torch.zeros(size, dtype=maps.dtype, device=maps.device)
    scores = score_maps(maps, presence_, size, settings.normalise_each_class)
    for label, (kept, score) in enumerate(zip(present.tolist(), scores, strict=True), start=1):
        if not kept:
            continue
        better = (score > best) & (score >= threshold)
        labels[better] = label
        best = torch.where(better, score, best)
    if threshold == 0:
        labels[(1 - best) ** 2 >= best] = 0
    return labels
