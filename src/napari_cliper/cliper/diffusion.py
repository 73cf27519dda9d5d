"""Stable Diffusion's self-attention as a source of compensation (METHOD step 5)."""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from napari_cliper.cliper.compensation import COMPENSATION_STEP, AttentionSource, HeadMaps, Maps
from napari_cliper.cliper.preprocessing import send
from napari_cliper.cliper.steps import Step, Steps
from napari_cliper.errors import NapariCliperError


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
        pixels = send(pixels, self.vae.device, self.vae.dtype)
        if self.vae.dtype != torch.float32:
            # In bfloat16 convolutions take less than half of the time so; in float32 no less.
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        encoded = self.vae.encode(pixels).latent_dist.mean
        return encoded.float() * self.vae.config.scaling_factor  # type: ignore[no-any-return]

    @torch.no_grad()
    def attention_maps(self, image: NDArray[np.uint8]) -> Steps[tuple[Maps, tuple[int, int]]]:
        """Maps of the layers' heads; see `AttentionSource`."""
        yield Step(COMPENSATION_STEP, 0, 2)
        latent = self.encode_latent(image)
        yield Step(COMPENSATION_STEP, 1, 2)
        maps = self.attention_of_latent(latent)
        side = math.isqrt(maps.places)
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


class _SeenAll(Exception):
    """All layers have been recorded: what would follow is for nobody."""


def record_attention(layers: Sequence[Any], run: Callable[[], object]) -> HeadMaps:
    """What these layers attend to while `run` runs; it is left as soon as the last is reached.

    The layers compute what they always do: only their inputs are looked at, on the way in.
    """
    recorded: dict[int, tuple[Tensor, ...]] = {}
    wanted = {id(layer) for layer in layers}

    def record(layer: Any, arguments: tuple[Tensor, ...], keywords: dict[str, Any]) -> None:
        tokens = arguments[0] if arguments else keywords["hidden_states"]
        recorded[id(layer)] = tuple(
            layer.head_to_batch_dim(project(tokens)) for project in (layer.to_q, layer.to_k)
        )
        if recorded.keys() == wanted:
            raise _SeenAll

    hooks = [layer.register_forward_pre_hook(record, with_kwargs=True) for layer in layers]
    try:
        with suppress(_SeenAll):
            run()
    finally:
        for hook in hooks:
            hook.remove()
    queries, keys = zip(*(recorded[id(layer)] for layer in layers), strict=True)
    return HeadMaps(queries, keys)
