"""Fine-grained compensation: self-attention maps become an operator that refines a coarse map.

Section 3.4 of the paper, equations 9 and 10, as the reference implementation computes them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from napari_cliper.cliper.coarse import resize_maps
from napari_cliper.cliper.early_layer_fusion import (
    ImageEncoder,
    PatchFeatures,
    embed_patches,
    run_blocks,
)
from napari_cliper.cliper.preprocessing import to_pixels
from napari_cliper.cliper.settings import Settings
from napari_cliper.cliper.steps import Step, Steps

COMPENSATION_STEP = "Reading self-attention"


@dataclass(frozen=True)
class Compensation:
    """An operator on maps over a grid of places.

    Attributes
    ----------
    maps : (n, gh * gw, gh * gw) float
        Prepared by `prepare_maps`.
    grid : (gh, gw)
    """

    maps: Tensor
    grid: tuple[int, int]

    def refine(self, coarse: Tensor) -> Tensor:
        """Refined = A_0 · A_1 · … · coarse (eq. 10), from the right, so no product is formed.

        Parameters
        ----------
        coarse : (C, h, w) float

        Returns
        -------
        (C, gh, gw) float
        """
        columns = resize_maps(coarse, self.grid).flatten(1).T
        for attention in self.maps.flip(0):
            columns = attention @ columns
        return columns.T.reshape(-1, *self.grid)

    def received(self) -> Tensor:
        """How much of all places' attention each place receives, (gh, gw): 1ᵀ · A_0 · A_1 · …."""
        row = self.maps.new_ones(self.maps.shape[-1])
        for attention in self.maps:
            row = row @ attention
        return row.reshape(self.grid)


def prepare_maps(
    maps: Tensor, activation_threshold: float, fusion: Literal["product", "mean"] | int
) -> Tensor:
    """Make raw attention maps ready to be applied (eq. 9), and fuse them where asked.

    Each map is divided by its column maxima, emptied of what is below the threshold, and divided
    by its row sums.

    Parameters
    ----------
    maps : (n, P, P) float, non-negative
    activation_threshold : float in [0, 1]
    fusion : "product" keeps all maps, to be applied in turn; "mean" averages them; a number
        selects one (Table 7).

    Returns
    -------
    (n or 1, P, P) float
    """
    if isinstance(fusion, int):
        maps = maps[fusion, None]
    prepared = maps / (maps.amax(dim=-2, keepdim=True) + 1e-5)
    prepared = prepared.masked_fill_(prepared < activation_threshold, 0)
    prepared /= prepared.sum(dim=-1, keepdim=True) + 1e-5
    return prepared.mean(dim=0, keepdim=True) if fusion == "mean" else prepared


def prepare(maps: Tensor, grid: tuple[int, int], settings: Settings) -> Compensation:
    """The operator that raw (n, gh * gw, gh * gw) maps make; see `prepare_maps`."""
    maps = prepare_maps(maps, settings.activation_threshold, settings.head_fusion)
    return Compensation(maps, grid)


def affinity_map(features: Tensor) -> Tensor:
    """One map from another vision model's patch features (METHOD step 6, as in step 5).

    Parameters
    ----------
    features : (gh, gw, d)

    Returns
    -------
    (1, gh * gw, gh * gw), rows sum to 1
    """
    units = F.normalize(features.flatten(0, 1), dim=-1)
    likeness = units @ units.T
    likeness = 3 * (likeness - 1.2 * likeness.mean())
    return likeness.masked_fill(likeness < 0, float("-inf")).softmax(dim=-1)[None]


class AttentionSource(ABC):
    """Whatever can say which parts of a picture belong together, by self-attention."""

    @abstractmethod
    def attention_maps(self, image: NDArray[np.uint8]) -> Steps[tuple[Tensor, tuple[int, int]]]:
        """Self-attention maps of one picture.

        Parameters
        ----------
        image : (H, W, 3) uint8

        Yields
        ------
        Step

        Returns
        -------
        maps : (n, gh * gw, gh * gw) float, non-negative
        grid : (gh, gw)
        """

    @torch.no_grad()
    def compensation(self, image: NDArray[np.uint8], settings: Settings) -> Steps[Compensation]:
        """The operator for one (H, W, 3) uint8 picture."""
        return prepare(*(yield from self.attention_maps(image)), settings)


@dataclass(frozen=True)
class TransformerSelfAttention(AttentionSource):
    """Self-attention of a block of a vision transformer, over a grid of any shape.

    Attributes
    ----------
    encoder : ImageEncoder
    block : int
        Counted from 0.
    grid : (rows, columns)
        The picture is resized to this many patches; its aspect ratio is not kept, as in the
        method's own compensation.
    """

    encoder: ImageEncoder
    block: int
    grid: tuple[int, int]

    @torch.no_grad()
    def attention_maps(self, image: NDArray[np.uint8]) -> Steps[tuple[Tensor, tuple[int, int]]]:
        """Maps of the block's heads, (heads, gh * gw, gh * gw); see `AttentionSource`."""
        encoder = self.encoder
        pixels = to_pixels(image, self.grid, encoder.patch_size, encoder.mean, encoder.std)
        total = self.block + 1
        yield Step(COMPENSATION_STEP, 0, total)
        tokens = embed_patches(encoder.visual, pixels.to(encoder.device))
        blocks = run_blocks(encoder.visual, tokens)
        for index in range(self.block):
            next(blocks)
            yield Step(COMPENSATION_STEP, index + 1, total)
        _, attention, _ = next(blocks)
        return attention[:, 1:, 1:], self.grid


@dataclass(frozen=True)
class SharedSelfAttention:
    """Self-attention of a block of the image tower, from the pass that looks at the picture.

    It costs no pass of its own, and has the picture's aspect ratio and the coarse map's grid.

    Attributes
    ----------
    block : int
        Counted from 0; not the last.
    """

    block: int


CompensationSource: TypeAlias = AttentionSource | SharedSelfAttention


@dataclass(frozen=True)
class FeatureAffinity(AttentionSource):
    """Likeness of another vision model's patch features, in place of self-attention.

    Attributes
    ----------
    patch_features : callable
        (H, W, 3) uint8 picture to (gh, gw, d) float features.
    """

    patch_features: PatchFeatures

    def attention_maps(self, image: NDArray[np.uint8]) -> Steps[tuple[Tensor, tuple[int, int]]]:
        """The one affinity map; see `AttentionSource`."""
        yield Step(COMPENSATION_STEP)
        features = self.patch_features(image)
        return affinity_map(features), (features.shape[0], features.shape[1])

    def compensation(self, image: NDArray[np.uint8], settings: Settings) -> Steps[Compensation]:
        """The affinity map as it is: its softmax has prepared it."""
        return Compensation(*(yield from self.attention_maps(image)))


@dataclass(frozen=True)
class DiffusionSelfAttention(AttentionSource):
    """Self-attention of Stable Diffusion's U-Net on the noised picture (METHOD step 5).

    Attributes
    ----------
    vae : diffusers.AutoencoderKL
    unet : diffusers.UNet2DConditionModel
    scheduler : a diffusers scheduler
    prompt_embedding : (1, 77, cross_attention_dim) float
        The empty prompt's.
    layers : sequence of int
        Which of the up blocks' self-attention layers, counted from the last; their heads are
        concatenated in this order. (-2, -3) are the second and first of the last block's three.
    time_index : int
        Index into the 50-step schedule.
    noise : (1, 4, g, g) float or None
        None draws it from `seed`.
    seed : int
    """

    vae: Any
    unet: Any
    scheduler: Any
    prompt_embedding: Tensor
    layers: Sequence[int] = (-2, -3)
    time_index: int = 45
    noise: Tensor | None = None
    seed: int = 0

    @property
    def grid(self) -> tuple[int, int]:
        """Side of the latent grid, twice."""
        return (self.unet.config.sample_size,) * 2

    @torch.no_grad()
    def encode_latent(self, image: NDArray[np.uint8]) -> Tensor:
        """The picture's latent before noise, (1, 4, g, g): the VAE's mean times its scale."""
        side = self.grid[0] * 2 ** (len(self.vae.config.block_out_channels) - 1)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255
        pixels = F.interpolate(pixels, (side, side), mode="nearest") * 2 - 1
        encoded = self.vae.encode(pixels.to(self.vae.device, self.vae.dtype)).latent_dist.mean
        return encoded * self.vae.config.scaling_factor  # type: ignore[no-any-return]

    @torch.no_grad()
    def attention_maps(self, image: NDArray[np.uint8]) -> Steps[tuple[Tensor, tuple[int, int]]]:
        """Maps of the layers' heads, (n, g², g²); see `AttentionSource`."""
        yield Step(COMPENSATION_STEP, 0, 2)
        latent = self.encode_latent(image)
        yield Step(COMPENSATION_STEP, 1, 2)
        return self.attention_of_latent(latent), self.grid

    @torch.no_grad()
    def attention_of_latent(self, latent: Tensor) -> Tensor:
        """One pass of the U-Net on the noised latent; the wanted layers' probabilities."""
        noise = self.noise
        if noise is None:
            generator = torch.Generator().manual_seed(self.seed)
            noise = torch.randn(latent.shape, generator=generator)
        self.scheduler.set_timesteps(50)
        timestep = self.scheduler.timesteps[self.time_index].to(latent.device)
        noised = self.scheduler.add_noise(latent, noise.to(latent), timestep[None])
        attentions = self_attention_layers(self.unet)
        wanted = [attentions[index] for index in self.layers]
        prompt = self.prompt_embedding.to(latent)
        return torch.cat(record_attention(wanted, lambda: self.unet(noised, timestep, prompt)))


def self_attention_layers(unet: Any) -> list[Any]:
    """The self-attention layers of a diffusers U-Net's up blocks, in the order they run."""
    return [
        block.attn1
        for up_block in unet.up_blocks
        for transformer in getattr(up_block, "attentions", ())
        for block in transformer.transformer_blocks
    ]


def record_attention(layers: Sequence[Any], run: Callable[[], object]) -> list[Tensor]:
    """Self-attention probabilities of these layers while `run` runs, each (heads, P, P) float32.

    The layers compute what they always do: only their inputs are looked at, on the way in.
    """
    recorded: dict[int, Tensor] = {}

    def record(layer: Any, arguments: tuple[Tensor, ...], keywords: dict[str, Any]) -> None:
        tokens = arguments[0] if arguments else keywords["hidden_states"]
        queries, keys = (
            layer.head_to_batch_dim(project(tokens)) for project in (layer.to_q, layer.to_k)
        )
        recorded[id(layer)] = layer.get_attention_scores(queries, keys).float()

    hooks = [layer.register_forward_pre_hook(record, with_kwargs=True) for layer in layers]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return [recorded[id(layer)] for layer in layers]
