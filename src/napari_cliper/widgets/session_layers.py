"""A picture's label layers as a session holds them, and back."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels

from napari_cliper.annotation.annotation import same_name
from napari_cliper.annotation.class_edits import with_strays, without_strays
from napari_cliper.annotation.class_list import ClassEntry, ClassList
from napari_cliper.annotation.session import INSTANCES, MaskNotes
from napari_cliper.annotation.session import Mask as SavedMask
from napari_cliper.files.layer_data import OBJECTS
from napari_cliper.files.session import MaskMaps
from napari_cliper.widgets import masks
from napari_cliper.widgets.layers import KEY, ResultLayer, add, dress, find, is_ours

if TYPE_CHECKING:
    from collections.abc import Collection

    from napari.viewer import Viewer

    from napari_cliper.widgets.planes import Plane
    from napari_cliper.widgets.workspace import Workspace


def label_layers(viewer: Viewer, plane_key: tuple[str, ...]) -> list[Labels]:
    """The layers in which there is something of a plane that a session holds."""
    return [layer for layer in viewer.layers if is_kept(layer) and plane_key in planes_of(layer)]


def planes_of(layer: Labels) -> list[tuple[str, ...]]:
    """The keys of the planes that a layer holds something of: of a stack's masks there are many."""
    return masks.keys(layer) or [tuple(layer.metadata[KEY]["plane"])]


def is_kept(layer: Any) -> bool:
    """Whether a session holds such a layer: masks, and instances."""
    if layer is None or not is_ours(layer):
        return False
    return bool(masks.keys(layer)) or layer.metadata[KEY]["role"].startswith(INSTANCES)


def is_painted(layer: Labels, plane_key: tuple[str, ...]) -> bool:
    """Whether a person has put work into a layer's part of a plane that nothing else has."""
    mask = masks.on(layer, plane_key)
    if mask is not None:
        return mask.painted.count() > 0
    return bool(zlib.crc32(layer.data) != layer.metadata[KEY].get("made"))


def add_instances(viewer: Viewer, plane: Plane, item: ResultLayer, entry: ClassEntry) -> Labels:
    """Add a layer of a class's instances, and note what it is like untouched."""
    layer = add(viewer, plane, item, Labels)
    assert isinstance(layer, Labels)
    layer.metadata[KEY]["made"] = zlib.crc32(layer.data)
    layer.metadata[KEY][OBJECTS] = entry.model_dump_json()
    return layer


def _entry(viewer: Viewer, plane: Plane, name: str) -> ClassEntry:
    """The class of this name in a mask of the plane; one of its own if there is none."""
    mask = masks.find_mask(viewer, plane) or masks.find_mask(viewer, plane, "coarse")
    entries = mask.classes if mask is not None else ()
    found = (entry for entry in entries if same_name(entry.name, name))
    return next(found, ClassEntry(id=1, name=name))


@dataclass(frozen=True, eq=False)
class Looks:
    """What a session keeps of a layer beside its pixels; no layer is asked any more.

    Attributes
    ----------
    attributes : dict
        Of `MaskNotes`.
    names : ClassList or dict
        The mask's classes, or what an instance layer's features call its labels.
    """

    attributes: dict[str, Any]
    names: ClassList | dict[int, str]


def looks_of(layer: Labels, plane_key: tuple[str, ...]) -> Looks:
    """What a plane's part of a layer looks like now."""
    mask = masks.on(layer, plane_key)
    attributes = {
        "role": layer.metadata[KEY]["role"],
        "name": layer.name,
        "visible": bool(layer.visible),
        "opacity": float(layer.opacity),
        "contour": int(layer.contour),
        "selected_label": int(layer.selected_label),
    }
    return Looks(attributes, mask.classes if mask is not None else _names(layer))


def notes_of(looks: Looks, maps: MaskMaps) -> MaskNotes:
    """The session's notes on a layer, with a class for each label; takes a while."""
    ids = set(np.unique(maps.labels).tolist())
    if maps.proposal is not None:
        ids |= set(np.unique(maps.proposal).tolist())
    names = looks.names
    if isinstance(names, dict):
        entries = [{"id": id_, "name": name} for id_, name in names.items() if id_ != 0]
        names = ClassList.model_validate({"classes": entries})
    return MaskNotes(classes=with_strays(names, ids), **looks.attributes)


def maps_of(layer: Labels, plane_key: tuple[str, ...]) -> MaskMaps:
    """Its pixels, copied: a thread may write them while the person paints on."""
    mask = masks.on(layer, plane_key)
    if mask is None:
        return MaskMaps(_copied(layer.data))
    return MaskMaps(_copied(mask.data), mask.painted.mask.copy(), _copied(mask.proposal))


def restore(
    viewer: Viewer,
    workspace: Workspace,
    plane: Plane,
    saved: SavedMask,
    maps: MaskMaps,
    hidden: Collection[int],
) -> None:
    """Bring a layer back as it was saved, in place of one of this role that nobody painted on.

    Of a stack it is the plane's part.
    """
    classes = without_strays(saved.classes)
    item = ResultLayer(saved.role, maps.labels, dress(classes, hidden))
    known = masks.find_mask(viewer, plane, saved.role)
    before = known.layer if known is not None else find(viewer, plane, saved.role)
    if before is not None and before.data.ndim == maps.labels.ndim:
        viewer.layers.remove(before)
    if saved.role.startswith(INSTANCES):
        item = ResultLayer(saved.role, maps.labels, dress(saved.classes))
        entry = _entry(viewer, plane, saved.role.removeprefix(INSTANCES))
        layer = add_instances(viewer, plane, item, entry)
    else:
        mask = workspace.show_mask(viewer, plane, item, classes)
        shape = maps.labels.shape
        protected = np.zeros(shape, bool) if maps.protected is None else maps.protected
        proposal = maps.labels if maps.proposal is None else maps.proposal
        mask.restore(maps.labels, protected, proposal)
        layer = mask.layer
        if before is layer:
            return  # other planes are in it, too
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


def _names(layer: Labels) -> dict[int, str]:
    """What a layer's features call its labels."""
    features: Any = layer.features
    pairs = zip(features.get("index", ()), features.get("name", ()), strict=True)
    return {int(index): str(name) for index, name in pairs}


def _copied(labels: Any) -> Any:
    """In a type that a session holds, even if somebody converted the layer to another."""
    small = labels.dtype == np.uint8 or (labels.dtype != np.uint16 and labels.max() <= 255)
    return labels.astype(np.uint8 if small else np.uint16)
