"""Buttons that save: labels as files, everything as a session; and the way back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFileDialog, QPushButton, QVBoxLayout, QWidget

from napari_cliper.errors import NapariCliperError
from napari_cliper.widgets.export_dialog import ExportDialog
from napari_cliper.widgets.parts import beside, part
from napari_cliper.widgets.sessions import usual_folder

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_cliper.widgets.mask_view import MaskView
    from napari_cliper.widgets.masks import Mask
    from napari_cliper.widgets.picture_box import PictureBox
    from napari_cliper.widgets.sessions import Sessions


class SavingPanel(QWidget):
    """Saves what belongs to the chosen picture."""

    told = Signal(str)
    failed = Signal(object)

    def __init__(
        self,
        viewer: Viewer,
        picture: PictureBox,
        masks: MaskView,
        sessions: Sessions,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._viewer, self._picture = viewer, picture
        self._masks, self._sessions = masks, sessions
        self._export = part(
            QPushButton("Export…"),
            "export",
            "Write masks or instances in the format of another tool, with their classes",
        )
        self._save = part(
            QPushButton("Save session…"),
            "save-session",
            "Choose a folder for masks, strokes, classes and settings; it is kept up to date",
        )
        self._open = part(
            QPushButton("Open session…"), "open-session", "Go on where a session was left"
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(beside(self._save, self._open))
        layout.addWidget(self._export)
        self._export.clicked.connect(self._export_mask)
        self._save.clicked.connect(self._save_session)
        self._open.clicked.connect(self._open_session)
        sessions.told.connect(self.told)
        sessions.failed.connect(self.failed)

    def _mask(self) -> Mask | None:
        plane = self._picture.plane_or_none()
        mask = self._masks.mask(plane) if plane is not None else None
        if mask is None:
            self.failed.emit(
                NapariCliperError("There is no mask of this picture yet: press Segment.")
            )
        return mask

    def _export_mask(self) -> None:
        mask = self._mask()
        if mask is None:
            return
        dialog = ExportDialog(self._viewer, mask.plane, self)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.written.connect(self.told)
        dialog.show()

    def _save_session(self) -> None:
        mask = self._mask()
        if mask is None:
            return
        folder = QFileDialog.getExistingDirectory(self, "Save the session in this folder")
        if folder:
            self._sessions.save(mask.plane, Path(folder))

    def _open_session(self) -> None:
        start = str(usual_folder()) if usual_folder().exists() else ""
        folder = QFileDialog.getExistingDirectory(self, "Open a session's folder", start)
        if folder:
            self._sessions.open(Path(folder))
