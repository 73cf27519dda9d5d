"""One model on one data set: each picture is encoded once, and judged in every way."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_cliper.cliper.labelling import Thresholds
from napari_cliper.cliper.steps import Step, Steps
from napari_cliper.errors import NapariCliperError
from napari_cliper.evaluation.benchmarks import architecture_of
from napari_cliper.evaluation.datasets.dataset import (
    IGNORED,
    Dataset,
    Labels,
    Sample,
    does_not_fit,
)
from napari_cliper.evaluation.metrics import Confusion, image_level
from napari_cliper.evaluation.report import Failure, Masks, Run
from napari_cliper.evaluation.stages import Stages
from napari_cliper.files.pictures import read_picture
from napari_cliper.images import to_rgb
from napari_cliper.segmenter import Segmenter

PREPARING, COMPARING, LABELLING = "Preparing", "Comparing with the words", "Labelling"


@dataclass(frozen=True, eq=False)
class Example:
    """One picture to look at.

    Attributes
    ----------
    name : str
    picture : (H, W, 3) uint8
    truth : (H, W) uint16
        As of `Sample.truth`.
    coarse : (H, W) uint16
    refined : (H, W) uint16 or None
        None where nothing is compensated.
    score : float or None
        The mean IoU of the classes in the truth.
    """

    name: str
    picture: NDArray[np.uint8]
    truth: Labels
    coarse: Labels
    refined: Labels | None
    score: float | None

    @property
    def found(self) -> Labels:
        """What the method ends with."""
        return self.coarse if self.refined is None else self.refined


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came of one run.

    Attributes
    ----------
    run : Run
    extremes : tuple of Example
        The best, the median and the worst picture; fewer if there are fewer.
    watched : dict
        Of the pictures that were to be kept, by name.
    """

    run: Run
    extremes: tuple[Example, ...]
    watched: dict[str, Example]


@dataclass(eq=False)
class _Tally:
    """What is counted in the course of a run: of a picture, a few numbers for each class."""

    classes: int
    compensated: bool = False
    asked: list[Confusion] = field(init=False)
    told: list[Confusion] = field(init=False)
    scores: dict[str, float] = field(default_factory=dict)
    rows: list[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.asked = [Confusion.empty(self.classes) for _ in range(2)]
        self.told = [Confusion.empty(self.classes) for _ in range(2)]

    def masks(self, pair: list[Confusion], dataset: Dataset) -> Masks:
        coarse, refined = (one.figures(dataset.names, dataset.background) for one in pair)
        return Masks(coarse=coarse, refined=refined if self.compensated else None)


@dataclass(frozen=True, eq=False)
class _Seen:
    """One picture's labels, coarse and refined, and what the maps say of its classes."""

    example: Example
    told: tuple[Labels, Labels | None]
    presence: NDArray[np.float32]
    present: NDArray[np.bool_]


def read_pair(sample: Sample) -> tuple[NDArray[np.uint8], Labels]:
    """A sample's picture, (H, W, 3), and its truth, (H, W).

    Raises
    ------
    NapariCliperError
        One of them cannot be read, or they differ in size.
    """
    picture, truth = to_rgb(read_picture(sample.picture)), sample.truth()
    height, width = picture.shape[:2]
    if truth.shape != (height, width):  # what a header may not tell, see `check_sizes`
        raise does_not_fit(sample.name, truth.shape, (height, width))
    return picture, truth


def classes_in(truth: Labels, count: int) -> NDArray[np.bool_]:
    """Which of the classes have a pixel, (C,) bool."""
    present = np.zeros(IGNORED + 1, bool)
    present[np.unique(truth)] = True
    return present[1 : count + 1]


def evaluate(
    model: Segmenter,
    dataset: Dataset,
    title: str,
    thresholds: Thresholds | None = None,
    watch: Collection[str] = (),
) -> Steps[Outcome]:
    """Segment all pictures and judge the masks.

    Parameters
    ----------
    model : Segmenter
    dataset : Dataset
    title : str
        What the run is called.
    thresholds : Thresholds or None
        In place of the model's own.
    watch : collection of str
        Names of pictures whose masks are wanted.

    Yields
    ------
    Step
        Named after the run and the picture.

    Raises
    ------
    NapariCliperError
        A word cannot be used, or no picture could be evaluated.
    """
    stages = Stages(partial(_finish, model.device))
    tally = _Tally(len(dataset.classes))
    watched: dict[str, Example] = {}
    yield Step(f"{title}: reading the words", 0, len(dataset.samples))
    yield from model.word_steps(dataset.classes)
    for done, sample in enumerate(dataset.samples):
        stages.begin()
        shown = partial(_shown, f"{title}: {sample.name}", done, len(dataset.samples))
        yield shown(Step("reading"))
        try:
            seen = yield from _look(model, dataset, sample, thresholds, stages, shown)
        except NapariCliperError as error:
            stages.forget()
            tally.failures.append(Failure(picture=sample.name, reason=str(error)))
            continue
        _count(tally, seen, dataset)
        if sample.name in watch:
            watched[sample.name] = seen.example
    if not tally.rows:
        first = tally.failures[0]
        raise NapariCliperError(
            f"None of the pictures could be evaluated, the first, “{first.picture}”, for this "
            f"reason: {first.reason}"
        )
    examples = yield from extremes(model, dataset, tally.scores, thresholds, title)
    return Outcome(_run(model, dataset, title, tally, stages), examples, watched)


def _shown(title: str, done: int, total: int, step: Step) -> Step:
    """A step of a picture as a step of the whole run."""
    return Step(step.name if step.notice else f"{title}, {step.name}", done, total, step.notice)


def _look(
    model: Segmenter,
    dataset: Dataset,
    sample: Sample,
    thresholds: Thresholds | None,
    stages: Stages,
    shown: Callable[[Step], Step],
) -> Steps[_Seen]:
    """Everything about one picture."""
    picture, truth = read_pair(sample)
    encoding = yield from stages.run(PREPARING, model.encode_steps(picture), shown)
    scoring = model.score_steps(encoding, dataset.classes)
    scored = yield from stages.run(COMPARING, scoring, shown)
    chosen = thresholds or scored.thresholds
    result = scored.label(chosen.presence, chosen.background)
    compensated = encoding.compensation is not None
    final = stages.call(LABELLING, lambda: result.labels if compensated else result.coarse_labels)
    coarse = result.coarse_labels if compensated else final
    refined = final if compensated else None
    there = classes_in(truth, len(dataset.classes))
    names = [entry.name for entry, known in zip(dataset.classes, there, strict=True) if known]
    if names:
        known = scored.label(chosen.presence, chosen.background, present=names)
        told = known.coarse_labels, known.labels if compensated else None
    else:  # told that there is none of the classes
        nothing = np.zeros_like(truth)
        told = nothing, nothing if compensated else None
    score = Confusion.of(truth, final, len(dataset.classes)).score(dataset.background)
    example = Example(sample.name, picture, truth, coarse, refined, score)
    return _Seen(example, told, scored.presence, scored.present(chosen.presence))


def _count(tally: _Tally, seen: _Seen, dataset: Dataset) -> None:
    example, count = seen.example, len(dataset.classes)
    tally.compensated = example.refined is not None
    pairs = (tally.asked, (example.coarse, example.refined)), (tally.told, seen.told)
    for confusions, labels in pairs:
        for confusion, found in zip(confusions, labels, strict=True):
            if found is not None:
                confusion.add(Confusion.of(example.truth, found, count))
    tally.rows.append((classes_in(example.truth, count), seen.presence, seen.present))
    if example.score is not None:
        tally.scores[example.name] = example.score


def extremes(
    model: Segmenter,
    dataset: Dataset,
    scores: Mapping[str, float],
    thresholds: Thresholds | None,
    title: str,
) -> Steps[tuple[Example, ...]]:
    """The best, the median and the worst picture, looked at once more so as not to keep all."""
    ranked = sorted(scores, key=lambda name: (-scores[name], name))
    places = dict.fromkeys([0, len(ranked) // 2, len(ranked) - 1]) if ranked else {}
    samples = {sample.name: sample for sample in dataset.samples}
    examples = []
    for done, place in enumerate(places):
        stages = Stages(lambda: None)
        stages.begin()
        shown = partial(_shown, f"{title}: once more {ranked[place]}", done, len(places))
        seen = yield from _look(model, dataset, samples[ranked[place]], thresholds, stages, shown)
        examples.append(seen.example)
    return tuple(examples)


def _run(model: Segmenter, dataset: Dataset, title: str, tally: _Tally, stages: Stages) -> Run:
    truth, presence, present = (np.stack(column) for column in zip(*tally.rows, strict=True))
    kept = model.disk is not None  # then a picture may not have been encoded at all
    return Run(
        title=title,
        method=model.preset.method,
        preset=model.preset_name,
        architecture=architecture_of(model.preset),
        precision=model.precision,
        device=model.device,
        settings=asdict(model.engine.settings),
        asked=tally.masks(tally.asked, dataset),
        told=tally.masks(tally.told, dataset),
        presence=image_level(truth, presence, present),
        seconds={} if kept else stages.medians(),
        seconds_a_picture=None if kept else stages.total(),
        scores=tally.scores,
        evaluated=len(tally.rows),
        failures=tuple(tally.failures),
    )


def _finish(device: str) -> None:
    """Wait for a GPU, which is told what to do faster than it does it."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
