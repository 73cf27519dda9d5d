"""A preset of your own, in a few lines of TOML: `own_preset.py [FOLDER]`.

A preset file says only what differs from a built-in preset: here other background words, a higher
threshold, and fewer pixels to look at. It is written to FOLDER/quick.toml (example-output), loaded
by its path, and compared with the preset that it extends. Prints how many patches each looks at,
and on how many pixels both agree. The command line takes the file as well: `--preset quick.toml`.
"""

import sys
from pathlib import Path

from skimage.data import stereo_motorcycle

import napari_cliper as nc

PRESET = """\
extends = "small"
title = "Half the side"
background = ["wall", "shelf", "floor"]

[settings]
shorter_side = 224
background_threshold = 0.6
"""


def main(folder: Path) -> None:
    """Write it, load it, compare it."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "quick.toml"
    file.write_text(PRESET, "utf-8")

    picture = stereo_motorcycle()[0]
    labels = {}
    for preset in ("small", file):
        model = nc.load(preset)
        encoding = model.encode(picture)
        rows, columns = encoding.grid
        print(f"{model.preset.title}: {rows} × {columns} patches")
        labels[preset] = model.segment(encoding, "motorcycle = motorbike").labels
    agree = (labels["small"] == labels[file]).mean()
    print(f"They agree on {agree:.0%} of the pixels.")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "example-output"))
