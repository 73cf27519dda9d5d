"""A list of Labels layers that go with the mask that is corrected."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.layers import Labels
from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QComboBox, QWidget

from napari_cliper.widgets.layers import KEY, is_ours
from napari_cliper.widgets.parts import narrow
from napari_cliper.widgets.picture_box import LAYER_EVENTS

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_cliper.widgets.corrections import Corrections

MASKS = ("refined", "coarse")  # of our own layers, those that somebody may compare with


class LabelsBox(QComboBox):
    """Offers the Labels layers of the corrected mask's size, but not the mask itself.

    Parameters
    ----------
    viewer : Viewer
    corrections : Corrections
    first : str
        What is offered before them, and stands for no layer; "" for nothing.
    """

    def __init__(
        self,
        viewer: Viewer,
        corrections: Corrections,
        first: str = "",
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._viewer, self._corrections, self._first = viewer, corrections, first
        self._layers: list[Labels | None] = []
        self.setPlaceholderText("No other Labels layer")
        narrow(self)
        for event in LAYER_EVENTS:
            getattr(viewer.layers.events, event).connect(self.refresh)
        corrections.changed.connect(self.refresh)
        self.refresh()

    def stop(self) -> None:
        """Follow the viewer no more."""
        for event in LAYER_EVENTS:
            getattr(self._viewer.layers.events, event).disconnect(self.refresh)
        self._corrections.changed.disconnect(self.refresh)

    @property
    def layer(self) -> Labels | None:
        """The chosen layer; None for what is offered first, or if there is none."""
        index = self.currentIndex()
        return self._layers[index] if index >= 0 else None

    def refresh(self, event: object = None) -> None:
        """Read the viewer's layers again; the choice stays if it can."""
        before, mask = self.layer, self._corrections.mask
        fitting = [
            layer
            for layer in self._viewer.layers
            if isinstance(layer, Labels)
            and mask is not None
            and layer is not mask.layer
            and layer.data.shape in (mask.layer.data.shape, mask.data.shape)
            and (not is_ours(layer) or layer.metadata[KEY]["role"] in MASKS)
        ]
        self._layers = [*([None] if self._first else []), *fitting]
        with QSignalBlocker(self):
            self.clear()
            self.addItems(
                [layer.name if layer is not None else self._first for layer in self._layers]
            )
            usual = 0 if self._first else len(self._layers) - 1  # the topmost
            self.setCurrentIndex(self._layers.index(before) if before in self._layers else usual)
