"""A mask as a napari layer, and back into a file: `masks_in_napari.py [FOLDER] [--show]`.

The label map is opened as napari opens any file of ours: a Labels layer with the classes' names
and colours, over its picture. A stroke of background is painted, and the layer is saved again.
Prints the layers' names. Into FOLDER (example-output) go `cat.png`, `cat_labels.png`,
`classes.json` and `cat_painted.png`. Without `--show` no window opens, so this runs on a server;
with it, a window shows the layers until you close it.
"""

import argparse
from pathlib import Path

import imageio.v3 as iio
from napari import Viewer, run
from napari.components import ViewerModel
from npe2 import PluginManager
from skimage.data import cat

import napari_cliper as nc

PLUGIN = "napari-cliper"


def main(folder: Path, show: bool = False) -> None:
    """Segment, open, paint, save."""
    folder.mkdir(parents=True, exist_ok=True)
    iio.imwrite(folder / "cat.png", cat())
    result = nc.load("small").segment(cat(), "cat; eye")
    nc.save_labels(folder / "cat_labels.png", result, overwrite=True)

    PluginManager.instance().discover()  # a window does this as it opens
    viewer = Viewer() if show else ViewerModel()
    viewer.open(folder / "cat_labels.png", plugin=PLUGIN)
    for layer in viewer.layers:
        print(layer.name)

    mask = viewer.layers[-1]
    mask.brush_size = 30
    mask.paint((200, 230), 0)  # y and x in pixels, and the new label
    mask.save(str(folder / "cat_painted.png"), plugin=PLUGIN)
    if show:
        run()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path("example-output"))
    parser.add_argument("--show", action="store_true", help="open a window")
    given = parser.parse_args()
    main(given.folder, given.show)
