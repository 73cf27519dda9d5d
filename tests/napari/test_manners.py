"""How the docks behave as parts of napari: narrow, short, by the keyboard, in both themes."""

from typing import Any

import pytest
from app_model.types import KeyBinding
from napari import Viewer
from napari.layers import Labels
from napari.utils.shortcuts import default_shortcuts
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSlider,
    QApplication,
    QComboBox,
    QLabel,
    QPlainTextEdit,
    QScrollArea,
    QWidget,
)
from skimage.data import cat

from napari_cliper.widgets import InspectWidget
from napari_cliper.widgets.help_dialog import SHORTCUTS, HelpDialog

WIDTH = 280


@pytest.fixture
def docks(viewer: Viewer, dock: Any) -> list[QWidget]:
    dock.click(dock.inspect)
    dock.click(dock.inspect)
    (inspector,) = viewer.window._qt_window.findChildren(InspectWidget)
    others = [
        viewer.window.add_plugin_dock_widget("napari-cliper", title)[1]
        for title in ("Correct masks", "Review pictures", "Segment large pictures")
    ]
    return [dock.widget, inspector, *others]


def test_nothing_is_wider_than_a_narrow_dock(viewer: Viewer, dock: Any, docks: Any) -> None:
    viewer.add_image(cat()[::2, ::2], name="a picture with a name that is far too long for it")
    dock.run("a class with a long name = and, many, more, synonyms\ncat")
    dock.download.setChecked(True)
    for widget in docks:
        inside = widget.findChild(QScrollArea).widget()
        bar = widget.findChild(QScrollArea).verticalScrollBar().sizeHint().width()
        assert inside.minimumSizeHint().width() + bar <= WIDTH
        assert widget.minimumSizeHint().width() <= WIDTH


def test_what_is_said_does_not_move_what_is_above(viewer: Viewer, dock: Any) -> None:
    dock.settle()
    before = [part.mapTo(dock.widget, part.rect().topLeft()) for part in (dock.image, dock.segment)]
    width = dock.image.width()
    viewer.add_image(cat()[::2, ::2], name="a picture with a name that is far too long for it")
    dock.run("cat")
    assert dock.encoded.text() == "encoded"
    after = [part.mapTo(dock.widget, part.rect().topLeft()) for part in (dock.image, dock.segment)]
    assert after == before
    assert dock.image.width() == width


def test_a_short_dock_scrolls(viewer: Viewer, dock: Any) -> None:
    viewer.window.resize(900, 420)
    dock.qtbot.wait(100)
    scroll = dock.widget.findChild(QScrollArea)
    assert scroll.verticalScrollBar().maximum() > 0
    assert scroll.horizontalScrollBar().maximum() == 0


def test_every_control_says_what_it_does(docks: Any) -> None:
    kinds = (QAbstractButton, QComboBox, QPlainTextEdit, QAbstractSlider)
    for widget in docks:
        controls = [
            control
            for kind in kinds
            for control in widget.findChildren(kind)
            if control.objectName().startswith("cliper-")
        ]
        assert len(controls) > 5
        for control in controls:
            assert control.toolTip(), control.objectName()


def test_tab_goes_through_the_dock_from_top_to_bottom(viewer: Viewer, dock: Any) -> None:
    viewer.add_image(cat()[::2, ::2], name="photo")
    dock.widget.window().activateWindow()
    dock.image.setFocus()
    dock.qtbot.waitUntil(dock.image.hasFocus)
    order = []
    for _ in range(40):
        focus = QApplication.focusWidget()
        name = focus.objectName() if focus is not None else ""
        if name in order:
            break
        order.append(name)
        dock.qtbot.keyClick(focus, Qt.Key.Key_Tab)
    ours = [name.removeprefix("cliper-") for name in order if name.startswith("cliper-")]
    expected = ["image", "classes", "class-table", "add-class", "segment", "presence",
                "background", "refinement", "preset", "method"]  # fmt: skip
    places = [ours.index(name) for name in expected]
    assert places == sorted(places)


def test_our_keys_are_none_of_naparis(viewer: Viewer, dock: Any) -> None:
    viewer.add_image(cat()[::2, ::2], name="photo")
    dock.run("cat")
    taken = {str(key) for keys in default_shortcuts.values() for key in keys}
    ours = {str(KeyBinding.validate(key)) for key in viewer.layers["photo [refined]"].keymap}
    assert {f"Alt+{number}" for number in range(10)} | {"N"} <= ours
    # Where nothing of ours is to be accepted or dropped, these do what they do in napari.
    assert ours & taken == {"Enter", "Escape"}
    on_all_layers = Labels.class_keymap.values()
    assert not [act for act in on_all_layers if act.__module__.startswith("napari_cliper")]
    assert "Alt+1 … Alt+9" in SHORTCUTS


def test_the_help_lists_the_keys(dock: Any) -> None:
    dock.click(dock.part(QAbstractButton, "help"))
    dialog = dock.widget.findChild(HelpDialog)
    assert dialog.isVisible()
    text = dialog.findChild(QLabel).text()
    for key in SHORTCUTS:
        assert key in text
    dialog.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_both_themes_can_be_read(viewer: Viewer, dock: Any, theme: str) -> None:
    viewer.theme = theme
    dock.qtbot.wait(100)
    for control in (dock.table, dock.classes, dock.status):
        palette = control.palette()
        front = palette.color(palette.ColorRole.Text).lightness()
        shot = control.grab().toImage()
        back = shot.pixelColor(shot.width() // 2, shot.height() - 4).lightness()
        assert abs(front - back) > 60, control.objectName()
