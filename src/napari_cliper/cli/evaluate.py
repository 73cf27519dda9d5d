"""`napari-cliper evaluate`: how good the masks of one or several methods are."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from napari_cliper.cli import options
from napari_cliper.cli.reporter import Reporter
from napari_cliper.errors import NapariCliperError
from napari_cliper.models.choices import Choices
from napari_cliper.models.presets import load_methods
from napari_cliper.models.schema import CLIPER

if TYPE_CHECKING:
    from napari_cliper.cliper.steps import Steps
    from napari_cliper.evaluation.benchmarks import Setup
    from napari_cliper.evaluation.comparison import Plan, Variant
    from napari_cliper.evaluation.output import Files
    from napari_cliper.evaluation.report import Report
    from napari_cliper.evaluation.runner import Outcome
    from napari_cliper.evaluation.source import Source
    from napari_cliper.segmenter import Segmenter

# The reference implementation cuts each picture into two halves here, and we do not.
OTHERWISE = frozenset({"cityscapes"})
WATCHED = 4  # pictures that all methods are shown on
HALF = "half"

Name = Annotated[
    str | None,
    typer.Option(
        help="voc21, voc20, context60, context59, coco-object, coco-stuff, ade150, cityscapes."
    ),
]
Root = Annotated[Path | None, typer.Option(help="The folder that the benchmark was unpacked into.")]
Split = Annotated[
    str | None,
    typer.Option(
        help="val (else) or train of a benchmark, or a text file with one picture's name a line."
    ),
]
Pictures = Annotated[Path | None, typer.Option(help="A data set of your own: its pictures.")]
MasksPath = Annotated[
    Path | None,
    typer.Option(
        "--masks",
        help="Its truth: a folder of indexed PNG files, or of text files of polygons, or a COCO "
        "file of instances (.json).",
    ),
]
Classes = Annotated[
    str | None,
    typer.Option(help="Its classes: a text as for segment, or a file with one, or classes.json."),
]
Ignore = Annotated[
    str,
    typer.Option(
        help="Values of masks that do not count, separated by commas; with 0, what is none of "
        "the classes does not."
    ),
]
Limit = Annotated[int | None, typer.Option(min=1, help="So many of the pictures, spread evenly.")]
Methods = Annotated[
    str,
    typer.Option("--method", help=f"One or several, by commas: {', '.join(load_methods())}."),
]
Vary = Annotated[
    str | None,
    typer.Option(
        metavar="FIELD=VALUE;VALUE",
        help="Run each method with each of these values, for example "
        "“settings.head_fusion=mean;0”.",
    ),
]
Heads = Annotated[
    bool, typer.Option("--heads", help="Try each head of the compensation alone, too (Table 7).")
]
TuneOn = Annotated[
    str | None,
    typer.Option(
        help="Choose the thresholds on another split first: train, a text file of names, or half "
        "(the pictures are halved; the other half is reported on)."
    ),
]
Beside = Annotated[
    list[Path] | None,
    typer.Option(
        help="results.json of another benchmark, to stand beside this one in the paper's Table 1. "
        "May be repeated."
    ),
]
Output = Annotated[Path, typer.Option(help="Folder to write to.")]


def evaluate(
    benchmark: Name = None,
    root: Root = None,
    pictures: Pictures = None,
    masks: MasksPath = None,
    classes: Classes = None,
    ignore: Ignore = "255",
    split: Split = None,
    limit: Limit = None,
    preset: options.PresetName = "auto",
    method: Methods = CLIPER,
    encoder: options.Encoder = None,
    compensation: options.Compensation = None,
    changes: options.Set = None,
    vary: Vary = None,
    heads: Heads = False,
    tune_on: TuneOn = None,
    beside: Beside = None,
    output: Output = Path("napari-cliper-evaluation"),
    overwrite: options.Overwrite = False,
    precision: options.Precision = "auto",
    device: options.Device = "auto",
    weights: options.Weights = None,
    download: options.Download = False,
) -> None:
    """Compare masks with their truth: a benchmark of the paper's, or pictures of your own."""
    from napari_cliper.evaluation.needs import check_installed

    # All mistakes that can be known show before the long work.
    for library in ("sklearn", *(["matplotlib"] if tune_on else [])):
        check_installed(library)
    from napari_cliper.evaluation.source import SPLITS, Source

    source = Source(benchmark, root, pictures, masks, classes, ignore)
    from napari_cliper.evaluation.comparison import variants
    from napari_cliper.evaluation.heads import check_heads
    from napari_cliper.evaluation.markdown import remarks
    from napari_cliper.evaluation.output import Files

    methods = [name.strip() for name in method.split(",") if name.strip()]
    choices = Choices(CLIPER, encoder, compensation, precision, changes or ())
    model = options.Model(preset, device, weights, download, choices)
    titles = [variant.title for variant in variants(methods, choices, vary)]
    files = Files(output, overwrite, titles, bool(tune_on))
    files.check()
    others = _reports(beside or ())
    with Reporter() as reporter:
        setup = _setup(benchmark, model, reporter)
        chosen = variants(methods, choices, vary, setup)
        if heads:
            check_heads(replace(model, choices=variant.choices).choose() for variant in chosen)
        plan = _plan(source, (split, tune_on), limit, heads, setup, reporter)
        usual = setup is not None and choices == Choices(precision=precision)
        as_published = usual and not (vary or tune_on) and plan.dataset.split == SPLITS[0]
        report, whole = _run(plan, chosen, model, files, (benchmark, as_published), reporter)
        if report.runs:
            files.write(report, others, again=True)
        for line in (report.title, *remarks(report)):
            reporter.say(line)
        for title, table in _tables(report, others):
            reporter.say(title)
            reporter.say(table)
    if report.runs:
        typer.echo(f"Written to {output}")
    if not whole:
        raise typer.Exit(1)
    if failed := len(report.failures):
        count = "1 picture" if failed == 1 else f"{failed} pictures"
        typer.echo(f"{count} could not be evaluated, for the reasons above.", err=True)
        raise typer.Exit(1)


def _setup(benchmark: str | None, model: options.Model, reporter: Reporter) -> "Setup | None":
    """How the reference implementation runs this encoder on this benchmark, if that is known."""
    if benchmark is None:
        return None
    reporter.show("Loading the libraries")
    from napari_cliper.evaluation.benchmarks import get_benchmark, setup_of

    get_benchmark(benchmark)
    return setup_of(benchmark, model.choose())


def _plan(
    source: "Source",
    splits: tuple[str | None, str | None],
    limit: int | None,
    heads: bool,
    setup: "Setup | None",
    reporter: Reporter,
) -> "Plan":
    """What is reported on and what is tuned on, of these splits; and a word about what is odd."""
    from napari_cliper.evaluation.comparison import Plan, watched
    from napari_cliper.evaluation.datasets.dataset import check_sizes

    reporter.show("Reading the data set")
    split, tune_on = splits
    dataset = source.open(split, setup)
    tuning = None
    if tune_on == HALF:
        tuning, dataset = dataset.halves()
    elif tune_on is not None:
        tuning = source.open(tune_on, setup)
    for remark in dataset.remarks:
        reporter.warn(remark)
    if source.benchmark is not None and setup is None:
        reporter.warn(
            "The reference implementation's settings for this encoder and benchmark are not "
            "known: the preset's own are taken."
        )
    dataset, tuning = dataset.limited(limit), tuning and tuning.limited(limit)
    check_sizes([*dataset.samples, *(tuning.samples if tuning else ())])
    return Plan(dataset, tuning, heads, watched(dataset, WATCHED))


def _run(
    plan: "Plan",
    variants: "Sequence[Variant]",
    model: options.Model,
    files: "Files",
    benchmark: tuple[str | None, bool],
    reporter: Reporter,
) -> "tuple[Report, bool]":
    """All runs, written and drawn as they come; and whether there are no more to come."""
    reporter.show("Loading the libraries")
    import torch

    from napari_cliper.benchmark import machine
    from napari_cliper.evaluation.comparison import compare
    from napari_cliper.evaluation.report import Report, Run
    from napari_cliper.segmenter import load_steps

    model = replace(model, choices=variants[0].choices)
    first = model.load(reporter)

    def load(choices: Choices, before: "Segmenter | None") -> "Steps[Segmenter]":
        return load_steps(
            model.preset, model.device, model.weights, model.download, choices, before or first
        )

    dataset, device = plan.dataset, torch.device(first.device)
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    report = Report(
        dataset=dataset.title,
        split=dataset.split,
        benchmark=benchmark[0],
        as_published=benchmark[1] and benchmark[0] not in OTHERWISE,
        pictures=len(dataset.samples),
        classes=len(dataset.classes),
        background=dataset.background,
        machine=machine.name(device) + threads,
        runs=(),
    )
    runs: list[Run] = []

    def done(outcome: "Outcome") -> None:
        runs.append(outcome.run)
        files.write(report.model_copy(update={"runs": tuple(runs)}), again=len(runs) > 1)
        files.draw(outcome, plan.dataset)

    try:
        outcomes = reporter.run(compare(plan, variants, load, done))
        files.draw_methods(outcomes, plan.dataset)
    except NapariCliperError as error:  # what is known by now is written
        reporter.warn(str(error))
        return report.model_copy(update={"runs": tuple(runs)}), False
    return report.model_copy(update={"runs": tuple(runs)}), True


def _reports(paths: Sequence[Path]) -> "list[Report]":
    """What other evaluations have found."""
    from napari_cliper.evaluation.report import Report
    from napari_cliper.files.foreign import read_json

    return [read_json(path, Report, "an evaluation's results") for path in paths]


def _tables(report: "Report", beside: "Sequence[Report]") -> list[tuple[str, Table]]:
    """The report's tables, as the terminal shows them, each below its title."""
    from napari_cliper.evaluation.markdown import summary

    made = []
    for table in summary(report, beside):
        shown = Table()
        for index, column in enumerate(table.columns):
            shown.add_column(column, justify="right" if index else "left")
        for row in table.rows:
            shown.add_row(*row)
        made.append((table.title, shown))
    return made
