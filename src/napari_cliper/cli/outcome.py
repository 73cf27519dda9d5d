"""What comes of segmented pictures: what their files are called after, what is told of them."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from napari_cliper.errors import NapariCliperError

if TYPE_CHECKING:
    from napari_cliper.segmenter import Result
    from napari_cliper.tiles.stored import StoredResult


def stems_of(images: list[Path]) -> list[str]:
    """What the results of each picture are called after.

    Raises
    ------
    NapariCliperError
        Two pictures would be written to the same file.
    """
    stems: dict[str, Path] = {}
    for image in images:
        if image.stem in stems:
            raise NapariCliperError(
                f"{stems[image.stem]} and {image} would be written to the same files: "
                "segment them into different folders."
            )
        stems[image.stem] = image
    return list(stems)


def summary(
    name: str, result: "Result | StoredResult", labels: NDArray[np.integer], seconds: float
) -> Table:
    """What was found: class, presence, share of pixels; and how long it took."""
    table = Table(title=f"{name}: {seconds:.1f} s", title_justify="left")
    table.add_column("class")
    for column in ("presence", "share of pixels"):
        table.add_column(column, justify="right")
    for entry, presence in zip(result.classes, result.presence, strict=True):
        share = np.mean(labels == entry.id)
        table.add_row(entry.name, f"{presence:.2f}", f"{share:.1%}")
    return table
