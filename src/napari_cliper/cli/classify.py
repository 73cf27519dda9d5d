"""`napari-cliper classify`: which classes are in a picture."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from napari_cliper.annotation.class_list import ClassList
from napari_cliper.cli import options
from napari_cliper.cli.reporter import Reporter
from napari_cliper.images import normalised, to_rgb
from napari_cliper.models.choices import Choices
from napari_cliper.models.schema import CLIPER

if TYPE_CHECKING:
    from napari_cliper.segmenter import Presence

Threshold = Annotated[
    float | None,
    typer.Option(
        min=0, max=1, help="Presence above which a class is in the picture; else the preset's."
    ),
]


def classify(
    images: options.Images,
    classes: options.Classes,
    threshold: Threshold = None,
    percentiles: options.PercentilesText = None,
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
    """Tell which of the classes are in each picture, the surest first."""
    from napari_cliper.files.pictures import read_picture

    class_list = ClassList.parse(classes)
    cut_off = options.percentiles(percentiles)
    choices = Choices(method, encoder, compensation, precision, changes or ())
    model = options.Model(preset, device, weights, download, choices)
    for image in images:
        to_rgb(normalised(read_picture(image), cut_off))
    with Reporter() as reporter:
        segmenter = model.load(reporter)
        for image in images:
            picture = normalised(read_picture(image), cut_off)
            found = reporter.run(segmenter.classify_steps(picture, class_list, threshold))
            reporter.say(_table(image.name, found))


def _table(name: str, found: "Presence") -> Table:
    table = Table(title=name, title_justify="left")
    table.add_column("class")
    table.add_column("presence", justify="right")
    table.add_column("in the picture")
    rows = zip(found.classes, found.presence, found.present, strict=True)
    for entry, presence, present in sorted(rows, key=lambda row: -row[1]):
        table.add_row(entry.name, f"{presence:.2f}", "yes" if present else "no")
    return table
