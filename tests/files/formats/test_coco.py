"""COCO as pycocotools reads ours, and as other tools write theirs."""

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_masks
from pycocotools.coco import COCO

from annotations import ours
from napari_cliper.annotation.annotation import Annotation
from napari_cliper.annotation.class_list import ClassEntry, ClassList
from napari_cliper.errors import NapariCliperError
from napari_cliper.files import foreign
from napari_cliper.files.exporting import export
from napari_cliper.files.formats import Options, format_of
from napari_cliper.files.importing import read_annotations, recognized
from napari_cliper.files.polygons import decoded
from napari_cliper.files.run_lengths import decode

FORMAT = format_of("coco")
KITCHEN = {
    "images": [
        {"id": 7, "file_name": "shelves/jar.jpg", "height": 6, "width": 8},
        {"id": 3, "file_name": "empty.jpg", "height": 2, "width": 3},
    ],
    "categories": [{"id": 0, "name": "lid"}, {"id": 90_000, "name": "glass", "color": "#0a14ff"}],
    "annotations": [
        {
            "id": 1, "image_id": 7, "category_id": 90_000, "iscrowd": 0,
            "segmentation": [[1, 1, 5, 1, 5, 5, 1, 5]], "bbox": [1, 1, 4, 4], "area": 16,
        },
        {
            "id": 2, "image_id": 7, "category_id": 0, "iscrowd": 1,
            "segmentation": {"size": [6, 8], "counts": [0, 2, 4, 2, 40]},
        },
        {
            "id": 3, "image_id": 7, "category_id": 0, "iscrowd": 0,
            "segmentation": [[4, 4, 7, 4, 7, 6, 4, 6]],
        },
    ],
}  # fmt: skip


def saved(path: Path, document) -> Path:
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def kitchen(tmp_path, **changes) -> Path:
    return saved(tmp_path / "kitchen.json", {**KITCHEN, **changes})


def with_segmentation(tmp_path, segmentation) -> Path:
    return kitchen(
        tmp_path, annotations=[{**KITCHEN["annotations"][0], "segmentation": segmentation}]
    )


@pytest.fixture
def annotation() -> Annotation:
    rng = np.random.default_rng(0)
    labels = np.kron(rng.integers(0, 3, (9, 12)), np.ones((3, 3))).astype(np.uint16)
    return Annotation(
        "photo_labels", labels, ours("cat", "dog"), picture=Path("there", "photo.jpg")
    )


@pytest.mark.parametrize("masks", [False, True])
def test_pycocotools_sees_the_same_pixels(tmp_path, annotation, masks):
    (path, _) = sorted(export([annotation], FORMAT, tmp_path, Options(masks=masks)), reverse=True)
    assert path.name == "photo_labels.json"
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(path)
    (image,) = coco.loadImgs(coco.getImgIds())
    assert (image["file_name"], image["height"], image["width"]) == ("photo.jpg", 27, 36)
    labels = np.zeros((27, 36), np.uint16)
    for thing in coco.loadAnns(coco.getAnnIds()):
        mask = decoded(coco.annToRLE(thing))
        assert mask.sum() == thing["area"]
        assert thing["bbox"] == coco_masks.toBbox(coco.annToRLE(thing)).tolist()
        assert isinstance(thing["segmentation"], dict) is masks
        labels[mask] = thing["category_id"]
    assert np.array_equal(labels, annotation.labels)


def test_names_come_back_and_pictures_are_known(tmp_path, annotation):
    export([annotation], FORMAT, tmp_path)
    (found,) = read_annotations(tmp_path / "photo_labels.json")
    assert (found.name, found.picture) == ("photo_labels", Path("photo.jpg"))
    (tmp_path / "images").mkdir()
    Image.new("L", (36, 27)).save(tmp_path / "images" / "photo.jpg")
    (found,) = read_annotations(tmp_path / "photo_labels.json")
    assert found.picture == tmp_path / "images" / "photo.jpg"


def test_the_same_masks_give_the_same_file(tmp_path, annotation):
    for folder in ("one", "two"):
        export([annotation], FORMAT, tmp_path / folder)
    one, two = (tmp_path / name / "photo_labels.json" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_a_void_class_alone_leaves_an_empty_picture(tmp_path):
    only = Annotation("one", np.ones((2, 3), np.uint16), ours("void"))
    export([only], FORMAT, tmp_path, Options(void="void"))
    for near in (True, False):
        (found,) = read_annotations(tmp_path / "one.json")
        assert not found.labels.any()
        if near:
            (tmp_path / "classes.json").unlink()


def test_a_rough_outline_becomes_run_lengths(tmp_path):
    labels = np.zeros((200, 400), np.uint16)
    labels[:, ::2] = labels[0] = 1
    rough = Annotation("comb", labels, ours("comb"))
    export([rough], FORMAT, tmp_path)
    (thing,) = json.loads((tmp_path / "comb.json").read_text())["annotations"]
    assert isinstance(thing["segmentation"], dict)
    (found,) = read_annotations(tmp_path / "comb.json")
    assert np.array_equal(found.labels, labels)


def test_another_tools_file(tmp_path):
    path = kitchen(tmp_path)
    assert recognized(path) is FORMAT
    jar, empty = read_annotations(path)
    assert jar.classes.names == ("lid", "glass")
    assert jar.classes[1].color == (10, 20, 255)
    assert (jar.name, empty.name, jar.picture) == ("jar", "empty", Path("jar.jpg"))
    lid, glass = jar.classes.ids
    expected = np.zeros((6, 8), int)
    expected[1:5, 1:5] = glass
    expected[:2, :2] = expected[4:, 4:7] = lid
    assert jar.labels.tolist() == expected.tolist()
    assert jar.instances.max() == 3
    assert jar.remarks == (
        "2 pixels belong to several objects: the last one has them.",
        "1 of the objects are crowds: each was read as one object.",
    )
    assert empty.labels.shape == (2, 3)
    assert not empty.labels.any()


def test_classes_beside_it_are_taken_if_they_have_all_its_names(tmp_path):
    near = ClassList(classes=(ClassEntry(id=5, name="Glass"), ClassEntry(id=9, name="lid")))
    (tmp_path / "classes.json").write_text(near.to_json())
    jar, _ = read_annotations(kitchen(tmp_path))
    assert jar.classes == near
    assert set(np.unique(jar.labels)) == {0, 5, 9}


def test_what_has_only_a_box_is_left_out_and_said(tmp_path):
    for segmentation in ([], None, [[1, 1, 2, 2]]):
        found, _ = read_annotations(with_segmentation(tmp_path, segmentation), FORMAT)
        assert not found.labels.any()
        assert "perhaps only a box" in found.remarks[0]


def test_polygons_are_cut_off_at_the_picture(tmp_path):
    jar, _ = read_annotations(with_segmentation(tmp_path, [[-3, -2.5, 900, -2.5, 900, 3, -3, 3]]))
    assert jar.labels[:3].all()
    assert not jar.labels[3:].any()


def test_pictures_of_the_same_name_stay_apart(tmp_path):
    files = ["a/same.png", "b/Same.png", "same (1).png", "..", "a\\..\\x.tar", "same.png"]
    images = [{"id": i, "file_name": f, "height": 1, "width": 1} for i, f in enumerate(files)]
    found = [a.name for a in read_annotations(kitchen(tmp_path, images=images, annotations=[]))]
    assert found == ["same", "Same (1)", "same (1) (1)", "_", "x.tar", "same (2)"]


def test_a_mark_of_windows_and_more_keys_are_passed_over(tmp_path):
    path = tmp_path / "kitchen.json"
    more = {**KITCHEN, "licenses": [{"id": None}], "info": {"score": float("nan")}}
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(more).encode())
    assert recognized(path) is FORMAT
    assert len(list(read_annotations(path))) == 2


@pytest.mark.parametrize("seed", range(20))
def test_run_lengths_are_read_as_pycocotools_reads_them(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random((rng.integers(1, 90), rng.integers(1, 90))) < rng.choice(
        [0.0, 0.02, 0.5, 1.0]
    )
    runs = coco_masks.encode(np.asfortranarray(mask, np.uint8))
    found = np.zeros_like(mask)
    if part := decode(runs["counts"].decode(), mask.shape):
        top, left, cropped = part
        found[top : top + cropped.shape[0], left : left + cropped.shape[1]] = cropped
    assert np.array_equal(found, mask)


@pytest.mark.parametrize(
    "segmentation",
    [
        {"size": [8, 6], "counts": [48]},
        {"size": [6, 8], "counts": [47]},
        {"size": [6, 8], "counts": [-1, 49]},
        {"size": [6, 8], "counts": [10**30, 1]},
        {"size": [6, 8], "counts": "o"},
        {"size": [6, 8], "counts": ""},
        {"size": [6, 8], "counts": "µ"},
        {"size": [6, 8], "counts": "oooooooooooo0"},
        {"size": [6, 8], "counts": {}},
        {"size": [6], "counts": [48]},
        [[1, 1, 5, 1, 5]],
        [[1, 1, 5, 1, 5, float("nan")]],
        [[1, 1, 5, 1, 5, 1e300]],
        [[0, 0, 9e6, 0, 0, 5]],
        [[1, 1, 5, 1, "x", 5]],
        [1, 2, 3, 4, 5, 6],
        "here",
    ],
)
def test_a_damaged_segmentation_is_refused_and_its_place_told(tmp_path, segmentation):
    with pytest.raises(NapariCliperError, match=r"annotations\.0.*: .*\.$"):
        list(read_annotations(with_segmentation(tmp_path, segmentation), FORMAT))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"categories": []}, "annotations.0 has the category id 90000, which no category has"),
        ({"images": KITCHEN["images"][1:]}, "annotations.0 has the image id 7, which no image has"),
        ({"images": KITCHEN["images"][:1] * 2}, "several have the image id 7"),
        ({"categories": KITCHEN["categories"] * 2}, "several have the category id 0"),
        ({"images": [{"id": 7, "file_name": "x"}]}, "images.0.height"),
        ({"images": [{**KITCHEN["images"][0], "height": 0}]}, "images.0.height"),
        ({"images": [{**KITCHEN["images"][0], "height": 10**9}]}, "too many pixels"),
        ({"annotations": None}, "annotations"),
    ],
)
def test_what_does_not_fit_together_is_refused(tmp_path, changes, message):
    with pytest.raises(NapariCliperError, match=message):
        list(read_annotations(kitchen(tmp_path, **changes), FORMAT))


def test_a_file_that_is_too_large_is_refused(tmp_path, monkeypatch):
    path = kitchen(tmp_path)
    monkeypatch.setattr(foreign, "LARGEST", 100)
    assert recognized(path) is None
    with pytest.raises(NapariCliperError, match="split it into smaller files"):
        list(read_annotations(path, FORMAT))


@pytest.mark.parametrize(
    "document",
    [
        {**KITCHEN, "annotations": {}},
        {**KITCHEN, "annotations": [{"bbox": [1, 2, 3, 4]}]},
        {**KITCHEN, "annotations": [1, None]},
        {"images": [], "annotations": [], "categories": []},
        [KITCHEN],
    ],
)
def test_what_is_not_surely_coco_is_not_recognized(tmp_path, document):
    assert not FORMAT.recognizes(saved(tmp_path / "x.json", document))


@pytest.mark.parametrize("counts", [[2**63 - 1, 2**63 - 1, 50], [5, 2**63 - 1, 2**63 - 1, 45]])
def test_run_lengths_whose_sum_overflows_are_refused(tmp_path, counts):
    # In 64 bits these sum up to the 48 pixels of the picture.
    path = with_segmentation(tmp_path, {"size": [6, 8], "counts": counts})
    with pytest.raises(NapariCliperError, match="run lengths that do not fit"):
        list(read_annotations(path, FORMAT))
