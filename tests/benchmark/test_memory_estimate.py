"""What is said before a picture is encoded, beside what it takes then."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from napari_cliper.benchmark.memory import peak_bytes
from napari_cliper.cliper import drain
from napari_cliper.cliper.memory_estimate import encoding_bytes
from napari_cliper.segmenter import Segmenter

CPU = torch.device("cpu")


def noise(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)


@pytest.mark.parametrize("size", [(300, 300), (300, 900)])
@pytest.mark.parametrize("name", ["tiny", "small"])
def test_the_estimate_is_near_what_is_held(
    name: str, size: tuple[int, int], request: pytest.FixtureRequest
) -> None:
    model: Segmenter = request.getfixturevalue(name)
    image = noise(*size)
    held = peak_bytes(lambda: drain(model.engine.encode(image)), CPU)
    assert held is not None
    assert 0.7 < encoding_bytes(model.engine, size) / held < 1.6


def test_a_long_picture_takes_more(small: Segmenter) -> None:
    square, long = (encoding_bytes(small.engine, size) for size in ((300, 300), (300, 3000)))
    assert long > 13 * square  # ten times the patches, whose attention is a square
