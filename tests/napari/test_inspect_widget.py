"""The dock “Inspect attention” in a real window: the mouse over the picture, and what it adds."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from napari import Viewer
from napari.layers import Image, Labels, Points
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QPoint, Qt, QThreadPool
from qtpy.QtWidgets import QCheckBox, QComboBox, QLabel, QListWidget, QPushButton
from skimage.data import cat
from superqt import QCollapsible

from napari_cliper.widgets import InspectWidget, SegmentWidget, segmentation, workspace

CAT = cat()[::2, ::2]
PLACED: dict[str, Any] = {"scale": (0.5, 0.25), "translate": (3, 4), "rotate": 20}


@pytest.fixture
def picture(viewer: Viewer) -> Image:
    return viewer.add_image(CAT, name="photo", **PLACED)


class Inspect:
    """The dock as a person meets it."""

    def __init__(self, viewer: Viewer, qtbot: QtBot) -> None:
        self.viewer, self.qtbot = viewer, qtbot
        shared = workspace.of(viewer)
        shared.choose(segmentation.Model("small", "cpu"))
        _, widget = viewer.window.add_plugin_dock_widget("napari-cliper", "Inspect attention")
        assert isinstance(widget, InspectWidget)
        self.widget = widget
        self.canvas = viewer.window._qt_viewer.canvas.native
        self.view = self.part(QComboBox, "view")
        self.status = self.part(QLabel, "inspect-status")

    def part(self, kind: type, name: str) -> Any:
        part = self.widget.findChild(kind, f"cliper-{name}")
        assert part is not None, f"the form has no {name}"
        return part

    def press(self, name: str) -> None:
        self.qtbot.mouseClick(self.part(QPushButton, name), Qt.MouseButton.LeftButton)
        self.settle()

    def settle(self) -> None:
        self.qtbot.wait(50)
        self.qtbot.waitUntil(lambda: self.widget.idle, timeout=60_000)
        self.qtbot.wait(50)

    def place(self, y: float, x: float) -> QPoint:
        """Where a pixel of the picture is on the canvas: found by asking napari."""
        world = self.viewer.layers["photo"].data_to_world((y, x))
        window = self.viewer.window._qt_viewer.canvas
        transform = self.viewer.window._qt_viewer.canvas.view.scene.transform
        at = transform.map([world[-1], world[-2], 0, 1])
        assert window is not None
        return QPoint(round(float(at[0])), round(float(at[1])))

    def move(self, y: float, x: float) -> None:
        self.qtbot.mouseMove(self.canvas, self.place(y, x))
        self.settle()

    def click(self, y: float, x: float) -> None:
        self.move(y, x)
        self.qtbot.mouseClick(self.canvas, Qt.MouseButton.LeftButton, pos=self.place(y, x))
        self.settle()

    def layer(self, role: str) -> Any:
        return self.viewer.layers[f"photo [{role}]"]

    @property
    def names(self) -> list[str]:
        return [self.view.itemText(row) for row in range(self.view.count())]


@pytest.fixture
def inspect(viewer: Viewer, picture: Image, qtbot: QtBot) -> Iterator[Inspect]:
    yield Inspect(viewer, qtbot)
    assert QThreadPool.globalInstance().waitForDone(60_000)


def over(layer: Image, picture: Image, y: float, x: float) -> float:
    """A layer's value at a pixel of the picture."""
    place = layer.world_to_data((0,) * (layer.ndim - 2) + tuple(picture.data_to_world((y, x))[-2:]))
    row, column = (round(float(value)) for value in place[-2:])
    return float(layer.data[..., row, column].ravel()[0])


def test_the_attention_follows_the_mouse(
    viewer: Viewer, picture: Image, inspect: Inspect, told: list[str]
) -> None:
    assert not inspect.view.isEnabled()
    inspect.press("look")
    assert told == []
    assert inspect.view.isEnabled()
    inspect.move(60, 60)
    live = inspect.layer("attention")
    first = live.data.copy()
    assert over(live, picture, 60, 60) > np.median(first)  # a point attends to itself
    inspect.move(20, 200)
    assert (live.data != first).any()
    assert over(live, picture, 20, 200) > np.median(live.data)
    assert "20, 200" in inspect.status.text()
    np.testing.assert_allclose(
        live.data_to_world((-0.5, -0.5)), picture.data_to_world((-0.5, -0.5))
    )
    assert viewer.layers.selection.active is picture  # the work goes on where it was
    shown = live.data.copy()
    inspect.part(QCheckBox, "follow").setChecked(False)
    inspect.move(100, 100)
    assert np.array_equal(live.data, shown)


def test_every_view_can_be_shown(viewer: Viewer, inspect: Inspect, told: list[str]) -> None:
    inspect.press("look")
    inspect.move(60, 60)
    names = inspect.names
    assert len(names) == len(set(names)) > 20
    for part in ("fused", "head", "layer", "normalis"):
        assert any(part in name for name in names), part
    seen = set()
    for name in names:
        inspect.view.setCurrentText(name)
        inspect.settle()
        seen.add(inspect.layer("attention").data.tobytes())
    assert len(seen) > 0.9 * len(names)
    assert told == []


def test_a_click_pins_a_point(viewer: Viewer, picture: Image, inspect: Inspect) -> None:
    inspect.press("look")
    inspect.click(60, 60)
    inspect.click(100, 150)
    points = inspect.layer("points")
    assert isinstance(points, Points)
    np.testing.assert_allclose(points.data, [(60, 60), (100, 150)], atol=1)
    np.testing.assert_allclose(
        points.data_to_world((60, 60)), picture.data_to_world((60, 60)), atol=1e-6
    )
    points.add([(30, 30)])  # with napari's own tool
    inspect.press("pinned")
    stack = next(layer for layer in viewer.layers if "of the points" in layer.name)
    assert len(stack.data) == 3
    assert viewer.dims.ndim == 3
    viewer.layers.selection.active = stack
    viewer.dims.set_point(0, 2)
    assert "30, 30" in inspect.status.text()


def test_painting_pins_nothing(viewer: Viewer, inspect: Inspect) -> None:
    inspect.press("look")
    labels = viewer.add_labels(np.zeros(CAT.shape[:2], np.uint8), **PLACED)
    labels.mode = "paint"
    inspect.click(60, 60)
    assert not any("points" in layer.name for layer in viewer.layers)
    assert labels.data.any()


def test_what_can_be_added(viewer: Viewer, picture: Image, inspect: Inspect) -> None:
    inspect.press("look")
    inspect.move(60, 60)
    head = next(name for name in inspect.names if "head" in name)
    inspect.view.setCurrentText(head)
    inspect.press("group")
    inspect.press("received")
    inspect.press("colours")
    inspect.press("likeness")
    layers = {layer.name.partition("[")[2].rstrip("]"): layer for layer in viewer.layers}
    heads = next(layer for name, layer in layers.items() if "head" in name)
    assert heads.data.ndim == 3
    assert len(heads.data) == 6  # of a ViT-S
    np.testing.assert_allclose(layers["attention received"].data.mean(), 1, atol=1e-3)
    assert layers["layer colours"].rgb
    assert len(layers["layer colours"].data) == 12
    likeness = next(layer for name, layer in layers.items() if name.startswith("likeness"))
    assert likeness.data.shape[0] == 12
    assert likeness.data[-1].max() == pytest.approx(1, abs=1e-3)
    for layer in (heads, likeness, layers["layer colours"]):
        corner = layer.data_to_world((0, -0.5, -0.5))
        np.testing.assert_allclose(corner[-2:], picture.data_to_world((-0.5, -0.5)))


def test_scores_and_uncertainty_of_what_was_segmented(
    viewer: Viewer, picture: Image, dock: Any, inspect: Inspect, told: list[str]
) -> None:
    inspect.press("scores")
    assert "Nothing was segmented here yet" in told[-1]
    told.clear()
    dock.run("cat\nsofa")
    inspect.press("scores")
    inspect.press("uncertainty")
    assert told == []
    for role in ("scores before", "scores after"):
        assert inspect.layer(role).data.shape[0] == 2
    uncertainty = inspect.layer("uncertainty")
    assert uncertainty.data.shape == CAT.shape[:2]
    assert 0 <= uncertainty.data.min() < uncertainty.data.max() <= 1


def test_methods_stand_side_by_side(
    viewer: Viewer, picture: Image, dock: Any, inspect: Inspect, told: list[str]
) -> None:
    dock.run("cat\nsofa")
    methods = inspect.part(QListWidget, "methods")
    for row in range(methods.count()):
        name = methods.item(row).data(Qt.ItemDataRole.UserRole)
        chosen = name in ("clip", "cliper-star", "cliper")
        state = Qt.CheckState.Checked if chosen else Qt.CheckState.Unchecked
        methods.item(row).setCheckState(state)
    inspect.part(QCollapsible, "comparison").expand(animate=False)
    inspect.settle()
    inspect.press("compare")
    assert told == []
    shown = {layer.name for layer in viewer.layers if layer.visible}
    masks = [inspect.layer(f"by {name}") for name in ("cliper-star", "clip", "cliper")]
    assert shown == {
        f"photo [{kind}{name}]"
        for kind in ("", "by ")
        for name in ("cliper-star", "clip", "cliper")
    }
    assert all(isinstance(mask, Labels) for mask in masks)
    assert (masks[0].data != masks[1].data).any()
    assert np.array_equal(masks[2].data, inspect.layer("refined").data)
    np.testing.assert_allclose(masks[0].data_to_world((9, 9)), picture.data_to_world((9, 9)))
    masks[0].opacity = 0.25
    assert [mask.opacity for mask in masks] == [0.25] * 3
    grid = viewer.canvas.grid
    assert grid.enabled
    cells = {
        grid.position(viewer.layers.index(layer), viewer.layers)
        for layer in viewer.layers
        if layer.visible
    }
    assert len(cells) == 3
    for mask in masks:  # each on its own picture
        below = viewer.layers[viewer.layers.index(mask) - 1]
        places = [grid.position(viewer.layers.index(each), viewer.layers) for each in (mask, below)]
        assert places[0] == places[1]
    masks[0].paint((10, 10), 7)
    painted = masks[0].data == 7
    count = len(viewer.layers)
    inspect.press("compare")  # again
    assert len(viewer.layers) == count
    assert painted.any()
    assert np.array_equal(masks[0].data == 7, painted)
    inspect.part(QCheckBox, "side-by-side").setChecked(False)
    assert not grid.enabled
    assert {layer.name for layer in viewer.layers if layer.visible} == {"photo", "photo [refined]"}
    assert "small on cpu" in dock.status.text()
    dock.run("cat")  # and the first dock goes on with its own method
    assert told == []


def test_cancel_leaves_everything_as_it_was(
    viewer: Viewer, picture: Image, inspect: Inspect, told: list[str]
) -> None:
    look, cancel = inspect.part(QPushButton, "look"), inspect.part(QPushButton, "inspect-cancel")
    inspect.qtbot.mouseClick(look, Qt.MouseButton.LeftButton)
    assert cancel.isEnabled()
    inspect.qtbot.mouseClick(cancel, Qt.MouseButton.LeftButton)
    inspect.settle()
    assert list(viewer.layers) == [picture]
    assert told == []
    inspect.press("look")
    assert inspect.view.isEnabled()


def test_another_picture_is_not_followed(viewer: Viewer, inspect: Inspect) -> None:
    inspect.press("look")
    inspect.move(60, 60)
    viewer.layers.remove("photo [attention]")
    viewer.add_image(CAT[::-1], name="other")
    inspect.part(QComboBox, "inspect-image").setCurrentText("other")
    inspect.move(80, 80)
    assert len(viewer.layers) == 2
    assert not inspect.view.isEnabled()


def test_the_first_dock_opens_and_closes_the_second(viewer: Viewer, dock: Any) -> None:
    dock.click(dock.inspect)
    (widget,) = viewer.window._qt_window.findChildren(InspectWidget)
    assert dock.inspect.isChecked()
    dock.qtbot.waitUntil(widget.isVisible)
    dock.click(dock.inspect)
    dock.qtbot.waitUntil(lambda: not widget.isVisible())
    dock.click(dock.inspect)
    dock.qtbot.waitUntil(widget.isVisible)
    widget.parent().close()  # by its own button
    dock.qtbot.waitUntil(lambda: not dock.inspect.isChecked())


def test_a_closed_dock_leaves_the_mouse_alone(viewer: Viewer, inspect: Inspect) -> None:
    inspect.press("look")
    inspect.move(60, 60)
    viewer.window.remove_dock_widget(inspect.widget)
    before = inspect.layer("attention").data.copy()
    inspect.qtbot.mouseMove(inspect.canvas, inspect.place(20, 200))
    inspect.qtbot.wait(100)
    assert np.array_equal(inspect.layer("attention").data, before)
    assert not any(
        "Live" in type(getattr(each, "__self__", None)).__name__
        for each in (*viewer.mouse_move_callbacks, *viewer.mouse_drag_callbacks)
    )


def test_two_viewers_share_nothing_that_is_seen(
    make_napari_viewer: Callable[..., Viewer], qtbot: QtBot
) -> None:
    viewers = [make_napari_viewer(show=True) for _ in range(2)]
    docks = []
    for viewer in viewers:
        viewer.add_image(CAT, name="photo")
        docks.append(viewer.window.add_plugin_dock_widget("napari-cliper", "Segment with text")[1])
    assert workspace.of(viewers[0]) is not workspace.of(viewers[1])
    first, second = docks
    assert isinstance(first, SegmentWidget)
    for dock in docks:
        box = dock.findChild(QComboBox, "cliper-preset")
        box.setCurrentIndex(box.findData("small"))
    first._classes.text.setPlainText("cat")
    first.findChild(QPushButton, "cliper-segment").click()
    qtbot.waitUntil(lambda: first.idle, timeout=60_000)
    assert len(viewers[0].layers) == 3
    assert len(viewers[1].layers) == 1
    assert second._classes.classes is None
    assert second._workspace.scene(second._picture.plane()) is None
