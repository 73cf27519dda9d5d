# /// script
# dependencies = ["label-studio-sdk"]
# ///
"""Label Studio's converter decodes our brush strokes, and its configuration parser our labels."""

import json
import sys
from pathlib import Path

import numpy as np
from label_studio_sdk.converter.brush import decode_rle
from label_studio_sdk.label_interface import LabelInterface
from truth import check, classes, maps


def main(folder: Path) -> None:
    """Check tasks and configuration."""
    ids = {name: id_ for id_, name in classes(folder).items()}
    (config,) = (folder / "label-studio").glob("*.xml")
    interface = LabelInterface(config.read_text(encoding="utf-8"))
    tag = interface.get_tag("tag")
    assert set(tag.labels) >= set(ids), tag.labels
    (path,) = (p for p in (folder / "label-studio").glob("*.json") if p.name != "classes.json")
    tasks = json.loads(path.read_text(encoding="utf-8"))
    wanted = dict(maps(folder))
    for task in tasks:
        name = Path(task["data"]["image"]).stem
        found = np.zeros_like(wanted[name])
        (prediction,) = task["predictions"]
        assert interface.validate_prediction(prediction), name
        for result in prediction["result"]:
            size = result["original_height"], result["original_width"]
            pixels = decode_rle(result["value"]["rle"]).reshape(*size, 4)[..., 3]
            found[pixels > 0] = ids[result["value"]["brushlabels"][0]]
        check(f"label_studio_sdk, {name}", found, wanted.pop(name))
    assert not wanted


if __name__ == "__main__":
    main(Path(sys.argv[1]))
