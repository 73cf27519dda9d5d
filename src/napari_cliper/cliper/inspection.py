"""The attention that the method uses, place by place, and what its layers see (figures 2 and 3)."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TypeAlias

import torch
from torch import Tensor

from napari_cliper.cliper.compact_maps import row_groups
from napari_cliper.cliper.compensation import Compensation, Maps, prepare_rows
from napari_cliper.cliper.last_block import BalancedAttention
from napari_cliper.cliper.pipeline import Encoding, Inspection

Row: TypeAlias = Callable[[int], Tensor]

_LEAST_ATTENTION = 2.0**-25  # half of the least that float16 can tell from nothing
_LEAST_CONTRAST = 1e-3  # of unit embeddings; what varies less is shown as even


@dataclass(frozen=True)
class AttentionView:
    """One attention matrix to look at.

    Attributes
    ----------
    name : str
        Unique among a picture's views.
    group : str
        Views of one group have one grid, and are worth looking at side by side.
    grid : (gh, gw)
    row : callable
        Place in the grid, counted row by row, to where its attention goes, (gh * gw,) float32.
    """

    name: str
    group: str
    grid: tuple[int, int]
    row: Row = field(repr=False)


def attention_views(encoding: Encoding) -> list[AttentionView]:
    """All there is to look at of one picture.

    Always: the compensation as it is applied, A_f (eq. 10), and Ā, the last block's attention
    (METHOD step 4). Where the compensation keeps its heads' maps, these too.

    With `encoding.inspection` also each head's map before and after it is prepared (eq. 9), each
    layer's self-attention, and, for the reference variant, each layer's by itself after one round
    of the normalisation that makes Ā of their sum (METHOD step 2), and their mean before it. The
    layers are the mean over heads, where the method normalises each head. The paper's equations
    prepare and normalise nothing: Ā is the layers' sum divided by N.

    A row sums to 1 where all places share it; to less where the class token has its share, as in
    the encoder and in a vision transformer's raw maps; to 0 where nothing passed the threshold.
    With attention other than "fused" Ā is that attention, and named after it.
    """
    return [*_compensation_views(encoding), *_encoder_views(encoding)]


def place_of(point: tuple[float, float], size: tuple[int, int], grid: tuple[int, int]) -> int:
    """The place of a grid that a point of the picture lies in, counted row by row.

    Parameters
    ----------
    point : (y, x)
        In pixels; whole numbers are the pixels' centres. Points outside belong to the border.
    size : (H, W)
        Of the picture.
    grid : (gh, gw)
    """
    row, column = (
        min(max(int((at + 0.5) / side * places), 0), places - 1)
        for at, side, places in zip(point, size, grid, strict=True)
    )
    return row * grid[1] + column


def layer_similarity(encoding: Encoding, place: int) -> Tensor:
    """How alike one place in each layer is to every place in the last layer (figure 2).

    Of all layers if the encoding is to be inspected, else of those that were needed.

    Returns
    -------
    (K, h, w) float, cosines
    """
    units = _embeddings(encoding)
    return (units[:, place] @ units[-1].T).reshape(-1, *encoding.grid)


def layer_colors(encoding: Encoding) -> Tensor:
    """Each layer's patch embeddings as colours: alike places have like colours.

    The three principal components of a layer become red, green and blue. Those of the last layer
    have the sign that makes their largest entry positive; each layer before is turned, within its
    three components, to be as like the layer after it as it can be. The middle 98 % of a colour's
    values span [0, 1]; what hardly varies is grey. The layers are those of `layer_similarity`.

    Returns
    -------
    (K, h, w, 3) float32, in [0, 1]
    """
    scores = _principal_scores(_embeddings(encoding).float())
    for layer in reversed(range(len(scores) - 1)):
        scores[layer] = _turned(scores[layer], like=scores[layer + 1])
    ordered = scores.sort(dim=1).values
    low, high = _quantile(ordered, 0.01), _quantile(ordered, 0.99)
    contrast = (high - low).clamp_min(_LEAST_CONTRAST)
    colors = (scores - (low + high) / 2) / contrast + 0.5
    return colors.clamp_(0, 1).reshape(-1, *encoding.grid, 3)


def _quantile(ordered: Tensor, share: float) -> Tensor:
    """Of values in order, (K, P, n) to (K, 1, n); torch's own needs float64, which MPS has not."""
    at = share * (ordered.shape[1] - 1)
    below, above = ordered[:, int(at), None], ordered[:, math.ceil(at), None]
    return below.lerp(above, at - int(at))


def _embeddings(encoding: Encoding) -> Tensor:
    inspection = encoding.inspection
    return encoding.embeddings if inspection is None else inspection.embeddings


def _principal_scores(units: Tensor) -> Tensor:
    """Every layer's first three principal components, (K, P, D) to (K, P, 3).

    By subspace iteration from 16 places all over the picture, after six rounds exact up to
    rounding; to compute all D components takes minutes on a busy processor.
    """
    centred = units - units.mean(dim=1, keepdim=True)
    places = torch.linspace(0, units.shape[1] - 1, 16).long()
    basis = centred[:, places].mT
    for _ in range(6):
        basis = centred.mT @ (centred @ torch.linalg.qr(basis).Q)
    basis = torch.linalg.qr(basis).Q
    _, vectors = torch.linalg.eigh(basis.mT @ (centred.mT @ (centred @ basis)))
    components: Tensor = basis @ vectors[..., -3:].flip(-1)
    largest = components.abs().argmax(dim=1, keepdim=True)
    components = components * components.gather(1, largest).sign()
    return centred @ components


def _turned(scores: Tensor, like: Tensor) -> Tensor:
    """(P, 3) scores, turned or mirrored to correlate best with others: Procrustes' problem."""
    left, _, right = torch.linalg.svd(scores.T @ like)
    turn: Tensor = left @ right
    return scores @ turn


@dataclass(frozen=True)
class _Head:
    """One of a compensation source's raw maps."""

    maps: Maps
    index: int

    def row(self, place: int) -> Tensor:
        return self.maps.rows(self.index, slice(place, place + 1))[0]

    def prepared(self, threshold: float, place: int) -> Tensor:
        return prepare_rows(self.row(place)[None], self._column_maxima, threshold)[0]

    @cached_property
    def _column_maxima(self) -> Tensor:
        groups = row_groups(self.maps.places, self.maps.device)
        maxima = [self.maps.rows(self.index, rows).amax(dim=0) for rows in groups]
        return torch.stack(maxima).amax(dim=0)


@dataclass(frozen=True)
class _Layer:
    """Self-attention of one of the encoder's layers, (T, T) float16, class token first."""

    attention: Tensor

    def row(self, place: int) -> Tensor:
        return self.attention[1 + place, 1:].float()

    def normalised(self, place: int) -> Tensor:
        return self._normalised[1 + place, 1:].float()

    @cached_property
    def _normalised(self) -> Tensor:
        # A column of nothing but what float16 rounds to 0 has no sum to divide by, and a row that
        # is nowhere above its columns' means neither: it attends to nothing.
        positive = self.attention.float().clamp_min(_LEAST_ATTENTION)
        balanced = BalancedAttention.of(positive[None], blocks=2)
        balanced.next_round()
        return balanced.weights()[0].nan_to_num_().half()


def _alone(name: str, grid: tuple[int, int], row: Row) -> AttentionView:
    """A view that is a group of its own."""
    return AttentionView(name, name, grid, row)


def _compensation_views(encoding: Encoding) -> Iterator[AttentionView]:
    compensation = encoding.compensation
    if compensation is None:
        return
    grid = compensation.grid
    yield _alone("Compensation, fused", grid, compensation.row)
    names = _head_names(compensation.heads)
    for state, rows in _head_rows(compensation, encoding.inspection).items():
        group = f"Compensation, each head, {state}"
        for name, row in zip(names, rows, strict=True):
            yield AttentionView(f"Compensation, {name}, {state}", group, grid, row)


def _head_rows(
    compensation: Compensation, inspection: Inspection | None
) -> dict[str, Sequence[Row]]:
    """Rows of all heads, by the states in which they are to be had."""
    count, threshold = sum(compensation.heads), compensation.threshold
    raw: list[_Head] = []
    if inspection is not None and inspection.maps is not None:
        raw = [_Head(inspection.maps, index) for index in range(count)]
    states: dict[str, Sequence[Row]] = {"raw": [head.row for head in raw]}
    if threshold is not None:
        states = {"prepared": [partial(head.prepared, threshold) for head in raw], **states}
    if len(compensation.maps) == count:  # they are the heads' own, not fused into one
        applied = "raw" if threshold is None else "prepared"
        states[applied] = [partial(compensation.maps.row, index) for index in range(count)]
    return {state: rows for state, rows in states.items() if rows}


def _head_names(heads: tuple[int, ...]) -> list[str]:
    """Names of every layer's heads, counted from 1; one layer needs no number."""
    return [
        f"layer {layer}, head {head}" if len(heads) > 1 else f"head {head}"
        for layer, count in enumerate(heads, start=1)
        for head in range(1, count + 1)
    ]


def _encoder_views(encoding: Encoding) -> Iterator[AttentionView]:
    grid, settings = encoding.grid, encoding.settings
    yield _alone(f"Encoder, {settings.attention} (Ā)", grid, encoding.attention.__getitem__)
    if encoding.inspection is None:
        return
    layers = [_Layer(attention) for attention in encoding.inspection.layers]
    states: dict[str, list[Row]] = {"": [layer.row for layer in layers]}
    if settings.variant == "reference":
        yield _alone("Encoder, all layers, before normalisation", grid, partial(_mean_row, layers))
        states[", normalised"] = [layer.normalised for layer in layers]
    for state, rows in states.items():
        for number, row in enumerate(rows, start=1):
            name, group = f"Encoder, layer {number}{state}", f"Encoder, each layer{state}"
            yield AttentionView(name, group, grid, row)


def _mean_row(layers: Sequence[_Layer], place: int) -> Tensor:
    return torch.stack([layer.row(place) for layer in layers]).mean(dim=0)
