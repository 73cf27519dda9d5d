"""`napari-cliper batch`: proposals for many pictures, here or by a cluster."""

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_cliper.annotation.class_list import ClassList
from napari_cliper.cli import options
from napari_cliper.cli.reporter import Reporter
from napari_cliper.errors import NapariCliperError
from napari_cliper.models.choices import Choices
from napari_cliper.models.schema import CLIPER

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from napari_cliper.batch.run import Crew

Given = Annotated[
    list[str],
    typer.Argument(
        help="Pictures, folders, patterns such as “scans/**/*.png”, videos, TIFF files of several "
        "pages."
    ),
]
ClassesFile = Annotated[
    Path | None, typer.Option(help="classes.json, or a text file with one class a line.")
]
SomeClasses = Annotated[
    str | None, typer.Option(help='What to look for, for example "cat; sofa = couch, settee".')
]
Output = Annotated[Path, typer.Option(help="Folder for masks, index and records.")]
Every = Annotated[int, typer.Option(min=1, help="Of videos, take one of so many frames.")]
FormatNames = Annotated[
    list[str] | None,
    typer.Option("--format", help="Write all masks in this format too; may be repeated."),
]
Count = Annotated[
    int | None, typer.Option(min=1, help="Processes of this machine to share the work.")
]
Scheduler = Annotated[
    str | None, typer.Option(help="Address of a dask scheduler, whose workers do the work.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only tell what would be done.")]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Make anew what was made with other words, models or settings; a person’s work stays.",
    ),
]


def batch(
    sources: Given,
    output: Output,
    classes_file: ClassesFile = None,
    classes: SomeClasses = None,
    present: Annotated[
        str | None, typer.Option(help="The classes that are in every picture, or “all”.")
    ] = None,
    format_: FormatNames = None,
    every: Every = 1,
    percentiles: options.PercentilesText = None,
    workers: Count = None,
    scheduler: Scheduler = None,
    dry_run: DryRun = False,
    overwrite: Overwrite = False,
    preset: options.PresetName = "auto",
    method: options.Method = CLIPER,
    encoder: options.Encoder = None,
    compensation: options.Compensation = None,
    changes: options.Set = None,
    precision: options.Precision = "auto",
    device: options.Device = "auto",
    weights: options.Weights = None,
    download: options.Download = False,
) -> None:
    """Propose a mask for each picture: the review queue opens them, the most uncertain first."""
    from napari_cliper.batch.exporting import export_masks
    from napari_cliper.batch.order import Order
    from napari_cliper.batch.run import run
    from napari_cliper.batch.work import Recipe
    from napari_cliper.files.formats import format_of

    # All mistakes show before the long work.
    class_list = _classes(classes_file, classes)
    class_list.known(present)
    formats = [format_of(key) for key in format_ or ()]
    if workers is not None and scheduler is not None:
        raise NapariCliperError("Workers of this machine or a scheduler’s: give one of both.")
    choices = Choices(method, encoder, compensation, precision, changes or ())
    model = options.Model(preset, device, weights, download, choices)
    cut_off = options.percentiles(percentiles)
    recipe = Recipe(
        class_list, preset, device, weights, download, choices, present, percentiles=cut_off
    )
    order = Order(tuple(sources), output, recipe, every, overwrite)
    with Reporter() as reporter, _crew(reporter, scheduler, workers) as crew:
        planned = reporter.run(order.plan(dry_run, crew.identify))
        for sentence in planned.told():
            reporter.say(sentence)
        if dry_run:
            return
        if planned.to_make and scheduler is None:
            model.announce(reporter)
        summary = reporter.run(run(planned, recipe, crew.work))
        for one in formats:
            try:
                reporter.say(f"Written to {reporter.run(export_masks(planned, one))}")
            except NapariCliperError as error:
                summary.failed.append(f"{one.key}: {error}")
        for sentence in summary.told(planned):
            reporter.say(sentence)
        for sentence in summary.failed:
            reporter.warn(sentence)
    if summary.failed:
        raise typer.Exit(1)


def _classes(file: Path | None, words: str | None) -> ClassList:
    if (file is None) == (words is None):
        raise NapariCliperError(
            "Say what to look for: --classes-file classes.json, or --classes “cat; dog”."
        )
    return options.class_list(file) if file is not None else ClassList.parse(words or "")


def _crew(
    reporter: Reporter, scheduler: str | None, workers: int | None
) -> "AbstractContextManager[Crew]":
    from napari_cliper.batch.cluster import cluster
    from napari_cliper.batch.run import HERE

    if scheduler is None and workers is None:
        return nullcontext(HERE)
    reporter.show("Starting the workers" if scheduler is None else f"Asking {scheduler}")
    return cluster(scheduler, workers)
