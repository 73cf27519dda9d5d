"""Part of a picture: what the window shows, what lies inside shapes or outside a mask."""

from __future__ import annotations

from dataclasses import dataclass
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
        NapariCliperError
            There are none.
        """
        rows, columns = np.flatnonzero(where.any(axis=1)), np.flatnonzero(where.any(axis=0))
        if not rows.size:
            raise NapariCliperError(
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


def shown(viewer: Viewer, picture: Image, plane: Plane) -> Region:
    """What the window shows of a plane.

    Raises
    ------
    NapariCliperError
        Nothing of it.
    """
    camera, dims = viewer.scene.camera, viewer.dims
    half = np.array(viewer.canvas.size) / camera.zoom / 2
    corners = []
    for rows, columns in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
        point = list(dims.point)
        for axis, at in zip(dims.displayed[-2:], (rows, columns), strict=True):
            which = dims.displayed[-2:].index(axis)
            point[axis] = camera.center[-2:][which] + at * half[which]
        corners.append(picture.world_to_data(point)[-2:])
    # Pixel i reaches from i - 0.5 to i + 0.5; what is seen of it is enough.
    first = np.clip(np.floor(np.min(corners, axis=0) + 0.5), 0, plane.full).astype(int)
    last = np.clip(np.ceil(np.max(corners, axis=0) + 0.5), 0, plane.full).astype(int)
    where = np.zeros(plane.size, bool)
    scale = np.divide(plane.size, plane.full)
    (top, left), (bottom, right) = (first * scale).astype(int), np.ceil(last * scale).astype(int)
    where[top:bottom, left:right] = True
    return Region.of(where, "What the window shows")


def inside(shapes: Shapes, picture: Image, plane: Plane) -> Region:
    """What lies inside the shapes of a layer; of a stack's, those on this plane.

    Raises
    ------
    NapariCliperError
        Nothing does.
    """
    where = np.zeros(plane.size, bool)
    scale = np.divide(plane.size, plane.full)
    for corners, kind in zip(shapes.data, shapes.shape_type, strict=True):
        if kind in OPEN:
            continue
        placed = np.array([_in_picture(shapes, corner, picture) for corner in corners])
        if placed.shape[1] > 2 and not _on(placed[:, :-2], plane.place):
            continue
        outline = _ellipse(placed[:, -2:]) if kind == "ellipse" else placed[:, -2:]
        where |= polygon2mask(plane.size, (outline + 0.5) * scale - 0.5)
    return Region.of(where, f"“{shapes.name}”")


def outside(labels: Labels, picture: Image, plane: Plane) -> Region:
    """Where a layer of labels has none; of a stack's, on this plane.

    Raises
    ------
    NapariCliperError
        It has another size, lies elsewhere, or has labels everywhere.
    """
    data = labels.data[0] if labels.multiscale else labels.data
    if not _same_ground(labels, data.shape[-2:], picture, plane):
        raise NapariCliperError(
            f"“{labels.name}” does not lie where “{picture.name}” lies: move it there, or choose "
            "all of the picture."
        )
    if data.shape == (*plane.stack, *plane.size):
        data = data[plane.place]
    if data.shape != plane.size:
        height, width = plane.size
        raise NapariCliperError(
            f"“{labels.name}” has not the {width} × {height} pixels of the masks: choose a layer "
            "that has, or all of the picture."
        )
    return Region.of(np.asarray(data) == 0, f"“{labels.name}”")


def _same_ground(labels: Labels, size: tuple[int, ...], picture: Image, plane: Plane) -> bool:
    """Whether a layer's outermost edges are the picture's, along the plane's axes."""
    for at in (np.zeros(2), np.ones(2)):
        ours = labels.data_to_world((*(0.0,) * (labels.ndim - 2), *(at * size - 0.5)))
        theirs = picture.data_to_world((*plane.place, *(at * plane.full - 0.5)))
        if not np.allclose(ours[-2:], theirs[-2:]):
            return False
    return True


def _in_picture(shapes: Shapes, corner: NDArray[Any], picture: Image) -> NDArray[Any]:
    """A corner in the picture's pixels, as far as the shapes have axes."""
    world = shapes.data_to_world(corner)
    missing = picture.ndim - len(world)
    found = picture.world_to_data((*(0.0,) * missing, *world))
    return np.asarray(found[max(0, missing) :])


def _on(before: NDArray[Any], place: Sequence[int]) -> bool:
    """Whether a shape lies on a plane: its places along the axes before the plane's."""
    return bool((np.abs(before - np.array(place)[-before.shape[1] :]) <= 0.5).all())


def _ellipse(corners: NDArray[Any]) -> NDArray[Any]:
    """The outline of an ellipse in its bounding parallelogram, (n, 2)."""
    middle = corners.mean(axis=0)
    along, across = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    angles = np.linspace(0, 2 * np.pi, ROUND, endpoint=False)[:, None]
    return np.asarray(middle + np.cos(angles) * along + np.sin(angles) * across)
