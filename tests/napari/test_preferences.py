"""What is set in napari's preferences is what the docks begin with."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from napari import Viewer
from napari.settings import get_plugin_settings
from qtpy.QtWidgets import QComboBox

from napari_cliper.annotation.class_list import ClassList
from napari_cliper.models import weights
from napari_cliper.widgets import segmentation
from napari_cliper.widgets.masks import Mask
from napari_cliper.widgets.planes import Plane
from napari_cliper.widgets.preferences import Preferences


@pytest.fixture
def preferences(plugin_settings: Any, npe2pm: Any) -> Any:
    from npe2 import PluginManifest

    if "napari-cliper" not in npe2pm:
        npe2pm.register(PluginManifest.from_distribution("napari-cliper"))
    return get_plugin_settings("napari-cliper").segmentation


def test_the_usual_ones(preferences: Any) -> None:
    assert Preferences.read() == Preferences()


def test_the_docks_begin_with_what_was_set(
    preferences: Any, make_napari_viewer: Callable[..., Viewer], tmp_path: Any, monkeypatch: Any
) -> None:
    monkeypatch.delenv("NAPARI_CLIPER_CACHE")
    preferences.preset = "base"
    preferences.device = "cpu"
    preferences.precision = "bfloat16"
    preferences.memory_limit = 0.5
    preferences.undo_limit = 0.02
    preferences.autosave = 1.5
    preferences.cache_folder = str(tmp_path / "kept")
    viewer = make_napari_viewer(show=True)
    from napari_cliper.widgets import SegmentWidget

    widget = SegmentWidget(viewer)
    try:
        assert widget.findChild(QComboBox, "cliper-preset").currentData() == "base"
        assert widget.findChild(QComboBox, "cliper-device").currentData() == "cpu"
        assert widget._model.model == segmentation.Model("base", "cpu", "cliper", "bfloat16")
        assert segmentation.encodings.limit == 0.5e9
        assert Mask.history_limit == 0.02e9
        assert widget.sessions._timer.interval() == 1500
        assert widget.sessions._timer.isActive()
        assert weights.cache_folder() == tmp_path / "kept"
    finally:
        weights.prefer_cache_folder("")
        segmentation.encodings.limit = 4e9
        Mask.history_limit = 5e8
        widget.close()
        widget.deleteLater()


def test_nothing_is_saved_by_itself_if_nobody_wants_it(
    preferences: Any, make_napari_viewer: Callable[..., Viewer]
) -> None:
    preferences.autosave = 0
    from napari_cliper.widgets import SegmentWidget

    widget = SegmentWidget(make_napari_viewer(show=True))
    try:
        assert not widget.sessions._timer.isActive()
        assert Mask.history_limit == Preferences.undo_limit * 1e9 == 5e8
    finally:
        widget.close()
        widget.deleteLater()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("preset", "enormous", "enormous"),
        ("undo_limit", 0, "greater than or equal to 0.01"),
        ("disk_limit", -1, "greater than or equal to 0"),
        ("undo_limit", 1001, "less than or equal to 1000"),
        ("autosave", -1, "greater than or equal to 0"),
        ("autosave", 86401, "less than or equal to 86400"),
    ],
)
def test_what_cannot_be_is_refused(preferences: Any, name: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        setattr(preferences, name, value)


def test_encodings_are_kept_on_disk_if_that_is_wanted(preferences: Any, monkeypatch: Any) -> None:
    from napari_cliper.segmenter import drain

    def load() -> Any:
        monkeypatch.setattr(segmentation, "_segmenters", {})
        return drain(segmentation.segmenter_of(segmentation.Model("small", "cpu"), download=False))

    assert load().disk is None
    monkeypatch.setenv("NAPARI_CLIPER_KEEP", "2")
    assert load().disk.files.limit == 2e9
    preferences.disk_limit = 0.25
    assert load().disk.files.limit == 0.25e9


def test_models_leave_memory_when_nobody_uses_them(preferences: Any) -> None:
    from napari_cliper.segmenter import drain

    pixels = np.zeros((80, 80, 3), np.uint8)
    index = (slice(None), slice(None))
    plane = Plane("a", "a", pixels, index, (0, 255), {}, True)
    model = segmentation.Model("small", "cpu")
    request = segmentation.Request(plane, ClassList.parse("cat"), model)
    preferences.idle_limit = 0.5 / 60

    def wait_until_gone() -> None:
        until = time.monotonic() + 30
        while segmentation._segmenters or len(segmentation.encodings):
            assert time.monotonic() < until
            time.sleep(0.02)

    first = drain(segmentation.segmentation(request))
    assert model in segmentation._segmenters
    wait_until_gone()
    again = drain(segmentation.segmentation(request))  # loaded anew
    assert np.array_equal(first.result.labels, again.result.labels)
    wait_until_gone()
    preferences.idle_limit = 0
    drain(segmentation.segmentation(request))
    assert segmentation._idle is None
    with segmentation._turn:
        segmentation.let_go()  # somebody is at work
    assert model in segmentation._segmenters
