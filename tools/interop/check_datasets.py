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
import PIL.Image  # noqa: E402
from datasets import Image, load_dataset  # noqa: E402
from truth import check, classes, maps  # noqa: E402


def main(folder: Path) -> None:
    """Load it both ways there are, and compare with what was written."""
    place = folder / "hugging-face"
    lines = (place / "train" / "metadata.jsonl").read_text("utf-8").splitlines()
    names = [Path(json.loads(line)["label_file_name"]).stem for line in lines]
    told = json.loads((place / "id2label.json").read_text("utf-8"))
    assert {int(id_): name for id_, name in told.items() if id_ != "0"} == classes(folder), told
    wanted = dict(maps(folder))
    assert sorted(names) == sorted(wanted), names
    for arguments in (
        {"path": "imagefolder", "data_dir": str(place)},
        {"path": str(place)},  # by the card
    ):
        splits = load_dataset(**arguments)
        assert list(splits) == ["train"], splits
        loaded = splits["train"]
        assert set(loaded.features) == {"image", "label"}, loaded.features
        assert all(isinstance(feature, Image) for feature in loaded.features.values())
        for name, example in zip(names, loaded, strict=True):
            check(f"datasets, {name}", np.asarray(example["label"]), wanted[name])
            with PIL.Image.open(folder / "pictures" / f"{name}.png") as picture:
                assert np.array_equal(np.asarray(example["image"]), np.asarray(picture)), name


if __name__ == "__main__":
    main(Path(sys.argv[1]))
