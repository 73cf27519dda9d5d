"""Files that cost more than they look."""

import traceback

import numpy as np
import pytest
import tifffile

from napari_cliper.errors import NapariCliperError
from napari_cliper.files import bounded
from napari_cliper.files.bounded import read_bounded, read_yaml
from napari_cliper.files.formats import formats
from napari_cliper.files.importing import read_annotations, recognized
from napari_cliper.files.indexed_png import class_list_in
from napari_cliper.files.review import saved_review
from napari_cliper.files.session import load_session

DEEP = [b"[" * 5000, b"[" * 5000 + b"]" * 5000, b'{"images": ' * 100_000]
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n"
    for old, new in zip("abcdefghijk", "bcdefghijkl", strict=True)
)


@pytest.mark.parametrize("content", DEEP, ids=["open", "closed", "objects"])
@pytest.mark.parametrize("key", ["coco", "coco-panoptic", "labelme", "label-studio"])
def test_json_without_end_is_refused(tmp_path, key, content):
    path = tmp_path / "deep.json"
    path.write_bytes(content)
    assert recognized(path) is None
    with pytest.raises(NapariCliperError, match="recursion limit"):
        list(read_annotations(path, formats()[key]))


@pytest.mark.parametrize("content", DEEP, ids=["open", "closed", "objects"])
@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("session.json", load_session),
        ("review.json", saved_review),
        (
            "metadata.jsonl",
            lambda folder: list(read_annotations(folder, formats()["hugging-face"])),
        ),
    ],
    ids=["session", "review", "table"],
)
def test_so_are_our_own_files(tmp_path, name, read, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(NapariCliperError, match="recursion"):
        read(tmp_path)


def test_a_class_list_without_end_is_refused(tmp_path):
    (tmp_path / "classes.json").write_bytes(b'{"classes": ' + DEEP[1] + b"}")
    with pytest.raises(NapariCliperError, match="recursion limit"):
        class_list_in(tmp_path / "classes.json")


def test_large_files_are_refused_before_they_are_understood(tmp_path, monkeypatch):
    monkeypatch.setattr(bounded.read_bounded, "__defaults__", (2**20,))
    for name, read in (("session.json", load_session), ("review.json", saved_review)):
        (tmp_path / name).write_bytes(b" " * (2**20 + 1))
        with pytest.raises(NapariCliperError, match="has more than 1 MiB: split it"):
            read(tmp_path)
    path = tmp_path / "classes.json"
    path.write_bytes(b" " * (2**20 + 1))
    with pytest.raises(NapariCliperError, match="has more than 1 MiB"):
        class_list_in(path)


def test_a_file_of_the_size_that_may_be_is_read(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"1234")
    assert read_bounded(path, 4) == b"1234"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB + "names: *l\n", "an alias in line 2"),
        ("a: &a [*a]\n", "an alias in line 1"),
        ("[" * 900, "more than 20 lists"),
        ("- " * 900, "more than 20 lists"),
        ("[" * 100_000, "no YAML in line 1"),  # libyaml has a bound of its own
        ("a: ]", "no YAML in line 1"),
    ],
)
def test_yaml_that_is_more_than_it_looks_is_refused(text, message):
    with pytest.raises(ValueError, match=message) as raised:
        read_yaml(text)
    assert len("".join(traceback.format_exception(raised.value))) < 10_000


def test_yaml_makes_texts_alone():
    assert read_yaml("a: no\nb: [1, !!python/name:os.system x]\n") == {"a": "no", "b": ["1", "x"]}


ENTITIES = "".join(
    f'<!ENTITY {new} "{f"&{old};" * 10}">'
    for old, new in zip("abcdefghijk", "bcdefghijkl", strict=True)
)
OME = (
    '<?xml version="1.0"?><!DOCTYPE z [<!ENTITY a "aaaaaaaaaa">{}]>'
    '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
    '<Pixels DimensionOrder="XYZCT" ID="Pixels:0" SizeC="1" SizeT="1" SizeX="16" SizeY="16"'
    ' SizeZ="1" Type="uint8"><TiffData/></Pixels></Image><StructuredAnnotations>'
    '<MapAnnotation Namespace="napari-cliper"><Value><M K="napari-cliper">{}</M></Value>'
    "</MapAnnotation></StructuredAnnotations></OME>"
)


@pytest.mark.parametrize(
    ("entities", "text", "message"),
    [
        (ENTITIES, "&l;", "amplification"),
        ('<!ENTITY b SYSTEM "file:///etc/passwd">', "&b;", "undefined entity"),
    ],
    ids=["bomb", "other file"],
)
def test_entities_are_no_way_out_of_an_ome_tiff(tmp_path, entities, text, message):
    path = tmp_path / "a.ome.tif"
    pixels = np.zeros((16, 16), np.uint8)
    tifffile.imwrite(path, pixels, description=OME.format(entities, text).encode(), metadata=None)
    assert recognized(path) is None
    with pytest.raises(NapariCliperError, match=message):
        list(read_annotations(path, formats()["ome-tiff"]))
