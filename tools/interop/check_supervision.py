# /// script
# dependencies = ["supervision"]
# ///
"""supervision reads our YOLO segmentation: its masks differ by pixels at their edges only."""

import sys
from pathlib import Path

import numpy as np
import supervision
from truth import classes, maps


def main(folder: Path) -> None:
    """Compare masks by class."""
    dataset = supervision.DetectionDataset.from_yolo(
        images_directory_path=str(folder / "pictures"),
        annotations_directory_path=str(folder / "yolo" / "labels"),
        data_yaml_path=str(folder / "yolo" / "data.yaml"),
        force_masks=True,
    )
    names = classes(folder)
    assert dataset.classes == list(names.values()), dataset.classes
    found = {Path(path).stem: detections for path, _, detections in dataset}
    for name, labels in maps(folder):
        detections = found[name]
        for index, (id_, class_) in enumerate(names.items()):
            wanted = labels == id_
            masks = np.asarray(detections.mask)[detections.class_id == index]
            mask = masks.any(0)
            # OpenCV rounds corners to whole pixels and draws the outline too.
            assert not (wanted & ~mask).any(), f"{name}, {class_}: pixels are missing"
            union = (wanted | mask).sum()
            print(f"supervision, {name}, {class_}: IoU {(wanted & mask).sum() / union:.3f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
