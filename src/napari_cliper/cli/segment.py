"""`napari-cliper segment`: pictures and words in; label maps and overlays out."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.table import Table

from napari_cliper.annotation.class_list import ClassList
from napari_cliper.cli.reporter import Reporter
from napari_cliper.errors import NapariCliperError
from napari_cliper.images import to_rgb

if TYPE_CHECKING:
    from napari_cliper.segmenter import Result, Segmenter

LABELS, OVERLAY = "_labels.png", "_overlay.png"

Images = Annotated[list[Path], typer.Argument(help="Pictures: PNG, JPEG, TIFF, …")]
Classes = Annotated[
    str, typer.Option(help='What to look for, for example "cat; sofa = couch, settee".')
]
PresetName = Annotated[
    str, typer.Option("--preset", help="auto, small, base, large, huge, or a preset file's path.")
]
Output = Annotated[Path, typer.Option(help="Folder to write to.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Weights = Annotated[
    Path | None, typer.Option(help="Folder with weights, looked at before all others.")
]
Download = Annotated[
    bool, typer.Option("--download", help="Fetch weights that are missing; they can be gigabytes.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")]


def segment(
    images: Images,
    classes: Classes,
    preset: PresetName = "auto",
    output: Output = Path("napari-cliper-output"),
    device: Device = "auto",
    weights: Weights = None,
    download: Download = False,
    overwrite: Overwrite = False,
) -> None:
    """Write an indexed PNG and an overlay for each picture, and classes.json beside them."""
    from napari_cliper.files.indexed_png import save_labels
    from napari_cliper.files.overlay import save_overlay
    from napari_cliper.files.pictures import read_picture

    # All mistakes show before the long work.
    class_list = ClassList.parse(classes)
    for image in images:
        to_rgb(read_picture(image))
    targets = plan(images, output, class_list, overwrite)
    with Reporter() as reporter:
        reporter.show("Loading the libraries")
        from napari_cliper.segmenter import load_steps

        model: Segmenter = reporter.run(load_steps(preset, device, weights, download))
        if model.note:
            reporter.say(model.note)
        for image, target in zip(images, targets, strict=True):
            picture = read_picture(image)
            start = time.perf_counter()
            result = reporter.run(model.segment_steps(picture, class_list))
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
    from napari_cliper.files.indexed_png import check_target

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
