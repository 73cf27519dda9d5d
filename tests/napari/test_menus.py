"""The plugin is where napari's menus promise it."""

import pytest
from napari import Viewer
from pytestqt.qtbot import QtBot
from qtpy.QtGui import QAction
from qtpy.QtWidgets import QMenu, QMenuBar

from napari_cliper.widgets import SegmentWidget


def find(menu: QMenu | QMenuBar, *path: str) -> QAction:
    """Open menus along a path, as a person does."""
    for name in path[:-1]:
        action = find(menu, name)
        assert action.menu() is not None
        menu = action.menu()
        menu.aboutToShow.emit()
    actions = {action.text().replace("&", ""): action for action in menu.actions()}
    assert path[-1] in actions, f"{path[-1]} is not among {sorted(actions)}"
    return actions[path[-1]]


@pytest.mark.parametrize(
    "path",
    [
        ("Plugins", "Segment with text (CLIPer)"),
        ("Layers", "Segment", "Segment with text (CLIPer)"),
    ],
    ids=["Plugins", "Layers"],
)
def test_a_menu_opens_the_dock(viewer: Viewer, qtbot: QtBot, path: tuple[str, ...]) -> None:
    window = viewer.window._qt_window
    assert window.findChild(SegmentWidget) is None
    find(window.menuBar(), *path).trigger()
    qtbot.waitUntil(lambda: window.findChild(SegmentWidget) is not None)


def test_a_menu_opens_the_samples(viewer: Viewer) -> None:
    for title in ("Cat", "Motorcycle"):
        find(viewer.window._qt_window.menuBar(), "File", "Open Sample", "CLIPer", title).trigger()
    assert [layer.name for layer in viewer.layers] == ["cat", "motorcycle"]
