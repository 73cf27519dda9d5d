"""Whether a person paints on a picture, on whichever of its masks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal

from napari_cliper.widgets import masks, session_layers

if TYPE_CHECKING:
    from napari.layers import Labels
    from napari.viewer import Viewer

    from napari_cliper.widgets.kept_sessions import Key
    from napari_cliper.widgets.masks import Mask


class Strokes(QObject):
    """Tells of a person's strokes on the label layers of one plane: its masks, and instances."""

    painted = Signal()

    def __init__(self, viewer: Viewer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._key: Key | None = None
        self._counts: dict[Mask, int] = {}  # strokes that were told of, or there before
        self._instances: list[Labels] = []
        viewer.layers.events.inserted.connect(self._look_soon)

    def stop(self) -> None:
        """Tell of nothing any more."""
        self._viewer.layers.events.inserted.disconnect(self._look_soon)
        self.watch(None)

    def watch(self, key: Key | None) -> None:
        """Tell of strokes on this plane's layers from now on, also on those that are yet to come.

        Parameters
        ----------
        key : tuple of str or None
            The plane's; None for no plane.
        """
        self._leave()
        self._key = key
        self._look()
        self._counts = {mask: mask.strokes for mask in self._counts}

    def note(self) -> None:
        """Tell now of strokes that are there; else that comes a moment after each."""
        before = self._counts
        self._counts = {mask: mask.strokes for mask in before}
        if self._counts != before:
            self.painted.emit()

    @property
    def _layers(self) -> list[Labels]:
        return session_layers.label_layers(self._viewer, self._key) if self._key else []

    def _look_soon(self, event: Any = None) -> None:
        QTimer.singleShot(0, self._look)  # what is inserted becomes a mask only then

    def _look(self) -> None:
        """Listen to layers that are not known yet."""
        for layer in self._layers:
            mask = masks.on(layer, self._key or ())
            if mask is not None and mask not in self._counts:
                self._counts[mask] = 0
                mask.changed.connect(self.note)
            elif mask is None and layer not in self._instances:
                self._instances.append(layer)
                layer.events.paint.connect(self._pass_on)

    def _leave(self) -> None:
        for mask in self._counts:
            mask.changed.disconnect(self.note)
        for layer in self._instances:
            layer.events.paint.disconnect(self._pass_on)
        self._counts, self._instances = {}, []

    def _pass_on(self, event: Any = None) -> None:
        self.painted.emit()
