"""The class list in the dock: typed, clicked, renamed, coloured, removed, saved and loaded."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari import Viewer
from napari.layers import Image
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import (
    QApplication,
    QCheckBox,
    QColorDialog,
    QComboBox,
    QDialog,
    QFileDialog,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QToolButton,
)
from skimage.data import cat

from napari_cliper.annotation.class_list import ClassList
from napari_cliper.widgets.class_table import Column
from napari_cliper.widgets.masks import of
from napari_cliper.widgets.removal_dialog import RemovalDialog
from napari_cliper.widgets.words_dialog import WordsDialog

CAT = cat()[::2, ::2]
Role = Qt.ItemDataRole


@pytest.fixture
def picture(viewer: Viewer) -> Image:
    return viewer.add_image(CAT, name="photo")


def leave_text(dock: Any) -> None:
    """Go on with Tab, as a person does who has typed the names."""
    dock.widget.window().activateWindow()
    dock.classes.setFocus()
    dock.qtbot.waitUntil(dock.classes.hasFocus)
    dock.qtbot.keyClick(dock.classes, Qt.Key.Key_Tab)
    dock.settle()


def edit_cell(dock: Any, name: str, column: Column, text: str) -> None:
    """Double-click a cell, type, and press Enter."""
    dock.click_cell(name, column, double=True)
    editor = dock.table.findChild(QLineEdit)
    assert editor is not None
    editor.selectAll()
    dock.qtbot.keyClicks(editor, text)
    dock.qtbot.keyClick(editor, Qt.Key.Key_Return)
    dock.settle()


def answer(act: Any) -> None:
    """Do something with the dialog that is about to open."""

    def look() -> None:
        dialog = QApplication.activeModalWidget()
        if isinstance(dialog, QDialog):
            act(dialog)
        else:
            QTimer.singleShot(20, look)

    QTimer.singleShot(20, look)


def ids(dock: Any) -> dict[str, int]:
    rows = range(dock.table.classes.rowCount())
    return {dock.table.classes.entry(row).name: dock.table.classes.entry(row).id for row in rows}


def refined(viewer: Viewer) -> Any:
    return viewer.layers["photo [refined]"]


def test_the_table_mirrors_what_is_typed(dock: Any) -> None:
    dock.type("cat\nsofa = couch, settee  # where it lies")
    dock.settle()
    assert dock.names() == ["cat", "sofa"]
    model = dock.table.classes
    assert model.data(dock.cell("sofa", Column.SYNONYMS), Role.DisplayRole) == "couch, settee"
    assert model.data(dock.cell("sofa", Column.ID), Role.DisplayRole) == "2"
    assert model.data(dock.cell("cat", Column.COLOR), Role.DecorationRole).getRgb()[:3] == (
        128,
        0,
        0,
    )
    dock.classes.clear()
    dock.settle()
    assert dock.names() == []


def test_a_mistake_is_told_below_and_the_table_stays(dock: Any, told: list[str]) -> None:
    dock.type("cat\ndog")
    dock.settle()
    dock.type("cat\ncat")
    dock.settle()
    hint = dock.widget.findChild(QLabel, "cliper-class-hint")
    assert hint.isVisible()
    assert "more than once" in hint.text()
    assert dock.names() == ["cat", "dog"]
    leave_text(dock)
    assert told == []  # nobody asked for anything
    dock.type("cat")
    dock.settle()
    assert not hint.isVisible()


def test_ids_stay_with_their_classes(viewer: Viewer, picture: Image, dock: Any) -> None:
    dock.type("cat\ndog\nhen")
    leave_text(dock)
    dock.type("hen\ncow\nbee\ncat")
    leave_text(dock)
    assert ids(dock) == {"hen": 3, "cow": 2, "bee": 4, "cat": 1}


def test_a_click_on_a_row_chooses_the_label(viewer: Viewer, picture: Image, dock: Any) -> None:
    dock.run("cat\nsofa")
    mask = refined(viewer)
    viewer.layers.selection.active = picture
    dock.click_cell("sofa", Column.NAME)
    assert viewer.layers.selection.active is mask
    assert mask.selected_label == 2
    mask.selected_label = 1  # as napari's own controls do
    assert dock.table.current_id == 1
    dock.qtbot.keyClick(dock.table, Qt.Key.Key_Down)
    assert mask.selected_label == 2


def test_alt_and_a_number_choose_a_class(viewer: Viewer, picture: Image, dock: Any) -> None:
    dock.run("cat\nsofa")
    canvas = viewer.window._qt_viewer.canvas.native
    viewer.layers.selection.active = refined(viewer)
    dock.qtbot.keyClick(canvas, Qt.Key.Key_2, Qt.KeyboardModifier.AltModifier)
    assert refined(viewer).selected_label == 2
    assert dock.table.current_id == 2
    dock.qtbot.keyClick(canvas, Qt.Key.Key_1, Qt.KeyboardModifier.AltModifier)
    assert refined(viewer).selected_label == 1
    assert refined(viewer).mode == "pan_zoom"  # plain numbers are napari's own
    dock.qtbot.keyClick(canvas, Qt.Key.Key_2)
    assert refined(viewer).mode == "paint"


def test_a_rename_keeps_what_is_painted(
    viewer: Viewer, picture: Image, dock: Any, told: list[str]
) -> None:
    dock.run("cat\nsofa # comment")
    mask = refined(viewer)
    mask.selected_label = 2
    mask.paint((10, 10), 2)
    painted = of(mask).painted.mask.copy()
    edit_cell(dock, "sofa", Column.NAME, "bench")
    dock.wait()
    assert told == []
    assert dock.classes.toPlainText() == "cat\nbench  # comment"
    assert ids(dock) == {"cat": 1, "bench": 2}
    assert list(mask.features["name"]) == ["background", "cat", "bench"]
    assert np.all(mask.data[painted] == 2)
    edit_cell(dock, "bench", Column.SYNONYMS, "seat, pew")
    assert dock.classes.toPlainText() == "cat\nbench = seat, pew  # comment"


def test_a_name_that_cannot_be_is_refused(dock: Any, told: list[str]) -> None:
    dock.type("cat\ndog")
    dock.settle()
    edit_cell(dock, "dog", Column.NAME, "Cat")
    assert len(told) == 1
    assert "more than once" in told[0]
    assert dock.names() == ["cat", "dog"]


def test_a_new_class_leaves_the_others_alone(
    viewer: Viewer, picture: Image, dock: Any, told: list[str]
) -> None:
    dock.run("cat\nsofa")
    dock.click(dock.part(QToolButton, "add-class"))
    editor = dock.table.findChild(QLineEdit)
    assert editor is not None
    editor.selectAll()
    dock.qtbot.keyClicks(editor, "curtain")
    dock.qtbot.keyClick(editor, Qt.Key.Key_Return)
    dock.wait()
    assert told == []
    assert ids(dock) == {"cat": 1, "sofa": 2, "curtain": 3}
    assert dock.classes.toPlainText() == "cat\nsofa\ncurtain"
    assert list(refined(viewer).features["name"])[-1] == "curtain"


def test_a_colour_changes_in_every_layer(
    viewer: Viewer, picture: Image, dock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = viewer.add_image(CAT[::-1], name="other")
    dock.run("cat\nsofa")
    dock.image.setCurrentText("other")
    dock.run()
    assert len(viewer.layers) == 6
    assert other in viewer.layers
    from qtpy.QtGui import QColor

    monkeypatch.setattr(QColorDialog, "getColor", lambda *_: QColor(10, 200, 30))
    dock.click_cell("sofa", Column.COLOR, double=True)
    dock.settle()
    masks = [layer for layer in viewer.layers if of(layer) is not None]
    assert len(masks) == 4
    for mask in masks:
        np.testing.assert_allclose(mask.get_color(2)[:3] * 255, (10, 200, 30), atol=0.01)
    color = dock.table.classes.data(dock.cell("sofa", Column.COLOR), Role.DecorationRole)
    assert color.getRgb()[:3] == (10, 200, 30)


def test_a_class_can_be_hidden(viewer: Viewer, picture: Image, dock: Any) -> None:
    dock.run("cat")
    before = refined(viewer).data.copy()
    box = dock.table.visualRect(dock.cell("cat", Column.VISIBLE))
    place = box.topLeft()
    place.setX(box.left() + 10)
    place.setY(box.center().y())
    dock.qtbot.mouseClick(dock.table.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert refined(viewer).get_color(1)[3] == 0
    assert np.array_equal(refined(viewer).data, before)
    dock.run()
    assert refined(viewer).get_color(1)[3] == 0  # a new run does not bring it back
    dock.qtbot.mouseClick(dock.table.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert refined(viewer).get_color(1)[3] == 1


def test_presence_and_share_are_shown(viewer: Viewer, picture: Image, dock: Any) -> None:
    dock.run("cat\ntoaster")
    model, mask = dock.table.classes, refined(viewer)
    found = model.found(dock.row("cat"))
    assert found.present
    assert found.presence > 0.3
    assert found.share == (mask.data == 1).mean()
    assert not model.found(dock.row("toaster")).present
    assert "below the threshold" in model.data(
        dock.cell("toaster", Column.PRESENCE), Role.ToolTipRole
    )
    mask.brush_size = 60
    mask.paint((60, 60), 2)
    dock.settle()
    assert model.found(dock.row("toaster")).share == (mask.data == 2).mean() > 0


@pytest.mark.parametrize("choice", ["background", "sofa", "cancel"])
def test_removing_a_class_asks_about_its_pixels(
    viewer: Viewer, picture: Image, dock: Any, choice: str
) -> None:
    dock.run("cat\nsofa")
    mask = refined(viewer)
    mask.paint((10, 10), 1)
    mask.brush_size = 30
    mask.paint((60, 60), 2)
    mask.paint((100, 100), 1)
    before = mask.data.copy()
    theirs = of(mask).painted.mask & (before == 1)
    assert theirs.any()
    asked: list[str] = []

    def act(dialog: QDialog) -> None:
        assert isinstance(dialog, RemovalDialog)
        asked.append(dialog.windowTitle())
        box = dialog.findChild(QComboBox)
        if choice == "cancel":
            dialog.reject()
        else:
            box.setCurrentIndex(max(box.findText(choice), 0))
            dialog.accept()

    answer(act)
    dock.click_cell("cat", Column.NAME)
    dock.click(dock.part(QToolButton, "remove-class"))
    dock.wait()
    assert asked == ["Remove “cat”"]
    if choice == "cancel":
        assert ids(dock) == {"cat": 1, "sofa": 2}
        assert np.array_equal(mask.data, before)
        return
    assert ids(dock) == {"sofa": 2}
    assert dock.classes.toPlainText() == "sofa"
    assert not (mask.data == 1).any()
    if choice == "sofa":
        assert np.all(mask.data[theirs] == 2)


def test_a_class_without_pixels_goes_without_a_question(dock: Any) -> None:
    dock.type("cat\nsofa\ndog")
    dock.settle()
    dock.click_cell("sofa", Column.NAME)
    dock.click(dock.part(QToolButton, "remove-class"))
    assert ids(dock) == {"cat": 1, "dog": 3}
    for name in ("cat", "dog"):
        dock.click_cell(name, Column.NAME)
        dock.click(dock.part(QToolButton, "remove-class"))
    assert dock.names() == []
    assert dock.classes.toPlainText() == ""


def test_a_painted_class_outlives_the_text(viewer: Viewer, picture: Image, dock: Any) -> None:
    dock.run("cat\nsofa\ntable")
    mask = refined(viewer)
    mask.brush_size = 20
    mask.paint((60, 60), 2)
    painted = mask.data == 2
    dock.type("curtain")
    leave_text(dock)
    dock.wait()
    assert ids(dock)["sofa"] == 2
    assert "sofa" in dock.classes.toPlainText()
    assert "curtain" in dock.names()
    assert np.all(mask.data[painted] == 2)


def test_class_lists_are_saved_and_loaded(
    dock: Any, tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "classes.json"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(path), ""))
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))
    load, save, _ = dock.widget._classes.menu.actions()
    dock.type("cat\nsofa = couch")
    dock.settle()
    save.trigger()
    saved = ClassList.from_json(path.read_bytes())
    assert saved.prompts == ("cat", "sofa, couch")
    table = json.loads(path.read_text())
    table["classes"][1] |= {"id": 9, "color": [1, 2, 3]}
    table["templates"] = ["a microscopy image of {}"]
    path.write_text(json.dumps(table))
    load.trigger()
    assert ids(dock) == {"cat": 1, "sofa": 9}
    assert dock.widget._classes.classes.templates == ("a microscopy image of {}",)
    assert told == []
    path.write_text("{}")
    load.trigger()
    assert len(told) == 1
    path.unlink()
    load.trigger()
    assert len(told) == 2
    assert ids(dock) == {"cat": 1, "sofa": 9}


def test_a_file_cannot_take_a_painted_number(
    viewer: Viewer, picture: Image, dock: Any, tmp_path: Path, told: list[str]
) -> None:
    dock.run("cat")
    refined(viewer).paint((0, 0), 0)
    refined(viewer).brush_size = 20
    refined(viewer).data_setitem((np.array([0, 1]), np.array([0, 0])), 0)
    refined(viewer).data_setitem((np.array([0, 1]), np.array([0, 0])), 1)
    path = tmp_path / "classes.json"
    path.write_text(ClassList.parse("dog").to_json())
    dock.widget._classes.load(path)
    assert len(told) == 1
    assert "“cat” is painted with it" in told[0]
    assert ids(dock) == {"cat": 1}


def test_background_words_and_templates_can_be_edited(
    viewer: Viewer, picture: Image, dock: Any, told: list[str]
) -> None:
    dock.run("cat")
    before = refined(viewer).data.copy()

    def act(dialog: QDialog) -> None:
        assert isinstance(dialog, WordsDialog)
        words = dialog.findChild(QPlainTextEdit, "cliper-background")
        assert "sky" in words.toPlainText()  # the preset's own
        dialog.findChild(QCheckBox, "cliper-own-background").setChecked(True)
        words.setPlainText("cat fur\ncat face, animal")
        sentences = dialog.findChild(QPlainTextEdit, "cliper-templates")
        dialog.findChild(QCheckBox, "cliper-own-templates").setChecked(True)
        sentences.setPlainText("no gap")
        dialog.accept()
        assert dialog.isVisible()  # a mistake keeps it open
        assert "{}" in dialog.findChild(QLabel, "cliper-words-mistake").text()
        sentences.setPlainText("a microscopy image of {}")
        dialog.accept()

    answer(act)
    dock.widget._classes.menu.actions()[2].trigger()
    dock.wait()
    classes = dock.widget._classes.classes
    assert classes.background == ("cat fur", "cat face", "animal")
    assert classes.templates == ("a microscopy image of {}",)
    assert told == []
    assert (refined(viewer).data != before).any()  # and it was looked for anew
