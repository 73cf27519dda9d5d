# /// script
# dependencies = ["datasets[vision]"]
# ///
"""Hugging Face's datasets load our image folder, offline."""

import json
import os
import sys
import tempfile
from pathlib import Path

# Before datasets is loaded: nothing is fetched, and nothing is left behind.
os.environ["HF_HUB_OFFLINE"] = "1"
hidden = tempfile.TemporaryDirectory()
os.environ["HF_HOME"] = hidden.name

import numpy as np  # noqa: E402
from datasets import Image, load_dataset  # noqa: E402


def check(folder: Path) -> None:
    """Load it both ways there are, and compare with the files."""
    lines = (folder / "train" / "metadata.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    names = json.loads((folder / "id2label.json").read_text("utf-8"))
    columns = {"label"} | ({"image"} if any("file_name" in row for row in rows) else set())
    for arguments in (
        {"path": "imagefolder", "data_dir": str(folder)},
        {"path": str(folder)},  # by the card
    ):
        splits = load_dataset(**arguments)
        assert list(splits) == ["train"], splits
        loaded = splits["train"]
        assert set(loaded.features) == columns, loaded.features
        assert all(isinstance(loaded.features[column], Image) for column in columns)
        assert len(loaded) == len(rows), (len(loaded), len(rows))
        for row, example in zip(rows, loaded, strict=True):
            mask = np.asarray(example["label"])
            assert mask.ndim == 2, mask.shape
            assert set(np.unique(mask)) <= {*map(int, names), 255}, np.unique(mask)
            if "file_name" in row:
                assert example["image"].size == example["label"].size
            elif "image" in columns:
                assert example["image"] is None
    print(f"datasets: {len(rows)} pictures with their masks")


if __name__ == "__main__":
    check(Path(sys.argv[1]) / "hugging-face")
