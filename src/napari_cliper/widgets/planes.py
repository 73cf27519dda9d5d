"""Where a picture lies in the viewer, and the plane of it that is shown."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.transforms import Affine, CompositeAffine
from numpy.typing import NDArray

from napari_cliper.encodings import digest
from napari_cliper.errors import NapariCliperError
from napari_cliper.images import to_rgb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Image
    from napari.viewer import Viewer


@dataclass(frozen=True)
class Plane:
    """The 2-D plane of a picture that is shown, as it was when it was asked for.

    Attributes
    ----------
    name : str
        Of the picture's layer.
    picture : str
        The layer's identity, which outlives its name.
    data : array-like
        All of the layer's pixels, perhaps lazy.
    index : tuple
        Picks the plane out of `data`.
    contrast_limits : (float, float) or None
        None for colour pictures.
    placement : dict
        scale, translate, rotate, shear, affine, units and axis_labels of the plane's two axes.
    rgb : bool
        Whether the picture's last axis, after the plane's, holds colours.
    point : tuple of float
        Where the plane lies along the axes before its own, in the world.
    whole : dict
        As `placement`, of all the picture's axes.
    gamma : float
        As the layer shows it; 1 for colour pictures.
    """

    name: str
    picture: str
    data: Any
    index: tuple[int | slice, ...]
    contrast_limits: tuple[float, float] | None
    placement: dict[str, Any]
    rgb: bool = False
    point: tuple[float, ...] = ()
    whole: dict[str, Any] = field(default_factory=dict)
    gamma: float = 1.0

    @property
    def key(self) -> tuple[str, ...]:
        """The picture's identity and the plane's place in it, as text."""
        return (self.picture, *(str(place) for place in self.index[:-2]))

    @property
    def place(self) -> tuple[int, ...]:
        """Where it lies along the axes before its own, in pixels."""
        return tuple(int(at) for at in self.index[:-2] if not isinstance(at, slice))

    @property
    def stack(self) -> tuple[int, ...]:
        """How many planes the picture has along each axis before the plane's; () for one."""
        return tuple(int(size) for size in self.data.shape[: len(self.index) - 2])

    def at(self, place: Sequence[int]) -> Plane:
        """Another plane of the same picture.

        Parameters
        ----------
        place : sequence of int
            As of `place`.
        """
        if tuple(place) == self.place:
            return self
        inner = CompositeAffine(
            **{name: self.whole[name] for name in ("scale", "translate", "rotate", "shear")}
        )
        world = Affine(affine_matrix=self.whole["affine"])(inner((*place, 0, 0)))
        point = tuple(float(at) for at in world[: len(place)])
        return replace(self, index=(*map(int, place), *self.index[-2:]), point=point)

    def pixels(self) -> NDArray[np.uint8]:
        """Read the plane: (H, W, 3) uint8. May take long for lazy data.

        Raises
        ------
        NapariCliperError
            If the array is no picture.
        """
        return to_rgb(np.asarray(self.data[self.index]), self.contrast_limits, self.gamma)

    def digest(self) -> str:
        """Of the plane's pixels as they are stored, whatever contrast they are shown with."""
        return digest(np.asarray(self.data[self.index]))


def shown_plane(viewer: Viewer, layer: Image) -> Plane:
    """Note what `viewer` shows of a picture, and where.

    Raises
    ------
    NapariCliperError
        If other than the picture's last two axes are shown, or the sliders stand outside it.
    """
    if sorted(viewer.dims.order[-2:]) != [viewer.dims.ndim - 2, viewer.dims.ndim - 1]:
        raise NapariCliperError(
            f"“{layer.name}” is shown along other axes than its last two:"
            " press “Change order of the visible axes” below the layer list until they are back."
        )
    data = layer.data[0] if layer.multiscale else layer.data
    point = layer.world_to_data(viewer.dims.point)
    index = tuple(int(i) for i in np.round(point[: layer.ndim - 2]))
    if any(not 0 <= i < size for i, size in zip(index, data.shape, strict=False)):
        raise NapariCliperError(
            f"Nothing of “{layer.name}” is shown here: move the sliders below the picture back"
            " into its range."
        )
    return Plane(
        name=layer.name,
        picture=str(layer.unique_id),
        data=data,
        index=(*index, slice(None), slice(None)),
        contrast_limits=None if layer.rgb else tuple(layer.contrast_limits),
        placement=placement_of(layer, [layer.ndim - 2, layer.ndim - 1]),
        rgb=layer.rgb,
        point=tuple(float(at) for at in viewer.dims.point[viewer.dims.ndim - layer.ndim : -2]),
        whole=placement_of(layer, list(range(layer.ndim))),
        gamma=1.0 if layer.rgb else float(layer.gamma),
    )


def placement_of(layer: Image, axes: list[int]) -> dict[str, Any]:
    """Where the layer lies, as far as these of its axes are concerned."""
    inner = CompositeAffine(
        layer.scale, layer.translate, rotate=layer.rotate, shear=layer.shear, ndim=layer.ndim
    ).set_slice(axes)
    return {
        "scale": inner.scale,
        "translate": inner.translate,
        "rotate": inner.rotate,
        "shear": inner.shear,
        "affine": layer.affine.set_slice(axes).affine_matrix,
        "units": tuple(layer.units[axis] for axis in axes),
        "axis_labels": tuple(layer.axis_labels[axis] for axis in axes),
    }


def stretched(
    placement: dict[str, Any], stretch: tuple[float, float], axes: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Place an array with `stretch` times fewer pixels so that it covers the same ground.

    Pixel i of it covers the picture's pixels from i · stretch on, and its centre is their mean.

    Parameters
    ----------
    placement : dict
        Of a plane.
    stretch : (float, float)
    axes : tuple of str
        Names of the axes that the array has before the plane's.
    """
    inner = CompositeAffine(
        **{name: placement[name] for name in ("scale", "translate", "rotate", "shear")}
    )
    before = list(range(len(axes)))
    placed = CompositeAffine(
        np.multiply(placement["scale"], stretch),
        inner((np.array(stretch) - 1) / 2),
        rotate=placement["rotate"],
        shear=placement["shear"],
    ).expand_dims(before)
    return {
        **{name: getattr(placed, name) for name in ("scale", "translate", "rotate", "shear")},
        "affine": Affine(affine_matrix=placement["affine"]).expand_dims(before).affine_matrix,
        "units": (*("pixel" for _ in axes), *placement["units"]),
        "axis_labels": (*axes, *placement["axis_labels"]),
    }
