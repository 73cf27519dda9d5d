"""Early-layer fusion: a picture's patch embeddings at every layer, and its fused attention.

Section 3.3 of the paper, equations 3 to 8, as the reference implementation computes them or, as a
variant, as they stand.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from napari_cliper.cliper.settings import LastBlockAttention, Settings
from napari_cliper.cliper.steps import Step, Steps

IMAGE_STEP = "Looking at the picture"


class ProxyModel(Protocol):
    """Another vision model, whose patch features can stand in for the encoder's attention."""

    @property
    def patch_size(self) -> int:
        """Pixels of a patch's side."""

    def patch_features(self, image: NDArray[np.uint8], grid: tuple[int, int]) -> Tensor:
        """Features of a (H, W, 3) uint8 picture resized to a grid of patches, (fh, fw, d)."""


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


@dataclass(frozen=True)
class FusedFeatures:
    """What the image tower says of one picture.

    Attributes
    ----------
    embeddings : (K, 1 + h * w, D) float32
        Token embeddings in the space shared with text, class token first; the last K layers'.
    attention : (h * w, h * w) float32
        Ā: the last block's attention between patches, mean over heads.
    block_attention : (heads, h * w, h * w) float32 or None
        The self-attention of the one block that was asked for.
    layer_attention : tuple of (1 + h * w, 1 + h * w) float16
        The self-attention of blocks 1 to N-1 if it was asked for, each the mean over heads.
    layer_embeddings : (N, 1 + h * w, D) float32 or None
        As `embeddings`, of all layers, if they were asked for.
    """

    embeddings: Tensor
    attention: Tensor
    block_attention: Tensor | None = None
    layer_attention: tuple[Tensor, ...] = ()
    layer_embeddings: Tensor | None = None


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


def merge_heads(attention: Any, weights: Tensor, values: Tensor) -> Tensor:
    """The attention's output (B, T, width) float32 from its weights and values."""
    mixed = (weights.to(values.dtype) @ values).transpose(1, 2).flatten(2)
    merged: Tensor = attention.out_proj(mixed).float()
    return merged


def feed_forward(block: Any, tokens: Tensor) -> Tensor:
    """What a block's second half adds to (B, T, width) float32 tokens."""
    normalised = block.ln_2(tokens).to(block.mlp.c_fc.weight.dtype)
    added: Tensor = block.ls_2(block.mlp(normalised).float())
    return added


def run_blocks(visual: Any, tokens: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Run all blocks but the last; after each, its normalised input, attention and output.

    Yields
    ------
    normalised : (1, T, width), the E_k of block k
    attention : (heads, T, T) float32, its rows sum to 1
    tokens : (1, T, width), the output of block k
    """
    blocks = visual.transformer.resblocks
    for block in blocks[:-1]:
        normalised = block.ln_1(tokens)
        queries, keys, values = project_heads(block.attn, normalised)
        attention = similarity(queries, keys)
        tokens = tokens + block.ls_1(merge_heads(block.attn, attention, values))
        tokens = tokens + feed_forward(block, tokens)
        yield normalised, attention[0], tokens


@dataclass
class BalancedAttention:
    """The early blocks' summed attention, balanced round by round: Sinkhorn's iteration.

    The balanced matrix is kept as diag(rows) · summed · diag(columns), so that a round only reads
    `summed` twice, and the matrix itself is formed for the layers that want it.

    Attributes
    ----------
    summed : (heads, T, T) float, positive
        Of blocks 1 to N-1.
    rows, columns : (heads, T) float
    """

    summed: Tensor
    rows: Tensor
    columns: Tensor

    @classmethod
    def of(cls, summed: Tensor, blocks: int) -> "BalancedAttention":
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


@dataclass(frozen=True)
class MeanAttention:
    """The early blocks' attention as the paper has it: A = (1/N) Σ_{n<N} Aⁿ, for every layer.

    Attributes
    ----------
    mean : (heads, T, T) float
        Its rows sum to (N-1)/N.
    """

    mean: Tensor

    @classmethod
    def of(cls, summed: Tensor, blocks: int) -> "MeanAttention":
        """From the sum over blocks 1 to N-1, N being `blocks`."""
        return cls(summed / blocks)

    def next_round(self) -> None:
        """Nothing changes from layer to layer."""

    def weights(self) -> Tensor:
        """A, (heads, T, T) float."""
        return self.mean


FusedAttention: TypeAlias = BalancedAttention | MeanAttention


def resize_features(features: Tensor, grid: tuple[int, int]) -> Tensor:
    """Bilinear, without corner alignment: (fh, fw, d) to (*grid, d)."""
    channels_first = features.permute(2, 0, 1)[None]
    resized = F.interpolate(channels_first, grid, mode="bilinear", align_corners=False)
    return resized[0].permute(1, 2, 0)


def proxy_weights(features: Tensor) -> Tensor:
    """Attention from another vision model's patch features (METHOD step 6, as in step 2).

    Parameters
    ----------
    features : (h, w, d), resized to the image tower's patches

    Returns
    -------
    (1 + h * w, 1 + h * w): a patch's row sums to 1; the class token attends to nothing.
    """
    units = F.normalize(features.flatten(0, 1), dim=-1)
    likeness = units @ units.T
    return F.pad(keep_alike(likeness - likeness.mean()), (1, 0, 1, 0))


def keep_alike(likeness: Tensor) -> Tensor:
    """Softmax over what is not negative: (P, P) to (P, P), rows sum to 1.

    A place always keeps itself. In a picture that is alike all over, such as a page of text, it may
    have nothing else, where the reference implementation divides by zero.
    """
    kept = likeness >= 0
    kept.fill_diagonal_(True)
    return likeness.masked_fill(~kept, float("-inf")).softmax(dim=-1)


VALUES = slice(2, 3)
# Which of queries, keys and values are compared; the softmaxes of several pairs are added.
_PAIRS: dict[LastBlockAttention, list[tuple[int, int]]] = {
    "query-query": [(0, 0)],
    "key-key": [(1, 1)],
    "value-value": [(2, 2)],
    "query-query+key-key": [(0, 0), (1, 1)],
    "vanilla": [(0, 1)],
}


def _last_block_weights(
    kind: LastBlockAttention,
    attention: Any,
    normalised: Tensor,
    fused: FusedAttention,
    proxy: Tensor | None,
) -> Tensor:
    """W_k, (1 or heads, T, T), for one layer's normalised tokens, (1, T, width)."""
    if kind == "fused":
        return fused.weights()
    if kind == "proxy":
        if proxy is None:
            raise ValueError("proxy attention needs another vision model's patch features")
        return proxy[None]
    if kind == "identity":
        return torch.eye(normalised.shape[-2], device=normalised.device)[None]
    # Only these compare tokens, and need queries or keys.
    heads = project_heads(attention, normalised)
    weights = [similarity(heads[left], heads[right])[0] for left, right in _PAIRS[kind]]
    return weights[0] if len(weights) == 1 else torch.stack(weights).sum(dim=0)


def _finish_last_block(block: Any, tokens: Tensor, mixed: Tensor, whole: bool) -> Tensor:
    """What the last block makes of its attention's output, (1, T, width)."""
    mixed = block.ls_1(mixed)
    if not whole:
        return mixed
    tokens = tokens + mixed
    return tokens + feed_forward(block, tokens)


def fuse_early_layers(
    encoder: ImageEncoder,
    pixels: Tensor,
    settings: Settings,
    proxy_features: Tensor | None = None,
    project: bool = True,
    keep_block: int | None = None,
    keep_layers: bool = False,
) -> Steps[FusedFeatures]:
    """Encode one picture by early-layer fusion.

    Blocks 1 to N-1 run as usual; each layer's tokens then go through the last block's values and
    output projection, mixed by W_k. The layers are the N of the reference implementation (the
    normalised inputs of blocks 1 to N-1, and the output of block N-1) or the paper's N-1 (the
    outputs of blocks 1 to N-1).

    Parameters
    ----------
    encoder : ImageEncoder
    pixels : (1, 3, h * patch, w * patch) float
    settings : Settings
        Its variant, attention, whole_last_block, early_layers and selected_layer.
    proxy_features : (h, w, d), for the attention "proxy"
    project : bool
        False leaves the embeddings before the projection into the shared space, for training it.
    keep_block : int or None
        The block, counted from 0 and not the last, whose self-attention is returned too.
    keep_layers : bool
        Whether all layers' embeddings are too, and the mean over heads of every block's
        self-attention but the last's.

    Yields
    ------
    Step, before each block

    Returns
    -------
    FusedFeatures, with `early_layers` embeddings (one where it is 0)
    """
    visual = encoder.visual
    blocks = visual.transformer.resblocks
    paper = settings.variant == "paper"

    normalised_inputs: list[Tensor] = []
    outputs: list[Tensor] = []
    summed = torch.zeros(())
    kept = None
    layer_attention: list[Tensor] = []
    yield Step(IMAGE_STEP, 0, len(blocks))
    for normalised, block_attention, output in run_blocks(visual, embed_patches(visual, pixels)):
        if len(outputs) == keep_block:
            kept = block_attention[:, 1:, 1:].clone()
        if keep_layers:
            layer_attention.append(block_attention.mean(dim=0).half())
        summed = summed.add_(block_attention) if outputs else block_attention
        normalised_inputs.append(normalised)
        outputs.append(output)
        yield Step(IMAGE_STEP, len(outputs), len(blocks))

    layers = outputs if paper else [*normalised_inputs, outputs[-1]]
    count = len(layers)
    wanted = _wanted_layers(count, settings)
    if not paper and settings.early_layers == 0 and settings.selected_layer != -1:
        # Without early layers the reference feeds zeros in place of whatever is not selected.
        layers[-1] = torch.zeros_like(layers[-1])
    proxy = proxy_weights(proxy_features) if proxy_features is not None else None
    fused: FusedAttention = (MeanAttention if paper else BalancedAttention).of(summed, len(blocks))
    last = blocks[-1]
    embedded = range(count) if keep_layers else wanted
    # One product for the values of all layers, and one for what becomes of them.
    tokens = torch.cat([layers[index] for index in embedded])
    (values,) = project_heads(last.attn, last.ln_1(tokens), VALUES)
    mixed = torch.empty_like(values)
    for index, layer in enumerate(layers):
        fused.next_round()
        if index not in embedded and index != count - 1:
            continue
        weights = _last_block_weights(settings.attention, last.attn, last.ln_1(layer), fused, proxy)
        if index in embedded:
            place = embedded.index(index)
            torch.matmul(weights.to(values.dtype), values[place], out=mixed[place])
    merged = last.attn.out_proj(mixed.transpose(1, 2).flatten(2)).float()
    finished = _finish_last_block(last, tokens, merged, settings.whole_last_block)
    embeddings = visual.ln_post(finished)
    if project:
        embeddings = embeddings @ visual.proj.float()
    return FusedFeatures(
        embeddings[[embedded.index(index) for index in wanted]] if keep_layers else embeddings,
        weights.mean(dim=0)[1:, 1:],
        kept,
        tuple(layer_attention),
        embeddings if keep_layers else None,
    )


def _wanted_layers(count: int, settings: Settings) -> list[int]:
    """Which layers are embedded, counted from 0."""
    if settings.early_layers == 0:
        return [count + settings.selected_layer]
    wanted = count if settings.early_layers == "all" else settings.early_layers
    return list(range(count - wanted, count))
