"""A folder of small pictures, and words for them."""

from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from napari_cliper.annotation.class_list import ClassList
from napari_cliper.batch.work import Recipe
from napari_cliper.models.choices import Choices

CHANGES = ("settings.shorter_side=70",)  # five patches high: fast


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Five pictures, one of them in a folder, in an order that letters do not give."""
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    cat, person = skimage.data.cat(), skimage.data.astronaut()
    for name, pixels in {
        "cat10.png": cat[::4, ::4],
        "cat9.png": cat[::-4, ::4],
        "person.jpg": person[::4, ::4],
        "more/cat9.png": cat[::4, ::-4],
        "noise.png": np.random.default_rng(0).integers(0, 256, (80, 120, 3)).astype(np.uint8),
    }.items():
        Image.fromarray(np.ascontiguousarray(pixels)).save(folder / name)
    return folder


@pytest.fixture
def recipe() -> Recipe:
    return Recipe(
        ClassList.parse("cat; person"),
        "small",
        "cpu",
        choices=Choices(precision="float32", changes=CHANGES),
    )
