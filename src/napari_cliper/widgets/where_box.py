"""A list of the parts of a picture that can be segmented alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.layers import Labels, Shapes
from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QComboBox, QWidget

from napari_cliper.widgets import regions
from napari_cliper.widgets.layers import is_ours
from napari_cliper.widgets.parts import narrow
from napari_cliper.widgets.picture_box import LAYER_EVENTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Image
    from napari.viewer import Viewer

    from napari_cliper.widgets.planes import Plane
    from napari_cliper.widgets.regions import Where

ALL, SHOWN = "All of the picture", "What the window shows"


class WhereBox(QComboBox):
    """Offers all of the picture, what is shown, the inside of shapes, the outside of labels."""

    def __init__(self, viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._layers: list[Shapes | Labels] = []
        narrow(self)
        for event in LAYER_EVENTS:
            getattr(viewer.layers.events, event).connect(self.refresh)
        self.refresh()

    def stop(self) -> None:
        """Follow the viewer no more."""
        for event in LAYER_EVENTS:
            getattr(self._viewer.layers.events, event).disconnect(self.refresh)

    def where(self, picture: Image, planes: Sequence[Plane]) -> Where | None:
        """How the chosen part of each plane is found; None for all of it.

        Raises
        ------
        NapariCliperError
            The chosen labels do not fit the picture.
        """
        index = self.currentIndex()
        if index <= 0:
            return None
        if index == 1:
            return regions.shown(self._viewer, picture)
        layer = self._layers[index - 2]
        if isinstance(layer, Shapes):
            return regions.inside(layer, picture)
        return regions.outside(layer, picture, planes)

    def refresh(self, event: object = None) -> None:
        """Read the viewer's layers again; the choice stays, or goes back to all of the picture."""
        index = self.currentIndex()
        before = self._layers[index - 2] if index > 1 else None
        self._layers = [
            layer
            for layer in self._viewer.layers
            if isinstance(layer, (Shapes, Labels)) and not is_ours(layer)
        ]
        with QSignalBlocker(self):
            self.clear()
            self.addItems([ALL, SHOWN])
            for layer in self._layers:
                side = "Inside" if isinstance(layer, Shapes) else "Outside"
                self.addItem(f"{side} “{layer.name}”")
            if before is None:
                self.setCurrentIndex(min(max(index, 0), 1))
            elif before in self._layers:
                self.setCurrentIndex(self._layers.index(before) + 2)
            else:
                self.setCurrentIndex(0)
