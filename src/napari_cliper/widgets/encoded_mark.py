"""Says beside a picture's name whether it is encoded, so that new words cost next to nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QWidget
from superqt.utils import QSignalDebouncer

from napari_cliper.errors import NapariCliperError
from napari_cliper.widgets.latest import Latest
from napari_cliper.widgets.planes import shown_plane
from napari_cliper.widgets.segmentation import is_encoded

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_cliper.widgets.picture_box import PictureBox
    from napari_cliper.widgets.workspace import Workspace

PAUSE = 200  # milliseconds: pixels may change many times in a row
_EVENTS = ("data", "set_data", "contrast_limits")


class EncodedMark(QLabel):
    """Watches the chosen picture's pixels, and what is kept of them.

    Attributes
    ----------
    encoded : bool
        Whether the plane that is shown is encoded with the chosen model, as it is now.
    """

    checked = Signal()

    def __init__(
        self,
        viewer: Viewer,
        picture: PictureBox,
        workspace: Workspace,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.encoded = False
        self.setFixedWidth(self.fontMetrics().horizontalAdvance("encoded") + 4)  # nothing jumps
        self._viewer, self._picture, self._workspace = viewer, picture, workspace
        self._watched: object = None
        self._latest = Latest(self)
        self._latest.failed.connect(lambda _: self._show(False))
        self._pause = QSignalDebouncer(parent=self)
        self._pause.setTimeout(PAUSE)
        self._pause.triggered.connect(self._check)
        picture.layer_changed.connect(self._watch)
        workspace.model_changed.connect(self.look)
        workspace.scene_changed.connect(self.look)
        viewer.dims.events.current_step.connect(self.look)
        self._watch()

    def look(self, event: object = None) -> None:
        """Look again, soon."""
        self._pause.throttle()

    def _watch(self) -> None:
        """Listen to the chosen picture, and no longer to the one before."""
        layer = self._picture.layer
        if layer is self._watched:
            return
        for name in _EVENTS:
            if self._watched is not None:
                getattr(self._watched.events, name).disconnect(self.look)  # type: ignore[attr-defined]
            if layer is not None:
                getattr(layer.events, name).connect(self.look)
        self._watched = layer
        self._show(False)
        self.look()

    def _check(self) -> None:
        layer = self._picture.layer
        if layer is None:
            return
        try:
            plane = shown_plane(self._viewer, layer)
        except NapariCliperError:
            self._show(False)
            return
        model = self._workspace.model
        self._latest.ask(
            lambda: (plane.key, is_encoded(plane, model)),
            lambda answer: self._show(answer[1], self._workspace.scene(plane) is not None),
        )

    def _show(self, encoded: bool, known: bool = False) -> None:
        self.encoded = encoded
        text, help_text = {
            (True, True): ("encoded", "New words and sliders cost next to nothing"),
            (True, False): ("encoded", "Words cost next to nothing"),
            (False, True): ("changed", "Pixels or model changed since: Segment looks anew"),
            (False, False): ("", ""),
        }[encoded, known]
        self.setText(text)
        self.setToolTip(help_text)
        self.checked.emit()
