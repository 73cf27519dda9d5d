"""labelme's files, as labelme and others write them."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image, ImageDraw

from annotations import ours
from napari_cliper.annotation.annotation import Annotation
from napari_cliper.errors import NapariCliperError
from napari_cliper.files import foreign
from napari_cliper.files.exporting import export
from napari_cliper.files.formats import Options, format_of
from napari_cliper.files.importing import read_annotations, recognized

LABELME = format_of("labelme")


def bitmap(mask) -> str:
    """As labelme's own utils.img_arr_to_b64 encodes it."""
    file = io.BytesIO()
    Image.fromarray(np.asarray(mask, np.uint8)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def shape(points, label="cat", kind="polygon", **more):
    known = {"label": label, "points": points, "group_id": None, "description": ""}
    return {**known, "shape_type": kind, "flags": {}, **more}


def saved(tmp_path, *shapes, name="photo.json", **more):
    content = {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": "photo.jpg"}
    content |= {"imageData": None, "imageHeight": 8, "imageWidth": 10, **more}
    path = tmp_path / name
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def read(path):
    (found,) = read_annotations(path, LABELME)
    return found


SQUARE = [[2, 1], [4, 1], [4, 3], [2, 3]]  # its line is filled too


def test_polygons(tmp_path):
    path = saved(tmp_path, shape(SQUARE), shape([[6.2, 5], [10, 5], [10, 8.4], [6.2, 8]], "dog"))
    assert recognized(path) is LABELME
    found = read(path)
    assert found.name == "photo"
    assert str(found.picture) == "photo.jpg"
    assert not found.remarks
    assert found.classes.names == ("cat", "dog")
    wanted = np.zeros((8, 10), int)
    wanted[1:4, 2:5], wanted[5:, 6:] = 1, 2
    assert np.array_equal(found.labels, wanted)


def test_a_group_of_one_label_is_one_object(tmp_path):
    other = [[7, 5], [9, 5], [9, 7], [7, 7]]
    alone, apart = [[0, 6], [2, 6], [2, 8], [0, 8]], [[0, 0], [1, 0], [1, 1], [0, 1]]
    path = saved(
        tmp_path,
        shape(SQUARE, group_id=3),
        shape(other, group_id=3),
        shape(alone),
        shape(apart, "dog", group_id=3),
    )
    found = read(path)
    assert found.instances[2, 3] == found.instances[5, 7] != 0
    numbers = {int(found.instances[place]) for place in ((2, 3), (7, 1), (0, 0))}
    assert len(numbers) == 3
    assert 0 not in numbers


def test_rectangles_circles_and_bitmaps(tmp_path):
    path = saved(
        tmp_path,
        shape([[4, 3], [2, 1]], "box", "rectangle"),
        shape([[7.5, 1.5], [7.5, 2.5]], "disk", "circle"),
        shape([[1.0, 6.0], [3.0, 7.0]], "bits", "mask", mask=bitmap([[1, 0, 1], [0, 1, 0]])),
    )
    found = read(path)
    wanted = np.zeros((8, 10), int)
    wanted[1:4, 2:5] = 1
    disk = Image.new("1", (10, 8))
    ImageDraw.Draw(disk).ellipse([6.5, 0.5, 8.5, 2.5], fill=1, outline=1)
    wanted[np.array(disk)] = 2
    wanted[6, [1, 3]] = wanted[7, 2] = 3
    assert np.array_equal(found.labels, wanted)


def test_shapes_without_area_are_left_out(tmp_path):
    points, line = shape([[1, 1]], "nose", "point"), shape([[0, 0], [3, 3]], "edge", "line")
    found = read(saved(tmp_path, points, line, shape(SQUARE), points))
    assert found.remarks == (
        "2 shapes of the type “point” have no area: they are left out.",
        "1 shapes of the type “line” have no area: they are left out.",
    )
    assert np.count_nonzero(found.labels) == 9


def test_overlap_goes_to_the_last(tmp_path):
    found = read(saved(tmp_path, shape(SQUARE), shape([[4, 3], [6, 3], [6, 6], [4, 6]], "dog")))
    assert found.labels[3, 4] == 2
    assert "1 pixels belong to several objects" in found.remarks[0]


def test_old_files_without_a_size_need_the_picture(tmp_path):
    path = saved(tmp_path, shape(SQUARE), imageHeight=None, imageWidth=None)
    with pytest.raises(NapariCliperError, match="put the picture beside it"):
        read(path)
    Image.new("RGB", (10, 8)).save(tmp_path / "photo.jpg")
    found = read(path)
    assert found.labels.shape == (8, 10)
    assert found.picture == tmp_path / "photo.jpg"


def test_a_byte_order_mark_and_windows_paths(tmp_path):
    path = saved(tmp_path, shape(SQUARE), imagePath="..\\pictures\\photo.jpg")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert recognized(path) is LABELME
    assert str(read(path).picture) == "photo.jpg"


def test_nothing_in_it(tmp_path):
    found = read(saved(tmp_path))
    assert not found.labels.any()
    assert found.labels.shape == (8, 10)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"shapes": [shape([[1, float("nan")], [2, 3], [3, 1]])]}, "finite number"),
        ({"shapes": [shape([[1, 2], [2, 1e300], [3, 1]])]}, "far out of the picture"),
        ({"shapes": [shape([[1, 2], [2, 3, 4], [3, 1]])]}, r"shapes\.0\.points\.1"),
        ({"shapes": [shape([])]}, r"shapes\.0\.points"),
        ({"shapes": [shape([[1, 1]], kind="circle")]}, "1 points in place of 2"),
        ({"shapes": [shape([[0, 0], [1, 1]], kind="mask", mask="?")]}, "damaged or cut short"),
        ({"shapes": [shape([[0, 0], [1, 1]], kind="mask", mask="AAAA")]}, "no picture"),
        ({"shapes": [shape([[0, 0], [1, 1]], kind="mask")]}, "no picture"),
        ({"shapes": [shape([[0, 0], [3, 1]], kind="mask", mask=bitmap([[1]]))]}, "fit its box"),
        ({"shapes": [shape([[9, 7], [10, 8]], kind="mask", mask=bitmap([[1] * 2] * 2))]}, "fit"),
        ({"imageHeight": 0}, "imageHeight"),
        ({"imageHeight": 100_000, "imageWidth": 100_000}, "too many pixels"),
        ({"imagePath": None}, "imagePath"),
    ],
)
def test_what_is_damaged_is_told(tmp_path, content, says):
    with pytest.raises(NapariCliperError, match=says):
        read(saved(tmp_path, **content))


def test_what_labelme_writes_has_what_it_reads(tmp_path):
    labels = np.zeros((9, 12), np.uint16)
    labels[1:4, 1:4] = labels[4:6, 4:6] = 1  # they touch at a corner: one object of two polygons
    labels[7:, 8:] = 2
    annotation = Annotation("photo", labels, ours("cat", "dog"))
    export([annotation], LABELME, tmp_path)
    content = json.loads((tmp_path / "photo.json").read_text(encoding="utf-8"))
    assert (content["imageHeight"], content["imageWidth"]) == (9, 12)
    assert content["imagePath"] == "photo.png"
    assert content["imageData"] is None
    assert [(s["label"], s["group_id"]) for s in content["shapes"]] == [
        ("cat", 1), ("cat", 1), ("dog", None)
    ]  # fmt: skip
    export([annotation], LABELME, tmp_path, Options(masks=True), overwrite=True)
    content = json.loads((tmp_path / "photo.json").read_text(encoding="utf-8"))
    assert content["shapes"][0]["points"] == [[1, 1], [5, 5]]
    mask = np.array(Image.open(io.BytesIO(base64.b64decode(content["shapes"][0]["mask"]))))
    assert np.array_equal(mask, labels[1:6, 1:6] == 1)


def test_a_part_with_many_holes_is_a_bitmap(tmp_path):
    labels = np.ones((64, 64), np.uint16)
    labels[1:-1:3, 1:-1:3] = 0
    for name, lines, kind in (("few", 30, "polygon"), ("many", 64, "mask")):
        export([Annotation(name, labels[:lines], ours("cat"))], LABELME, tmp_path)
        content = json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))
        assert [shape["shape_type"] for shape in content["shapes"]] == [kind]
        assert np.array_equal(read(tmp_path / f"{name}.json").labels, labels[:lines])


def test_files_that_are_too_large_are_refused(tmp_path, monkeypatch):
    path = saved(tmp_path, shape(SQUARE))
    monkeypatch.setattr(foreign, "LARGEST", 100)
    assert not LABELME.recognizes(path)
    with pytest.raises(NapariCliperError, match="has more than 0 MiB: split it"):
        read(path)


def test_the_class_list_is_not_overwritten(tmp_path):
    annotation = Annotation("Classes", np.ones((2, 3), np.uint16), ours("cat"))
    with pytest.raises(NapariCliperError, match="the file of the class list"):
        export([annotation], LABELME, tmp_path)
