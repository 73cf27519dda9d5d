"""The dock “Correct masks” in a real window."""

import importlib.util
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from napari import Viewer
from napari.layers import Labels
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QCheckBox, QComboBox, QLabel, QPushButton, QSpinBox
from skimage.data import cat

from napari_cliper import ClassList
from napari_cliper.widgets import CorrectWidget, fix_panel, scribbles, workspace
from napari_cliper.widgets.layers import labels_layer
from napari_cliper.widgets.masks import of, show_mask
from napari_cliper.widgets.outlines import edges
from napari_cliper.widgets.planes import shown_plane


class Corrector:
    """The dock as a person meets it."""

    def __init__(self, viewer: Viewer, qtbot: QtBot) -> None:
        self.viewer, self.qtbot = viewer, qtbot
        _, widget = viewer.window.add_plugin_dock_widget("napari-cliper", "Correct masks")
        assert isinstance(widget, CorrectWidget)
        self.widget = widget

    def part(self, kind: type[Any], name: str) -> Any:
        found = self.widget.findChild(kind, f"cliper-{name}")
        assert found is not None, name
        return found

    def press(self, name: str) -> None:
        self.qtbot.mouseClick(self.part(QPushButton, name), Qt.MouseButton.LeftButton)
        self.settle()

    def settle(self) -> None:
        self.qtbot.wait(120)
        self.qtbot.waitUntil(lambda: self.widget.idle, timeout=60_000)
        self.qtbot.wait(20)

    @property
    def said(self) -> str:
        return str(self.part(QLabel, "correct-status").text())

    def key(self, key: Any, modifier: Any = Qt.KeyboardModifier.NoModifier) -> None:
        self.qtbot.keyClick(self.canvas, key, modifier)
        self.settle()

    @property
    def canvas(self) -> Any:
        return self.viewer.window._qt_viewer.canvas.native

    def click(self, row: int, column: int, layer: Labels) -> None:
        """Click with the mouse on a pixel of a layer."""
        world = np.array(layer.data_to_world((row, column)))[-2:]
        camera = self.viewer.scene.camera
        offset = (world - np.array(camera.center)[-2:]) * camera.zoom
        middle = self.canvas.rect().center()
        place = QPoint(middle.x() + round(offset[1]), middle.y() + round(offset[0]))
        self.qtbot.mouseMove(self.canvas, place)
        self.qtbot.mouseClick(self.canvas, Qt.MouseButton.LeftButton, pos=place)
        self.settle()

    def names(self) -> list[str]:
        return [layer.name for layer in self.viewer.layers]


@pytest.fixture
def corrector(viewer: Viewer, dock: Any, qtbot: QtBot) -> Iterator[Corrector]:
    """The cat is segmented, its mask is active."""
    viewer.add_image(cat()[::2, ::2], name="cat")
    dock.run("cat\ndog")
    corrector = Corrector(viewer, qtbot)
    mask = viewer.layers["cat [refined]"]
    viewer.layers.selection.active = mask
    mask.mode = "pan_zoom"
    yield corrector
    corrector.settle()


@pytest.fixture
def mask(corrector: Corrector) -> Labels:
    layer: Labels = corrector.viewer.layers["cat [refined]"]
    return layer


def put(mask: Labels, data: np.ndarray[Any, Any]) -> None:
    """Let the program write this map, so that nothing of it is the person's."""
    known = of(mask)
    assert known is not None
    known.release(np.ones(mask.data.shape, bool))
    known.propose(data.astype(mask.data.dtype))
    assert np.array_equal(mask.data, data)
    assert known.painted.count() == 0


def square(shape: tuple[int, ...], *boxes: tuple[int, int, int, int], label: int = 1) -> Any:
    data = np.zeros(shape, np.uint8)
    for top, left, bottom, right in boxes:
        data[top:bottom, left:right] = label
    return data


def test_a_click_and_a_class_key_give_the_region_to_the_class(
    corrector: Corrector, mask: Labels
) -> None:
    put(mask, square(mask.data.shape, (40, 60, 80, 100), (100, 10, 120, 30)))
    corrector.click(60, 80, mask)
    assert "cat [region]" in corrector.names()
    assert corrector.viewer.layers.selection.active is mask
    corrector.key(Qt.Key.Key_2, Qt.KeyboardModifier.AltModifier)
    assert (mask.data[40:80, 60:100] == 2).all()
    assert (mask.data[100:120, 10:30] == 1).all()
    known = of(mask)
    assert known is not None
    assert known.painted.count() == 40 * 40
    assert "cat [region]" not in corrector.names()
    mask.undo()
    assert (mask.data[40:80, 60:100] == 1).all()


def test_alt_and_0_make_the_region_background_and_escape_lets_it_go(
    corrector: Corrector, mask: Labels
) -> None:
    put(mask, square(mask.data.shape, (40, 60, 80, 100)))
    corrector.click(60, 80, mask)
    corrector.key(Qt.Key.Key_Escape)
    assert "cat [region]" not in corrector.names()
    corrector.key(Qt.Key.Key_2, Qt.KeyboardModifier.AltModifier)
    assert mask.selected_label == 2  # with no region chosen, the key chooses what to paint with
    assert mask.data.max() == 1
    corrector.click(60, 80, mask)
    corrector.key(Qt.Key.Key_0, Qt.KeyboardModifier.AltModifier)
    assert mask.data.max() == 0


def test_dragging_the_picture_chooses_no_region(corrector: Corrector, mask: Labels) -> None:
    canvas, qtbot = corrector.canvas, corrector.qtbot
    middle = canvas.rect().center()
    qtbot.mousePress(canvas, Qt.MouseButton.LeftButton, pos=middle)
    for step in range(1, 6):
        qtbot.mouseMove(canvas, middle + QPoint(8 * step, 0))
    qtbot.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=middle + QPoint(40, 0))
    corrector.settle()
    assert "cat [region]" not in corrector.names()


def test_what_is_yours_is_counted_shown_and_given_back(corrector: Corrector, mask: Labels) -> None:
    put(mask, square(mask.data.shape, (40, 60, 80, 100)))
    mask.brush_size = 10
    mask.paint((20, 20), 2)
    mask.paint((60, 80), 1)  # what is there already: confirmed
    corrector.settle()
    known = of(mask)
    assert known is not None
    both = known.painted.count()
    assert both > 100
    assert corrector.part(QLabel, "count-yours").text().startswith(f"{both:,} px")
    corrector.part(QCheckBox, "show-yours").setChecked(True)
    corrector.settle()
    shown = corrector.viewer.layers["cat [yours]"]
    assert np.array_equal(shown.data, edges(known.painted.mask.astype(np.uint8), 1))
    assert not shown.editable
    corrector.click(60, 80, mask)
    corrector.press("release-region")
    assert known.painted.mask[20, 20]
    assert not known.painted.mask[60, 80]
    assert corrector.part(QLabel, "count-yours").text().startswith(f"{known.painted.count():,} px")
    corrector.press("release-all")
    assert known.painted.count() == 0
    assert mask.data[20, 20] == 2  # given back, not erased
    assert "cat [yours]" not in corrector.names()


def test_a_region_is_to_be_chosen_before_it_is_given_back(
    corrector: Corrector, told: list[str]
) -> None:
    corrector.press("release-region")
    assert "No region is chosen" in corrector.said
    assert len(told) == 1


@pytest.mark.parametrize("accept", [True, False])
def test_a_fix_is_shown_first_and_counts_on_enter(
    corrector: Corrector, mask: Labels, accept: bool
) -> None:
    start = square(mask.data.shape, (40, 60, 80, 100), (10, 10, 13, 13))
    put(mask, start)
    mask.selected_label = 1
    box = corrector.part(QComboBox, "fix")
    box.setCurrentIndex(box.findText("Drop specks"))
    corrector.press("fix-preview")
    assert np.array_equal(mask.data, start)  # nothing yet
    preview = corrector.viewer.layers["cat [preview]"]
    assert np.count_nonzero(preview.data) == 8  # around the one in the middle
    assert "9 pixels" in corrector.said
    corrector.key(Qt.Key.Key_Enter if accept else Qt.Key.Key_Escape)
    assert "cat [preview]" not in corrector.names()
    assert mask.data[11, 11] == (0 if accept else 1)
    known = of(mask)
    assert known is not None
    assert known.painted.count() == (9 if accept else 0)
    if accept:
        mask.undo()
        assert np.array_equal(mask.data, start)


def test_a_fix_leaves_strokes_alone(corrector: Corrector, mask: Labels) -> None:
    put(mask, square(mask.data.shape, (40, 60, 80, 100), (10, 10, 13, 13)))
    mask.brush_size = 3
    mask.paint((100, 20), 1)
    mask.selected_label = 1
    box = corrector.part(QComboBox, "fix")
    box.setCurrentIndex(box.findText("Drop specks"))
    corrector.press("fix-preview")
    corrector.press("fix-accept")
    assert mask.data[11, 11] == 0
    assert mask.data[100, 20] == 1


def test_a_fix_that_changes_nothing_says_so(corrector: Corrector, mask: Labels) -> None:
    put(mask, square(mask.data.shape, (40, 60, 80, 100)))
    mask.selected_label = 1
    corrector.press("fix-preview")  # fill holes
    assert "nothing to change in cat" in corrector.said
    assert "cat [preview]" not in corrector.names()
    assert not corrector.part(QPushButton, "fix-accept").isEnabled()


def test_another_size_shows_the_fix_anew(corrector: Corrector, mask: Labels) -> None:
    put(mask, square(mask.data.shape, (40, 60, 80, 100)))
    mask.selected_label = 1
    box = corrector.part(QComboBox, "fix")
    box.setCurrentIndex(box.findText("Grow"))
    corrector.press("fix-preview")
    first = np.count_nonzero(corrector.viewer.layers["cat [preview]"].data)
    corrector.part(QSpinBox, "fix-size").setValue(5)
    corrector.part(QSpinBox, "fix-size").editingFinished.emit()
    corrector.settle()
    assert np.count_nonzero(corrector.viewer.layers["cat [preview]"].data) > first


def test_instances_become_a_layer_to_edit(corrector: Corrector, mask: Labels) -> None:
    put(mask, square(mask.data.shape, (40, 60, 80, 100), (10, 10, 30, 30)))
    mask.selected_label = 1
    corrector.press("split")
    layer = corrector.viewer.layers["cat [instances of cat]"]
    assert set(np.unique(layer.data)) == {0, 1, 2}
    assert list(layer.features["name"]) == ["background", "cat 1", "cat 2"]
    assert layer.editable
    layer.paint((100, 20), 3)
    assert layer.data[100, 20] == 3
    assert "2 instances of cat" in corrector.said


def test_a_class_without_pixels_has_no_instances(
    corrector: Corrector, mask: Labels, told: list[str]
) -> None:
    put(mask, np.zeros(mask.data.shape))
    mask.selected_label = 2
    corrector.press("split")
    assert len(told) == 1


def test_a_layer_is_taken_as_the_start_and_runs_fill_the_rest(
    corrector: Corrector, mask: Labels, dock: Any
) -> None:
    start = square(mask.data.shape, (0, 0, 60, 60), label=2)
    corrector.viewer.add_labels(start, name="mine")
    corrector.viewer.layers.selection.active = mask
    corrector.settle()
    assert corrector.part(QComboBox, "start-from").currentText() != ""
    box = corrector.part(QComboBox, "start-from")
    box.setCurrentIndex(box.findText("mine"))
    corrector.press("start-fold")
    corrector.press("take-start")
    assert (mask.data[:60, :60] == 2).all()
    dock.run("cat\ndog\nsofa")
    assert (mask.data[:60, :60] == 2).all()
    assert (mask.data[60:] == 1).any()  # the cat was filled in


def scribble(corrector: Corrector, layer: Labels, row: int, columns: range, label: int) -> None:
    layer.selected_label = label
    layer.brush_size = 4
    with layer.block_history():
        for column in columns:
            layer.paint((row, column), label)
    corrector.settle()


@pytest.mark.parametrize("accept", [True, False])
def test_scribbles_spread_are_shown_and_count_on_enter(
    corrector: Corrector, mask: Labels, accept: bool
) -> None:
    before = mask.data.copy()
    rows = np.flatnonzero((before == 1).sum(axis=1) > 40)
    row = int(rows[len(rows) // 2])
    columns = np.flatnonzero(before[row] == 1)
    middle = int(np.median(columns))
    corrector.press("scribble")
    layer = corrector.viewer.layers["cat [scribbles]"]
    assert corrector.viewer.layers.selection.active is layer
    assert layer.mode == "paint"
    corrector.key(Qt.Key.Key_2, Qt.KeyboardModifier.AltModifier)
    assert layer.selected_label == 2
    scribble(corrector, layer, row, range(middle - 15, middle + 15), 2)
    drawn = layer.data != 0
    assert np.array_equal(mask.data, before)
    assert corrector.viewer.layers["cat [preview]"].data.any()
    shown = int(corrector.said.split(" pixels would change")[0].replace(",", ""))
    assert shown > 1.5 * np.count_nonzero(drawn)  # it spreads
    corrector.key(Qt.Key.Key_Enter if accept else Qt.Key.Key_Escape)
    assert {"cat [scribbles]", "cat [preview]"}.isdisjoint(corrector.names())
    assert corrector.viewer.layers.selection.active is mask
    if accept:
        assert (mask.data[drawn] == 2).all()
        assert np.count_nonzero(mask.data != before) == shown
        mask.undo()
    assert np.array_equal(mask.data, before)


def test_scribbles_leave_strokes_alone(corrector: Corrector, mask: Labels) -> None:
    known = of(mask)
    assert known is not None
    theirs = np.zeros(mask.data.shape, bool)
    theirs[20:130:3] = True  # everywhere, stripe by stripe
    known.correct(mask.data.copy(), theirs=theirs)
    before = mask.data.copy()
    corrector.press("scribble")
    layer = corrector.viewer.layers["cat [scribbles]"]
    scribble(corrector, layer, 76, range(90, 130), scribbles.BACKGROUND)
    drawn = layer.data != 0
    corrector.key(Qt.Key.Key_Enter)
    kept = theirs & ~drawn
    assert np.array_equal(mask.data[kept], before[kept])
    assert (mask.data[drawn] == 0).all()


def test_scribbling_needs_the_encoding(
    corrector: Corrector, mask: Labels, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scribbles.encodings, "get", lambda *_: None)
    corrector.press("scribble")
    assert "not encoded any more" in corrector.said
    assert "cat [scribbles]" not in corrector.names()
    assert len(told) == 1


def test_the_key_n_goes_from_one_unsure_place_to_the_next(
    corrector: Corrector, mask: Labels
) -> None:
    camera = corrector.viewer.scene.camera
    views, places = [], []
    for _ in range(2):
        corrector.key(Qt.Key.Key_N)
        assert "unsure place" in corrector.said
        views.append((camera.center, camera.zoom))
        places.append(corrector.viewer.layers["cat [look here]"].data.copy())
    assert views[0] != views[1]
    assert not (places[0] & places[1]).any()  # the first one was seen
    assert places[0].any()
    assert places[1].any()
    for _ in range(50):
        corrector.key(Qt.Key.Key_N)
        if "was seen" in corrector.said:
            break
    else:
        raise AssertionError("there is no end")
    corrector.press("forget-seen")
    corrector.key(Qt.Key.Key_N)
    assert np.array_equal(corrector.viewer.layers["cat [look here]"].data, places[0])


def test_leaving_takes_the_outlines_of_all_pictures_away(
    corrector: Corrector, mask: Labels, dock: Any
) -> None:
    corrector.key(Qt.Key.Key_N)
    corrector.viewer.add_image(cat()[::2, ::-2], name="other")
    dock.image.setCurrentText("other")
    dock.run()
    other = corrector.viewer.layers["other [refined]"]
    corrector.viewer.layers.selection.active = mask
    corrector.viewer.layers.selection.active = other
    other.mode = "pan_zoom"
    corrector.key(Qt.Key.Key_N)
    assert {"cat [look here]", "other [look here]"} <= set(corrector.names())
    corrector.key(Qt.Key.Key_Escape)
    assert {"cat [look here]", "other [look here]"}.isdisjoint(corrector.names())
    assert corrector.viewer.layers.selection.active is other


@pytest.mark.parametrize("is_there", [True, False])
def test_enter_and_escape_do_naparis_part_too_where_it_is_known(
    corrector: Corrector, mask: Labels, monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    if not is_there:  # as with a napari that has its actions elsewhere
        monkeypatch.setitem(sys.modules, "napari.layers.labels._labels_key_bindings", None)
    spec = importlib.util.find_spec("napari_cliper.widgets.mask_keys")
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))  # it can be loaded at all

    put(mask, square(mask.data.shape, (40, 60, 80, 100)))
    mask.selected_label = 2
    mask.mode = "polygon"
    polygon = mask._overlays["polygon"]
    corners = [[100, 20], [100, 50], [130, 50], [130, 20]]
    polygon.points = corners
    corrector.key(Qt.Key.Key_Enter)
    assert mask.data[115, 35] == (2 if is_there else 0)
    polygon.points = corners
    corrector.key(Qt.Key.Key_Escape)
    assert len(polygon.points) == (0 if is_there else 4)
    polygon.points = []

    mask.mode = "pan_zoom"
    corrector.click(60, 80, mask)
    corrector.key(Qt.Key.Key_Escape)  # our part of it
    assert "cat [region]" not in corrector.names()


def test_painted_places_need_no_look(corrector: Corrector, mask: Labels) -> None:
    known = of(mask)
    assert known is not None
    known.correct(mask.data.copy(), theirs=np.ones(mask.data.shape, bool))
    corrector.key(Qt.Key.Key_N)
    assert "was seen" in corrector.said


def test_agreement_with_the_proposal_and_with_another_mask(
    corrector: Corrector, mask: Labels
) -> None:
    put(mask, square(mask.data.shape, (40, 60, 80, 100)))
    mask.brush_size = 1
    known = of(mask)
    assert known is not None
    known.correct(square(mask.data.shape, (40, 60, 80, 80)))
    corrector.press("compare")
    assert "0.500" in corrector.part(QLabel, "agreement").text()
    assert np.count_nonzero(corrector.viewer.layers["cat [difference]"].data == 2) == 800
    corrector.viewer.add_labels(mask.data.copy(), name="friend")
    corrector.viewer.layers.selection.active = mask
    box = corrector.part(QComboBox, "compare-with")
    box.setCurrentIndex(box.findText("friend"))
    corrector.press("compare")
    assert "100.0% of the pixels agree" in corrector.said
    assert corrector.viewer.layers["cat [difference]"].data.max() == 0


@pytest.mark.parametrize(
    "button", ["fix-preview", "split", "scribble", "next-place", "take-start", "compare"]
)
def test_without_a_mask_every_button_says_what_to_do(
    viewer: Viewer, dock: Any, qtbot: QtBot, told: list[str], button: str
) -> None:
    corrector = Corrector(viewer, qtbot)
    corrector.press("start-fold")
    corrector.press(button)
    assert "segment a picture first" in corrector.said
    assert len(told) == 1


def test_closing_the_dock_leaves_no_outline_and_the_strokes(
    corrector: Corrector, mask: Labels, qtbot: QtBot
) -> None:
    put(mask, square(mask.data.shape, (40, 60, 80, 100)))
    mask.paint((20, 20), 1)
    corrector.part(QCheckBox, "show-yours").setChecked(True)
    mask.selected_label = 1
    box = corrector.part(QComboBox, "fix")
    box.setCurrentIndex(box.findText("Grow"))
    corrector.press("fix-preview")
    corrector.viewer.window.remove_dock_widget(corrector.widget)
    qtbot.wait(150)
    assert [name for name in corrector.names() if "[" in name] == ["cat [coarse]", "cat [refined]"]
    known = of(mask)
    assert known is not None
    assert known.painted.count() > 0
    mask.paint((50, 20), 1)  # nobody listens any more
    qtbot.wait(150)


def test_instances_are_named_after_their_class() -> None:
    from napari_cliper.annotation.class_list import ClassList

    classes = fix_panel.instance_classes(ClassList.parse("a; b")[1], 2)
    assert classes.names == ("b 1", "b 2")
    assert classes.ids == (1, 2)


def test_enter_waits_for_the_last_scribble(corrector: Corrector, mask: Labels) -> None:
    corrector.press("scribble")
    layer = corrector.viewer.layers["cat [scribbles]"]
    scribble(corrector, layer, 60, range(60, 90), 2)
    layer.paint((100, 100), 2)
    drawn = layer.data != 0
    corrector.qtbot.keyClick(corrector.canvas, Qt.Key.Key_Enter)  # before it was followed
    corrector.settle()
    assert "cat [scribbles]" not in corrector.names()
    assert (mask.data[drawn] == 2).all()


def test_a_region_is_given_back_on_its_own_mask_only(corrector: Corrector, mask: Labels) -> None:
    put(mask, square(mask.data.shape, (40, 60, 80, 100)))
    coarse = corrector.viewer.layers["cat [coarse]"]
    coarse.visible = True
    coarse.paint((60, 80), 1)
    known = of(coarse)
    assert known is not None
    count = known.painted.count()
    corrector.viewer.layers.selection.active = mask
    corrector.click(60, 80, mask)
    corrector.viewer.layers.selection.active = coarse
    corrector.press("release-region")
    assert known.painted.count() == count
    assert "No region is chosen" in corrector.said


def test_closing_while_scribbling_leaves_no_dead_layer(
    corrector: Corrector, mask: Labels, qtbot: QtBot
) -> None:
    corrector.press("scribble")
    corrector.viewer.window.remove_dock_widget(corrector.widget)
    qtbot.wait(150)
    assert "cat [scribbles]" not in corrector.names()


def test_a_foreign_layer_that_holds_no_labels_is_told(
    corrector: Corrector, mask: Labels, told: list[str]
) -> None:
    corrector.viewer.add_labels(np.full(mask.data.shape, -1), name="odd")
    corrector.viewer.layers.selection.active = mask
    box = corrector.part(QComboBox, "compare-with")
    box.setCurrentIndex(box.findText("odd"))
    corrector.press("compare")
    assert len(told) == 1
    assert "keep them from 0" in told[0]


def test_a_new_mask_is_the_one_to_correct(viewer: Viewer) -> None:
    """Also where somebody worked on another one before."""
    layers = [viewer.add_image(np.zeros((20, 30), np.uint8), name=name) for name in ("a", "b")]
    shared = workspace.of(viewer)
    classes = ClassList.parse("cat")
    for layer in layers:
        item = labels_layer("refined", np.zeros((20, 30), np.uint16), classes)
        shown = show_mask(viewer, shown_plane(viewer, layer), item, classes)
        assert shared.corrections.mask is shown
        viewer.layers.selection.active = layer
        viewer.layers.selection.active = shown.layer
