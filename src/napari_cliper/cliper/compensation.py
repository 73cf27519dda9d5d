"""Fine-grained compensation: self-attention maps become an operator that refines a coarse map.

Section 3.4 of the paper, equations 9 and 10, as the reference implementation computes them or, as a
variant, as they stand.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from napari_cliper.cliper.coarse import resize_maps
from napari_cliper.cliper.compact_maps import CompactMaps, row_groups
from napari_cliper.cliper.image_tower import (
    ImageEncoder,
    embed_patches,
    project_heads,
    run_blocks,
    similarity,
)
from napari_cliper.cliper.last_block import keep_alike
from napari_cliper.cliper.preprocessing import send, to_pixels
from napari_cliper.cliper.settings import Settings
from napari_cliper.cliper.steps import Step, Steps
from napari_cliper.errors import NapariCliperError

COMPENSATION_STEP = "Reading self-attention"
QUERIES_AND_KEYS = slice(0, 2)


@dataclass(frozen=True)
class Compensation:
    """An operator on maps over a grid of places.

    Attributes
    ----------
    maps : CompactMaps
        n matrices (gh * gw, gh * gw), prepared by `prepare_maps`.
    grid : (gh, gw)
    heads : tuple of int
        How many heads of each layer it was prepared from; empty if not from heads. With "product"
        fusion the maps are theirs, one after the other.
    threshold : float in [0, 1] or None
        What `prepare_rows` was given; None if raw maps were taken as they are.
    """

    maps: CompactMaps
    grid: tuple[int, int]
    heads: tuple[int, ...] = ()
    threshold: float | None = None

    def refine(self, coarse: Tensor) -> Tensor:
        """Refined = A_0 · A_1 · … · coarse (eq. 10), from the right, so no product is formed.

        Parameters
        ----------
        coarse : (C, h, w) float

        Returns
        -------
        (C, gh, gw) float
        """
        columns = resize_maps(coarse, self.grid).flatten(1).float().T.contiguous()
        return self.maps.times(columns).T.reshape(-1, *self.grid)

    def received(self) -> Tensor:
        """How much of all places' attention each place receives, (gh, gw): 1ᵀ · A_0 · A_1 · …."""
        ones = torch.ones(math.prod(self.grid), device=self.maps.device)
        return self.maps.carry(ones).reshape(self.grid)

    def row(self, place: int) -> Tensor:
        """Where one place's attention goes, (gh * gw,): its row of A_f = A_0 · A_1 · …."""
        return self.maps.carry(self.maps.row(0, place), first=1)


class Maps(Protocol):
    """Raw attention maps, each (P, P) float32 and non-negative.

    Their rows are made when they are asked for, so that they are never all in memory at once.
    """

    @property
    def places(self) -> int:
        """P."""

    @property
    def device(self) -> torch.device:
        """Where the rows are made."""

    @property
    def nbytes(self) -> int:
        """Memory of what they are made from."""

    def __len__(self) -> int:
        """How many there are."""

    def rows(self, index: int, rows: slice) -> Tensor:
        """Some rows of one of them, (r, P) float32."""


@dataclass(frozen=True)
class WholeMaps:
    """Maps that are in memory.

    Attributes
    ----------
    maps : (n, P, P) float
    """

    maps: Tensor

    @property
    def places(self) -> int:
        """P."""
        return self.maps.shape[-1]

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.maps.device

    @property
    def nbytes(self) -> int:
        """Their memory."""
        return self.maps.nbytes

    def __len__(self) -> int:
        """How many there are."""
        return len(self.maps)

    def rows(self, index: int, rows: slice) -> Tensor:
        """Some rows of one of them, (r, P)."""
        return self.maps[index, rows]


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

    @property
    def places(self) -> int:
        """P."""
        return self.queries[0].shape[-2]

    @property
    def device(self) -> torch.device:
        """Where queries and keys are."""
        return self.queries[0].device

    @property
    def nbytes(self) -> int:
        """Memory of queries and keys."""
        return sum(tensor.nbytes for tensor in (*self.queries, *self.keys))

    def rows(self, index: int, rows: slice) -> Tensor:
        """Rows of one head's map, counted through the layers: softmax(q · kᵀ / √d), (r, P)."""
        queries, keys = self._head(index)
        scores = torch.addmm(
            queries.new_empty(()),
            queries[rows],
            keys.T,
            beta=0,  # the first argument gives the type only
            alpha=1 / math.sqrt(queries.shape[-1]),
        )
        return scores.softmax(dim=-1, dtype=torch.float32)

    def _head(self, index: int) -> tuple[Tensor, Tensor]:
        """Queries and keys of one head, each (P, d)."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"there are {len(self)} heads, and no number {index}")
        index %= len(self)
        for queries, keys in zip(self.queries, self.keys, strict=True):
            if index < len(queries):
                return queries[index], keys[index]
            index -= len(queries)
        raise AssertionError


def prepare_rows(rows: Tensor, column_maxima: Tensor, activation_threshold: float) -> Tensor:
    """Make rows of a raw attention map ready to be applied (eq. 9).

    They are divided by the columns' maxima, emptied of what is below the threshold, and divided by
    their sums.

    Parameters
    ----------
    rows : (r, P) float, non-negative
    column_maxima : (P,) float
        Of all the map's rows.
    activation_threshold : float in [0, 1]

    Returns
    -------
    (r, P) float
    """
    prepared = rows / (column_maxima + 1e-5)
    prepared.masked_fill_(prepared < activation_threshold, 0)
    prepared /= prepared.sum(dim=-1, keepdim=True) + 1e-5
    return prepared


def prepared_rows(
    maps: Maps, index: int, activation_threshold: float | None, raw: Tensor
) -> Iterator[tuple[slice, Tensor]]:
    """One map's rows, prepared, some at a time.

    Parameters
    ----------
    maps : Maps
    index : int
    activation_threshold : float in [0, 1], or None to take the map as it is
    raw : (P, P) float32
        Room for the map.
    """
    groups = list(row_groups(maps.places, maps.device))
    if activation_threshold is None:
        yield from ((rows, maps.rows(index, rows)) for rows in groups)
        return
    maxima = raw.new_zeros(maps.places)
    for rows in groups:
        raw[rows] = maps.rows(index, rows)
        torch.maximum(maxima, raw[rows].amax(dim=0), out=maxima)
    for rows in groups:
        yield rows, prepare_rows(raw[rows], maxima, activation_threshold)


def prepare_maps(
    maps: Maps,
    activation_threshold: float | None,
    fusion: Literal["product", "mean"] | int,
) -> CompactMaps:
    """Prepare raw maps one after the other, and fuse them where asked (eq. 10, Table 7).

    Parameters
    ----------
    maps : n raw maps, each (P, P)
    activation_threshold : float in [0, 1], or None to take the maps as they are
    fusion : "product" keeps all maps, to be applied in turn; "mean" averages them; a number
        selects one.

    Returns
    -------
    CompactMaps, n or one
        Besides it, no more than two maps are in memory at a time.
    """
    chosen = [fusion] if isinstance(fusion, int) else range(len(maps))
    raw = torch.empty(maps.places, maps.places, device=maps.device)
    prepared = (prepared_rows(maps, index, activation_threshold, raw) for index in chosen)
    if fusion == "mean":
        mean = torch.zeros_like(raw)
        for parts in prepared:
            for rows, part in parts:
                mean[rows] += part / len(chosen)
        return CompactMaps.of(mean[None])
    compact = CompactMaps.room(len(chosen), maps.places, maps.device)
    for index, parts in enumerate(prepared):
        for rows, part in parts:
            compact.put(index, rows, part)
    return compact


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
    heads = tuple(map(len, maps.queries)) if isinstance(maps, HeadMaps) else (len(maps),)
    return Compensation(prepare_maps(maps, threshold, fusion), grid, heads, threshold)


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

    def prepare(self, maps: Maps, grid: tuple[int, int], settings: Settings) -> Compensation:
        """The operator that the maps of `attention_maps` make."""
        return prepare(maps, grid, settings)

    @torch.no_grad()
    def compensation(self, image: NDArray[np.uint8], settings: Settings) -> Steps[Compensation]:
        """The operator for one (H, W, 3) uint8 picture."""
        return self.prepare(*(yield from self.attention_maps(image)), settings)


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
    def attention_maps(self, image: NDArray[np.uint8]) -> Steps[tuple[Maps, tuple[int, int]]]:
        """Maps of the block's heads; see `AttentionSource`."""
        encoder = self.encoder
        pixels = to_pixels(image, self.grid, encoder.patch_size, encoder.mean, encoder.std)
        total = self.block + 1
        yield Step(COMPENSATION_STEP, 0, total)
        tokens = embed_patches(encoder.visual, send(pixels, encoder.device, encoder.dtype))
        earlier = islice(run_blocks(encoder.visual, tokens), self.block)
        for done, (_, output) in enumerate(earlier, start=1):
            tokens = output
            yield Step(COMPENSATION_STEP, done, total)
        chosen = encoder.visual.transformer.resblocks[self.block]
        queries, keys = project_heads(chosen.attn, chosen.ln_1(tokens), QUERIES_AND_KEYS)
        return WholeMaps(similarity(queries[0, :, 1:], keys[0])[..., 1:]), self.grid


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

    def attention_maps(self, image: NDArray[np.uint8]) -> Steps[tuple[Maps, tuple[int, int]]]:
        """The one affinity map; see `AttentionSource`."""
        yield Step(COMPENSATION_STEP)
        features = self.patch_features(image)
        return WholeMaps(affinity_map(features)), (features.shape[0], features.shape[1])

    def prepare(self, maps: Maps, grid: tuple[int, int], settings: Settings) -> Compensation:
        """The affinity map as it is: its softmax has prepared it."""
        return Compensation(prepare_maps(maps, None, 0), grid)
