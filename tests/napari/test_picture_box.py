"""The choice of a picture follows the layer list."""

import numpy as np
import pytest
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot

from napari_cliper.annotation.class_list import ClassList
from napari_cliper.widgets.layers import labels_layer, map_layer, show
from napari_cliper.widgets.masks import show_mask
from napari_cliper.widgets.picture_box import PictureBox
from napari_cliper.widgets.planes import shown_plane

PIXELS = np.zeros((40, 60), np.uint8)


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def box(viewer: ViewerModel, qtbot: QtBot) -> PictureBox:
    box = PictureBox(viewer)
    qtbot.addWidget(box)
    for event in ("inserted", "removed", "reordered", "renamed"):
        getattr(viewer.layers.events, event).connect(lambda _: box.refresh())
    return box


def names(box: PictureBox) -> list[str]:
    return [box.itemText(index) for index in range(box.count())]


def test_pictures_come_and_go(viewer: ViewerModel, box: PictureBox) -> None:
    assert box.layer is None
    first = viewer.add_image(PIXELS, name="a")
    second = viewer.add_image(PIXELS, name="b")
    assert names(box) == ["a", "b"]
    assert box.layer is first  # the choice stays
    viewer.layers.remove(first)
    assert names(box) == ["b"]
    assert box.layer is second
    viewer.layers.clear()
    assert box.layer is None
    assert box.currentText() == ""


def test_the_choice_outlives_a_new_name_and_a_new_order(
    viewer: ViewerModel, box: PictureBox
) -> None:
    viewer.add_image(PIXELS, name="a")
    chosen = viewer.add_image(PIXELS, name="b")
    viewer.add_image(PIXELS, name="c")
    box.setCurrentText("b")
    chosen.name = "renamed"
    assert box.layer is chosen
    assert box.currentText() == "renamed"
    viewer.layers.move(0, 3)
    assert names(box) == ["renamed", "c", "a"]
    assert box.layer is chosen


def test_only_pictures_are_offered(viewer: ViewerModel, box: PictureBox) -> None:
    picture = viewer.add_image(PIXELS, name="a")
    viewer.add_points(np.zeros((1, 2)))
    viewer.add_labels(PIXELS)
    plane = shown_plane(viewer, picture)
    classes = ClassList.parse("cat")
    show_mask(viewer, plane, labels_layer("refined", PIXELS, classes), classes)
    show(viewer, plane, map_layer("attention", np.ones((4, 6), np.float32)))
    assert names(box) == ["a"]


def test_only_another_picture_is_news(viewer: ViewerModel, box: PictureBox, qtbot: QtBot) -> None:
    news: list[object] = []
    box.layer_changed.connect(lambda: news.append(box.layer))
    first = viewer.add_image(PIXELS, name="a")
    assert news == [first]
    second = viewer.add_image(PIXELS, name="b")
    first.name = "c"
    assert news == [first]
    box.setCurrentIndex(1)
    assert news == [first, second]
    viewer.layers.remove(second)
    assert news == [first, second, first]
