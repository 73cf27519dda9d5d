"""Any picture a napari layer may hold, as the 8-bit colours the encoder reads."""

import math
import sys

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_cliper.errors import NapariCliperError

MIN_SIDE = 16  # pixels: about one patch of the image towers
MAX_ASPECT = 8  # longer pictures would be mostly resampling

Percentiles = tuple[float, float]
"""So many per cent of the values become black, and so many are not white: (1, 99)."""


def to_rgb(
    array: ArrayLike,
    contrast_limits: tuple[float, float] | None = None,
    gamma: float = 1.0,
) -> NDArray[np.uint8]:
    """The picture as napari shows it, in 8-bit colours.

    Values between two limits are spread over 0 to 255. The limits are `contrast_limits` if given;
    else 0 to 255 for 8-bit pictures (and for other integer colours that lie within), 0 to 1 for
    booleans and for floats that lie within, and otherwise the smallest and largest finite value
    (of all channels together; for colours at most 0, so that black stays black). A constant picture
    is spread from 0, as napari does it. NaN becomes 0, infinities become 0 or 255.

    Parameters
    ----------
    array : array
        (H, W) or (H, W, 1) grey, (H, W, 3) RGB or (H, W, 4) RGBA of booleans, integers or floats of
        any size and byte order. RGBA is laid over black, as on napari's canvas.
    contrast_limits : tuple of float, optional
        The values that become 0 and 255, for example an image layer's.
    gamma : float
        The power that values between 0 and 1 are raised to, as a layer's: less than 1 brightens.

    Returns
    -------
    (H, W, 3) uint8 array
        Contiguous. An RGB picture of 8-bit values is passed on without a copy where that can be:
        treat the result as read-only.

    Raises
    ------
    NapariCliperError
        Another shape or type, a side shorter than 16 pixels, sides further apart than 8:1, no
        finite value at all, contrast limits that are not two finite ascending numbers, or a gamma
        that is no positive one.
    """
    if not 0 < gamma < math.inf:
        raise NapariCliperError(f"A gamma of {gamma} makes no sense: give a positive number.")
    try:
        pixels = np.asarray(array)
    except (TypeError, ValueError) as error:  # rows of different length, for example
        raise NapariCliperError(f"This is not a picture ({error}): give a numpy array.") from error
    _check_type(pixels)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    _check_shape(pixels)
    return part_to_rgb(pixels, contrast_limits, gamma)


def part_to_rgb(
    pixels: NDArray[np.generic],
    contrast_limits: tuple[float, float] | None = None,
    gamma: float = 1.0,
) -> NDArray[np.uint8]:
    """`to_rgb` of a part of a picture, of whatever sides; shape and type are not checked.

    Parameters
    ----------
    pixels : (h, w, C) array
    contrast_limits, gamma
        As of `to_rgb`.

    Returns
    -------
    (h, w, 3) uint8 array
    """
    if pixels.dtype.kind == "f" and pixels.dtype.itemsize > 8:
        with np.errstate(over="ignore", invalid="ignore"):  # what is too large becomes infinite
            pixels = pixels.astype(np.float64)
    channels = pixels.shape[2]
    colors = pixels[..., :3]
    if contrast_limits is None:
        contrast_limits = natural_limits(colors, from_zero=channels > 1)
    else:
        contrast_limits = _checked_limits(contrast_limits)
    rgb = spread(colors, contrast_limits, gamma)
    if channels == 1:
        rgb = np.repeat(rgb, 3, axis=2)
    elif channels == 4:
        alpha = pixels[..., 3:]
        opacity = spread(alpha, natural_limits(alpha, from_zero=True))
        if opacity.min() < 255:
            rgb = ((rgb * opacity.astype(np.uint16) + 127) // 255).astype(np.uint8)
    return np.ascontiguousarray(rgb)


def odd_values(array: NDArray[np.generic]) -> int:
    """How many values are not finite: NaN and infinities."""
    if array.dtype.kind != "f":
        return 0
    return int(array.size - np.count_nonzero(np.isfinite(array)))


def percentile_limits(
    array: ArrayLike, lowest: float = 1.0, highest: float = 99.0
) -> tuple[float, float]:
    """Contrast limits that leave the darkest and the brightest values out.

    Parameters
    ----------
    array : array
        As for `to_rgb`; an RGBA picture's opacity does not count.
    lowest, highest : float in [0, 100]
        So many per cent of the finite values are below the one and the other limit.

    Raises
    ------
    NapariCliperError
        The percentiles are none, or no value is finite.
    """
    _check_percentiles(lowest, highest)
    pixels = np.asarray(array)
    _check_type(pixels)
    if pixels.ndim == 3:
        pixels = pixels[..., :3]
    finite = pixels[np.isfinite(pixels)]
    if finite.size == 0:
        raise NapariCliperError("The picture holds no finite value: give another one.")
    low, high = np.percentile(finite.astype(np.float64), [lowest, highest]).tolist()
    if low == high:  # nearly all of it is one value
        low, high = min(low, 0.0), max(high, 1.0)
    return low, high


def parse_percentiles(text: str) -> Percentiles:
    """Two percentiles as somebody writes them: "1,99" or "0.5, 99.5".

    Raises
    ------
    NapariCliperError
        They are none.
    """
    try:
        lowest, highest = map(float, text.split(","))
    except ValueError as error:
        raise NapariCliperError(
            f"“{text}” are not two percentiles: write them like 1,99 or 0.5,99.5."
        ) from error
    _check_percentiles(lowest, highest)
    return lowest, highest


def is_shown_as_stored(dtype: np.dtype[np.generic], channels: int) -> bool:
    """Whether pixels are colours of 8 bits, whose contrast somebody has chosen already."""
    return dtype == np.uint8 and channels > 1


def normalised(array: NDArray[np.generic], percentiles: Percentiles | None) -> NDArray[np.generic]:
    """A picture without its darkest and brightest values, as `to_rgb` takes it.

    Parameters
    ----------
    array : array
        As for `to_rgb`.
    percentiles : (float, float) or None
        Those that become black and white, as of `percentile_limits`; None changes nothing.

    Returns
    -------
    array
        (H, W, 3) uint8; or what was given where nothing is to be done, as for 8-bit colours.

    Raises
    ------
    NapariCliperError
        As of `to_rgb` and `percentile_limits`.
    """
    channels = array.shape[2] if array.ndim == 3 else 1
    if percentiles is None or is_shown_as_stored(array.dtype, channels):
        return array
    return to_rgb(array, percentile_limits(array, *percentiles))


def _check_percentiles(lowest: float, highest: float) -> None:
    if not 0 <= lowest < highest <= 100:
        raise NapariCliperError(
            f"Percentiles of {lowest:g} and {highest:g} make no sense: give two numbers from 0 to "
            "100, the smaller one first."
        )


def _check_type(pixels: NDArray[np.generic]) -> None:
    if pixels.dtype.kind == "c":
        raise NapariCliperError(
            "A complex picture cannot be shown as colours: give its magnitude, for example."
        )
    if pixels.dtype.kind not in "buif":
        raise NapariCliperError(
            f"A picture of type {pixels.dtype} cannot be read: give booleans, integers or floats."
        )


def _check_shape(pixels: NDArray[np.generic]) -> None:
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4):
        shape = " × ".join(map(str, pixels.shape if pixels.ndim != 3 else pixels.shape[:3]))
        raise NapariCliperError(
            f"An array of {shape or 'no axes'} is not one picture: give height × width, with 3 or 4"
            " colours as the last axis if it has any, and one plane of a stack."
        )
    height, width = pixels.shape[:2]
    if min(height, width) < MIN_SIDE:
        raise NapariCliperError(
            f"A picture of {width} × {height} pixels is too small: "
            f"give one of at least {MIN_SIDE} × {MIN_SIDE}."
        )
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise NapariCliperError(
            f"A picture of {width} × {height} pixels is too long: "
            f"crop it to at most {MAX_ASPECT} times as long as it is wide."
        )


def _checked_limits(limits: tuple[float, float]) -> tuple[float, float]:
    try:
        low, high = map(float, limits)
        usable = math.isfinite(low) and math.isfinite(high) and low < high
    except (TypeError, ValueError, OverflowError):
        usable = False
    if not usable:
        raise NapariCliperError(
            f"Contrast limits of {limits!r:.80} cannot be used: "
            "give two finite numbers, the smaller one first."
        )
    return low, high


def spread(
    pixels: NDArray[np.generic], limits: tuple[float, float], gamma: float = 1.0
) -> NDArray[np.uint8]:
    """Values between the limits spread over 0 to 255, what is outside cut off.

    Parameters
    ----------
    pixels : array of booleans, integers or floats
    limits : (float, float)
    gamma : float

    Returns
    -------
    uint8 array of the same shape; NaN becomes 0
    """
    low, high = limits
    if pixels.dtype == np.bool_:
        pixels = pixels.view(np.uint8)
    if pixels.dtype == np.uint8 and (low, high, gamma) == (0, 255, 1):
        return pixels.view(np.uint8)
    if pixels.dtype.kind == "u" and pixels.dtype.itemsize <= 2:
        # By a table: many times faster than arithmetic on each pixel.
        table = _scale(np.arange(2 ** (8 * pixels.dtype.itemsize)), low, high, gamma)
        return np.asarray(table[pixels], np.uint8)
    return _scale(pixels, low, high, gamma)


def natural_limits(pixels: NDArray[np.generic], from_zero: bool) -> tuple[float, float]:
    """The limits `to_rgb` describes; `from_zero` keeps 0 at 0."""
    kind = pixels.dtype.kind
    if kind == "b":
        return 0, 1
    if pixels.dtype == np.uint8:
        return 0, 255
    finite = pixels
    if kind == "f":
        finite = pixels[np.isfinite(pixels)]
        if finite.size == 0:
            raise NapariCliperError("The picture holds no finite value: give another one.")
    low, high = float(finite.min()), float(finite.max())
    if kind == "f" and low >= 0 and high <= 1:
        return 0, 1
    if from_zero:
        if kind != "f" and low >= 0 and high <= 255:
            return 0, 255
        low = min(low, 0)
    if low == high:
        low, high = min(low, 0), max(high, 1)
    return low, high


def _scale(values: NDArray[np.generic], low: float, high: float, gamma: float) -> NDArray[np.uint8]:
    # Halved first: the difference of two large floats may be infinite, of two halves never; but
    # of the two smallest ones it is 0.
    span = high / 2 - low / 2 or sys.float_info.min
    with np.errstate(over="ignore", invalid="ignore"):  # infinities and NaN are dealt with below
        scaled: NDArray[np.float64] = np.multiply(values, 0.5, dtype=np.float64)
        scaled -= low / 2
        scaled /= span
        if gamma != 1:
            np.clip(scaled, 0, 1, out=scaled)
            np.power(scaled, gamma, out=scaled)
        scaled *= 255
    np.nan_to_num(scaled, copy=False, nan=0, posinf=255, neginf=0)
    np.rint(scaled, out=scaled)
    np.clip(scaled, 0, 255, out=scaled)
    return scaled.astype(np.uint8)
