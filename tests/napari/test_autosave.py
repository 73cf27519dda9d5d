"""Painted masks are saved now and then, and nothing else is."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari import Viewer
from skimage.data import cat

from napari_cliper import load_labels
from napari_cliper.widgets import autosave


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(autosave, "folder", lambda: tmp_path / "saved")
    return tmp_path / "saved"


def save(dock: Any) -> None:
    dock.widget._autosave.save()
    dock.qtbot.waitUntil(lambda: dock.widget._autosave.idle)


def test_what_was_painted_is_saved(
    viewer: Viewer, dock: Any, folder: Path, told: list[str]
) -> None:
    viewer.add_image(cat()[::2, ::2], name="a/photo: 1")
    dock.run("cat\nsofa")
    save(dock)
    assert not folder.exists()  # nobody painted
    mask = next(layer for layer in viewer.layers if layer.name.endswith("[refined]"))
    mask.brush_size = 20
    mask.paint((50, 50), 2)
    save(dock)
    (path,) = folder.glob("*/labels.png")
    labels, classes = load_labels(path)
    assert np.array_equal(labels, mask.data)
    assert classes is not None
    assert classes.names == ("cat", "sofa")
    written = path.stat().st_mtime_ns
    save(dock)
    assert path.stat().st_mtime_ns == written  # nothing has changed
    mask.paint((20, 20), 9)  # a label of no class
    save(dock)
    labels, classes = load_labels(path)
    assert np.array_equal(labels, mask.data)
    assert classes is not None
    assert classes.names == ("cat", "sofa", "label 9")
    assert told == []


def test_a_folder_that_cannot_be_written_is_told(
    viewer: Viewer, dock: Any, folder: Path, told: list[str]
) -> None:
    folder.write_text("no folder")
    viewer.add_image(cat()[::2, ::2], name="photo")
    dock.run("cat")
    viewer.layers["photo [refined]"].paint((50, 50), 3)
    save(dock)
    assert len(told) == 1
    assert "cannot be written" in told[0]


def test_the_minutes_are_those_of_the_preferences(viewer: Viewer, dock: Any) -> None:
    assert dock.widget._autosave._timer.interval() == 5 * 60_000
    assert dock.widget._autosave._timer.isActive()
    assert not autosave.Autosave(viewer, 0)._timer.isActive()
