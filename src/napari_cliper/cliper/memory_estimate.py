"""How much memory encoding a picture will take, told before anything is done."""

import torch

from napari_cliper.cliper.compensation import (
    SharedSelfAttention,
    TransformerSelfAttention,
)
from napari_cliper.cliper.diffusion import DiffusionSelfAttention, self_attention_layers
from napari_cliper.cliper.pieces import FLOAT, largest
from napari_cliper.cliper.pipeline import CLIPer
from napari_cliper.cliper.preprocessing import patch_grid
from napari_cliper.cliper.settings import Settings
from napari_cliper.cliper.vision_model import VisionSelfAttention

HALF = 2  # bytes of a float16, in which compact maps are kept
KEPT = 2  # of each block's tokens: what goes in, normalised, and what comes out
MIXED = 4  # of each embedded layer's: together, normalised, their values, mixed
FEATURES = 5  # of the autoencoder's widest feature maps, in a block with norms and convolutions
WORKED_ON = 2  # copies of a piece of attention while it is worked on
PREPARED = 4  # copies of a piece of a map while it is prepared


def encoding_bytes(engine: CLIPer, size: tuple[int, int]) -> int:
    """About how many bytes encoding a picture takes at most, beside the models.

    Parameters
    ----------
    engine : CLIPer
    size : (H, W)
        Of the picture, in pixels.
    """
    encoder, settings = engine.image_encoder, engine.settings
    rows, columns = patch_grid(*size, settings.shorter_side, encoder.patch_size)
    places = 1 + rows * columns
    blocks = encoder.visual.transformer.resblocks
    heads, width = int(blocks[-1].attn.num_heads), int(blocks[-1].attn.embed_dim)
    whole = FLOAT * heads * places**2
    tower: int = WORKED_ON * min(whole, largest(encoder.device)) + FLOAT * places**2
    layer = FLOAT * places * width
    embedded = len(blocks) if settings.early_layers == "all" else max(1, settings.early_layers)
    tower += (KEPT * len(blocks) + MIXED * embedded) * layer
    tower += whole * (settings.attention == "fused")
    kept = embedded * layer + FLOAT * places**2
    source = engine.attention_source if settings.compensate else None
    if isinstance(source, SharedSelfAttention):
        raw = whole
        return max(tower + raw, kept + raw + _maps(heads, places - 1, settings, encoder.device))
    if isinstance(source, DiffusionSelfAttention):
        return max(tower, kept + _features(source), kept + _diffusion_maps(source, settings))
    if isinstance(source, TransformerSelfAttention | VisionSelfAttention):
        other = source.grid[0] * source.grid[1]
        count = heads if isinstance(source, TransformerSelfAttention) else source.model.heads
        return max(
            tower,
            kept
            + WORKED_ON * FLOAT * count * other**2
            + _maps(count, other, settings, encoder.device),
        )
    return max(tower, kept)


def _maps(count: int, places: int, settings: Settings, device: torch.device) -> int:
    """Compact maps, the one that is being prepared, and what they are fused into."""
    whole = FLOAT * places**2
    if settings.head_fusion != "product":
        count = 3  # one, and a float32 beside it
    return HALF * count * places**2 + whole + PREPARED * min(whole, largest(device))


def _features(source: DiffusionSelfAttention) -> int:
    """The autoencoder's feature maps of the picture's full size."""
    channels = source.vae.config.block_out_channels
    side = source.latent_side * 2 ** (len(channels) - 1)
    return int(FEATURES * source.vae.dtype.itemsize * channels[0] * side**2)


def _diffusion_maps(source: DiffusionSelfAttention, settings: Settings) -> int:
    layers = self_attention_layers(source.unet)
    count = sum(layers[index].heads for index in source.layers)
    return _maps(count, source.latent_side**2, settings, source.vae.device)
