"""A picture in windows: each is looked at by itself, and their maps become those of the picture.

Where windows overlap, their scores are blended before any of them is compared with another, so
that no borders of windows show in the labels. The paper has no such step: it says that the method
loses small things, which a window holds in more patches.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_cliper.cliper.labelling import Part
from napari_cliper.cliper.resampling import interpolation

LONGEST = 2  # times as long as it is wide, a window may be: attention costs its area's square
LEAST = 1e-6  # of a weight


@dataclass(frozen=True)
class Line:
    """Windows along one side of a picture: all as long, evenly spread, from end to end.

    Attributes
    ----------
    pixels : int
        Of the side.
    window : int
        Pixels of each window.
    starts : tuple of int
        The first pixel of each.
    """

    pixels: int
    window: int
    starts: tuple[int, ...]

    @classmethod
    def spread(cls, pixels: int, window: int, overlap: float) -> "Line":
        """As few windows as there can be.

        Parameters
        ----------
        pixels, window : int
            window ≤ pixels.
        overlap : float in (0, 1)
            The least share of a window that the next one holds, too.
        """
        left = pixels - window
        gaps = math.ceil(left / (window * (1 - overlap)))
        return cls(pixels, window, tuple(round(left * i / max(gaps, 1)) for i in range(gaps + 1)))

    def pixels_of(self, index: int) -> slice:
        """Which pixels a window holds."""
        return slice(self.starts[index], self.starts[index] + self.window)

    def shares(self, places: int) -> NDArray[np.float64]:
        """How much each window counts at each of the side's places: (windows, places) in [0, 1].

        A raised cosine: nothing at a window's ends and all in its middle, rising over what it has
        in common with the next one. At each place the windows' shares sum to 1.
        """
        starts = np.array(self.starts)[:, None]
        inside = self._middles(places) - starts
        # Where the picture ends there is no other window to give way to.
        from_start = np.where(starts == 0, np.inf, inside)
        to_end = np.where(starts + self.window == self.pixels, np.inf, self.window - inside)
        near = np.minimum(from_start, to_end)
        stride = max(np.diff(self.starts), default=0)
        # At least a pixel: starts are whole ones, so that tiny windows may have nothing in common.
        rise = max(1, min(self.window - stride, self.window / 2))
        weights = 0.5 - 0.5 * np.cos(np.pi * np.clip(near / rise, 0, 1))
        # Never nothing inside a window: a place may lie just where one ends and the next begins.
        within = (inside >= 0) & (inside < self.window)
        weights = np.where(within, np.maximum(weights, LEAST), 0)
        shares: NDArray[np.float64] = weights / weights.sum(axis=0)
        return shares

    def _middles(self, places: int) -> NDArray[np.float64]:
        """Where the middles of the side's places are, in pixels."""
        return (np.arange(places) + 0.5) * self.pixels / places

    def carrier(self, index: int, own: int, places: int) -> tuple[slice, Tensor]:
        """What carries a window's places to the side's.

        Parameters
        ----------
        index : int
            Which window.
        own, places : int
            How many places the window has, and the side.

        Returns
        -------
        reached : slice
            Of the side's places, those whose middles the window holds.
        matrix : (reached, own) float32
            Bilinear, times the window's share.
        """
        share = self.shares(places)[index]
        reached = np.flatnonzero(share)
        # A window that is smaller than a place may reach none.
        part = slice(int(reached[0]), int(reached[-1]) + 1) if len(reached) else slice(0, 0)
        inside = self._middles(places)[part] - self.starts[index]
        matrix = interpolation(inside / self.window * own - 0.5, own, torch.device("cpu"))
        return part, matrix * torch.from_numpy(share[part].astype(np.float32))[:, None]


@dataclass(frozen=True)
class Layout:
    """All windows of a picture, row by row.

    Attributes
    ----------
    down, across : Line
    """

    down: Line
    across: Line

    @classmethod
    def of(cls, size: tuple[int, int], window: int, overlap: float) -> "Layout":
        """Square windows, or as long as the picture where it is shorter, then at most twice so.

        Parameters
        ----------
        size : (H, W)
        window : int
            Pixels of a side.
        overlap : float in (0, 1)
        """
        height, width = size
        tall, wide = min(window, height, LONGEST * width), min(window, width, LONGEST * height)
        return cls(Line.spread(height, tall, overlap), Line.spread(width, wide, overlap))

    def __len__(self) -> int:
        return len(self.down.starts) * len(self.across.starts)

    @property
    def area(self) -> int:
        """Pixels of a window."""
        return self.down.window * self.across.window

    def windows(self) -> Iterator[tuple[int, int]]:
        """Place of each window, in rows and columns of windows."""
        for row in range(len(self.down.starts)):
            for column in range(len(self.across.starts)):
                yield row, column

    def part(self, window: tuple[int, int]) -> Part:
        """The pixels that a window holds."""
        return self.down.pixels_of(window[0]), self.across.pixels_of(window[1])

    def grid(self, own: tuple[int, int]) -> tuple[int, int]:
        """Places that the picture's maps have, for as many in each window."""
        lines = (self.down, self.across)
        rows, columns = (
            max(1, round(line.pixels / line.window * places))
            for line, places in zip(lines, own, strict=True)
        )
        return rows, columns


@dataclass(frozen=True, eq=False)
class Blend:
    """Maps of a picture, put together from those of its windows.

    Attributes
    ----------
    maps : (C, gh, gw) float32
        The sum so far: whole when all windows of layouts whose shares sum to 1 are in it.
    """

    maps: Tensor

    @classmethod
    def empty(cls, classes: int, grid: tuple[int, int]) -> "Blend":
        """Before the first window."""
        return cls(torch.zeros(classes, *grid))

    def add(
        self, layout: Layout, window: tuple[int, int], maps: Tensor, share: float = 1.0
    ) -> None:
        """Add one window's maps.

        Parameters
        ----------
        layout : Layout
        window : (row, column) of windows
        maps : (C, h, w) float
        share : float in [0, 1]
            How much this layout counts.
        """
        (rows, down), (columns, across) = (
            line.carrier(index, own, places)
            for line, index, own, places in zip(
                (layout.down, layout.across),
                window,
                maps.shape[1:],
                self.maps.shape[1:],
                strict=True,
            )
        )
        self.maps[:, rows, columns] += share * (down @ maps.float().cpu() @ across.T)
