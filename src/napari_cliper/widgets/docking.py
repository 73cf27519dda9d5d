"""What a widget has to know of the dock and the window that it lies in."""

from __future__ import annotations

import weakref

from qtpy.QtCore import QEvent, QObject, QTimer, Signal
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget


class Docking(QObject):
    """Watches one widget's dock: its end, and that of its window.

    When the widget is first shown, its dock joins the tab of another one of ours, so that docks do
    not take each other's height.

    Parameters
    ----------
    widget : QWidget
        What napari puts into a dock.
    """

    left = Signal()  # the dock was closed, which takes the widget out of it
    closing = Signal()  # the window is about to close

    def __init__(self, widget: QWidget) -> None:
        super().__init__(widget)
        self._widget = widget
        # Weak, or the window would outlive its end.
        self._window_of: weakref.ref[QWidget] | None = None
        widget.setProperty(_OURS, True)
        widget.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Notice the end, and swallow nothing."""
        kind = event.type() if event is not None else None
        if watched is self._widget:
            if kind == QEvent.Type.ParentChange and self._widget.parent() is None:
                self._widget.removeEventFilter(self)
                self.left.emit()
            elif kind == QEvent.Type.Show:
                self._settle_in()
        elif kind == QEvent.Type.Close and watched is self._window:
            self.closing.emit()
        return False

    def come_forward(self) -> None:
        """Lie before the other tabs again."""
        own = _dock_of(self._widget)
        if own is not None:
            own.raise_()

    @property
    def _window(self) -> QWidget | None:
        return self._window_of() if self._window_of is not None else None

    def _settle_in(self) -> None:
        window = _top(self._widget)
        if window is self._window or window is self._widget:
            return
        if self._window_of is None:
            QTimer.singleShot(0, self._join)
        self._window_of = weakref.ref(window)
        window.installEventFilter(self)

    def _join(self) -> None:
        """Lie behind a tab of another dock of ours, where both are on the same side."""
        window, own = self._window, _dock_of(self._widget)
        if not isinstance(window, QMainWindow) or own is None or window.tabifiedDockWidgets(own):
            return
        for other in window.findChildren(QDockWidget):
            area = window.dockWidgetArea(other)
            beside = other is not own and area == window.dockWidgetArea(own)
            if beside and not other.isFloating() and _holds_ours(other):
                window.tabifyDockWidget(other, own)
                own.raise_()
                return


_OURS = "napari-cliper"


def _top(widget: QWidget) -> QWidget:
    """The window that all lies in, also where the dock floats."""
    parent = widget.parentWidget()
    return widget if parent is None else _top(parent)


def _dock_of(widget: QWidget) -> QDockWidget | None:
    parent = widget.parentWidget()
    while parent is not None and not isinstance(parent, QDockWidget):
        parent = parent.parentWidget()
    return parent


def _holds_ours(dock: QDockWidget) -> bool:
    return any(part.property(_OURS) for part in dock.findChildren(QWidget))
