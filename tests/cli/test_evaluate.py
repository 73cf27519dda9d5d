"""`napari-cliper evaluate` as a person uses it: files, the small preset, status and sentences."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import skimage.data
from PIL import Image

import napari_cliper as nc
from drawn_pictures import draw, save_mask
from napari_cliper.cli import main
from napari_cliper.cliper.steps import Steps
from napari_cliper.errors import NapariCliperError
from napari_cliper.evaluation import comparison
from napari_cliper.evaluation.benchmarks import Setup
from napari_cliper.evaluation.comparison import Plan
from napari_cliper.evaluation.datasets import Dataset
from napari_cliper.evaluation.markdown import PARTIAL
from napari_cliper.evaluation.runner import Outcome
from napari_cliper.segmenter import Segmenter

Run = Callable[..., SimpleNamespace]
FAST = ("--preset", "small", "--device", "cpu", "--set", "settings.shorter_side=112")
CLASSES = "cat; dog"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run the command in this process, writing to `tmp_path / "out"`."""

    def run(*arguments: object) -> SimpleNamespace:
        line = [
            "napari-cliper",
            "evaluate",
            *map(str, arguments),
            "--output",
            str(tmp_path / "out"),
        ]
        monkeypatch.setattr(sys, "argv", line)
        with pytest.raises(SystemExit) as stop:
            main()
        return SimpleNamespace(status=stop.value.code, **capsys.readouterr()._asdict())

    return run


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    """What the model finds in the cat's picture, so that it is right about it."""
    model = nc.load("small", "cpu", changes="settings.shorter_side=112", precision="float32")
    return model.segment(skimage.data.cat(), CLASSES).labels.astype(np.uint8)


@pytest.fixture
def data(tmp_path: Path, truth: np.ndarray) -> list[object]:
    """Two pictures and masks: a cat, and the same mirrored, whose mask is not."""
    for name, picture in {"one": skimage.data.cat(), "two": skimage.data.cat()[:, ::-1]}.items():
        for folder, pixels in {"pictures": picture, "masks": truth}.items():
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / folder / f"{name}.png")
    where = ("--pictures", tmp_path / "pictures", "--masks", tmp_path / "masks")
    return [*where, "--classes", CLASSES, *FAST]


def expect_one_sentence(done: SimpleNamespace, says: str, tmp_path: Path) -> None:
    assert done.status == 2, done.err
    assert says in done.err
    assert "Traceback" not in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_figures_and_pictures_are_written(run: Run, data: list[object], tmp_path: Path) -> None:
    done = run(*data, "--method", "maskclip,cliper", "--compensation", "preset", "--heads")
    assert done.status == 0, done.err
    out = tmp_path / "out"
    names = ["cliper-sheet.png", "maskclip-sheet.png", "methods.png", "results.json", "results.md"]
    assert sorted(path.name for path in out.iterdir()) == names
    for name in names[:3]:
        with Image.open(out / name) as picture:
            assert min(picture.size) > 300
    report = json.loads((out / "results.json").read_text())
    assert [found["title"] for found in report["runs"]] == ["maskclip", "cliper"]
    assert report["runs"][1]["scores"]["one"] == 1
    assert report["runs"][1]["scores"]["two"] < 1
    assert report["runs"][1]["settings"]["shorter_side"] == 112
    assert [head["fusion"] for head in report["runs"][1]["heads"]][-3:] == ["5", "mean", "product"]
    text = (out / "results.md").read_text()
    miou = report["runs"][1]["asked"]["refined"]["miou"]
    assert f"| {100 * miou:.1f} |" in text
    for word in ("(Table 1)", "(Table 2)", "(Table 3)", "(Table 4)", "(Table 7)", "maskclip"):
        assert word in done.out
        assert word in text
    assert "| cat |" in text
    assert str(tmp_path.parents[1]) not in text  # nothing of whose machine it is


def test_thresholds_are_tuned_on_the_other_half(
    run: Run, data: list[object], tmp_path: Path
) -> None:
    done = run(*data, "--tune-on", "half")
    assert done.status == 0, done.err
    report = json.loads((tmp_path / "out/results.json").read_text())
    tuned = report["runs"][0]["tuned"]
    assert (report["pictures"], tuned["pictures"]) == (1, 1)
    with Image.open(tmp_path / "out/cliper-tuning.png") as curve:
        assert len(curve.convert("RGB").getcolors(1 << 20)) > 50
    assert "chosen on other pictures" in done.out


def test_lists_of_names_are_splits(run: Run, data: list[object], tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("one.png\n")
    (tmp_path / "both.txt").write_text("one\ntwo\n")
    done = run(*data, "--split", tmp_path / "one.txt", "--tune-on", tmp_path / "both.txt")
    expect_one_sentence(done, "“one” is both tuned on and reported on", tmp_path)
    done = run(*data, "--split", tmp_path / "one.txt")
    assert done.status == 0, done.err
    report = json.loads((tmp_path / "out/results.json").read_text())
    assert list(report["runs"][0]["scores"]) == ["one"]
    assert report["runs"][0]["asked"]["refined"]["pixel_accuracy"] == 1


def test_a_benchmark_of_the_papers(run: Run, tmp_path: Path, truth: np.ndarray) -> None:
    top = tmp_path / "VOCdevkit/VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (top / folder).mkdir(parents=True)
    Image.fromarray(skimage.data.cat()).save(top / "JPEGImages/a.jpg", "PNG")
    Image.fromarray(np.where(truth == 1, 8, 0).astype(np.uint8)).save(
        top / "SegmentationClass/a.png"
    )
    (top / "ImageSets/Segmentation/val.txt").write_text("a\n")
    done = run("--benchmark", "voc21", "--root", tmp_path, *FAST)
    assert done.status == 0, done.err
    report = json.loads((tmp_path / "out/results.json").read_text())
    assert (report["benchmark"], report["classes"], report["background"]) == ("voc21", 20, True)
    assert report["runs"][0]["asked"]["refined"]["iou"]["cat"] > 0.3
    assert "the preset's own are taken" in done.err  # small is not CLIP
    first = (tmp_path / "out").rename(tmp_path / "first") / "results.json"
    done = run("--benchmark", "voc20", "--root", tmp_path, *FAST, "--beside", first)
    assert done.status == 0, done.err
    assert "| method | VOC | VOC20 |" in (tmp_path / "out/results.md").read_text()
    assert "All benchmarks" in done.out


def test_heads_are_tried_where_something_is_compensated(
    run: Run, data: list[object], tmp_path: Path
) -> None:
    done = run(*data, "--limit", 1, "--method", "clip,cliper", "--heads")
    assert done.status == 0, done.err
    report = json.loads((tmp_path / "out/results.json").read_text())
    assert [len(found["heads"]) for found in report["runs"]] == [0, 8]


def test_heads_that_there_are_not_are_told_before_the_work(
    run: Run, data: list[object], tmp_path: Path
) -> None:
    says = "no heads to try: choose cliper, or --compensation preset"
    expect_one_sentence(run(*data, "--method", "clip,maskclip", "--heads"), says, tmp_path)
    affinity = ("--compensation", "dino-base-8", "--heads")  # its weights are not on this machine
    expect_one_sentence(run(*data, *affinity), says, tmp_path)


def test_sizes_that_do_not_fit_are_told_before_the_work(
    run: Run, tmp_path: Path, truth: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        (tmp_path / "pictures").mkdir(exist_ok=True)
        Image.fromarray(skimage.data.cat()).save(tmp_path / f"pictures/{name}.jpg")
    height, width = truth.shape
    thing = {"image_id": 1, "category_id": 1, "segmentation": [[0, 0, 9, 0, 9, 9]]}
    images = [
        {"id": number, "file_name": f"{name}.jpg", "height": width, "width": height}
        for number, name in enumerate(("one", "two"), 1)
    ]
    document = {"images": images, "annotations": [thing]}
    document["categories"] = [{"id": 1, "name": "cat"}]
    (tmp_path / "things.json").write_text(json.dumps(document))
    monkeypatch.setattr("napari_cliper.segmenter.load_steps", lambda *_: pytest.fail("loaded"))
    where = ("--pictures", tmp_path / "pictures", "--masks", tmp_path / "things.json")
    says = (
        f"The truth of “one” has {width} × {height} pixels, its picture {height} × {width} "
        "(2 pictures do not fit)"
    )
    expect_one_sentence(run(*where, *FAST), says, tmp_path)


@pytest.mark.parametrize(("split", "like_theirs"), [("val2017", True), ("val2014", False)])
def test_figures_of_others_are_for_their_pictures(
    split: str, like_theirs: bool, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = "COCO_val2014_" if split == "val2014" else ""
    draw(tmp_path / split / f"{prefix}a.jpg", (1, 1, 1, 1))
    save_mask(tmp_path / "stuffthingmaps/val2017/a.png", (0, 0, 1, 1))
    setup = Setup(templates="scene", settings={})
    monkeypatch.setattr("napari_cliper.evaluation.benchmarks.setup_of", lambda *_: setup)
    seen = []

    def stop(plan: Plan, *more: object) -> None:
        seen.append((plan.dataset.split, more[-2]))
        raise NapariCliperError("That is enough.")

    monkeypatch.setattr(sys.modules["napari_cliper.cli.evaluate"], "_run", stop)
    where = ("--benchmark", "coco-stuff", "--root", tmp_path)
    run(*where, "--preset", "small", "--device", "cpu")
    told = "val" if like_theirs else split
    assert seen == [(told, ("coco-stuff", like_theirs))]


def test_a_picture_that_fails_ends_with_status_1(
    run: Run, data: list[object], tmp_path: Path
) -> None:
    picture = tmp_path / "pictures/two.png"
    # Its size can be read, its pixels not.
    picture.write_bytes(picture.read_bytes()[:2000])
    done = run(*data)
    assert done.status == 1
    assert "1 picture could not be evaluated" in done.err
    assert "two" in done.out
    assert "damaged or cut short" in done.out
    text = (tmp_path / "out/results.md").read_text()
    assert "damaged or cut short" in text
    for told in (done.out, text):
        assert "cliper (1 of 2 pictures)" in told
        assert PARTIAL in told
    assert json.loads((tmp_path / "out/results.json").read_text())["runs"][0]["evaluated"] == 1


def test_where_every_picture_fails_the_status_is_1(
    run: Run, data: list[object], tmp_path: Path
) -> None:
    for picture in (tmp_path / "pictures").iterdir():
        picture.write_bytes(picture.read_bytes()[:2000])
    done = run(*data)
    assert done.status == 1
    assert "None of the pictures could be evaluated" in done.err


def test_what_is_found_before_an_error_is_kept(
    run: Run, data: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = comparison.evaluate

    def fail(model: Segmenter, dataset: Dataset, title: str, *more: object) -> Steps[Outcome]:
        if title == "clip":
            raise NapariCliperError("The disk is full: make room.")
        return whole(model, dataset, title, *more)

    monkeypatch.setattr(comparison, "evaluate", fail)
    done = run(*data, "--method", "cliper,clip")
    assert done.status == 1
    assert "The disk is full" in done.err
    report = json.loads((tmp_path / "out/results.json").read_text())
    assert [found["title"] for found in report["runs"]] == ["cliper"]


def test_nothing_is_replaced_unasked(run: Run, data: list[object], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/results.md").write_text("somebody's work")
    done = run(*data)
    assert done.status == 2
    assert "--overwrite" in done.err
    assert (tmp_path / "out/results.md").read_text() == "somebody's work"
    done = run(*data, "--overwrite", "--limit", 1)
    assert done.status == 0, done.err
    assert "Table 1" in (tmp_path / "out/results.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "Say what to evaluate on"),
        (["--benchmark", "voc21"], "Say where the benchmark was unpacked"),
        (["--benchmark", "voc22", "--root", "."], "There is no benchmark “voc22”"),
        (["--benchmark", "voc21", "--root", "nowhere"], "There is no folder “nowhere”"),
        (["--pictures", "."], "Say where the truth of the pictures is"),
        (["--pictures", "nowhere", "--masks", "."], "holds no masks"),
        (["--pictures", ".", "--masks", ".", "--method", "clup"], "There is no method “clup”"),
        (["--pictures", ".", "--masks", ".", "--vary", "x"], "varies nothing"),
        (["--pictures", ".", "--masks", ".", "--method", ","], "No method is named"),
        (["--pictures", ".", "--masks", ".", "--beside", "x.json"], "There is no file “x.json”"),
        (["--pictures", ".", "--masks", ".", "--ignore", "void"], "“void” are no values"),
        (["--pictures", ".", "--masks", ".", "--split", "val"], "There is no file “val”"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    run: Run,
    arguments: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    expect_one_sentence(run(*arguments, *FAST), says, tmp_path)


def test_a_missing_library_is_one_sentence(
    run: Run, data: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_cliper.evaluation.needs.find_spec", lambda name: None)
    says = 'Evaluating needs scikit-learn, which is not installed: pip install "napari-cliper['
    expect_one_sentence(run(*data), says, tmp_path)
