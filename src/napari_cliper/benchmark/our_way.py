"""The steps as the engine does them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_cliper.cliper import (
    AttentionSource,
    Compensation,
    DiffusionSelfAttention,
    Encoding,
    SharedSelfAttention,
    drain,
)
from napari_cliper.cliper.compensation import WholeMaps, prepare
from napari_cliper.cliper.early_layer_fusion import fuse_early_layers
from napari_cliper.cliper.preprocessing import patch_grid, send, to_pixels
from napari_cliper.cliper.text import encode_prompts
from napari_cliper.segmenter import Segmenter


class OurWay:
    """Each method does a step and keeps what the next ones need.

    Parameters
    ----------
    model : Segmenter
    image : (H, W, 3) uint8
    templates : sequence of str
    words : sequence of str

    Attributes
    ----------
    encoding : Encoding
    compensation : Compensation or None
        None where the preset has none.
    rows : (C, D) float32
    scores : Scores
    labels : (H, W) integers
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
        self.settings = model.engine.settings
        self.source = self.engine.attention_source if self.settings.compensate else None
        self.compensation: Compensation | None = None
        self.changed = 0

    def stages(self) -> list[tuple[str, Callable[[], None]]]:
        """What `encode` does, in this order, each by its name."""
        stages = [("image tower", self.tower)]
        if isinstance(self.source, DiffusionSelfAttention):
            stages += [("VAE encoder", self.latent), ("U-Net", self.unet)]
        elif isinstance(self.source, AttentionSource):
            stages.append(("self-attention", self.attention))
        if self.source is not None:
            stages.append(("attention maps", self.maps))
        return stages

    def tower(self) -> None:
        """Early-layer fusion."""
        encoder, shared = self.engine.image_encoder, self.source
        size = self.image.shape[0], self.image.shape[1]
        self.grid = patch_grid(*size, self.settings.shorter_side, encoder.patch_size)
        pixels = to_pixels(self.image, self.grid, encoder.patch_size, encoder.mean, encoder.std)
        features = fuse_early_layers(
            encoder,
            send(pixels, encoder.device, encoder.dtype),
            self.settings,
            keep_block=shared.block if isinstance(shared, SharedSelfAttention) else None,
        )
        self.features = drain(features)

    def latent(self) -> None:
        """The VAE's encoder."""
        source: Any = self.source
        self.encoded = source.encode_latent(self.image)

    def unet(self) -> None:
        """Up to the last attention that is wanted."""
        source: Any = self.source
        self.raw = source.attention_of_latent(self.encoded)
        self.places = source.latent_side, source.latent_side

    def attention(self) -> None:
        """Another model's self-attention, or likeness."""
        source: Any = self.source
        self.raw, self.places = drain(source.attention_maps(self.image))

    def maps(self) -> None:
        """Maps prepared, no product."""
        if isinstance(self.source, AttentionSource):
            self.compensation = self.source.prepare(self.raw, self.places, self.settings)
        else:
            assert self.features.block_attention is not None
            maps = WholeMaps(self.features.block_attention)
            self.compensation = prepare(maps, self.grid, self.settings)

    def encode(self) -> None:
        """All of that, as a person's picture is encoded."""
        self.encoding: Encoding = drain(self.engine.encode(self.image))

    def encode_words(self) -> None:
        """In batches of like length, without what fills them up."""
        self.rows = encode_prompts(self.engine.text_encoder, self.words, self.templates)

    def change_word(self) -> None:
        """One sentence a template, scores, labels; each time another word."""
        self.changed += 1
        row = encode_prompts(self.engine.text_encoder, [f"thing {self.changed}"], self.templates)
        self.label(torch.cat([self.rows[:-1], row]))

    def label(self, rows: Tensor) -> None:
        """Scores and labels of the encoded picture for these words."""
        self.scores = self.engine.score(self.encoding, rows, rows[:0])
        self.labels = self.engine.label(self.scores).labels

    def slide(self, size: tuple[int, int], present: Tensor) -> Tensor:
        """Labels of a picture of this size, the classes that are present being ranked anew."""
        labeller = replace(self.scores, size=size).labeller(self.settings)
        return labeller.labels(self.engine.thresholds(), present)

    def point(self) -> None:
        """The row of one place, carried through the maps."""
        assert self.compensation is not None
        rows, columns = self.compensation.grid
        self.row = self.compensation.row(rows * columns // 3)
