"""Early-layer fusion: a picture's patch embeddings at every layer, and its fused attention.

Section 3.3 of the paper, equations 3 to 8, as the reference implementation computes them or, as a
variant, as they stand.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from napari_cliper.cliper.image_tower import (
    ImageEncoder,
    embed_patches,
    feed_forward,
    merge_heads,
    run_blocks,
)
from napari_cliper.cliper.last_block import (
    BalancedAttention,
    FusedAttention,
    MeanAttention,
    attend_by_layer,
    proxy_weights,
)
from napari_cliper.cliper.settings import Settings
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


@dataclass(frozen=True)
class SeenAttention:
    """What of the early blocks' attention is wanted; each is None where nobody wants it.

    Attributes
    ----------
    heads : int
        Of a block.
    summed : (heads, T, T) float32
        Over blocks 1 to N-1.
    kept : (heads, T - 1, T - 1) float32
        Of the block `kept_block`, without the class token.
    layers : (N-1, T, T) float32
        Each block's sum over heads.
    """

    heads: int
    summed: Tensor | None
    kept: Tensor | None
    kept_block: int | None
    layers: Tensor | None

    @classmethod
    def of(
        cls, heads: int, tokens: Tensor, summed: bool, kept_block: int | None, layers: int
    ) -> "SeenAttention | None":
        """Room for what is wanted; None if that is nothing.

        Parameters
        ----------
        heads : int
        tokens : (1, T, width)
        summed : bool
            Whether the sum is.
        kept_block : int or None
            The block that is wanted by itself.
        layers : int
            How many blocks' means are, from the first.
        """
        places = tokens.shape[1]

        def room(wanted: bool, count: int, places: int) -> Tensor | None:
            return tokens.new_zeros(count, places, places) if wanted else None

        seen = cls(
            heads,
            room(summed, heads, places),
            room(kept_block is not None, heads, places - 1),
            kept_block,
            room(layers > 0, layers, places),
        )
        nothing = seen.summed is None and seen.kept is None and seen.layers is None
        return None if nothing else seen

    def look(self, block: int, heads: slice, weights: Tensor) -> None:
        """As of `image_tower.Look`."""
        if self.summed is not None:
            self.summed[heads] += weights
        if self.kept is not None and block == self.kept_block:
            self.kept[heads] = weights[:, 1:, 1:]
        if self.layers is not None:
            self.layers[block] += weights.sum(dim=0)

    def layer_means(self) -> tuple[Tensor, ...]:
        """Of each block, the mean over heads: (T, T) float16."""
        return (
            () if self.layers is None else tuple((one / self.heads).half() for one in self.layers)
        )


def resize_features(features: Tensor, grid: tuple[int, int]) -> Tensor:
    """Bilinear, without corner alignment: (fh, fw, d) to (*grid, d)."""
    channels_first = features.permute(2, 0, 1)[None]
    resized = F.interpolate(channels_first, grid, mode="bilinear", align_corners=False)
    return resized[0].permute(1, 2, 0)


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
    blocks, last = visual.transformer.resblocks, visual.transformer.resblocks[-1]
    paper = settings.variant == "paper"
    tokens = embed_patches(visual, pixels)
    seen = SeenAttention.of(
        last.attn.num_heads,
        tokens,
        settings.attention == "fused",
        keep_block,
        len(blocks) - 1 if keep_layers else 0,
    )

    normalised_inputs: list[Tensor] = []
    outputs: list[Tensor] = []
    yield Step(IMAGE_STEP, 0, len(blocks))
    for normalised, output in run_blocks(visual, tokens, seen.look if seen else None):
        normalised_inputs.append(normalised)
        outputs.append(output)
        yield Step(IMAGE_STEP, len(outputs), len(blocks))

    layers = outputs if paper else [*normalised_inputs, outputs[-1]]
    count = len(layers)
    wanted = _wanted_layers(count, settings)
    if not paper and settings.early_layers == 0 and settings.selected_layer != -1:
        # Without early layers the reference feeds zeros in place of whatever is not selected.
        layers[-1] = torch.zeros_like(layers[-1])
    # The last layer's weights are Ā, whether or not the layer is wanted.
    needed = sorted({*(range(count) if keep_layers else wanted), count - 1})
    tokens = torch.cat([layers[index] for index in needed])

    def fused(heads: slice) -> FusedAttention:
        assert seen is not None
        assert seen.summed is not None
        return (MeanAttention if paper else BalancedAttention).of(seen.summed[heads], len(blocks))

    proxy = proxy_weights(proxy_features) if proxy_features is not None else None
    mixed, attention = attend_by_layer(last.attn, last.ln_1(tokens), needed, settings, fused, proxy)
    merged = merge_heads(last.attn, mixed)
    finished = _finish_last_block(last, tokens, merged, settings.whole_last_block)
    embeddings = visual.ln_post(finished)
    if project:
        embeddings = embeddings @ visual.proj.float()
    return FusedFeatures(
        embeddings[[needed.index(index) for index in wanted]],
        attention[1:, 1:],
        seen.kept if seen else None,
        seen.layer_means() if seen else (),
        embeddings if keep_layers else None,
    )


def _wanted_layers(count: int, settings: Settings) -> list[int]:
    """Which layers are embedded, counted from 0."""
    if settings.early_layers == 0:
        return [count + settings.selected_layer]
    wanted = count if settings.early_layers == "all" else settings.early_layers
    return list(range(count - wanted, count))
