"""What a person painted: shown, counted, given back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QPushButton, QVBoxLayout, QWidget

from napari_cliper.errors import NapariCliperError
from napari_cliper.widgets import masks
from napari_cliper.widgets.outlines import outline, remove
from napari_cliper.widgets.parts import TextLines, beside, part

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_cliper.widgets.corrections import Corrections
    from napari_cliper.widgets.masks import Mask

ROLE = "yours"
CYAN = (0.2, 0.9, 1.0, 1.0)


class ProtectionPanel(QWidget):
    """Counts the protected pixels of the corrected mask, and outlines them."""

    failed = Signal(object)

    def __init__(
        self, viewer: Viewer, corrections: Corrections, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._viewer, self._corrections = viewer, corrections
        self._mask: Mask | None = None
        self._show = part(
            QCheckBox("Show what is yours"),
            "show-yours",
            "Outline the pixels that you painted: no run, word or slider changes them",
        )
        self._count = part(TextLines(1), "count-yours", "Pixels of the mask that you painted")
        self._release_region = part(
            QPushButton("Unprotect region"),
            "release-region",
            "Give the chosen region back to the program: click on it first, while moving about (6)",
        )
        self._release_all = part(
            QPushButton("Unprotect all"), "release-all", "Give the whole mask back to the program"
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._show)
        layout.addWidget(self._count)
        layout.addLayout(beside(self._release_region, self._release_all))
        self._show.toggled.connect(self._draw)
        self._release_region.clicked.connect(self._give_region_back)
        self._release_all.clicked.connect(self._give_all_back)
        corrections.changed.connect(self._follow)
        self._follow()

    def stop(self) -> None:
        """Listen no more, and leave no outline: the dock goes."""
        self._corrections.changed.disconnect(self._follow)
        self._show.setChecked(False)
        self._listen_to(None)

    def _follow(self) -> None:
        if self._corrections.mask is not self._mask:
            if self._mask is not None:
                remove(self._viewer, self._mask.plane, ROLE)
            self._listen_to(self._corrections.mask)
            self._draw()

    def _listen_to(self, mask: Mask | None) -> None:
        if self._mask is not None:
            self._mask.changed.disconnect(self._draw)
        self._mask = mask
        if mask is not None:
            mask.changed.connect(self._draw)

    def _draw(self) -> None:
        mask = self._mask
        if mask is None or mask.gone or mask not in masks.masks(self._viewer):
            self._count.setText("")
            return
        count = mask.painted.count()
        self._count.setText(f"{count:,} px ({count / mask.painted.mask.size:.1%})")
        if self._show.isChecked() and count:
            outline(self._viewer, mask.plane, ROLE, mask.painted.mask.astype(np.uint8), {1: CYAN})
        else:
            remove(self._viewer, mask.plane, ROLE)

    def _give_region_back(self) -> None:
        chosen, mask = self._corrections.region, self._corrections.mask
        if chosen is None or mask is None:
            self.failed.emit(
                NapariCliperError(
                    "No region is chosen: press 6 to move about, and click on a region of the mask."
                )
            )
            return
        mask.release(chosen)
        self._corrections.let_go()

    def _give_all_back(self) -> None:
        try:
            mask = self._corrections.needed_mask()
        except NapariCliperError as error:
            self.failed.emit(error)
        else:
            mask.release(np.ones_like(mask.painted.mask))
