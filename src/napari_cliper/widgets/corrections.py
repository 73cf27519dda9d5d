"""What a person corrects at a stroke: a region, or a change that is shown before it counts."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal

from napari_cliper.annotation.regions import region
from napari_cliper.errors import NapariCliperError
from napari_cliper.widgets import masks
from napari_cliper.widgets.outlines import outline, remove

if TYPE_CHECKING:
    from napari.layers import Labels
    from napari.viewer import Viewer

    from napari_cliper.annotation.class_list import ClassList
    from napari_cliper.widgets.masks import Mask

REGION, PREVIEW = "region", "preview"
WHITE = (1.0, 1.0, 1.0, 1.0)
VOID = 65535  # in a preview, what is to become background


@dataclass(frozen=True, eq=False)
class Change:
    """A change that is shown and does not count yet.

    Attributes
    ----------
    mask : Mask
    labels : (H, W) unsigned int
        What the mask would hold.
    where : (H, W) bool
        Where that counts, and is the person's from then on.
    done : callable
        Called with whether it was accepted.
    """

    mask: Mask
    labels: NDArray[Any]
    where: NDArray[np.bool_]
    done: Callable[[bool], None]


class Corrections(QObject):
    """Serves the masks of one viewer.

    A click on a mask, in napari's mode for moving about, chooses the connected region there.
    """

    changed = Signal()  # the chosen region, or the change that is shown, is another one

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._viewer_of = weakref.ref(viewer)
        self._last: weakref.ref[Labels] | None = None
        self._region: tuple[Mask, NDArray[np.bool_]] | None = None
        self._label = 0  # of the chosen region
        self._turned_to: Callable[[], Mask | None] = _nothing
        self._change: Change | None = None
        viewer.layers.selection.events.active.connect(self._note_active)
        viewer.layers.events.removed.connect(self._forget_removed)
        viewer.dims.events.current_step.connect(self._turn)

    @property
    def _viewer(self) -> Viewer:
        viewer = self._viewer_of()
        assert viewer is not None
        return viewer

    @property
    def mask(self) -> Mask | None:
        """The mask that is corrected: the active layer, else the one that was active last."""
        layer = self._last_layer
        if layer is None or layer not in self._viewer.layers:
            known = (masks.of(layer) for layer in reversed(self._viewer.layers))
            return next((mask for mask in known if mask and mask.role == "refined"), None)
        return masks.of(layer)

    @property
    def _last_layer(self) -> Labels | None:
        return self._last() if self._last is not None else None

    def needed_mask(self) -> Mask:
        """The same.

        Raises
        ------
        NapariCliperError
            If there is none.
        """
        if self.mask is None:
            raise NapariCliperError(
                "There is no mask to correct yet: segment a picture first, in “Segment with text”."
            )
        return self.mask

    # A region

    @property
    def region(self) -> NDArray[np.bool_] | None:
        """The chosen region, (H, W) bool."""
        return self._region[1] if self._region is not None else None

    def choose(self, mask: Mask, place: tuple[int, int]) -> None:
        """Choose the region at (row, column) of a mask."""
        self._let_go()
        self._region = mask, region(mask.data, place)
        self._label = mask.data[place]
        outline(self._viewer, mask.plane, REGION, self._region[1].astype(np.uint8), {1: WHITE})
        self.changed.emit()

    def let_go(self) -> None:
        """Choose no region."""
        self._let_go()
        self.changed.emit()

    def _let_go(self) -> None:
        if self._region is not None:
            mask, self._region = self._region[0], None
            remove(self._viewer, mask.plane, REGION)

    def press_class(self, mask: Mask, id_: int) -> None:
        """Give the chosen region this class; without one, paint with the class from now on."""
        if self._region is None or self._region[0] is not mask:
            mask.make_room(id_)
            mask.layer.selected_label = id_
            return
        where = self._region[1]
        # What was painted since has another label, and is no part of it any more.
        where &= mask.data == self._label
        self._let_go()
        mask.correct(np.where(where, np.uint16(id_), mask.data), theirs=where)
        self.changed.emit()

    # A change that is shown

    @property
    def change(self) -> Change | None:
        """What is shown and does not count yet."""
        return self._change

    def show(
        self,
        mask: Mask,
        labels: NDArray[Any],
        where: NDArray[np.bool_],
        done: Callable[[bool], None] = lambda accepted: None,
    ) -> int:
        """Show a change instead of the one before; returns of how many pixels.

        Parameters
        ----------
        mask : Mask
        labels : (H, W) unsigned int
        where : (H, W) bool
            Where these are to count.
        done : callable
            Called with whether it was accepted. Not called for one that another replaces.
        """
        self._change = Change(mask, labels, where, done)
        differs = where & (labels != mask.data)
        shown = np.where(differs, np.where(labels == 0, VOID, labels), 0).astype(np.uint16)
        outline(self._viewer, mask.plane, PREVIEW, shown, _colors(mask.classes))
        self.changed.emit()
        return int(np.count_nonzero(differs))

    def accept(self) -> None:
        """Let the change count, as one step of undo; its pixels are the person's."""
        change = self._take()
        if change is None:
            return
        data = change.mask.data
        if change.where.shape == data.shape:
            labels = np.where(change.where, change.labels, data)
            change.mask.correct(labels, theirs=change.where)
        change.done(True)
        self.changed.emit()

    def drop(self) -> None:
        """Forget the change that is shown."""
        change = self._take()
        if change is not None:
            change.done(False)
            self.changed.emit()

    def _take(self) -> Change | None:
        change, self._change = self._change, None
        if change is not None:
            remove(self._viewer, change.mask.plane, PREVIEW)
        return change

    # The viewer

    def _note_active(self, event: Any = None) -> None:
        active = self._viewer.layers.selection.active
        if masks.keys(active):
            self._last = weakref.ref(active)
            if self._region is not None and self._region[0] is not masks.of(active):
                self._let_go()
            self.changed.emit()

    def _turn(self, event: Any = None) -> None:
        """Another plane of a stack is shown, whose mask is another one."""
        if self._region is not None and masks.of(self._region[0].layer) is not self._region[0]:
            self._let_go()
        if self._change is not None and masks.of(self._change.mask.layer) is not self._change.mask:
            self.drop()
        mask = masks.of(self._last_layer)
        if mask is not self._turned_to():
            self._turned_to = weakref.ref(mask) if mask is not None else _nothing
            self.changed.emit()

    def _forget_removed(self, event: Any) -> None:
        gone = event.value
        if not masks.keys(gone):
            return
        if self._region is not None and self._region[0].layer is gone:
            self._let_go()
        if self._change is not None and self._change.mask.layer is gone:
            self.drop()
        self.changed.emit()


def _nothing() -> None:
    return None


def _colors(classes: ClassList) -> dict[int, tuple[float, ...]]:
    """The colours of classes, paler than on the mask, and of what becomes background."""
    colors = {entry.id: (*(0.5 + part / 510 for part in entry.color), 1.0) for entry in classes}
    return colors | {VOID: WHITE}
