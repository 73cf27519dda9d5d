"""A few strokes of a class that spread along the attention maps."""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer, Signal

from napari_cliper.errors import NapariCliperError
from napari_cliper.widgets import masks
from napari_cliper.widgets.latest import Latest
from napari_cliper.widgets.layers import ResultLayer, add, dress, find
from napari_cliper.widgets.outlines import remove
from napari_cliper.widgets.segmentation import encodings

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_cliper.widgets.corrections import Corrections
    from napari_cliper.widgets.masks import Mask
    from napari_cliper.widgets.workspace import Workspace

ROLE = "scribbles"
NOTHING, BACKGROUND = 0, 65535  # in the layer; 0 is what its eraser leaves
PAUSE = 60  # milliseconds after a stroke
BRUSH = 150  # of such a share of the picture's longer side


class Scribbles(QObject):
    """Strokes in a layer of their own; what follows from them is shown, and counts on Enter."""

    told = Signal(str)
    failed = Signal(object)

    def __init__(self, viewer: Viewer, workspace: Workspace, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer, self._workspace = viewer, workspace
        self._corrections: Corrections = workspace.corrections
        self._layer_of: weakref.ref[Labels] | None = None
        self._mask: Mask | None = None
        self._accepts = False  # as soon as what follows from the last stroke is shown
        self._latest = Latest(self)
        self._latest.failed.connect(self.failed)
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(PAUSE)
        self._pause.timeout.connect(self._spread)
        viewer.dims.events.current_step.connect(self._turn)

    @property
    def idle(self) -> bool:
        """Whether the last stroke has been followed."""
        return self._latest.idle and not self._pause.isActive()

    def stop(self) -> None:
        """Work out nothing more: the dock goes."""
        self._viewer.dims.events.current_step.disconnect(self._turn)
        self._end(False)
        self._latest.stop()

    def begin(self) -> None:
        """Let a person scribble on the mask that is corrected."""
        try:
            mask = self._corrections.needed_mask()
            self._known(mask)
        except NapariCliperError as error:
            self.failed.emit(error)
            return
        if mask.role != "refined":
            self.failed.emit(
                NapariCliperError("Scribbles correct the refined mask: click on its layer first.")
            )
            return
        if self._mask is not mask:
            self._end(False)
        self._mask = mask
        layer = self._layer(mask)
        label = int(mask.layer.selected_label)
        layer.selected_label = label if label else BACKGROUND
        layer.brush_size = max(3, round(max(layer.data.shape) / BRUSH))
        layer.mode = "paint"
        self._viewer.layers.selection.active = layer
        self.told.emit("Alt+1 … 9: a class, Alt+0: background. Enter applies, Escape drops.")

    def _layer(self, mask: Mask) -> Labels:
        """The layer for scribbles, made if it is not there."""
        data = mask.data
        layer = find(self._viewer, mask.plane, ROLE, data.shape)
        attributes = dress(mask.classes)
        attributes["colormap"] = _with_background(attributes["colormap"])
        if layer is None:
            item = ResultLayer(ROLE, np.zeros(data.shape, np.uint16), attributes, {"opacity": 0.9})
            layer = add(self._viewer, mask.plane, item, Labels)
            layer.events.paint.connect(self._on_paint)
            layer.events.set_data.connect(self._on_paint)
            self._bind(layer)
        else:
            layer.colormap = attributes["colormap"]
        self._layer_of = weakref.ref(layer)
        return layer

    def _bind(self, layer: Labels) -> None:
        def class_key(number: int) -> Any:
            def press(layer: Labels) -> None:
                mask = self._mask
                if mask is not None and number <= len(mask.classes):
                    layer.selected_label = mask.classes[number - 1].id if number else BACKGROUND

            press.__doc__ = f"Scribble class {number}." if number else "Scribble background."
            return press

        for number in range(10):
            layer.bind_key(f"Alt-{number}", class_key(number), overwrite=True)
        layer.bind_key("Enter", lambda _: self._accept(), overwrite=True)
        layer.bind_key("Escape", lambda _: self._drop(), overwrite=True)

    def _on_paint(self, event: Any = None) -> None:
        self._pause.start()

    def _accept(self) -> None:
        """Let it count; what follows from the last stroke first, if that is not shown yet."""
        self._accepts = not self.idle
        if not self._accepts:
            self._corrections.accept()

    def _drop(self) -> None:
        if self._corrections.change is not None:
            self._corrections.drop()
        else:
            self._end(False)

    def _known(self, mask: Mask) -> tuple[Any, Any]:
        """What is known of a mask's picture: its scene and its encoding.

        Raises
        ------
        NapariCliperError
        """
        scene = self._workspace.scene(mask.plane)
        if scene is not None and scene.plane.region is not None:
            raise NapariCliperError(
                "Only a part of the picture was looked at: segment all of it, then scribble."
            )
        encoding = encodings.get((scene.model, scene.digest)) if scene is not None else None
        if scene is None or encoding is None:
            raise NapariCliperError(
                "The picture is not encoded any more: press Segment, then scribble."
            )
        return scene, replace(encoding, size=scene.scored.size)

    def _turn(self, event: Any = None) -> None:
        """Another plane of a stack is shown: what was scribbled was not meant for it."""
        mask = self._mask
        if mask is not None and not mask.gone and masks.of(mask.layer) is not mask:
            self._corrections.drop()
            self._end(False)

    def _spread(self) -> None:
        layer = self._layer_of() if self._layer_of is not None else None
        mask = self._mask
        if layer is None or mask is None or mask.gone or layer not in self._viewer.layers:
            return
        try:
            scene, encoding = self._known(mask)
        except NapariCliperError as error:
            self.failed.emit(error)
            return
        strokes = layer.data.astype(np.int32)
        drawn = strokes != NOTHING
        if not drawn.any():
            self._corrections.drop()
            return
        strokes[~drawn] = -1
        strokes[strokes == BACKGROUND] = 0
        theirs = mask.painted.mask.copy()

        def spread() -> tuple[NDArray[np.uint16], NDArray[np.bool_]]:
            corrected = scene.scored.corrected(encoding, strokes)
            before = scene.adjustment.label(scene.scored).labels
            labels = scene.adjustment.label(corrected).labels
            # Only what the strokes have changed: the rest is as the person left it.
            return labels, (labels != before) & ~theirs | drawn

        def show(found: tuple[NDArray[np.uint16], NDArray[np.bool_]]) -> None:
            labels, where = found
            if mask is not self._mask or mask.gone or labels.shape != mask.data.shape:
                return
            count = self._corrections.show(mask, labels, where, self._end)
            self.told.emit(f"{count:,} pixels would change. Enter applies, Escape drops.")
            if self._accepts and not self._pause.isActive():
                self._corrections.accept()

        self._latest.ask(spread, show)

    def _end(self, accepted: bool) -> None:
        """Take the scribbles away, and go back to the mask."""
        self._pause.stop()
        self._accepts = False
        self._latest.forget()
        mask, self._mask, self._layer_of = self._mask, None, None
        if mask is None or mask.gone:
            return
        remove(self._viewer, mask.plane, ROLE)
        if mask.layer in self._viewer.layers:
            self._viewer.layers.selection.active = mask.layer
        self.told.emit("Applied: these pixels are yours." if accepted else "Scribbles dropped.")


def _with_background(colormap: Any) -> Any:
    from napari.utils.colormaps import DirectLabelColormap

    return DirectLabelColormap(color_dict=colormap.color_dict | {BACKGROUND: "white"})
