"""Where to look next: the masks' unsure places, weightiest first, one at a time."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_cliper.annotation.unsure import Spot, spots
from napari_cliper.errors import NapariCliperError
from napari_cliper.widgets.latest import Latest
from napari_cliper.widgets.layers import KEY, is_ours, kept_selection
from napari_cliper.widgets.outlines import outline

if TYPE_CHECKING:
    from napari.viewer import Viewer
    from numpy.typing import NDArray

    from napari_cliper.widgets.corrections import Corrections
    from napari_cliper.widgets.masks import Mask
    from napari_cliper.widgets.workspace import Workspace

ROLE = "look here"
YELLOW = (1.0, 0.9, 0.2, 1.0)
ROOM = 1.8  # how many times the place's size is shown around it
LEAST = 60  # pixels that are shown at least


class UnsurePlaces(QObject):
    """Goes from one unsure place of the corrected mask to the next, and marks what was seen.

    Attributes
    ----------
    seen : dict
        Of each plane's key, a pixel (row, column) of each place that was looked at.
    """

    told = Signal(str)
    failed = Signal(object)

    def __init__(self, viewer: Viewer, workspace: Workspace, corrections: Corrections) -> None:
        super().__init__()
        self._viewer_of = weakref.ref(viewer)
        self._workspace = workspace
        self._corrections = corrections
        self.seen: dict[tuple[str, ...], list[tuple[int, int]]] = {}
        self._latest = Latest(self)
        self._latest.failed.connect(self.failed)

    @property
    def idle(self) -> bool:
        """Whether nothing is being looked for."""
        return self._latest.idle

    def forget(self) -> None:
        """Count no place as seen any more."""
        self.seen.clear()
        self.leave()

    def jump(self) -> None:
        """Show the next place, and count it as seen."""
        try:
            mask = self._corrections.needed_mask()
            scene = self._workspace.scene(mask.plane)
            if scene is None or scene.scored.size != mask.data.shape:
                raise NapariCliperError(
                    "It is not known yet how sure this mask is: segment all of the picture once."
                )
        except NapariCliperError as error:
            self.failed.emit(error)
            return
        theirs, seen = mask.painted.mask.copy(), set(self.seen.get(mask.plane.key, ()))
        adjustment, scored = scene.adjustment, scene.scored

        def look() -> list[Spot]:
            found = spots(adjustment.label(scored).uncertainty, theirs)
            return [spot for spot in found if not any(_holds(spot, place) for place in seen)]

        self._latest.ask(look, lambda found: self._show(mask, found))

    def leave(self) -> None:
        """Take the outlines away, of all pictures."""
        layers = self._viewer.layers
        drawn = [x for x in layers if is_ours(x) and x.metadata[KEY]["role"] == ROLE]
        with kept_selection(self._viewer):
            for layer in drawn:
                layers.remove(layer)

    @property
    def _viewer(self) -> Viewer:
        viewer = self._viewer_of()
        assert viewer is not None
        return viewer

    def _show(self, mask: Mask, found: list[Spot]) -> None:
        if mask is not self._corrections.mask:
            return
        if not found:
            self.leave()
            self.told.emit("Every unsure place was seen.")
            return
        spot = found[0]
        top, left, bottom, right = spot.box
        where = np.zeros(mask.data.shape, np.uint8)
        where[top:bottom, left:right] = spot.inside
        self.seen.setdefault(mask.plane.key, []).append(spot.place)
        outline(self._viewer, mask.plane, ROLE, where, {1: YELLOW})
        self._zoom(mask, spot)
        more = f"{len(found) - 1} more" if len(found) > 1 else "the last one"
        share = spot.area / where.size
        self.told.emit(f"An unsure place of {share:.1%} of the picture; {more}.")

    def _zoom(self, mask: Mask, spot: Spot) -> None:
        viewer, layer = self._viewer, mask.layer
        middle, size = _in_world(mask, spot.box)
        whole_middle, whole = _in_world(mask, (0, 0, *mask.data.shape))
        least = LEAST * float(np.abs(layer.scale[-2:]).min())
        room = np.maximum(size * ROOM, least)
        camera = viewer.scene.camera
        if (room > whole).any():  # as after “reset view”: all of the picture, and no less
            middle, room = whole_middle, whole * 1.05
        camera.center = tuple(middle)
        camera.zoom = float(min(np.array(viewer.canvas.size) / room))


def _in_world(
    mask: Mask, box: tuple[int, int, int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Middle and size of a part of a mask, as it lies in the viewer."""
    top, left, bottom, right = box
    corners = np.array([[top, left], [top, right], [bottom, left], [bottom, right]]) - 0.5
    before = mask.plane.place if mask.layer.ndim > 2 else ()
    world = np.array([mask.layer.data_to_world((*before, *corner))[-2:] for corner in corners])
    return world.mean(axis=0), np.ptp(world, axis=0)


def _holds(spot: Spot, place: tuple[int, int]) -> bool:
    top, left, bottom, right = spot.box
    row, column = place
    inside = top <= row < bottom and left <= column < right
    return inside and bool(spot.inside[row - top, column - left])
