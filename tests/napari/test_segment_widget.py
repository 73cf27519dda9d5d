"""The dock widget in a real window: typed words, clicks, and the small preset's real models."""

import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from napari import Viewer
from napari.layers import Image, Labels
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QEvent, Qt, QThreadPool
from qtpy.QtGui import QGuiApplication
from skimage.data import cat

from napari_cliper.annotation.class_list import ClassEntry, ClassList
from napari_cliper.errors import NapariCliperError
from napari_cliper.widgets import segmentation
from napari_cliper.widgets.layers import labels_layer
from napari_cliper.widgets.masks import show_mask
from napari_cliper.widgets.planes import shown_plane

CAT = cat()[::2, ::2]
GREY = CAT.mean(axis=2).astype(np.uint8)


@pytest.fixture
def picture(viewer: Viewer) -> Image:
    return viewer.add_image(
        CAT, name="photo", scale=(0.5, 0.25), translate=(3, 4), rotate=20, units=("mm", "mm")
    )


def start(dock: Any) -> None:
    """Press Segment on a picture that was never seen, and wait until the engine is at it."""
    dock.type("cat")
    dock.viewer.layers[0].data = np.random.default_rng().permutation(CAT)
    dock.click(dock.segment)
    assert not dock.segment.isEnabled()
    assert dock.cancel.isEnabled()
    dock.qtbot.waitUntil(lambda: dock.progress.format() == "Looking at the picture", timeout=60_000)


def test_words_become_two_masks(viewer: Viewer, picture: Image, dock: Any, told: list[str]) -> None:
    offered = [dock.preset.itemData(row) for row in range(dock.preset.count())]
    assert offered == ["auto", "small", "base", "large", "huge"]
    dock.run("cat\nsofa = couch, settee")
    assert told == []
    assert [layer.name for layer in viewer.layers] == ["photo", "photo [coarse]", "photo [refined]"]
    for mask in viewer.layers[1:]:
        assert isinstance(mask, Labels)
        assert mask.editable
        assert mask.data.shape == CAT.shape[:2]
        assert list(mask.features["name"]) == ["background", "cat", "sofa"]
        np.testing.assert_allclose(mask.data_to_world((20, 30)), picture.data_to_world((20, 30)))
        assert mask.units == picture.units
    refined = viewer.layers["photo [refined]"]
    assert (refined.data == 1).mean() > 0.3  # the cat fills most of the photograph
    assert viewer.layers.selection.active is refined  # ready to be painted on
    assert "small on cpu" in dock.status.text()
    assert "cat" in dock.status.text()


def test_segment_again_goes_around_what_was_painted(
    viewer: Viewer, picture: Image, dock: Any
) -> None:
    dock.run("cat")
    coarse, refined = viewer.layers["photo [coarse]"], viewer.layers["photo [refined]"]
    refined.name = "mine"
    refined.mode = "paint"
    refined.paint((10, 10), 7)
    painted = refined.data == 7
    assert painted.any()
    before = refined.data.copy()

    dock.run("cat\ndog")
    assert list(viewer.layers) == [picture, coarse, refined]
    assert list(refined.features["name"]) == ["background", "cat", "dog"]
    assert np.array_equal(refined.data == 7, painted)
    assert (refined.data != before).any()
    refined.undo()  # the whole update is one step
    assert np.array_equal(refined.data, before)
    refined.undo()
    assert not (refined.data == 7).any()


def test_a_stroke_of_the_mouse_stays(viewer: Viewer, picture: Image, dock: Any) -> None:
    dock.run("cat")
    mask = viewer.layers["photo [refined]"]
    viewer.layers.selection = {mask}
    mask.mode, mask.selected_label, mask.brush_size = "paint", 7, 20
    canvas = viewer.window._qt_viewer.canvas.native
    dock.qtbot.mousePress(canvas, Qt.MouseButton.LeftButton, pos=canvas.rect().center())
    dock.qtbot.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=canvas.rect().center())
    painted = mask.data == 7
    assert painted.any()
    dock.run("toaster")
    assert np.array_equal(mask.data == 7, painted)
    assert len(dock.labels("refined")) == 1


def test_ctrl_enter_runs_and_other_keys_type(viewer: Viewer, picture: Image, dock: Any) -> None:
    dock.type("cat\ndog")
    assert dock.classes.toPlainText() == "cat\ndog"
    dock.qtbot.keyClick(dock.classes, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
    assert not dock.segment.isEnabled()
    dock.wait()
    assert len(viewer.layers) == 3
    assert dock.classes.toPlainText() == "cat\ndog"


def test_colours_reach_the_canvas(viewer: Viewer, qtbot: QtBot) -> None:
    picture = viewer.add_image(np.zeros((40, 60), np.uint8))
    plane = shown_plane(viewer, picture)
    for color in [(200, 0, 0), (0, 0, 200)]:
        classes = ClassList(classes=(ClassEntry(id=1, name="cat", color=color),))
        item = labels_layer("refined", np.ones((40, 60), np.uint16), classes)
        mask = show_mask(viewer, plane, item, classes)
        mask.layer.opacity = 1
        qtbot.wait(100)
        canvas = viewer.screenshot(flash=False)
        middle = canvas[canvas.shape[0] // 2, canvas.shape[1] // 2, :3]
        assert middle.tolist() == list(color)
    assert len(viewer.layers) == 2


def test_what_goes_wrong_gets_one_sentence(
    viewer: Viewer,
    dock: Any,
    told: list[str],
    subtests: pytest.Subtests,
) -> None:
    import torch

    def goes_wrong(sentence: str) -> None:
        before, words = list(viewer.layers), dock.classes.toPlainText()
        told.clear()
        dock.run()
        assert len(told) == 1
        assert told[0].startswith("error: ")
        assert sentence in told[0]
        assert "Traceback" not in told[0]
        assert list(viewer.layers) == before
        assert dock.classes.toPlainText() == words

    dock.type("cat")
    with subtests.test("no picture"):
        goes_wrong("Open a picture first")
    for shape, sentence in {(300, 1): "too small", (20, 600): "too long"}.items():
        with subtests.test(sentence):
            dock.clear()
            viewer.add_image(np.zeros(shape, np.uint8))
            goes_wrong(sentence)
    dock.clear()
    viewer.add_image(CAT)
    with subtests.test("a device that is not there"):
        absent = "mps" if torch.cuda.is_available() else "cuda"
        dock.device.choose(absent)
        goes_wrong(absent)
        dock.device.choose("cpu")
    with subtests.test("weights that are not there"):
        dock.preset.setCurrentIndex(dock.preset.findData("huge"))
        goes_wrong("not on this machine")
        dock.preset.setCurrentIndex(dock.preset.findData("small"))
    for words, sentence in {
        "": "no classes",
        "# only a comment": "no classes",
        "cat; Cat": "more than once",
        "cat, dog": "comma",
        "cat " * 900: "cat",  # more than the text tower reads
    }.items():
        with subtests.test(words[:20]):
            dock.classes.setPlainText(words)
            goes_wrong(sentence)
    with subtests.test("the form works as before"):
        told.clear()
        dock.run("cat")
        assert told == []
        assert len(viewer.layers) == 3


def test_what_nobody_foresaw_is_told_too(
    viewer: Viewer, picture: Image, dock: Any, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_cliper.segmenter import Segmenter

    def broken(*args: Any, **keywords: Any) -> Any:
        yield from ()
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(Segmenter, "score_steps", broken)
    dock.run("cat")
    assert len(told) == 1
    assert "CUDA out of memory" in told[0]
    assert list(viewer.layers) == [picture]


def test_fitting_words_are_offered_but_nobodys_are_lost(viewer: Viewer, dock: Any) -> None:
    viewer.open_sample("napari-cliper", "cat")
    assert dock.classes.toPlainText() == "cat"
    viewer.open_sample("napari-cliper", "motorcycle")
    dock.image.setCurrentText("motorcycle")
    assert "motorcycle" in dock.classes.toPlainText()
    dock.type("my own words")
    dock.image.setCurrentText("cat")
    assert dock.classes.toPlainText() == "my own words"


def test_a_dock_opened_on_a_sample_is_filled_in(
    make_napari_viewer: Callable[..., Viewer], qtbot: QtBot
) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.open_sample("napari-cliper", "motorcycle")
    _, widget = viewer.window.add_plugin_dock_widget("napari-cliper", "Segment with text")
    from qtpy.QtWidgets import QComboBox, QPlainTextEdit

    assert widget.findChild(QComboBox, "cliper-image").currentText() == "motorcycle"
    assert "motorcycle" in widget.findChild(QPlainTextEdit, "cliper-classes").toPlainText()


def test_pictures_of_all_kinds(
    viewer: Viewer, dock: Any, told: list[str], subtests: pytest.Subtests
) -> None:
    kinds: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
        "RGBA": (np.dstack([CAT, np.full(GREY.shape, 255, np.uint8)]), {"rgb": True}),
        "grey": (GREY, {}),
        "16 bits": (GREY * np.uint16(257), {"contrast_limits": (0, 65535)}),
        "stack": (np.stack([np.zeros_like(GREY), GREY]), {}),
        "big-endian": (GREY.astype(">i4") - 100, {"contrast_limits": (-100, 155)}),
        "half precision": ((GREY / 255).astype(np.float16), {}),
        "yes and no": (GREY > 100, {}),
        "constant": (np.full_like(GREY, 7), {}),
        "holes": (np.where(GREY > 200, np.nan, GREY / 255), {"contrast_limits": (0, 1)}),
    }
    for kind, (pixels, options) in kinds.items():
        with subtests.test(kind):
            dock.clear()
            viewer.add_image(pixels, name="photo", **options)
            viewer.dims.set_point(0, viewer.dims.range[0].stop)  # a stack's last plane
            dock.run("cat")
            assert told == []
            mask = viewer.layers["photo [refined]"]
            assert mask.data.shape == pixels.shape[: mask.ndim]
            odd = np.count_nonzero(~np.isfinite(pixels))
            assert (f"{odd:,} values are not finite" in dock.status.text()) == (odd > 0)


def test_the_window_is_free_while_the_engine_runs(
    picture: Image, dock: Any, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_cliper.segmenter import Segmenter

    threads = []
    real = Segmenter.encode_steps

    def watched(self: Segmenter, image: Any, inspect: bool = False) -> Any:
        steps = real(self, image, inspect)
        while True:
            threads.append(threading.current_thread())
            try:
                step = next(steps)
            except StopIteration as stop:
                return stop.value
            yield step

    monkeypatch.setattr(Segmenter, "encode_steps", watched)
    start(dock)
    dock.wait()
    assert len(threads) > 3
    assert threading.main_thread() not in threads


def test_cancel_answers_at_once_and_adds_nothing(
    viewer: Viewer, picture: Image, dock: Any, told: list[str]
) -> None:
    assert not dock.cancel.isEnabled()
    dock.type("cat")
    picture.data = CAT[::-1].copy()  # not the picture whose encoding is kept
    dock.click(dock.segment)
    assert dock.cancel.isEnabled()
    dock.qtbot.waitUntil(lambda: dock.progress.format() == "Looking at the picture", timeout=60_000)
    dock.click(dock.cancel)
    assert dock.progress.format() == "Cancelling…"
    assert not dock.cancel.isEnabled()
    dock.wait()
    assert list(viewer.layers) == [picture]
    assert told == []
    dock.run()  # and the form works as before
    assert len(viewer.layers) == 3


def test_the_picture_may_be_renamed_meanwhile(viewer: Viewer, picture: Image, dock: Any) -> None:
    start(dock)
    picture.name = "renamed"
    picture.scale = (1, 1)
    dock.wait()
    assert [layer.name for layer in viewer.layers] == [
        "renamed",
        "photo [coarse]",
        "photo [refined]",
    ]
    assert tuple(viewer.layers[-1].scale) == (0.5, 0.25)  # as it was when Segment was pressed
    dock.run()
    assert len(viewer.layers) == 3
    assert tuple(viewer.layers[-1].scale) == (1, 1)


def test_the_picture_may_be_deleted_meanwhile(
    viewer: Viewer, picture: Image, dock: Any, told: list[str]
) -> None:
    start(dock)
    viewer.layers.remove(picture)
    dock.wait()
    assert [layer.name for layer in viewer.layers] == ["photo [coarse]", "photo [refined]"]
    assert told == []


def test_a_hidden_dock_goes_on(viewer: Viewer, picture: Image, dock: Any) -> None:
    start(dock)
    dock.widget.parent().close()
    dock.wait()
    assert len(viewer.layers) == 3


def test_the_dock_may_be_closed_meanwhile(
    viewer: Viewer, picture: Image, dock: Any, told: list[str], qtbot: QtBot
) -> None:
    start(dock)
    viewer.window.remove_dock_widget(dock.widget)
    assert QThreadPool.globalInstance().waitForDone(20_000)
    qtbot.wait(100)
    assert list(viewer.layers) == [picture]
    assert told == []


def test_docks_take_turns(viewer: Viewer, picture: Image, dock: Any) -> None:
    dock.type("cat")
    with segmentation._turn:  # as another window's job does
        dock.click(dock.segment)
        dock.qtbot.waitUntil(lambda: dock.progress.format().startswith("Waiting"), timeout=60_000)
        dock.click(dock.cancel)
        dock.wait()
    assert list(viewer.layers) == [picture]
    assert segmentation._turn.acquire(timeout=1)  # a job that gave up waiting does not hold it
    segmentation._turn.release()


def test_the_window_may_be_closed_meanwhile(
    make_napari_viewer: Callable[..., Viewer], viewer: Viewer, picture: Image, dock: Any
) -> None:
    start(dock)
    viewer.close()
    assert QThreadPool.globalInstance().waitForDone(20_000)
    QGuiApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


def test_the_choice_of_auto_is_explained(
    picture: Image, dock: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    dock.preset.setCurrentIndex(dock.preset.findData("auto"))
    dock.run("cat")
    assert "small on cpu" in dock.status.text()
    assert "CLIP" in dock.status.text()


def test_another_method_on_the_same_models(
    viewer: Viewer, picture: Image, dock: Any, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dock.run("cat")
    usual = viewer.layers["photo [refined]"].data.copy()
    names = [dock.method.itemData(row) for row in range(dock.method.count())]
    assert names[0] == "cliper"
    assert {"clip", "maskclip", "sclip", "clearclip", "proxyclip", "cliper-star"} <= set(names)
    loaded = next(iter(segmentation._segmenters.values()))
    dock.method.setCurrentIndex(names.index("sclip"))
    dock.run("cat")
    assert told == []
    (now,) = segmentation._segmenters.values()
    assert now.engine.image_encoder is loaded.engine.image_encoder
    assert now.engine.settings.attention == "query-query+key-key"
    assert (viewer.layers["photo [refined]"].data != usual).any()


def test_classes_that_are_known_to_be_there_are_kept(
    viewer: Viewer, picture: Image, dock: Any, told: list[str]
) -> None:
    words = "cat\ntoaster\nviolin"
    dock.run(words)
    assert told == []
    before = set(np.unique(viewer.layers["photo [refined]"].data))
    dock.all_present.setChecked(True)
    dock.run(words)
    after = set(np.unique(viewer.layers["photo [refined]"].data))
    assert before < after


def test_what_a_download_would_fetch_is_told_before(dock: Any) -> None:
    dock.preset.setCurrentIndex(dock.preset.findData("large"))
    assert dock.terms.isHidden()
    dock.download.setChecked(True)
    assert not dock.terms.isHidden()
    for said in ("6.9 GB in all", "5.2 GB", "CreativeML Open RAIL++-M", "sd2-community"):
        assert said in dock.terms.text()
    dock.method.setCurrentIndex(dock.method.findData("clip"))
    assert "sd2-community" not in dock.terms.text()
    dock.preset.setCurrentIndex(dock.preset.findData("auto"))
    assert "0.2 GB in all" in dock.terms.text()
    dock.download.setChecked(False)
    assert dock.terms.isHidden()


def test_other_models_are_gone_before_new_ones_are_loaded(
    picture: Image, dock: Any, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_cliper import segmenter

    dock.run("cat")
    old = weakref.ref(next(iter(segmentation._segmenters.values())))
    alive: list[bool] = []

    def load_steps(*args: Any, **keywords: Any) -> Any:
        gc.collect()
        alive.append(old() is not None)
        raise NapariCliperError("It went no further.")
        yield

    monkeypatch.setattr(segmenter, "load_steps", load_steps)
    dock.preset.setCurrentIndex(dock.preset.findData("base"))
    dock.run()
    assert alive == [False]
    assert len(told) == 1
