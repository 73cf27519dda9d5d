"""Take a Labels layer that is there already as the start of a mask."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_cliper.errors import NapariCliperError
from napari_cliper.files.indexed_png import as_labels
from napari_cliper.widgets.labels_box import LabelsBox
from napari_cliper.widgets.parts import beside, part

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_cliper.widgets.corrections import Corrections


class StartPanel(QWidget):
    """What the layer labels becomes the person's; runs fill in the rest."""

    told = Signal(str)
    failed = Signal(object)

    def __init__(
        self, viewer: Viewer, corrections: Corrections, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._corrections = corrections
        self.layers = part(
            LabelsBox(viewer, corrections), "start-from", "A Labels layer of the mask's size"
        )
        self._take = part(
            QPushButton("Take as start"),
            "take-start",
            "Copy what it labels into the mask as yours: later runs fill only the rest",
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(beside(self.layers, self._take))
        self._take.clicked.connect(self._copy)

    def stop(self) -> None:
        """Follow the viewer no more: the dock goes."""
        self.layers.stop()

    def _copy(self) -> None:
        try:
            mask = self._corrections.needed_mask()
            source = self.layers.layer
            if source is None:
                raise NapariCliperError(
                    "There is no other Labels layer of this size: open one, then take it."
                )
            labels = as_labels(np.asarray(mask.part_of(source.data)), None)
        except NapariCliperError as error:
            self.failed.emit(error)
            return
        theirs = labels != 0
        mask.correct(np.where(theirs, labels, mask.data), theirs=theirs)
        share = theirs.mean()
        self.told.emit(f"{share:.1%} of the mask is yours now; runs fill only the rest.")
