"""Attention matrices kept in half the memory."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_cliper.cliper.pieces import FLOAT, pieces


def row_groups(places: int, device: torch.device) -> Iterator[slice]:
    """Which rows of a (places, places) matrix are worked on together."""
    return pieces(places, FLOAT * places, device)


@dataclass(frozen=True)
class CompactMaps:
    """Matrices that are not negative. A row is kept as shares of its largest entry.

    Shares lie in [0, 1], where float16 has eleven bits; what it loses is less than a two-thousandth
    of an entry, or a millionth of the row's largest.

    Attributes
    ----------
    shares : (n, P, P) float16, in [0, 1]
    scale : (n, P) float32
        What each row's shares are multiplied with.
    """

    shares: Tensor
    scale: Tensor

    @classmethod
    def room(cls, count: int, places: int, device: torch.device) -> "CompactMaps":
        """For `put` to fill."""
        shares = torch.empty(count, places, places, dtype=torch.float16, device=device)
        return cls(shares, torch.empty(count, places, device=device))

    @classmethod
    def of(cls, maps: Tensor) -> "CompactMaps":
        """From (n, P, P) float."""
        compact = cls.room(len(maps), maps.shape[-1], maps.device)
        for index, map_ in enumerate(maps):
            for rows in compact._rows():
                compact.put(index, rows, map_[rows])
        return compact

    def put(self, index: int, rows: slice, values: Tensor) -> None:
        """Write some rows of one matrix, (r, P) float."""
        tiny = torch.finfo(torch.float32).tiny
        shares = (values / values.amax(dim=-1, keepdim=True).clamp_min(tiny)).half()
        self.shares[index, rows] = shares
        # So that a row's sum is what it was.
        self.scale[index, rows] = values.sum(dim=-1) / shares.float().sum(dim=-1).clamp_min(tiny)

    def __len__(self) -> int:
        """How many matrices."""
        return len(self.shares)

    @property
    def nbytes(self) -> int:
        """Memory of its tensors."""
        return self.shares.nbytes + self.scale.nbytes

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.shares.device

    def __getitem__(self, index: int) -> Tensor:
        """One matrix, (P, P) float32."""
        return self.shares[index].float() * self.scale[index, :, None]

    def row(self, index: int, place: int) -> Tensor:
        """One row of one matrix, (P,) float32."""
        return self.shares[index, place].float() * self.scale[index, place]

    def times(self, columns: Tensor) -> Tensor:
        """A_0 · A_1 · … · columns, (P, C) float32, from the right: no product is formed."""
        for index in reversed(range(len(self))):
            product = torch.empty_like(columns)
            for rows in self._rows():
                torch.mm(self.shares[index, rows].float(), columns, out=product[rows])
            columns = product.mul_(self.scale[index, :, None])
        return columns

    def carry(self, row: Tensor, first: int = 0) -> Tensor:
        """Row · A_first · A_(first + 1) · …, (P,) to (P,) float32, from the left."""
        for index in range(first, len(self)):
            weighted = row * self.scale[index]
            carried = torch.zeros_like(row)
            for rows in self._rows():
                carried += weighted[rows] @ self.shares[index, rows].float()
            row = carried
        return row

    def _rows(self) -> Iterator[slice]:
        return row_groups(self.shares.shape[-1], self.device)
