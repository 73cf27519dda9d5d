"""Tables, the figures of others beside ours, and what the sheets show."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from drawn_pictures import ColourModel, draw, quadrants, save_mask
from napari_cliper.annotation.class_list import ClassList
from napari_cliper.cliper import drain
from napari_cliper.evaluation.benchmarks import load_benchmarks
from napari_cliper.evaluation.datasets import IGNORED, Dataset, open_files
from napari_cliper.evaluation.markdown import PARTIAL, across, markdown, remarks, summary, tables
from napari_cliper.evaluation.published import Published, _file, published_for
from napari_cliper.evaluation.report import Failure, Figures, Head, Masks, Report, Run
from napari_cliper.evaluation.runner import Outcome, evaluate
from napari_cliper.evaluation.sheets import ERRORS, WIDTH, errors, save_extremes, save_methods

HEAD = Head(fusion="mean", miou=0.5)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    draw(tmp_path / "pictures/a.png", (1, 2, 1, 0))
    save_mask(tmp_path / "masks/a.png", (1, 2, 0, 9))
    classes = ClassList.parse("cat; dog")
    return open_files(tmp_path / "pictures", tmp_path / "masks", classes, frozenset({9}))


@pytest.fixture
def outcome(dataset: Dataset, model: ColourModel) -> Outcome:
    return drain(evaluate(model, dataset, "cliper", watch=["a"]))  # type: ignore[arg-type]


def of(run: Run, **changes: object) -> Run:
    return run.model_copy(update=changes)


def report(*runs: Run, benchmark: str | None = None) -> Report:
    return Report(
        dataset="data",
        split="all",
        benchmark=benchmark,
        pictures=1,
        classes=2,
        background=True,
        machine="a machine",
        runs=runs,
        as_published=benchmark is not None,
    )


def test_a_report_is_the_same_after_json(outcome: Outcome) -> None:
    whole = report(outcome.run)
    assert Report.model_validate_json(whole.model_dump_json()) == whole


def test_ours_stand_beside_the_papers_and_the_references(outcome: Outcome) -> None:
    half = Figures(miou=0.5, pixel_accuracy=0.25, mean_accuracy=1, iou={"cat|s": None})
    large = {"architecture": "ViT-L-14", "asked": Masks(coarse=half, refined=half)}
    settings = outcome.run.settings
    large["settings"] = settings
    star = {**large, "method": "cliper-star", "title": "cliper-star"}
    star["asked"] = Masks(coarse=half, refined=None)
    text = markdown(report(of(outcome.run, **large), of(outcome.run, **star), benchmark="voc21"))
    columns = "| method | VOC* | VOC | paper | reference* | reference | pixel accuracy* |"
    assert columns in text
    assert "| cliper | 50.0 | 50.0 | 69.8 | 62.5 | 71.6 | 25.0 |" in text
    assert "| cliper-star | 50.0 | – | – | 62.5 | – | 25.0 |" in text
    assert "| 192 ms |" in text
    assert "| 47 ms |" in text
    assert "| cat\\|s | – | – |" not in text  # a column of nothing is left out
    sliding = of(outcome.run, **{**large, "settings": {**settings, "sliding_crop": 224}})
    assert published_for(sliding, "voc21") == Published(coarse=64.0, refined=72.2)


def test_other_methods_models_and_data_have_no_published_figures(outcome: Outcome) -> None:
    for changes in ({"method": "clip", "architecture": "ViT-L-14"}, {"architecture": "ViT-S-14"}):
        assert published_for(of(outcome.run, **changes), "voc21") == Published()
    assert published_for(of(outcome.run, architecture="ViT-L-14"), None) == Published()
    text = markdown(report(outcome.run))
    assert "reference*" not in text
    assert "RTX" not in text.replace("beside", "")


def test_a_run_that_others_did_not_make_has_nothing_beside_it(outcome: Outcome) -> None:
    large = report(of(outcome.run, architecture="ViT-L-14"), benchmark="voc21")
    assert "reference*" in markdown(large)
    changed = large.model_copy(update={"as_published": False})
    assert "reference*" not in markdown(changed)
    assert across([changed]).rows == (("cliper, small", across([large]).rows[0][1]),)


def test_published_figures_are_of_our_benchmarks_and_settings() -> None:
    tables = _file()
    for name in ("reference", "sliding"):
        for table in tables[name].values():
            assert table.keys() == load_benchmarks().keys()
            assert all(10 < coarse < refined < 100 for coarse, refined in table.values())
    assert set(tables["paper"]["ViT-L-14"]) == set(load_benchmarks()) - {"cityscapes"}


def test_benchmarks_stand_side_by_side_as_in_the_papers_table(outcome: Outcome) -> None:
    half = Figures(miou=0.5, pixel_accuracy=0.25, mean_accuracy=1)
    quarter = half.model_copy(update={"miou": 0.25})
    both = Masks(coarse=quarter, refined=half)
    large = of(outcome.run, architecture="ViT-L-14", preset="large", asked=both)
    clip = of(large, method="clip", title="clip", asked=Masks(coarse=quarter, refined=None))
    ade = report(large, benchmark="ade150")
    voc = report(large, clip, benchmark="voc21")
    table = across([ade, voc])
    assert table.columns == ("method", "VOC", "ADE")
    assert table.rows == (
        ("cliper, large", "50.0 (25.0)", "50.0 (25.0)"),
        ("clip, large", "(25.0)", "–"),
        ("paper, ViT-L-14", "69.8", "24.4"),
        ("reference, ViT-L-14", "71.6 (62.5)", "24.5 (22.1)"),
    )
    assert table.markdown() in markdown(ade, beside=[voc])
    own = across([report(outcome.run)])
    assert own.rows == (("cliper, small", own.rows[0][1]),)  # nobody else has figures for it


def test_failures_are_told_once_with_their_reason(outcome: Outcome) -> None:
    failed = of(outcome.run, failures=(Failure(picture="b", reason="It is damaged."),))
    titles = {table.title: table for table in summary(report(failed, of(failed, title="again")))}
    assert titles["Pictures that could not be evaluated"].rows == (("b", "It is damaged."),)
    assert not any("each class" in title for title in titles)


def test_a_run_that_failed_on_some_pictures_says_so_everywhere(outcome: Outcome) -> None:
    failure = Failure(picture="b", reason="It is damaged.")
    whole = of(outcome.run, evaluated=28, seconds={"Preparing": 1}, heads=(HEAD,))
    partly = of(whole, evaluated=27, failures=(failure,), title="clip", method="clip")
    both = report(whole, partly).model_copy(update={"pictures": 28})
    assert json.loads(both.model_dump_json())["runs"][1]["evaluated"] == 27
    marked = "clip (27 of 28 pictures)"
    made = {table.title: table for table in tables(both)}
    for title, table in made.items():
        if "could not be evaluated" not in title:
            names = [row[0] for row in table.rows] + list(table.columns[1:])
            assert marked in names, title
            assert "cliper" in names, title
            assert "clip" not in names, title
    failed = made["Pictures that could not be evaluated"]
    assert failed.columns == ("picture", "with", "reason")
    assert failed.rows == (("b", "clip", "It is damaged."),)
    assert remarks(both) == [PARTIAL]
    assert PARTIAL in markdown(both)
    rows = dict(row[:2] for row in across([both]).rows)
    assert rows["clip, small"].endswith(", 27 of 28 pictures")
    assert "pictures" not in rows["cliper, small"]
    assert remarks(report(whole).model_copy(update={"pictures": 28})) == []
    earlier = of(whole, evaluated=None)  # from before this was told
    assert report(earlier).evaluated(earlier) is None


def test_the_times_of_every_method_stand_by_stage(outcome: Outcome) -> None:
    stages = [{"Preparing": 0.02, "Looking": 0.5}, {"Looking": 0.4, "Denoising": 3, "Labelling": 1}]
    runs = [
        of(outcome.run, title=f"method {n}", seconds=each, seconds_a_picture=sum(each.values()))
        for n, each in enumerate(stages)
    ]
    text = markdown(report(*runs, of(outcome.run, title="kept", seconds={})))
    table = text.partition("(Table 4)")[2].partition("###")[0]
    assert table.strip().splitlines() == [
        "| method | Preparing | Looking | Denoising | Labelling | together |",
        "| --- | --: | --: | --: | --: | --: |",
        "| method 0 | 20 | 500 | – | – | 520 |",
        "| method 1 | – | 400 | 3000 | 1000 | 4400 |",
    ]


def test_each_kind_of_error() -> None:
    truth, found = np.meshgrid([0, 1, 2, IGNORED], [0, 1, 2])
    kinds = errors(truth.astype(np.uint16), found.astype(np.uint16))
    missed, invented, confused, uncounted = ERRORS.ids
    np.testing.assert_array_equal(
        kinds,
        [
            [0, missed, missed, uncounted],
            [invented, 0, confused, uncounted],
            [invented, confused, 0, uncounted],
        ],
    )


def test_the_sheet_shows_truth_found_and_error(
    outcome: Outcome, dataset: Dataset, tmp_path: Path
) -> None:
    path = tmp_path / "sheet.png"
    save_extremes(path, outcome, dataset.legend, overwrite=False)
    with Image.open(path) as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    assert pixels.shape[1] == 12 + 5 * (WIDTH + 12)
    # Of each column, a pixel in the middle of the lower left quadrant.
    top = next(y for y in range(pixels.shape[0]) if (pixels[y, 12] < 10).all())
    lower_left = [
        pixels[top + WIDTH * 3 // 4, 12 + i * (WIDTH + 12) + WIDTH // 4] for i in range(5)
    ]
    picture, truth, coarse, refined, error = (place.astype(int).tolist() for place in lower_left)
    assert truth == picture  # background
    assert coarse == refined != picture  # found a cat
    tinted = 0.55 * np.array(picture) + 0.45 * np.array(ERRORS[1].color)
    np.testing.assert_allclose(error, tinted, atol=2)


def test_methods_stand_side_by_side(outcome: Outcome, dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "methods.png"
    save_methods(path, [outcome, outcome, outcome], dataset.legend, overwrite=False)
    with Image.open(path) as sheet:
        assert sheet.width == 12 + 5 * (WIDTH + 12)  # picture, truth and three methods


def test_quadrants_are_what_the_tests_say() -> None:
    plane = quadrants((1, 2, 3, 4))
    assert [plane[0, 0], plane[0, -1], plane[-1, 0], plane[-1, -1]] == [1, 2, 3, 4]
