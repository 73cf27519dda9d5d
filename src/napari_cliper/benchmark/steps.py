"""The steps that are measured, each our way and the plain way."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from napari_cliper.benchmark import plain
from napari_cliper.cliper import DiffusionSelfAttention, Encoding, Scores, drain
from napari_cliper.cliper.compensation import prepare_map
from napari_cliper.cliper.diffusion import self_attention_layers
from napari_cliper.cliper.early_layer_fusion import fuse_early_layers
from napari_cliper.cliper.preprocessing import patch_grid, to_pixels
from napari_cliper.cliper.text import encode_prompts
from napari_cliper.segmenter import Segmenter

WORDS = [
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("table", "dog", "horse", "motorbike", "person", "plant", "sheep", "sofa", "train", "screen"),
]
MEGAPIXEL = 1000, 1000


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes
    ----------
    name : str
    ours, plain : callable
        Do it; both give what the next steps need.
    """

    name: str
    ours: Callable[[], object]
    plain: Callable[[], object]


def steps(model: Segmenter, image: NDArray[np.uint8], templates: Sequence[str]) -> list[Step]:
    """All steps for one picture and twenty words, to be done in this order.

    The plain way computes what the reference implementation computes: attention head by head,
    queries, keys and values of the last block for each layer, all of the U-Net, the product of all
    maps, sentences filled up to the tower's length, one class after the other; and all of that
    again when a word changes.

    Parameters
    ----------
    model : Segmenter
        A model of CLIP and Stable Diffusion.
    image : (H, W, 3) uint8
    templates : sequence of str
    """
    work = _Work(model, image, templates)
    return [
        Step("image tower", work.tower, work.plain_tower),
        Step("VAE encoder", work.latent_of, work.latent_of),
        Step("U-Net", work.unet, work.plain_unet),
        Step("attention maps", work.maps, work.plain_maps),
        Step("20 new words", work.words, work.plain_words),
        Step("one word changed", work.word_changed, work.plain_word_changed),
        Step("slider, 1 megapixel", work.slider, work.plain_slider),
        Step("point inspection", work.point, work.plain_point),
    ]


class _Work:
    """What the steps hand on to each other."""

    def __init__(
        self, model: Segmenter, image: NDArray[np.uint8], templates: Sequence[str]
    ) -> None:
        source = model.engine.attention_source
        if not isinstance(source, DiffusionSelfAttention):
            raise TypeError("a model with Stable Diffusion is measured")
        self.engine, self.source, self.image = model.engine, source, image
        self.templates = templates
        encoder = self.engine.image_encoder
        settings = self.engine.settings
        height, width = image.shape[0], image.shape[1]
        self.grid = patch_grid(height, width, settings.shorter_side, encoder.patch_size)
        pixels = to_pixels(image, self.grid, encoder.patch_size, encoder.mean, encoder.std)
        self.pixels = pixels.to(encoder.device, encoder.dtype)
        self.place = source.latent_side**2 // 3  # of the point that is inspected
        self.changed = 0

    # Ours

    def tower(self) -> None:
        """Early-layer fusion."""
        self.features = drain(
            fuse_early_layers(self.engine.image_encoder, self.pixels, self.engine.settings)
        )

    def latent_of(self) -> None:
        """The VAE's encoder."""
        self.latent = self.source.encode_latent(self.image)

    def unet(self) -> None:
        """Up to the last attention that is wanted."""
        self.heads = self.source.attention_of_latent(self.latent)

    def maps(self) -> None:
        """Maps prepared, no product."""
        side = self.source.latent_side
        self.compensation = self.source.prepare(self.heads, (side, side), self.engine.settings)

    def words(self) -> None:
        """In batches of like length, without what fills them up."""
        self.rows = encode_prompts(self.engine.text_encoder, WORDS, self.templates)

    def word_changed(self) -> None:
        """One sentence a template, scores, labels."""
        self.changed += 1
        row = encode_prompts(self.engine.text_encoder, [f"thing {self.changed}"], self.templates)
        rows = torch.cat([self.rows[:-1], row])
        self.scores = self.engine.score(self._encoding(), rows, rows[:0])
        self.engine.label(self.scores)

    def slider(self) -> None:
        """Labels at other thresholds, all classes being in the picture."""
        labeller = self._large().labeller(self.engine.settings)
        present = torch.ones(len(WORDS), dtype=torch.bool, device=self.latent.device)
        labeller.labels(self.engine.thresholds(), present)

    def point(self) -> None:
        """One row, carried through the maps."""
        self.compensation.row(self.place)

    # The plain way

    def plain_tower(self) -> None:
        """Head by head, layer by layer."""
        visual = self.engine.image_encoder.visual
        self.plain_features = plain.tower(visual, self.pixels, "fused", "reference", whole=False)

    def plain_unet(self) -> None:
        """All of it, with hooks that only look."""
        attentions = self_attention_layers(self.source.unet)
        seen: list[tuple[Tensor, Tensor]] = []

        def look(layer: Any, arguments: Any, keywords: Any) -> None:
            tokens = arguments[0] if arguments else keywords["hidden_states"]
            seen.append((layer.to_q(tokens), layer.to_k(tokens)))

        hooks = [
            attentions[index].register_forward_pre_hook(look, with_kwargs=True)
            for index in self.source.layers
        ]
        unet = self.source.unet
        prompt = self.source.prompt_embedding.to(self.latent.device, unet.dtype)
        self.source.scheduler.set_timesteps(50)
        timestep = self.source.scheduler.timesteps[self.source.time_index]
        try:
            unet(self.latent.to(unet.dtype), timestep.to(self.latent.device), prompt)
        finally:
            for hook in hooks:
                hook.remove()

    def plain_maps(self) -> None:
        """All maps, and their product."""
        threshold = self.engine.settings.activation_threshold
        prepared = [prepare_map(map_, threshold) for map_ in self.heads.stacked()]
        self.product = reduce(torch.matmul, prepared)

    def plain_words(self) -> None:
        """Class by class, at the tower's own length."""
        encoder = self.engine.text_encoder
        rows = []
        for word in WORDS:
            tokens = encoder.tokenize([template.format(word) for template in self.templates])
            units = F.normalize(encoder.encode(tokens.to(encoder.device)).float(), dim=-1)
            rows.append(F.normalize(units.mean(dim=0), dim=-1))
        self.plain_rows = torch.stack(rows)

    def plain_word_changed(self) -> None:
        """All of it again."""
        self.plain_tower()
        self.latent_of()
        self.plain_unet()
        self.plain_maps()
        self.plain_words()
        self.plain_slider()

    def plain_slider(self) -> None:
        """Maps of all classes brought to the picture's size, then compared."""
        maps = F.interpolate(self._large().refined[None].float(), MEGAPIXEL, mode="bilinear")[0]
        lowest, highest = maps.amin(), maps.amax()
        scaled = (maps - lowest) / (highest - lowest)
        background = torch.full_like(scaled[:1], self.engine.settings.background_threshold)
        torch.cat([background, scaled]).argmax(dim=0)

    def plain_point(self) -> None:
        """A row of the whole product."""
        self.plain_maps()
        _ = self.product[self.place]

    def _encoding(self) -> Encoding:
        units = F.normalize(self.features.embeddings[:, 1:], dim=-1)
        size = self.image.shape[0], self.image.shape[1]
        return Encoding(
            size,
            self.grid,
            units,
            self.features.attention,
            self.engine.settings,
            self.compensation,
        )

    def _large(self) -> Scores:
        return replace(self.scores, size=MEGAPIXEL)
