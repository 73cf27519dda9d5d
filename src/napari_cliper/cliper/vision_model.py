"""A vision transformer beside the encoder, such as DINO or DINOv2 (METHOD step 6).

Its patch features stand in for the encoder's attention (ProxyCLIP), or their likeness for
self-attention; its own self-attention is a source of fine-grained compensation.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_cliper.cliper.compensation import COMPENSATION_STEP, AttentionSource, Maps, WholeMaps
from napari_cliper.cliper.image_tower import similarity
from napari_cliper.cliper.preprocessing import send, to_pixels
from napari_cliper.cliper.steps import Step, Steps
from napari_cliper.errors import NapariCliperError


@dataclass(frozen=True)
class VisionModel:
    """A vision transformer of timm's and the normalisation its pictures need.

    Attributes
    ----------
    model : timm.models.VisionTransformer
        In evaluation mode, made with `dynamic_img_size=True`, of plain blocks. It may have a class
        token and registers, or neither.
    mean, std : per channel, for pixel values in [0, 1]
    """

    model: Any
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def patch_size(self) -> int:
        """Pixels of a patch's side."""
        return int(self.model.patch_embed.patch_size[0])

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = next(self.model.parameters()).device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        dtype: torch.dtype = next(self.model.parameters()).dtype
        return dtype

    @property
    def blocks(self) -> int:
        """How many blocks it has."""
        return len(self.model.blocks)

    @property
    def heads(self) -> int:
        """How many heads a block's attention has."""
        return int(self.model.blocks[0].attn.num_heads)

    def block_index(self, block: int) -> int:
        """Which block is meant, counted from 0.

        Parameters
        ----------
        block : int
            Negative counts from the end.

        Raises
        ------
        NapariCliperError
            If there is none.
        """
        if not -self.blocks <= block < self.blocks:
            raise NapariCliperError(
                f"The vision model has no block {block}: choose one from 0 to {self.blocks - 1}, "
                f"or from -{self.blocks} to -1 to count from the end."
            )
        return block % self.blocks

    @torch.no_grad()
    def patch_features(self, image: NDArray[np.uint8], grid: tuple[int, int]) -> Tensor:
        """The last block's patch tokens, after the final norm.

        Parameters
        ----------
        image : (H, W, 3) uint8
        grid : (gh, gw)
            The picture is resized to this many patches; its aspect ratio is not kept.

        Returns
        -------
        (gh, gw, d) float32
        """
        tokens = self.model.forward_features(self._pixels(image, grid))
        features: Tensor = tokens[0, self.model.num_prefix_tokens :].float().unflatten(0, grid)
        return features

    @torch.no_grad()
    def attention_maps(
        self, image: NDArray[np.uint8], grid: tuple[int, int], block: int
    ) -> Steps[Tensor]:
        """What the patches attend to in one block; blocks after it are not run.

        Parameters
        ----------
        image : (H, W, 3) uint8
        grid : (gh, gw)
            The picture is resized to this many patches; its aspect ratio is not kept.
        block : int
            Negative counts from the end.

        Yields
        ------
        Step, before each block

        Returns
        -------
        (heads, gh * gw, gh * gw) float32
            softmax(q · kᵀ / √d) over all tokens, without those of class and registers: rows sum to
            at most 1.

        Raises
        ------
        NapariCliperError
            If there is no such block.
        """
        index = self.block_index(block)
        yield Step(COMPENSATION_STEP, 0, index + 1)
        tokens = self._embed(self._pixels(image, grid))
        for done, earlier in enumerate(self.model.blocks[:index], start=1):
            tokens = earlier(tokens)
            yield Step(COMPENSATION_STEP, done, index + 1)
        chosen = self.model.blocks[index]
        queries, keys = _queries_and_keys(chosen.attn, chosen.norm1(tokens))
        prefix = self.model.num_prefix_tokens
        return similarity(queries[:, prefix:], keys)[..., prefix:]

    def _pixels(self, image: NDArray[np.uint8], grid: tuple[int, int]) -> Tensor:
        pixels = to_pixels(image, grid, self.patch_size, self.mean, self.std)
        return send(pixels, self.device, self.dtype)

    def _embed(self, pixels: Tensor) -> Tensor:
        """Tokens before the first block, as `forward_features` makes them; nothing is dropped."""
        model = self.model
        tokens: Tensor = model.norm_pre(model._pos_embed(model.patch_embed(pixels)))
        return tokens


def _queries_and_keys(attention: Any, tokens: Tensor) -> Iterator[Tensor]:
    """Queries, then keys of the one picture's tokens, (1, T, width): each (heads, T, d)."""
    projected = attention.qkv(tokens[0]).unflatten(-1, (3, attention.num_heads, -1))
    queries, keys, _ = projected.permute(1, 2, 0, 3)
    yield attention.q_norm(queries)
    yield attention.k_norm(keys)


@dataclass(frozen=True)
class VisionSelfAttention(AttentionSource):
    """Self-attention of one block of another vision model.

    Attributes
    ----------
    model : VisionModel
    block : int
        Negative counts from the end.
    grid : (rows, columns)
        The picture is resized to this many patches; its aspect ratio is not kept, as in the
        method's own compensation.
    """

    model: VisionModel
    block: int
    grid: tuple[int, int]

    def attention_maps(self, image: NDArray[np.uint8]) -> Steps[tuple[Maps, tuple[int, int]]]:
        """Maps of the block's heads, (heads, gh * gw, gh * gw); see `AttentionSource`."""
        maps = yield from self.model.attention_maps(image, self.grid, self.block)
        return WholeMaps(maps), self.grid
