"""Opens and closes the other dock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QPushButton, QWidget

if TYPE_CHECKING:
    from napari.viewer import Viewer

PLUGIN, DOCK = "napari-cliper", "Inspect attention"


class InspectToggle(QPushButton):
    """Pressed in while the dock “Inspect attention” is open."""

    def __init__(self, viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(DOCK, parent)
        self.setCheckable(True)
        self._viewer = viewer
        self.toggled.connect(self._open_or_close)

    def _open_or_close(self, wanted: bool) -> None:
        # napari has one dock of that name, and gives it again after it was closed.
        dock, _ = self._viewer.window.add_plugin_dock_widget(PLUGIN, DOCK, tabify=True)
        dock.setVisible(wanted)
        if wanted:
            dock.raise_()
        # Not its visibility: a dock behind another one's tab is open.
        dock.toggleViewAction().toggled.connect(self._follow)

    def _follow(self, is_open: bool) -> None:
        with QSignalBlocker(self):
            self.setChecked(is_open)
