"""The plugin is where napari's menus promise it."""

from typing import Any

from napari import Viewer
from pytestqt.qtbot import QtBot
from qtpy.QtGui import QAction
from qtpy.QtWidgets import QMenu, QMenuBar

from napari_cliper.widgets import (
    ChannelsWidget,
    CorrectWidget,
    InspectWidget,
    LargeWidget,
    ReviewWidget,
    SegmentWidget,
)


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


def test_menus_open_the_dock_and_the_samples(viewer: Viewer, qtbot: QtBot) -> None:
    window = viewer.window._qt_window
    assert window.findChild(SegmentWidget) is None
    find(window.menuBar(), "Plugins", "CLIPer", "Segment with text (CLIPer)").trigger()
    widget = window.findChild(SegmentWidget)
    qtbot.waitUntil(widget.isVisible)
    in_layers = find(window.menuBar(), "Layers", "Segment", "Segment with text (CLIPer)")
    in_layers.trigger()  # hides what is open, as napari does with every dock
    qtbot.waitUntil(lambda: not widget.isVisible())
    in_layers.trigger()
    qtbot.waitUntil(widget.isVisible)

    for title in ("Cat", "Motorcycle"):
        find(window.menuBar(), "File", "Open Sample", "CLIPer", title).trigger()
    assert [layer.name for layer in viewer.layers] == ["cat", "motorcycle"]


def test_the_other_docks_are_there_too(viewer: Viewer, dock: Any, qtbot: QtBot) -> None:
    window = viewer.window._qt_window
    for title, kind in (
        ("Correct masks", CorrectWidget),
        ("Review pictures", ReviewWidget),
        ("Inspect attention", InspectWidget),
        ("Colours from channels", ChannelsWidget),
        ("Segment large pictures", LargeWidget),
    ):
        find(window.menuBar(), "Layers", "Segment", f"{title} (CLIPer)")
        find(window.menuBar(), "Plugins", "CLIPer", f"{title} (CLIPer)").trigger()
        qtbot.waitUntil(window.findChild(kind).isVisible)
