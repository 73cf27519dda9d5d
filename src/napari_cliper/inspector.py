"""Look into an encoding: where a point's attention goes, and what each layer sees.

>>> import napari_cliper as nc
>>> from napari_cliper.inspector import Inspector
>>> model = nc.load("small")  # doctest: +SKIP
>>> inspector = Inspector(model.encode(image, inspect=True))  # doctest: +SKIP
>>> inspector.at((120, 200), "Compensation, fused")  # doctest: +SKIP
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_cliper.cliper import Encoding
from napari_cliper.cliper.inspection import (
    AttentionView,
    attention_views,
    layer_colors,
    layer_similarity,
    place_of,
)
from napari_cliper.errors import NapariCliperError

__all__ = ["AttentionView", "Inspector"]

Point = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Inspector:
    """What can be seen in an encoding, as numpy arrays; see `cliper.inspection`.

    A point is (y, x) in pixels of the picture, whole numbers being the pixels' centres as in
    napari; outside the picture it counts as on the border.

    Attributes
    ----------
    encoding : Encoding
        Made with `inspect=True`, for the attention of each layer and head too.
    """

    encoding: Encoding = field(repr=False)

    @cached_property
    def views(self) -> tuple[AttentionView, ...]:
        """The attention there is to look at: names, groups and grids."""
        return tuple(attention_views(self.encoding))

    def at(self, point: Point, view: str) -> NDArray[np.float32]:
        """Where a point's attention goes.

        Parameters
        ----------
        point : (y, x)
        view : str
            The name of one of `views`.

        Returns
        -------
        (gh, gw) float32

        Raises
        ------
        NapariCliperError
            If there is no such view, or the point is not finite.
        """
        chosen = [each for each in self.views if each.name == view]
        return self._rows(point, chosen, view).squeeze(0)

    def stack_at(self, point: Point, group: str) -> NDArray[np.float32]:
        """Where a point's attention goes in all views of a group, in their order.

        Parameters
        ----------
        point : (y, x)
        group : str
            The group of some of `views`.

        Returns
        -------
        (n, gh, gw) float32

        Raises
        ------
        NapariCliperError
            If there is no such group, or the point is not finite.
        """
        chosen = [each for each in self.views if each.group == group]
        return self._rows(point, chosen, group)

    def colors(self) -> NDArray[np.float32]:
        """Each of the K layers' patch embeddings as colours, (K, h, w, 3) in [0, 1]."""
        return _numpy(layer_colors(self.encoding))

    def similarity(self, point: Point) -> NDArray[np.float32]:
        """How alike a point in each of the K layers is to all places in the last, (K, h, w).

        Raises
        ------
        NapariCliperError
            If the point is not finite.
        """
        place = self._place(point, self.encoding.grid)
        return _numpy(layer_similarity(self.encoding, place))

    def received(self) -> NDArray[np.float32]:
        """How much attention each place receives, 1 on average: (gh, gw)."""
        return _numpy(self.encoding.received())

    def stretch(self, grid: tuple[int, int]) -> tuple[float, float]:
        """Pixels of the picture that a place of a grid is high and wide.

        A napari layer of such a grid lies over the picture with this as its scale, moved by half
        of what this is more than 1.
        """
        height, width = self.encoding.size
        return height / grid[0], width / grid[1]

    def _rows(
        self, point: Point, views: Sequence[AttentionView], wanted: str
    ) -> NDArray[np.float32]:
        if not views:
            raise NapariCliperError(f"There is no attention “{wanted}” here: {self._advice()}.")
        grid = views[0].grid
        place = self._place(point, grid)
        return _numpy(torch.stack([view.row(place) for view in views]).reshape(-1, *grid))

    def _advice(self) -> str:
        if self.encoding.inspection is None:
            return "encode the picture with inspect=True to see every layer and head"
        return "choose a name or a group from the inspector's views"

    def _place(self, point: Point, grid: tuple[int, int]) -> int:
        try:
            at = np.asarray(point, float)
        except (TypeError, ValueError):  # no numbers
            at = np.empty(0)
        if at.shape != (2,) or not np.isfinite(at).all():
            raise NapariCliperError(
                f"{point} is no point of the picture: give two finite numbers, y and x in pixels."
            )
        return place_of(point, self.encoding.size, grid)


def _numpy(tensor: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.float().cpu().numpy()
    return array
