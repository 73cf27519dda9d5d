import pytest

import napari_cliper as nc
from napari_cliper.segmenter import Segmenter


@pytest.fixture(scope="session")
def quick() -> Segmenter:
    """The small preset, with a quarter of the patches."""
    return nc.load("small", device="cpu", changes="settings.shorter_side=224")
