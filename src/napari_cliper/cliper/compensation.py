"""Fine-grained compensation: self-attention maps become an operator that refines a coarse map.

Section 3.4 of the paper, equations 9 and 10, as the reference implementation computes them or, as a
variant, as they stand.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

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
    heads : tuple of int
        How many heads of each layer it was prepared from; empty if not from heads. With "product"
        fusion the maps are theirs, one after the other.
    threshold : float in [0, 1] or None
        What `prepare_map` was given; None if raw maps were taken as they are.
    """

    maps: Tensor
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
        columns = resize_maps(coarse, self.grid).flatten(1).T
        for index in reversed(range(len(self.maps))):  # flipping the tensor would copy it
            columns = self.maps[index] @ columns
        return columns.T.reshape(-1, *self.grid)

    def received(self) -> Tensor:
        """How much of all places' attention each place receives, (gh, gw): 1ᵀ · A_0 · A_1 · …."""
        return _chain(self.maps.new_ones(self.maps.shape[-1]), self.maps).reshape(self.grid)

    def row(self, place: int) -> Tensor:
        """Where one place's attention goes, (gh * gw,): its row of A_f = A_0 · A_1 · …."""
        return _chain(self.maps[0, place], self.maps[1:])


def _chain(row: Tensor, maps: Tensor) -> Tensor:
    """A row times A_0 · A_1 · …, from the left, so no product of matrices is formed."""
    for attention in maps:
        row = row @ attention
    return row


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
        return _head_map(*self._head(index))

    def row(self, index: int, place: int) -> Tensor:
        """What one place attends to in one head, (P,) float32; its map is not made."""
        queries, keys = self._head(index)
        return _head_map(queries[place, None], keys)[0]

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
    return prepare_rows(map_, map_.amax(dim=-2), activation_threshold)


def prepare_rows(rows: Tensor, column_maxima: Tensor, activation_threshold: float) -> Tensor:
    """The same for some of a map's rows, (r, P), knowing the maxima of its columns, (P,)."""
    prepared = rows / (column_maxima + 1e-5)
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

    def prepare(self, maps: Maps, grid: tuple[int, int], settings: Settings) -> Compensation:
        """The affinity map as it is: its softmax has prepared it."""
        return Compensation(maps[0][None], grid)
