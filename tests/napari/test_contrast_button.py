"""The button beside the picture that sets its contrast by percentiles."""

import threading
from typing import Any

import numpy as np
import pytest
from napari import Viewer
from napari.layers import Image
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QInputDialog
from skimage.data import cat

from napari_cliper.images import percentile_limits
from napari_cliper.widgets.contrast_button import ContrastButton

GREY = cat()[::4, ::4, 0].astype(np.uint16)


def stack() -> np.ndarray:
    """Three planes of other brightness, with a pixel that makes all dark."""
    planes = np.stack([GREY, 3 * GREY, 7 * GREY])
    planes[:, 0, 0] = 65535
    return planes


class Button:
    def __init__(self, dock: Any) -> None:
        self.dock = dock
        self.part = dock.part(ContrastButton, "contrast")

    def choose(self, text: str) -> None:
        """An entry of its menu."""
        (action,) = [one for one in self.part.menu().actions() if one.text() == text]
        action.trigger()

    def wait_for(self, layer: Image, limits: tuple[float, float]) -> None:
        self.dock.qtbot.waitUntil(lambda: tuple(layer.contrast_limits) == limits, timeout=20_000)


@pytest.fixture
def button(dock: Any) -> Button:
    return Button(dock)


def test_contrast_is_that_of_the_shown_plane(viewer: Viewer, button: Button) -> None:
    layer = viewer.add_image(stack(), name="stack")
    before = tuple(layer.contrast_limits)
    viewer.dims.set_point(0, 2)
    button.dock.click(button.part)
    button.wait_for(layer, percentile_limits(stack()[2], 1, 99))
    assert before[1] > layer.contrast_limits[1]
    assert "1 and 99" in button.part.toolTip()
    # The slider still reaches all values, and takes it back.
    assert layer.contrast_limits_range[1] >= before[1]
    layer.contrast_limits = before
    # Other percentiles, and the same again for another plane.
    button.choose("5 and 95")
    button.wait_for(layer, percentile_limits(stack()[2], 5, 95))
    viewer.dims.set_point(0, 1)
    button.dock.click(button.part)
    button.wait_for(layer, percentile_limits(stack()[1], 5, 95))
    assert "5 and 95" in button.part.toolTip()


def test_percentiles_that_somebody_writes(viewer: Viewer, button: Button, told: list[str]) -> None:
    layer = viewer.add_image(stack()[0], name="grey")

    def write(text: str, accept: bool = True) -> None:
        def act() -> None:
            dialog = QApplication.activeModalWidget()
            assert isinstance(dialog, QInputDialog)
            dialog.setTextValue(text)
            dialog.accept() if accept else dialog.reject()

        QTimer.singleShot(200, act)
        button.choose("Others…")

    write("10, 80")
    button.wait_for(layer, percentile_limits(stack()[0], 10, 80))
    write("20, 70", accept=False)
    write("70, 20")
    assert [text for text in told if "the smaller one first" in text] == told != []
    assert "10 and 80" in button.part.toolTip()


def test_it_is_for_grey_pictures(viewer: Viewer, button: Button) -> None:
    assert not button.part.isEnabled()
    colours = viewer.add_image(cat()[::4, ::4], name="colours")
    assert not button.part.isEnabled()
    assert "Colours are seen as they are" in button.part.toolTip()
    grey = viewer.add_image(GREY, name="grey")
    button.dock.widget.show_picture(grey)
    assert button.part.isEnabled()
    assert "1 and 99" in button.part.toolTip()
    button.dock.widget.show_picture(colours)
    assert not button.part.isEnabled()


def test_lazy_planes_are_read_in_a_thread(viewer: Viewer, button: Button, told: list[str]) -> None:
    asked: list[tuple[Any, bool]] = []

    class Lazy:
        shape, dtype, ndim = stack().shape, stack().dtype, 3

        def __getitem__(self, index: Any) -> np.ndarray:
            asked.append((index, threading.current_thread() is threading.main_thread()))
            if index[0] == 2 and not asked[-1][1]:
                raise OSError("the disk is gone")
            return stack()[index]

    layer = viewer.add_image(Lazy(), name="lazy", contrast_limits=(0, 65535))
    viewer.dims.set_point(0, 1)
    button.dock.qtbot.wait(100)
    asked.clear()
    button.dock.click(button.part)
    button.wait_for(layer, percentile_limits(stack()[1], 1, 99))
    # The mark beside the picture may read it in a thread, too.
    assert {(index[0], main) for index, main in asked} == {(1, False)}
    viewer.dims.set_point(0, 2)
    button.dock.click(button.part)
    button.dock.qtbot.waitUntil(lambda: bool(told), timeout=20_000)
    assert "Plane 2 of “lazy” cannot be read (OSError: the disk is gone)" in told[0]
    # A layer that goes meanwhile keeps nobody from it.
    viewer.dims.set_point(0, 0)
    asked.clear()
    before = layer.contrast_limits = [5, 6]
    button.dock.click(button.part)
    viewer.layers.remove(layer)
    button.dock.qtbot.waitUntil(lambda: bool(asked) and button.part._latest.idle, timeout=20_000)
    assert layer.contrast_limits == before
    assert len(told) == 1
