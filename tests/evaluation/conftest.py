"""Models, and folders of pictures with masks."""

from collections.abc import Callable
from pathlib import Path

import pytest

import napari_cliper as nc
from drawn_pictures import ColourModel, Quadrants, draw, save_mask
from napari_cliper.segmenter import Segmenter


@pytest.fixture
def model() -> ColourModel:
    return ColourModel()


@pytest.fixture(scope="session")
def small() -> Segmenter:
    """The preset `small` with its weights, and few patches."""
    return nc.load("small", device="cpu", precision="float32", changes="settings.shorter_side=112")


@pytest.fixture
def own(tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    """Make a folder of pictures and one of masks: `own(name=(found, truth), …)`."""

    def own(**samples: tuple[Quadrants, Quadrants]) -> tuple[Path, Path]:
        for name, (found, truth) in samples.items():
            draw(tmp_path / "pictures" / f"{name}.png", found)
            save_mask(tmp_path / "masks" / f"{name}.png", truth)
        return tmp_path / "pictures", tmp_path / "masks"

    return own
