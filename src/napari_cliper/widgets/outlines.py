"""Outlines over a picture that show and never hold anything: Labels layers nobody can paint on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
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
    # Not napari's own contours: they take half a second of the window's time on a large picture.
    lines = edges(regions, max(1, round(max(regions.shape) / FINEST)))
    item = ResultLayer(role, lines, {"colormap": colormap})
    layer = find(viewer, plane, role, regions.shape)
    if layer is None:
        remove(viewer, plane, role)
        with kept_selection(viewer):
            layer = add(viewer, plane, item, Labels)
        layer.editable = False
    else:
        layer.data = lines
        set_changed(layer, placed(plane, item))
        layer.colormap = colormap


def edges(regions: NDArray[Any], width: int) -> NDArray[Any]:
    """Keep of regions what is at most so many pixels from where values meet.

    Parameters
    ----------
    regions : (H, W) unsigned int
        0 for none.
    width : int
        At least 1.

    Returns
    -------
    (H, W) unsigned int
        The regions' values near their edges, 0 elsewhere. The picture's border is no edge.
    """
    near = np.zeros(regions.shape, bool)
    for found, values in ((near, regions), (near.T, regions.T)):
        differs = values[1:] != values[:-1]
        found[1:] |= differs
        found[:-1] |= differs
    reach = 1
    while reach < width:
        step = min(reach, width - reach)
        for found in (near, near.T):
            before = found.copy(order="K")  # in memory as it is: much faster
            found[step:] |= before[:-step]
            found[:-step] |= before[step:]
        reach += step
    return np.where(near, regions, regions.dtype.type(0))


def remove(viewer: Viewer, plane: Plane, role: str) -> None:
    """Take these outlines away."""
    layer = find(viewer, plane, role)
    if layer is not None:
        with kept_selection(viewer):
            viewer.layers.remove(layer)
