"""Several methods' masks of one picture, a field each, in napari's grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.layers import Layer

from napari_cliper.widgets.layers import ResultLayer, show
from napari_cliper.widgets.masks import show_mask

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_cliper.annotation.class_list import ClassList
    from napari_cliper.widgets.planes import Plane

LINKED = ("opacity", "contour", "blending")


class SideBySide:
    """Puts pairs of layers, the picture and one method's mask, into fields of napari's grid.

    Each lies where the picture lies; opacity, contour and blending of the masks are linked.
    """

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._pairs: list[tuple[Layer, Layer]] = []
        self._hidden: list[Layer] = []
        self._grid: tuple[bool, int] | None = None

    def take(self, plane: Plane, items: list[ResultLayer], classes: ClassList) -> None:
        """Show a pair of layers for each mask; those of an earlier comparison are taken again."""
        layers = self._viewer.layers
        self._pairs = []
        for item in items:
            ground = show(self._viewer, plane, _ground(plane, item))
            mask = show_mask(self._viewer, plane, item, classes).layer
            for layer in (ground, mask):
                layers.move(layers.index(layer), len(layers))
            self._pairs.append((ground, mask))
        layers.link_layers([mask for _, mask in self._pairs], LINKED)

    def show(self, wanted: bool) -> None:
        """Show the fields and nothing else; or all that was shown before, and no fields."""
        grid = self._viewer.canvas.grid
        ours = {layer for pair in self._pairs for layer in pair}
        if wanted:
            self._grid = grid.enabled, grid.stride
            self._hidden = [
                layer for layer in self._viewer.layers if layer.visible and layer not in ours
            ]
            for layer in self._hidden:
                layer.visible = False
            for layer in ours & set(self._viewer.layers):
                layer.visible = True
            grid.stride = -2  # pairs from the topmost layer on
            grid.enabled = True
        elif self._grid is not None:
            for layer in self._hidden:
                layer.visible = True
            for layer in ours & set(self._viewer.layers):
                layer.visible = False
            grid.enabled, grid.stride = self._grid
            self._grid, self._hidden = None, []


def _ground(plane: Plane, item: ResultLayer) -> ResultLayer:
    """The picture once more, to lie below a mask; its pixels are not copied."""
    first = {"rgb": True} if plane.rgb else {"contrast_limits": plane.contrast_limits}
    return ResultLayer(item.role.removeprefix("by "), plane.data[plane.index], first=first)
