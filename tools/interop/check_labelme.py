# /// script
# dependencies = ["labelme"]
# ///
"""labelme loads our files: the masks it makes of polygons and bitmaps equal ours."""

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
            found, _ = utils.shapes_to_label(labels.shape, file.shapes, ids)
            check(f"{kind}, {name}", found, labels)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
