"""Masks in the format of another tool: `export_to_coco.py [FOLDER]`.

Two photographs are segmented with the same words and exported as COCO instances. In COCO each
connected region is an object of its own, with an outline and a box. Into FOLDER/coco
(example-output/coco) go `annotations.json` and `classes.json`; then the file is read back, and the
labels of both pictures are counted. `napari-cliper formats` lists the other formats.
"""

import json
import sys
from pathlib import Path

from skimage import data

import napari_cliper as nc
from napari_cliper.annotation.annotation import Annotation
from napari_cliper.files.exporting import export
from napari_cliper.files.formats import format_of
from napari_cliper.files.importing import read_annotations


def main(folder: Path) -> None:
    """Segment both, export, and read it back."""
    model = nc.load("small")
    annotations = []
    for name in ("cat", "coffee"):
        result = model.segment(getattr(data, name)(), "cat; cup = mug", presence_threshold=0.5)
        picture = Path(f"{name}.png")  # what COCO calls the picture; it need not be there
        annotations.append(Annotation(name, result.labels, result.classes, picture=picture))

    written = export(annotations, format_of("coco"), folder / "coco", overwrite=True)
    print("\n".join(str(path) for path in written))

    [file] = [path for path in written if path.name != "classes.json"]
    objects = json.loads(file.read_text())["annotations"]
    print(f"{len(objects)} objects")
    for annotation in read_annotations(file):
        names = [entry.name for entry in annotation.classes if entry.id in annotation.labels]
        print(f"{annotation.name}: {', '.join(names) or 'nothing'}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "example-output"))
