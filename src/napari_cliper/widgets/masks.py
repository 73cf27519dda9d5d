"""The masks in a viewer: made, shown, and found again."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels

from napari_cliper.widgets.layers import KEY, ResultLayer, is_ours, make, placed, set_changed
from napari_cliper.widgets.mask import Mask as Mask
from napari_cliper.widgets.mask_layer import MaskLayer
from napari_cliper.widgets.planes import stretched

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_cliper.annotation.class_list import ClassList
    from napari_cliper.widgets.planes import Plane

# Strokes outlive the dock that was open when they were painted, and nothing but their layer.
_layers: weakref.WeakKeyDictionary[Labels, MaskLayer] = weakref.WeakKeyDictionary()


def show_mask(viewer: Viewer, plane: Plane, item: ResultLayer, classes: ClassList) -> Mask:
    """Write a result into its layer, around what was painted there; add the layer if need be.

    Of a stack it is a layer of all planes, in which those that were not segmented are empty.
    """
    region, plane = plane.region, replace(plane, region=None)  # a mask is always of all of it
    shape = (*plane.stack, *item.data.shape)
    layer = _layer(viewer, plane, item.role, shape)
    if layer is None:
        return _new_layer(viewer, plane, item, classes)
    known = _layers[layer]
    new = plane.key not in known.masks
    mask = known.mask(plane, classes)
    mask.plane, mask.classes = plane, classes
    set_changed(layer, _placed(plane, item))
    if new:
        mask.begin(item.data)
    else:
        mask.propose(item.data if region is None else item.data[region.box], region)
    mask.wear(item.attributes)
    return mask


def _new_layer(viewer: Viewer, plane: Plane, item: ResultLayer, classes: ClassList) -> Mask:
    data = item.data
    if plane.stack:
        data = np.zeros((*plane.stack, *item.data.shape), item.data.dtype)
        data[plane.place] = item.data
    layer = make(plane, replace(item, data=data), Labels, _placed(plane, item))
    layer.metadata[KEY]["plane"] = (plane.picture,)  # all of its planes
    known = _layers[layer] = MaskLayer(layer)  # known before anybody hears of the layer
    mask = known.mask(plane, classes)
    viewer.add_layer(layer)
    return mask


def _placed(plane: Plane, item: ResultLayer) -> Mapping[str, Any]:
    if not plane.stack:
        return placed(plane, item)
    rows, columns = item.data.shape
    height, width = plane.full
    ones = (1.0,) * len(plane.stack)
    first = (0.0,) * len(plane.whole["scale"])
    return stretched(plane.whole, (*ones, height / rows, width / columns), first)


def _layer(
    viewer: Viewer, plane: Plane, role: str, shape: tuple[int, ...] | None = None
) -> Labels | None:
    """The topmost of our layers with such masks of a picture, with this shape if one is given."""
    for layer in reversed(viewer.layers):
        if layer in _layers and is_ours(layer):
            notes = layer.metadata[KEY]
            fits = notes["plane"] == (plane.picture,) and notes["role"] == role
            if fits and shape in (None, layer.data.shape):
                return layer
    return None


def find_mask(
    viewer: Viewer, plane: Plane, role: str = "refined", of_its_size: bool = False
) -> Mask | None:
    """The mask that shows this of a plane, if it is there; of any size unless only one will do."""
    layer = _layer(viewer, plane, role, (*plane.stack, *plane.size) if of_its_size else None)
    return None if layer is None else on(layer, plane.key)


def of_other_sizes(viewer: Viewer, plane: Plane) -> list[Mask]:
    """Masks of the same picture with other numbers of pixels than the plane's, not by its doing."""
    return [
        mask
        for mask in masks(viewer)
        if mask.plane.picture == plane.picture
        and mask.plane.full == plane.full
        and mask.data.shape != plane.size
    ]


def masks(viewer: Viewer) -> list[Mask]:
    """All masks in a viewer, from bottom to top."""
    layers = [layer for layer in viewer.layers if is_ours(layer) and layer in _layers]
    return [mask for layer in layers for mask in _layers[layer].masks.values()]


def of(layer: Any) -> Mask | None:
    """The mask of a layer, if it is ours; of a stack, that of the plane that is shown."""
    known = _layers.get(layer) if isinstance(layer, Labels) else None
    return known.shown() if known is not None else None


def on(layer: Any, key: tuple[str, ...]) -> Mask | None:
    """The mask of this plane in a layer."""
    known = _layers.get(layer) if isinstance(layer, Labels) else None
    return known.masks.get(key) if known is not None else None


def keys(layer: Any) -> list[tuple[str, ...]]:
    """Of which planes a layer holds masks; none if it is not ours."""
    known = _layers.get(layer) if isinstance(layer, Labels) else None
    return list(known.masks) if known is not None else []
