"""`napari-cliper benchmark`: how long each step takes, beside the plain way."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from napari_cliper.cli import options
from napari_cliper.cli.reporter import Reporter
from napari_cliper.errors import NapariCliperError
from napari_cliper.models.choices import Choices

if TYPE_CHECKING:
    from napari_cliper.benchmark.report import Report
    from napari_cliper.models.schema import Preset
    from napari_cliper.segmenter import Segmenter

PLAIN = "float32"  # the precision of the plain way

RandomWeights = Annotated[
    bool,
    typer.Option(
        "--random-weights", help="Models of full size without their weights: as slow, no download."
    ),
]
Json = Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")]
Repeat = Annotated[
    int, typer.Option(min=1, help="How often each step is timed at least; the median counts.")
]


def benchmark(
    preset: options.PresetName = "large",
    random_weights: RandomWeights = False,
    json: Json = None,
    repeat: Repeat = 1,
    precision: options.Precision = "auto",
    device: options.Device = "auto",
    weights: options.Weights = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Measure each step for a picture of 336 by 504 pixels and twenty words, both ways."""
    from napari_cliper.benchmark.run import run
    from napari_cliper.files.atomic import atomic_write, check_free, check_writable

    # All mistakes show before the long work.
    if json is not None:
        check_free(json, overwrite)
        check_writable(json.parent)
    model = options.Model(preset, device, weights, False, Choices(precision=precision))
    with Reporter() as reporter:
        ours, plain = _models(model, random_weights, reporter)
        report = reporter.run(run(ours, plain, random_weights, repeat))
        reporter.say(_table(report))
    if json is not None:
        with atomic_write(json, overwrite) as file:
            file.write(report.model_dump_json(indent=2).encode())
        typer.echo(f"Written to {json}")


def _models(
    model: options.Model, random_weights: bool, reporter: Reporter
) -> tuple["Segmenter", "Segmenter"]:
    """Our way's models, and the plain way's."""
    reporter.show("Loading the libraries")
    from napari_cliper.benchmark.random_weights import random_segmenter
    from napari_cliper.models.loading import resolve_device
    from napari_cliper.models.precision import resolve_precision
    from napari_cliper.models.weights import choose, user_folder

    where, folder = resolve_device(model.device), user_folder(model.weights)
    preset, _ = choose(model.preset, where.type, folder, model.choices)
    if not random_weights:
        _check_weights(preset, folder)

    def load(precision: str) -> "Segmenter":
        if random_weights:
            reporter.show("Making the models")
            return random_segmenter(preset, where, resolve_precision(precision, where))
        return replace(model, choices=Choices(precision=precision)).load(reporter)

    ours = load(model.choices.precision)
    return ours, ours if ours.precision == PLAIN else load(PLAIN)


def _check_weights(preset: "Preset", folder: Path | None) -> None:
    """Refuse a preset whose weights are absent and need not be there."""
    from napari_cliper.benchmark.random_weights import is_known
    from napari_cliper.models.weights import missing

    if is_known(preset) and (absent := missing(preset, folder)):
        raise NapariCliperError(
            f"The weights {absent[0].repo} of the preset {preset.name} are not on this machine: "
            "add --random-weights to measure models of the same size, or fetch them with "
            f"napari-cliper models download {preset.name}."
        )


def _table(report: "Report") -> Table:
    from napari_cliper.benchmark.report import COLUMNS

    table = Table(title=report.title, title_justify="left")
    for index, column in enumerate(COLUMNS):
        table.add_column(column, justify="right" if index else "left")
    for row in report.rows():
        table.add_row(*row)
    return table
