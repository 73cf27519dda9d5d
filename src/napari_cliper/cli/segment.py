"""`napari-cliper segment`: pictures and words in; label maps and overlays out."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from numpy.typing import NDArray

from napari_cliper.annotation.class_list import ClassList
from napari_cliper.cli import options
from napari_cliper.cli.large import segment_large
from napari_cliper.cli.outcome import stems_of, summary
from napari_cliper.cli.reporter import Reporter
from napari_cliper.errors import NapariCliperError
from napari_cliper.images import normalised, to_rgb
from napari_cliper.models.choices import Choices
from napari_cliper.models.schema import CLIPER

if TYPE_CHECKING:
    from napari_cliper.cliper.steps import Steps
    from napari_cliper.segmenter import Result, Segmenter

Present = Annotated[
    str | None,
    typer.Option(
        help="The classes that are in the picture, separated by semicolons, or “all”: only these "
        "are labelled, however faint."
    ),
]
Tiles = Annotated[
    bool,
    typer.Option(
        "--tiles",
        help="For large pictures, TIFF files or Zarr folders: read and segment them window by "
        "window, and write the labels to an OME-Zarr folder.",
    ),
]
Detail = Annotated[
    bool,
    typer.Option(
        "--detail", help="For small things: look at each picture window by window, and as a whole."
    ),
]
Window = Annotated[
    int | None,
    typer.Option(
        help="With --tiles or --detail: pixels of a window's side; 1024 unless given, or two "
        "thirds of the picture's shorter side if that is less."
    ),
]
PercentilesText = Annotated[
    str | None,
    typer.Option(
        "--percentiles",
        metavar="LOW,HIGH",
        help=f"{options.PERCENTILES} With --tiles they are estimated beforehand, from four million "
        "values at most: of the smallest copy in the file that has a million pixels, or else of "
        "every n-th pixel of the picture.",
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
    tiles: Tiles = False,
    detail: Detail = False,
    window: Window = None,
    percentiles: PercentilesText = None,
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
    cut_off = options.percentiles(percentiles)
    choices = Choices(method, encoder, compensation, precision, changes or ())
    model = options.Model(preset, device, weights, download, choices)
    if tiles and detail:
        raise NapariCliperError("Give --tiles, for large pictures, or --detail, but not both.")
    if window is not None and not (tiles or detail):
        raise NapariCliperError("A --window is one of --tiles or --detail: give either, too.")
    if tiles:
        segment_large(images, class_list, present, model, window, cut_off, output, overwrite)
        return
    for image in images:
        to_rgb(normalised(read_picture(image), cut_off))
    targets = plan(images, output, class_list, overwrite)
    with Reporter() as reporter:
        segmenter = model.load(reporter)
        for image, target in zip(images, targets, strict=True):
            picture = normalised(read_picture(image), cut_off)
            start = time.perf_counter()
            if detail:
                result = reporter.run(detailed(segmenter, picture, class_list, present, window))
            else:
                result = reporter.run(segmenter.segment_steps(picture, class_list, present=present))
            seconds = time.perf_counter() - start
            save_labels(target.labels, result, overwrite=overwrite)
            save_overlay(target.overlay, picture, result.labels, class_list, overwrite=overwrite)
            reporter.say(summary(image.name, result, result.labels, seconds))
    typer.echo(f"Written to {output}")


def detailed(
    segmenter: "Segmenter",
    picture: NDArray[Any],
    classes: ClassList,
    present: str | None,
    window: int | None,
) -> "Steps[Result]":
    """The steps of segmenting a picture window by window."""
    from napari_cliper.tiles.segmenting import Tiling, score_tiled_steps

    scored = yield from score_tiled_steps(segmenter, picture, classes, Tiling(window))
    return scored.label(present=present)


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

    targets = [
        Target(output / (stem + LABELS), output / (stem + OVERLAY)) for stem in stems_of(images)
    ]
    check_writable(output)
    try:
        for target in targets:
            check_target(target.labels, classes, overwrite)
            check_free(target.overlay, overwrite)
    except NapariCliperError as error:
        raise NapariCliperError(f"{error} Here: --overwrite, or another --output.") from error
    return targets
