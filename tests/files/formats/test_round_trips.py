"""Whatever is written is read back the same, as far as the format says that it keeps it."""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotations import annotations, check_same, class_lists, ours
from napari_cliper.annotation.annotation import Annotation
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.exporting import export
from napari_cliper.files.formats import Keeps, Options, formats
from napari_cliper.files.importing import read_annotations, recognized

FORMATS = list(formats().values())
IN_SHORT = settings(max_examples=20, deadline=None)
EVERY = pytest.mark.parametrize("format_", FORMATS, ids=[known.key for known in FORMATS])


def opened(written: list[Path], folder: Path, format_) -> list[Path]:
    """Of an export, what a person would open: files, or else the folder."""
    found = [path for path in (*written, folder) if recognized(path) is format_]
    assert found, f"nothing of {written} is recognized"
    return found


def write_and_read(wanted, format_, options=Options(), alone=False):
    with tempfile.TemporaryDirectory() as hidden:
        folder = Path(hidden, "out")
        written = export(wanted, format_, folder, options)
        if alone:
            (folder / "classes.json").unlink()
        found = {}
        for path in opened(written, folder, format_):
            found |= {a.name: a for a in read_annotations(path, format_)}
        return found


@EVERY
@IN_SHORT
@given(data=st.data())
def test_with_the_class_list_beside_it_all_of_it_comes_back(format_, data):
    most = min(format_.max_label, data.draw(st.sampled_from([254, 65535])))
    wanted = data.draw(annotations(most, format_.stacks, format_.keeps.instances))
    if not format_.keeps.empty and not wanted.labels.any():
        return
    found = write_and_read([wanted], format_)
    assert list(found) == [wanted.name]
    keeps = Keeps(instances=format_.keeps.instances)
    check_same(found[wanted.name], wanted, keeps)


@EVERY
@IN_SHORT
@given(data=st.data())
def test_alone_it_keeps_what_it_says(format_, data):
    most = min(format_.max_label, 254)
    wanted = data.draw(annotations(most, format_.stacks, format_.keeps.instances))
    if not format_.keeps.empty and not wanted.labels.any():
        return
    found = write_and_read([wanted], format_, alone=True)
    check_same(found[wanted.name], wanted, format_.keeps)


@EVERY
def test_alone_an_empty_picture_stays_empty(format_):
    if format_.keeps.empty:
        wanted = Annotation("picture", np.zeros((6, 8), np.uint16), ours("cat", "dog"))
        found = write_and_read([wanted], format_, alone=True)["picture"]
        assert found.labels.shape == (6, 8)
        assert not found.labels.any()


@EVERY
def test_alone_objects_that_touch_stay_apart(format_):
    if format_.keeps.instances:
        labels = np.ones((6, 8), np.uint16)
        numbers = np.arange(48, dtype=np.uint32).reshape(6, 8) // 7 % 3 + 1
        wanted = Annotation("picture", labels, ours("cat"), numbers)
        found = write_and_read([wanted], format_, alone=True)["picture"]
        check_same(found, wanted, format_.keeps)


@EVERY
@IN_SHORT
@given(data=st.data())
def test_bitmaps_in_place_of_polygons(format_, data):
    wanted = data.draw(annotations(min(format_.max_label, 254)))
    if not wanted.labels.any():
        return
    found = write_and_read([wanted], format_, Options(masks=True))
    check_same(found[wanted.name], wanted, Keeps())


@EVERY
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_several_pictures_at_once(format_, data):
    classes = data.draw(class_lists(min(format_.max_label, 254)))
    wanted = [data.draw(annotations(name=name, classes=classes)) for name in ("one", "two two")]
    found = write_and_read(wanted, format_)
    for annotation in wanted:
        if annotation.labels.any():
            check_same(found[annotation.name], annotation, Keeps())
        elif format_.keeps.empty:
            assert not found[annotation.name].labels.any()


@EVERY
def test_void_is_no_object(format_):
    labels = np.zeros((6, 8), np.uint16)
    labels[1:3, 1:3], labels[4:, 4:] = 1, 2
    wanted = Annotation("picture", labels, ours("cat", "void"))
    found = write_and_read([wanted], format_, Options(void="Void"))["picture"]
    void = 255 if format_.void_label else 0
    assert np.array_equal(found.labels, np.where(labels == 2, void, labels))


@EVERY
def test_with_no_class_but_void_a_picture_is_empty(format_):
    wanted = Annotation("picture", np.ones((6, 8), np.uint16), ours("void"))
    if format_.void_label:
        wanted = replace(wanted, labels=np.zeros((6, 8), np.uint16))
    if format_.keeps.empty:
        found = write_and_read([wanted], format_, Options(void="Void"))["picture"]
        assert found.labels.shape == (6, 8)
        assert not found.labels.any()


@EVERY
def test_planes_are_refused_or_kept(format_):
    wanted = Annotation("picture", np.ones((2, 3, 4), np.uint16), ours("cat"))
    if format_.stacks:
        assert np.array_equal(write_and_read([wanted], format_)["picture"].labels, wanted.labels)
    else:
        with pytest.raises(NapariCliperError, match=r"has 3 axes, and .* holds 2: export"):
            write_and_read([wanted], format_)


@EVERY
def test_nothing_foreign_is_recognized(format_, tmp_path, subtests):
    for name, content in (
        ("empty", b""),
        ("photo_labels.png", b"\x89PNG\r\n\x1a\n"),
        ("package.json", b'{"name": "x", "version": "1.0"}'),
        ("list.json", b"[1, 2, 3]"),
        ("broken.json", b'{"images": ['),
        ("deep.json", b"[" * 100_000),
        ("notes.txt", b"0.5 0.5\nwords\n"),
        ("data.yaml", b"a: b\n"),
        ("picture_labels.ome.tif", b"II*\0" + bytes(20)),
        ("archive.zip", b"PK\x03\x04"),
    ):
        with subtests.test(name):
            path = tmp_path / name
            path.write_bytes(content)
            assert not format_.recognizes(path)
    assert not format_.recognizes(tmp_path)
    assert not format_.recognizes(tmp_path / "missing.json")


@EVERY
def test_what_is_damaged_is_refused(format_, tmp_path, subtests):
    labels = np.zeros((20, 30), np.uint16)
    labels[2:9, 3:20], labels[11:, 5:] = 1, 2
    written = export([Annotation("picture", labels, ours("cat", "dog"))], format_, tmp_path)
    path = opened(written, tmp_path, format_)[0]
    files = [file for one in written for file in (one.rglob("*") if one.is_dir() else [one])]
    for file in files:
        if file.is_dir() or file.name == "classes.json":
            continue
        content = file.read_bytes()
        for cut in (0, len(content) // 2, len(content) - 3):
            with subtests.test(file.name, cut=cut):
                file.write_bytes(content[:cut])
                try:
                    (found,) = read_annotations(path, format_)
                except NapariCliperError:
                    pass
                else:  # text may lose its last line unnoticed, but pixels do not become others
                    same = found.labels == labels
                    assert same.all() or file.suffix == ".txt"
                    assert (same | (found.labels == 0)).all()
        file.write_bytes(content)
