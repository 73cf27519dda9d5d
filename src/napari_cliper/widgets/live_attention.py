"""The attention of the point under the mouse, as a layer that follows it, and pinned points."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Points
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal

from napari_cliper.widgets.latest import Latest
from napari_cliper.widgets.layers import ResultLayer, add, find, kept_selection, map_layer, show
from napari_cliper.widgets.planes import Plane

if TYPE_CHECKING:
    from napari.layers import Image
    from napari.viewer import Viewer

    from napari_cliper.inspector import Inspector

ROLE, POINTS = "attention", "points"


class LiveAttention(QObject):
    """Follows the mouse over one picture, and pins points where it is clicked.

    Attributes
    ----------
    following : bool
        Whether the mouse is listened to.
    view : str
        The name of the attention that is shown.
    """

    dismissed = Signal()  # the live layer was deleted
    pointed = Signal(tuple)  # (y, x) in the picture's pixels
    failed = Signal(object)

    def __init__(self, viewer: Viewer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._picture: Image | None = None
        self._plane: Plane | None = None
        self._inspector: Inspector | None = None
        self._point: tuple[float, float] | None = None
        self._latest = Latest(self)
        self._latest.failed.connect(self.failed)
        self.following = False
        self._drawn = False  # whether the live layer is there
        self.view = ""
        viewer.mouse_move_callbacks.append(self._on_move)
        viewer.mouse_drag_callbacks.append(self._on_press)

    @property
    def idle(self) -> bool:
        """Whether what was pointed at last is shown."""
        return self._latest.idle

    def look_into(
        self, picture: Image | None, plane: Plane | None, inspector: Inspector | None
    ) -> None:
        """Show this picture's attention from now on, or none."""
        if plane is None or self._plane is None or plane.key != self._plane.key:
            self._point = None
            self._drawn = False
        self._picture, self._plane, self._inspector = picture, plane, inspector
        self._latest.forget()

    def stop(self) -> None:
        """Leave the mouse alone: the dock goes."""
        self._latest.stop()
        for callbacks, ours in (
            (self._viewer.mouse_move_callbacks, self._on_move),
            (self._viewer.mouse_drag_callbacks, self._on_press),
        ):
            if ours in callbacks:
                callbacks.remove(ours)

    @property
    def point(self) -> tuple[float, float]:
        """The point that was pointed at last, else the picture's middle: (y, x) in pixels."""
        if self._point is not None or self._inspector is None:
            return self._point or (0.0, 0.0)
        height, width = self._inspector.encoding.size
        return (height - 1) / 2, (width - 1) / 2

    @property
    def pinned(self) -> list[tuple[float, float]]:
        """The pinned points, (y, x) in the picture's pixels; moved or added by hand, too."""
        layer = find(self._viewer, self._plane, POINTS) if self._plane is not None else None
        return [] if layer is None else [(float(y), float(x)) for y, x in layer.data[:, -2:]]

    def refresh(self) -> None:
        """Show the same point's attention anew, as another view was chosen."""
        if self._inspector is not None and self.view:
            self._show(self.point)

    def _on_move(self, viewer: Viewer, event: Any) -> None:
        point = self._under(event)
        if point is None or not _no_tool(viewer):
            return
        if self._drawn and find(viewer, self._plane, ROLE) is None:  # type: ignore[arg-type]
            self._drawn = False
            self.dismissed.emit()  # someone deleted the layer: it does not come back by itself
            return
        self._show(point)

    def _on_press(self, viewer: Viewer, event: Any) -> Generator[None, None, None]:
        """Pin a point by a click that is no drag, while no tool of the active layer is in use."""
        point = self._under(event)
        if point is None or not _no_tool(viewer) or event.button != 1:
            return
        yield
        if event.type == "mouse_move":
            return
        self._pin(point)
        self._show(point)

    def _under(self, event: Any) -> tuple[float, float] | None:
        """The picture's point under the mouse, None outside it or if it is not to be followed."""
        picture, inspector = self._picture, self._inspector
        if not self.following or not self.view or picture is None or inspector is None:
            return None
        y, x = (float(place) for place in picture.world_to_data(event.position)[-2:])
        height, width = inspector.encoding.size
        inside = -0.5 <= y < height - 0.5 and -0.5 <= x < width - 0.5
        return (y, x) if inside else None

    def _show(self, point: tuple[float, float]) -> None:
        self._point = point
        inspector, plane, view = self._inspector, self._plane, self.view
        if inspector is None or plane is None:
            return

        def look() -> ResultLayer:
            return attention_layer(inspector.at(point, view))

        self._latest.ask(look, lambda item: self._draw(plane, item))
        self.pointed.emit(point)

    def _draw(self, plane: Plane, item: ResultLayer) -> None:
        with kept_selection(self._viewer):
            show(self._viewer, plane, item)
        self._drawn = True

    def _pin(self, point: tuple[float, float]) -> None:
        plane = self._plane
        if plane is None:
            return
        layer = find(self._viewer, plane, POINTS)
        if layer is not None:
            layer.add(np.array([point]))
            return
        with kept_selection(self._viewer):
            add(self._viewer, plane, points_layer(point, self._point_size()), Points)

    def _point_size(self) -> float:
        return max(self._inspector.encoding.size) / 50 if self._inspector else 10


def _no_tool(viewer: Viewer) -> bool:
    """Whether the mouse has nothing to do in the active layer: no brush, no bucket."""
    mode = getattr(viewer.layers.selection.active, "mode", "pan_zoom")
    return str(mode) in ("pan_zoom", "Mode.PAN_ZOOM")


def attention_layer(attention: NDArray[np.float32]) -> ResultLayer:
    """Prepare the live layer."""
    return map_layer(ROLE, attention)


def points_layer(point: tuple[float, float], size: float) -> ResultLayer:
    """Prepare a Points layer that holds one point."""
    first = {"size": size, "face_color": "transparent", "border_color": "cyan", "border_width": 0.2}
    return ResultLayer(POINTS, np.array([point]), first=first, covers=False)
