"""Says beside a picture's name whether it is encoded, so that new words cost next to nothing."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QWidget
from superqt.utils import QSignalDebouncer

from napari_cliper.encodings import digest
from napari_cliper.widgets.latest import Latest
from napari_cliper.widgets.planes import Plane
from napari_cliper.widgets.segmentation import encodings

if TYPE_CHECKING:
    from napari.layers import Image
    from napari.viewer import Viewer

    from napari_cliper.widgets.picture_box import PictureBox
    from napari_cliper.widgets.workspace import Workspace

PAUSE = 200  # milliseconds: pixels may change many times in a row
_EVENTS = ("data", "set_data", "contrast_limits", "gamma")


class State(Enum):
    """What is known of a plane's pixels.

    CHANGED: something was found in it, but pixels or model are others now.
    """

    UNKNOWN = "unknown"
    ENCODED = "encoded"
    CHANGED = "changed"


_SAID = {
    State.UNKNOWN: ("", ""),
    State.ENCODED: ("encoded", "New words and sliders cost next to nothing"),
    State.CHANGED: ("changed", "Pixels or model are others since: Segment looks anew"),
}


class EncodedMark(QLabel):
    """Watches the chosen picture's pixels, and what is kept of them.

    Attributes
    ----------
    state : State
        Of the plane that is shown.
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
        self.state = State.UNKNOWN
        self.setFixedWidth(self.fontMetrics().horizontalAdvance("encoded") + 12)  # nothing jumps
        self._viewer, self._picture, self._workspace = viewer, picture, workspace
        self._watched: Image | None = None
        self._latest = Latest(self)
        self._latest.failed.connect(lambda _: self._show(State.UNKNOWN))
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
        if self._picture.layer is not self._watched:
            self._listen_to(self._picture.layer)
            self._show(State.UNKNOWN)
            self.look()

    def _listen_to(self, layer: Image | None) -> None:
        for name in _EVENTS:
            if self._watched is not None:
                getattr(self._watched.events, name).disconnect(self.look)
            if layer is not None:
                getattr(layer.events, name).connect(self.look)
        self._watched = layer

    def stop(self) -> None:
        """Watch nothing any more: the dock goes."""
        self._latest.stop()
        self._pause.cancel()
        self._listen_to(None)
        self._viewer.dims.events.current_step.disconnect(self.look)

    def _check(self) -> None:
        plane = self._picture.plane_or_none()
        if plane is None:
            self._show(State.UNKNOWN)
            return
        scene, model = self._workspace.scene(plane), self._workspace.model
        looked_at = plane
        if scene is not None:
            part = scene.plane
            looked_at = replace(plane, mask_size=part.mask_size).part(part.region)

        def check() -> State:
            found = digest(looked_at.pixels())
            if scene is not None and (scene.digest, scene.model) != (found, model):
                return State.CHANGED
            return State.ENCODED if (model, found) in encodings else State.UNKNOWN

        self._latest.ask(check, lambda state: self._show_of(plane, state))

    def _show_of(self, plane: Plane, state: State) -> None:
        now = self._picture.plane_or_none()
        if now is not None and now.key == plane.key:
            self._show(state)

    def _show(self, state: State) -> None:
        self.state = state
        text, help_text = _SAID[state]
        self.setText(text)
        self.setToolTip(help_text)
        self.checked.emit()
