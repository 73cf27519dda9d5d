"""Colours out of channels, in a real window."""

from typing import Any

import dask.array as da
import numpy as np
import pytest
from napari import Viewer
from napari.components import ViewerModel
from napari.layers import Image
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QLabel, QPushButton
from skimage.data import cat

from napari_cliper.errors import NapariCliperError
from napari_cliper.widgets import ChannelsWidget
from napari_cliper.widgets.channels import Channel, channels, colours

CAT = np.ascontiguousarray(cat()[::4, ::4])


def test_channels_as_their_layers_show_them() -> None:
    viewer = ViewerModel()
    deep = CAT[..., 0].astype(np.uint16) * 100
    bright = viewer.add_image(deep, contrast_limits=(1000, 20000), gamma=0.5, scale=(2, 3))
    plain = viewer.add_image(CAT[..., 1], contrast_limits=(0, 255), scale=(2, 3))
    made = colours([Channel(bright), None, Channel(plain)])
    assert made.rgb
    assert made.data.dtype == np.uint8
    expected = np.clip((deep - 1000.0) / 19000, 0, 1) ** 0.5 * 255
    np.testing.assert_allclose(made.data[..., 0], expected, atol=1)
    assert not made.data[..., 1].any()
    assert np.array_equal(made.data[..., 2], CAT[..., 1])
    assert tuple(made.scale) == (2, 3)


def test_an_axis_of_channels() -> None:
    viewer = ViewerModel()
    stack = np.moveaxis(CAT, -1, 0)[:, None].repeat(2, axis=1)  # channel, z, y, x
    layer = viewer.add_image(
        stack, scale=(1, 5, 2, 2), contrast_limits=(0, 255), axis_labels=("c", "z", "y", "x")
    )
    offered = channels(viewer)
    assert [one.name for one in offered if one.axis == 0] == [
        f"{layer.name}, c = {entry}" for entry in range(3)
    ]
    made = colours([one for one in offered if one.axis == 0])
    assert made.data.shape == (2, *CAT.shape)
    assert np.array_equal(np.asarray(made.data[1]), CAT)
    assert tuple(made.scale) == (5, 2, 2)
    assert made.axis_labels == ("z", "y", "x")


def test_lazy_channels_stay_lazy() -> None:
    viewer = ViewerModel()
    read: list[int] = []

    def chunk(block: Any, block_info: Any = None) -> Any:
        if block_info:
            read.append(block_info[0]["chunk-location"][0])
        return block

    source = da.from_array(np.stack([CAT[..., 0]] * 5), chunks=(1, -1, -1))
    lazy = source.map_blocks(chunk, dtype=np.uint8)
    first = viewer.add_image(lazy, contrast_limits=(0, 255))
    second = viewer.add_image(np.stack([CAT[..., 1]] * 5), contrast_limits=(0, 255))
    made = colours([Channel(first), Channel(second), None])
    assert set(read) <= {0, 2}  # the planes that napari has drawn
    read.clear()
    assert made.data.shape == (5, *CAT.shape)
    first.contrast_limits = (0, 10)  # afterwards: the picture was made
    plane = np.asarray(made.data[3])
    assert set(read) <= {2, 3}  # what is shown is drawn anew
    assert np.array_equal(plane[..., :2], CAT[..., :2])


def test_channels_of_a_pyramid() -> None:
    viewer = ViewerModel()
    pyramids = [
        viewer.add_image([CAT[..., at], CAT[::2, ::2, at]], contrast_limits=(0, 255))
        for at in range(3)
    ]
    made = colours([Channel(one) for one in pyramids])
    assert made.multiscale
    assert np.array_equal(made.data[0], CAT)
    assert np.array_equal(made.data[1], CAT[::2, ::2])


def test_channels_that_do_not_fit() -> None:
    viewer = ViewerModel()
    whole = viewer.add_image(CAT[..., 0], name="whole")
    half = viewer.add_image(CAT[::2, :, 0], name="half")
    with pytest.raises(NapariCliperError, match="No channel is chosen"):
        colours([None, None, None])
    with pytest.raises(NapariCliperError, match=r"“half” has 38 × 113 pixels and “whole” has 75"):
        colours([Channel(whole), Channel(half), None])
    moved = viewer.add_image(CAT[..., 1], name="moved", translate=(5, 5))
    with pytest.raises(NapariCliperError, match="“moved” does not lie where “whole” lies"):
        colours([Channel(whole), Channel(moved), None])


def test_the_dock_makes_a_picture_that_can_be_segmented(
    viewer: Viewer, dock: Any, qtbot: QtBot, told: list[str]
) -> None:
    for at, name in enumerate(("r", "g", "b")):
        viewer.add_image(CAT[..., at], name=name, contrast_limits=(0, 255))
    _, widget = viewer.window.add_plugin_dock_widget("napari-cliper", "Colours from channels")
    assert isinstance(widget, ChannelsWidget)
    button = widget.findChild(QPushButton, "cliper-channels-make")
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    assert len(told) == 1
    for colour, name in (("red", "r"), ("green", "g"), ("blue", "b")):
        widget.findChild(QComboBox, f"cliper-channel-{colour}").setCurrentText(name)
    viewer.layers["g"].name = "green one"
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    made = viewer.layers["r + green one + b"]
    assert isinstance(made, Image)
    assert np.array_equal(made.data, CAT)
    assert "r + green one + b" in widget.findChild(QLabel, "cliper-channels-status").text()
    dock.widget.show_picture(made)
    dock.run("cat")
    alone = viewer.layers["r + green one + b [refined]"].data
    assert alone.any()
