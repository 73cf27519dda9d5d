"""A list of the viewer's pictures to choose from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.layers import Image
from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QComboBox, QWidget

from napari_cliper.errors import NapariCliperError
from napari_cliper.widgets.layers import is_result
from napari_cliper.widgets.planes import Plane, shown_plane

if TYPE_CHECKING:
    from napari.viewer import Viewer


# After these the list is to be read again.
LAYER_EVENTS = ("inserted", "removed", "reordered", "renamed")


class PictureBox(QComboBox):
    """Offers the viewer's Image layers, without those that we made.

    magicgui's layer box knows its choice by name and forgets it when the layer is renamed; this
    one keeps to the layer.
    """

    layer_changed = Signal()

    def __init__(self, viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._layers: list[Image] = []
        self.setPlaceholderText("No picture is open")
        self.currentIndexChanged.connect(self.layer_changed)
        self.refresh()

    @property
    def layer(self) -> Image | None:
        """The chosen picture."""
        index = self.currentIndex()
        return self._layers[index] if index >= 0 else None

    def choose(self, layer: Image) -> None:
        """Choose a picture of the viewer's."""
        self.refresh()
        if layer in self._layers:
            self.setCurrentIndex(self._layers.index(layer))

    def plane(self) -> Plane:
        """What the viewer shows of the chosen picture.

        Raises
        ------
        NapariCliperError
            If no picture is open, or it is not shown as one can segment it.
        """
        if self.layer is None:
            raise NapariCliperError(
                "Open a picture first: File ▸ Open, or File ▸ Open Sample ▸ CLIPer."
            )
        return shown_plane(self._viewer, self.layer)

    def plane_or_none(self) -> Plane | None:
        """The same, None where that is an error."""
        try:
            return self.plane()
        except NapariCliperError:
            return None

    def refresh(self) -> None:
        """Read the viewer's layers again; the choice stays, or goes to the topmost picture."""
        before = self.layer
        self._layers = [
            layer
            for layer in self._viewer.layers
            if isinstance(layer, Image) and not is_result(layer)
        ]
        with QSignalBlocker(self):
            self.clear()
            self.addItems([layer.name for layer in self._layers])
            kept = before if before in self._layers else next(reversed(self._layers), None)
            self.setCurrentIndex(self._layers.index(kept) if kept else -1)
        if self.layer is not before:
            self.layer_changed.emit()
