"""The steps as the reference implementation does them, with the same models, in float32."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from napari_cliper.benchmark import plain
from napari_cliper.cliper import (
    AttentionSource,
    DiffusionSelfAttention,
    Settings,
    SharedSelfAttention,
    drain,
)
from napari_cliper.cliper.compensation import FeatureAffinity
from napari_cliper.cliper.diffusion import self_attention_layers
from napari_cliper.cliper.preprocessing import patch_grid, to_pixels
from napari_cliper.errors import NapariCliperError
from napari_cliper.segmenter import Segmenter


class PlainWay:
    """Each method does a step and keeps what the next ones need.

    Attention is computed head by head, and kept of all blocks; all of the U-Net runs; the product
    of all maps is formed; sentences are filled up to the tower's length, one class goes after the
    other. Of models other than CLIP and Stable Diffusion, whatever is not written down in `plain`
    is the engine's own.

    Parameters
    ----------
    model : Segmenter
        In float32.
    image : (H, W, 3) uint8
    templates : sequence of str
    words : sequence of str

    Attributes
    ----------
    seen : plain.Tower
    product : (gh * gw, gh * gw) float32 or None
        The compensation as one dense operator; None where there is none.
    places : (gh, gw)
        Of the product.
    rows : (C, D) float32
    refined, presence : (C, gh, gw) and (C,) float32
    labels : (H, W) int64

    Raises
    ------
    NapariCliperError
        The preset's settings ask for what is not written down in `plain`.
    """

    def __init__(
        self,
        model: Segmenter,
        image: NDArray[np.uint8],
        templates: Sequence[str],
        words: Sequence[str],
    ) -> None:
        self.model, self.image, self.templates, self.words = model, image, templates, words
        self.engine = model.engine
        self.settings = _checked(model)
        self.source = self.engine.attention_source if self.settings.compensate else None
        encoder = self.engine.image_encoder
        self.device = encoder.device
        size = image.shape[0], image.shape[1]
        self.grid = patch_grid(*size, self.settings.shorter_side, encoder.patch_size)
        self.product: Tensor | None = None
        self.places = self.grid

    def stages(self) -> list[Callable[[], None]]:
        """What encodes a picture, in this order."""
        if self.source is None:
            return [self.tower]
        if isinstance(self.source, DiffusionSelfAttention):
            return [self.tower, self.latent, self.unet, self.maps]
        if isinstance(self.source, SharedSelfAttention):
            return [self.tower, self.maps]
        return [self.tower, self.attention, self.maps]

    def tower(self) -> None:
        """Head by head, layer by layer."""
        encoder, settings = self.engine.image_encoder, self.settings
        pixels = to_pixels(self.image, self.grid, encoder.patch_size, encoder.mean, encoder.std)
        embedded = settings.early_layers
        self.seen = plain.tower(
            encoder.visual,
            pixels.to(encoder.device),
            settings.attention,
            "reference",
            settings.whole_last_block,
            embedded=None if embedded == "all" else embedded,
            keep=self.source.block if isinstance(self.source, SharedSelfAttention) else None,
        )

    def latent(self) -> None:
        """The VAE's encoder, the picture at once."""
        source: Any = self.source
        side = source.latent_side * 2 ** (len(source.vae.config.block_out_channels) - 1)
        pixels = torch.from_numpy(self.image).permute(2, 0, 1)[None].to(source.vae.device) / 255
        pixels = F.interpolate(pixels, (side, side), mode="nearest") * 2 - 1
        encoded = source.vae.encode(pixels).latent_dist.mean
        self.encoded = encoded * source.vae.config.scaling_factor

    def unet(self) -> None:
        """All of it, with hooks that only look."""
        source: Any = self.source
        noise = source.noise
        if noise is None:
            generator = torch.Generator().manual_seed(source.seed)
            noise = torch.randn(self.encoded.shape, generator=generator)
        source.scheduler.set_timesteps(50)
        timestep = source.scheduler.timesteps[source.time_index].to(self.encoded.device)
        noised = source.scheduler.add_noise(
            self.encoded, noise.to(self.encoded.device), timestep[None]
        )
        layers = self_attention_layers(source.unet)
        wanted = [layers[index] for index in source.layers]
        looked: dict[int, list[tuple[Tensor, Tensor]]] = {}

        def look(layer: Any, arguments: Any, keywords: Any) -> None:
            tokens = arguments[0] if arguments else keywords["hidden_states"]
            parts = [project(tokens)[0] for project in (layer.to_q, layer.to_k)]
            queries, keys = (part.chunk(layer.heads, dim=-1) for part in parts)
            looked[id(layer)] = list(zip(queries, keys, strict=True))

        hooks = [layer.register_forward_pre_hook(look, with_kwargs=True) for layer in wanted]
        try:
            source.unet(noised, timestep, source.prompt_embedding.to(noised.device, noised.dtype))
        finally:
            for hook in hooks:
                hook.remove()
        self.heads = [head for layer in wanted for head in looked[id(layer)]]

    def attention(self) -> None:
        """Another model's self-attention, or likeness."""
        assert isinstance(self.source, AttentionSource)
        maps, self.places = drain(self.source.attention_maps(self.image))
        self.raw = torch.stack([maps.rows(index, slice(None)) for index in range(len(maps))])

    def maps(self) -> None:
        """All maps, and their product."""
        if isinstance(self.source, DiffusionSelfAttention):
            maps = torch.stack([plain.softmax_of(*head) for head in self.heads])
            self.places = (math.isqrt(maps.shape[-1]),) * 2
        elif isinstance(self.source, SharedSelfAttention):
            assert self.seen.kept is not None
            maps, self.places = self.seen.kept, self.grid
        else:
            maps = self.raw
        if isinstance(self.source, FeatureAffinity):  # its softmax has prepared it
            self.product = maps[0]
        else:
            threshold = self.settings.activation_threshold
            self.product = plain.operator(maps, threshold, self.settings.head_fusion)

    def encode(self) -> None:
        """All stages anew; what only a later stage needs is let go."""
        again = PlainWay(self.model, self.image, self.templates, self.words)
        for stage in again.stages():
            stage()
        self.kept = again.seen, again.product

    def encode_words(self) -> None:
        """Class by class, at the tower's own length."""
        encoder = self.engine.text_encoder
        rows = []
        for word in self.words:
            tokens = encoder.tokenize([template.format(word) for template in self.templates])
            units = F.normalize(encoder.encode(tokens.to(encoder.device)), dim=-1)
            rows.append(F.normalize(units.mean(dim=0), dim=-1))
        self.rows = torch.stack(rows)

    def label(self) -> None:
        """Scores and labels of the encoded picture."""
        settings = self.settings
        none, count = self.rows[:0], len(self.rows)
        layers = [
            plain.logits_of(layer, self.rows, none, settings.logit_scale).softmax(dim=0)[:count]
            for layer in self.seen.embeddings
        ]
        coarse = plain.mixed(
            layers, self.seen.attention, settings.activation_threshold, settings.selected_layer
        )
        refined = coarse = coarse.unflatten(1, self.grid)
        if self.product is not None:
            grid = self.places
            columns = F.interpolate(coarse[None], grid, mode="bilinear", align_corners=False)[0]
            refined = (self.product @ columns.flatten(1).T).T.unflatten(1, grid)
        self.refined = refined
        self.presence = (coarse.amax(dim=(1, 2)) + refined.amax(dim=(1, 2))) / 2
        size = self.image.shape[0], self.image.shape[1]
        self.labels = self.slide(size, self.presence > settings.presence_threshold)

    def slide(self, size: tuple[int, int], present: Tensor) -> Tensor:
        """Maps of the classes that are present brought to a picture's size, then compared."""
        settings = self.settings
        return plain.labels(
            self.refined,
            self.presence,
            size,
            settings.normalise_each_class,
            settings.background_threshold,
            present,
        )

    def point(self) -> None:
        """A row of the product."""
        assert self.product is not None
        self.row = self.product[len(self.product) // 3].clone()


def _checked(model: Segmenter) -> Settings:
    """The model's settings, if the plain way knows all they ask for."""
    settings = model.engine.settings
    strange = {
        "variant": settings.variant != "reference",
        "attention": settings.attention == "proxy",
        "early_layers": settings.early_layers == 0,
        "spread": not settings.spread,
        "sliding_crop": settings.sliding_crop > 0,
    }
    for name, is_strange in strange.items():
        if is_strange:
            raise NapariCliperError(
                f"The preset {model.preset.name} has no plain way to compare with: leave its "
                f"setting “{name}” as it is in small, base, large and huge."
            )
    return settings
