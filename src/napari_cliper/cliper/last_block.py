"""What the image tower's last block attends to in place of its own attention, layer by layer.

Section 3.3 of the paper, equations 4 to 7, and what it is compared with.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_cliper.cliper.image_tower import (
    head_groups,
    project_heads,
    room_for_heads,
    similarity,
)
from napari_cliper.cliper.settings import LastBlockAttention, Settings

# Which of queries, keys and values are compared; the softmaxes of several pairs are added.
_PAIRS: dict[LastBlockAttention, list[tuple[int, int]]] = {
    "query-query": [(0, 0)],
    "key-key": [(1, 1)],
    "value-value": [(2, 2)],
    "query-query+key-key": [(0, 0), (1, 1)],
    "vanilla": [(0, 1)],
}


@dataclass
class BalancedAttention:
    """The early blocks' summed attention, balanced round by round: Sinkhorn's iteration.

    The balanced matrix is kept as diag(rows) · summed · diag(columns), so that a round only reads
    `summed` twice, and the matrix itself is formed for the layers that want it.

    Attributes
    ----------
    summed : (heads, T, T) float, positive
        Of blocks 1 to N-1.
    rows, columns : (heads, T) float
    """

    summed: Tensor
    rows: Tensor
    columns: Tensor

    @classmethod
    def of(cls, summed: Tensor, blocks: int) -> "BalancedAttention":
        """Before the first round."""
        ones = summed.new_ones(summed.shape[:2])
        return cls(summed, ones, ones)

    def next_round(self) -> None:
        """Divide by the column sums, then by the row sums."""
        self.columns = 1 / (self.rows[:, None] @ self.summed)[:, 0]
        self.rows = 1 / (self.summed @ self.columns[..., None])[..., 0]

    def weights(self) -> Tensor:
        """W: the symmetric part, less its column means, negatives cut off, rows summing to 1.

        Returns
        -------
        (heads, T, T) float
        """
        balanced = self.summed * self.columns[:, None]
        balanced *= self.rows[..., None]
        # Twice the symmetric part, which the sums of the rows divide again.
        weights = balanced + balanced.transpose(-1, -2)
        weights -= weights.mean(dim=-2, keepdim=True)
        weights.relu_()
        return weights.div_(weights.sum(dim=-1, keepdim=True))


@dataclass(frozen=True)
class MeanAttention:
    """The early blocks' attention as the paper has it: A = (1/N) Σ_{n<N} Aⁿ, for every layer.

    Attributes
    ----------
    mean : (heads, T, T) float
        Its rows sum to (N-1)/N.
    """

    mean: Tensor

    @classmethod
    def of(cls, summed: Tensor, blocks: int) -> "MeanAttention":
        """From the sum over blocks 1 to N-1, N being `blocks`."""
        return cls(summed / blocks)

    def next_round(self) -> None:
        """Nothing changes from layer to layer."""

    def weights(self) -> Tensor:
        """A, (heads, T, T) float."""
        return self.mean


FusedAttention: TypeAlias = BalancedAttention | MeanAttention


def proxy_weights(features: Tensor) -> Tensor:
    """Attention from another vision model's patch features (METHOD step 6, as in step 2).

    Parameters
    ----------
    features : (h, w, d), resized to the image tower's patches

    Returns
    -------
    (1 + h * w, 1 + h * w): a patch's row sums to 1; the class token attends to nothing.
    """
    units = F.normalize(features.flatten(0, 1), dim=-1)
    likeness = units @ units.T
    return F.pad(keep_alike(likeness - likeness.mean()), (1, 0, 1, 0))


def keep_alike(likeness: Tensor) -> Tensor:
    """Softmax over what is not negative: (P, P) to (P, P), rows sum to 1.

    A place always keeps itself. In a picture that is alike all over, such as a page of text, it may
    have nothing else, where the reference implementation divides by zero.
    """
    kept = likeness >= 0
    kept.fill_diagonal_(True)
    return likeness.masked_fill(~kept, float("-inf")).softmax(dim=-1)


# W_k of some heads for one layer after the other, each (n, T, T).
WeightsOf: TypeAlias = Callable[[slice], Iterator[Tensor]]


def _fused(fused_of: Callable[[slice], FusedAttention], needed: Sequence[int]) -> WeightsOf:
    """The early blocks' attention; what it is for a layer follows from the layer before."""

    def weights(heads: slice) -> Iterator[Tensor]:
        fused = fused_of(heads)
        for layer in range(max(needed) + 1):
            fused.next_round()
            if layer in needed:
                yield fused.weights()

    return weights


def _shared(weights: Tensor, layers: int, heads: int) -> WeightsOf:
    """The same for all heads and layers."""
    every = weights.expand(heads, -1, -1)
    return lambda some: repeat(every[some], layers)


def _compared(projected: Sequence[Tensor], pairs: Sequence[tuple[int, int]]) -> WeightsOf:
    """From queries, keys and values, each (K, heads, T, d)."""

    def weights(heads: slice) -> Iterator[Tensor]:
        for parts in zip(*(part[:, heads] for part in projected), strict=True):
            likeness = [similarity(parts[left], parts[right]) for left, right in pairs]
            yield likeness[0] if len(likeness) == 1 else torch.stack(likeness).sum(dim=0)

    return weights


def mix(weights_of: WeightsOf, values: Tensor) -> tuple[Tensor, Tensor]:
    """Mix each layer's values by its weights.

    Parameters
    ----------
    weights_of : callable
    values : (K, heads, T, d)

    Returns
    -------
    mixed : (K, heads, T, d)
    mean : (T, T) float32
        The last layer's weights, mean over heads.
    """
    heads, places = values.shape[1:3]
    mixed = room_for_heads(values)
    summed = torch.zeros(places, places, device=values.device)
    for some in head_groups(values):
        weights = summed[None]
        for layer, weights in enumerate(weights_of(some)):
            torch.matmul(weights.to(values.dtype), values[layer, some], out=mixed[layer, some])
        summed += weights.sum(dim=0)
    return mixed, summed.div_(heads)


def attend_by_layer(
    attention: Any,
    normalised: Tensor,
    needed: Sequence[int],
    settings: Settings,
    fused: Callable[[slice], FusedAttention],
    proxy: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Let the last block's attention mix each layer's tokens by W_k.

    Parameters
    ----------
    attention : torch.nn.MultiheadAttention
        The last block's.
    normalised : (K, T, width) float32
        The layers' tokens.
    needed : sequence of K int
        Which layers they are, counted from 0, ascending.
    settings : Settings
        Its attention.
    fused : callable
        Some heads to the early blocks' attention before the first layer; for "fused" only.
    proxy : (T, T) float or None
        For "proxy".

    Returns
    -------
    mixed : (K, heads, T, d)
        Not yet merged.
    mean : (T, T) float32
        The last layer's W, mean over heads.
    """
    kind = settings.attention
    pairs = _PAIRS.get(kind)
    # One product for all layers; only some compare tokens, and need queries or keys.
    projected = project_heads(attention, normalised, slice(0 if pairs else 2, 3))
    values = projected[-1]
    if pairs is not None:
        weights = _compared(projected, pairs)
    elif kind == "fused":
        weights = _fused(fused, needed)
    elif kind == "identity":
        weights = _shared(torch.eye(values.shape[2], device=values.device), *values.shape[:2])
    elif proxy is not None:
        weights = _shared(proxy, *values.shape[:2])
    else:
        raise ValueError("proxy attention needs another vision model's patch features")
    return mix(weights, values)
