"""Several methods on the same pictures, and one setting varied: what is run, and in which order."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from napari_cliper.cliper.labelling import Thresholds
from napari_cliper.cliper.steps import Step, Steps
from napari_cliper.errors import NapariCliperError
from napari_cliper.evaluation.benchmarks import Setup
from napari_cliper.evaluation.datasets.dataset import Dataset
from napari_cliper.evaluation.heads import has_heads, sweep
from napari_cliper.evaluation.report import Head, Tuned
from napari_cliper.evaluation.runner import Outcome, evaluate, extremes
from napari_cliper.evaluation.tuning import check_apart, tune
from napari_cliper.models.choices import Choices
from napari_cliper.models.presets import Changes, load_methods, method_changes, parse_change
from napari_cliper.segmenter import Segmenter

Load = Callable[[Choices, Segmenter | None], Steps[Segmenter]]


@dataclass(frozen=True)
class Variant:
    """One way to run.

    Attributes
    ----------
    title : str
    choices : Choices
    """

    title: str
    choices: Choices


@dataclass(frozen=True)
class Plan:
    """What to do with each variant.

    Attributes
    ----------
    dataset : Dataset
    tuning : Dataset or None
        Pictures to choose the thresholds on.
    heads : bool
        Whether each head of the compensation is tried alone too, where something is compensated.
    watch : tuple of str
        Names of pictures whose masks are kept, for all methods side by side.
    """

    dataset: Dataset
    tuning: Dataset | None = None
    heads: bool = False
    watch: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.tuning is not None:
            check_apart(self.tuning, self.dataset)


def variants(
    methods: Sequence[str], choices: Choices, vary: str | None = None, setup: Setup | None = None
) -> tuple[Variant, ...]:
    """Each method, with each value of what is varied.

    Parameters
    ----------
    methods : sequence of str
    choices : Choices
        What holds for all.
    vary : str or None
        "FIELD=VALUE;VALUE;…", as of `presets.parse_change` but for the values.
    setup : Setup or None
        Of the benchmark; what the method or the choices set too, they set.

    Raises
    ------
    NapariCliperError
        No method is named, there is no such method, or nothing is varied.
    """
    field, _, values = (vary or "").partition("=")
    listed = list(dict.fromkeys(value.strip() for value in values.split(";") if value.strip()))
    if vary is not None and not (field.strip() and listed):
        raise NapariCliperError(
            f"“{vary}” varies nothing: write FIELD=VALUE;VALUE, for example "
            "“settings.attention=query-query;key-key”."
        )
    changes: list[str | None] = [f"{field.strip()}={value}" for value in listed]
    if not methods:
        raise NapariCliperError(f"No method is named: choose {', '.join(load_methods())}.")
    found = []
    for method in dict.fromkeys(methods):
        for change in changes or [None]:
            more = () if change is None else (parse_change(change),)
            below = _below(setup, method)
            one = replace(choices, method=method, changes=(*below, *choices.changes, *more))
            one.as_changes()  # a mistake shows before the work
            found.append(Variant(method if change is None else f"{method}, {change}", one))
    return tuple(found)


def _below(setup: Setup | None, method: str) -> list[Changes]:
    """What a setup changes, without what the method itself is about."""
    own = method_changes(method)["settings"]
    if setup is None:
        return []
    return [{"settings": {key: value for key, value in setup.settings.items() if key not in own}}]


def watched(dataset: Dataset, count: int) -> tuple[str, ...]:
    """Pictures to show all methods on, spread evenly and so chosen by nobody."""
    return tuple(sample.name for sample in dataset.limited(count).samples)


def compare(
    plan: Plan, variants: Sequence[Variant], load: Load, done: Callable[[Outcome], object]
) -> Steps[tuple[Outcome, ...]]:
    """Run all variants, one after the other; models that several share are loaded once.

    Parameters
    ----------
    plan : Plan
    variants : sequence of Variant
    load : callable
        Loads the model of some choices, with what the one before it has already.
    done : callable
        Told of each outcome at once.

    Yields
    ------
    Step

    Returns
    -------
    tuple of Outcome
        One for each variant, without their extremes. Two that come to the same settings are run
        once.
    """
    outcomes: list[Outcome] = []
    known: list[tuple[object, Outcome]] = []
    model: Segmenter | None = None
    for variant in variants:
        model = yield from load(variant.choices, model)
        model.encodings.limit = 0  # each picture comes up once: the newest is enough
        same = model.preset.model_copy(update={"method": ""})
        outcome = next((outcome for preset, outcome in known if preset == same), None)
        if outcome is None:
            outcome = yield from _one(plan, model, variant.title)
            # The pictures of best and worst are drawn at once: no more than one run's are kept.
            known.append((same, replace(outcome, extremes=())))
        else:
            tuned = _thresholds(outcome.run.tuned)
            scores = outcome.run.scores
            shown = yield from extremes(model, plan.dataset, scores, tuned, variant.title)
            outcome = replace(outcome, extremes=shown)
        named = {"title": variant.title, "method": model.preset.method}
        outcome = replace(outcome, run=outcome.run.model_copy(update=named))
        done(outcome)
        outcomes.append(replace(outcome, extremes=()))
    return tuple(outcomes)


def _thresholds(tuned: Tuned | None) -> Thresholds | None:
    return None if tuned is None else Thresholds(tuned.presence, tuned.background)


def _one(plan: Plan, model: Segmenter, title: str) -> Steps[Outcome]:
    tuned = None
    if plan.tuning is not None:
        tuned = yield from tune(model, plan.tuning, title)
    thresholds = _thresholds(tuned)
    outcome = yield from evaluate(model, plan.dataset, title, thresholds, plan.watch)
    heads: tuple[Head, ...] = ()
    if plan.heads and has_heads(model.preset):
        failed = {failure.picture for failure in outcome.run.failures}
        read = {sample.name for sample in plan.dataset.samples} - failed
        kept = plan.dataset.only(read, plan.dataset.split)
        try:
            heads = yield from sweep(model, kept, title, thresholds)
        except NapariCliperError as error:  # the rest has been found and is kept
            yield Step(f"{title}: the heads could not be tried. {error}", notice=True)
    return replace(outcome, run=outcome.run.model_copy(update={"tuned": tuned, "heads": heads}))
