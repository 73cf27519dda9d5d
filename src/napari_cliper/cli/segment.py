"""`napari-cliper segment`: pictures and words in; label maps and overlays out."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.table import Table

from napari_cliper.annotation.class_list import ClassList
from napari_cliper.cli import options
from napari_cliper.cli.reporter import Reporter
from napari_cliper.errors import NapariCliperError
from napari_cliper.images import to_rgb
from napari_cliper.models.choices import Choices
from napari_cliper.models.schema import CLIPER

if TYPE_CHECKING:
    from napari_cliper.segmenter import Result

Present = Annotated[
    str | None,
    typer.Option(
        help="The classes that are in the picture, separated by semicolons, or “all”: only these "
        "are labelled, however faint."
    ),
]
Output = Annotated[Path, typer.Option(help="Folder to write to.")]


def segment(
    images: options.Images,
    classes: options.Classes,
    present: Present = None,
    preset: options.PresetName = "auto",
    output: Output = Path("napari-cliper-output"),
    overwrite: options.Overwrite = False,
    method: options.Method = CLIPER,
    encoder: options.Encoder = None,
    compensation: options.Compensation = None,
    changes: options.Set = None,
    precision: options.Precision = "auto",
    device: options.Device = "auto",
    weights: options.Weights = None,
    download: options.Download = False,
) -> None:
    """Write an indexed PNG and an overlay for each picture, and classes.json beside them."""
    from napari_cliper.files.indexed_png import save_labels
    from napari_cliper.files.overlay import save_overlay
    from napari_cliper.files.pictures import read_picture

    # All mistakes show before the long work.
    class_list = ClassList.parse(classes)
    class_list.known(present)
    choices = Choices(method, encoder, compensation, precision, changes or ())
    model = options.Model(preset, device, weights, download, choices)
    for image in images:
        to_rgb(read_picture(image))
    targets = plan(images, output, class_list, overwrite)
    with Reporter() as reporter:
        segmenter = model.load(reporter)
        for image, target in zip(images, targets, strict=True):
            picture = read_picture(image)
            start = time.perf_counter()
            result = reporter.run(segmenter.segment_steps(picture, class_list, present=present))
            seconds = time.perf_counter() - start
            save_labels(target.labels, result, overwrite=overwrite)
            save_overlay(target.overlay, picture, result.labels, class_list, overwrite=overwrite)
            reporter.say(summary(image.name, result, seconds))
    typer.echo(f"Written to {output}")


@dataclass(frozen=True)
class Target:
    """The files that come of one picture."""

    labels: Path
    overlay: Path


def plan(images: list[Path], output: Path, classes: ClassList, overwrite: bool) -> list[Target]:
    """Where each picture's results go.

    Raises
    ------
    NapariCliperError
        If two pictures would be written to the same file, a file is there already, or the folder
        cannot be written.
    """
    from napari_cliper.files.atomic import check_free, check_writable
    from napari_cliper.files.indexed_png import LABELS, OVERLAY, check_target

    stems: dict[str, Path] = {}
    for image in images:
        if image.stem in stems:
            raise NapariCliperError(
                f"{stems[image.stem]} and {image} would be written to the same files: "
                "segment them into different folders."
            )
        stems[image.stem] = image
    targets = [Target(output / (stem + LABELS), output / (stem + OVERLAY)) for stem in stems]
    check_writable(output)
    try:
        for target in targets:
            check_target(target.labels, classes, overwrite)
            check_free(target.overlay, overwrite)
    except NapariCliperError as error:
        raise NapariCliperError(f"{error} Here: --overwrite, or another --output.") from error
    return targets


def summary(name: str, result: "Result", seconds: float) -> Table:
    """What was found: class, presence, share of pixels; and how long it took."""
    table = Table(title=f"{name}: {seconds:.1f} s", title_justify="left")
    table.add_column("class")
    for column in ("presence", "share of pixels"):
        table.add_column(column, justify="right")
    for entry, presence in zip(result.classes, result.presence, strict=True):
        share = np.mean(result.labels == entry.id)
        table.add_row(entry.name, f"{presence:.2f}", f"{share:.1%}")
    return table
