# /// script
# dependencies = ["labelme"]
# ///
"""labelme loads our files: its masks equal ours; polygons but for pixels it adds at their edges."""

import sys
from pathlib import Path

from labelme import utils
from labelme._label_file import LabelFile
from truth import check, classes, maps


def main(folder: Path) -> None:
    """Check masks and polygons."""
    ids = {name: id_ for id_, name in classes(folder).items()}
    for kind in ("labelme-masks", "labelme"):
        for name, labels in maps(folder):
            # labelme wants the picture beside it.
            path = folder / "pictures" / f"{name}.json"
            path.write_bytes((folder / kind / f"{name}.json").read_bytes())
            file = LabelFile(str(path))
            if kind == "labelme-masks":
                found, _ = utils.shapes_to_label(labels.shape, file.shapes, ids)
                check(f"labelme, masks, {name}", found, labels)
                continue
            for class_, id_ in ids.items():
                shapes = [shape for shape in file.shapes if shape["label"] == class_]
                found, _ = utils.shapes_to_label(labels.shape, shapes, ids)
                # It draws the outline itself as pixels too, and the cut to a hole.
                mask, wanted = found != 0, labels == id_
                overlap = (mask & wanted).sum() / (mask | wanted).sum()
                print(f"labelme, polygons, {name}, {class_}: IoU {overlap:.3f}")
                assert overlap > 0.2


if __name__ == "__main__":
    main(Path(sys.argv[1]))
