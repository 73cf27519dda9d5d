"""Show where words do not work: `where_it_fails.py [docs/images/where-it-fails.png]`.

Samples of scikit-image that are no photographs of things, beside one that is: what the small preset
finds by words, how sure its maps are, and what a few strokes of each class change. The truth to
compare with is a threshold's, as anybody would take it for such pictures; so it is rough.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray
from skimage import data
from skimage.color import rgb2gray, rgb2hed
from skimage.filters import gaussian, threshold_otsu
from skimage.measure import label, regionprops
from skimage.segmentation import mark_boundaries

import napari_cliper as nc

STROKES = 3  # of each class
LENGTH = 0.06  # of the picture's longer side


@dataclass(frozen=True)
class Sample:
    """One picture with words for what a person would look for.

    Attributes
    ----------
    name : str
    pixels : array
    words : str
        What is looked for first, then what is around it.
    truth : (H, W) bool or None
        Where it is; None where no threshold tells.
    """

    name: str
    pixels: NDArray[np.uint8]
    words: str
    truth: NDArray[np.bool_] | None = None


def samples() -> list[Sample]:
    """A photograph of a thing, then others."""
    coins, cell, page = data.coins(), data.cell(), data.page()
    ihc, vessels, hubble = data.immunohistochemistry(), data.retina(), data.hubble_deep_field()
    round_ones = gaussian(coins, 2)
    stain = gaussian(rgb2hed(ihc)[..., 2], 2)
    dark = gaussian(page, 1)
    bright = gaussian(rgb2gray(hubble), 1)
    smooth = gaussian(cell, 2)
    textures = np.hstack([data.brick()[:256, :256], data.grass()[:256, :256]])
    left = np.zeros(textures.shape, bool)
    left[:, :256] = True
    return [
        Sample("cat", data.chelsea(), "cat; sofa"),
        Sample("coins", coins, "coin; table", round_ones > threshold_otsu(round_ones)),
        Sample("stained tissue", ihc, "brown stained cell; tissue", stain > threshold_otsu(stain)),
        Sample("cell", cell, "cell; background", smooth > threshold_otsu(smooth)),
        Sample("retina", vessels, "blood vessel; retina"),
        Sample("page of text", page, "text; paper", dark < threshold_otsu(dark) * 0.8),
        Sample("textures", textures, "brick wall; grass", left),
        Sample("galaxies", hubble, "galaxy; night sky", bright > threshold_otsu(bright)),
    ]


def iou(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Intersection over union."""
    return float((found & truth).sum() / max(1, (found | truth).sum()))


def strokes(truth: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Short strokes in the largest parts of what is looked for (1) and of the rest (2)."""
    drawn = np.full(truth.shape, -1, np.int32)
    half = max(2, round(max(truth.shape) * LENGTH / 2))
    for value, where in ((1, truth), (2, ~truth)):
        parts = sorted(regionprops(label(where)), key=lambda part: -part.area)[:STROKES]
        for part in parts:
            rows, columns = part.coords.T
            middle = np.argmin(np.hypot(rows - rows.mean(), columns - columns.mean()))
            row, column = part.coords[middle]
            line = np.zeros(truth.shape, bool)
            line[max(0, row - 1) : row + 2, max(0, column - half) : column + half] = True
            drawn[line & where] = value
    return drawn


def main(path: Path) -> None:
    """Print a table and draw the pictures."""
    model = nc.load("small")
    found = samples()
    figure, axes = plt.subplots(len(found), 4, figsize=(12, 2.6 * len(found)), squeeze=False)
    print(f"{'picture':16} {'unsure':>7} {'IoU by words':>13} {'and strokes':>12}")
    for sample, row in zip(found, axes, strict=True):
        encoding = model.encode(sample.pixels)
        scored = model.score(encoding, sample.words)
        result = scored.label(present="all")
        told = "" if sample.truth is None else f"{iou(result.labels == 1, sample.truth):.2f}"
        again, corrected = "", None
        if sample.truth is not None:
            scribbled = scored.corrected(encoding, strokes(sample.truth))
            corrected = scribbled.label(present="all").labels
            again = f"{iou(corrected == 1, sample.truth):.2f}"
        unsure = float(result.uncertainty.mean())
        print(f"{sample.name:16} {unsure:7.2f} {told:>13} {again:>12}")
        shown = sample.pixels if sample.pixels.ndim == 3 else np.dstack([sample.pixels] * 3)
        pictures: list[NDArray[Any]] = [shown, outlined(shown, result.labels), result.uncertainty]
        titles = [
            f"{sample.name}: “{sample.words}”",
            "by words" + (f", IoU {told}" if told else ""),
            f"uncertainty, mean {unsure:.2f}",
        ]
        if corrected is not None:
            pictures.append(outlined(shown, corrected))
            titles.append(f"with {STROKES} strokes each, IoU {again}")
        for cell, picture, title in zip(row, pictures, titles, strict=False):
            cell.imshow(picture, cmap="inferno", vmin=0, vmax=1 if picture.ndim == 2 else None)
            cell.set_title(title, fontsize=8)
        for cell in row:
            cell.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=64)
    print(path)


def outlined(shown: NDArray[np.uint8], labels: NDArray[np.uint16]) -> NDArray[np.float64]:
    """The first class tinted red, with its outline."""
    tinted = shown / 255
    tinted[labels == 1] = tinted[labels == 1] * 0.6 + np.array([0.4, 0.1, 0.0])
    marked: NDArray[np.float64] = mark_boundaries(tinted, labels, color=(1, 1, 0))
    return marked


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images/where-it-fails.png"))
