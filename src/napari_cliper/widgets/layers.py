"""The layers that show a result: what they hold, what they are called, and how they are found."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Layer
from napari.utils.colormaps import DirectLabelColormap
from numpy.typing import NDArray

from napari_cliper.files.layer_data import KEY as KEY
from napari_cliper.widgets.planes import Plane, stretched

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_cliper.annotation.class_list import ClassList


@dataclass(frozen=True)
class ResultLayer:
    """One layer to be shown.

    Attributes
    ----------
    role : str
        "coarse", "refined", "attention", …; a plane has one layer of each.
    data : array
        Unsigned integers for a Labels layer, floats for an Image layer. The last two axes are the
        plane's, unless a third one holds colours.
    attributes : dict
        What else the layer is given whenever its data is set.
    first : dict
        What the layer is given when it is made, and the person may change for good.
    covers : bool
        Whether `data` covers the plane, with more or fewer pixels; else it holds coordinates.
    axis_labels : tuple of str
        Of the axes before the plane's.
    names : tuple of str
        What each of several maps is.
    """

    role: str
    data: NDArray[Any]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    first: Mapping[str, Any] = field(default_factory=dict)
    covers: bool = True
    axis_labels: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


def labels_layer(
    role: str, labels: NDArray[np.uint16], classes: ClassList, hidden: Collection[int] = ()
) -> ResultLayer:
    """Prepare a Labels layer with class names and colours; needs no window, runs in any thread.

    The data is uint8 where the ids allow it: napari hands that to the graphics card as it is,
    while wider labels are converted, and their colours worked out, on the GUI thread.
    """
    largest = max(*classes.ids, int(labels.max(initial=0)))
    data = labels.astype(np.uint8 if largest <= 255 else np.uint16)
    # The refined mask is what people look at and paint on; under two tints no photograph is seen.
    first = {"visible": role == "refined", "opacity": 0.5}
    return ResultLayer(role, data, dress(classes, hidden), first)


def dress(classes: ClassList, hidden: Collection[int] = ()) -> dict[str, Any]:
    """Colours and names of classes, as attributes of a Labels layer.

    Every change makes a new colour map: changing one in place has no effect (napari#7327).

    Parameters
    ----------
    classes : ClassList
    hidden : collection of int
        Ids of classes that are not drawn.
    """
    colors: dict[int | None, Any] = {None: "white", 0: "transparent"}
    for entry in classes:
        alpha = 0 if entry.id in hidden else 255
        colors[entry.id] = np.array((*entry.color, alpha)) / 255
    colormap = DirectLabelColormap(color_dict=colors)
    # napari builds a table here and keeps it, and compiles what it needs for two dimensions.
    colormap.map(np.zeros((1, 1), np.uint8))
    names = ["background", *(entry.name for entry in classes)]
    return {"colormap": colormap, "features": {"index": [0, *classes.ids], "name": names}}


def map_layer(
    role: str,
    maps: NDArray[np.float32],
    colormap: str = "magma",
    axis: str = "map",
) -> ResultLayer:
    """Prepare an Image layer of maps, each covering the plane.

    Parameters
    ----------
    role : str
    maps : (..., gh, gw) float32
    colormap : str
        One of napari's.
    axis : str
        What the first axis is, where there are several maps.
    """
    limits = float(maps.min()), float(np.nextafter(maps.max(), np.float32(np.inf)))
    return ResultLayer(
        role,
        maps,
        attributes={"contrast_limits": limits},
        first={"colormap": colormap, "opacity": 0.8, "blending": "additive"},
        axis_labels=(axis,) * (maps.ndim - 2),
    )


def show(viewer: Viewer, plane: Plane, item: ResultLayer) -> Layer:
    """Update the Image layer with this role, or add one if there is none with as many axes."""
    item = _beyond(plane, item)
    layer = find(viewer, plane, item.role)
    if layer is None or layer.data.ndim != item.data.ndim:
        layer = add(viewer, plane, item, Image)
    else:
        layer.data = item.data
        layer.metadata[KEY] = layer.metadata[KEY] | {"names": item.names}
        set_changed(layer, placed(plane, item))
        for name, value in item.attributes.items():
            setattr(layer, name, value)
    return layer


def add(viewer: Viewer, plane: Plane, item: ResultLayer, kind: type[Layer]) -> Layer:
    """Add a layer, with notes by which it is found again."""
    layer = make(plane, item, kind)
    viewer.add_layer(layer)
    return layer


def make(
    plane: Plane,
    item: ResultLayer,
    kind: type[Layer],
    placement: Mapping[str, Any] | None = None,
) -> Layer:
    """Make a layer with these notes, that is in no viewer yet; over its plane unless told."""
    layer = kind(
        item.data,
        name=f"{plane.name} [{item.role}]",
        **item.attributes,
        **item.first,
        **(placed(plane, item) if placement is None else placement),
    )
    # A copy that the person makes carries these notes on, but it is theirs.
    notes = {"plane": plane.key, "role": item.role, "names": item.names}
    layer.metadata[KEY] = notes | {"layer": str(layer.unique_id)}
    return layer


def find(
    viewer: Viewer, plane: Plane, role: str, shape: tuple[int, ...] | None = None
) -> Layer | None:
    """The topmost of our layers that shows this of a plane, with this shape if one is given."""
    for layer in reversed(viewer.layers):
        notes = layer.metadata.get(KEY, {})
        if (
            is_ours(layer)
            and notes["plane"] == plane.key
            and notes["role"] == role
            and shape in (None, layer.data.shape)
        ):
            return layer
    return None


@contextmanager
def kept_selection(viewer: Viewer) -> Iterator[None]:
    """Bring back which layer was chosen: adding one chooses it, in the midst of someone's work."""
    selection = viewer.layers.selection
    active, chosen = selection.active, set(selection)
    try:
        yield
    finally:
        if active is not None and active in viewer.layers:
            viewer.layers.selection = {layer for layer in chosen if layer in viewer.layers}
            viewer.layers.selection.active = active


def is_ours(layer: Layer) -> bool:
    """Tell whether we made this layer for a result; a copy of one is its maker's."""
    notes = layer.metadata.get(KEY, {})
    return "role" in notes and notes["layer"] == str(layer.unique_id)


def is_result(layer: Layer) -> bool:
    """Tell whether this layer shows a result, ours or a copy of it: no picture to segment."""
    return "role" in layer.metadata.get(KEY, {})


def fitting_classes(layer: Layer) -> str:
    """Class names that come with a picture, as our samples do; "" if none do."""
    return str(layer.metadata.get(KEY, {}).get("classes", ""))


def placed(plane: Plane, item: ResultLayer) -> dict[str, Any]:
    """Where a result lies: over its plane, whatever axes stand before those."""
    placement = stretched(plane.placement, *_cover(plane, item), item.axis_labels)
    if len(item.axis_labels) > 1:  # as `_beyond` made it
        placement["translate"] = np.array([0, *plane.point, *placement["translate"][-2:]])
    return placement


def _cover(plane: Plane, item: ResultLayer) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Picture pixels per pixel of the data, and where these begin: the plane's region, or all."""
    if not item.covers:
        return (1.0, 1.0), (0.0, 0.0)
    factors = np.divide(plane.full, plane.size)
    first = (plane.region.top, plane.region.left) if plane.region is not None else (0, 0)
    grid = item.data.shape[len(item.axis_labels) :][:2]
    return tuple(factors * plane.looked_at / grid), tuple(factors * first)


def _beyond(plane: Plane, item: ResultLayer) -> ResultLayer:
    """Give a stack of maps an axis of its own, before all axes of the picture.

    napari brings layers together from their last axes on: else a stack's maps would be scrolled
    with its planes.
    """
    if not item.axis_labels or not plane.point:
        return item
    ones = (1,) * len(plane.point)
    data = item.data.reshape(len(item.data), *ones, *item.data.shape[1:])
    names = (*item.axis_labels, *(f"axis {number}" for number in range(len(ones))))
    return replace(item, data=data, axis_labels=names)


def set_changed(layer: Layer, placement: Mapping[str, Any]) -> None:
    """Set what differs; each setting costs a redraw."""
    for name, value in placement.items():
        if not np.array_equal(np.asarray(getattr(layer, name)), np.asarray(value)):
            setattr(layer, name, value)
