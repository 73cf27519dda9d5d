"""A run: what is counted, what fails, what is looked at; thresholds and heads."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from drawn_pictures import ColourModel, draw, save_mask
from napari_cliper.annotation.class_list import ClassList
from napari_cliper.cliper import Step, drain
from napari_cliper.cliper.labelling import Thresholds
from napari_cliper.cliper.steps import Steps
from napari_cliper.errors import NapariCliperError
from napari_cliper.evaluation import comparison
from napari_cliper.evaluation.comparison import Plan, compare, variants, watched
from napari_cliper.evaluation.datasets import Dataset, open_files
from napari_cliper.evaluation.heads import check_heads, has_heads, sweep
from napari_cliper.evaluation.runner import Outcome, evaluate, read_pair
from napari_cliper.evaluation.stages import Stages
from napari_cliper.evaluation.tuning import BACKGROUND, PRESENCE, tune
from napari_cliper.models.choices import Choices
from napari_cliper.models.presets import get_preset
from napari_cliper.segmenter import Segmenter, load_steps

Own = Callable[..., tuple[Path, Path]]
PETS = ClassList.parse("cat; dog")


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Good: coarse all wrong but for the background, refined right; bad: a dog taken for a cat."""
    draw(tmp_path / "pictures/good.png", (1, 2, 0, 0), coarse=(2, 1, 0, 0))
    save_mask(tmp_path / "masks/good.png", (1, 2, 0, 0))
    draw(tmp_path / "pictures/bad.png", (1, 1, 1, 1))
    save_mask(tmp_path / "masks/bad.png", (2, 2, 2, 2))
    draw(tmp_path / "pictures/empty.png", (0, 0, 0, 0))
    save_mask(tmp_path / "masks/empty.png", (0, 0, 0, 0))
    return open_files(tmp_path / "pictures", tmp_path / "masks", PETS)


def test_coarse_and_refined_are_judged_in_one_pass(dataset: Dataset, model: ColourModel) -> None:
    outcome = drain(evaluate(model, dataset, "run"))  # type: ignore[arg-type]
    run = outcome.run
    assert model.encoded == len(dataset.samples) + len(outcome.extremes)
    assert run.asked.refined is not None
    # background 384 of 384; cat 64 of 64 + 256; dog 64 of 64 + 256.
    assert run.asked.refined.iou == {"background": 1, "cat": 64 / 320, "dog": 64 / 320}
    assert run.asked.coarse.iou == {"background": 1, "cat": 0, "dog": 0}
    assert run.asked.refined.pixel_accuracy == (384 + 128) / 768
    assert run.scores == {"bad": 0, "empty": 1, "good": 1}


def test_told_the_classes_only_they_are_found(dataset: Dataset, model: ColourModel) -> None:
    run = drain(evaluate(model, dataset, "run")).run  # type: ignore[arg-type]
    assert run.told.refined is not None
    # In the bad picture the dog is known to be there alone, so that nothing is taken for a cat.
    assert run.told.refined.iou == {"background": 384 / 640, "cat": 1, "dog": 64 / 320}


def test_a_truth_of_another_size_than_its_picture(dataset: Dataset) -> None:
    sample = replace(dataset.samples[0], truth=lambda: np.zeros((3, 5), np.uint16))
    with pytest.raises(NapariCliperError, match=f"The truth of “{sample.name}” has 3 × 5 pixels"):
        read_pair(sample)


def test_which_classes_are_in_a_picture(dataset: Dataset, model: ColourModel) -> None:
    presence = drain(evaluate(model, dataset, "run")).run.presence  # type: ignore[arg-type]
    # Found: good has both, rightly; bad has a cat, which is a dog.
    assert presence.pooled_precision == pytest.approx(2 / 3)
    assert presence.pooled_recall == pytest.approx(2 / 3)


def test_without_compensation_there_is_only_the_coarse_mask(dataset: Dataset) -> None:
    outcome = drain(evaluate(ColourModel(compensate=False), dataset, "run"))  # type: ignore[arg-type]
    assert outcome.run.asked.refined is None
    assert outcome.run.told.refined is None
    assert outcome.run.asked.coarse.iou == {"background": 1, "cat": 0, "dog": 0}
    assert outcome.extremes[0].refined is None


def test_best_median_and_worst(dataset: Dataset, model: ColourModel) -> None:
    outcome = drain(evaluate(model, dataset, "run", watch=["good"]))  # type: ignore[arg-type]
    assert [one.name for one in outcome.extremes] == ["empty", "good", "bad"]
    assert [one.score for one in outcome.extremes] == [1, 1, 0]
    assert list(outcome.watched) == ["good"]
    np.testing.assert_array_equal(outcome.watched["good"].found, dataset.samples[2].truth())


def test_steps_tell_the_run_the_picture_and_how_many(dataset: Dataset, model: ColourModel) -> None:
    steps = list(evaluate(model, dataset, "run"))  # type: ignore[arg-type]
    looking = [step for step in steps if step.name == "run: good, Looking at the picture"]
    assert [(step.done, step.total) for step in looking] == [(2, 3)]


def test_a_picture_that_fails_is_told_at_the_end(dataset: Dataset, model: ColourModel) -> None:
    dataset.samples[0].picture.write_bytes(b"no picture")
    outcome = drain(evaluate(model, dataset, "run"))  # type: ignore[arg-type]
    assert [failure.picture for failure in outcome.run.failures] == ["bad"]
    assert outcome.run.evaluated == 2
    assert outcome.run.asked.refined is not None
    assert outcome.run.asked.refined.miou == 1
    for sample in dataset.samples:
        sample.picture.write_bytes(b"no picture")
    with pytest.raises(NapariCliperError, match="None of the pictures could be evaluated"):
        drain(evaluate(model, dataset, "run"))  # type: ignore[arg-type]


def test_stages_are_timed_without_what_their_driver_does(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(100))  # a second passes whenever somebody looks
    monkeypatch.setattr("napari_cliper.evaluation.stages.perf_counter", lambda: next(clock))

    def work():
        yield Step("look")
        yield Step("look")
        yield Step("think")
        return "done"

    stages = Stages(lambda: None)
    stages.begin()
    steps = stages.run("begin", work(), lambda step: step)
    for _ in range(3):
        next(steps)
        for _ in range(5):
            next(clock)
    with pytest.raises(StopIteration, match="done"):
        next(steps)
    assert stages.medians() == {"begin": 1, "look": 2, "think": 1}
    assert stages.total() == 4


def test_thresholds_are_chosen_where_they_serve_best(tmp_path: Path, small: Segmenter) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "masks").mkdir()
    cat = skimage.data.cat()
    Image.fromarray(cat).save(tmp_path / "pictures/cat.png")
    # The truth is what the model finds at thresholds that are not its own.
    truth = small.segment(cat, PETS, presence_threshold=0.3, background_threshold=0.7).labels
    assert 0 < (truth > 0).mean() < 1
    Image.fromarray(truth.astype(np.uint8)).save(tmp_path / "masks/cat.png")
    dataset = open_files(tmp_path / "pictures", tmp_path / "masks", PETS)
    tuned = drain(tune(small, dataset, "run"))
    assert tuned.background == 0.7
    assert len(tuned.points) == len(PRESENCE) * len(BACKGROUND)
    assert max(point.miou or 0 for point in tuned.points) == 1
    usual = drain(evaluate(small, dataset, "run")).run.asked.best.miou
    other = Thresholds(tuned.presence, tuned.background)
    assert drain(evaluate(small, dataset, "run", other)).run.asked.best.miou == 1
    assert usual is not None
    assert usual < 1


def test_each_head_is_what_the_setting_for_it_gives(tmp_path: Path, small: Segmenter) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "masks").mkdir()
    cat = skimage.data.cat()
    Image.fromarray(cat).save(tmp_path / "pictures/cat.png")
    changes = ["settings.shorter_side=112", "settings.head_fusion=2"]
    steps = load_steps("small", "cpu", choices=Choices(changes=changes), before=small)
    truth = drain(steps).segment(cat, PETS).labels
    Image.fromarray(truth.astype(np.uint8)).save(tmp_path / "masks/cat.png")
    dataset = open_files(tmp_path / "pictures", tmp_path / "masks", PETS)
    heads = {head.fusion: head.miou for head in drain(sweep(small, dataset, "run"))}
    assert list(heads) == ["0", "1", "2", "3", "4", "5", "mean", "product"]
    assert heads["2"] == 1
    assert heads["mean"] == drain(evaluate(small, dataset, "run")).run.asked.best.miou
    assert len(set(heads.values())) > 3
    # At a run's own thresholds, if it has any.
    strict = Thresholds(0, 0.95)
    other = {head.fusion: head.miou for head in drain(sweep(small, dataset, "run", strict))}
    best = drain(evaluate(small, dataset, "run", strict)).run.asked.best
    assert other["mean"] == best.miou != heads["mean"]


def test_heads_need_compensation(dataset: Dataset, small: Segmenter) -> None:
    choices = Choices("clip", changes="settings.shorter_side=112")
    clip = drain(load_steps("small", "cpu", choices=choices, before=small))
    with pytest.raises(NapariCliperError, match="compensates with no heads"):
        drain(sweep(clip, dataset, "run"))


@pytest.mark.parametrize(
    ("choices", "known"),
    [
        (Choices(), True),
        (Choices("clip"), False),
        (Choices("clip", compensation="preset"), True),
        (Choices(compensation="none"), False),
        (Choices(compensation="stable-diffusion-2.1"), True),
        (Choices(compensation="dinov2-small"), True),
        (Choices(compensation="dino-base-8"), False),  # likeness: one map
    ],
)
def test_whether_there_are_heads_is_known_without_the_models(choices: Choices, known: bool) -> None:
    preset = get_preset("small", choices.as_changes())
    assert has_heads(preset) == known
    check_heads([preset, get_preset("small")])
    if not known:
        with pytest.raises(NapariCliperError, match="no heads to try"):
            check_heads([preset, preset])


def test_heads_that_cannot_be_tried_leave_the_rest(
    dataset: Dataset, small: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Steps[object]:
        raise NapariCliperError("The memory is full: make room.")
        yield

    monkeypatch.setattr(comparison, "sweep", fail)

    def load(choices: Choices, before: Segmenter | None):
        return load_steps("small", "cpu", choices=choices, before=before or small)

    chosen = variants(["cliper"], Choices(changes="settings.shorter_side=112"))
    steps = compare(Plan(dataset, heads=True), chosen, load, lambda outcome: None)
    notices: list[str] = []
    [outcome] = drain(steps, lambda step: notices.append(step.name) if step.notice else None)
    assert outcome.run.heads == ()
    assert outcome.run.asked.refined is not None
    assert notices == ["cliper: the heads could not be tried. The memory is full: make room."]


def test_methods_are_compared_and_twins_run_once(dataset: Dataset, small: Segmenter) -> None:
    choices = Choices(compensation="preset", changes="settings.shorter_side=112")
    chosen = variants(["maskclip", "cliper-star", "cliper", "cliper"], choices)
    assert [variant.title for variant in chosen] == ["maskclip", "cliper-star", "cliper"]
    told: list[str] = []

    def load(choices: Choices, before: Segmenter | None):
        return load_steps("small", "cpu", choices=choices, before=before or small)

    plan = Plan(dataset, watch=watched(dataset, 2))
    names: list[str] = []
    shown: list[int] = []

    def done(outcome: Outcome) -> None:
        told.append(outcome.run.title)
        shown.append(len(outcome.extremes))

    steps = compare(plan, chosen, load, done)
    outcomes = drain(steps, lambda step: names.append(step.name))
    assert told == ["maskclip", "cliper-star", "cliper"]
    assert [outcome.run.method for outcome in outcomes] == told
    # The same as cliper-star: only what its sheet shows is looked at again.
    looked = [name for name in names if name.startswith("cliper: ")]
    assert looked
    assert all(name.startswith("cliper: once more ") for name in looked)
    assert shown == [3, 3, 3]
    assert not any(outcome.extremes for outcome in outcomes)
    assert outcomes[1].run.asked == outcomes[2].run.asked
    assert outcomes[0].run.asked != outcomes[1].run.asked
    assert all(list(outcome.watched) == ["bad", "good"] for outcome in outcomes)


def test_the_coarse_mask_is_that_of_the_method_without_compensation(
    tmp_path: Path, small: Segmenter
) -> None:
    (tmp_path / "pictures").mkdir()
    save_mask(tmp_path / "masks/coffee.png", (0, 1, 1, 2))
    coffee = skimage.data.coffee()
    mask = np.array(Image.open(tmp_path / "masks/coffee.png").resize(coffee.shape[1::-1]))
    Image.fromarray(mask).save(tmp_path / "masks/coffee.png")
    Image.fromarray(coffee).save(tmp_path / "pictures/coffee.png")
    cups = ClassList.parse("cup; spoon")
    dataset = open_files(tmp_path / "pictures", tmp_path / "masks", cups)
    choices = Choices("cliper-star", changes="settings.shorter_side=112")
    star = drain(load_steps("small", "cpu", choices=choices, before=small))
    whole = drain(evaluate(small, dataset, "run")).run
    alone = drain(evaluate(star, dataset, "run")).run
    assert alone.asked.refined is None
    assert whole.asked.coarse == alone.asked.coarse
    assert whole.told.coarse == alone.told.coarse
    assert whole.asked.refined != whole.asked.coarse


def test_settings_are_varied() -> None:
    chosen = variants(["cliper", "clip"], Choices(), "settings.head_fusion=mean; 3")
    assert [variant.title for variant in chosen] == [
        "cliper, settings.head_fusion=mean",
        "cliper, settings.head_fusion=3",
        "clip, settings.head_fusion=mean",
        "clip, settings.head_fusion=3",
    ]
    assert chosen[1].choices.as_changes()[-1] == {"settings": {"head_fusion": 3}}
    for nothing in ("settings.head_fusion", "=3", "settings.head_fusion=;"):
        with pytest.raises(NapariCliperError, match="varies nothing"):
            variants(["cliper"], Choices(), nothing)
    with pytest.raises(NapariCliperError, match="There is no method “clup”"):
        variants(["clup"], Choices())


def test_tuning_on_what_is_reported_is_refused(dataset: Dataset) -> None:
    one, other = dataset.halves()
    Plan(one, tuning=other)
    with pytest.raises(NapariCliperError, match="“bad” is both tuned on and reported on"):
        Plan(dataset, tuning=replace(dataset, samples=dataset.samples[:1]))
