"""Scores and thresholds become label maps (METHOD step 7)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from napari_cliper.cliper.resampling import enlargement, interpolation, middles
from napari_cliper.cliper.scribbles import Scribbles
from napari_cliper.errors import NapariCliperError

# Pixels of all classes that are worked on at a time: few enough to stay in the processor's cache.
_CHUNK = 500_000

Part: TypeAlias = tuple[slice, slice]
"""Rows and columns of a picture."""


def presence(coarse: Tensor, refined: Tensor) -> Tensor:
    """How sure the maps are that a class is in the picture: (C,) from (C, …) maps.

    The mean of both maps' maxima, before any resizing.
    """
    return (refined.flatten(1).amax(dim=1) + coarse.flatten(1).amax(dim=1)) / 2


def resized_rows(
    maps: Tensor, size: tuple[int, int], part: Part | None = None
) -> Iterator[tuple[slice, Tensor]]:
    """The maps in the picture's size, some rows at a time, so that they need not be in memory.

    Parameters
    ----------
    maps : (C, gh, gw) float
    size : (H, W)
    part : (rows, columns) or None
        Which pixels are wanted; None for all.

    Yields
    ------
    rows : slice
        Of the part.
    resized : (C, rows, w) float32
    """
    part = part or (slice(0, size[0]), slice(0, size[1]))
    (needed, down), (beside, across) = (
        enlargement(pixels, whole, places, maps.device)
        for pixels, whole, places in zip(part, size, maps.shape[1:], strict=True)
    )
    wide = maps[:, needed, beside].float() @ across.T
    step = max(1, _CHUNK // max(1, len(maps) * len(across)))
    for start in range(0, len(down), step):
        rows = slice(start, min(start + step, len(down)))
        yield rows, down[rows] @ wide


def _corners(places: int, pixels: int) -> NDArray[np.float64]:
    """Where the pixels are that are first or last between two places, (n,) float64, in places."""
    positions = middles(slice(0, pixels), pixels, places)
    change = np.ones(pixels + 1, bool)
    change[1:-1] = np.diff(np.floor(positions)) != 0
    return positions[change[1:] | change[:-1]]


@dataclass(frozen=True)
class Thresholds:
    """What turns scores into labels.

    Attributes
    ----------
    presence : float in [0, 1]
        Classes that are not more present than this are dropped.
    background : float in [0, 1]
        Scores below this are background; 0 uses the score (1 - maximum)² instead, and drops no
        class.

    Raises
    ------
    NapariCliperError
        If a threshold is outside its range.
    """

    presence: float
    background: float

    def __post_init__(self) -> None:
        for threshold in (self.presence, self.background):
            if not 0 <= threshold <= 1:
                raise NapariCliperError(f"A threshold of {threshold} makes no sense: give 0 to 1.")


@dataclass(frozen=True, eq=False)
class Ranking:
    """The best class of each pixel, whatever the background threshold.

    Attributes
    ----------
    winner : (H, W) integers
        i + 1 where the i-th class is best; 0 where no class has a score above 0.
    best : (H, W) float32
        Its score.
    """

    winner: Tensor
    best: Tensor

    def labels(self, background_threshold: float) -> Tensor:
        """(H, W) integers: 0 background, i + 1 the i-th class."""
        background = self.background(background_threshold)
        below = self.best <= background if background_threshold == 0 else self.best < background
        return self.winner.masked_fill(below, 0)

    def background(self, threshold: float) -> Tensor:
        """The background's score: the threshold, or (1 - best)² where it is 0."""
        return (1 - self.best) ** 2 if threshold == 0 else self.best.new_tensor(threshold)


@dataclass(frozen=True, eq=False)
class Labeller:
    """Labels the same maps again and again, at other thresholds; what they share is kept.

    Attributes
    ----------
    maps : (C, gh, gw) float
    presence : (C,) float
    size : (H, W)
        Of the picture.
    normalise : bool
        Whether each class's score is stretched to [0, 1].
    scribbles : Scribbles or None
        A person's strokes, which correct the scores; stroked pixels have the stroke's label.
    """

    maps: Tensor
    presence: Tensor
    size: tuple[int, int]
    normalise: bool
    scribbles: Scribbles | None = None
    _last: dict[tuple[bool, ...], Ranking] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def scaled(self) -> Tensor:
        """Maps that, resized, are the scores before strokes; each maximum is the presence, or 1.

        Returns
        -------
        (C, gh, gw) float32
        """
        maps = self.maps.float()
        low, high = self._extremes
        factor = self.presence.float() / (high + 1e-5)
        offset = torch.zeros_like(factor)
        if self.normalise:
            ends = torch.stack([low * factor, high * factor])
            span = ends.amax(dim=0) - ends.amin(dim=0) + 1e-6
            factor, offset = factor / span, -ends.amin(dim=0) / span
        return maps * factor[:, None, None] + offset[:, None, None]

    @cached_property
    def _extremes(self) -> tuple[Tensor, Tensor]:
        """The smallest and the largest value of each map in the picture's size, (C,) each.

        Between four places the resized map is bilinear, so of the pixels there a corner one is
        largest: only those are looked at.
        """
        down, across = (
            interpolation(_corners(places, pixels), places, self.maps.device)
            for places, pixels in zip(self.maps.shape[1:], self.size, strict=True)
        )
        # One by one: those of a large picture's classes together need not fit into memory.
        ends = [torch.stack((down @ one.float() @ across.T).aminmax()) for one in self.maps]
        low, high = torch.stack(ends).T
        return low, high

    def scores(self) -> Tensor:
        """Each class's score a pixel, present or not, (C, H, W) float32."""
        maps = self._corrected(torch.ones_like(self.presence, dtype=torch.bool))
        return torch.cat([chunk for _, chunk in resized_rows(maps, self.size)], dim=1)

    def present(self, thresholds: Thresholds, known: Tensor | None = None) -> Tensor:
        """Which classes are labelled, (C,) bool: the `known` or present ones, and those stroked."""
        return self._shown(self._found(thresholds, known))

    def _found(self, thresholds: Thresholds, known: Tensor | None) -> Tensor:
        """Which classes are labelled whatever the strokes, (C,) bool."""
        if known is not None:
            return known.to(self.presence.device)
        return (self.presence > thresholds.presence) | (thresholds.background == 0)

    def _shown(self, found: Tensor) -> Tensor:
        """Those classes, and the ones that strokes bring in."""
        return found if self.scribbles is None else found | self.scribbles.stroked

    def _corrected(self, found: Tensor) -> Tensor:
        """The scaled maps after the strokes, if these classes are found without them."""
        return (
            self.scaled if self.scribbles is None else self.scribbles.corrected(self.scaled, found)
        )

    def labels(self, thresholds: Thresholds, known: Tensor | None = None) -> Tensor:
        """The class of each pixel.

        Parameters
        ----------
        thresholds : Thresholds
        known : (C,) bool or None
            Which classes are known to be in the picture, in place of the presence threshold.

        Returns
        -------
        (H, W) integers: 0 background, i + 1 the i-th class
        """
        return self._ranking(thresholds, known).labels(thresholds.background)

    def labels_by_part(
        self, parts: Iterable[Part], thresholds: Thresholds, known: Tensor | None = None
    ) -> Iterator[Tensor]:
        """The same for some rows and columns after others, so that no whole map is in memory.

        Strokes do not count.

        Yields
        ------
        (h, w) integers, for each part
        """
        found = self._found(thresholds, known)
        maps, numbers = self.scaled[found], _numbers(found)
        for part in parts:
            yield _rank(maps, numbers, self.size, part).labels(thresholds.background)

    def uncertainty(self, thresholds: Thresholds, known: Tensor | None = None) -> Tensor:
        """One minus the margin between the two best scores, the background's among them.

        Returns
        -------
        (H, W) float32 in [0, 1]
        """
        ranking, found = self._ranking(thresholds, known), self._found(thresholds, known)
        shown = self._shown(found)
        second = torch.zeros_like(ranking.best)
        if shown.sum() > 1:
            for rows, chunk in resized_rows(self._corrected(found)[shown], self.size):
                second[rows] = chunk.topk(2, dim=0).values[1].clamp_(min=0)
        background = ranking.background(thresholds.background)
        first = torch.maximum(ranking.best, background)
        second = torch.maximum(second, torch.minimum(ranking.best, background))
        uncertainty = (1 - (first - second)).clamp_(0, 1)
        if self.scribbles is not None:
            uncertainty.view(-1)[self.scribbles.pixels] = 0
        return uncertainty

    def _ranking(self, thresholds: Thresholds, known: Tensor | None) -> Ranking:
        """The ranking of the classes that are labelled; the last one is kept."""
        found = self._found(thresholds, known)
        key = tuple(found.tolist())
        ranking = self._last.get(key)  # another thread may clear what is kept
        if ranking is None:
            ranking = self._rank(found)
            self._last.clear()
            self._last[key] = ranking
        return ranking

    def _rank(self, found: Tensor) -> Ranking:
        shown = self._shown(found)
        ranking = _rank(self._corrected(found)[shown], _numbers(shown), self.size)
        if self.scribbles is not None:
            pixels, labels = self.scribbles.pixels, self.scribbles.labels
            ranking.winner.view(-1)[pixels] = labels.to(ranking.winner.dtype)
            # Above whatever threshold.
            ranking.best.view(-1)[pixels] = (labels > 0).to(ranking.best.dtype)
        return ranking


def _numbers(shown: Tensor) -> Tensor:
    """I + 1 of each class that is shown, (n,) integers."""
    numbers = shown.nonzero()[:, 0] + 1
    return numbers.to(torch.uint8 if len(shown) < 256 else torch.int32)


def _rank(
    maps: Tensor, numbers: Tensor, size: tuple[int, int], part: Part | None = None
) -> Ranking:
    """The ranking of all pixels, or those of a part, among maps that are called by numbers."""
    rows, columns = part or (slice(0, size[0]), slice(0, size[1]))
    # Where no score is above 0 there is no winner.
    best = maps.new_zeros(rows.stop - rows.start, columns.stop - columns.start)
    winner = numbers.new_zeros(best.shape)
    if len(numbers) > 0:
        for some, chunk in resized_rows(maps, size, part):
            score, place = chunk.max(dim=0)  # the first of equals
            best[some] = score.clamp_(min=0)
            winner[some] = numbers[place].masked_fill_(score == 0, 0)
    return Ranking(winner, best)


def refined_in_part(coarse: Tensor, refined: Tensor, refinement: float) -> Tensor:
    """Something between both maps: `coarse` where the refinement is 0, `refined` where it is 1.

    Parameters
    ----------
    coarse : (C, h, w) float
    refined : (C, gh, gw) float
    refinement : float in [0, 1]
    """
    if refinement in (0, 1):
        return refined if refinement else coarse
    resized = F.interpolate(coarse[None], refined.shape[1:], mode="bilinear", align_corners=False)
    return resized[0].lerp(refined, refinement)
