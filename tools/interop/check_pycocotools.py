# /// script
# dependencies = ["pycocotools"]
# ///
"""pycocotools reads our COCO files: its masks equal ours, polygons and run lengths."""

import sys
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO
from truth import check, classes, maps


def main(folder: Path) -> None:
    """Check both files."""
    names = classes(folder)
    for kind in ("coco", "coco-masks"):
        coco = COCO(str(folder / kind / "annotations.json"))
        assert {it["id"]: it["name"] for it in coco.loadCats(coco.getCatIds())} == names
        images = {Path(it["file_name"]).stem: it for it in coco.loadImgs(coco.getImgIds())}
        for name, labels in maps(folder):
            found = np.zeros_like(labels)
            for it in coco.loadAnns(coco.getAnnIds(imgIds=images[name]["id"])):
                mask = coco.annToMask(it).astype(bool)
                assert mask.sum() == it["area"]
                rows, columns = np.nonzero(mask)
                left, top, width, height = it["bbox"]
                assert (left, top) == (columns.min(), rows.min())
                assert (width, height) == (np.ptp(columns) + 1, np.ptp(rows) + 1)
                assert not found[mask].any(), "objects overlap"
                found[mask] = it["category_id"]
            check(f"pycocotools, {kind}, {name}", found, labels)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
