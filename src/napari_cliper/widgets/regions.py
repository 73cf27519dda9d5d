"""Part of a picture: what the window shows, what lies inside shapes or outside a mask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from skimage.draw import polygon2mask

from napari_cliper.errors import NapariCliperError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Image, Labels, Shapes
    from napari.viewer import Viewer

    from napari_cliper.widgets.planes import Plane

OPEN = ("line", "path")  # shapes without an inside
ROUND = 64  # corners that an ellipse is drawn with


class Nowhere(NapariCliperError):
    """There is nothing of a plane in the part that is wanted."""


@dataclass(frozen=True, eq=False)
class Region:
    """Where a plane is segmented, in pixels of its masks.

    Attributes
    ----------
    top, left : int
        Of the rectangle that is looked at.
    inside : (h, w) bool
        What of this rectangle is written.
    """

    top: int
    left: int
    inside: NDArray[np.bool_]

    @classmethod
    def of(cls, where: NDArray[np.bool_], name: str) -> Region:
        """The pixels that are true of a whole plane's, (H, W).

        Raises
        ------
        Nowhere
            There are none.
        """
        rows, columns = np.flatnonzero(where.any(axis=1)), np.flatnonzero(where.any(axis=0))
        if not rows.size:
            raise Nowhere(
                f"{name} leaves nothing of the picture to segment: move it over the picture, or "
                "choose all of the picture."
            )
        top, left = int(rows[0]), int(columns[0])
        return cls(top, left, where[top : rows[-1] + 1, left : columns[-1] + 1].copy())

    @property
    def box(self) -> tuple[slice, slice]:
        """The rectangle."""
        height, width = self.inside.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)

    @property
    def size(self) -> tuple[int, int]:
        """Of the rectangle."""
        height, width = self.inside.shape
        return height, width

    def put(self, labels: NDArray[Any], before: NDArray[Any]) -> NDArray[Any]:
        """A whole plane's labels, with others inside the region.

        Parameters
        ----------
        labels : (h, w) unsigned int
            Of the rectangle.
        before : (H, W) unsigned int

        Returns
        -------
        (H, W) unsigned int
        """
        whole = before.astype(np.result_type(labels, before))
        whole[self.box][self.inside] = labels[self.inside]
        return whole


Where = Callable[["Plane"], Region]
"""Finds a part of a plane, in any thread: it has noted what the layers said when it was made.

It raises `Nowhere` if there is nothing of that plane in it."""


def shown(viewer: Viewer, picture: Image) -> Where:
    """What the window shows of the planes of a picture."""
    camera, dims = viewer.scene.camera, viewer.dims
    half = np.array(viewer.canvas.size) / camera.zoom / 2
    corners = []
    for rows, columns in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
        point = list(dims.point)
        for axis, at in zip(dims.displayed[-2:], (rows, columns), strict=True):
            which = dims.displayed[-2:].index(axis)
            point[axis] = camera.center[-2:][which] + at * half[which]
        corners.append(picture.world_to_data(point)[-2:])
    return partial(_within, np.array(corners))


def _within(corners: NDArray[Any], plane: Plane) -> Region:
    # Pixel i reaches from i - 0.5 to i + 0.5; what is seen of it is enough.
    first = np.clip(np.floor(np.min(corners, axis=0) + 0.5), 0, plane.full).astype(int)
    last = np.clip(np.ceil(np.max(corners, axis=0) + 0.5), 0, plane.full).astype(int)
    where = np.zeros(plane.size, bool)
    scale = np.divide(plane.size, plane.full)
    (top, left), (bottom, right) = (first * scale).astype(int), np.ceil(last * scale).astype(int)
    where[top:bottom, left:right] = True
    return Region.of(where, "What the window shows")


def inside(shapes: Shapes, picture: Image) -> Where:
    """What lies inside the shapes of a layer; of a stack's, those on the plane."""
    move = _mover(shapes, picture)
    outlines = []
    for corners, kind in zip(shapes.data, shapes.shape_type, strict=True):
        if kind in OPEN:
            continue
        placed = move(np.asarray(corners))
        outline = _ellipse(placed[:, -2:]) if kind == "ellipse" else placed[:, -2:]
        outlines.append((placed[:, :-2], outline))
    return partial(_inside, outlines, f"“{shapes.name}”")


def _inside(
    outlines: Sequence[tuple[NDArray[Any], NDArray[Any]]], name: str, plane: Plane
) -> Region:
    where = np.zeros(plane.size, bool)
    scale = np.divide(plane.size, plane.full)
    for before, outline in outlines:
        if _on(before, plane.place):
            where |= polygon2mask(plane.size, (outline + 0.5) * scale - 0.5)
    return Region.of(where, name)


def outside(labels: Labels, picture: Image, planes: Sequence[Plane]) -> Where:
    """Where a layer of labels has none; of a stack's, on the plane.

    Parameters
    ----------
    labels : Labels
    picture : Image
    planes : sequence of Plane
        Those that will be asked for; pixels in memory are copied for no others.

    Raises
    ------
    NapariCliperError
        The layer has another size, or lies elsewhere.
    """
    data = labels.data[0] if labels.multiscale else labels.data
    plane = planes[0]
    if data.shape not in (plane.size, (*plane.stack, *plane.size)):
        height, width = plane.size
        raise NapariCliperError(
            f"“{labels.name}” has not the {width} × {height} pixels of the masks: choose a layer "
            "that has, or all of the picture."
        )
    if not _same_ground(labels, data.shape, picture, plane):
        raise NapariCliperError(
            f"“{labels.name}” does not lie where “{picture.name}” lies: move it there, or choose "
            "all of the picture."
        )
    name = f"“{labels.name}”"
    one_for_all = data.shape == plane.size

    def place_of(plane: Plane) -> tuple[int, ...]:
        return () if one_for_all else plane.place

    def read(place: tuple[int, ...]) -> NDArray[np.bool_]:
        try:
            return np.asarray(data[place]) == 0
        except Exception as error:  # whatever a lazy array's own storage raises
            raise NapariCliperError(
                f"{name} cannot be read ({type(error).__name__}: {error}): check its file and its "
                "disk, or choose all of the picture."
            ) from error

    free: Callable[[tuple[int, ...]], NDArray[np.bool_]] = read
    if isinstance(data, np.ndarray):  # somebody may paint there before a plane's turn comes
        free = {place: read(place) for place in {place_of(one) for one in planes}}.__getitem__
    return lambda plane: Region.of(free(place_of(plane)), name)


def _same_ground(labels: Labels, shape: tuple[int, ...], picture: Image, plane: Plane) -> bool:
    """Whether a layer's outermost edges are the picture's, along the axes that it has pixels on."""
    alone = len(shape) == 2
    for at in (0, 1):
        place = plane.place if alone else tuple(at * (side - 1) for side in plane.stack)
        own = (0,) * (labels.ndim - 2) if alone else place
        ours = labels.data_to_world((*own, *(at * np.array(shape[-2:]) - 0.5)))
        theirs = picture.data_to_world((*place, *(at * np.array(plane.full) - 0.5)))
        axes = min(len(shape), len(ours), len(theirs))
        if not np.allclose(ours[-axes:], theirs[-axes:]):
            return False
    return True


def _mover(shapes: Shapes, picture: Image) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Moves corners (n, D) into the picture's pixels, as far as the shapes have axes."""

    def moved(corner: NDArray[Any]) -> NDArray[Any]:
        world = shapes.data_to_world(corner)
        missing = picture.ndim - len(world)
        found = picture.world_to_data((*(0.0,) * missing, *world))
        return np.asarray(found[max(0, missing) :])

    # Both ways are affine: where one point and the steps along the axes go tells of all points.
    origin = moved(np.zeros(shapes.ndim))
    steps = np.array([moved(step) - origin for step in np.eye(shapes.ndim)])
    return lambda corners: corners @ steps + origin


def _on(before: NDArray[Any], place: Sequence[int]) -> bool:
    """Whether a shape lies on a plane: its places along the axes before the plane's, if any."""
    axes = before.shape[1]
    return not axes or bool((np.abs(before - np.array(place)[-axes:]) <= 0.5).all())


def _ellipse(corners: NDArray[Any]) -> NDArray[Any]:
    """The outline of an ellipse in its bounding parallelogram, (n, 2)."""
    middle = corners.mean(axis=0)
    along, across = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    angles = np.linspace(0, 2 * np.pi, ROUND, endpoint=False)[:, None]
    return np.asarray(middle + np.cos(angles) * along + np.sin(angles) * across)
