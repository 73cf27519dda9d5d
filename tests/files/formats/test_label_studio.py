"""Label Studio's tasks, as it exports them."""

import json
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from annotations import ours
from napari_cliper.annotation.annotation import Annotation
from napari_cliper.errors import NapariCliperError
from napari_cliper.files import foreign
from napari_cliper.files.exporting import export
from napari_cliper.files.formats import format_of
from napari_cliper.files.importing import read_annotations, recognized

STUDIO = format_of("label-studio")
# What label_studio_sdk 2.1.2 makes of a ring in a picture of 7 x 5 pixels.
RING = [
    0, 0, 0, 140, 57, 27, 254, 35, 0, 191, 255, 108, 2, 63, 248, 192, 39, 255, 182, 1, 127, 255,
    15, 128, 0,
]  # fmt: skip


def ring():
    mask = np.zeros((5, 7), bool)
    mask[1:4, 2:6] = True
    mask[2, 3] = False
    return mask


def region(kind="brushlabels", names=("cat",), **value):
    if kind == "brushlabels" and not value:
        value = {"format": "rle", "rle": RING}
    return {
        "id": "Dx_aB91ISN",
        "type": kind,
        "origin": "manual",
        "to_name": "img",
        "from_name": "label",
        "image_rotation": 0,
        "original_width": 7,
        "original_height": 5,
        "value": {**value, kind: list(names)},
    }


def task(*results, image="/data/upload/3/1a2b3c4d-photo.jpg", **more):
    """One task of a JSON export."""
    done = {"id": 5, "completed_by": 1, "result": list(results), "was_cancelled": False}
    known = {"id": 9, "annotations": [done], "file_upload": "1a2b3c4d-photo.jpg", "drafts": []}
    return {**known, "predictions": [12], "data": {"image": image}, "project": 3, **more}


def saved(tmp_path, *tasks):
    path = tmp_path / "project-3-at-2026-01-01.json"
    path.write_text(json.dumps(tasks), encoding="utf-8")
    return path


def read(path, pictures=None):
    return list(read_annotations(path, STUDIO, pictures))


def test_its_export(tmp_path):
    path = saved(tmp_path, task(region()))
    assert recognized(path) is STUDIO
    (found,) = read(path)
    assert found.name == "photo"
    assert str(found.picture) == "photo.jpg"
    assert not found.remarks
    assert found.classes.names == ("cat",)
    assert np.array_equal(found.labels, ring())


def test_polygons_in_percent(tmp_path):
    points = [[100 / 7, 20], [300 / 7, 20], [300 / 7, 80], [100 / 7, 80]]
    polygon = region("polygonlabels", ["dog"], points=points, closed=True)
    (found,) = read(saved(tmp_path, task(polygon)))
    wanted = np.zeros((5, 7), bool)
    wanted[1:4, 1:3] = True
    assert np.array_equal(found.labels, wanted)


def test_labels_mean_the_same_in_all_tasks(tmp_path):
    first, second = task(region(names=["cat"])), task(region(names=["dog"]), image="b/photo.png")
    one, two = read(saved(tmp_path, first, second))
    assert one.classes == two.classes
    assert (one.labels.max(), two.labels.max()) == (1, 2)
    assert one.name != two.name


def test_annotations_before_predictions_and_the_last_that_was_not_cancelled(tmp_path):
    empty, cancelled = {"result": []}, {"result": [region()], "was_cancelled": True}
    cat = {"result": [region(names=["cat"])]}
    dog = {"result": [region(names=["dog"])], "model_version": "x", "score": 0.5}
    cases = [
        task(annotations=[cat, cancelled], predictions=[dog]),
        task(annotations=[cat, empty], predictions=[dog]),
        task(annotations=[], predictions=[3, dog]),
    ]
    size = {"napari_cliper": {"name": "photo", "height": 5, "width": 7}}
    for case in cases:
        case["data"] |= size
    found = read(saved(tmp_path, *cases))
    names = [[a.classes.names[i - 1] for i in np.unique(a.labels) if i] for a in found]
    assert names == [["cat"], [], ["dog"]]


def test_what_is_no_mask_is_left_out(tmp_path):
    box = region("rectanglelabels", x=1, y=2, width=3, height=4, rotation=0)
    link = {"from_id": "a", "to_id": "b", "type": "relation", "direction": "right"}
    turned = {**region(), "image_rotation": 90}
    (found,) = read(saved(tmp_path, task(box, link, box, turned, region(names=["cat", "big"]))))
    assert found.remarks == (
        "2 results of the type “rectanglelabels” are no masks: they are left out.",
        "1 results of the type “relation” are no masks: they are left out.",
        "1 objects were drawn on the turned picture: they are left out.",
        "1 objects have several labels: they have the first.",
    )
    assert np.array_equal(found.labels, ring())
    assert recognized(saved(tmp_path, task(box))) is not STUDIO


@pytest.mark.parametrize(
    "image",
    [
        "photo.jpg",
        "C:\\pictures\\photo.jpg",
        "https://example.com/some/photo.jpg?token=a/b.png",
        "s3://bucket/photo.jpg",
        "/data/local-files/?d=some%2Ffolder/photo.jpg",
    ],
)
def test_where_pictures_are(tmp_path, image):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    Image.new("RGB", (7, 5)).save(pictures / "photo.jpg")
    (found,) = read(saved(tmp_path, task(image=image)), pictures)
    assert found.name == "photo"
    assert found.picture == pictures / "photo.jpg"
    assert found.labels.shape == (5, 7)
    assert not found.labels.any()


def test_pictures_inside_and_other_fields(tmp_path):
    inside, other = task(region(), image="data:image/png;base64,AA/BB"), task(region())
    other["data"] = {"number": 3, "scan": "a/scan 7.png"}
    assert [found.name for found in read(saved(tmp_path, inside, other))] == ["task", "scan 7"]


def test_a_size_is_needed(tmp_path):
    with pytest.raises(NapariCliperError, match="put the picture beside it"):
        read(saved(tmp_path, task()))


@pytest.mark.parametrize(
    ("result", "says"),
    [
        (region(rle=RING[:12]), "cut short"),
        (region(rle=[1, 2, 3]), "another size"),
        (region(rle=[0, 0, 0, 144, *RING[4:]]), "another size"),
        (region(rle=[300, *RING]), "damaged"),
        (region(rle="AAAA"), r"value\.rle \(Input should be a valid"),
        (region(names=[]), "brushlabels"),
        ({**region(), "original_width": 0}, "original_width"),
        ({**region(), "original_width": 10**9}, "too many pixels"),
        (region("polygonlabels", points=[[1, 2], [float("nan"), 3], [1, 1]]), "finite number"),
        (region("polygonlabels", points=[[1, 2], [1e9, 3], [1, 1]]), "far out of the picture"),
        (region("polygonlabels", points=[[1, 2, 3]]), r"points\.0"),
    ],
)
def test_what_is_damaged_is_told(tmp_path, result, says):
    with pytest.raises(NapariCliperError, match=says):
        read(saved(tmp_path, task(result)))


def test_an_address_that_is_none(tmp_path):
    with pytest.raises(NapariCliperError, match="Invalid IPv6"):
        read(saved(tmp_path, task(region(), image="http://[x/photo.png")))


def test_what_it_can_import(tmp_path):
    labels = np.zeros((5, 7), np.uint16)
    labels[ring()] = 2
    classes = ours("a <&> b", 'the "dog"')
    export([Annotation("photo", labels, classes)], STUDIO, tmp_path)
    (written,) = json.loads((tmp_path / "photo.json").read_text(encoding="utf-8"))
    assert written["data"]["image"] == "photo.png"
    (result,) = written["predictions"][0]["result"]
    assert result["value"] == {"format": "rle", "rle": RING, "brushlabels": ['the "dog"']}
    assert (result["original_width"], result["original_height"]) == (7, 5)
    view = ElementTree.parse(tmp_path / "photo.xml").getroot()  # noqa: S314
    image, brush = view.find("Image"), view.find("BrushLabels")
    assert image.get("value") == "$image"
    assert (result["to_name"], result["from_name"]) == (image.get("name"), brush.get("name"))
    assert [label.get("value") for label in brush] == list(classes.names)
    assert brush[0].get("background") == "#800000"


def test_ids_and_colours_come_back_through_label_studio(tmp_path):
    labels = np.where(ring(), 2, 0).astype(np.uint16)
    classes = ours("cat", "dog").model_copy()
    export([Annotation("my photo", labels, classes)], STUDIO, tmp_path / "out")
    (written,) = json.loads((tmp_path / "out" / "my photo.json").read_text(encoding="utf-8"))
    back = task(region(names=["dog"]), region(names=["new"]), data=written["data"])
    (found,) = read(saved(tmp_path, back))
    assert found.name == "my photo"
    assert found.classes.names == ("cat", "dog", "new")
    assert found.classes.ids == (1, 2, 3)
    assert found.classes[1].color == classes[1].color


def test_several_pictures_are_one_file(tmp_path):
    blank = np.zeros((2, 3), np.uint16)
    export([Annotation(name, blank, ours("cat")) for name in "ab"], STUDIO, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"classes.json", "tasks.json", "tasks.xml"}
    assert [found.name for found in read(tmp_path / "tasks.json")] == ["a", "b"]


def test_files_that_are_too_large_are_refused(tmp_path, monkeypatch):
    path = saved(tmp_path, task(region()))
    monkeypatch.setattr(foreign, "LARGEST", 100)
    assert not STUDIO.recognizes(path)
    with pytest.raises(NapariCliperError, match="has more than 0 MiB: split it"):
        read(path)


def test_the_class_list_is_not_overwritten(tmp_path):
    export([Annotation("classes", np.ones((2, 3), np.uint16), ours("cat"))], STUDIO, tmp_path)
    assert [found.name for found in read(tmp_path / "tasks.json")] == ["classes"]
