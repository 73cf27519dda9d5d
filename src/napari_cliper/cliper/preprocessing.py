"""Pictures as the image tower wants them (METHOD step 1)."""

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor


def patch_grid(height: int, width: int, shorter_side: int, patch: int) -> tuple[int, int]:
    """Rows and columns of patches of a picture whose shorter side becomes `shorter_side` pixels.

    Each side is rounded to the nearest whole number of patches, halves upwards; at least one.
    """
    ratio = shorter_side / min(height, width)
    rows, columns = (max(1, int(side * ratio / patch + 0.5)) for side in (height, width))
    return rows, columns


def to_pixels(
    image: NDArray[np.uint8],
    grid: tuple[int, int],
    patch: int,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> Tensor:
    """Resize to whole patches, bicubically on the 8-bit values, and normalise.

    Parameters
    ----------
    image : (H, W, 3) uint8
    grid : rows and columns of patches
    patch : pixels of a patch's side
    mean, std : per channel, for values in [0, 1]

    Returns
    -------
    (1, 3, rows * patch, columns * patch) float32
    """
    size = (grid[1] * patch, grid[0] * patch)
    resized = np.array(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
    pixels = torch.from_numpy(resized).float().permute(2, 0, 1) / 255
    shape = (3, 1, 1)
    normalised = (pixels - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)
    return normalised[None]


def send(pixels: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Pixels on a model's device, of its type; to a CUDA GPU while the program goes on."""
    pixels = pixels.to(dtype)
    if device.type != "cuda":
        return pixels.to(device)
    return pixels.pin_memory().to(device, non_blocking=True)
