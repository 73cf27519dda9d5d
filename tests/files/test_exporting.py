"""An export is there as a whole or not at all, and nothing is replaced unasked."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from annotations import ours
from napari_cliper.annotation.annotation import Annotation
from napari_cliper.errors import NapariCliperError
from napari_cliper.files import exporting
from napari_cliper.files.exporting import Planned, export, preview
from napari_cliper.files.formats import Format, Keeps, Options, format_of

PNG = format_of("png")


def annotation(name="cat", value=1, classes="cat; dog"):
    return Annotation(name, np.full((3, 4), value, np.uint16), ours(*classes.split("; ")))


def state(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_files_and_class_list(tmp_path):
    written = export([annotation()], PNG, tmp_path / "a" / "b")
    assert written == [tmp_path / "a" / "b" / "cat.png", tmp_path / "a" / "b" / "classes.json"]
    assert set(state(tmp_path)) == {"a/b/cat.png", "a/b/classes.json"}


def test_nothing_is_replaced_unasked(tmp_path):
    export([annotation()], PNG, tmp_path)
    before = state(tmp_path)
    with pytest.raises(NapariCliperError, match=r"cat.png” exists already: choose another name"):
        export([annotation("new"), annotation(value=2)], PNG, tmp_path)
    assert state(tmp_path) == before
    export([annotation(value=2)], PNG, tmp_path, overwrite={"cat.png"})
    assert state(tmp_path) != before
    export([annotation()], PNG, tmp_path, overwrite=True)
    assert state(tmp_path) == before


def test_the_same_again_is_no_replacing(tmp_path):
    export([annotation()], PNG, tmp_path)
    export([annotation()], PNG, tmp_path)
    export([annotation("other")], PNG, tmp_path)
    assert len(state(tmp_path)) == 3


def test_other_classes_are_not_replaced_unasked(tmp_path):
    export([annotation()], PNG, tmp_path)
    before = state(tmp_path)
    with pytest.raises(NapariCliperError, match="holds other classes: choose another folder"):
        export([annotation("b", classes="bird")], PNG, tmp_path)
    assert state(tmp_path) == before


def test_preview_is_what_is_written(tmp_path):
    planned = preview([annotation()], PNG, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    export([annotation()], PNG, tmp_path / "new")
    assert {(file.place, file.nbytes) for file in planned} == {
        (place, len(content)) for place, content in state(tmp_path / "new").items()
    }
    assert not any(file.taken for file in preview([annotation()], PNG, tmp_path / "new"))
    (taken,) = (f for f in preview([annotation(value=2)], PNG, tmp_path / "new") if f.taken)
    assert isinstance(taken, Planned)
    assert taken.place == "cat.png"


@pytest.mark.parametrize("moment", [1, 2])
def test_a_disk_that_fills_up_leaves_what_was_there(tmp_path, monkeypatch, moment):
    export([annotation()], PNG, tmp_path)
    before = state(tmp_path)
    write, calls = Path.write_bytes, []

    def full(path, content):
        calls.append(path)
        if len(calls) == moment:
            write(path, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(NapariCliperError, match=r"No space left.*make room"):
        export([annotation(value=2)], PNG, tmp_path, overwrite=True)
    assert state(tmp_path) == before


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NapariCliperError, match="cannot be written"):
        export([annotation()], PNG, tmp_path / "file" / "below")


@pytest.mark.parametrize("name", ["../a", "a/b", "", ".", "..", "CON", "a\nb", "a:b", "a\u202eb"])
def test_no_name_leads_out_of_the_folder(tmp_path, name):
    with pytest.raises(NapariCliperError, match="is no name for a file: take another"):
        export([annotation(name)], PNG, tmp_path / "in")
    assert not state(tmp_path)


def test_two_of_one_name(tmp_path):
    with pytest.raises(NapariCliperError, match="would be written to the same files"):
        export([annotation("cat"), annotation("Cat")], PNG, tmp_path)
    assert not state(tmp_path)


def test_nothing_to_write(tmp_path):
    with pytest.raises(NapariCliperError, match="There is nothing to write"):
        export([], PNG, tmp_path)


def test_a_format_that_keeps_the_classes_does_without_the_list(tmp_path):
    export([annotation()], PNG, tmp_path)
    before = state(tmp_path)
    export([annotation(classes="bird")], PNG, tmp_path, overwrite={"cat.png"})
    assert state(tmp_path)["classes.json"] == before["classes.json"]
    assert state(tmp_path)["cat.png"] != before["cat.png"]
    with pytest.raises(NapariCliperError, match="holds other classes"):
        export([annotation("b", classes="bird")], format_of("yolo"), tmp_path, overwrite={"b"})


def test_all_below_a_folder_may_be_replaced(tmp_path):
    panoptic = format_of("coco-panoptic")
    export([annotation()], panoptic, tmp_path)
    other = Annotation("cat", np.eye(3, 4, dtype=np.uint16), ours("cat", "dog"))
    with pytest.raises(NapariCliperError, match=r"cat/cat.png” exists already"):
        export([other], panoptic, tmp_path, overwrite={"cat.json"})
    export([other], panoptic, tmp_path, overwrite={"cat.json", "cat/"})


def test_what_cannot_be_put_into_place_is_known_before(tmp_path):
    (tmp_path / "a.png").write_bytes(b"old")
    (tmp_path / "b.png").mkdir()
    before = state(tmp_path)
    with pytest.raises(NapariCliperError, match=r"b.png” is a folder"):
        export([annotation("a"), annotation("b")], PNG, tmp_path, overwrite=True)
    assert state(tmp_path) == before
    (tmp_path / "labels").touch()
    with pytest.raises(NapariCliperError, match="is a file, no folder"):
        export([annotation("c")], format_of("yolo"), tmp_path, overwrite=True)
    assert not (tmp_path / "data.yaml").exists()


def test_old_files_of_a_folder_that_is_one_thing_do_not_stay(tmp_path):
    binary = format_of("binary")
    export([annotation()], binary, tmp_path)
    with pytest.raises(NapariCliperError, match="exists already"):
        export([annotation(classes="cat")], binary, tmp_path, overwrite={"classes.json"})
    export([annotation(classes="cat")], binary, tmp_path, overwrite=True)
    assert [path.name for path in (tmp_path / "cat").iterdir()] == ["001_cat.png"]


@pytest.mark.parametrize("key", ["ome-zarr", "binary"])
def test_the_same_folder_again_is_no_replacing(tmp_path, key):
    export([annotation()], format_of(key), tmp_path)
    export([annotation()], format_of(key), tmp_path)


def test_an_interrupt_between_two_steps_brings_the_old_folder_back(tmp_path, monkeypatch):
    export([annotation()], FOLDERS, tmp_path)
    before, rename = state(tmp_path), Path.rename

    def interrupted(path, target):
        if path.parent.name == "new":
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(exporting.Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export([annotation(value=2)], FOLDERS, tmp_path, overwrite=True)
    assert state(tmp_path) == before


def test_it_can_be_ended_when_all_is_made(tmp_path):
    export([annotation()], PNG, tmp_path)
    before = state(tmp_path)

    def no_longer_wanted():
        raise NapariCliperError("cancelled")

    with pytest.raises(NapariCliperError, match="cancelled"):
        export([annotation(value=2)], PNG, tmp_path, overwrite=True, ready=no_longer_wanted)
    assert state(tmp_path) == before


def test_what_a_kill_left_behind_goes_later(tmp_path):
    left = tmp_path / f"{exporting.HIDDEN}x.part"
    (left / "new").mkdir(parents=True)
    export([annotation()], PNG, tmp_path)
    assert left.exists()  # another export may be on
    os.utime(left, (0, 0))
    export([annotation()], PNG, tmp_path)
    assert not left.exists()


def test_a_preview_knows_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NapariCliperError, match="cannot be written"):
        preview([annotation()], PNG, tmp_path / "file" / "below")


def test_classes_that_contradict_each_other(tmp_path):
    both = [annotation(), annotation("b", classes="bird")]
    with pytest.raises(NapariCliperError, match=r"“bird” has the label 1.*another.*“cat”"):
        export(both, format_of("labelme"), tmp_path)
    assert not state(tmp_path)
    export(both, PNG, tmp_path)  # each file has its own
    assert set(state(tmp_path)) == {"cat.png", "b.png"}


def test_classes_of_several_pictures_are_put_together(tmp_path):
    export([annotation("a", classes="cat"), annotation("b")], PNG, tmp_path)
    assert '"dog"' in (tmp_path / "classes.json").read_text()


def test_a_link_stays_one(tmp_path):
    (tmp_path / "real").mkdir()
    export([annotation()], PNG, tmp_path / "real")
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "cat.png").symlink_to(tmp_path / "real" / "cat.png")
    export([annotation(value=2)], PNG, tmp_path / "link", overwrite=True)
    assert (tmp_path / "link" / "cat.png").is_symlink()
    assert state(tmp_path / "link")["cat.png"] == state(tmp_path / "real")["cat.png"]


def folders(annotations, folder, options):
    """A format whose folder is one thing."""
    for one in annotations:
        (folder / f"{one.name}.zarr").mkdir()
        (folder / f"{one.name}.zarr" / "chunk").write_bytes(one.labels.tobytes())


FOLDERS = Format(
    "folders", "Folders", 0, "", Keeps(), folders, lambda path: False, iter, one_thing=True
)


def test_a_folder_that_is_one_thing_is_replaced_as_one(tmp_path):
    export([annotation()], FOLDERS, tmp_path)
    (tmp_path / "cat.zarr" / "old").touch()
    with pytest.raises(NapariCliperError, match="exists already"):
        export([annotation(value=2)], FOLDERS, tmp_path)
    export([annotation(value=2)], FOLDERS, tmp_path, overwrite=True)
    assert set(state(tmp_path)) == {"cat.zarr/chunk", "classes.json"}


def test_a_folder_that_cannot_be_replaced_stays(tmp_path, monkeypatch):
    export([annotation()], FOLDERS, tmp_path)
    before = state(tmp_path)
    rename = Path.rename

    def refuse(path, target):
        if path.parent.name == "new":
            raise OSError(errno.EACCES, "Permission denied")
        return rename(path, target)

    monkeypatch.setattr(exporting.Path, "rename", refuse)
    with pytest.raises(NapariCliperError, match="Permission denied"):
        export([annotation(value=2)], FOLDERS, tmp_path, overwrite=True)
    assert state(tmp_path) == before


def test_options_reach_the_format(tmp_path):
    seen = []

    def write(annotations, folder, options):
        list(annotations)
        seen.append(options)

    export(
        [annotation()],
        Format("x", "X", 0, "", Keeps(), write, lambda path: False, iter),
        tmp_path,
        Options(void="dog", masks=True),
    )
    assert seen == [Options(void="dog", masks=True)]
