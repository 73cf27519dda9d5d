import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from napari_cliper.cliper.preprocessing import patch_grid, send, to_pixels


@pytest.mark.parametrize(
    ("size", "shorter_side", "patch", "expected"),
    [
        ((300, 451), 336, 14, (24, 36)),  # 505.1 pixels are 36.08 patches
        ((451, 300), 336, 14, (36, 24)),
        ((100, 100), 336, 16, (21, 21)),
        ((200, 205), 200, 10, (20, 21)),  # 20.5 patches: halves go up
        ((16, 128), 4, 14, (1, 2)),  # never less than one
    ],
)
def test_each_side_is_rounded_to_whole_patches(
    size: tuple[int, int], shorter_side: int, patch: int, expected: tuple[int, int]
) -> None:
    assert patch_grid(*size, shorter_side, patch) == expected


def test_pixels_are_normalised_per_channel() -> None:
    image = np.full((20, 30, 3), (255, 0, 51), np.uint8)
    pixels = to_pixels(image, (2, 3), 10, mean=(0.5, 0.5, 0.2), std=(0.5, 0.25, 1.0))
    assert pixels.shape == (1, 3, 20, 30)
    assert_allclose(pixels[0].mean(dim=(1, 2)), [1, -2, 0], atol=1e-6)


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_pixels_arrive_whole_and_of_the_models_type(kind: str) -> None:
    if kind == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA GPU")
    pixels = torch.rand(1, 3, 28, 42)
    sent = send(pixels, torch.device(kind), torch.bfloat16)
    assert sent.device.type == kind
    assert torch.equal(sent.cpu(), pixels.to(torch.bfloat16))
