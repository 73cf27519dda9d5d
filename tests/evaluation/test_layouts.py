"""A miniature of each benchmark's layout: what is read, and figures computed by hand.

Two pictures of four quadrants each. `A` has two classes x and y, a quadrant that is none of the
classes and one that is void where the layout knows void, else none too; the model finds x, x, x, y.
`B` is y all over, and is found.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from drawn_pictures import SIDE, ColourModel, Quadrants, draw, quadrants, save_mask
from napari_cliper.cliper import drain
from napari_cliper.errors import NapariCliperError
from napari_cliper.evaluation.benchmarks import load_benchmarks, vocabulary_of
from napari_cliper.evaluation.datasets import IGNORED, open_benchmark
from napari_cliper.evaluation.datasets.dataset import check_sizes
from napari_cliper.evaluation.runner import evaluate

X, Y = 3, 15
# As their owners number them: COCO's categories have gaps, its stuff maps hold them less one, and
# Cityscapes has more labels than the 19 that are evaluated.
COCO_IDS = [
    *(*range(1, 12), *range(13, 26), 27, 28, *range(31, 45), *range(46, 66), 67, 70),
    *(*range(72, 83), *range(84, 91)),
]
OF_2014 = "COCO_val2014_{}"  # names of pictures
RAW = {"coco-stuff": (2, 15), "cityscapes": (11, 27)}


def draw_both(place: Callable[[str], Path]) -> None:
    draw(place("A"), (X, X, X, Y))
    draw(place("B"), (Y, Y, Y, Y))


def save_both(place: Callable[[str], Path], x: int, y: int, none: int, void: int) -> None:
    save_mask(place("A"), (x, y, none, void))
    save_mask(place("B"), (y, y, y, y))


def write_list(path: Path, *names: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}\n" for name in names))


def voc(root: Path) -> None:
    top = root / "VOCdevkit/VOC2012"
    draw_both(lambda name: top / f"JPEGImages/{name}.jpg")
    save_both(lambda name: top / f"SegmentationClass/{name}.png", X, Y, 0, 255)
    write_list(top / "ImageSets/Segmentation/val.txt", "A", "B")


def context_pictures(root: Path) -> Path:
    top = root / "VOCdevkit/VOC2010"
    draw_both(lambda name: top / f"JPEGImages/{name}.jpg")
    draw(top / "JPEGImages/without-mask.jpg", (X, X, X, X))
    return top


def context(root: Path) -> None:
    top = context_pictures(root)
    # VOC's lists have two columns, and pictures that Context has no mask for.
    write_list(top / "ImageSets/Main/val.txt", "A -1", "B  1", "without-mask -1")
    names = vocabulary_of("context60").names
    # The owner's numbers are of some 460 names, in which those of the 59 are scattered.
    numbers = {name: 400 - 5 * place for place, name in enumerate(names)}
    lines = [f"{number}: {name}" for name, number in numbers.items()]
    (root / "labels.txt").write_text("\n".join([*lines, "7: accordion"]))
    x, y = numbers[names[X - 1]], numbers[names[Y - 1]]
    (root / "trainval").mkdir()
    for name, values in {"A": (x, y, 7, 0), "B": (y, y, y, y)}.items():
        savemat(root / f"trainval/{name}.mat", {"LabelMap": quadrants(values, np.uint16)})


def context_pngs(root: Path) -> None:
    top = context_pictures(root)
    write_list(top / "ImageSets/SegmentationContext/val.txt", "A", "B")
    save_both(lambda name: top / f"SegmentationClassContext/{name}.png", X, Y, 0, 255)


def coco_object(root: Path, split: str = "val2017", called: str = "{}") -> None:
    draw_both(lambda name: root / f"{split}/{called.format(name)}.jpg")
    ids = COCO_IDS

    def box(left: int, top: int, right: int, bottom: int) -> list[list[int]]:
        return [[left, top, right, top, right, bottom, left, bottom]]

    def thing(image: int, label: int, segmentation: object) -> dict[str, object]:
        return {"image_id": image, "category_id": ids[label - 1], "segmentation": segmentation}

    half, whole = SIDE // 2, SIDE
    crowd = {"size": [whole, whole], "counts": [0, whole * whole]}
    document = {
        "images": [
            {"id": 10, "file_name": called.format("A.jpg"), "height": whole, "width": whole},
            {"id": 20, "file_name": called.format("B.jpg"), "height": whole, "width": whole},
        ],
        "annotations": [
            thing(10, X, box(0, 0, half, half)),
            thing(10, Y, box(half, 0, whole, half)),
            thing(20, Y, crowd),
        ],
        "categories": [{"id": number, "name": f"number {number}"} for number in reversed(ids)],
    }
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    (root / f"annotations/instances_{split}.json").write_text(json.dumps(document))


def coco_object_2014(root: Path) -> None:
    coco_object(root, "val2014", OF_2014)


def coco_stuff(root: Path, split: str = "val2017", called: str = "{}") -> None:
    draw_both(lambda name: root / f"{split}/{called.format(name)}.jpg")
    x, y = RAW["coco-stuff"]
    save_both(lambda name: root / f"stuffthingmaps/val2017/{name}.png", x, y, 255, 255)
    save_mask(root / "stuffthingmaps/val2017/A_labelTrainIds.png", (0, 0, 0, 0))  # mmseg's


def coco_stuff_2014(root: Path) -> None:
    coco_stuff(root, "images/val2014", OF_2014)


def ade(root: Path) -> None:
    top = root / "ADEChallengeData2016"
    draw_both(lambda name: top / f"images/validation/{name}.jpg")
    save_both(lambda name: top / f"annotations/validation/{name}.png", X, Y, 0, 0)


def cityscapes(root: Path) -> None:
    draw_both(lambda name: root / f"leftImg8bit/val/ulm/{name}_leftImg8bit.png")
    x, y = RAW["cityscapes"]
    save_both(lambda name: root / f"gtFine/val/ulm/{name}_gtFine_labelIds.png", x, y, 0, 4)
    save_mask(root / "gtFine/val/ulm/A_gtFine_instanceIds.png", (0, 0, 0, 0))


MAKERS = {
    "voc21": voc,
    "voc20": voc,
    "context60": context,
    "context59": context,
    "context60 as PNG": context_pngs,
    "coco-object": coco_object,
    "coco-stuff": coco_stuff,
    "coco-object of 2014": coco_object_2014,
    "coco-stuff of 2014": coco_stuff_2014,
    "ade150": ade,
    "cityscapes": cityscapes,
}
ONLY_WHEN_READ = ("context60", "context59")  # .mat files
# mIoU, pixel accuracy, mean accuracy.
# Nothing but x and y counts: of A two quadrants do. x 64 / (64 + 64); y 256 / (256 + 64).
OBJECTS_ALONE = ((1 / 2 + 4 / 5) / 2, 320 / 384, (1 + 4 / 5) / 2)
# One quadrant of background, which is taken for x, and one void.
WITH_VOID = ((1 / 3 + 4 / 5 + 0) / 3, 320 / 448, (1 + 4 / 5 + 0) / 3)
# Two quadrants of background, one taken for x and one for y: y 256 / (256 + 64 + 64).
WITHOUT_VOID = ((1 / 3 + 2 / 3 + 0) / 3, 320 / 512, (1 + 4 / 5 + 0) / 3)
EXPECTED = {
    "voc21": WITH_VOID,
    "context60 as PNG": WITH_VOID,
    "context60": WITHOUT_VOID,
    "coco-object": WITHOUT_VOID,
    "coco-object of 2014": WITHOUT_VOID,
}


@pytest.mark.parametrize("case", MAKERS)
def test_a_miniature_has_the_figures_computed_by_hand(
    case: str, tmp_path: Path, model: ColourModel
) -> None:
    MAKERS[case](tmp_path)
    name = case.partition(" ")[0]
    dataset = open_benchmark(name, tmp_path)
    called = OF_2014 if case == "coco-object of 2014" else "{}"
    assert [sample.name for sample in dataset.samples] == [called.format(name) for name in "AB"]
    assert dataset.split == ("val2014" if case.endswith("2014") else "val")
    check_sizes(dataset.samples)
    run = drain(evaluate(model, dataset, name)).run
    figures = run.asked.refined
    assert figures is not None
    assert run.failures == ()
    expected = EXPECTED.get(case, OBJECTS_ALONE)
    measured = figures.miou, figures.pixel_accuracy, figures.mean_accuracy
    assert measured == pytest.approx(expected)
    named = vocabulary_of(name).names
    assert [key for key, value in figures.iou.items() if value] == [named[X - 1], named[Y - 1]]


@pytest.mark.parametrize("case", [case for case in MAKERS if case not in ONLY_WHEN_READ])
def test_another_size_than_the_pictures_shows_before_anything_is_decoded(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    MAKERS[case](tmp_path)
    dataset = open_benchmark(case.partition(" ")[0], tmp_path)
    for sample in dataset.samples:
        Image.new("RGB", (SIDE, SIDE + 1)).save(sample.picture, "PNG")
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    first = dataset.samples[0].name
    says = rf"The truth of “{first}” has 16 × 16 pixels, its picture 17 × 16 \(2 pictures do not"
    with pytest.raises(NapariCliperError, match=says):
        check_sizes(dataset.samples)


def test_coco_of_2017_goes_before_2014_unless_it_is_asked_for(tmp_path: Path) -> None:
    coco_object(tmp_path)
    coco_object_2014(tmp_path)
    for split, name in {"val": "A", "val2014": "COCO_val2014_A", "val2017": "A"}.items():
        dataset = open_benchmark("coco-object", tmp_path, split)
        assert (dataset.split, dataset.samples[0].name) == (split.removesuffix("2017"), name)
    with pytest.raises(NapariCliperError, match=r"has no annotations/instances_train2017\.json"):
        open_benchmark("coco-object", tmp_path, "train")


def test_stuff_maps_may_be_named_like_the_pictures_of_2014(tmp_path: Path) -> None:
    coco_stuff_2014(tmp_path)
    maps = (tmp_path / "stuffthingmaps/val2017").rename(tmp_path / "stuffthingmaps/val2014")
    for name in "AB":
        (maps / f"{name}.png").rename(maps / f"{OF_2014.format(name)}.png")
    dataset = open_benchmark("coco-stuff", tmp_path)
    assert [sample.name for sample in dataset.samples] == [OF_2014.format(name) for name in "AB"]
    assert dataset.samples[0].picture.name == "COCO_val2014_A.jpg"


@pytest.mark.parametrize(
    ("name", "stored", "labels"),
    [
        ("coco-stuff", (10, 12, 24, 26), (11, 12, 24, 25)),
        ("coco-stuff", (89, 91, 181, 255), (80, 81, 171, IGNORED)),
        ("cityscapes", (7, 8, 11, 33), (1, 2, 3, 19)),
        ("cityscapes", (0, 29, 34, 255), (IGNORED,) * 4),
        ("ade150", (0, 1, 2, 150), (IGNORED, 1, 2, 150)),
        ("voc21", (0, 1, 20, 255), (0, 1, 20, IGNORED)),
        ("voc20", (0, 1, 20, 255), (IGNORED, 1, 20, IGNORED)),
    ],
)
def test_the_owners_numbers_are_these_classes(
    name: str, stored: Quadrants, labels: Quadrants, tmp_path: Path
) -> None:
    MAKERS[name](tmp_path)
    [mask] = [
        path
        for path in tmp_path.rglob("A*.png")
        if not path.name.endswith(("TrainIds.png", "instanceIds.png", "leftImg8bit.png"))
    ]
    save_mask(mask, stored)
    truth = open_benchmark(name, tmp_path).samples[0].truth()
    np.testing.assert_array_equal(truth, quadrants(labels, np.uint16))


@pytest.mark.parametrize(
    ("name", "label", "called"),
    [
        ("coco-stuff", 12, "stopsign"),
        ("coco-stuff", 80, "toothbrush"),
        ("coco-object", 80, "toothbrush"),
        ("cityscapes", 19, "bicycle"),
        ("cityscapes", 3, "building"),
        ("ade150", 1, "wall"),
        ("voc21", 20, "tvmonitor"),
        ("context60", 1, "aeroplane"),
    ],
)
def test_classes_are_named_as_their_owners_order_them(name: str, label: int, called: str) -> None:
    found = vocabulary_of(name).names[label - 1].casefold().replace(" ", "").replace("-", "")
    assert called in found


def test_every_benchmark_has_a_miniature() -> None:
    assert {case.partition(" ")[0] for case in MAKERS} == set(load_benchmarks())


@pytest.mark.parametrize("name", ["voc20", "context59", "coco-stuff", "ade150", "cityscapes"])
def test_without_background_what_is_no_class_does_not_count(name: str, tmp_path: Path) -> None:
    MAKERS[name](tmp_path)
    truth = open_benchmark(name, tmp_path).samples[0].truth()
    np.testing.assert_array_equal(truth, quadrants((X, Y, IGNORED, IGNORED), np.uint16))


def test_the_root_may_be_any_folder_of_the_layout(tmp_path: Path) -> None:
    voc(tmp_path)
    for root in ("VOCdevkit", "VOCdevkit/VOC2012"):
        assert len(open_benchmark("voc21", tmp_path / root).samples) == 2


def test_the_split_is_the_list_of_that_name(tmp_path: Path) -> None:
    voc(tmp_path)
    write_list(tmp_path / "VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt", "B")
    assert [one.name for one in open_benchmark("voc21", tmp_path, "train").samples] == ["B"]


def test_small_things_lie_on_top_of_large_ones(tmp_path: Path) -> None:
    coco_object(tmp_path)
    path = tmp_path / "annotations/instances_val2017.json"
    document = json.loads(path.read_text())
    small = document["annotations"][0]
    document["annotations"] = [small, {**document["annotations"][2], "image_id": 10}]
    path.write_text(json.dumps(document))
    truth = open_benchmark("coco-object", tmp_path).samples[0].truth()
    np.testing.assert_array_equal(truth, quadrants((X, Y, Y, Y), np.uint16))


def spoil_list(root: Path) -> None:
    write_list(root / "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt", "A", "C")


def spoil_masks(root: Path) -> None:
    (root / "VOCdevkit/VOC2012/SegmentationClass/B.png").unlink()


def spoil_folders(root: Path) -> None:
    (root / "VOCdevkit").rename(root / "elsewhere")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (spoil_list, "“C” is listed, but there is no"),
        (spoil_masks, "“B” is listed, but there is no"),
        (spoil_folders, "give the folder that the benchmark was unpacked into"),
    ],
)
def test_what_is_missing_is_named(spoil: Callable[[Path], None], says: str, tmp_path: Path) -> None:
    voc(tmp_path)
    spoil(tmp_path)
    with pytest.raises(NapariCliperError, match=says):
        open_benchmark("voc21", tmp_path)


def test_unknown_benchmarks_and_splits(tmp_path: Path) -> None:
    voc(tmp_path)
    with pytest.raises(NapariCliperError, match="There is no benchmark “voc22”: choose voc21"):
        open_benchmark("voc22", tmp_path)
    with pytest.raises(NapariCliperError, match=r"There is no file “.*test\.txt”"):
        open_benchmark("voc21", tmp_path, "test")
    with pytest.raises(NapariCliperError, match="There is no folder"):
        open_benchmark("voc21", tmp_path / "nowhere")


def test_a_mask_with_a_strange_value_fails_alone(tmp_path: Path, model: ColourModel) -> None:
    voc(tmp_path)
    save_mask(tmp_path / "VOCdevkit/VOC2012/SegmentationClass/A.png", (X, 99, 0, 255))
    run = drain(evaluate(model, open_benchmark("voc21", tmp_path), "run")).run
    assert [failure.picture for failure in run.failures] == ["A"]
    assert "holds the value 99, which is no class" in run.failures[0].reason
    assert run.asked.coarse.miou == 1  # of B alone


def test_half_unpacked_cityscapes(tmp_path: Path) -> None:
    cityscapes(tmp_path)
    (tmp_path / "gtFine/val/ulm/B_gtFine_labelIds.png").unlink()
    with pytest.raises(NapariCliperError, match="“B” is in only one of leftImg8bit and gtFine"):
        open_benchmark("cityscapes", tmp_path)


def test_names_that_the_owners_labels_lack(tmp_path: Path) -> None:
    context(tmp_path)
    (tmp_path / "labels.txt").write_text("1: accordion")
    with pytest.raises(NapariCliperError, match="does not name “aeroplane”"):
        open_benchmark("context60", tmp_path)
