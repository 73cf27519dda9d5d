"""Words become a mask, and the mask a file: `segment_and_save.py [FOLDER]`.

A photograph that scikit-image brings along is segmented by two words. Prints how sure the maps are
that each is there, and which share of the picture it takes. Into FOLDER (example-output) go

- `cat_labels.png`: an indexed PNG, whose pixels are the classes' numbers, with their names inside;
- `classes.json`: the classes, for other programs;
- `cat_overlay.png`: the picture with the mask over it, to look at.
"""

import sys
from pathlib import Path

from skimage.data import cat

import napari_cliper as nc
from napari_cliper.files.overlay import save_overlay


def main(folder: Path) -> None:
    """Segment, tell, save, and read what was saved."""
    picture = cat()
    model = nc.load("small")
    result = model.segment(picture, "cat = kitten; eye")

    for entry, presence in zip(result.classes, result.presence, strict=True):
        share = (result.labels == entry.id).mean()
        print(f"{entry.name}: presence {presence:.2f}, {share:.0%} of the pixels")

    nc.save_labels(folder / "cat_labels.png", result, overwrite=True)
    save_overlay(folder / "cat_overlay.png", picture, result.labels, result.classes, overwrite=True)

    labels, classes = nc.load_labels(folder / "cat_labels.png")
    assert (labels == result.labels).all()
    assert classes == result.classes


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "example-output"))
