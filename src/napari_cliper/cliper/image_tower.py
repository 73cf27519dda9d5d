"""An open_clip image tower, run so that its attention can be seen on the way."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_cliper.cliper.pieces import FLOAT, pieces

Look: TypeAlias = Callable[[int, slice, Tensor], None]
"""Is shown a block's number, counted from 0, some of its heads, and their attention: (n, T, T)
float32, rows sum to 1. What it wants of it later it must copy."""


@dataclass(frozen=True)
class ImageEncoder:
    """An open_clip image tower and the normalisation its pictures need.

    Attributes
    ----------
    visual : open_clip.transformer.VisionTransformer
        In evaluation mode; patch grid of any size. Its matrices may be of half precision; its norms
        are float32, as are the tokens between the blocks.
    mean, std : per channel, for pixel values in [0, 1]
    """

    visual: Any
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def patch_size(self) -> int:
        """Pixels of a patch's side."""
        return int(self.visual.patch_size[0])

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = next(self.visual.parameters()).device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """Of the matrices."""
        dtype: torch.dtype = self.visual.conv1.weight.dtype
        return dtype


def embed_patches(visual: Any, pixels: Tensor) -> Tensor:
    """Tokens before the first block, (1, 1 + h * w, width) float32, for any patch grid.

    The class token keeps its positional embedding, the grid's is resized bilinearly.
    """
    patches = visual.conv1(pixels).float()
    rows, columns = patches.shape[-2:]
    class_position, grid_position = visual.positional_embedding.float().split(
        [1, visual.positional_embedding.shape[0] - 1]
    )
    native = visual.grid_size
    grid_position = grid_position.T.reshape(1, -1, *native)
    if (rows, columns) != tuple(native):
        grid_position = F.interpolate(
            grid_position, (rows, columns), mode="bilinear", align_corners=False
        )
    positions = torch.cat([class_position, grid_position.flatten(2)[0].T])
    class_token = visual.class_embedding.float().expand(1, 1, -1)
    tokens = torch.cat([class_token, patches.flatten(2).transpose(1, 2)], dim=1)
    embedded: Tensor = visual.ln_pre(tokens + positions)
    return embedded


def project_heads(
    attention: Any, tokens: Tensor, wanted: slice = slice(0, 3)
) -> tuple[Tensor, ...]:
    """Queries, keys and values of a block's attention, or some of them.

    Parameters
    ----------
    attention : torch.nn.MultiheadAttention
    tokens : (B, T, width) float
    wanted : slice
        Of queries, keys and values, in this order.

    Returns
    -------
    tuple of (B, heads, T, head width)
    """
    weight = attention.in_proj_weight.unflatten(0, (3, -1))[wanted]
    bias = attention.in_proj_bias.unflatten(0, (3, -1))[wanted]
    projected = F.linear(tokens.to(weight.dtype), weight.flatten(0, 1), bias.flatten())
    split = projected.unflatten(-1, (len(weight), attention.num_heads, -1))
    heads: tuple[Tensor, ...] = split.permute(2, 0, 3, 1, 4).unbind()
    return heads


def similarity(left: Tensor, right: Tensor) -> Tensor:
    """softmax(left · rightᵀ / √d) for (..., T, d) heads: (..., T, T) float32, rows sum to 1."""
    scaled = left / math.sqrt(left.shape[-1])
    return (scaled @ right.transpose(-1, -2)).softmax(dim=-1, dtype=torch.float32)


def head_groups(values: Tensor) -> Iterator[slice]:
    """Which of the heads of values, (B, heads, T, d), attend together: their (T, T) are large."""
    heads, places = values.shape[1:3]
    return pieces(heads, FLOAT * places**2, values.device)


def room_for_heads(values: Tensor) -> Tensor:
    """Empty, of the shape (B, heads, T, d) of values; merging the heads copies nothing."""
    return values.new_empty(values.transpose(1, 2).shape).transpose(1, 2)


def attend(attention: Any, normalised: Tensor, look: Callable[[slice, Tensor], None]) -> Tensor:
    """The attention's output, (1, T, width) float32; `look` is shown its weights on the way."""
    queries, keys, values = project_heads(attention, normalised)
    mixed = room_for_heads(values)
    for some in head_groups(values):
        weights = similarity(queries[0, some], keys[0, some])
        look(some, weights)
        torch.matmul(weights.to(values.dtype), values[0, some], out=mixed[0, some])
    return merge_heads(attention, mixed)


def attend_unseen(attention: Any, normalised: Tensor) -> Tensor:
    """The same where nobody looks, by torch's fused kernel, which forms no weights."""
    queries, keys, values = project_heads(attention, normalised)
    return merge_heads(attention, F.scaled_dot_product_attention(queries, keys, values))


def merge_heads(attention: Any, mixed: Tensor) -> Tensor:
    """The attention's output, (B, T, width) float32, from its mixed values, (B, heads, T, d)."""
    merged: Tensor = attention.out_proj(mixed.transpose(1, 2).flatten(2)).float()
    return merged


def feed_forward(block: Any, tokens: Tensor) -> Tensor:
    """What a block's second half adds to (B, T, width) float32 tokens."""
    normalised = block.ln_2(tokens).to(block.mlp.c_fc.weight.dtype)
    added: Tensor = block.ls_2(block.mlp(normalised).float())
    return added


def run_blocks(
    visual: Any, tokens: Tensor, look: Look | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Run all blocks but the last; after each, its normalised input and its output.

    Parameters
    ----------
    visual : open_clip.transformer.VisionTransformer
    tokens : (1, T, width) float32
    look : callable or None
        Is shown each block's attention.

    Yields
    ------
    normalised : (1, T, width), the E_k of block k
    tokens : (1, T, width), the output of block k
    """
    for number, block in enumerate(visual.transformer.resblocks[:-1]):
        normalised = block.ln_1(tokens)
        if look is None:
            merged = attend_unseen(block.attn, normalised)
        else:
            merged = attend(block.attn, normalised, partial(look, number))
        tokens = tokens + block.ls_1(merged)
        tokens = tokens + feed_forward(block, tokens)
        yield normalised, tokens
