"""Where a picture lies in the viewer, and the plane of it that is shown."""

from __future__ import annotations

import itertools
import math
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

    from napari_cliper.widgets.regions import Region, Where


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
    shape : tuple of int
        Of the picture at its full resolution, without colours; () if that is `data`'s own.
    mask_size : (H, W) or None
        Pixels of its masks, None for the picture's own.
    region : Region or None
        The part of it that is looked at; None for all of it.
    where : callable or None
        Finds the region, see `found`; None where that is done.
    pyramid : tuple of array-like
        The picture at all its resolutions, the finest first; () if there is only `data`.
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
    shape: tuple[int, ...] = ()
    mask_size: tuple[int, int] | None = None
    region: Region | None = None
    where: Where | None = None
    pyramid: tuple[Any, ...] = ()

    @property
    def full(self) -> tuple[int, int]:
        """Rows and columns of the plane at full resolution."""
        height, width = self._shape[-2:]
        return height, width

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of its masks."""
        return self.mask_size or self.full

    @property
    def looked_at(self) -> tuple[int, int]:
        """Rows and columns, in pixels of its masks, of what is looked at."""
        return self.size if self.region is None else self.region.size

    @property
    def _shape(self) -> tuple[int, ...]:
        return self.shape or tuple(map(int, self.data.shape[: len(self.index)]))

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
        return self._shape[:-2]

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

    def found(self) -> Plane:
        """It with the region that is wanted; may take long, and is for any thread.

        Raises
        ------
        Nowhere
            There is nothing of it in the wanted part.
        """
        if self.where is None:
            return self
        return replace(self, where=None).part(self.where(self))

    def part(self, region: Region | None) -> Plane:
        """A part of it; of a pyramid, the coarsest resolution is read that shows it well enough."""
        if region is None or not self.pyramid:
            return replace(self, region=region)
        share = min(np.divide(region.size, self.size))
        sides = [min(array.shape[len(self.place) :][:2]) * share for array in self.pyramid]
        reads = max((at for at, side in enumerate(sides) if side >= ENOUGH), default=0)
        return replace(self, region=region, data=self.pyramid[reads])

    def pixels(self) -> NDArray[np.uint8]:
        """Read the plane as it is shown: (H, W, 3) uint8. May take long for lazy data.

        Raises
        ------
        NapariCliperError
            If the array is no picture, or cannot be read.
        """
        return self.as_shown(self.read())

    def as_shown(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """What `read` has returned, in the layer's contrast: (H, W, 3) uint8.

        Raises
        ------
        NapariCliperError
            If it is no picture.
        """
        return to_rgb(values, self.contrast_limits, self.gamma)

    def digest(self) -> str:
        """Of the plane's pixels as they are stored, whatever contrast they are shown with.

        Raises
        ------
        NapariCliperError
            If it cannot be read.
        """
        return digest(self.read())

    def read(self) -> NDArray[Any]:
        """The plane's values as they are stored, or those of its region.

        Raises
        ------
        NapariCliperError
            If they cannot be read.
        """
        # Of a pyramid, a level with fewer planes may be read.
        sizes = zip(self.data.shape, self.stack, strict=False)
        place = (at * here // whole for at, (here, whole) in zip(self.place, sizes, strict=True))
        box = self.index[-2:]
        if self.region is not None:
            rows, columns = self.data.shape[len(self.place) :][:2]
            height, width = self.size
            box = _rescaled(self.region.box, (rows / height, columns / width))
        try:
            return np.asarray(self.data[(*place, *box)])
        except Exception as error:  # whatever a lazy array's own storage raises
            which = f"Plane {', '.join(map(str, self.place))} of “{self.name}”"
            raise NapariCliperError(
                f"{which if self.place else f'“{self.name}”'} cannot be read "
                f"({type(error).__name__}: {error}): check its file and its disk, then try again."
            ) from error


ENOUGH = 1024  # pixels of the shorter side: more than any encoder looks at
LARGEST_MASK = 2**24  # pixels, unless somebody asks for more


def levels(layer: Image) -> list[tuple[int, int]]:
    """Rows and columns of a picture at each of its resolutions, the finest first."""
    arrays = layer.data if layer.multiscale else [layer.data]
    shapes = [array.shape[layer.ndim - 2 : layer.ndim] for array in arrays]
    return [(int(height), int(width)) for height, width in shapes]


def usual_level(sizes: Sequence[tuple[int, int]]) -> int:
    """The finest resolution whose masks are not too large to work on."""
    fitting = (at for at, size in enumerate(sizes) if math.prod(size) <= LARGEST_MASK)
    return next(fitting, len(sizes) - 1)


def shown_plane(viewer: Viewer, layer: Image, level: int | None = None) -> Plane:
    """Note what `viewer` shows of a picture, and where.

    Of a picture in several resolutions the coarsest is read that an encoder loses nothing by.

    Parameters
    ----------
    viewer : Viewer
    layer : Image
    level : int, optional
        Of a picture in several resolutions, the one that masks have; the usual one unless given.

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
    sizes = levels(layer)
    full = layer.data[0] if layer.multiscale else layer.data
    reads = max((at for at, size in enumerate(sizes) if min(size) >= ENOUGH), default=0)
    point = layer.world_to_data(viewer.dims.point)
    index = tuple(int(i) for i in np.round(point[: layer.ndim - 2]))
    if any(not 0 <= i < size for i, size in zip(index, full.shape, strict=False)):
        raise NapariCliperError(
            f"Nothing of “{layer.name}” is shown here: move the sliders below the picture back"
            " into its range."
        )
    return Plane(
        name=layer.name,
        picture=str(layer.unique_id),
        data=layer.data[reads] if layer.multiscale else full,
        index=(*index, slice(None), slice(None)),
        contrast_limits=None if layer.rgb else tuple(layer.contrast_limits),
        placement=placement_of(layer, [layer.ndim - 2, layer.ndim - 1]),
        rgb=layer.rgb,
        point=tuple(float(at) for at in viewer.dims.point[viewer.dims.ndim - layer.ndim : -2]),
        whole=placement_of(layer, list(range(layer.ndim))),
        gamma=1.0 if layer.rgb else float(layer.gamma),
        shape=tuple(map(int, full.shape[: layer.ndim])),
        mask_size=sizes[usual_level(sizes) if level is None else level],
        pyramid=tuple(layer.data) if layer.multiscale else (),
    )


def _rescaled(box: tuple[slice, slice], factors: tuple[float, float]) -> tuple[slice, slice]:
    """A rectangle in pixels of another size, no smaller."""
    rows, columns = (
        slice(int(part.start * factor), math.ceil(part.stop * factor))
        for part, factor in zip(box, factors, strict=True)
    )
    return rows, columns


ALL = ("all", ":")


def chosen_planes(text: str, shown: Plane) -> list[Plane]:
    """The planes that somebody names.

    Parameters
    ----------
    text : str
        "" for the one that is shown, "all", or for each axis before the plane's, separated by
        commas, a number, a range such as 2-5, or "all". Of several axes the last is meant if
        there is one part only; the others stay where they are.
    shown : Plane

    Raises
    ------
    NapariCliperError
        There are no such planes.
    """
    parts, sizes = text.strip().casefold(), shown.stack
    if not parts or not sizes:
        return [shown]
    if parts in ALL:
        return [shown.at(place) for place in np.ndindex(sizes)]
    given = [part.strip() for part in parts.split(",")]
    if len(given) == 1:
        given = [*map(str, shown.place[:-1]), *given]
    try:
        ranges = [_range(part, size) for part, size in zip(given, sizes, strict=True)]
    except ValueError as error:
        axes = " and ".join(f"0 to {size - 1}" for size in sizes)
        raise NapariCliperError(
            f"“{text.strip()}” names no planes of “{shown.name}”, which go from {axes}: write all, "
            "or a range such as 0-3 for each of these axes, with commas between."
        ) from error
    return [shown.at(place) for place in itertools.product(*ranges)]


def _range(part: str, size: int) -> range:
    """Numbers along an axis.

    Raises
    ------
    ValueError
    """
    if part in ALL:
        return range(size)
    first, _, last = part.partition("-")
    found = range(int(first), int(last or first) + 1)
    if not found or found[0] < 0 or found[-1] >= size:
        raise ValueError(part)
    return found


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
    placement: dict[str, Any],
    stretch: tuple[float, ...],
    first: tuple[float, ...],
    axes: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Place an array with `stretch` times fewer pixels so that it covers the same ground.

    Pixel i of it covers the picture's pixels from first + i · stretch on, and its centre is their
    mean.

    Parameters
    ----------
    placement : dict
        Of a plane, or of all axes of a picture.
    stretch : tuple of float
        Along each of these axes.
    first : tuple of float
    axes : tuple of str
        Names of the axes that the array has before the plane's.
    """
    inner = CompositeAffine(
        **{name: placement[name] for name in ("scale", "translate", "rotate", "shear")}
    )
    before = list(range(len(axes)))
    placed = CompositeAffine(
        np.multiply(placement["scale"], stretch),
        inner(np.array(first) + (np.array(stretch) - 1) / 2),
        rotate=placement["rotate"],
        shear=placement["shear"],
    ).expand_dims(before)
    return {
        **{name: getattr(placed, name) for name in ("scale", "translate", "rotate", "shear")},
        "affine": Affine(affine_matrix=placement["affine"]).expand_dims(before).affine_matrix,
        "units": (*("pixel" for _ in axes), *placement["units"]),
        "axis_labels": (*axes, *placement["axis_labels"]),
    }
