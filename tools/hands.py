"""Hands for the scripts that photograph the window: they press buttons and keys, and paint."""

from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import numpy as np
from event_loop import wait, wait_until
from napari import Viewer
from napari.layers import Layer
from numpy.typing import NDArray
from PIL import Image
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest as Test
from qtpy.QtWidgets import QApplication, QCheckBox, QComboBox, QFileDialog, QPushButton, QWidget

from napari_cliper.widgets.class_box import ClassBox
from napari_cliper.widgets.class_table import ClassTable, Column

Part = TypeVar("Part", bound=QWidget)
Place = tuple[float, float]  # row and column of a pixel

LEFT, NO_BUTTON = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
PLAIN, CONTROL = Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ControlModifier
QTest: Any = Test  # whose static methods PyQt's types take for others
MOVES = 12  # of the mouse, from one corner of a stroke to the next
COLORS = 256  # of a picture: enough for a page, a third of the size


class Hands:
    """A person at a napari window.

    Parameters
    ----------
    viewer : Viewer
    """

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer
        self._docks: list[Any] = []

    def open_dock(self, title: str) -> None:
        """Open one of the plugin's docks, as a tab beside those that are open."""
        _, dock = self.viewer.window.add_plugin_dock_widget("napari-cliper", title, tabify=True)
        self._docks.append(dock)
        self.settle()

    def settle(self) -> None:
        """Wait until nothing is at work in the docks."""
        for _ in range(2):
            wait(250)
            wait_until(lambda: all(dock.idle for dock in self._docks))

    def part(self, kind: type[Part], name: str) -> Part:
        """Turn to the dock with this part."""
        for dock in self._docks:
            found = dock.findChild(kind, f"cliper-{name}")
            if found is not None:
                dock.parent().raise_()
                return found  # type: ignore[no-any-return]
        raise LookupError(f"no dock has a part {name}")

    def press(self, name: str) -> None:
        """Press a button, and wait for what it does."""
        QTest.mouseClick(self.part(QPushButton, name), LEFT)
        self.settle()

    def tick(self, name: str) -> None:
        """Press a check box, and wait for what it does."""
        QTest.mouseClick(self.part(QCheckBox, name), LEFT, pos=QPoint(10, 10))
        self.settle()

    def choose(self, name: str, text: str) -> None:
        """Choose an entry of a list."""
        box = self.part(QComboBox, name)
        assert box.findText(text) >= 0, text
        box.setCurrentIndex(box.findText(text))

    def choose_preset(self, name: str) -> None:
        """Choose a preset by its short name."""
        box = self.part(QComboBox, "preset")
        box.setCurrentIndex(box.findData(name))

    def choose_folder(self, name: str, folder: Path) -> None:
        """Press a button that asks for a folder, and give this one."""
        with patch.object(QFileDialog, "getExistingDirectory", lambda *_: str(folder)):
            self.press(name)

    def type_classes(self, words: str) -> None:
        """Write other words into the class box."""
        box = self.part(ClassBox, "classes")
        box.selectAll()
        QTest.keyClicks(box, words.replace("\n", "\r"))
        wait(400)  # the table follows

    def submit(self) -> None:
        """Press Ctrl+Enter in the class box."""
        QTest.keyClick(self.part(ClassBox, "classes"), Qt.Key.Key_Return, CONTROL)
        self.settle()

    def click_class(self, name: str) -> None:
        """Click on a class in the table."""
        table = self.part(ClassTable, "class-table")
        rows = range(table.classes.rowCount())
        row = next(row for row in rows if table.classes.entry(row).name == name)
        place = table.visualRect(table.classes.index(row, Column.NAME)).center()
        QTest.mouseClick(table.viewport(), LEFT, pos=place)
        self.settle()

    def key(self, key: Qt.Key, modifier: Qt.KeyboardModifier = PLAIN) -> None:
        """Press a key over the picture."""
        QTest.keyClick(self._canvas, key, modifier)
        self.settle()

    def click(self, layer: Layer, place: Place) -> None:
        """Click on a pixel of a layer."""
        self.stroke(layer, place, place)

    def stroke(self, layer: Layer, *corners: Place) -> None:
        """Drag the mouse from one pixel of a layer to the next."""
        path = np.concatenate([np.linspace(a, b, MOVES) for a, b in pairwise(corners)])
        self._mouse(QEvent.Type.MouseButtonPress, layer, path[0])
        for place in path:
            self._mouse(QEvent.Type.MouseMove, layer, place)
            wait(5)
        self._mouse(QEvent.Type.MouseButtonRelease, layer, path[-1])
        self.settle()

    def take(self, path: Path) -> None:
        """Photograph the whole window."""
        wait(1000)
        shot = self.viewer.window.screenshot(canvas_only=False, flash=False)
        Image.fromarray(shot).convert("RGB").quantize(COLORS).save(path, optimize=True)
        print(path)

    @property
    def _canvas(self) -> Any:
        return self.viewer.window._qt_viewer.canvas.native

    def _mouse(self, kind: QEvent.Type, layer: Layer, place: NDArray[np.float64]) -> None:
        world = np.array(layer.data_to_world(place))[-2:]
        camera = self.viewer.scene.camera
        down, right = (world - np.array(camera.center)[-2:]) * camera.zoom
        point = self._canvas.rect().center() + QPoint(round(right), round(down))
        event = QMouseEvent(
            kind,
            QPointF(point),
            QPointF(self._canvas.mapToGlobal(point)),
            NO_BUTTON if kind == QEvent.Type.MouseMove else LEFT,
            NO_BUTTON if kind == QEvent.Type.MouseButtonRelease else LEFT,
            PLAIN,
        )
        QApplication.sendEvent(self._canvas, event)
