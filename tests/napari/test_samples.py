"""The sample pictures, as napari offers them."""

import numpy as np
import pytest
from napari.components import ViewerModel
from npe2 import PluginManager
from skimage import data

from napari_cliper.annotation.class_list import ClassList
from napari_cliper.widgets.layers import fitting_classes


@pytest.fixture(autouse=True)
def _plugins() -> None:
    PluginManager.instance().discover()


def test_both_are_on_offer() -> None:
    offered = dict(PluginManager.instance().iter_sample_data())["napari-cliper"]
    assert [(sample.key, sample.display_name) for sample in offered] == [
        ("cat", "Cat"),
        ("motorcycle", "Motorcycle"),
    ]


@pytest.mark.parametrize("key", ["cat", "motorcycle"])
def test_a_sample_opens_with_fitting_words(key: str) -> None:
    pixels = {"cat": data.cat(), "motorcycle": data.stereo_motorcycle()[0]}[key]
    viewer = ViewerModel()
    viewer.open_sample("napari-cliper", key)
    (layer,) = viewer.layers
    assert layer.name == key
    assert layer.rgb
    assert np.array_equal(layer.data, pixels)
    assert key in ClassList.parse(fitting_classes(layer)).names
