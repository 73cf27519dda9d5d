"""CLIPer: encode a picture once, score it often, label at will."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from napari_cliper.cliper import labelling
from napari_cliper.cliper.coarse import (
    class_probabilities,
    coarse_map,
    mean_similarity,
    sliding_probabilities,
)
from napari_cliper.cliper.compact_maps import CompactMaps
from napari_cliper.cliper.compensation import (
    AttentionSource,
    Compensation,
    CompensationSource,
    Maps,
    SharedSelfAttention,
    WholeMaps,
    prepare,
)
from napari_cliper.cliper.early_layer_fusion import (
    FusedFeatures,
    ProxyModel,
    fuse_early_layers,
    resize_features,
)
from napari_cliper.cliper.image_tower import ImageEncoder
from napari_cliper.cliper.labelling import Labeller, Thresholds
from napari_cliper.cliper.preprocessing import patch_grid, send, to_pixels
from napari_cliper.cliper.scribbles import Scribbles, scribbles
from napari_cliper.cliper.settings import Settings
from napari_cliper.cliper.sliding import SlidingFeatures, Window, encode_crops
from napari_cliper.cliper.steps import Step, Steps
from napari_cliper.cliper.text import TextEncoder, encode_prompts, text_rows


@dataclass(frozen=True)
class Inspection:
    """What looking at a picture's attention needs and segmenting it does not.

    Attributes
    ----------
    layers : tuple of (1 + h * w, 1 + h * w) float16
        Self-attention of the image tower's blocks 1 to N-1, class token first; the mean over heads.
    embeddings : (N, h * w, D) float
        Unit patch embeddings of all layers.
    maps : Maps or None
        What the compensation was prepared from, as `Compensation.heads` counts it.
    """

    layers: tuple[Tensor, ...]
    embeddings: Tensor
    maps: Maps | None

    @property
    def nbytes(self) -> int:
        """Memory of its tensors."""
        maps = self.maps.nbytes if self.maps is not None else 0
        return sum(tensor.nbytes for tensor in (*self.layers, self.embeddings)) + maps


@dataclass(frozen=True)
class Encoding:
    """All that depends on the picture alone.

    Attributes
    ----------
    size : (H, W)
        Of the picture, in pixels.
    grid : (h, w)
        Of the image tower's patches.
    embeddings : (K, h * w, D) float
        Unit patch embeddings of the last K layers.
    attention : (h * w, h * w) float
        Ā, the fused attention between patches.
    settings : Settings
        What it was made with.
    compensation : Compensation or None
    sliding : SlidingFeatures or None
    inspection : Inspection or None
        Kept only if it was asked for.
    """

    size: tuple[int, int]
    grid: tuple[int, int]
    embeddings: Tensor
    attention: Tensor
    settings: Settings
    compensation: Compensation | None = None
    sliding: SlidingFeatures | None = None
    inspection: Inspection | None = None

    @property
    def nbytes(self) -> int:
        """Memory of its tensors."""
        parts: list[Tensor | CompactMaps] = [self.embeddings, self.attention]
        if self.compensation is not None:
            parts.append(self.compensation.maps)
        if self.sliding is not None:
            parts += [self.sliding.embeddings, self.sliding.attention]
        inspected = self.inspection.nbytes if self.inspection is not None else 0
        return sum(part.nbytes for part in parts) + inspected

    def received(self) -> Tensor:
        """How much attention each place receives, 1 on average: (gh, gw) float.

        Of the compensation's maps where there are any, else of Ā.
        """
        if self.compensation is not None:
            received = self.compensation.received()
        else:
            received = self.attention.sum(dim=0).reshape(self.grid)
        return received / received.mean()

    @torch.no_grad()
    def scribbles(self, strokes: Tensor, classes: int) -> Scribbles:
        """Carry strokes along this picture's attention maps.

        Parameters
        ----------
        strokes : (H, W) int
            -1 where there is none, 0 background, i + 1 the i-th class.
        classes : int
            How many classes there are.
        """
        strokes = strokes.to(self.attention.device)
        return scribbles(strokes, classes, self.attention, self.grid, self.compensation)


@dataclass(frozen=True)
class Scores:
    """What depends on the words too.

    Attributes
    ----------
    size : (H, W)
        Of the picture, in pixels.
    coarse : (C, h, w) float
    refined : (C, gh, gw) float
        The same as `coarse` where there is no compensation.
    presence : (C,) float
    scribbles : Scribbles or None
        A person's strokes that correct what is labelled.
    """

    size: tuple[int, int]
    coarse: Tensor
    refined: Tensor
    presence: Tensor
    scribbles: Scribbles | None = None

    def labeller(self, settings: Settings, refinement: float = 1) -> Labeller:
        """What labels the refined maps, or something between these and the coarse ones.

        Parameters
        ----------
        settings : Settings
        refinement : float in [0, 1]
            0 takes the coarse maps, 1 the refined ones.
        """
        maps, presence = self.refined, self.presence
        if refinement != 1:
            maps = labelling.refined_in_part(self.coarse, self.refined, refinement)
            presence = labelling.presence(self.coarse, maps)
        return Labeller(maps, presence, self.size, settings.normalise_each_class, self.scribbles)

    def coarse_labeller(self, settings: Settings) -> Labeller:
        """What labels the coarse maps."""
        return self.labeller(settings, refinement=0)


@dataclass(frozen=True)
class Segmentation:
    """What depends on the thresholds too.

    Attributes
    ----------
    labels, coarse_labels : (H, W) integers
        0 background, i + 1 the i-th class; after and before compensation.
    """

    labels: Tensor
    coarse_labels: Tensor


@dataclass(frozen=True)
class CLIPer:
    """The method with its models and settings.

    Attributes
    ----------
    image_encoder : ImageEncoder
    text_encoder : TextEncoder
    attention_source : CompensationSource or None
        None leaves fine-grained compensation out.
    settings : Settings
    proxy_model : VisionModel or None
        The other vision model that `settings.attention` = "proxy" asks.
    """

    image_encoder: ImageEncoder
    text_encoder: TextEncoder
    attention_source: CompensationSource | None
    settings: Settings
    proxy_model: ProxyModel | None = None

    @torch.no_grad()
    def encode(self, image: NDArray[np.uint8], inspect: bool = False) -> Steps[Encoding]:
        """Look at a picture once.

        Parameters
        ----------
        image : (H, W, 3) uint8
        inspect : bool
            Whether what `inspection` looks at is kept; segmenting needs none of it.

        Yields
        ------
        Step

        Returns
        -------
        Encoding
        """
        settings, encoder = self.settings, self.image_encoder
        size = image.shape[0], image.shape[1]
        grid = patch_grid(*size, settings.shorter_side, encoder.patch_size)
        pixels = to_pixels(image, grid, encoder.patch_size, encoder.mean, encoder.std)
        pixels = send(pixels, encoder.device, encoder.dtype)
        proxy = None
        if settings.attention == "proxy" and self.proxy_model is not None:
            own = patch_grid(*size, settings.shorter_side, self.proxy_model.patch_size)
            proxy = resize_features(self.proxy_model.patch_features(image, own), grid)
        source = self.attention_source if settings.compensate else None
        shared = source if isinstance(source, SharedSelfAttention) else None
        features = yield from fuse_early_layers(
            encoder,
            pixels,
            settings,
            proxy,
            keep_block=shared.block if shared else None,
            keep_layers=inspect,
        )
        sliding = None
        if settings.sliding_crop:

            def encode_crop(pixels: Tensor, window: Window) -> Steps[FusedFeatures]:
                cut = proxy[window] if proxy is not None else None
                return fuse_early_layers(encoder, pixels, settings, cut)

            sliding = yield from encode_crops(
                pixels,
                encoder.patch_size,
                settings.sliding_crop,
                settings.sliding_stride,
                encode_crop,
            )
        compensation = None
        maps: Maps | None = None
        if features.block_attention is not None:
            maps = WholeMaps(features.block_attention)
            compensation = prepare(maps, grid, settings)
        elif isinstance(source, AttentionSource):
            maps, own_grid = yield from source.attention_maps(image)
            compensation = source.prepare(maps, own_grid, settings)
        units = F.normalize(features.embeddings[:, 1:], dim=-1)
        inspection = None
        if features.layer_embeddings is not None:
            every = F.normalize(features.layer_embeddings[:, 1:], dim=-1)
            inspection = Inspection(features.layer_attention, every, maps)
        return Encoding(
            size, grid, units, features.attention, settings, compensation, sliding, inspection
        )

    def encode_text(self, prompts: Sequence[str], templates: Sequence[str]) -> Steps[Tensor]:
        """Text embeddings, (n, D), each of length 1; see `text.encode_prompts`.

        Raises
        ------
        NapariCliperError
            If a prompt is too long for the text tower.
        """
        yield Step("Reading the words")
        return encode_prompts(self.text_encoder, prompts, templates)

    @torch.no_grad()
    def score(self, encoding: Encoding, classes: Tensor, background: Tensor) -> Scores:
        """Compare a picture with words.

        Parameters
        ----------
        encoding : Encoding
        classes : (C, D)
        background : (B, D), B may be 0
        """
        rows = text_rows(classes, background).to(encoding.embeddings)
        coarse = self._coarse(encoding, rows, len(classes)).unflatten(1, encoding.grid)
        refined = encoding.compensation.refine(coarse) if encoding.compensation else coarse
        return Scores(encoding.size, coarse, refined, labelling.presence(coarse, refined))

    def _coarse(self, encoding: Encoding, rows: Tensor, count: int) -> Tensor:
        """The coarse maps of the first `count` rows, (C, h * w)."""
        settings = self.settings
        if settings.variant == "paper":
            return mean_similarity(encoding.embeddings, rows, count)
        scale = settings.logit_scale
        probabilities = class_probabilities(encoding.embeddings, rows, count, scale)
        if encoding.sliding is not None:
            sliding = sliding_probabilities(
                encoding.sliding.embeddings, encoding.sliding.attention, rows, count, scale
            )
            probabilities = (probabilities + sliding) / 2
        return coarse_map(probabilities, encoding.attention, settings)

    @torch.no_grad()
    def label(
        self,
        scores: Scores,
        presence_threshold: float | None = None,
        background_threshold: float | None = None,
        present: Tensor | None = None,
    ) -> Segmentation:
        """Turn scores into label maps; None takes the settings' threshold.

        Parameters
        ----------
        scores : Scores
        presence_threshold, background_threshold : float in [0, 1] or None
        present : (C,) bool or None
            Which classes are known to be in the picture: only these are labelled, and their
            presence is not thresholded.
        """
        thresholds = self.thresholds(presence_threshold, background_threshold)
        refined, coarse = scores.labeller(self.settings), scores.coarse_labeller(self.settings)
        return Segmentation(refined.labels(thresholds, present), coarse.labels(thresholds, present))

    def thresholds(
        self, presence: float | None = None, background: float | None = None
    ) -> Thresholds:
        """Thresholds, where None takes the settings'."""
        return Thresholds(
            self.settings.presence_threshold if presence is None else presence,
            self.settings.background_threshold if background is None else background,
        )
