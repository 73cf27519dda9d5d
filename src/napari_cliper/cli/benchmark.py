"""`napari-cliper benchmark`: how long each step takes, beside the plain way."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from napari_cliper.cli import options
from napari_cliper.cli.reporter import Reporter
from napari_cliper.models.choices import Choices
from napari_cliper.models.schema import CLIPER

if TYPE_CHECKING:
    from napari_cliper.benchmark.measure import Report

PARTS = 4  # of encoding a picture, the first steps

RandomWeights = Annotated[
    bool,
    typer.Option(
        "--random-weights", help="Models of full size without their weights: as slow, no download."
    ),
]
Json = Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")]
Repeat = Annotated[int, typer.Option(min=1, help="How often each step is done; the median counts.")]


def benchmark(
    preset: options.PresetName = "large",
    random_weights: RandomWeights = False,
    json: Json = None,
    repeat: Repeat = 1,
    precision: options.Precision = "float32",
    device: options.Device = "auto",
    weights: options.Weights = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Measure each step for a picture of 336 by 504 pixels and twenty words, both ways."""
    import numpy as np
    import torch

    from napari_cliper.benchmark.measure import Report, machine, measure, rate, summed
    from napari_cliper.benchmark.random_weights import random_segmenter
    from napari_cliper.benchmark.steps import steps
    from napari_cliper.files.atomic import atomic_write, check_free
    from napari_cliper.models.loading import resolve_device, resolve_precision
    from napari_cliper.models.presets import get_preset

    if json is not None:
        check_free(json, overwrite)
    where, dtype = resolve_device(device), resolve_precision(precision)
    choices = Choices(CLIPER, None, None, precision, ())
    with Reporter() as reporter, torch.inference_mode():
        reporter.show("Making the models")
        if random_weights:
            model = random_segmenter(get_preset(preset), where, dtype)
        else:
            model = options.Model(preset, device, weights, False, choices).load(reporter)
        image = np.random.default_rng(0).integers(0, 256, (336, 504, 3)).astype(np.uint8)
        measured = []
        for step in steps(model, image, model.preset.templates):
            reporter.show(f"Measuring: {step.name}")
            measured.append(measure(step, where, repeat))
        report = Report(
            preset=preset,
            device=str(where),
            precision=precision,
            machine=machine(where),
            threads=torch.get_num_threads(),
            rate=rate(where, dtype),
            steps=(
                *measured[:PARTS],
                summed("encode a picture", measured[:PARTS]),
                *measured[PARTS:],
            ),
        )
        reporter.say(_table(report))
    if json is not None:
        with atomic_write(json, overwrite) as file:
            file.write(report.model_dump_json(indent=2).encode())
        typer.echo(f"Written to {json}")


def _table(report: "Report") -> Table:
    title = (
        f"{report.preset}, {report.precision}, {report.machine} ({report.device}, {report.threads} "
        f"threads), {report.rate / 1e9:.0f} thousand million multiply-adds a second"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("step")
    for column in ("ours", "plain", "ratio", "floor", "peak", "peak, plain"):
        table.add_column(column, justify="right")
    for step in report.steps:
        table.add_row(
            step.name,
            _seconds(step.ours.seconds),
            _seconds(step.plain.seconds),
            f"{step.ratio:.1f}×",
            _seconds(report.floor(step.ours)),
            f"{step.ours.peak / 1e9:.2f} GB",
            f"{step.plain.peak / 1e9:.2f} GB",
        )
    return table


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.1f} ms"
