"""Draw what the method does, from real runs of the small preset: `draw_method.py [docs/images]`.

Writes method-attention.png (one point's attention, layer by layer, then fused, then in the
compensation), method-refinement.png (coarse against refined masks of two pictures) and
method-layers.png (each layer's patch embeddings as colours). The pictures are scikit-image's. No
window is opened.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from skimage.data import cat, stereo_motorcycle

import napari_cliper as nc
from napari_cliper.files.overlay import draw_overlay
from napari_cliper.inspector import Inspector

POINT = 55, 345  # y and x in pixels: the edge of the cat's head, below its ear
LAYERS = 1, 3, 5, 7, 9, 10, 11
DPI = 80
WORDS = {"cat": "cat = kitten; eye", "motorcycle": "motorcycle = motorbike; floor"}

Pixels = NDArray[np.uint8]


def pictures() -> dict[str, Pixels]:
    """The two photographs."""
    return {"cat": cat(), "motorcycle": stereo_motorcycle()[0]}


def attention(model: nc.Segmenter, picture: Pixels) -> Figure:
    """Where one point's attention goes, from the encoder's first layer to the compensation."""
    inspector = Inspector(model.encode(picture, inspect=True))
    titles = {f"Encoder, layer {number}": f"encoder, layer {number}" for number in LAYERS}
    titles["Encoder, fused (Ā)"] = "encoder, fused (Ā)"
    titles["Compensation, fused"] = "compensation (A_f)"
    figure, axes = panels(2, 5, picture)
    shown(axes[0], "the picture and the point", picture)
    mark(axes[0], POINT, "white")
    for panel, (view, title) in zip(axes[1:], titles.items(), strict=True):
        row = inspector.at(POINT, view)
        # The strongest places would leave the others black.
        extent = (-0.5, picture.shape[1] - 0.5, picture.shape[0] - 0.5, -0.5)
        shown(panel, title, row, cmap="magma", vmax=np.quantile(row, 0.99), extent=extent)
        mark(panel, POINT, "cyan")
    return figure


def refinement(model: nc.Segmenter, photographs: dict[str, Pixels]) -> Figure:
    """Labels before and after fine-grained compensation, with the scores of the first class."""
    figure, axes = panels(len(photographs), 5, next(iter(photographs.values())), 2.6)
    rows = np.reshape(np.array(axes, object), (len(photographs), 5))
    for row, (name, picture) in zip(rows, photographs.items(), strict=True):
        scored = model.score(picture, WORDS[name])
        result = scored.label()
        first = result.classes[0].name
        coarse, refined = (
            draw_overlay(picture, labels, result.classes)
            for labels in (result.coarse_labels, result.labels)
        )
        shown(row[0], f"the picture; words:\n{WORDS[name]}", picture)
        shown(row[1], f"coarse scores of “{first}”", scored.coarse_maps[0], cmap="magma")
        shown(row[2], "coarse mask", coarse)
        shown(row[3], f"refined scores of “{first}”", scored.refined_maps[0], cmap="magma")
        shown(row[4], "refined mask", refined)
    return figure


def layers(model: nc.Segmenter, picture: Pixels) -> Figure:
    """Each layer's patch embeddings, their three principal components as red, green and blue."""
    colors = Inspector(model.encode(picture, inspect=True)).colors()
    figure, axes = panels(2, 7, picture)
    shown(axes[0], "the picture", picture)
    for number, (panel, layer) in enumerate(zip(axes[1:], colors, strict=False), start=1):
        shown(panel, f"layer {number}", layer)
    for panel in axes[1 + len(colors) :]:
        panel.axis("off")
    return figure


def panels(
    rows: int, columns: int, like: Pixels, height: float | None = None
) -> tuple[Figure, Sequence[Axes]]:
    """A figure 15 inches wide, with panels of a picture's proportions."""
    width = 15 / columns
    height = height or width * like.shape[0] / like.shape[1] + 0.3
    figure = Figure(figsize=(15, rows * height), layout="constrained", dpi=DPI)
    return figure, figure.subplots(rows, columns, squeeze=False).ravel().tolist()


def shown(panel: Axes, title: str, picture: NDArray[Any], **how: Any) -> None:
    """A picture under its title."""
    panel.imshow(picture, **how)
    panel.set_title(title, fontsize=10)
    panel.axis("off")


def mark(panel: Axes, point: tuple[float, float], color: str) -> None:
    """A ring around a point."""
    panel.plot(point[1], point[0], "o", markersize=9, fillstyle="none", color=color, mew=2)


def save(figure: Figure, path: Path) -> None:
    """Write it, and tell where."""
    figure.savefig(path)
    print(path)


def main(folder: Path) -> None:
    """Draw all three."""
    folder.mkdir(parents=True, exist_ok=True)
    model = nc.load("small")
    photographs = pictures()
    save(attention(model, photographs["cat"]), folder / "method-attention.png")
    save(refinement(model, photographs), folder / "method-refinement.png")
    save(layers(model, photographs["cat"]), folder / "method-layers.png")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images"))
