"""`napari-cliper segment --tiles`: large pictures, read and written window by window."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import typer

from napari_cliper.annotation.class_list import ClassList
from napari_cliper.cli.outcome import stems_of, summary
from napari_cliper.cli.reporter import Reporter
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.names import STORED_LABELS
from napari_cliper.images import Percentiles

if TYPE_CHECKING:
    from napari_cliper.cli.options import Model


def segment_large(
    images: list[Path],
    classes: ClassList,
    present: str | None,
    model: "Model",
    window: int | None,
    percentiles: Percentiles | None,
    output: Path,
    overwrite: bool,
) -> None:
    """Write an OME-Zarr folder of labels for each picture.

    Raises
    ------
    NapariCliperError
        Something cannot be read, used or written; nothing of that picture is left then.
    """
    from napari_cliper.tiles.limits import percentile_limits_steps
    from napari_cliper.tiles.opening import open_picture
    from napari_cliper.tiles.picture import Picture
    from napari_cliper.tiles.segmenting import Asked, Tiling, store_tiled_steps
    from napari_cliper.tiles.stored import check_output

    tiling, asked = Tiling(window), Asked(present=present)
    targets = [output / (stem + STORED_LABELS) for stem in stems_of(images)]
    for image, target in zip(images, targets, strict=True):
        with open_picture(image) as levels:
            size = Picture.checked(levels).size
        try:
            check_output(target, size, classes, overwrite)
        except NapariCliperError as error:
            raise NapariCliperError(f"{error} Here: --overwrite, or another --output.") from error
    with Reporter() as reporter:
        segmenter = model.load(reporter)
        for image, target in zip(images, targets, strict=True):
            start = time.perf_counter()
            with open_picture(image) as levels:
                limits = None
                if percentiles is not None:
                    limits = reporter.run(percentile_limits_steps(levels, percentiles))
                steps = store_tiled_steps(
                    segmenter, levels, classes, target, tiling, asked, limits, overwrite
                )
                result = reporter.run(steps)
            seconds = time.perf_counter() - start
            # Of the smallest copy, which has every n-th pixel: the shares are the same.
            smallest = np.asarray(result.levels[-1])
            reporter.say(summary(image.name, result, smallest, seconds))
    typer.echo(f"Written to {output}")
