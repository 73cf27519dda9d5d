"""Where a point's attention goes: `attention_of_a_point.py [FOLDER]`.

The picture is encoded with `inspect=True`, which keeps every layer and head. `Inspector` then gives
maps of numbers for a point, as large as the grid of patches; what is shown of them is up to you.
Prints how much of the attention of a point on the cat stays on the cat's own mask, and writes
`attention.png` into FOLDER (example-output): the attention of the point in the first layer of the
encoder, in the fused attention of the encoder, and in the compensation that refines the mask.
"""

import sys
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from skimage.data import cat
from skimage.transform import resize

import napari_cliper as nc
from napari_cliper.inspector import Inspector

POINT = 200, 230  # y and x in pixels: the cat's chest
VIEWS = "Encoder, layer 1", "Encoder, fused (Ā)", "Compensation, fused"


def main(folder: Path) -> None:
    """Look at one point in three ways."""
    picture = cat()
    model = nc.load("small")
    encoding = model.encode(picture, inspect=True)
    on_cat = model.segment(encoding, "cat").labels > 0
    inspector = Inspector(encoding)

    figure = Figure(figsize=(12, 3), layout="constrained")
    axes = figure.subplots(1, 1 + len(VIEWS))
    axes[0].imshow(picture)
    axes[0].plot(POINT[1], POINT[0], "o", color="white", markeredgecolor="black")
    axes[0].set_title("the point")
    for panel, view in zip(axes[1:], VIEWS, strict=True):
        attention = inspector.at(POINT, view)  # one number a patch
        spread = resize(attention, picture.shape[:2], order=0)
        print(f"{view}: {spread[on_cat].sum() / spread.sum():.0%} stays on the cat")
        panel.imshow(attention, cmap=mpl.colormaps["magma"])
        panel.set_title(view)
    for panel in axes:
        panel.axis("off")
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "attention.png", dpi=80)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "example-output"))
