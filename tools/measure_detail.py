"""What windows are worth for small things: `measure_detail.py --data FOLDER [--pictures N]`.

The small preset labels each photograph, told its classes: as a whole, and in windows. Printed is
how much of each marked object has its class's label, by COCO's sizes (areas in pixels of the
picture). Pixels of a class are given to the nearest object of that class; an object's IoU is that
of its pixels with those given to it. It is found if the IoU is at least a half.

Reported apart: the pictures that the preset's heads learnt from, and those held out.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt  # type: ignore[import-untyped]
from small_data import HELD_OUT, read_vocabulary

import napari_cliper as nc
from napari_cliper.annotation.class_list import ClassEntry, ClassList
from napari_cliper.evaluation.datasets.polygons import laid
from napari_cliper.files.foreign import drawn
from napari_cliper.files.pictures import read_picture
from napari_cliper.images import to_rgb
from napari_cliper.segmenter import Segmenter
from napari_cliper.tiles.segmenting import segment_tiled

SIZES = {"small": 32**2, "medium": 96**2, "large": np.inf}  # areas below, as COCO has them
FOUND = 0.5  # IoU

Labels = NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class Photograph:
    """A picture and what is marked in it.

    Attributes
    ----------
    name : str
    pixels : (H, W, 3) uint8
    objects : (H, W) uint16
        0 where nothing is marked, else i + 1 of the i-th object; smaller ones on top.
    classes : tuple of int
        Of each object, the class's index.
    areas : tuple of int
        Of each object, its pixels, hidden ones too.
    """

    name: str
    pixels: NDArray[np.uint8]
    objects: NDArray[np.uint16]
    classes: tuple[int, ...]
    areas: tuple[int, ...]


@dataclass(frozen=True)
class Tally:
    """What was reached for each object: its size, share of pixels with its label, and IoU."""

    sizes: list[str] = field(default_factory=list)
    recalls: list[float] = field(default_factory=list)
    overlaps: list[float] = field(default_factory=list)

    def add(self, photograph: Photograph, labels: Labels) -> None:
        """Count one picture; labels are classes' indices + 1."""
        for index in sorted(set(photograph.classes)):
            numbers = [n for n, own in enumerate(photograph.classes, 1) if own == index]
            own = np.where(np.isin(photograph.objects, numbers), photograph.objects, 0)
            if not own.any():
                continue  # hidden by others
            rows, columns = distance_transform_edt(
                own == 0, return_distances=False, return_indices=True
            )
            given = np.where(labels == index + 1, own[rows, columns], 0)
            for number in numbers:
                self._add(photograph.areas[number - 1], own == number, given == number)

    def _add(self, area: int, marked: NDArray[np.bool_], given: NDArray[np.bool_]) -> None:
        if not marked.any():
            return
        common = np.count_nonzero(marked & given)
        self.sizes.append(next(name for name, below in SIZES.items() if area < below))
        self.recalls.append(common / np.count_nonzero(marked))
        self.overlaps.append(common / np.count_nonzero(marked | given))

    def rows(self) -> Iterator[tuple[str, int, float, float, float]]:
        """Of each size, and of all: how many objects, mean recall, mean IoU, share found."""
        sizes, recalls, overlaps = map(np.array, (self.sizes, self.recalls, self.overlaps))
        for name in (*SIZES, "all"):
            chosen = (sizes == name) | (name == "all")
            if chosen.any():
                found = (overlaps[chosen] >= FOUND).mean()
                yield name, chosen.sum(), recalls[chosen].mean(), overlaps[chosen].mean(), found


def read_photographs(folder: Path, held_out: bool) -> list[Photograph]:
    """Those pictures of a folder like coco128-seg in which something is marked."""
    known = set(HELD_OUT.read_text("utf-8").split())
    paths = sorted((folder / "images" / "train2017").glob("*.jpg"))
    chosen = (path for path in paths if (path.name in known) == held_out)
    read = (_read(path, folder / "labels" / "train2017" / f"{path.stem}.txt") for path in chosen)
    return [one for one in read if one.classes]


def _read(path: Path, polygons: Path) -> Photograph:
    pixels = to_rgb(read_picture(path))
    size = pixels.shape[0], pixels.shape[1]
    lines = polygons.read_text("utf-8").splitlines() if polygons.is_file() else []
    numbers = [np.array(line.split(), float) for line in lines]
    parts = [drawn(path, [one[1:].reshape(-1, 2) * size[::-1]], size) for one in numbers]
    return Photograph(
        path.name,
        pixels,
        laid(size, enumerate(parts, 1)),
        tuple(int(one[0]) for one in numbers),
        tuple(int(np.count_nonzero(mask)) for _, _, mask in parts),
    )


def spread(photographs: Sequence[Photograph], count: int | None) -> list[Photograph]:
    """So many of them, evenly; all for None."""
    if count is None or count >= len(photographs):
        return list(photographs)
    return [photographs[n] for n in np.linspace(0, len(photographs) - 1, count).round().astype(int)]


def measure(
    model: Segmenter, photographs: Sequence[Photograph], names: Sequence[str], window: float | None
) -> tuple[Tally, Tally]:
    """What the whole picture reaches, and windows."""
    whole, detail = Tally(), Tally()
    for photograph in photographs:
        asked = ClassList(
            classes=tuple(
                ClassEntry(id=i + 1, name=names[i]) for i in sorted(set(photograph.classes))
            )
        )
        side = None if window is None else round(window * min(photograph.objects.shape))
        once = model.segment(photograph.pixels, asked, present="all")
        more = segment_tiled(model, photograph.pixels, asked, window=side, present="all")
        whole.add(photograph, once.labels)
        detail.add(photograph, np.asarray(more.labels))
        model.encodings.clear()
        print(".", end="", file=sys.stderr, flush=True)
    return whole, detail


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a folder like coco128-seg")
    parser.add_argument("--pictures", type=int, metavar="N", help="N of each set, evenly")
    parser.add_argument("--window", type=float, metavar="SHARE", help="of the shorter side")
    given = parser.parse_args()
    model = nc.load("small", device="cpu")
    names = read_vocabulary().class_names
    print("recall and IoU, mean over objects, and the share found: whole picture → windows")
    for title, held_out in (("held-out", True), ("learnt-from", False)):
        photographs = spread(read_photographs(given.data, held_out), given.pictures)
        whole, detail = measure(model, photographs, names, given.window)
        print(f"\n{len(photographs)} {title} pictures")
        print("| objects | number | recall | IoU | found |\n|---|---|---|---|---|")
        for before, after in zip(whole.rows(), detail.rows(), strict=True):
            cells = (f"{a:.3f} → {b:.3f}" for a, b in zip(before[2:], after[2:], strict=True))
            print(f"| {before[0]} | {before[1]} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
