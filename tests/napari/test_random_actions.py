"""An impatient person: whatever is clicked in whatever order, nothing breaks, no stroke is lost."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from napari import Viewer
from napari.layers import Image, Labels
from numpy.typing import NDArray
from pytestqt.exceptions import capture_exceptions
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QPushButton, QToolButton
from skimage.data import cat
from superqt import QLabeledDoubleSlider

from napari_cliper.files.session import load_session
from napari_cliper.widgets import class_table, segment_widget, sessions
from napari_cliper.widgets.class_table import Column
from napari_cliper.widgets.corrections import Corrections
from napari_cliper.widgets.layers import KEY
from napari_cliper.widgets.masks import Mask, of

EXAMPLES = int(os.environ.get("CLIPER_RANDOM_EXAMPLES", "6"))
STEPS = 25
CAT = cat()[::4, ::4]
PICTURES = [CAT, CAT[::-1], CAT[:, ::-1].mean(axis=2), np.stack([CAT[..., 0], CAT[..., 1]])]
WORDS = [
    "cat", "cat\ndog", "dog\ncat\nsofa = couch", "toaster", "cat; cat", "", "# nothing", "=",
    "a\nb\nc\nd", "dog\nsofa", "cat = kitty  # comment\n\nblanket",
]  # fmt: skip
BRUSH = 25
NOBODY = -1


class Person(RuleBasedStateMachine):
    """Does things to the dock, and remembers every pixel that it painted."""

    viewer: Viewer
    dock: Any

    def __init__(self) -> None:
        super().__init__()
        self.painted: dict[Labels, NDArray[np.int64]] = {}  # the label, or NOBODY
        self.dock.cancel.isEnabled() and self.dock.click(self.dock.cancel)
        self.dock.wait()
        self.dock.clear()
        assert self.corrections.region is None
        assert self.corrections.change is None
        self.dock.widget._classes.take(None)
        self.dock.classes.clear()
        self.caught_with = capture_exceptions()
        self.caught = self.caught_with.__enter__()

    def teardown(self) -> None:
        self.caught_with.__exit__(None, None, None)

    # What is there

    @property
    def masks(self) -> list[Labels]:
        return [layer for layer in self.viewer.layers if of(layer) is not None]

    @property
    def idle(self) -> bool:
        return self.dock.segment.isEnabled()

    @property
    def corrections(self) -> Corrections:
        shared: Corrections = self.dock.widget._workspace.corrections
        return shared

    def pick_mask(self, number: int) -> Mask | None:
        """A mask whose layer can be seen and worked on."""
        shown = [layer for layer in self.masks if layer.visible]
        if not shown or self.viewer.dims.ndim > 2:
            return None
        return of(self.pick(shown, number))

    def remember(self, layer: Labels, where: NDArray[np.bool_], labels: Any) -> None:
        """Pixels are the person's with these labels, until further notice."""
        theirs = self.painted.setdefault(layer, np.full(layer.data.shape, NOBODY))
        theirs[where] = np.broadcast_to(labels, where.shape)[where]

    def forget(self, layer: Labels, where: NDArray[np.bool_]) -> None:
        if layer in self.painted:
            self.painted[layer][where] = NOBODY

    def pick(self, things: list[Any], number: int) -> Any:
        return things[number % len(things)]

    # Pictures and layers

    @initialize()
    def begin(self) -> None:
        self.viewer.add_image(CAT, name="photo")
        self.segment_anew("cat\ndog")
        for y, x, label in ((30, 40, 2), (60, 80, 0)):  # there is always something to lose
            self.paint(0, y, x, label)
            self.paint(1, y, x, label)

    @rule(number=st.integers(0, len(PICTURES) - 1))
    def open_a_picture(self, number: int) -> None:
        if not (len(self.viewer.layers) < 9):
            return
        self.viewer.add_image(PICTURES[number], rgb=PICTURES[number].shape[-1] == 3)

    @rule(number=st.integers(0, 9), name=st.sampled_from(["mine", "photo", "x [refined]"]))
    def rename_a_layer(self, number: int, name: str) -> None:
        if not (self.viewer.layers):
            return
        self.pick(list(self.viewer.layers), number).name = name

    @rule(number=st.integers(0, 9))
    def delete_a_layer(self, number: int) -> None:
        if not (self.viewer.layers):
            return
        layer = self.pick(list(self.viewer.layers), number)
        if layer in self.viewer.layers:
            self.viewer.layers.remove(layer)
        self.painted.pop(layer, None)
        self.dock.qtbot.wait(50)

    @rule(number=st.integers(0, 9))
    def choose_a_layer(self, number: int) -> None:
        if not (self.viewer.layers):
            return
        self.viewer.layers.selection.active = self.pick(list(self.viewer.layers), number)

    @rule(number=st.integers(0, 9))
    def hide_or_show_a_layer(self, number: int) -> None:
        if not (self.viewer.layers):
            return
        layer = self.pick(list(self.viewer.layers), number)
        layer.visible = not layer.visible

    @rule(number=st.integers(0, 9))
    def change_the_pixels(self, number: int) -> None:
        if not (any(isinstance(layer, Image) for layer in self.viewer.layers)):
            return
        images = [layer for layer in self.viewer.layers if isinstance(layer, Image)]
        layer = self.pick(images, number)
        layer.data = layer.data[..., ::-1, :, :] if layer.rgb else layer.data[..., ::-1, :]

    @rule(number=st.integers(0, 9))
    def choose_a_picture(self, number: int) -> None:
        if self.dock.image.count():
            self.dock.image.setCurrentIndex(number % self.dock.image.count())

    @rule(place=st.integers(0, 2))
    def move_the_slider_of_a_stack(self, place: int) -> None:
        if self.viewer.dims.ndim > 2:
            self.viewer.dims.set_point(0, place)

    # Strokes

    @rule(
        number=st.integers(0, 9),
        y=st.integers(0, 74),
        x=st.integers(0, 112),
        label=st.integers(0, 4),
    )
    def paint(self, number: int, y: int, x: int, label: int) -> None:
        if not (self.masks):
            return
        layer = self.pick(self.masks, number)
        if not layer.visible or self.viewer.dims.ndim > 2:
            return
        layer.brush_size = BRUSH
        layer.paint((y, x), label)
        # Whether it was there already or not.
        self.remember(layer, under_the_brush(layer, (y, x)), label)

    @rule(
        number=st.integers(0, 9),
        y=st.integers(0, 74),
        x=st.integers(0, 112),
        label=st.integers(0, 4),
        polygon=st.booleans(),
    )
    def fill_or_draw_a_polygon(
        self, number: int, y: int, x: int, label: int, polygon: bool
    ) -> None:
        mask = self.pick_mask(number)
        if mask is None:
            return
        layer = mask.layer
        before = layer.data.copy()
        if polygon:
            corners = [(y, x), (y, x + 15), (y + 15, x + 15)]
            layer.paint_polygon(corners, label)
            blank = blank_like(layer)
            blank.paint_polygon(corners, 1)
            self.remember(layer, blank.data == 1, label)
        else:
            layer.fill((y, x), label)
            self.remember(layer, layer.data != before, label)

    @rule(number=st.integers(0, 9), redo=st.booleans())
    def undo_or_redo(self, number: int, redo: bool) -> None:
        if not (self.masks):
            return
        layer = self.pick(self.masks, number)
        self.dock.settle()  # else an update may come right after, and take the blame
        before = layer.data.copy()
        layer.redo() if redo else layer.undo()
        self.forget(layer, layer.data != before)

    # Corrections

    @rule(number=st.integers(0, 9), y=st.integers(0, 74), x=st.integers(0, 112))
    def choose_a_region(self, number: int, y: int, x: int) -> None:
        mask = self.pick_mask(number)
        if mask is not None:
            height, width = mask.layer.data.shape
            self.corrections.choose(mask, (y % height, x % width))
            assert self.corrections.region is not None

    @rule(number=st.integers(0, 9), key=st.integers(0, 4))
    def press_a_class_key(self, number: int, key: int) -> None:
        mask = self.pick_mask(number)
        if mask is None or key > len(mask.classes):
            return
        id_ = mask.classes[key - 1].id if key else 0
        region = self.corrections.region
        before = mask.layer.data.copy()
        self.corrections.press_class(mask, id_)
        if self.corrections.region is None and region is not None:
            self.remember(mask.layer, region, id_)
        else:
            assert np.array_equal(mask.layer.data, before)
            assert mask.layer.selected_label == id_

    @rule(
        number=st.integers(0, 9),
        y=st.integers(0, 74),
        x=st.integers(0, 112),
        label=st.integers(0, 4),
    )
    def show_a_change(self, number: int, y: int, x: int, label: int) -> None:
        mask = self.pick_mask(number)
        if mask is None:
            return
        labels = mask.layer.data.copy()
        labels[y : y + 30, x : x + 30] = label
        where = (labels != mask.layer.data) & ~mask.painted.mask  # as the fixes do
        self.corrections.show(mask, labels, where)

    @rule(accept=st.booleans())
    def accept_or_drop_the_change(self, accept: bool) -> None:
        change = self.corrections.change
        if not accept:
            self.corrections.drop()
        elif change is not None:
            self.corrections.accept()
            self.remember(change.mask.layer, change.where, change.labels)
        assert self.corrections.change is None

    @rule(number=st.integers(0, 9))
    def give_all_back(self, number: int) -> None:
        if not self.masks:
            return
        layer = self.pick(self.masks, number)
        known = of(layer)
        known.release(np.ones(layer.data.shape, bool))
        assert known.painted.count() == 0
        self.painted.pop(layer, None)

    @rule()
    def save(self) -> None:
        """What is written is what is there."""
        self.dock.settle()
        saving = self.dock.widget.sessions
        before = {layer: of(layer).revision for layer in self.masks}
        saving.autosave()
        self.dock.qtbot.waitUntil(lambda: saving.idle)
        for layer in self.masks:
            mask = of(layer)
            folder = saving._kept.folders.get(mask.plane.key)
            assert folder is not None or not mask.painted.count()
            if folder is None or mask.revision != before[layer]:
                continue
            loaded = load_session(folder)
            kept = {
                saved.role: maps
                for saved, maps in zip(loaded.session.masks, loaded.maps, strict=True)
            }[layer.metadata[KEY]["role"]]
            assert np.array_equal(kept.labels, layer.data)
            assert np.array_equal(kept.protected, mask.painted.mask)

    # Words and classes

    @rule(words=st.sampled_from(WORDS))
    def type_words(self, words: str) -> None:
        self.dock.classes.setPlainText(words)

    @rule()
    def leave_the_text(self) -> None:
        self.dock.classes.left.emit()

    @rule(
        number=st.integers(0, 4),
        column=st.sampled_from([Column.NAME, Column.SYNONYMS]),
        text=st.sampled_from(["cat", "bird", "dog, hound", "", "x = y", "kitty"]),
    )
    def edit_the_table(self, number: int, column: Column, text: str) -> None:
        if not (self.dock.table.classes.rowCount()):
            return
        model = self.dock.table.classes
        row = number % model.rowCount()
        model.setData(model.index(row, column), text, Qt.ItemDataRole.EditRole)

    @rule(number=st.integers(0, 4))
    def hide_a_class(self, number: int) -> None:
        if not (self.dock.table.classes.rowCount()):
            return
        model = self.dock.table.classes
        index = model.index(number % model.rowCount(), Column.VISIBLE)
        model.setData(index, None, Qt.ItemDataRole.CheckStateRole)

    @rule(number=st.integers(0, 4), color=st.tuples(*[st.integers(0, 255)] * 3))
    def recolor_a_class(self, number: int, color: tuple[int, int, int]) -> None:
        if not (self.dock.table.classes.rowCount()):
            return
        row = number % self.dock.table.classes.rowCount()
        self.dock.table.recolored.emit(self.dock.table.classes.entry(row).id, color)

    @rule()
    def add_a_class(self) -> None:
        self.dock.click(self.dock.part(QToolButton, "add-class"))

    @rule(number=st.integers(0, 4), answer=st.sampled_from([None, 0, 1]))
    def remove_a_class(self, number: int, answer: int | None) -> None:
        if not (self.dock.table.classes.rowCount()):
            return
        self.dock.settle()
        before = {layer: layer.data.copy() for layer in self.masks}
        Answer.answer = answer
        row = number % self.dock.table.classes.rowCount()
        id_ = self.dock.table.classes.entry(row).id
        self.dock.table.selectRow(row)
        self.dock.click(self.dock.part(QToolButton, "remove-class"))
        if answer is not None:  # its pixels were given away by the person
            for layer, data in before.items():
                self.forget(layer, data == id_)

    # The run

    @rule(label=st.integers(0, 4), words=st.sampled_from(WORDS))
    def paint_while_the_run_ends(self, label: int, words: str) -> None:
        """Hold the brush down on a mask until the new masks are there."""
        masks = [layer for layer in self.masks if layer.visible]
        if not masks or self.viewer.dims.ndim > 2:
            return
        layer = masks[-1]
        painted = of(layer).painted
        before = painted.mask.copy()
        layer.brush_size = BRUSH
        with layer.block_history():  # as napari does from pressing the button to letting it go
            layer.paint((30, 50), label)
            self.dock.classes.setPlainText(words)
            self.dock.click(self.dock.segment)
            self.dock.wait()
            layer.paint((40, 60), label)
        theirs = under_the_brush(layer, (30, 50), (40, 60))
        self.remember(layer, theirs, label)
        self.dock.qtbot.wait(100)
        assert not (painted.mask & ~before & ~theirs).any()  # the update is not the person's

    @rule(words=st.sampled_from(WORDS))
    def segment_anew(self, words: str) -> None:
        self.dock.classes.setPlainText(words)
        self.dock.click(self.dock.segment)
        self.dock.wait()

    @rule()
    def press_segment(self) -> None:
        self.dock.click(self.dock.segment)

    @rule()
    def press_cancel(self) -> None:
        self.dock.click(self.dock.cancel)

    @rule(milliseconds=st.sampled_from([0, 30, 300]))
    def wait(self, milliseconds: int) -> None:
        self.dock.qtbot.wait(milliseconds)

    @rule()
    def wait_for_the_end(self) -> None:
        self.dock.wait()

    @rule(
        name=st.sampled_from(["presence", "background", "refinement"]),
        values=st.lists(st.floats(0, 1), min_size=1, max_size=3),
        release=st.booleans(),
    )
    def drag(self, name: str, values: list[float], release: bool) -> None:
        slider = self.dock.part(QLabeledDoubleSlider, name)
        slider.setSliderDown(True)
        for value in values:
            slider.setValue(value)
            self.dock.qtbot.wait(40)
        if release:
            slider.setSliderDown(False)

    @rule()
    def reset(self) -> None:
        self.dock.click(self.dock.reset)

    @rule(method=st.sampled_from(["cliper", "clip", "cliper-star"]))
    def choose_a_method(self, method: str) -> None:
        self.dock.method.setCurrentIndex(self.dock.method.findData(method))

    # The other dock

    @rule()
    def open_or_close_the_inspector(self) -> None:
        self.dock.click(self.dock.inspect)

    @rule(name=st.sampled_from(["look", "group", "pinned", "received", "uncertainty", "scores"]))
    def press_in_the_inspector(self, name: str) -> None:
        if not (self.dock.inspect.isChecked()):
            return
        if len(self.viewer.layers) < 12:
            window = self.dock.widget.window()
            self.dock.click(window.findChild(QPushButton, f"cliper-{name}"))

    @rule(number=st.integers(0, 40))
    def choose_an_attention(self, number: int) -> None:
        if not (self.dock.inspect.isChecked()):
            return
        box = self.dock.widget.window().findChild(QComboBox, "cliper-view")
        if box.count():
            box.setCurrentIndex(number % box.count())

    @rule(y=st.integers(0, 400), x=st.integers(0, 400), click=st.booleans())
    def move_the_mouse(self, y: int, x: int, click: bool) -> None:
        canvas = self.viewer.window._qt_viewer.canvas.native
        place = canvas.rect().center()
        place.setX(place.x() - 200 + x)
        place.setY(place.y() - 200 + y)
        self.dock.qtbot.mouseMove(canvas, place)
        active = self.viewer.layers.selection.active
        if click and getattr(active, "mode", "pan_zoom") == "pan_zoom":
            self.dock.qtbot.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=place)

    # What must hold

    @invariant()
    def nothing_broke(self) -> None:
        assert not self.caught, self.caught[0][1]
        assert "Something went wrong" not in self.dock.status.text()

    @invariant()
    def every_stroke_is_there(self) -> None:
        for layer, theirs in self.painted.items():
            kept = (theirs == NOBODY) | (theirs == layer.data)
            assert kept.all(), (layer.name, np.argwhere(~kept)[0])
            known = of(layer)
            assert known.painted.mask[theirs != NOBODY].all(), layer.name


def blank_like(layer: Labels) -> Labels:
    """A layer to try things on that are done to this one."""
    blank = Labels(np.zeros(layer.data.shape, np.uint8), scale=layer.scale)
    blank.brush_size = layer.brush_size
    return blank


def under_the_brush(layer: Labels, *places: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels that a stroke there goes over."""
    blank = blank_like(layer)
    for place in places:
        blank.paint(place, 1)
    over: NDArray[np.bool_] = blank.data == 1
    return over


class Answer:
    """In place of the dialog that asks about a class's pixels."""

    answer: int | None = None

    def __init__(self, entry: Any, classes: Any, *args: Any) -> None:
        self._others = [0, *(other.id for other in classes if other.id != entry.id)]

    def exec(self) -> bool:
        return Answer.answer is not None

    @property
    def chosen(self) -> int:
        return self._others[min(Answer.answer or 0, len(self._others) - 1)]


def test_an_impatient_person_breaks_nothing_and_loses_nothing(
    viewer: Viewer,
    dock: Any,
    monkeypatch: pytest.MonkeyPatch,
    told: list[str],
    tmp_path: Path,
) -> None:
    Answer.answer = None
    monkeypatch.setattr(sessions, "usual_folder", lambda: tmp_path)
    monkeypatch.setattr(segment_widget, "RemovalDialog", Answer)
    monkeypatch.setattr(class_table.ClassTable, "edit_name", lambda *_: None)
    # Nothing is drawn on the canvas: under Mesa, napari alone ends in a segmentation fault soon
    # after an Image layer was removed, without a line of ours.
    viewer.window._qt_viewer.canvas.native.setUpdatesEnabled(False)
    Person.viewer, Person.dock = viewer, dock
    run_state_machine_as_test(
        Person,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize="CLIPER_RANDOM_EXAMPLES" not in os.environ,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],  # timing is part of it: what failed may not fail again
        ),
    )
    dock.wait()
    dock.clear()
