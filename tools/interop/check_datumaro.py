# /// script
# dependencies = ["datumaro"]
# ///
"""Datumaro, which CVAT reads and writes its archives with, reads ours: masks equal ours."""

import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from datumaro import AnnotationType, Dataset
from truth import check, classes, maps


def compare(dataset: Dataset, what: str, folder: Path) -> None:
    """Check the class of every pixel."""
    ids = {name: id_ for id_, name in classes(folder).items()}
    known = dataset.categories()[AnnotationType.label]
    wanted = dict(maps(folder))
    for item in dataset:
        found = np.zeros_like(wanted[item.id])
        for it in item.annotations:
            if it.type == AnnotationType.mask:
                found[it.image.astype(bool)] = ids.get(known[it.label].name, 0)
        check(f"datumaro, {what}, {item.id}", found, wanted.pop(item.id))
    assert not wanted, f"{what}: {list(wanted)} not found"


def main(folder: Path) -> None:
    """Check CVAT's archive, as CVAT imports it: unpacked, as Pascal VOC's folders."""
    (archive,) = (folder / "cvat").glob("*.zip")
    with tempfile.TemporaryDirectory() as hidden, zipfile.ZipFile(archive) as file:
        file.extractall(hidden)
        compare(Dataset.import_from(hidden, "voc_segmentation"), "CVAT segmentation mask", folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
