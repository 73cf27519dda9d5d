"""Colours out of channels: up to three of them become red, green and blue of a new picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray

from napari_cliper.errors import NapariCliperError
from napari_cliper.images import spread
from napari_cliper.widgets.planes import placement_of

if TYPE_CHECKING:
    from napari.viewer import Viewer

MOST = 16  # an axis with more entries than that is no axis of channels


@dataclass(frozen=True, eq=False)
class Channel:
    """A grey picture: a layer, or one entry of an axis of a layer.

    Attributes
    ----------
    layer : Image
    axis : int or None
        Before the plane's two.
    entry : int
        Along that axis.
    """

    layer: Image
    axis: int | None = None
    entry: int = 0

    @property
    def name(self) -> str:
        """For lists, and in the new picture's name."""
        if self.axis is None:
            return str(self.layer.name)
        return f"{self.layer.name}, {self.layer.axis_labels[self.axis]} = {self.entry}"

    def levels(self) -> list[Any]:
        """Its values at each resolution, lazy if the layer's are."""
        data = self.layer.data if self.layer.multiscale else [self.layer.data]
        if self.axis is None:
            return list(data)
        index = (*(slice(None),) * self.axis, self.entry)
        return [_lazy(array)[index] for array in data]

    def shown(self) -> Callable[[NDArray[Any]], NDArray[np.uint8]]:
        """What makes 0 to 255 of values, by the contrast limits and gamma of this moment."""
        low, high = map(float, self.layer.contrast_limits)
        return partial(spread, limits=(low, high), gamma=float(self.layer.gamma))

    def placement(self) -> dict[str, Any]:
        """Where it lies, without the axis that was taken out."""
        axes = [axis for axis in range(self.layer.ndim) if axis != self.axis]
        return placement_of(self.layer, axes)


def channels(viewer: Viewer) -> list[Channel]:
    """All that a viewer has: its grey pictures, and the entries of their short axes."""
    found = []
    for layer in viewer.layers:
        if not isinstance(layer, Image) or layer.rgb:
            continue
        found.append(Channel(layer))
        shape = (layer.data[0] if layer.multiscale else layer.data).shape
        for axis, size in enumerate(shape[:-2]):
            if 1 < size <= MOST:
                found += [Channel(layer, axis, entry) for entry in range(size)]
    return found


def colours(chosen: Sequence[Channel | None]) -> Image:
    """A picture in colours, in no viewer yet; lazy if one of the channels is.

    Parameters
    ----------
    chosen : three of Channel or None
        Of red, green and blue; None leaves a colour dark.

    Raises
    ------
    NapariCliperError
        No channel was chosen, or they differ in size or in their resolutions.
    """
    known = [channel for channel in chosen if channel is not None]
    if not known:
        raise NapariCliperError("No channel is chosen: choose one for at least one colour.")
    shapes = [[tuple(level.shape) for level in channel.levels()] for channel in known]
    for channel, shape in zip(known, shapes, strict=True):
        if shape != shapes[0]:
            raise NapariCliperError(
                f"“{channel.name}” has {_written(shape[0])} pixels and “{known[0].name}” has "
                f"{_written(shapes[0][0])}: choose channels of one size."
            )
    first = known[0].placement()
    for channel in known[1:]:
        if not _alike(channel.placement(), first):
            raise NapariCliperError(
                f"“{channel.name}” does not lie where “{known[0].name}” lies: move it there, or "
                "choose channels that lie on each other."
            )
    levels = [None if one is None else one.levels() for one in chosen]
    made = [
        _together(chosen, [None if of is None else of[number] for of in levels])
        for number in range(len(shapes[0]))
    ]
    name = " + ".join(channel.name for channel in known)
    data = made if known[0].layer.multiscale else made[0]
    several = known[0].layer.multiscale
    return Image(data, rgb=True, multiscale=several, name=name, **first)


def _alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two placements are the same; what the axes are called does not count."""
    names = ("scale", "translate", "rotate", "shear", "affine")
    return all(np.allclose(one[name], other[name]) for name in names)


def _together(chosen: Sequence[Channel | None], values: Sequence[Any]) -> Any:
    """One resolution: (..., H, W, 3) uint8."""
    shape = next(value.shape for value in values if value is not None)
    # A stack is made plane by plane, when it is looked at.
    if len(shape) == 2 and all(value is None or isinstance(value, np.ndarray) for value in values):
        parts = [
            np.zeros(shape, np.uint8) if one is None else one.shown()(value)
            for one, value in zip(chosen, values, strict=True)
        ]
        return np.stack(parts, axis=-1)
    import dask.array as da

    lazy = [
        da.zeros(shape, np.uint8)
        if one is None
        else _planewise(value).map_blocks(one.shown(), dtype=np.uint8)
        for one, value in zip(chosen, values, strict=True)
    ]
    return da.stack(lazy, axis=-1).rechunk({-1: 3})


def _lazy(array: Any) -> Any:
    """An array that can be cut without being read."""
    if isinstance(array, np.ndarray):
        return array
    import dask.array as da

    return da.asarray(array)


def _planewise(array: Any) -> Any:
    """A lazy array whose pieces are no more than a plane."""
    import dask.array as da

    lazy = da.asarray(array)
    return lazy.rechunk(dict.fromkeys(range(lazy.ndim - 2), 1))


def _written(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))
