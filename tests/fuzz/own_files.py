"""Files of our own that are right, to be made wrong."""

import datetime
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from annotations import ours
from napari_cliper.annotation.session import MaskNotes, Model, Notes, Picture
from napari_cliper.files.session import MaskMaps, save_session

LABELS = np.zeros((18, 24), np.uint16)
LABELS[2:9, 3:12] = 1
LABELS[4:6, 5:7] = 0  # a hole
LABELS[10:17, 8:20] = 2
LABELS[0, 23] = 3


@cache
def saved_session() -> dict[str, bytes]:
    """Of each file of a session folder, its name and content."""
    notes = Notes(
        saved=datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
        picture=Picture(name="cat", path="/pictures/cat.png", sha256="0" * 64, size=LABELS.shape),
        classes=ours("cat", "dog", "sofa"),
        model=Model(preset="small", device="cpu", method="cliper", precision="float32"),
        versions={"napari-cliper": "0.1.0"},
        seen=((1, 2),),
    )
    mask = MaskNotes(role="refined", name="refined", classes=ours("cat", "dog", "sofa"))
    numbered = MaskNotes(role="instances of cat", name="cats", classes=ours("cat", "dog", "sofa"))
    maps = MaskMaps(LABELS.astype(np.uint8), LABELS == 1, LABELS)
    with tempfile.TemporaryDirectory() as hidden:
        save_session(hidden, notes, [(mask, maps), (numbered, MaskMaps(LABELS))])
        return {path.name: path.read_bytes() for path in sorted(Path(hidden).iterdir())}


SESSION = saved_session()["session.json"]
