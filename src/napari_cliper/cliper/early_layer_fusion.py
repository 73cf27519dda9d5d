"""Early-layer fusion: a picture's patch embeddings at every layer, and its fused attention.

Section 3.3 of the paper, equations 3 to 8, as the reference implementation computes them.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from napari_cliper.cliper.settings import LastBlockAttention
from napari_cliper.cliper.steps import Step, Steps

IMAGE_STEP = "Looking at the picture"

PatchFeatures: TypeAlias = Callable[[NDArray[np.uint8]], Tensor]


@dataclass(frozen=True)
class ImageEncoder:
    """An open_clip image tower and the normalisation its pictures need.

    Attributes
    ----------
    visual : open_clip.transformer.VisionTransformer
        In evaluation mode; patch grid of any size.
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


@dataclass(frozen=True)
class FusedFeatures:
    """What the image tower says of one picture.

    Attributes
    ----------
    embeddings : (K, 1 + h * w, D) float
        Token embeddings in the space shared with text, class token first; the last K layers'.
    attention : (h * w, h * w) float
        Ā: the last block's attention between patches, mean over heads.
    block_attention : (heads, h * w, h * w) float or None
        The self-attention of the one block that was asked for.
    """

    embeddings: Tensor
    attention: Tensor
    block_attention: Tensor | None = None


def embed_patches(visual: Any, pixels: Tensor) -> Tensor:
    """Tokens before the first block, (1, 1 + h * w, width), for any patch grid.

    The class token keeps its positional embedding, the grid's is resized bilinearly.
    """
    patches = visual.conv1(pixels)
    rows, columns = patches.shape[-2:]
    class_position, grid_position = visual.positional_embedding.split(
        [1, visual.positional_embedding.shape[0] - 1]
    )
    native = visual.grid_size
    grid_position = grid_position.T.reshape(1, -1, *native)
    if (rows, columns) != tuple(native):
        grid_position = F.interpolate(
            grid_position, (rows, columns), mode="bilinear", align_corners=False
        )
    positions = torch.cat([class_position, grid_position.flatten(2)[0].T])
    class_token = visual.class_embedding.expand(1, 1, -1)
    tokens = torch.cat([class_token, patches.flatten(2).transpose(1, 2)], dim=1)
    embedded: Tensor = visual.ln_pre(tokens + positions)
    return embedded


def project_heads(attention: Any, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of a block's attention, each (B, heads, T, head width)."""
    projected = F.linear(tokens, attention.in_proj_weight, attention.in_proj_bias)
    batch, length, _ = projected.shape
    split = projected.view(batch, length, 3, attention.num_heads, -1)
    queries, keys, values = split.permute(2, 0, 3, 1, 4)
    return queries, keys, values


def similarity(left: Tensor, right: Tensor) -> Tensor:
    """softmax(left · rightᵀ / √d) for (..., T, d) heads: (..., T, T), rows sum to 1."""
    scaled = left / math.sqrt(left.shape[-1])
    return (scaled @ right.transpose(-1, -2)).softmax(dim=-1)


def merge_heads(attention: Any, weights: Tensor, values: Tensor) -> Tensor:
    """The attention's output (B, T, width) from its weights and values."""
    mixed = (weights @ values).transpose(1, 2).flatten(2)
    merged: Tensor = attention.out_proj(mixed)
    return merged


def run_blocks(visual: Any, tokens: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Run all blocks but the last; after each, its normalised input, attention and output.

    Yields
    ------
    normalised : (1, T, width), the E_k of block k
    attention : (heads, T, T), its rows sum to 1
    tokens : (1, T, width), the output of block k
    """
    blocks = visual.transformer.resblocks
    for block in blocks[:-1]:
        normalised = block.ln_1(tokens)
        queries, keys, values = project_heads(block.attn, normalised)
        attention = similarity(queries, keys)
        tokens = tokens + block.ls_1(merge_heads(block.attn, attention, values))
        tokens = tokens + block.ls_2(block.mlp(block.ln_2(tokens)))
        yield normalised, attention[0], tokens


@dataclass
class BalancedAttention:
    """The early blocks' summed attention, balanced round by round: Sinkhorn's iteration.

    The balanced matrix is kept as diag(rows) · summed · diag(columns), so that a round only reads
    `summed` twice, and the matrix itself is formed for the layers that want it.

    Attributes
    ----------
    summed : (heads, T, T) float, positive
    rows, columns : (heads, T) float
    """

    summed: Tensor
    rows: Tensor
    columns: Tensor

    @classmethod
    def of(cls, summed: Tensor) -> "BalancedAttention":
        """Before the first round."""
        ones = summed.new_ones(summed.shape[:2])
        return cls(summed, ones, ones)

    def next_round(self) -> None:
        """Divide by the column sums, then by the row sums."""
        self.columns = 1 / (self.rows[:, None] @ self.summed)[:, 0]
        self.rows = 1 / (self.summed @ self.columns[..., None])[..., 0]

    def weights(self) -> Tensor:
        """W: the symmetric part, less its column means, negatives cut off, rows summing to 1.

        Returns
        -------
        (heads, T, T) float
        """
        balanced = self.summed * self.columns[:, None]
        balanced *= self.rows[..., None]
        weights = (balanced + balanced.transpose(-1, -2)).div_(2)
        weights -= weights.mean(dim=-2, keepdim=True)
        weights.relu_()
        return weights.div_(weights.sum(dim=-1, keepdim=True))


def proxy_weights(features: Tensor, grid: tuple[int, int]) -> Tensor:
    """Attention from another vision model's patch features (METHOD step 6, as in step 2).

    Parameters
    ----------
    features : (fh, fw, d)
    grid : rows and columns of the image tower's patches

    Returns
    -------
    (1 + h * w, 1 + h * w): a patch's row sums to 1; the class token attends to nothing.
    """
    channels_first = features.permute(2, 0, 1)[None]
    resized = F.interpolate(channels_first, grid, mode="bilinear", align_corners=False)
    units = F.normalize(resized[0].flatten(1).T, dim=-1)
    likeness = units @ units.T
    likeness = likeness - likeness.mean()
    weights = likeness.masked_fill(likeness < 0, float("-inf")).softmax(dim=-1)
    return F.pad(weights, (1, 0, 1, 0))


_HEADS: dict[LastBlockAttention, tuple[int, int]] = {
    "query-query": (0, 0),
    "key-key": (1, 1),
    "value-value": (2, 2),
    "vanilla": (0, 1),
}


def _last_block_weights(
    kind: LastBlockAttention,
    heads: tuple[Tensor, Tensor, Tensor],
    balanced: BalancedAttention,
    proxy: Tensor | None,
) -> Tensor:
    """W_k, (1 or heads, T, T), for one layer's queries, keys and values."""
    if kind == "fused":
        return balanced.weights()
    if kind == "proxy":
        if proxy is None:
            raise ValueError("proxy attention needs another vision model's patch features")
        return proxy[None]
    if kind == "identity":
        return torch.eye(heads[2].shape[-2]).to(heads[2])[None]
    left, right = _HEADS[kind]
    return similarity(heads[left], heads[right])[0]


def fuse_early_layers(
    encoder: ImageEncoder,
    pixels: Tensor,
    layers: int | None = None,
    selected_layer: int = -1,
    attention: LastBlockAttention = "fused",
    proxy_features: Tensor | None = None,
    project: bool = True,
    keep_block: int | None = None,
) -> Steps[FusedFeatures]:
    """Encode one picture by early-layer fusion.

    Blocks 1 to N-1 run as usual; each layer's tokens then go through the last block's values and
    output projection, mixed by W_k, without residual and without feed-forward.

    Parameters
    ----------
    encoder : ImageEncoder
    pixels : (1, 3, h * patch, w * patch) float
    layers : int or None
        How many layers to embed, counted from the last; None for all N, 0 for the selected one.
    selected_layer : int
        Counted from the end; matters where `layers` is 0.
    attention : str
        The kind of W_k, see `Settings.attention`.
    proxy_features : (fh, fw, d), for attention = "proxy"
    project : bool
        False leaves the embeddings before the projection into the shared space, for training it.
    keep_block : int or None
        The block, counted from 0 and not the last, whose self-attention is returned too.

    Yields
    ------
    Step, before each block

    Returns
    -------
    FusedFeatures, with `layers` embeddings (one where `layers` is 0)
    """
    visual = encoder.visual
    blocks = visual.transformer.resblocks
    count = len(blocks)
    patch = encoder.patch_size
    grid = (pixels.shape[-2] // patch, pixels.shape[-1] // patch)

    inputs: list[Tensor] = []
    summed = last_input = torch.zeros(())
    yield Step(IMAGE_STEP, 0, count)
    kept = None
    for normalised, block_attention, output in run_blocks(visual, embed_patches(visual, pixels)):
        if len(inputs) == keep_block:
            kept = block_attention[:, 1:, 1:].clone()
        summed = summed.add_(block_attention) if inputs else block_attention
        inputs.append(normalised)
        last_input = output
        yield Step(IMAGE_STEP, len(inputs), count)
    # Without early layers the reference feeds zeros in place of whatever is not selected.
    alone = layers == 0 and selected_layer != -1
    inputs.append(torch.zeros_like(last_input) if alone else last_input)

    wanted = [count + selected_layer] if layers == 0 else range(count - (layers or count), count)
    proxy = proxy_weights(proxy_features, grid) if proxy_features is not None else None
    balanced = BalancedAttention.of(summed)
    last = blocks[-1]
    embeddings: list[Tensor] = []
    for index, layer_input in enumerate(inputs):
        balanced.next_round()
        if index not in wanted and index != count - 1:
            continue
        heads = project_heads(last.attn, last.ln_1(layer_input))
        weights = _last_block_weights(attention, heads, balanced, proxy)
        if index in wanted:
            mixed = last.ls_1(merge_heads(last.attn, weights, heads[2]))
            embedding = visual.ln_post(mixed)[0]
            embeddings.append(embedding @ visual.proj if project else embedding)
    return FusedFeatures(torch.stack(embeddings), weights.mean(dim=0)[1:, 1:], kept)
