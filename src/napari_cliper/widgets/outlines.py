"""Outlines over a picture that show and never hold anything: Labels layers nobody can paint on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap
from numpy.typing import NDArray

from napari_cliper.widgets.layers import ResultLayer, add, find, kept_selection, placed, set_changed

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_cliper.widgets.planes import Plane

FINEST = 500  # pixels of a picture's longer side that one pixel of an outline is enough for


def outline(
    viewer: Viewer,
    plane: Plane,
    role: str,
    regions: NDArray[Any],
    colors: dict[int, tuple[float, ...]],
) -> None:
    """Draw the outlines of regions, in place of those with this role.

    Parameters
    ----------
    viewer : Viewer
    plane : Plane
    role : str
    regions : (H, W) unsigned int
        0 for what has no outline.
    colors : dict
        Of each other value: red, green, blue and alpha in [0, 1].
    """
    table: dict[int | None, Any] = {None: "transparent", 0: "transparent"}
    for value, color in colors.items():
        table[value] = color
    colormap = DirectLabelColormap(color_dict=table)
    item = ResultLayer(role, regions, {"colormap": colormap})
    layer = find(viewer, plane, role, regions.shape)
    if layer is None:
        remove(viewer, plane, role)
        with kept_selection(viewer):
            layer = add(viewer, plane, item, Labels)
        layer.contour = max(1, round(max(regions.shape) / FINEST))
        layer.editable = False
    else:
        layer.data = regions
        set_changed(layer, placed(plane, item))
        layer.colormap = colormap


def remove(viewer: Viewer, plane: Plane, role: str) -> None:
    """Take these outlines away."""
    layer = find(viewer, plane, role)
    if layer is not None:
        with kept_selection(viewer):
            viewer.layers.remove(layer)
