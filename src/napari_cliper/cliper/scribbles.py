"""A few strokes by a person, carried along the attention maps: a correction without a model run."""

from dataclasses import dataclass

import torch
from torch import Tensor

from napari_cliper.cliper.coarse import resize_maps
from napari_cliper.cliper.compensation import Compensation


@dataclass(frozen=True, eq=False)
class Scribbles:
    """Strokes on a picture, and where they reach.

    Attributes
    ----------
    pixels : (n,) int64
        Flat indices of the stroked pixels.
    labels : (n,) int64
        What each was stroked with: 0 background, i + 1 the i-th class.
    reach : (1 + C, gh, gw) float32 in [0, 1]
        How far the strokes of the background and of each class carry: 1 where they carry furthest,
        0 everywhere where there are none.
    """

    pixels: Tensor
    labels: Tensor
    reach: Tensor

    @property
    def stroked(self) -> Tensor:
        """Which classes have a stroke, (C,) bool."""
        return self.reach.new_zeros(len(self.reach), dtype=torch.bool).index_fill(
            0, self.labels, True
        )[1:]

    def corrected(self, scores: Tensor, present: Tensor) -> Tensor:
        """Scores that have heard the strokes.

        S'_c = w_c · S_c + r_c − max over k ≠ c of r_k, where r is the reach and k may be the
        background; w_c is 1 for a class that is present, else r_c. So a stroke speaks for its class
        and against all others, one of the background against all; what no stroke reaches stays as
        it is; and a class that strokes have brought in counts only as far as they reach.

        Parameters
        ----------
        scores : (C, h, w) float32
        present : (C,) bool
            Which classes would be labelled without strokes.

        Returns
        -------
        (C, h, w) float32
        """
        reach = resize_maps(self.reach, (scores.shape[1], scores.shape[2]))
        (most, second), (winner, _) = reach.topk(2, dim=0)
        own = torch.arange(1, len(reach), device=reach.device)[:, None, None]
        others = torch.where(winner == own, second, most)
        weight = reach[1:].masked_fill(present[:, None, None], 1)
        return weight * scores + reach[1:] - others


def scribbles(
    strokes: Tensor,
    classes: int,
    attention: Tensor,
    grid: tuple[int, int],
    compensation: Compensation | None,
) -> Scribbles:
    """Carry strokes along a picture's attention maps.

    The seeds s_k are each place's share of pixels stroked with k. With all of them added to the
    class scores, refined maps would be A_f · (coarse + s) = A_f · coarse + A_f · s (eq. 10 is
    linear), so only the seeds are multiplied. What is spread so is kept where Ā, by which the
    coarse map is spread (METHOD step 4), carries the seeds too: r_k = (A_f · s_k) ∘ (s_k · Ā), each
    divided by its maximum, and the product too. One pass of A_f alone reaches too much that is
    merely alike.

    Parameters
    ----------
    strokes : (H, W) int
        -1 where there is none, 0 background, i + 1 the i-th class.
    classes : int
        C.
    attention : (h * w, h * w) float
        Ā.
    grid : (h, w)
    compensation : Compensation or None
        A_f; without, the reach is what Ā carries.
    """
    pixels = (strokes.flatten() >= 0).nonzero()[:, 0]
    labels = strokes.flatten()[pixels].long()
    kinds = labels.unique()
    size = strokes.shape[0], strokes.shape[1]

    def seeds(grid: tuple[int, int]) -> Tensor:
        return _seeds(pixels, labels, kinds, size, grid)

    own = grid if compensation is None else compensation.grid
    reach = torch.zeros(1 + classes, *own, device=attention.device)
    if len(kinds) > 0:
        carried = seeds(grid).flatten(1).to(attention) @ attention
        spread = _to_one(carried.reshape(-1, *grid))
        if compensation is not None:
            refined = compensation.refine(seeds(own))
            spread = _to_one(_to_one(refined) * resize_maps(spread, own))
        reach[kinds] = spread
    return Scribbles(pixels, labels, reach)


def _seeds(
    pixels: Tensor, labels: Tensor, kinds: Tensor, size: tuple[int, int], grid: tuple[int, int]
) -> Tensor:
    """How much of each place is stroked with each of these labels, (kinds, gh, gw) in [0, 1]."""
    rows, columns = pixels // size[1], pixels % size[1]
    places = rows * grid[0] // size[0] * grid[1] + columns * grid[1] // size[1]
    counts = [torch.bincount(places[labels == kind], minlength=grid[0] * grid[1]) for kind in kinds]
    return _to_one(torch.stack(counts).reshape(-1, *grid))


def _to_one(maps: Tensor) -> Tensor:
    """Each map divided by its maximum, (n, gh, gw) float32; one of zeros stays so."""
    maps = maps.float()
    tiny = torch.finfo(maps.dtype).tiny
    return maps / maps.amax(dim=(1, 2), keepdim=True).clamp_min(tiny)
