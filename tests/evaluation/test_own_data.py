"""Pictures and masks of one's own, in three kinds of files, and what may be wrong with them."""

import json
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from drawn_pictures import draw, quadrants, save_mask
from napari_cliper.annotation.class_list import ClassEntry, ClassList
from napari_cliper.errors import NapariCliperError
from napari_cliper.evaluation.datasets import IGNORED, open_files, read_classes
from napari_cliper.evaluation.datasets.polygons import laid
from napari_cliper.files.foreign import Part

Own = Callable[..., tuple[Path, Path]]
PETS = ClassList.parse("cat; dog")
SAME = (0, 1, 2, 0)


def truth_of(dataset: object, index: int = 0) -> list[int]:
    """The values of a sample's quadrants."""
    plane = dataset.samples[index].truth()  # type: ignore[attr-defined]
    assert plane.dtype == np.uint16
    values = plane[::8, ::8].ravel().tolist()
    np.testing.assert_array_equal(plane, quadrants(values, np.uint16))
    return values


def test_masks_of_ids_with_a_value_that_does_not_count(own: Own) -> None:
    classes = ClassList(classes=(ClassEntry(id=7, name="cat"), ClassEntry(id=200, name="dog")))
    dataset = open_files(*own(a=(SAME, (0, 7, 200, 255))), classes, frozenset({255}))
    assert truth_of(dataset) == [0, 1, 2, IGNORED]
    assert dataset.classes.ids == (1, 2)
    assert dataset.names == ("cat", "dog")
    assert dataset.background


def test_background_can_be_left_out(own: Own) -> None:
    dataset = open_files(*own(a=(SAME, (0, 1, 2, 9))), PETS, frozenset({0, 9}))
    assert truth_of(dataset) == [IGNORED, 1, 2, IGNORED]
    assert not dataset.background


def test_our_own_masks_are_found_by_their_names_with_their_classes(own: Own) -> None:
    pictures, masks = own(a=(SAME, SAME))
    (masks / "a.png").rename(masks / "a_labels.png")
    (masks / "classes.json").write_text(PETS.to_json())
    assert truth_of(open_files(pictures, masks, None)) == [0, 1, 2, 0]


def boxes(path: Path, *lines: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(lines))


TOP_LEFT = "0 0 .5 0 .5 .5 0 .5"
ALL = "0 0 1 0 1 1 0 1"


def test_text_files_of_polygons(tmp_path: Path) -> None:
    for name in ("a", "b"):
        draw(tmp_path / f"pictures/{name}.jpg", SAME)
    # The smaller one lies on top, whatever the order.
    boxes(tmp_path / "labels/a.txt", f"1 {TOP_LEFT}", "", f"0 {ALL}")
    boxes(tmp_path / "labels/stray.txt", f"0 {ALL}")
    dataset = open_files(tmp_path / "pictures", tmp_path / "labels", PETS)
    assert [truth_of(dataset, index) for index in (0, 1)] == [[2, 1, 1, 1], [0, 0, 0, 0]]
    assert dataset.remarks == (
        "Text files without a picture are left out: stray.",
        "Pictures without a text file are taken to be empty: b.",
    )


def test_yolos_own_names_are_taken(tmp_path: Path) -> None:
    draw(tmp_path / "images/a.png", SAME)
    boxes(tmp_path / "labels/a.txt", f"1 {ALL}")
    (tmp_path / "data.yaml").write_text("names:\n  0: cat\n  1: dog\n")
    dataset = open_files(tmp_path / "images", tmp_path / "labels", None)
    assert dataset.names == ("cat", "dog")


def test_indices_and_names_of_yolo_are_taken_as_they_are(tmp_path: Path) -> None:
    draw(tmp_path / "images/a.png", SAME)
    boxes(tmp_path / "labels/a.txt", f"7 {ALL}", f"2 {TOP_LEFT}")
    names = tmp_path / "data.yaml"
    names.write_text('names: {7: "tv, monitor; #1", 2: no, 4: "a = b"}')
    dataset = open_files(tmp_path / "images", tmp_path / "labels", None)
    # What our text form cannot hold has become letters that look like it; nothing is split.
    assert dataset.names == ("no", "a ＝ b", "tv， monitor； ＃1")  # noqa: RUF001
    assert truth_of(dataset) == [1, 3, 3, 3]
    assert dataset.classes.ids == (1, 2, 3)
    names.write_text('names: ["a;b", cat, dog, "e#f", x, y, z, car]')
    dataset = open_files(tmp_path / "images", tmp_path / "labels", None)
    assert (len(dataset.names), truth_of(dataset)) == (8, [3, 8, 8, 8])


def test_masks_have_yolos_index_and_one(own: Own, tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("names: {4: dog, 0: cat}")
    dataset = open_files(*own(a=(SAME, (0, 1, 5, 0))), None)
    assert (dataset.names, truth_of(dataset)) == (("cat", "dog"), [0, 1, 2, 0])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("names: 7", "no valid file of YOLO's names at names"),
        ("names: {cat: 0}", "no valid file of YOLO's names at names"),
        ("names: []", "names no classes"),
        ("nc: 2", "no valid file of YOLO's names at names"),
        ("names: {0: cat, 1: dog}", "line 1: it has the class 2, which the class list does not"),
        ("names: [", "is damaged or cut short"),
    ],
)
def test_names_of_yolo_that_do_not_fit(text: str, says: str, tmp_path: Path) -> None:
    draw(tmp_path / "images/a.png", SAME)
    boxes(tmp_path / "labels/a.txt", f"2 {ALL}")
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(NapariCliperError, match=says):
        open_files(tmp_path / "images", tmp_path / "labels", None)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("2 " + ALL, "has the class 2, which the class list does not name"),
        ("0 0.5 0.5 0.2 0.2", "line 2: it is no class index and three or more pairs"),
        ("0 0 0 7 0 7 7", "from 0 to 1"),
        ("cat " + ALL, "it is no class index"),
        ("0.5 " + ALL, "it is no class index"),
    ],
)
def test_lines_that_are_no_polygon(line: str, says: str, tmp_path: Path) -> None:
    draw(tmp_path / "pictures/a.png", SAME)
    boxes(tmp_path / "labels/a.txt", f"0 {ALL}", line)
    with pytest.raises(NapariCliperError, match=says):
        open_files(tmp_path / "pictures", tmp_path / "labels", PETS)


def coco(tmp_path: Path, **changes: object) -> Path:
    draw(tmp_path / "pictures/a.jpg", SAME)
    thing = {"image_id": 4, "category_id": 30, "segmentation": [[0, 0, 8, 0, 8, 8, 0, 8]]}
    document = {
        "images": [{"id": 4, "file_name": "a.jpg", "height": 16, "width": 16}],
        "annotations": [thing],
        "categories": [{"id": 30, "name": "dog"}, {"id": 20, "name": "cat"}],
    }
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(document | changes))
    return path


def _with(segmentation: object) -> dict[str, object]:
    return {"annotations": [{"image_id": 4, "category_id": 30, "segmentation": segmentation}]}


def test_a_coco_file_with_its_own_classes_or_with_ours(tmp_path: Path) -> None:
    path = coco(tmp_path)
    dataset = open_files(tmp_path / "pictures", path, None)
    assert (dataset.names, truth_of(dataset)) == (("dog", "cat"), [1, 0, 0, 0])
    dataset = open_files(tmp_path / "pictures", path, ClassList.parse("bird; Cat; dog = puppy"))
    assert (dataset.names, truth_of(dataset)) == (("bird", "Cat", "dog"), [3, 0, 0, 0])


def test_names_of_categories_are_not_split(tmp_path: Path) -> None:
    path = coco(tmp_path, categories=[{"id": 30, "name": "dog; wolf"}, {"id": 20, "name": "a, b"}])
    dataset = open_files(tmp_path / "pictures", path, None)
    assert dataset.names == ("dog； wolf", "a， b")  # noqa: RUF001


def test_run_lengths_and_polygons_are_the_same_pixels(tmp_path: Path) -> None:
    runs = {"size": [16, 16], "counts": [0, *[8] * 15, 136]}
    thing = {"image_id": 4, "category_id": 30}
    path = coco(tmp_path, annotations=[{**thing, "segmentation": runs}, {**thing}])
    assert truth_of(open_files(tmp_path / "pictures", path, None)) == [1, 0, 0, 0]


def test_smaller_shapes_lie_on_top_and_masks_go_one_by_one() -> None:
    random = np.random.default_rng(0)
    parts: list[tuple[int, Part]] = []
    for label in range(1, 30):
        (top, left), (height, width) = random.integers(0, 20, 2), random.integers(1, 20, 2)
        mask = random.random((height, width)) < 0.7
        parts.append((label, (int(top), int(left), mask)))
    expected = np.full((40, 40), 9, np.uint16)
    for label, (top, left, mask) in sorted(parts, key=lambda one: -int(one[1][2].sum())):
        expected[top : top + mask.shape[0], left : left + mask.shape[1]][mask] = label
    alive: list[weakref.ref[np.ndarray]] = []

    def one_by_one() -> Iterator[tuple[int, Part]]:
        for label, (top, left, mask) in parts:
            copy = mask.copy()
            assert sum(known() is not None for known in alive) <= 1
            alive.append(weakref.ref(copy))
            yield label, (top, left, copy)
            del copy

    np.testing.assert_array_equal(laid((40, 40), one_by_one(), 9), expected)


def test_of_a_coco_file_numbers_are_kept_and_little_else(tmp_path: Path) -> None:
    corners = [round(8 + 0.01 * place, 2) for place in range(400)]
    things = [
        {"image_id": 4, "category_id": 30, "segmentation": [corners], "caption": "x" * 2000}
        for _ in range(200)
    ]
    path = coco(tmp_path, annotations=things)
    open_files(tmp_path / "pictures", path, None)  # all imports are done
    tracemalloc.start()
    try:
        dataset = open_files(tmp_path / "pictures", path, None)
        kept, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(dataset.samples) == 1
    assert kept < 200 * (8 * len(corners) + 500)
    assert most < kept + 3.5 * path.stat().st_size


@pytest.mark.parametrize(
    ("changes", "classes", "says"),
    [
        ({}, "cat", "has the category “dog”, which is none of the classes"),
        ({"annotations": [{"image_id": 5, "category_id": 30}]}, None, "which no image has"),
        ({"images": []}, None, "no images or no categories"),
        (_with([[0, 0, 8, 0, 8]]), None, r"at annotations\.0\.segmentation.* one coordinate"),
        (_with({"size": [8, 16], "counts": [128]}), None, "annotations.0 has run lengths that do"),
        (_with({"size": [16, 16], "counts": [2**70]}), None, "a run is too long"),
        (_with([[0, 0, 8, 0, 8, float("nan")]]), None, "annotations.0"),
        ({"annotations": 7}, None, "no valid file of COCO instances at annotations"),
        (
            {"images": [{"id": 4, "file_name": "b.jpg", "height": 16, "width": 16}]},
            None,
            "names “b.jpg”, which is not in",
        ),
    ],
)
def test_coco_files_that_do_not_fit(
    changes: dict[str, object], classes: str | None, says: str, tmp_path: Path
) -> None:
    path = coco(tmp_path, **changes)
    asked = None if classes is None else ClassList.parse(classes)
    with pytest.raises(NapariCliperError, match=says):
        open_files(tmp_path / "pictures", path, asked)


def without_mask(pictures: Path, masks: Path) -> None:
    (masks / "b.png").unlink()


def without_picture(pictures: Path, masks: Path) -> None:
    (pictures / "a.png").unlink()


def of_another_size(pictures: Path, masks: Path) -> None:
    Image.fromarray(np.zeros((16, 17), np.uint8)).save(masks / "b.png")


def of_strange_values(pictures: Path, masks: Path) -> None:
    save_mask(masks / "b.png", (0, 1, 2, 3))


def in_colours(pictures: Path, masks: Path) -> None:
    draw(masks / "b.png", SAME)


def of_one_stem(pictures: Path, masks: Path) -> None:
    draw(pictures / "b.jpg", SAME)


def without_pictures(pictures: Path, masks: Path) -> None:
    for path in pictures.iterdir():
        path.unlink()


def without_masks(pictures: Path, masks: Path) -> None:
    for path in masks.iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (without_mask, "The picture “b” has no mask of its name"),
        (without_picture, "The mask “a” has no picture of its name"),
        (of_another_size, r"The truth of “b” has 16 × 17 pixels, its picture 16 × 16: export"),
        (of_strange_values, "“.*b.png” holds the value 3, which is no class"),
        (in_colours, "“.*b.png” holds colours, not labels"),
        (of_one_stem, "b.jpg” and “.*b.png” have the same name but for the ending"),
        (without_pictures, "holds no pictures"),
        (without_masks, "holds no masks"),
    ],
)
def test_what_is_wrong_shows_before_the_work(
    spoil: Callable[[Path, Path], None], says: str, own: Own
) -> None:
    pictures, masks = own(a=(SAME, SAME), b=(SAME, SAME))
    spoil(pictures, masks)
    with pytest.raises(NapariCliperError, match=says):
        open_files(pictures, masks, PETS, frozenset({255}))


def test_masks_that_nothing_names(own: Own) -> None:
    with pytest.raises(NapariCliperError, match="give --classes"):
        open_files(*own(a=(SAME, SAME)), None)


def test_classes_are_a_text_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("cat\ndog = puppy\n")
    (tmp_path / "classes.json").write_text(PETS.to_json())
    assert read_classes("cat; dog").names == PETS.names
    assert read_classes(str(tmp_path / "classes.txt")).prompts == ("cat", "dog, puppy")
    assert read_classes(str(tmp_path / "classes.json")) == PETS


def test_parts_of_a_data_set(own: Own) -> None:
    names = [f"p{number}" for number in range(9)]
    dataset = open_files(*own(**dict.fromkeys(names, (SAME, SAME))), PETS)
    assert [one.name for one in dataset.limited(3).samples] == ["p0", "p4", "p8"]
    assert dataset.limited(20) is dataset
    kept = dataset.only(["p3", "p1.png"], "a list")
    assert ([one.name for one in kept.samples], kept.split) == (["p1", "p3"], "a list")
    with pytest.raises(NapariCliperError, match="a list names “p99”"):
        dataset.only(["p99"], "a list")
    one, other = dataset.halves()
    both = sorted(sample.name for half in (one, other) for sample in half.samples)
    assert both == names
    assert (len(one.samples), len(other.samples)) == (4, 5)
    assert [s.name for s in one.samples] == [s.name for s in dataset.halves()[0].samples]
