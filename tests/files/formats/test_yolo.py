"""YOLO's data sets for segmentation, as other tools write them."""

import numpy as np
import pytest
import yaml
from PIL import Image

from annotations import ours
from napari_cliper.annotation.annotation import Annotation, foreign_classes
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.exporting import export
from napari_cliper.files.formats import format_of
from napari_cliper.files.importing import read_annotations, recognized

YOLO = format_of("yolo")
SQUARE = "1 0.2 0.125 0.5 0.125 0.5 0.5 0.2 0.5\n"  # in a picture of 10 x 8 pixels
BOX = "0 0.5 0.5 0.25 0.25\n"


def square():
    mask = np.zeros((8, 10), bool)
    mask[1:4, 2:5] = True
    return mask


def saved(tmp_path, files, sizes=(10, 8)):
    """A data set: texts by their places, and a picture for each of labels."""
    for place, text in files.items():
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        if "labels" in path.parts and sizes:
            picture = tmp_path / place.replace("labels", "images").replace(".txt", ".jpg")
            picture.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", sizes).save(picture)
    return tmp_path


def read(path, pictures=None):
    return {found.name: found for found in read_annotations(path, YOLO, pictures)}


LAYOUTS = {
    "Ultralytics": "labels/train2017/one.txt",
    "flat": "labels/one.txt",
    "Roboflow": "train/labels/one.txt",
}


@pytest.mark.parametrize("place", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("names", ["names: [dog, cat]", "names:\n  0: dog\n  1: cat\nnc: 2"])
def test_data_sets(tmp_path, place, names):
    text = f"path: ../datasets/mine # root\ntrain: images/train\nval:\n\n{names}\n"
    saved(tmp_path, {"data.yaml": text, place: SQUARE, place.replace("one", "empty"): ""})
    for path in (tmp_path, tmp_path / "data.yaml"):
        assert recognized(path) is YOLO
        found = read(path)
        assert set(found) == {"one", "empty"}
        assert not found["empty"].labels.any()
        one = found["one"]
        assert one.classes.names == ("dog", "cat")
        assert one.classes.ids == (1, 2)
        assert np.array_equal(one.labels, square() * 2)
        assert one.picture.name == "one.jpg"
        assert not one.remarks
    assert recognized(tmp_path / place) is YOLO
    assert set(read(tmp_path / place)) == {"one"}


def test_names_from_classes_txt_beside(tmp_path):
    saved(tmp_path, {"labels/classes.txt": "dog\nred cat\n\n", "labels/one.txt": SQUARE})
    path = tmp_path / "labels" / "one.txt"
    assert recognized(path) is YOLO
    assert read(path)["one"].classes.names == ("dog", "red cat")
    assert set(read(tmp_path / "labels")) == {"one"}


def test_names_from_our_class_list(tmp_path):
    saved(tmp_path, {"classes.json": ours("dog", "cat").to_json(), "labels/one.txt": SQUARE})
    path = tmp_path / "labels" / "one.txt"
    assert recognized(path) is YOLO
    assert np.array_equal(read(path)["one"].labels, square() * 2)


def test_without_names_they_are_numbers(tmp_path):
    saved(tmp_path, {"labels/one.txt": SQUARE})
    assert recognized(tmp_path / "labels" / "one.txt") is None
    one = read(tmp_path / "labels" / "one.txt")["one"]
    assert one.classes.names == ("class 1",)
    assert "tells the classes' names" in one.remarks[0]


def test_words_that_yaml_takes_for_something_else(tmp_path):
    names = "names:\n  0: no\n  1: null\n  2: 1.50\n  3: 'it''s'\n"
    saved(tmp_path, {"data.yaml": names, "labels/one.txt": SQUARE})
    assert read(tmp_path)["one"].classes.names == ("no", "null", "1.50", "it's")


def test_boxes_are_not_ours(tmp_path):
    saved(tmp_path, {"data.yaml": "names: [dog, cat]", "labels/one.txt": BOX})
    for path in (tmp_path, tmp_path / "data.yaml", tmp_path / "labels" / "one.txt"):
        assert not YOLO.recognizes(path)
    one = read(tmp_path)["one"]
    assert one.remarks == ("1 lines hold boxes, no outlines: they are left out.",)


def test_pictures_in_a_folder_that_is_given(tmp_path):
    saved(tmp_path / "set", {"data.yaml": "names: [dog, cat]", "labels/one.txt": SQUARE}, None)
    with pytest.raises(NapariCliperError, match="say in which folder the pictures are"):
        read(tmp_path / "set")
    Image.new("RGB", (20, 16)).save(tmp_path / "one.png")
    one = read(tmp_path / "set", tmp_path)["one"]
    assert np.array_equal(one.labels, 2 * square().repeat(2, 0).repeat(2, 1))


def test_files_without_their_picture_are_left_out_and_told(tmp_path):
    saved(tmp_path, {"data.yaml": "names: [dog, cat]", "labels/one.txt": SQUARE})
    (tmp_path / "labels" / "two.txt").write_text(SQUARE)
    found = read(tmp_path)
    assert list(found) == ["one"]
    assert found["one"].remarks[0].startswith("1 files have no picture that tells its size, “two.")


def test_two_files_of_one_name(tmp_path):
    files = {"labels/train/one.txt": SQUARE, "labels/val/one.txt": SQUARE}
    saved(tmp_path, {"data.yaml": "names: [dog, cat]", **files})
    assert len(read(tmp_path)) == 2


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("1 0.2 0.1 0.5 0.1 nan 0.5", "leads out of the picture"),
        ("1 0.2 0.1 0.5 0.1 inf 0.5", "leads out of the picture"),
        ("1 0.2 0.1 0.5 0.1 1.5 0.5", "from 0 to 1"),
        ("1 200 100 500 100 150 500", "divide by the picture's width"),
        ("1 0.2 0.1 0.5 0.1 0.5", "no class index and three"),
        ("1 0.2 0.1", "no class index and three"),
        ("0.5 0.2 0.1 0.5 0.1 0.5 0.5", "no class index and three"),
        ("-1 0.2 0.1 0.5 0.1 0.5 0.5", "no class index and three"),
        ("nan 0.2 0.1 0.5 0.1 0.5 0.5", "no class index and three"),
        ("cat 0.2 0.1 0.5 0.1 0.5 0.5", "no class index and three"),
        ("7 0.2 0.1 0.5 0.1 0.5 0.5", "no name for the class 7: add it"),
    ],
)
def test_lines_that_are_wrong(tmp_path, line, says):
    saved(tmp_path, {"data.yaml": "names: [dog, cat]", "labels/one.txt": f"{SQUARE}\n{line}\n"})
    with pytest.raises(NapariCliperError, match=f"line 3: .*{says}"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("names: [dog, cat", "no YAML in line"),
        ("names:\n  0: dog\n 1: [", "no YAML in line"),
        ("[" * 100_000, "damaged"),
        ("names: &a [*a]", "an alias in line 1"),
        ("names: {dog: 0}", "names"),
        ("names: {-1: dog}", "names"),
        ("names: dog", "names"),
        ("train: images", "names"),
        ("", "no valid file"),
        ("names: [dog]\nnapari_cliper: {sizes: {one: [0, 5]}}", "sizes"),
        ("names: [dog]\nnapari_cliper: {sizes: {one: [100000, 100000]}}", "too many pixels"),
    ],
)
def test_a_data_yaml_that_is_wrong(tmp_path, text, says):
    saved(tmp_path, {"data.yaml": text, "labels/one.txt": SQUARE})
    with pytest.raises(NapariCliperError, match=says):
        read(tmp_path)


def test_bytes_that_are_no_text(tmp_path):
    saved(tmp_path, {"data.yaml": "names: [dog, cat]", "labels/one.txt": SQUARE})
    (tmp_path / "labels" / "one.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(NapariCliperError, match="damaged"):
        read(tmp_path)


def test_any_yaml_reader_takes_what_is_written(tmp_path):
    names = ["no", "a: b", "- x", "😀", "\x00\x7f\x9f\ufffe", "🏳️‍🌈", "#", '"', "\\u0041"]
    classes = foreign_classes(dict(enumerate(names, 3)))
    labels = np.zeros((8, 10), np.uint16)
    labels[square()] = 5
    export([Annotation("one", labels, classes)], YOLO, tmp_path)
    text = (tmp_path / "data.yaml").read_text(encoding="utf-8")
    for loader in (yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        data = yaml.load(text, Loader=loader)
        assert data["names"] == dict(enumerate(classes.names))
        assert data["train"] == data["val"] == "images"
        assert data["napari_cliper"]["sizes"] == {"one": [8, 10]}
    line = (tmp_path / "labels" / "one.txt").read_text()
    index, *corners = map(float, line.split())
    assert index == 2
    assert sorted(set(corners)) == [0.125, 0.2, 0.5]


def test_indices_are_those_of_all_class_lists(tmp_path):
    labels = np.where(square(), 9, 0).astype(np.uint16)
    first = Annotation("one", labels, foreign_classes({9: "late"}))
    second = Annotation("two", labels // 3, foreign_classes({3: "early"}))
    export([first, second], YOLO, tmp_path)
    assert yaml.safe_load((tmp_path / "data.yaml").read_text())["names"] == {0: "early", 1: "late"}
    assert (tmp_path / "labels" / "one.txt").read_text().startswith("1 ")
    assert (tmp_path / "labels" / "two.txt").read_text().startswith("0 ")


def test_wide_pictures_come_back_exactly(tmp_path):
    random = np.random.default_rng(0)
    labels = (random.random((3, 60_000)) < 0.01).astype(np.uint16)
    numbers = np.where(labels, 1 + np.arange(60_000) // 20_000, 0).astype(np.uint32)
    export([Annotation("wide", labels, ours("cat"), numbers)], YOLO, tmp_path)
    assert np.array_equal(read(tmp_path)["wide"].labels, labels)
