"""Which picture is segmented, which of its planes, and how finely."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QComboBox, QLabel, QLineEdit, QVBoxLayout, QWidget

from napari_cliper.errors import NapariCliperError
from napari_cliper.widgets.contrast_button import ContrastButton
from napari_cliper.widgets.encoded_mark import EncodedMark
from napari_cliper.widgets.parts import beside, narrow, part
from napari_cliper.widgets.picture_box import PictureBox
from napari_cliper.widgets.planes import Plane, chosen_planes, levels, shown_plane, usual_level
from napari_cliper.widgets.where_box import WhereBox

if TYPE_CHECKING:
    from napari.layers import Image
    from napari.viewer import Viewer

    from napari_cliper.widgets.workspace import Workspace


class PicturePanel(QWidget):
    """A picture box, and what a stack or a picture in several resolutions asks besides.

    Attributes
    ----------
    box : PictureBox
    encoded : EncodedMark
    """

    submitted = Signal()

    def __init__(self, viewer: Viewer, workspace: Workspace, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._asked: tuple[Image, list[tuple[int, int]]] | None = None  # whose levels are offered
        self.box = part(
            PictureBox(viewer), "image", "The picture to segment; of a stack, the plane shown"
        )
        self.encoded = part(EncodedMark(viewer, self.box, workspace), "encoded", "")
        self._contrast = ContrastButton(viewer, self.box)
        self._planes = part(
            QLineEdit(),
            "planes",
            "Which planes of the stack are segmented: none for the one shown, all, a range such as "
            "2-5, or one for each axis with commas between, such as all, 2-5",
        )
        self._planes.setPlaceholderText("Planes: the one shown, or all, or 2-5")
        self._where = part(
            WhereBox(viewer),
            "where",
            "Which part of the picture is looked at; the rest of the masks stays as it is",
        )
        self._level = narrow(part(QComboBox(), "level", "How many pixels the masks have"))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(beside(QLabel("Picture"), narrow(self.box), self.encoded))
        layout.addWidget(self._planes)
        layout.addWidget(self._level)
        layout.addLayout(beside(self._where, self._contrast))
        self._planes.returnPressed.connect(self.submitted)
        self.box.layer_changed.connect(self.look)
        viewer.dims.events.ndim.connect(self.look)
        self.look()

    def stop(self) -> None:
        """Watch nothing any more: the dock goes."""
        self.encoded.stop()
        self._contrast.stop()
        self._where.stop()
        self._viewer.dims.events.ndim.disconnect(self.look)

    def planes(self) -> list[Plane]:
        """All planes that are wanted; which part of each is found when its turn comes.

        Raises
        ------
        NapariCliperError
            No picture is open, it is not shown as one can segment it, has no such planes, or the
            part does not fit it.
        """
        layer = self.box.layer
        if layer is None:
            raise NapariCliperError(
                "Open a picture first: File ▸ Open, or File ▸ Open Sample ▸ CLIPer."
            )
        level = self._level.currentIndex()
        shown = shown_plane(self._viewer, layer, level if layer.multiscale else None)
        planes = chosen_planes(self._planes.text(), shown)
        where = self._where.where(layer, planes)
        return [replace(plane, where=where) for plane in planes]

    def look(self, event: Any = None) -> None:
        """Ask what the chosen picture has several of."""
        layer = self.box.layer
        self._planes.setVisible(layer is not None and layer.ndim > 2)
        self._level.setVisible(layer is not None and layer.multiscale)
        asked = (layer, levels(layer)) if layer is not None and layer.multiscale else None
        if asked == self._asked:
            return
        self._asked = asked
        with QSignalBlocker(self._level):
            self._level.clear()
            if asked is not None:
                for height, width in asked[1]:
                    self._level.addItem(f"Masks of {width:,} × {height:,} pixels")
                self._level.setCurrentIndex(usual_level(asked[1]))
