"""A real window with the dock in it, and hands that type and click."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import platformdirs
import pytest
from napari import Viewer
from napari.utils.notifications import notification_manager
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QModelIndex, Qt, QThreadPool
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QLabel,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QWidget,
)

from napari_cliper.models.presets import load_presets
from napari_cliper.widgets import (
    SegmentWidget,
    adjustment_panel,
    class_panel,
    encoded_mark,
    mask_view,
    progress,
)
from napari_cliper.widgets.class_table import ClassTable, Column

T = TypeVar("T", bound=QWidget)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the real models look at a quarter of the patches: many tests, few minutes."""
    monkeypatch.setitem(load_presets()["small"].settings, "shorter_side", 224)
    # On a display without a GPU, the picture that moves in the activity dock takes half the time.
    monkeypatch.setattr(progress, "LONG", 1_000_000)
    for pause in (
        (adjustment_panel, "TYPING_PAUSE"),
        (class_panel, "TYPING_PAUSE"),
        (encoded_mark, "PAUSE"),
        (mask_view, "COUNT_PAUSE"),
    ):
        monkeypatch.setattr(*pause, 40)


@pytest.fixture(autouse=True)
def _data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no dock that closes save a session among those of whoever runs the tests."""
    folder = tmp_path / "data"
    monkeypatch.setenv("XDG_DATA_HOME", str(folder))  # for processes that a test starts
    monkeypatch.setattr(platformdirs, "user_data_dir", lambda name: str(folder / name))


@pytest.fixture
def viewer(make_napari_viewer: Callable[..., Viewer]) -> Viewer:
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1000, 800)
    return viewer


class Dock:
    """The dock widget as a person meets it: parts by their names, keys and the mouse."""

    def __init__(self, viewer: Viewer, qtbot: QtBot) -> None:
        self.viewer, self.qtbot = viewer, qtbot
        _, widget = viewer.window.add_plugin_dock_widget("napari-cliper", "Segment with text")
        assert isinstance(widget, SegmentWidget)
        self.widget = widget
        self.image = self.part(QComboBox, "image")
        self.encoded = self.part(QLabel, "encoded")
        self.classes = self.part(QPlainTextEdit, "classes")
        self.table = self.part(ClassTable, "class-table")
        self.preset = self.part(QComboBox, "preset")
        self.device = self.part(QComboBox, "device")
        self.method = self.part(QComboBox, "method")
        self.all_present = self.part(QCheckBox, "all-present")
        self.download = self.part(QCheckBox, "download")
        self.terms = self.part(QLabel, "terms")
        self.segment = self.part(QPushButton, "segment")
        self.cancel = self.part(QPushButton, "cancel")
        self.progress = self.part(QProgressBar, "progress")
        self.status = self.part(QLabel, "status")
        self.reset = self.part(QPushButton, "reset")
        self.inspect = self.part(QPushButton, "inspect")
        self.preset.setCurrentIndex(self.preset.findData("small"))
        self.device.setCurrentIndex(self.device.findData("cpu"))

    def part(self, kind: type[T], name: str) -> T:
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
        self.settle()

    def settle(self) -> None:
        """Let everything that was put off happen."""
        self.qtbot.wait(150)
        self.qtbot.waitUntil(lambda: self.widget.idle, timeout=60_000)

    def row(self, name: str) -> int:
        """The table's row of a class."""
        rows = range(self.table.classes.rowCount())
        return next(row for row in rows if self.table.classes.entry(row).name == name)

    def cell(self, name: str, column: Column) -> QModelIndex:
        return self.table.classes.index(self.row(name), column)

    def click_cell(self, name: str, column: Column, double: bool = False) -> None:
        """Click on a cell of the table as the mouse does."""
        self.table.scrollTo(self.cell(name, column))
        place = self.table.visualRect(self.cell(name, column)).center()
        port = self.table.viewport()
        self.qtbot.mouseClick(port, Qt.MouseButton.LeftButton, pos=place)
        if double:
            self.qtbot.mouseDClick(port, Qt.MouseButton.LeftButton, pos=place)

    def names(self) -> list[str]:
        """The classes as the table shows them."""
        rows = range(self.table.classes.rowCount())
        return [self.table.classes.entry(row).name for row in rows]

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
