import os
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import zarr
from numpy.testing import assert_array_equal

from napari_cliper.annotation.class_list import ClassEntry, ClassList
from napari_cliper.cliper import Scores, Settings, drain
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.formats import ome_zarr
from napari_cliper.files.formats.format import Options
from napari_cliper.result import Result, Scored
from napari_cliper.tiles import stored
from napari_cliper.tiles.stored import store_steps

SIZE = (150, 233)
CLASSES = ClassList.parse("cat; sofa")


def made(classes: ClassList = CLASSES) -> Result:
    """Labels of random maps."""
    random = torch.manual_seed(0)
    coarse, refined = (torch.rand(len(classes), n, n, generator=random) for n in (5, 9))
    scores = Scores(SIZE, coarse, refined, torch.ones(len(classes)))
    return Scored(classes, scores, Settings()).label()


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "BLOCK", 64)


def test_labels_are_stored_with_smaller_copies(tmp_path: Path) -> None:
    result = made()
    one = drain(store_steps(result, tmp_path / "new" / "out.zarr"))
    assert one.labels.dtype == np.uint8
    assert one.labels.chunks == (64, 64)
    assert_array_equal(one.labels[:], result.labels)
    assert_array_equal(one.coarse_labels[:], result.coarse_labels)
    assert (result.labels != result.coarse_labels).any()
    assert [level.shape for level in one.levels] == [(150, 233), (75, 117), (38, 59)]
    assert_array_equal(one.levels[2][:], result.labels[::4, ::4])
    assert_array_equal(one.coarse_levels[1][:], result.coarse_labels[::2, ::2])
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out.zarr"]


def test_other_readers_know_the_folder(tmp_path: Path) -> None:
    result = made()
    path = tmp_path / "out.zarr"
    drain(store_steps(result, path))
    assert ome_zarr.recognizes(path)
    refined, coarse = sorted(ome_zarr.read(path, None), key=lambda one: one.name)
    assert {refined.name, coarse.name} == {"out_classes", "out_coarse"}
    assert refined.classes == CLASSES
    assert_array_equal(np.squeeze(refined.labels), result.labels)


def test_large_ids_take_two_bytes(tmp_path: Path) -> None:
    classes = ClassList(classes=(ClassEntry(id=300, name="cat"), ClassEntry(id=7, name="sofa")))
    result = made(classes)
    one = drain(store_steps(result, tmp_path / "out.zarr"))
    assert one.labels.dtype == np.uint16
    assert_array_equal(one.labels[:], result.labels)


def test_what_is_there_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "out.zarr"
    path.mkdir()
    (path / "letter.txt").write_text("somebody's work")
    with pytest.raises(NapariCliperError, match="exists already"):
        drain(store_steps(made(), path))
    with pytest.raises(NapariCliperError, match="no Zarr folder"):
        drain(store_steps(made(), path, overwrite=True))
    assert (path / "letter.txt").read_text() == "somebody's work"


def test_a_zarr_folder_may_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "out.zarr"
    drain(store_steps(made(), path))
    other = ClassList.parse("dog; table")
    drain(store_steps(made(other), path, overwrite=True))
    assert [one.classes for one in ome_zarr.read(path, None)] == [other, other]
    assert [one.name for one in tmp_path.iterdir()] == ["out.zarr"]


def test_a_picture_is_not_replaced_though_labels_lie_in_it(tmp_path: Path) -> None:
    path = tmp_path / "out.zarr"
    drain(store_steps(made(), path))
    root = zarr.open_group(path, mode="a")
    root.create_array("0", data=np.ones(SIZE, np.uint8))
    root.attrs["ome"] = {"version": "0.5", "multiscales": [{"datasets": [{"path": "0"}]}]}
    with pytest.raises(NapariCliperError, match="more than labels"):
        drain(store_steps(made(), path, overwrite=True))
    assert (zarr.open(path)["0"][:] == 1).all()
    zarr.create_array(tmp_path / "array.zarr", data=np.ones(SIZE, np.uint8))
    with pytest.raises(NapariCliperError, match="more than labels"):
        drain(store_steps(made(), tmp_path / "array.zarr", overwrite=True))


@pytest.mark.parametrize("more", ["letter.txt", "labels/nuclei"])
def test_labels_beside_which_there_is_more_are_not_replaced(tmp_path: Path, more: str) -> None:
    path = tmp_path / "out.zarr"
    drain(store_steps(made(), path))
    (path / more).mkdir()
    with pytest.raises(NapariCliperError, match="more than labels"):
        drain(store_steps(made(), path, overwrite=True))
    assert (path / more).is_dir()


def test_masks_that_were_exported_are_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "out.zarr"
    stored_ones = tmp_path / "other.zarr"
    drain(store_steps(made(), stored_ones))
    [refined, _] = sorted(ome_zarr.read(stored_ones, None), key=lambda one: one.name)
    ome_zarr.FORMAT.write([replace(refined, name="out")], tmp_path, Options())
    [written] = set(tmp_path.iterdir()) - {stored_ones}
    written.rename(path)
    with pytest.raises(NapariCliperError, match="more than labels"):
        drain(store_steps(made(), path, overwrite=True))


def test_what_comes_there_meanwhile_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "out.zarr"
    steps = store_steps(made(), path)
    next(steps)
    drain(store_steps(made(ClassList.parse("dog; table")), path))
    with pytest.raises(NapariCliperError, match="exists already"):
        drain(steps)
    assert [one.classes.names for one in ome_zarr.read(path, None)] == [("dog", "table")] * 2
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("steps", [1, 3, 14])
def test_leaving_early_leaves_nothing(tmp_path: Path, steps: int) -> None:
    path = tmp_path / "out.zarr"
    drain(store_steps(made(), path))
    before = sorted(path.rglob("*"))
    left = store_steps(made(), path, overwrite=True)
    for _ in range(steps):
        next(left)
    assert len(list(tmp_path.iterdir())) == 2
    left.close()
    assert list(tmp_path.iterdir()) == [path]
    assert sorted(path.rglob("*")) == before


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = os.replace
    written = 0

    def fill(*arguments: object) -> None:
        nonlocal written
        written += 1
        if written > 8:
            raise OSError(28, "No space left on device")
        replace(*arguments)

    monkeypatch.setattr(Path, "replace", lambda path, to: fill(path, to))
    monkeypatch.setattr(os, "replace", fill)
    monkeypatch.setattr(os, "rename", fill)
    with pytest.raises(NapariCliperError, match="No space left on device"):
        drain(store_steps(made(), tmp_path / "out.zarr"))
    assert written > 8
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_room_is_told_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(NapariCliperError, match="make room"):
        drain(store_steps(made(), tmp_path / "out.zarr"))


def test_names_and_folders_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(NapariCliperError, match="no name for such labels"):
        drain(store_steps(made(), tmp_path / "out.png"))
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(NapariCliperError, match="cannot be written"):
        drain(store_steps(made(), tmp_path / "file" / "out.zarr"))


def test_napari_shows_what_is_stored(tmp_path: Path) -> None:
    from napari.layers import Labels
    from napari_builtins.io._read import read_zarr_dataset

    result = made()
    one = drain(store_steps(result, tmp_path / "out.zarr"))
    layer = Labels(one.levels)
    assert layer.multiscale
    assert layer.get_value((70, 100), world=True)[1] == result.labels[70, 100]
    levels, shape = read_zarr_dataset(str(tmp_path / "out.zarr" / "labels" / "classes"))
    assert shape == SIZE
    assert_array_equal(np.asarray(levels[1]), result.labels[::2, ::2])
