"""Weights of open_clip's architectures at full size, made of random numbers."""

import open_clip
import torch
from open_clip.model import CLIP
from torch import Tensor


def parameters(architecture: str) -> dict[str, Tensor]:
    """Names and shapes of all weights, without any memory."""
    with torch.device("meta"):
        return CLIP(**open_clip.get_model_config(architecture)).state_dict()  # type: ignore[no-any-return]


def random_parameters(architecture: str) -> dict[str, Tensor]:
    """Weights that cost next to nothing: they are views of the same numbers."""
    shapes = parameters(architecture)
    torch.manual_seed(0)
    numbers = 0.03 * torch.randn(max(map(Tensor.numel, shapes.values())))
    values = {}
    for name, shape in shapes.items():
        value = numbers[: shape.numel()].view(shape.shape)
        is_norm = name.endswith("weight") and name.split(".")[-2].startswith("ln_")
        values[name] = 1 + value if is_norm else value
    return values
