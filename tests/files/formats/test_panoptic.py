"""COCO panoptic, as panopticapi reads and writes it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from annotations import ours
from napari_cliper.annotation.annotation import Annotation
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.exporting import export
from napari_cliper.files.formats import format_of
from napari_cliper.files.importing import read_annotations, recognized

FORMAT = format_of("coco-panoptic")
IDS = np.array([[0, 5, 5], [300, 70_000, 70_000]])
STREET = {
    "images": [{"id": 1, "file_name": "road.jpg", "height": 2, "width": 3}],
    "categories": [
        {"id": 2, "name": "car", "isthing": 1, "color": [1, 2, 3]},
        {"id": 4, "name": "tar", "isthing": 0, "color": [9, 9, 9]},
    ],
    "annotations": [
        {
            "image_id": 1,
            "file_name": "road.png",
            "segments_info": [
                {"id": 5, "category_id": 2, "iscrowd": 0, "area": 2, "bbox": [1, 0, 2, 1]},
                {"id": 300, "category_id": 2, "iscrowd": 1},
                {"id": 70_000, "category_id": 4, "iscrowd": 0},
            ],
        }
    ],
}


def street(folder: Path, ids=IDS, mode="RGB", **changes) -> Path:
    (folder / "street").mkdir()
    colors = np.stack([ids % 256, ids // 256 % 256, ids // 256**2], -1).astype(np.uint8)
    Image.fromarray(colors).convert(mode).save(folder / "street" / "road.png")
    path = folder / "street.json"
    path.write_text(json.dumps({**STREET, **changes}))
    return path


def test_another_tools_files(tmp_path):
    path = street(tmp_path)
    assert recognized(path) is FORMAT
    (found,) = read_annotations(path)
    assert found.labels.tolist() == [[0, 2, 2], [2, 4, 4]]
    assert np.array_equal(found.instances, IDS)
    assert (found.name, found.picture) == ("road", Path("road.jpg"))
    assert [(e.name, e.color) for e in found.classes] == [("car", (1, 2, 3)), ("tar", (9, 9, 9))]
    assert found.remarks == ("1 of the objects are crowds: each was read as one object.",)


def test_panopticapi_sees_the_same_objects(tmp_path):
    labels = np.array([[0, 1, 1, 2], [0, 1, 0, 2]], np.uint16)
    numbers = np.array([[0, 1, 2, 1], [0, 1, 0, 1]], np.uint32)
    export([Annotation("one", labels, ours("cat", "dog"), numbers)], FORMAT, tmp_path)
    document = json.loads((tmp_path / "one.json").read_text())
    (record,) = document["annotations"]
    assert all(category["isthing"] == 1 for category in document["categories"])
    # As its rgb2id and its evaluation do.
    colors = np.asarray(Image.open(tmp_path / "one" / record["file_name"])).astype(np.int32)
    ids = colors[..., 0] + 256 * colors[..., 1] + 256 * 256 * colors[..., 2]
    segments = {segment["id"]: segment for segment in record["segments_info"]}
    assert set(np.unique(ids)) == {0, *segments}
    for id_, segment in segments.items():
        rows, columns = np.nonzero(ids == id_)
        assert segment["area"] == len(rows)
        assert set(labels[ids == id_]) == {segment["category_id"]}
        left, top, width, height = segment["bbox"]
        assert (left, top) == (columns.min(), rows.min())
        assert (left + width, top + height) == (columns.max() + 1, rows.max() + 1)
    assert len(segments) == 3


def test_more_objects_than_a_byte_holds(tmp_path):
    numbers = np.arange(1, 70_001, dtype=np.uint32).reshape(200, 350)
    wanted = Annotation("many", np.ones((200, 350), np.uint16), ours("cell"), numbers)
    export([wanted], FORMAT, tmp_path)
    (found,) = read_annotations(tmp_path / "many.json")
    assert len(np.unique(found.instances)) == 70_000


def test_pictures_without_segments_are_empty(tmp_path):
    more = [*STREET["images"], {"id": 8, "file_name": "sky.jpg", "height": 1, "width": 2}]
    _, sky = read_annotations(street(tmp_path, images=more))
    assert sky.name == "sky"
    assert sky.labels.tolist() == [[0, 0]]


def test_a_mask_is_looked_for_nowhere_else(tmp_path):
    Image.new("RGB", (3, 2)).save(tmp_path / "other.png")
    record = {**STREET["annotations"][0], "file_name": "../other.png"}
    with pytest.raises(NapariCliperError, match="There is no file"):
        list(read_annotations(street(tmp_path, annotations=[record])))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ids": np.array([[0, 6, 5], [0, 0, 0]])}, "has no segment 6, which “road.png” holds"),
        ({"ids": np.zeros((3, 3), int)}, "3 × 3 pixels, but its picture 3 × 2"),
        ({"mode": "L"}, "no colours to number objects"),
        ({"categories": STREET["categories"][:1]}, "has the category id 4, which no category has"),
        ({"annotations": STREET["annotations"] * 2}, "same picture as another"),
        ({"images": []}, "has the image id 1, which no image has"),
        (
            {"images": [{**STREET["images"][0], "width": 10**9}]},
            "too many pixels",
        ),
        (
            {"annotations": [{"image_id": 1, "file_name": "", "segments_info": [{"id": 2**24}]}]},
            r"annotations\.0\.segments_info\.0",
        ),
        (
            {"annotations": [{"image_id": 1, "file_name": "", "segments_info": []}]},
            "is a folder|There is no file",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(tmp_path, changes, message):
    with pytest.raises(NapariCliperError, match=message):
        list(read_annotations(street(tmp_path, **changes)))


def test_lost_masks_are_told(tmp_path):
    path = street(tmp_path)
    (tmp_path / "street" / "road.png").unlink()
    with pytest.raises(NapariCliperError, match="There is no file"):
        list(read_annotations(path))
