"""What scribbles are worth: `simulate_scribbles.py --data FOLDER [--pictures N]`.

The small preset labels each photograph, told its classes. In the largest regions that are wrong
(connected pixels of one true class, or of the background) a stroke is drawn with the true label.
The same strokes are painted on the labels alone, and given as scribbles. Printed is the mIoU of
both.

Reported apart: the pictures that the preset's heads learnt from, on which the equation in
cliper/scribbles.py was chosen too, and those held out from both.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from evaluate_small import Overlap
from numpy.typing import NDArray
from skimage.graph import MCP_Geometric
from skimage.measure import label, regionprops
from skimage.morphology import dilation, disk, skeletonize
from small_data import Picture, read_pictures, read_vocabulary

import napari_cliper as nc
from napari_cliper.annotation.class_list import ClassEntry, ClassList
from napari_cliper.segmenter import Segmenter

COUNTS = (1, 3, 10)  # strokes a picture
WIDTH = 5  # of a stroke, in pixels

Labels = NDArray[np.integer[Any]]
Mask = NDArray[np.bool_]


def draw_stroke(region: Mask) -> Mask:
    """A stroke along the inside of a connected region: its skeleton's longest path, made wider."""
    region = np.pad(region, 1)
    skeleton = skeletonize(region)
    costs = np.where(skeleton, 1.0, np.inf)
    end = tuple(np.argwhere(skeleton)[0])
    for _ in range(2):  # the farthest place from anywhere, then the farthest from that
        paths = MCP_Geometric(costs)
        distances, _ = paths.find_costs([end])
        distances = np.where(np.isfinite(distances), distances, -1)
        end = tuple(np.unravel_index(distances.argmax(), distances.shape))
    line = np.zeros_like(region)
    line[tuple(np.transpose(paths.traceback(end)))] = True
    stroke: Mask = (dilation(line, disk(WIDTH // 2)) & region)[1:-1, 1:-1]
    return stroke


def draw_strokes(found: Labels, truth: Labels, count: int) -> NDArray[np.int64]:
    """Scribbles in the largest wrong regions: (H, W) int, -1 where there is none."""
    wrong = np.where(found != truth, truth.astype(int) + 1, 0)
    regions = regionprops(label(wrong, background=0, connectivity=1))
    scribbles = np.full(truth.shape, -1)
    for region in sorted(regions, key=lambda region: -region.area)[:count]:
        place = scribbles[region.slice]
        place[draw_stroke(region.image)] = truth[tuple(region.coords[0])]
    return scribbles


class Tally:
    """What is counted over some pictures."""

    def __init__(self, classes: int) -> None:
        self.start = Overlap.empty(classes)
        self.painted = {count: Overlap.empty(classes) for count in COUNTS}
        self.scribbled = {count: Overlap.empty(classes) for count in COUNTS}

    def show(self, title: str) -> None:
        """Print it."""
        print(f"{len(self.start.pictures)} {title} pictures")
        print(f"  {'start':25} {self.start}")
        for count in COUNTS:
            strokes = f"{count:2} stroke{'s' if count > 1 else ''}"
            painted, scribbled = self.painted[count], self.scribbled[count]
            before, alone, after = (
                np.array(overlap.pictures) for overlap in (self.start, painted, scribbled)
            )
            print(f"  {f'{strokes}, painted alone':25} {painted}")
            print(
                f"  {f'{strokes}, scribbled':25} {scribbled}   {(after > alone).sum()} pictures "
                f"better than painted alone, {(after < alone).sum()} worse; "
                f"{(after < before).sum()} worse than at the start",
                flush=True,
            )


def simulate(model: Segmenter, picture: Picture, names: Sequence[str], *tallies: Tally) -> None:
    """Correct one picture in both ways and count how right it is."""
    asked = tuple(ClassEntry(id=index + 1, name=names[index]) for index in picture.classes)
    encoding = model.encode(picture.image)
    scored = model.score(encoding, ClassList(classes=asked))
    found = scored.label().labels.astype(int)
    for tally in tallies:
        tally.start.add(found, picture.mask)
    for count in COUNTS:
        scribbles = draw_strokes(found, picture.mask, count)
        alone = np.where(scribbles >= 0, scribbles, found)
        carried = scored.corrected(encoding, scribbles).label().labels.astype(int)
        for tally in tallies:
            tally.painted[count].add(alone, picture.mask)
            tally.scribbled[count].add(carried, picture.mask)


def main() -> None:
    """Print the figures of both sets of pictures, and of all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a folder like coco128-seg")
    parser.add_argument("--pictures", type=int, metavar="N", help="the first N of each set")
    arguments = parser.parse_args()
    model = nc.load("small", device="cpu")
    names = read_vocabulary().class_names
    learnt, held_out = read_pictures(arguments.data)
    every = Tally(len(names))
    print("mIoU, mean over pictures / over classes, background included")
    for title, pictures in (("held-out", held_out), ("training", learnt)):
        tally = Tally(len(names))
        marked = [picture for picture in pictures if picture.classes]
        for picture in marked[: arguments.pictures]:
            simulate(model, picture, names, tally, every)
        tally.show(title)
    every.show("held-out and training")


if __name__ == "__main__":
    main()
