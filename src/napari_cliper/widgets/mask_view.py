"""Between what was found and the masks that show it: results, sliders, names, colours, counts."""

from __future__ import annotations

import math
from collections.abc import Collection
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QObject, Signal
from superqt.utils import QSignalDebouncer

from napari_cliper.annotation import class_edits
from napari_cliper.errors import NapariCliperError
from napari_cliper.widgets import masks
from napari_cliper.widgets.class_table import Found
from napari_cliper.widgets.latest import Latest
from napari_cliper.widgets.layers import kept_selection, labels_layer

if TYPE_CHECKING:
    from napari.layers import Labels
    from napari.viewer import Viewer
    from numpy.typing import NDArray

    from napari_cliper.annotation.class_list import ClassEntry, ClassList
    from napari_cliper.result import Result
    from napari_cliper.widgets.masks import Mask
    from napari_cliper.widgets.planes import Plane
    from napari_cliper.widgets.segmentation import Adjustment, Scene, Segmented
    from napari_cliper.widgets.workspace import Workspace

LARGEST_STACK = 2**36  # pixels of a stack's masks
COUNT_PAUSE = 150  # milliseconds after a stroke until pixels are counted


class MaskView(QObject):
    """Writes into the masks of one viewer, never where a person painted."""

    found = Signal(dict)  # id → Found, of the plane that was last asked for
    label_selected = Signal(int)  # in one of our layers
    failed = Signal(object)

    def __init__(self, viewer: Viewer, workspace: Workspace, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer, self._workspace = viewer, workspace
        self._plane: Plane | None = None
        self._result: Result | None = None
        self._latest = Latest(self)
        self._latest.failed.connect(self.failed)
        self._count = QSignalDebouncer(parent=self)
        self._count.setTimeout(COUNT_PAUSE)
        self._count.triggered.connect(self._tell_found)

    @property
    def idle(self) -> bool:
        """Whether no slider's move is still on its way to the masks."""
        return self._latest.idle

    def stop(self) -> None:
        """Write nothing any more: the dock goes."""
        self._latest.stop()
        self._count.cancel()
        self._plane = None

    def turn_to(self, plane: Plane | None) -> None:
        """Tell of this plane from now on."""
        if self._plane is None or plane is None or self._plane.key != plane.key:
            self._result = None
        self._plane = plane
        self._tell_found()

    def show(self, segmented: Segmented, hidden: Collection[int]) -> None:
        """Show what was found; it is written around what is painted."""
        scene, result = segmented.scene, segmented.result
        self._latest.forget()  # what an older slider's move would bring
        self._workspace.keep(scene)
        shown = self._plane is not None and self._plane.key == scene.plane.key
        # Someone who went on with another picture is not to be disturbed there.
        with nullcontext() if shown else kept_selection(self._viewer):
            for role, labels in (("coarse", result.coarse_labels), ("refined", result.labels)):
                self.show_labels(scene.plane, role, labels, result.classes, hidden)
        if shown:
            self._plane, self._result = scene.plane, result
            self._tell_found()

    def show_labels(
        self,
        plane: Plane,
        role: str,
        labels: NDArray[np.uint16],
        classes: ClassList,
        hidden: Collection[int],
    ) -> None:
        """Write labels into a mask, around what is painted there; add it if need be."""
        others = masks.of_other_sizes(self._viewer, plane)
        painted = {mask.layer for mask in others if mask.painted.count()}  # during the run
        for layer in {mask.layer for mask in others if mask.role == role} - painted:
            self._viewer.layers.remove(layer)
        if plane.region is not None:
            labels = plane.region.put(labels, np.zeros(plane.size, labels.dtype))
        item = labels_layer(role, labels, classes, hidden)
        self._listen(self._workspace.show_mask(self._viewer, plane, item, classes))

    def adjust(self, plane: Plane, adjustment: Adjustment, settled: bool) -> None:
        """Label the kept scores anew, as a preview while a slider is dragged."""
        scene = self._workspace.scene(plane)
        if scene is None:
            return
        if settled:
            self._workspace.keep(replace(scene, adjustment=adjustment))

        def label() -> Result:
            result = adjustment.label(scene.scored)
            _ = result.labels, settled and result.coarse_labels  # made here, not in the window
            return result

        self._latest.ask(label, lambda result: self._show_adjusted(scene, result, settled))

    def _show_adjusted(self, scene: Scene, result: Result, settled: bool) -> None:
        maps = {"refined": lambda: result.labels, "coarse": lambda: result.coarse_labels}
        for role, labels in maps.items() if settled else [("refined", maps["refined"])]:
            mask = masks.find_mask(self._viewer, scene.plane, role, of_its_size=True)
            if mask is None:
                continue
            region, found = scene.plane.region, labels()
            if settled:
                mask.propose(found, region)
            else:
                mask.preview(found if region is None else region.put(found, mask.data))
        if self._plane is not None and self._plane.key == scene.plane.key:
            self._result = result
            self._tell_found()

    def check(self, plane: Plane, classes: ClassList) -> None:
        """Refuse what would not go with the strokes on a picture's masks, in whatever plane.

        Raises
        ------
        NapariCliperError
            A number of painted pixels has another name in this list; there are strokes in masks of
            another size; or the masks of a stack take more memory than any machine has.
        """
        if math.prod((*plane.stack, *plane.size)) > LARGEST_STACK:
            raise NapariCliperError(
                f"The masks of all planes of “{plane.name}” would take too much memory: open fewer "
                "of its planes, or choose fewer pixels for the masks."
            )
        for mask in masks.of_other_sizes(self._viewer, plane):
            if mask.painted.count():
                height, width = mask.data.shape
                raise NapariCliperError(
                    f"“{mask.layer.name}” holds strokes of yours in masks of {width:,} × {height:,}"
                    " pixels: choose that size, or save and delete the layer first."
                )
        self._check_names(plane, classes)

    def mask(self, plane: Plane, role: str = "refined") -> Mask | None:
        """The mask that shows this of a plane, if it is there."""
        return masks.find_mask(self._viewer, plane, role)

    def select(self, plane: Plane | None, id_: int) -> None:
        """Choose the label to paint with, in our active layer or else in the refined mask."""
        mask = masks.of(self._viewer.layers.selection.active)
        if mask is None and plane is not None:
            mask = self.mask(plane)
        if mask is not None and id_ <= np.iinfo(mask.data.dtype).max:
            self._viewer.layers.selection.active = mask.layer
            mask.layer.selected_label = id_

    def dress(
        self, before: ClassList | None, after: ClassList | None, hidden: Collection[int]
    ) -> None:
        """Let all masks follow a change of the class list: names, colours, what is drawn."""
        layers: dict[Labels, Mask] = {}
        for mask in masks.masks(self._viewer):
            if after is not None:
                mask.classes = class_edits.followed(mask.classes, before, after)
            layers[mask.layer] = mask
        for mask in layers.values():
            mask.dress(mask.classes, hidden)

    def painted_ids(self) -> frozenset[int]:
        """The labels that painted pixels hold in any mask, or may hold again by an undo."""
        ids: set[int] = set()
        for mask in masks.masks(self._viewer):
            ids |= mask.painted.ids(mask.data) | mask.painted.ids_to_come_back()
        return frozenset(ids - {0})

    def _check_names(self, plane: Plane, classes: ClassList) -> None:
        now = {entry.id: entry.name for entry in classes}
        for mask in masks.masks(self._viewer):
            if mask.plane.picture != plane.picture:  # the planes of a stack are one layer
                continue
            names = {entry.id: entry.name for entry in mask.classes}
            for id_ in mask.painted.ids(mask.data) & names.keys() & now.keys():
                if names[id_].casefold() != now[id_].casefold():
                    raise NapariCliperError(
                        f"Label {id_} of “{mask.layer.name}” is painted as “{names[id_]}”, and the "
                        f"list calls it “{now[id_]}”: give “{names[id_]}” the place it had."
                    )

    def pixels(self, entry: ClassEntry) -> tuple[int, int]:
        """How many pixels a class has in all refined masks, and how many of these are painted."""
        total = painted = 0
        for mask in self._with_class(entry):
            if mask.role != "refined":
                continue
            theirs = mask.data == entry.id
            total += int(theirs.sum())
            painted += int((theirs & mask.painted.mask).sum())
        return total, painted

    def replace(self, entry: ClassEntry, label: int) -> None:
        """Give all pixels of a class another label; where that is 0 they are no one's any more."""
        for mask in self._with_class(entry):
            mask.replace(entry.id, label, painted=label != 0)

    def _with_class(self, entry: ClassEntry) -> list[Mask]:
        return [
            mask
            for mask in masks.masks(self._viewer)
            if any((theirs.id, theirs.name) == (entry.id, entry.name) for theirs in mask.classes)
        ]

    def _listen(self, mask: Mask) -> None:
        events = mask.layer.events  # connecting again changes nothing
        events.paint.connect(self._count_soon)
        events.set_data.connect(self._count_soon)
        events.selected_label.connect(self._tell_selected)

    def _count_soon(self, event: object = None) -> None:
        self._count.throttle()

    def _tell_selected(self, event: object = None) -> None:
        mask = masks.of(self._viewer.layers.selection.active)
        if mask is not None:
            self.label_selected.emit(int(mask.layer.selected_label))

    def _tell_found(self) -> None:
        """Tell presence and share of each class of the plane."""
        found: dict[int, Found] = {}
        mask = self.mask(self._plane) if self._plane is not None else None
        if mask is not None:
            self._listen(mask)
            counts = np.bincount(mask.data.ravel(), minlength=max(mask.classes.ids) + 1)
            total = mask.data.size
            found = {entry.id: Found(share=counts[entry.id] / total) for entry in mask.classes}
        if self._result is not None:
            result = self._result
            for entry, presence, present in zip(
                result.classes, result.presence, result.present, strict=True
            ):
                share = found[entry.id].share if entry.id in found else None
                found[entry.id] = Found(float(presence), bool(present), share)
        self.found.emit(found)
