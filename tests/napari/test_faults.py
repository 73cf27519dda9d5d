"""What goes wrong in the midst of a run is told, changes nothing, and the next run works."""

import gc
import weakref
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from napari import Viewer
from skimage.data import cat

from napari_cliper.cliper import CLIPer
from napari_cliper.cliper.steps import Step
from napari_cliper.models import weights
from napari_cliper.widgets import segmentation

CAT = np.ascontiguousarray(cat()[::4, ::4])


class Took:
    """Something large that a run holds when it fails."""


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (RuntimeError("a kernel failed"), "Something went wrong"),
        (OSError("the device is gone"), "Something went wrong"),
        (MemoryError(), "memory"),
        (torch.OutOfMemoryError("CPU out of memory"), "memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "memory"),
    ],
    ids=["worker", "device", "memory", "torch's memory", "the allocator's memory"],
)
def test_a_fault_in_the_midst_of_encoding(
    viewer: Viewer, dock: Any, monkeypatch: pytest.MonkeyPatch, fault: Exception, said: str
) -> None:
    segmentation.encodings.clear()
    picture = viewer.add_image(CAT, name="photo")
    dock.run("cat")
    mask = viewer.layers["photo [refined]"]
    mask.paint((20, 30), 7)
    before, layers = mask.data.copy(), list(viewer.layers)
    taken: list[weakref.ref[Took]] = []

    def fails(*_: Any, **__: Any) -> Iterator[Step]:
        held = Took()
        taken.append(weakref.ref(held))
        yield Step("Looking at the picture")
        raise fault

    with monkeypatch.context() as faulty:
        faulty.setattr(CLIPer, "encode", fails)
        told: list[Any] = []
        faulty.setattr(
            "napari_cliper.widgets.parts.notification_manager.receive_error",
            lambda *error: told.append(error),
        )
        faulty.setattr("napari_cliper.widgets.parts.show_error", told.append)
        picture.data = CAT[::-1].copy()
        dock.run()
        assert told
        told.clear()
    assert said in dock.status.text()
    assert list(viewer.layers) == layers
    assert np.array_equal(mask.data, before)
    assert not segmentation._turn.locked()
    fault.__traceback__ = None
    gc.collect()
    assert taken
    assert [one() for one in taken if one() is not None] == []
    dock.run()
    assert dock.status.text().startswith("small on cpu")
    assert np.array_equal(mask.data == 7, before == 7)
    assert not np.array_equal(mask.data, before)


def test_weights_that_go_between_two_runs(
    viewer: Viewer,
    dock: Any,
    monkeypatch: pytest.MonkeyPatch,
    told: list[str],
    tmp_path: Path,
) -> None:
    picture = viewer.add_image(CAT, name="photo")
    dock.run("cat")
    mask = viewer.layers["photo [refined]"]
    before = mask.data.copy()

    def uninstalled(name: str) -> Any:
        raise PackageNotFoundError(name)

    with monkeypatch.context() as faulty:
        faulty.setattr(weights.importlib.metadata, "distribution", uninstalled)
        faulty.setattr(weights, "cache_folder", lambda: tmp_path / "emptied")
        segmentation.let_go()  # as after a while without work
        picture.data = CAT[::-1].copy()
        dock.run()
        assert "are not on this machine" in dock.status.text()
        assert len(told) == 1
        assert np.array_equal(mask.data, before)
    dock.run()
    assert dock.status.text().startswith("small on cpu")
    assert not np.array_equal(mask.data, before)
