"""A picture's label layers as a session holds them, and back."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels

from napari_cliper.annotation.class_edits import with_strays, without_strays
from napari_cliper.annotation.class_list import ClassList
from napari_cliper.annotation.session import Mask as SavedMask
from napari_cliper.annotation.session import MaskNotes
from napari_cliper.files.session import MaskMaps
from napari_cliper.widgets import masks
from napari_cliper.widgets.layers import KEY, ResultLayer, add, dress, find, is_ours

if TYPE_CHECKING:
    from collections.abc import Collection

    from napari.viewer import Viewer

    from napari_cliper.widgets.planes import Plane
    from napari_cliper.widgets.workspace import Workspace

INSTANCES = "instances of "  # how the role of such a layer begins


def label_layers(viewer: Viewer, plane_key: tuple[str, ...]) -> list[Labels]:
    """The layers of a plane that a session holds: its masks, and instances."""
    return [
        layer
        for layer in viewer.layers
        if is_kept(layer) and layer.metadata[KEY]["plane"] == plane_key
    ]


def is_kept(layer: Any) -> bool:
    """Whether a session holds such a layer."""
    if layer is None or not is_ours(layer):
        return False
    return masks.of(layer) is not None or layer.metadata[KEY]["role"].startswith(INSTANCES)


def notes_of(layer: Labels) -> MaskNotes:
    """What a session keeps of a layer beside its pixels."""
    mask = masks.of(layer)
    ids = np.unique(layer.data).tolist()
    if mask is not None:
        classes = with_strays(mask.classes, [*ids, *np.unique(mask.proposal).tolist()])
    else:
        classes = _named(layer, ids)
    return MaskNotes(
        role=layer.metadata[KEY]["role"],
        name=layer.name,
        classes=classes,
        visible=bool(layer.visible),
        opacity=float(layer.opacity),
        contour=int(layer.contour),
        selected_label=int(layer.selected_label),
    )


def maps_of(layer: Labels) -> MaskMaps:
    """Its pixels, copied: a thread may write them while the person paints on."""
    mask = masks.of(layer)
    if mask is None:
        return MaskMaps(layer.data.copy())
    return MaskMaps(layer.data.copy(), mask.painted.mask.copy(), _copied(mask.proposal))


def restore(
    viewer: Viewer,
    workspace: Workspace,
    plane: Plane,
    saved: SavedMask,
    maps: MaskMaps,
    hidden: Collection[int],
) -> None:
    """Bring a layer back as it was saved, in place of one of this role that nobody painted on."""
    classes = without_strays(saved.classes)
    item = ResultLayer(saved.role, maps.labels, dress(classes, hidden))
    before = find(viewer, plane, saved.role)
    if before is not None:
        viewer.layers.remove(before)
    if saved.role.startswith(INSTANCES):
        item = ResultLayer(saved.role, maps.labels, dress(saved.classes))
        layer = add(viewer, plane, item, Labels)
    else:
        mask = workspace.show_mask(viewer, plane, item, classes)
        shape = maps.labels.shape
        protected = np.zeros(shape, bool) if maps.protected is None else maps.protected
        mask.restore(protected, maps.labels if maps.proposal is None else maps.proposal)
        layer = mask.layer
    layer.name = saved.name
    layer.visible = saved.visible
    layer.opacity = saved.opacity
    layer.contour = saved.contour
    if saved.selected_label <= np.iinfo(layer.data.dtype).max:
        layer.selected_label = saved.selected_label


def versions() -> dict[str, str]:
    """Of the programs that a result depends on."""
    found = {}
    for name in ("napari-cliper", "napari", "torch", "open_clip_torch", "diffusers"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _named(layer: Labels, ids: list[int]) -> ClassList:
    """The classes of a layer as its features name them."""
    features: Any = layer.features
    entries = [
        {"id": int(index), "name": str(name)}
        for index, name in zip(features.get("index", ()), features.get("name", ()), strict=True)
        if index != 0
    ]
    return with_strays(ClassList.model_validate({"classes": entries}), ids)


def _copied(proposal: Any) -> Any:
    return proposal.astype(np.uint8 if proposal.max() <= 255 else np.uint16)
