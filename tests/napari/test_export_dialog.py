"""The export dialog: what it offers, what it says it will write, and what it writes."""

from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from napari import Viewer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractButton, QCheckBox, QComboBox, QLabel, QLineEdit, QTreeWidget

from napari_cliper import ClassList, load_labels
from napari_cliper.files.exporting import export
from napari_cliper.files.formats import formats
from napari_cliper.files.importing import read_annotations
from napari_cliper.widgets import export_dialog, masks
from napari_cliper.widgets.export_dialog import ExportDialog
from napari_cliper.widgets.export_sources import picture_file
from napari_cliper.widgets.fix_panel import instance_classes
from napari_cliper.widgets.layers import ResultLayer, dress, labels_layer
from napari_cliper.widgets.planes import shown_plane
from napari_cliper.widgets.session_layers import add_instances

CLASSES = ClassList.parse("cat; dog = hound; void")


class Opened:
    """A dialog over masks of a small picture, and hands."""

    def __init__(self, qtbot: Any, viewer: Viewer) -> None:
        self.qtbot, self.viewer = qtbot, viewer
        picture = viewer.add_image(np.zeros((20, 30), np.uint8), name="photo")
        self.plane = shown_plane(viewer, picture)
        coarse, refined = np.zeros((2, 20, 30), np.uint16)
        coarse[:8, :8] = 1
        refined[:10, :10], refined[12:, 12:] = 1, 3
        for role, labels in (("coarse", coarse), ("refined", refined)):
            item = labels_layer(role, labels, CLASSES)
            self.mask = masks.show_mask(viewer, self.plane, item, CLASSES)

    def open(self) -> ExportDialog:
        self.dialog = ExportDialog(self.viewer, self.plane)
        self.qtbot.addWidget(self.dialog)
        self.dialog.show()
        return self.dialog

    def part(self, kind: Any, name: str) -> Any:
        found = self.dialog.findChild(kind, f"cliper-export-{name}")
        assert found is not None
        return found

    def choose(self, name: str, text: str) -> None:
        box = self.part(QComboBox, name)
        index = box.findText(text)
        assert index >= 0, [box.itemText(i) for i in range(box.count())]
        box.setCurrentIndex(index)
        box.activated.emit(index)

    def write_in(self, name: str, text: str) -> None:
        line = self.part(QLineEdit, name)
        line.selectAll()
        self.qtbot.keyClicks(line, text)

    def files(self) -> dict[str, str]:
        """What is said about each file, when everything has been looked at."""
        self.settle()
        tree = self.part(QTreeWidget, "files")
        rows = [tree.topLevelItem(row) for row in range(tree.topLevelItemCount())]
        return {row.text(0): row.text(2) for row in rows}

    def settle(self) -> None:
        self.qtbot.wait(2 * export_dialog.TYPING_PAUSE)
        self.qtbot.waitUntil(lambda: self.dialog._latest.idle and self.dialog._writing.idle)

    def note(self) -> str:
        self.settle()
        return self.part(QLabel, "note").text()

    def press_export(self) -> None:
        self.settle()
        with self.qtbot.waitSignal(self.dialog.written):
            self.qtbot.mouseClick(self.part(QAbstractButton, "write"), Qt.MouseButton.LeftButton)


@pytest.fixture
def opened(qtbot: Any, viewer: Viewer, monkeypatch: pytest.MonkeyPatch) -> Opened:
    monkeypatch.setattr(export_dialog, "TYPING_PAUSE", 20)
    return Opened(qtbot, viewer)


def test_what_it_says_is_what_it_writes(opened: Opened, tmp_path: Path) -> None:
    opened.mask.layer.data_setitem((np.array([0]), np.array([15])), 2)
    opened.open()
    opened.write_in("folder", str(tmp_path / "new"))
    assert opened.files() == {"classes.json": "", "photo_labels.png": ""}
    assert not (tmp_path / "new").exists()
    opened.press_export()
    assert {path.name for path in (tmp_path / "new").iterdir()} == {
        "classes.json",
        "photo_labels.png",
    }
    labels, classes = load_labels(tmp_path / "new" / "photo_labels.png")
    assert np.array_equal(labels, opened.mask.layer.data)
    assert classes == CLASSES


@pytest.mark.parametrize(
    ("title", "role", "painted"),
    [
        ("Refined as corrected", "refined", True),
        ("Refined as proposed", "refined", False),
        ("Coarse as corrected", "coarse", False),
    ],
)
def test_which_labels(opened: Opened, tmp_path: Path, title: str, role: str, painted: bool) -> None:
    before = {m.role: m.layer.data.copy() for m in masks.masks(opened.viewer)}
    opened.mask.layer.data_setitem((np.array([0]), np.array([15])), 2)
    opened.open()
    opened.choose("source", title)
    opened.write_in("folder", str(tmp_path))
    opened.press_export()
    labels, _ = load_labels(tmp_path / "photo_labels.png")
    assert (labels[0, 15] == 2) == painted
    labels[0, 15] = 0
    assert np.array_equal(labels, before[role])


def test_only_what_is_shown(opened: Opened, tmp_path: Path) -> None:
    opened.mask.dress(CLASSES, hidden={1})
    opened.open()
    opened.part(QCheckBox, "visible").click()
    opened.write_in("folder", str(tmp_path))
    opened.press_export()
    labels, classes = load_labels(tmp_path / "photo_labels.png")
    assert classes is not None
    assert classes.names == ("dog", "void")
    assert set(np.unique(labels)) == {0, 3}


def test_void_becomes_255(opened: Opened, tmp_path: Path) -> None:
    opened.open()
    opened.choose("void", "void")
    opened.write_in("folder", str(tmp_path))
    opened.press_export()
    labels, _ = load_labels(tmp_path / "photo_labels.png")
    assert set(np.unique(labels)) == {0, 1, 255}


def test_nothing_is_replaced_unasked(opened: Opened, tmp_path: Path) -> None:
    (tmp_path / "photo_labels.png").write_bytes(b"precious")
    opened.open()
    opened.write_in("folder", str(tmp_path))
    assert opened.files()["photo_labels.png"] == "replaces another"
    assert not opened.part(QAbstractButton, "write").isEnabled()
    assert (tmp_path / "photo_labels.png").read_bytes() == b"precious"
    opened.part(QCheckBox, "replace").click()
    opened.press_export()
    labels, _ = load_labels(tmp_path / "photo_labels.png")
    assert np.array_equal(labels, opened.mask.layer.data)


def test_a_wrong_pattern_is_said(opened: Opened, tmp_path: Path) -> None:
    opened.open()
    opened.write_in("folder", str(tmp_path))
    opened.write_in("pattern", "{class}")
    assert "“{class}” is no pattern" in opened.note()
    assert not opened.part(QAbstractButton, "write").isEnabled()
    opened.write_in("pattern", "../{name}")
    assert opened.files().keys() == {"classes.json", "_photo_refined.png"}


def test_a_folder_that_cannot_be_written_is_said(opened: Opened, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    opened.open()
    opened.write_in("folder", str(tmp_path / "file" / "below"))
    opened.settle()
    opened.qtbot.mouseClick(opened.part(QAbstractButton, "write"), Qt.MouseButton.LeftButton)
    assert "cannot be written" in opened.note()
    assert opened.dialog.isVisible()


def test_replacing_is_asked_anew_for_other_files(opened: Opened, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "photo_labels.png").write_bytes(b"precious")
    opened.open()
    opened.write_in("folder", str(tmp_path / "a"))
    opened.settle()
    opened.part(QCheckBox, "replace").click()
    assert opened.part(QAbstractButton, "write").isEnabled()
    opened.write_in("folder", str(tmp_path / "b"))
    opened.settle()
    assert not opened.part(QCheckBox, "replace").isChecked()
    assert not opened.part(QAbstractButton, "write").isEnabled()


def test_cancel_while_writing_writes_nothing(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialog = opened.open()
    opened.write_in("folder", str(tmp_path / "new"))
    opened.settle()
    begun, go_on, ended = Event(), Event(), Event()

    def slow(*arguments: Any) -> Any:
        begun.set()
        go_on.wait(10)
        try:
            return export(*arguments)
        finally:
            ended.set()

    monkeypatch.setattr(export_dialog, "export", slow)
    opened.qtbot.mouseClick(opened.part(QAbstractButton, "write"), Qt.MouseButton.LeftButton)
    opened.qtbot.waitUntil(begun.is_set)
    dialog.reject()
    go_on.set()
    opened.qtbot.waitUntil(ended.is_set)
    assert not (tmp_path / "new").exists()


def test_the_pictures_folder_follows_the_picture(opened: Opened, tmp_path: Path) -> None:
    opened.open()
    assert opened.dialog.choice.folder == ""
    assert opened.part(QLineEdit, "folder").text() == str(Path.home())


def test_a_plane_of_a_stack_has_no_picture_file(viewer: Viewer, tmp_path: Path) -> None:
    import tifffile

    tifffile.imwrite(tmp_path / "stack.tif", np.zeros((3, 20, 30), np.uint8))
    (stack,) = viewer.open(tmp_path / "stack.tif")
    assert picture_file(viewer, shown_plane(viewer, stack)) is None
    tifffile.imwrite(tmp_path / "flat.tif", np.zeros((20, 30), np.uint8))
    (flat,) = viewer.open(tmp_path / "flat.tif")
    assert picture_file(viewer, shown_plane(viewer, flat)) == tmp_path / "flat.tif"


def test_the_last_choice_is_remembered(opened: Opened, tmp_path: Path) -> None:
    opened.open()
    opened.choose("source", "Coarse as proposed")
    opened.choose("void", "dog")
    opened.write_in("pattern", "{name}")
    opened.write_in("folder", str(tmp_path))
    opened.press_export()
    chosen = opened.dialog.choice
    assert opened.open().choice == chosen


def test_a_damaged_memory_is_no_harm(opened: Opened, tmp_path: Path) -> None:
    opened.open()
    opened.write_in("folder", str(tmp_path))
    opened.press_export()
    memory = export_dialog.remembered.__globals__["_file"]()
    memory.write_text('{"format": 3')
    assert opened.open().choice.format == "png"


@pytest.mark.parametrize("key", [key for key, known in formats().items() if known.keeps.instances])
def test_instances_become_objects(opened: Opened, tmp_path: Path, key: str) -> None:
    numbers = np.zeros((20, 30), np.uint16)
    numbers[:10, :5], numbers[:10, 5:10] = 1, 2
    item = ResultLayer("instances of cat", numbers, dress(instance_classes(CLASSES[0], 2)))
    add_instances(opened.viewer, opened.plane, item, CLASSES[0])
    opened.open()
    opened.choose("format", formats()[key].title)
    opened.choose("source", "Instances of cat")
    opened.write_in("folder", str(tmp_path))
    opened.press_export()
    read = [a for path in tmp_path.rglob("*") for a in _read(path, key)] or _read(tmp_path, key)
    assert np.array_equal(read[0].labels, numbers != 0)
    assert read[0].classes.names == ("cat",)
    assert len(np.unique(read[0].instances)) == 3


def _read(path: Path, key: str) -> list[Any]:
    known = formats()[key]
    return list(read_annotations(path, known)) if known.recognizes(path) else []
