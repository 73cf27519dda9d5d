"""The sliders, dragged with the mouse, and words that are changed on an encoded picture."""

from typing import Any

import numpy as np
import pytest
from napari import Viewer
from napari.layers import Image
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QSlider
from skimage.data import cat
from superqt import QLabeledDoubleSlider

from napari_cliper.segmenter import Segmenter
from napari_cliper.widgets import segmentation
from napari_cliper.widgets.masks import of

CAT = cat()[::2, ::2]


@pytest.fixture
def picture(viewer: Viewer) -> Image:
    return viewer.add_image(CAT, name="photo")


def refined(viewer: Viewer) -> Any:
    return viewer.layers["photo [refined]"]


class Drag:
    """The mouse on a slider's handle."""

    def __init__(self, dock: Any, name: str) -> None:
        self.dock = dock
        self.slider = dock.part(QLabeledDoubleSlider, name)
        self.inner = self.slider.findChild(QSlider)
        self.dock.part(QLabeledDoubleSlider, name).ensurePolished()

    def place(self, value: float) -> QPoint:
        handle = 8
        room = self.inner.width() - 2 * handle
        return QPoint(round(handle + value * room), self.inner.height() // 2)

    def press(self) -> None:
        self.dock.qtbot.mousePress(
            self.inner, Qt.MouseButton.LeftButton, pos=self.place(self.slider.value())
        )
        assert self.slider.isSliderDown()

    def move(self, value: float) -> None:
        self.dock.qtbot.mouseMove(self.inner, self.place(value))
        self.dock.settle()

    def release(self) -> None:
        self.dock.qtbot.mouseRelease(
            self.inner, Qt.MouseButton.LeftButton, pos=self.place(self.slider.value())
        )
        self.dock.settle()


@pytest.mark.parametrize(
    ("name", "values"),
    [("background", (0.7, 0.95)), ("presence", (0.1, 0.0)), ("refinement", (0.5, 0.0))],
)
def test_the_mask_follows_the_drag_and_one_undo_takes_it_back(
    viewer: Viewer,
    picture: Image,
    dock: Any,
    told: list[str],
    name: str,
    values: tuple[float, float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dock.run("cat\ntoaster")
    for attribute in ("encode_steps", "score_steps", "word_steps"):
        monkeypatch.delattr(Segmenter, attribute)  # no model is run from here on
    mask = refined(viewer)
    mask.brush_size = 20
    mask.paint((60, 60), 7)
    painted, before = mask.data == 7, mask.data.copy()
    assert painted.any()
    drag = Drag(dock, name)
    drag.press()
    seen = [before]
    for value in values:
        drag.move(value)
        seen.append(mask.data.copy())
    assert (seen[-1] != before).any()
    assert (mask.data == 7).sum() == painted.sum()
    drag.release()
    after = mask.data.copy()
    assert np.array_equal(after == 7, painted)
    mask.undo()
    assert np.array_equal(mask.data, before)
    mask.redo()
    assert np.array_equal(mask.data, after)
    mask.undo()
    mask.undo()
    assert not (mask.data == 7).any()  # and then the stroke
    assert told == []


def test_no_refinement_is_the_coarse_mask(viewer: Viewer, picture: Image, dock: Any) -> None:
    dock.run("cat\nsofa")
    coarse = viewer.layers["photo [coarse]"].data.copy()
    assert (refined(viewer).data != coarse).any()
    slider = dock.part(QLabeledDoubleSlider, "refinement")
    slider.setValue(0)
    dock.settle()
    assert np.array_equal(refined(viewer).data, coarse)
    assert np.array_equal(viewer.layers["photo [coarse]"].data, coarse)


def test_a_step_by_the_keyboard_counts_too(viewer: Viewer, picture: Image, dock: Any) -> None:
    dock.run("cat")
    before = refined(viewer).data.copy()
    slider = dock.part(QLabeledDoubleSlider, "background")
    for _ in range(20):
        dock.qtbot.keyClick(slider, Qt.Key.Key_Right)
    dock.settle()
    after = refined(viewer).data.copy()
    assert 0 < (after > 0).sum() < (before > 0).sum()
    refined(viewer).undo()
    assert np.array_equal(refined(viewer).data, before)


def test_reset_goes_back_to_the_presets_defaults(viewer: Viewer, picture: Image, dock: Any) -> None:
    sliders = {
        name: dock.part(QLabeledDoubleSlider, name)
        for name in ("presence", "background", "refinement")
    }
    usual = {name: slider.value() for name, slider in sliders.items()}
    assert usual == {"presence": 0.3, "background": 0.5, "refinement": 1.0}
    dock.run("cat")
    before = refined(viewer).data.copy()
    for slider in sliders.values():
        slider.setValue(0.9)
    dock.settle()
    assert (refined(viewer).data != before).any()
    dock.click(dock.reset)
    dock.settle()
    assert {name: slider.value() for name, slider in sliders.items()} == usual
    assert np.array_equal(refined(viewer).data, before)


def test_another_preset_s_defaults_show_where_nobody_moved(dock: Any) -> None:
    presence = dock.part(QLabeledDoubleSlider, "presence")
    background = dock.part(QLabeledDoubleSlider, "background")
    background.setValue(0.25)
    dock.preset.setCurrentIndex(dock.preset.findData("base"))
    assert presence.value() == 0.7
    assert background.value() == 0.25
    dock.click(dock.reset)
    assert background.value() == 0.6


def test_sliders_before_any_run_count_in_it(viewer: Viewer, picture: Image, dock: Any) -> None:
    dock.part(QLabeledDoubleSlider, "presence").setValue(0.0)
    dock.settle()
    dock.run("cat\ntoaster")
    assert refined(viewer).data.max() == 2
    dock.click(dock.reset)
    dock.settle()
    assert refined(viewer).data.max() == 1


def test_a_word_more_encodes_that_word_only(
    viewer: Viewer, picture: Image, dock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_cliper.cliper import CLIPer

    dock.run("cat")
    assert dock.encoded.text() == "encoded"
    asked: list[str] = []
    real = CLIPer.encode_text

    def encode_text(self: CLIPer, prompts: Any, templates: Any) -> Any:
        asked.extend(prompts)
        return real(self, prompts, templates)

    monkeypatch.setattr(CLIPer, "encode_text", encode_text)
    monkeypatch.delattr(CLIPer, "encode")
    dock.type("cat\nceramic mug")
    dock.classes.clearFocus()
    dock.widget.window().activateWindow()
    dock.classes.setFocus()
    dock.qtbot.waitUntil(dock.classes.hasFocus)
    dock.qtbot.keyClick(dock.classes, Qt.Key.Key_Tab)
    dock.wait()
    assert asked == ["ceramic mug"]
    assert list(refined(viewer).features["name"]) == ["background", "cat", "ceramic mug"]


def test_the_mark_knows_when_the_pixels_changed(viewer: Viewer, picture: Image, dock: Any) -> None:
    def marked(text: str) -> None:
        dock.qtbot.waitUntil(lambda: dock.encoded.text() == text, timeout=60_000)

    segmentation.encodings.clear()
    picture.refresh()
    dock.settle()
    assert dock.encoded.text() == ""
    dock.run("cat")
    marked("encoded")
    pixels = picture.data.copy()
    picture.data = pixels[::-1].copy()
    marked("changed")
    picture.data = pixels.copy()
    marked("encoded")
    picture.data[:20] = 0  # in place
    picture.refresh()
    marked("changed")
    picture.data[:] = pixels
    picture.refresh()
    marked("encoded")
    dock.method.setCurrentIndex(dock.method.findData("clip"))
    dock.settle()
    assert dock.encoded.text() == "changed"


def test_words_on_a_changed_picture_wait_for_segment(
    viewer: Viewer, picture: Image, dock: Any
) -> None:
    dock.run("cat")
    before = refined(viewer).data.copy()
    picture.data = picture.data[::-1].copy()
    dock.settle()
    dock.widget._classes.take(dock.widget._classes.classes.parse("cat\ndog"))
    dock.wait()
    assert np.array_equal(refined(viewer).data, before)


def test_sliders_move_the_shown_picture_only(viewer: Viewer, picture: Image, dock: Any) -> None:
    dock.run("cat")
    other = viewer.add_image(CAT[:, ::-1], name="other")
    dock.image.setCurrentText("other")
    dock.run()
    first, second = refined(viewer).data.copy(), viewer.layers["other [refined]"].data.copy()
    dock.part(QLabeledDoubleSlider, "background").setValue(0.95)
    dock.settle()
    assert np.array_equal(refined(viewer).data, first)
    assert (viewer.layers["other [refined]"].data != second).any()
    viewer.layers.remove(other)
    dock.settle()
    assert dock.image.currentText() == "photo"


def test_layers_may_go_while_a_slider_is_dragged(
    viewer: Viewer, picture: Image, dock: Any, told: list[str]
) -> None:
    dock.run("cat")
    drag = Drag(dock, "background")
    drag.press()
    drag.move(0.8)
    viewer.layers.remove("photo [refined]")
    drag.move(0.2)
    drag.release()
    assert told == []
    assert [layer.name for layer in viewer.layers] == ["photo", "photo [coarse]"]
    dock.run()
    assert of(refined(viewer)) is not None


def test_moved_sliders_stay_for_a_picture_that_nothing_was_found_on(
    viewer: Viewer, dock: Any
) -> None:
    viewer.add_image(cat()[::2, ::2], name="first")
    dock.part(QLabeledDoubleSlider, "background").setValue(0.7)
    dock.settle()
    viewer.add_image(cat()[::3, ::3], name="second")
    dock.image.setCurrentText("second")
    dock.settle()
    assert dock.part(QLabeledDoubleSlider, "background").value() == 0.7
