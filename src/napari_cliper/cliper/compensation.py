"""Fine-grained compensation: self-attention maps become an operator that refines a coarse map.

Section 3.4 of the paper, equations 9 and 10, as the reference implementation computes them or, as a
variant, as they stand.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from napari_cliper.cliper.coarse import resize_maps
from napari_cliper.cliper.early_layer_fusion import (
    ImageEncoder,
    embed_patches,
    keep_alike,
    run_blocks,
)
from napari_cliper.cliper.preprocessing import to_pixels
from napari_cliper.cliper.settings import Settings
from napari_cliper.cliper.steps import Step, Steps
from napari_cliper.errors import NapariCliperError

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
        for index in reversed(range(len(self.maps))):  # flipping the tensor would copy it
            columns = self.maps[index] @ columns
        return columns.T.reshape(-1, *self.grid)

    def received(self) -> Tensor:
        """How much of all places' attention each place receives, (gh, gw): 1ᵀ · A_0 · A_1 · …."""
        row = self.maps.new_ones(self.maps.shape[-1])
        for attention in self.maps:
            row = row @ attention
        return row.reshape(self.grid)


class Maps(Protocol):
    """Raw attention maps, each (P, P) float32 and non-negative; a (n, P, P) tensor is one too.

    They may be made only when asked for, so that not all of them are in memory at once.
    """

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, index: int) -> Tensor:
        """One of them."""

    def __iter__(self) -> Iterator[Tensor]:
        """Each of them in turn."""


@dataclass(frozen=True)
class HeadMaps:
    """Self-attention maps of some layers' heads, each made from queries and keys when asked for.

    The queries and keys of Stable Diffusion 1's two layers take 20 MB, their 16 maps 1 GB.

    Attributes
    ----------
    queries, keys : tuple of (heads, P, d) float, a pair for each layer
    """

    queries: tuple[Tensor, ...]
    keys: tuple[Tensor, ...]

    def __len__(self) -> int:
        """Heads of all layers."""
        return sum(len(queries) for queries in self.queries)

    def __getitem__(self, index: int) -> Tensor:
        """The map of one head, counted through the layers: softmax(q · kᵀ / √d), (P, P) float32."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"there are {len(self)} heads, and no number {index}")
        index %= len(self)
        for queries, keys in zip(self.queries, self.keys, strict=True):
            if index < len(queries):
                return _head_map(queries[index], keys[index])
            index -= len(queries)
        raise AssertionError

    def __iter__(self) -> Iterator[Tensor]:
        """Each head's map in turn."""
        return (self[index] for index in range(len(self)))

    def stacked(self) -> Tensor:
        """All maps at once, (n, P, P) float32."""
        return torch.stack(list(self))


def _head_map(queries: Tensor, keys: Tensor) -> Tensor:
    scores = torch.addmm(
        queries.new_empty(len(queries), len(keys)),
        queries,
        keys.T,
        beta=0,  # the first argument gives the type only
        alpha=1 / math.sqrt(queries.shape[-1]),
    )
    return scores.softmax(dim=-1, dtype=torch.float32)


def prepare_map(map_: Tensor, activation_threshold: float) -> Tensor:
    """Make one raw attention map ready to be applied (eq. 9).

    It is divided by its column maxima, emptied of what is below the threshold, and divided by its
    row sums.

    Parameters
    ----------
    map_ : (P, P) float, non-negative
    activation_threshold : float in [0, 1]

    Returns
    -------
    (P, P) float
    """
    prepared = map_ / (map_.amax(dim=-2, keepdim=True) + 1e-5)
    prepared.masked_fill_(prepared < activation_threshold, 0)
    prepared /= prepared.sum(dim=-1, keepdim=True) + 1e-5
    return prepared


def prepare_maps(
    maps: Maps,
    activation_threshold: float | None,
    fusion: Literal["product", "mean"] | int,
) -> Tensor:
    """Prepare raw maps one after the other, and fuse them where asked (eq. 10, Table 7).

    Parameters
    ----------
    maps : n raw maps, each (P, P)
    activation_threshold : float in [0, 1], or None to take the maps as they are
    fusion : "product" keeps all maps, to be applied in turn; "mean" averages them; a number
        selects one.

    Returns
    -------
    (n or 1, P, P) float
        Besides it, no more than two maps are in memory at a time.
    """
    count = 1 if isinstance(fusion, int) else len(maps)
    chosen = [fusion] if isinstance(fusion, int) else range(count)
    fused = torch.empty(0)
    for place, index in enumerate(chosen):
        map_ = maps[index]
        if activation_threshold is not None:
            map_ = prepare_map(map_, activation_threshold)
        if place == 0:
            fused = map_.new_zeros(1 if fusion == "mean" else count, *map_.shape)
        fused[0 if fusion == "mean" else place] += map_
    return fused.div_(count) if fusion == "mean" else fused


def prepare(maps: Maps, grid: tuple[int, int], settings: Settings) -> Compensation:
    """The operator that raw maps make; the paper's A_f is the product of the maps as they are.

    Raises
    ------
    NapariCliperError
        If the settings choose a map that there is not.
    """
    fusion = settings.head_fusion
    if isinstance(fusion, int) and not 0 <= fusion < len(maps):
        raise NapariCliperError(
            f"There is no attention map {fusion}: let head_fusion be product, mean or a number "
            f"from 0 to {len(maps) - 1}."
        )
    threshold = None if settings.variant == "paper" else settings.activation_threshold
    return Compensation(prepare_maps(maps, threshold, fusion), grid)


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
    return keep_alike(3 * (likeness - 1.2 * likeness.mean()))[None]


class AttentionSource(ABC):
    """Whatever can say which parts of a picture belong together, by self-attention."""

    @abstractmethod
    def attention_maps(self, image: NDArray[np.uint8]) -> Steps[tuple[Maps, tuple[int, int]]]:
        """Self-attention maps of one picture.

        Parameters
        ----------
        image : (H, W, 3) uint8

        Yields
        ------
        Step

        Returns
        -------
        maps : n raw maps, each (gh * gw, gh * gw) float32
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
        tokens = embed_patches(encoder.visual, pixels.to(encoder.device, encoder.dtype))
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

    patch_features: Callable[[NDArray[np.uint8]], Tensor]

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
        Which of the U-Net's self-attention layers, counted from the last; their heads are
        taken in this order. (-2, -3) are the second and first of the last block's three.
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
    def latent_side(self) -> int:
        """Side of the latent, in places."""
        return int(self.unet.config.sample_size)

    @torch.no_grad()
    def encode_latent(self, image: NDArray[np.uint8]) -> Tensor:
        """The latent before noise, (1, 4, g, g) float32: the VAE's mean times its scale."""
        side = self.latent_side * 2 ** (len(self.vae.config.block_out_channels) - 1)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255
        pixels = F.interpolate(pixels, (side, side), mode="nearest") * 2 - 1
        encoded = self.vae.encode(pixels.to(self.vae.device, self.vae.dtype)).latent_dist.mean
        return encoded.float() * self.vae.config.scaling_factor  # type: ignore[no-any-return]

    @torch.no_grad()
    def attention_maps(self, image: NDArray[np.uint8]) -> Steps[tuple[Maps, tuple[int, int]]]:
        """Maps of the layers' heads; see `AttentionSource`."""
        yield Step(COMPENSATION_STEP, 0, 2)
        latent = self.encode_latent(image)
        yield Step(COMPENSATION_STEP, 1, 2)
        maps = self.attention_of_latent(latent)
        side = math.isqrt(maps.queries[0].shape[-2])
        return maps, (side, side)

    @torch.no_grad()
    def attention_of_latent(self, latent: Tensor) -> HeadMaps:
        """One pass of the U-Net on the noised latent; what the wanted layers attend to.

        Raises
        ------
        NapariCliperError
            If the layers see the picture in different sizes.
        """
        noise = self.noise
        if noise is None:
            generator = torch.Generator().manual_seed(self.seed)
            noise = torch.randn(latent.shape, generator=generator)
        self.scheduler.set_timesteps(50)
        timestep = self.scheduler.timesteps[self.time_index].to(latent.device)
        noised = self.scheduler.add_noise(latent, noise.to(latent), timestep[None])
        attentions = self_attention_layers(self.unet)
        wanted = [attentions[index] for index in self.layers]
        noised, prompt = (
            tensor.to(latent.device, self.unet.dtype) for tensor in (noised, self.prompt_embedding)
        )
        maps = record_attention(wanted, lambda: self.unet(noised, timestep, prompt))
        places = sorted({queries.shape[-2] for queries in maps.queries})
        if len(places) > 1:
            sides = " and ".join(f"{math.isqrt(count)}×{math.isqrt(count)}" for count in places)
            raise NapariCliperError(
                f"The layers {', '.join(map(str, self.layers))} of the U-Net see the picture in "
                f"{sides} places: choose layers that see it in the same size."
            )
        return maps


def self_attention_layers(unet: Any) -> list[Any]:
    """The self-attention layers of a diffusers U-Net, in the order they run."""
    parts = [*unet.down_blocks, unet.mid_block, *unet.up_blocks]
    return [
        block.attn1
        for part in parts
        for transformer in getattr(part, "attentions", ())
        for block in transformer.transformer_blocks
    ]


def record_attention(layers: Sequence[Any], run: Callable[[], object]) -> HeadMaps:
    """What these layers attend to while `run` runs.

    The layers compute what they always do: only their inputs are looked at, on the way in.
    """
    recorded: dict[int, tuple[Tensor, ...]] = {}

    def record(layer: Any, arguments: tuple[Tensor, ...], keywords: dict[str, Any]) -> None:
        tokens = arguments[0] if arguments else keywords["hidden_states"]
        recorded[id(layer)] = tuple(
            layer.head_to_batch_dim(project(tokens)) for project in (layer.to_q, layer.to_k)
        )

    hooks = [layer.register_forward_pre_hook(record, with_kwargs=True) for layer in layers]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    queries, keys = zip(*(recorded[id(layer)] for layer in layers), strict=True)
    return HeadMaps(queries, keys)
