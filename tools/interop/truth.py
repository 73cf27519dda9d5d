"""What the labels are that `write.py` wrote; for scripts that run without napari-cliper."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SCALE = (0.5, 0.25)  # micrometers that a pixel is high and wide


def classes(folder: Path) -> dict[int, str]:
    """The name of each label."""
    text = (folder / "truth" / "classes.json").read_text(encoding="utf-8")
    return {entry["id"]: entry["name"] for entry in json.loads(text)["classes"]}


def maps(folder: Path) -> Iterator[tuple[str, NDArray[np.uint16]]]:
    """The name and the labels, (H, W), of each picture."""
    for path in sorted((folder / "truth").glob("*.npy")):
        yield path.stem, np.load(path)


def check(what: str, found: NDArray[np.integer], wanted: NDArray[np.integer]) -> None:
    """Raise unless two maps are the same."""
    if found.shape != wanted.shape:
        raise SystemExit(f"{what}: {found.shape}, not {wanted.shape}")
    if different := int(np.count_nonzero(found != wanted)):
        raise SystemExit(f"{what}: {different} of {wanted.size} pixels differ")
    print(f"{what}: equal, {wanted.size} pixels")
