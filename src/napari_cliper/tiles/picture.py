"""A picture that need not fit into memory, read window by window."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_cliper.cliper.labelling import Part
from napari_cliper.cliper.steps import Step, Steps
from napari_cliper.errors import NapariCliperError
from napari_cliper.images import MIN_SIDE, natural_limits, part_to_rgb, to_rgb

LONGEST = 4096  # pixels of a side that are read at full resolution; an encoder takes far fewer
TOGETHER = 2048  # pixels of a side that are in memory at a time beside that


class Lazy(Protocol):
    """What numpy, dask, zarr and tensorstore arrays have in common."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Height, width, and 3 or 4 colours if there are any."""

    @property
    def dtype(self) -> Any:
        """As numpy has it, or what says so."""

    def __getitem__(self, part: Any) -> Any:
        """A part, which `numpy.asarray` turns into pixels."""


@dataclass(frozen=True, eq=False)
class Picture:
    """Pixels that are read when they are asked for.

    Attributes
    ----------
    levels : sequence of arrays
        The picture, and smaller copies of it if there are any; see `Picture.of`.
    limits : (low, high) or None
        The values that become black and white; None for those of 8 bits.
    """

    levels: Sequence[Lazy]
    limits: tuple[float, float] | None = None

    @classmethod
    def of(
        cls, image: Lazy | Sequence[Lazy], limits: tuple[float, float] | None = None
    ) -> Steps["Picture"]:
        """What is to be segmented.

        Parameters
        ----------
        image : array, or sequence of arrays
            (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), as `images.to_rgb` takes it, but of any size;
            as a list, the picture and smaller copies of it, as napari has them.
        limits : (low, high) or None
            The values that become black and white. None finds them in the whole picture, as
            `images.to_rgb` does: what has more than 8 bits is read once more for them.

        Yields
        ------
        Step

        Returns
        -------
        Picture

        Raises
        ------
        NapariCliperError
            It is no picture, too small, has transparency of more than 8 bits, or cannot be read.
        """
        picture = cls.checked(image, limits)
        if limits is not None or picture._dtype in (np.bool_, np.uint8):
            return picture
        return cls(picture.levels, (yield from picture._extremes()))

    @classmethod
    def checked(
        cls, image: Lazy | Sequence[Lazy], limits: tuple[float, float] | None = None
    ) -> "Picture":
        """The same before anything of it is read; of limits, only those that are given.

        Raises
        ------
        NapariCliperError
        """
        levels = tuple(image) if isinstance(image, list | tuple) else (image,)
        _check(levels, limits)
        return cls(levels, limits)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, in pixels."""
        height, width = self.levels[0].shape[:2]
        return height, width

    @property
    def _dtype(self) -> np.dtype[Any]:
        return dtype_of(self.levels[0])

    def read(self, part: Part) -> NDArray[np.uint8]:
        """Some rows and columns, made smaller where there are more pixels than an encoder needs.

        Returns
        -------
        (h, w, 3) uint8
            Sides of at most 4096 pixels: else each pixel is the mean of a square of pixels.

        Raises
        ------
        NapariCliperError
            They cannot be read; the message names them.
        """
        level, (rows, columns) = self._level(part)
        longest = max(rows.stop - rows.start, columns.stop - columns.start)
        factor = math.ceil(longest / LONGEST)
        if factor == 1:
            return self._colors(level, (rows, columns))
        height, width = (-(-(side.stop - side.start) // factor) for side in (rows, columns))
        small = np.empty((height, width, 3), np.uint8)
        step = TOGETHER // factor * factor
        for some in blocks((rows, columns), step):
            pixels = Image.fromarray(self._colors(level, some))
            shrunk = np.array(pixels.reduce(factor))
            top, left = (
                (here.start - start.start) // factor
                for here, start in zip(some, (rows, columns), strict=True)
            )
            small[top : top + shrunk.shape[0], left : left + shrunk.shape[1]] = shrunk
        return small

    def _level(self, part: Part) -> tuple[Lazy, Part]:
        """The smallest copy that has enough pixels of a part, and which these are."""
        longest = max(side.stop - side.start for side in part)
        for level in reversed(self.levels):
            factors = [own / all_ for own, all_ in zip(level.shape[:2], self.size, strict=True)]
            if math.ceil(longest * min(factors)) >= min(longest, LONGEST):
                rows, columns = (
                    slice(round(side.start * factor), max(1, round(side.stop * factor)))
                    for side, factor in zip(part, factors, strict=True)
                )
                return level, (rows, columns)
        return self.levels[0], part

    def _colors(self, level: Lazy, part: Part) -> NDArray[np.uint8]:
        """One part of a level as it is."""
        pixels = read_part(level, part)
        return part_to_rgb(pixels[..., None] if pixels.ndim == 2 else pixels, self.limits)

    def _extremes(self) -> Steps[tuple[float, float]]:
        """The limits that `to_rgb` would find, from all pixels."""
        level = self.levels[0]
        everything = slice(0, self.size[0]), slice(0, self.size[1])
        parts = list(blocks(everything, TOGETHER))
        ends: list[Any] = []
        for done, part in enumerate(parts):
            yield Step("Looking for the darkest and the brightest pixel", done, len(parts))
            pixels = read_part(level, part)
            if pixels.dtype.kind == "f":
                pixels = pixels[np.isfinite(pixels)]
            if pixels.size:
                ends += [pixels.min(), pixels.max()]
        return natural_limits(np.array(ends, self._dtype), from_zero=channels_of(level) > 1)


def blocks(part: Part, step: int) -> Iterator[Part]:
    """A part in squares of `step` pixels, row by row; the last ones may be smaller."""
    rows, columns = part
    for top in range(rows.start, rows.stop, step):
        for left in range(columns.start, columns.stop, step):
            yield (
                slice(top, min(top + step, rows.stop)),
                slice(left, min(left + step, columns.stop)),
            )


def read_part(level: Lazy, part: Part) -> NDArray[Any]:
    """Read a part.

    Raises
    ------
    NapariCliperError
        It cannot be read.
    """
    rows, columns = part
    try:
        return np.asarray(level[rows, columns])
    except Exception as error:  # whatever a store, a network or somebody's function raises
        raise NapariCliperError(
            f"The window from row {rows.start}, column {columns.start} of "
            f"{rows.stop - rows.start} × {columns.stop - columns.start} pixels cannot be read "
            f"({error or type(error).__name__}): check the picture's file and its disk."
        ) from error


def _check(levels: Sequence[Lazy], limits: tuple[float, float] | None) -> None:
    """Refuse what is no picture, before anything of it is read."""
    for level in levels:
        shape = tuple(getattr(level, "shape", ()))
        # A corner without pixels says the same as all of it, in the sentences that are there.
        sides = [min(side, MIN_SIDE) for side in shape[:2]]
        to_rgb(np.zeros((*sides, *shape[2:]), dtype_of(level)), limits)
    if channels_of(levels[0]) == 4 and dtype_of(levels[0]) not in (np.bool_, np.uint8):
        raise NapariCliperError(
            "Transparency of more than 8 bits cannot be read window by window: give the colours "
            "alone, image[..., :3]."
        )


def channels_of(level: Lazy) -> int:
    """How many values a pixel has."""
    return level.shape[2] if len(level.shape) == 3 else 1


def dtype_of(level: Lazy) -> np.dtype[Any]:
    """The type of its values, as numpy's."""
    kind = getattr(level, "dtype", np.uint8)
    return np.dtype(getattr(kind, "numpy_dtype", kind))  # tensorstore has types of its own
