# /// script
# dependencies = ["opencv-python-headless", "scipy", "supervision"]
# ///
"""supervision reads our YOLO segmentation: its masks reach a pixel beyond their edges at most."""

import sys
from pathlib import Path

import numpy as np
import supervision
from scipy.ndimage import binary_dilation
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
            grown = binary_dilation(wanted, np.ones((3, 3)))
            assert not (mask & ~grown).any(), f"{name}, {class_}: it reaches too far"
            overlap, least = wanted.sum() / mask.sum(), wanted.sum() / grown.sum()
            print(f"supervision, {name}, {class_}: IoU {overlap:.3f}, {least:.3f} or more")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
