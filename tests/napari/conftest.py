"""A real window with the dock in it, and hands that type and click."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest
from napari import Viewer
from napari.utils.notifications import notification_manager
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt, QThreadPool
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QLabel,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QWidget,
)

from napari_cliper.widgets import SegmentWidget

T = TypeVar("T", bound=QWidget)


@pytest.fixture
def viewer(make_napari_viewer: Callable[..., Viewer]) -> Viewer:
    return make_napari_viewer(show=True)


class Dock:
    """The dock widget as a person meets it: parts by their names, keys and the mouse."""

    def __init__(self, viewer: Viewer, qtbot: QtBot) -> None:
        self.viewer, self.qtbot = viewer, qtbot
        _, widget = viewer.window.add_plugin_dock_widget("napari-cliper", "Segment with text")
        assert isinstance(widget, SegmentWidget)
        self.widget = widget
        self.image = self._part(QComboBox, "image")
        self.classes = self._part(QPlainTextEdit, "classes")
        self.preset = self._part(QComboBox, "preset")
        self.device = self._part(QComboBox, "device")
        self.method = self._part(QComboBox, "method")
        self.all_present = self._part(QCheckBox, "all-present")
        self.download = self._part(QCheckBox, "download")
        self.terms = self._part(QLabel, "terms")
        self.attention = self._part(QCheckBox, "attention")
        self.segment = self._part(QPushButton, "segment")
        self.cancel = self._part(QPushButton, "cancel")
        self.progress = self._part(QProgressBar, "progress")
        self.status = self._part(QLabel, "status")
        self.preset.setCurrentIndex(self.preset.findData("small"))
        self.device.setCurrentText("cpu")

    def _part(self, kind: type[T], name: str) -> T:
        part = self.widget.findChild(kind, f"cliper-{name}")
        assert part is not None, f"the form has no {name}"
        return part

    def type(self, words: str) -> None:
        """Replace what is in the class box, key by key."""
        self.classes.selectAll()
        for number, line in enumerate(words.splitlines()):
            if number:
                self.qtbot.keyClick(self.classes, Qt.Key.Key_Return)
            self.qtbot.keyClicks(self.classes, line)

    def click(self, part: QWidget) -> None:
        self.qtbot.mouseClick(part, Qt.MouseButton.LeftButton)

    def run(self, words: str | None = None) -> None:
        """Segment and wait for the end."""
        if words is not None:
            self.type(words)
        self.click(self.segment)
        self.wait()

    def wait(self) -> None:
        self.qtbot.waitUntil(self.segment.isEnabled, timeout=60_000)

    def clear(self) -> None:
        """Remove all layers and let napari draw that: an addition in the same breath ends in a
        segmentation fault of Mesa's, without a line of ours."""
        self.viewer.layers.clear()
        self.qtbot.wait(100)

    def labels(self, role: str) -> list[Any]:
        return [layer for layer in self.viewer.layers if f"[{role}]" in layer.name]


@pytest.fixture
def dock(viewer: Viewer, qtbot: QtBot) -> Iterator[Dock]:
    yield Dock(viewer, qtbot)
    # A test that failed halfway leaves the engine at work.
    assert QThreadPool.globalInstance().waitForDone(60_000)


@pytest.fixture
def told() -> Iterator[list[str]]:
    """What napari's notifications said, in order."""
    before = len(notification_manager.records)
    said: list[str] = []

    def listen(notification: Any) -> None:
        said.append(f"{notification.severity}: {notification.message}")

    notification_manager.notification_ready.connect(listen)
    yield said
    notification_manager.notification_ready.disconnect(listen)
    del notification_manager.records[before:]
