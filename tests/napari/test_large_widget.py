"""The dock “Segment large pictures” in a real window."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask.array
import numpy as np
import pytest
import zarr
from napari import Viewer
from napari.layers import Image as Picture
from napari.layers import Labels
from PIL import Image
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt, QThreadPool
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QLabel,
    QLineEdit,
    QPushButton,
    QSpinBox,
)
from skimage.data import cat

import napari_cliper as nc
from lazy_arrays import Watched
from napari_cliper.files.layer_data import CLASSES, KEY
from napari_cliper.models import presets
from napari_cliper.segmenter import Segmenter
from napari_cliper.tiles import stored
from napari_cliper.widgets import LargeWidget, SegmentWidget, large_run, masks, segmentation
from napari_cliper.widgets.large_run import placement, usual_output
from napari_cliper.widgets.planes import placement_of

CAT = np.ascontiguousarray(cat()[::2, :450:2])  # 150 × 225
WORDS = "cat\nfloor"
WINDOW = 150  # of which there are two, and the picture as a whole
SIDE = 112  # pixels that the model looks at


@pytest.fixture(autouse=True)
def _quicker(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are several windows to each picture."""
    monkeypatch.setitem(presets._built_in("small")["settings"], "shorter_side", SIDE)


class Large:
    """The dock as a person meets it."""

    def __init__(self, viewer: Viewer, qtbot: QtBot) -> None:
        self.viewer, self.qtbot = viewer, qtbot
        _, widget = viewer.window.add_plugin_dock_widget("napari-cliper", "Segment large pictures")
        assert isinstance(widget, LargeWidget)
        self.widget = widget
        self.purpose = self.part(QComboBox, "purpose")
        self.window = self.part(QSpinBox, "window")
        self.output = self.part(QLineEdit, "output")
        self.start = self.part(QPushButton, "start")
        self.window.setValue(WINDOW)

    def part(self, kind: type[Any], name: str) -> Any:
        found = self.widget.findChild(kind, f"cliper-large-{name}")
        assert found is not None, name
        return found

    @property
    def said(self) -> str:
        return str(self.part(QLabel, "status").text())

    @property
    def count(self) -> str:
        self.qtbot.waitUntil(lambda: self.widget._counting.idle, timeout=60_000)
        return str(self.part(QLabel, "count").text())

    def click(self, button: Any) -> None:
        self.qtbot.mouseClick(button, Qt.MouseButton.LeftButton)

    def wait(self) -> None:
        self.qtbot.waitUntil(lambda: not self.widget._job.running, timeout=120_000)

    def run(self, output: Path | None = None) -> None:
        if output is not None:
            self.output.setText(str(output))
        self.click(self.start)
        self.wait()

    def names(self) -> list[str]:
        return [layer.name for layer in self.viewer.layers]


@pytest.fixture
def large(viewer: Viewer, dock: Any, qtbot: QtBot) -> Large:
    dock.type(WORDS)
    return Large(viewer, qtbot)


def own_model() -> Segmenter:
    """The window's, after a run."""
    (model,) = segmentation._segmenters.values()
    return model


def test_labels_go_to_disk_and_lie_over_the_picture(large: Large, tmp_path: Path) -> None:
    viewer = large.viewer
    place = {"scale": (2, 3), "translate": (5, -7), "rotate": 30, "units": ("um", "um")}
    picture = viewer.add_image(CAT, name="photo", **place)
    large.run(tmp_path / "out.zarr")
    assert large.names() == ["photo", "photo [large coarse]", "photo [large]"]
    assert "small on cpu" in large.said
    assert "cannot be painted on" in large.said
    assert viewer.layers.selection.active is picture
    coarse, refined = viewer.layers[1:]
    assert (coarse.visible, refined.visible) == (False, True)
    expected = nc.segment_tiled(own_model(), CAT, WORDS, window=WINDOW)
    for layer, labels in ((refined, expected.labels), (coarse, expected.coarse_labels)):
        assert layer.multiscale
        assert not layer.editable
        np.testing.assert_array_equal(np.asarray(layer.data[0]), labels)
        for name in ("scale", "translate", "rotate", "shear"):
            np.testing.assert_allclose(getattr(layer, name), getattr(picture, name))
        assert layer.units == picture.units
        assert list(layer.features["name"]) == ["background", "cat", "floor"]
        for entry in expected.classes:
            color = np.array((*entry.color, 255)) / 255
            np.testing.assert_allclose(layer.colormap.map(entry.id), color)
        assert expected.classes.to_json() == layer.metadata[KEY][CLASSES]
    assert set(np.unique(expected.labels)) > {0}
    on_disk = zarr.open(tmp_path / "out.zarr" / "labels" / "classes" / "0", mode="r")
    np.testing.assert_array_equal(on_disk[:], expected.labels)

    large.click(large.part(QPushButton, "copy"))
    large.qtbot.waitUntil(lambda: "photo [large copy]" in large.names(), timeout=60_000)
    copy = viewer.layers["photo [large copy]"]
    assert isinstance(copy.data, np.ndarray)
    copy.data_setitem((np.array([3]), np.array([4])), 2)
    np.testing.assert_allclose(copy.extent.world, refined.extent.world)
    assert on_disk[3, 4] == expected.labels[3, 4]


def test_a_smaller_copy_lies_where_the_labels_lie() -> None:
    picture = Picture(np.zeros((150, 224)), scale=(2, 3), rotate=30)
    plane: Any = SimpleNamespace(whole=placement_of(picture, [0, 1]), stack=(), place=())
    copy = Labels(np.zeros((75, 112), int), **placement(plane, 2))
    for ours, theirs in (((-0.5, -0.5), (-0.5, -0.5)), ((74.5, 111.5), (149.5, 223.5))):
        np.testing.assert_allclose(copy.data_to_world(ours), picture.data_to_world(theirs))


def test_a_second_run_asks_before_it_replaces(
    large: Large, dock: Any, tmp_path: Path, told: list[str]
) -> None:
    large.viewer.add_image(CAT, name="photo")
    output = tmp_path / "out.zarr"
    large.run(output)
    before = np.asarray(large.viewer.layers["photo [large]"].data[0])
    large.run()
    assert "exists already" in large.said
    assert "Replace what is there" in large.said
    dock.type("table\nwall")
    large.part(QCheckBox, "overwrite").setChecked(True)
    large.run()
    assert large.names() == ["photo", "photo [large coarse]", "photo [large]"]
    layer = large.viewer.layers["photo [large]"]
    assert list(layer.features["name"]) == ["background", "table", "wall"]
    assert (np.asarray(layer.data[0]) != before).any()
    assert len(told) == 1


def test_what_is_replaced_is_of_one_picture(large: Large, tmp_path: Path, told: list[str]) -> None:
    output = tmp_path / "out.zarr"
    large.viewer.add_image(CAT, name="photo")
    large.run(output)
    large.part(QCheckBox, "overwrite").setChecked(True)
    large.viewer.add_image(CAT[::-1], name="other")
    picture = large.part(QComboBox, "picture")
    picture.setCurrentIndex(picture.findText("other"))
    large.run()
    assert "exists already" in large.said  # nobody has asked to replace that one's
    large.part(QCheckBox, "overwrite").setChecked(True)
    large.run()
    assert large.names() == ["photo", "other", "other [large coarse]", "other [large]"]
    assert len(told) == 1


def test_layers_of_what_was_to_be_replaced_come_back(
    large: Large, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large.viewer.add_image(CAT, name="photo")
    large.run(tmp_path / "out.zarr")
    before = list(large.viewer.layers)
    large.part(QCheckBox, "overwrite").setChecked(True)
    large.widget._job.stepped.connect(
        lambda step: step.name.startswith("Window 2") and large.click(large.start)
    )
    large.click(large.start)
    assert large.names() == ["photo"]
    large.wait()
    assert large.said.startswith("Cancelled")
    assert list(large.viewer.layers) == before
    assert np.asarray(before[-1].data[0]).any()


def test_labels_that_are_gone_are_not_copied(large: Large, tmp_path: Path, told: list[str]) -> None:
    large.viewer.add_image(CAT, name="photo")
    large.run(tmp_path / "out.zarr")
    shutil.rmtree(tmp_path / "out.zarr")
    large.click(large.part(QPushButton, "copy"))
    large.qtbot.waitUntil(lambda: "is gone" in large.said, timeout=60_000)
    assert "photo [large copy]" not in large.names()
    assert len(told) == 1


def test_a_picture_too_large_for_masks_goes_to_disk(
    large: Large, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_run, "LARGEST_MASK", 1000)
    large.viewer.add_image(CAT, name="photo")
    large.purpose.setCurrentIndex(1)
    large.run()
    assert "too many for masks in memory" in large.said
    assert len(told) == 1


def test_a_picture_is_never_replaced(large: Large, tmp_path: Path, told: list[str]) -> None:
    source = tmp_path / "picture.zarr"
    zarr.create_array(source, data=CAT)
    (layer,) = large.viewer.open(source, plugin="napari", layer_type="image", rgb=True)
    large.part(QCheckBox, "overwrite").setChecked(True)
    large.run(source)
    assert "holds the picture itself" in large.said
    np.testing.assert_array_equal(zarr.open(source, mode="r")[:], CAT)
    assert layer.source.path is not None


def test_small_things_become_masks_around_strokes(large: Large, dock: Any) -> None:
    large.viewer.add_image(CAT, name="photo")
    dock.run()
    mask = large.viewer.layers["photo [refined]"]
    mask.selected_label = 2
    mask.brush_size = 9
    mask.paint((60, 110), 2)
    stroke = mask.data.copy()
    theirs = painted(mask)
    assert theirs.any()
    large.purpose.setCurrentIndex(1)
    assert not large.output.isEnabled()
    large.run()
    assert "small on cpu" in large.said
    assert large.names() == ["photo", "photo [coarse]", "photo [refined]"]
    expected = nc.segment_tiled(own_model(), CAT, WORDS, window=WINDOW)
    np.testing.assert_array_equal(mask.data[theirs], stroke[theirs])
    np.testing.assert_array_equal(mask.data[~theirs], expected.labels[~theirs])
    assert (mask.data != stroke).any()
    coarse = large.viewer.layers["photo [coarse]"]
    np.testing.assert_array_equal(coarse.data, expected.coarse_labels)
    mask.undo()  # our update is a step of its own
    np.testing.assert_array_equal(mask.data, stroke)


def painted(layer: Labels) -> np.ndarray:
    mask = masks.of(layer)
    assert mask is not None
    return mask.painted.mask.copy()


@pytest.mark.parametrize("at", ["Window 2", "Writing the coarse"])
def test_cancelling_leaves_nothing(
    large: Large, tmp_path: Path, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "BLOCK", 16)  # many steps
    large.viewer.add_image(CAT, name="photo")
    large.output.setText(str(tmp_path / "new.zarr"))
    names: list[str] = []

    def look(step: Any) -> None:
        names.append(step.name)
        if step.name.startswith(at):
            large.click(large.start)

    large.widget._job.stepped.connect(look)
    large.click(large.start)
    assert large.start.text() == "Cancel"
    large.wait()
    assert any(name.startswith(at) for name in names)
    assert "Window 2 of 2" in names
    assert large.said.startswith("Cancelled")
    assert large.names() == ["photo"]
    assert [path for path in tmp_path.iterdir() if path.suffix in (".zarr", ".part", ".old")] == []
    assert not segmentation._turn.locked()
    assert large.start.text() == "Start"


def test_too_late_to_be_cancelled(large: Large, tmp_path: Path) -> None:
    large.viewer.add_image(CAT, name="photo")
    large.output.setText(str(tmp_path / "out.zarr"))

    def look(step: Any) -> None:
        if step.name.startswith("Writing the coarse"):
            assert QThreadPool.globalInstance().waitForDone(60_000)
            large.click(large.start)

    large.widget._job.stepped.connect(look)
    large.run()
    assert large.said.startswith("Too late to be cancelled.\nsmall on cpu")
    assert "photo [large]" in large.names()


def test_other_docks_work_between_two_windows(large: Large, dock: Any, tmp_path: Path) -> None:
    large.viewer.add_image(CAT, name="photo")
    order: list[str] = []
    large.widget._job.stepped.connect(lambda step: order.append(step.name))
    dock.widget.segmented.connect(lambda _: order.append("the other dock"))
    large.output.setText(str(tmp_path / "out.zarr"))
    large.click(large.start)
    large.qtbot.waitUntil(lambda: "Window 1 of 2" in order, timeout=60_000)
    dock.click(dock.segment)
    large.wait()
    dock.wait()
    assert "the other dock" in order
    assert order.index("the other dock") < order.index("Whole picture 1 of 1")
    assert (tmp_path / "out.zarr").is_dir()


def test_lazy_grey_in_several_resolutions_as_it_is_shown(large: Large, tmp_path: Path) -> None:
    grey = CAT[..., 0].astype(np.uint16) * 100
    lazy = [dask.array.from_array(grey[::step, ::step], chunks=64) for step in (1, 2)]
    layer = large.viewer.add_image(lazy, name="photo", multiscale=True)
    layer.contrast_limits, layer.gamma = (2000, 15000), 0.5
    large.run(tmp_path / "out.zarr")
    found = np.asarray(large.viewer.layers["photo [large]"].data[0])
    shown = nc.images.to_rgb(grey, (2000, 15000), 0.5)
    expected = nc.segment_tiled(own_model(), [shown, shown[::2, ::2]], WORDS, window=WINDOW)
    np.testing.assert_array_equal(found, expected.labels)
    large.purpose.setCurrentIndex(1)
    large.run()
    expected = nc.segment_tiled(own_model(), shown, WORDS, window=WINDOW)
    np.testing.assert_array_equal(large.viewer.layers["photo [refined]"].data, expected.labels)


def test_of_a_stack_the_plane_that_is_shown(large: Large, tmp_path: Path) -> None:
    stack = np.stack([CAT[::-1], CAT, CAT[:, ::-1]])
    picture = large.viewer.add_image(stack, name="stack", scale=(4, 1, 1), translate=(8, 0, 0))
    large.viewer.dims.set_point(0, 8 + 4 * 2)
    large.run(tmp_path / "out.zarr")
    layer = large.viewer.layers["stack [large]"]
    assert layer.data[0].shape == (1, *CAT.shape[:2])
    expected = nc.segment_tiled(own_model(), stack[2], WORDS, window=WINDOW)
    np.testing.assert_array_equal(np.asarray(layer.data[0])[0], expected.labels)
    np.testing.assert_allclose(layer.translate, (16, 0, 0))
    np.testing.assert_allclose(layer.scale, picture.scale)


def test_the_words_dock_is_opened(viewer: Viewer, qtbot: QtBot, told: list[str]) -> None:
    large = Large(viewer, qtbot)
    viewer.add_image(CAT, name="photo")
    assert large.count  # nothing is at work when the window goes
    large.purpose.setCurrentIndex(1)
    assert viewer.window._qt_window.findChild(SegmentWidget) is None
    large.run()
    assert viewer.window._qt_window.findChild(SegmentWidget) is not None
    qtbot.waitUntil(large.start.isVisible)  # not behind the other one
    assert large.count
    assert large.said  # it has no words yet
    assert len(told) == 1


def test_how_many_windows_there_are_is_told(large: Large, tmp_path: Path) -> None:
    assert large.count == ""
    Image.fromarray(CAT).save(tmp_path / "photo.png")
    large.viewer.open(tmp_path / "photo.png", plugin="napari")
    assert large.count == "2 windows of 150 pixels"
    large.window.setValue(0)
    assert large.window.text() == "usual"
    assert large.count == "8 windows of 100 pixels"
    assert large.output.placeholderText() == str(tmp_path / "photo_labels.zarr")
    large.window.setValue(5)
    assert large.count == "no such windows"


def test_labels_lie_beside_the_picture(
    large: Large, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(CAT).save(tmp_path / "photo.png")
    large.viewer.open(tmp_path / "photo.png", plugin="napari")
    large.run()
    assert (tmp_path / "photo_labels.zarr" / "labels").is_dir()
    monkeypatch.setattr(
        QFileDialog, "getSaveFileName", lambda *_, **__: (str(tmp_path / "other"), "")
    )
    large.click(large.part(QPushButton, "browse"))
    assert large.output.text() == str(tmp_path / "other.zarr")
    assert usual_output(tmp_path / "stack.tif", (3,)) == tmp_path / "stack_3_labels.zarr"
    assert usual_output(tmp_path / "a.zarr" / "0", ()) == tmp_path / "a_labels.zarr"
    large.run(Path("near.zarr"))
    assert (tmp_path / "near.zarr").is_dir()


def test_what_is_wrong_is_told_in_a_sentence(
    large: Large, dock: Any, tmp_path: Path, told: list[str]
) -> None:
    viewer, output = large.viewer, tmp_path / "out.zarr"
    large.run(output)
    assert large.said.startswith("Open a picture first")
    photo = viewer.add_image(CAT, name="photo")
    large.output.clear()
    large.run()
    assert "comes from no file" in large.said
    large.run(tmp_path / "out")
    assert "end in “.zarr”" in large.said
    for window, says in ((3, "too small"), (5000, "larger than the picture")):
        large.window.setValue(window)
        large.run(output)
        assert says in large.said
    large.window.setValue(WINDOW)
    viewer.layers.remove(photo)
    large.qtbot.wait(100)
    viewer.add_image(np.zeros((300, 10)), name="narrow")
    large.run(output)
    assert "too small" in large.said
    dock.type("")
    large.run(output)
    assert len(told) == 7
    assert not output.exists()


def test_a_disk_that_is_too_small(
    large: Large, tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    large.viewer.add_image(CAT, name="photo")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=1000))
    names: list[str] = []
    large.widget._job.stepped.connect(lambda step: names.append(step.name))
    large.run(tmp_path / "out.zarr")
    assert "make room" in large.said
    assert names == []  # before the long work
    assert len(told) == 1


def test_a_window_that_cannot_be_read_is_named(
    large: Large, tmp_path: Path, told: list[str]
) -> None:
    broken = False
    watched = Watched(CAT[..., 0], lambda rows, columns: broken and columns.start > 0)
    watched.ndim = 2
    layer = large.viewer.add_image(watched, name="photo", contrast_limits=(0, 255))
    broken = True
    large.run(tmp_path / "out.zarr")
    assert "cannot be read" in large.said
    assert "Input/output error" in large.said
    assert not (tmp_path / "out.zarr").exists()
    assert len(told) == 1
    assert layer in large.viewer.layers
