"""One plane's labels: what the program writes goes around what a person painted."""

from __future__ import annotations

import weakref
from collections.abc import Collection
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_cliper.annotation.painted import Change, Painted
from napari_cliper.files.layer_data import CLASSES
from napari_cliper.widgets.layers import KEY, dress

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_cliper.annotation.class_list import ClassList
    from napari_cliper.widgets.mask_layer import MaskLayer
    from napari_cliper.widgets.planes import Plane
    from napari_cliper.widgets.regions import Region

STROKE_PAUSE = 50  # milliseconds until we look again whether the brush is lifted


class Mask:
    """One plane's part of one of our Labels layers: knows whose its pixels are, and writes.

    The masks of all planes of a stack are one layer, which has the stack's axes.

    Attributes
    ----------
    plane : Plane
        What it is a mask of, as it was last segmented.
    painted : Painted
        Which of its pixels a person painted.
    proposal : (H, W) unsigned int
        What the program last wanted to write.
    revision : int
        Grows whenever pixels, or whose they are, may have changed.
    strokes : int
        How often a person painted, erased, filled or corrected.
    changed : psygnal.Signal
        A moment after that.
    history_limit : float
        Bytes that strokes and updates may take that can be undone; the last one always can.
    """

    changed = Signal()
    history_limit: ClassVar[float] = 5e8

    def __init__(self, of: MaskLayer, plane: Plane, classes: ClassList) -> None:
        self._of_ref = weakref.ref(of)  # which owns this one
        self.plane = plane
        self.classes = classes
        self.painted = Painted(self.data)
        self.proposal: NDArray[Any] = self.data.copy()
        self._before_drag: NDArray[Any] | None = None
        self._waiting: list[tuple[NDArray[Any], Region | None]] = []
        self._told_soon = self._waits = False
        self.revision = self.strokes = 0

    @property
    def layer(self) -> Labels:
        """The layer; asked of a mask that `of` or `masks` gave, it is there."""
        of = self._of_ref()
        layer = of.layer() if of is not None else None
        if layer is None:
            raise RuntimeError("the layer is gone")
        return layer

    @property
    def _of(self) -> MaskLayer:
        of = self._of_ref()
        assert of is not None
        return of

    @property
    def data(self) -> NDArray[Any]:
        """Its pixels, (H, W) unsigned int: a view of the layer's."""
        return self.part_of(self.layer.data)

    def part_of(self, data: Any) -> Any:
        """Take this plane out of an array that is like the layer's, or of the plane alone."""
        return data[self._place] if data.ndim == self.layer.ndim else data

    @property
    def _place(self) -> tuple[int, ...]:
        """Where it lies along the layer's axes before the last two."""
        return self.plane.place if self.layer.data.ndim > 2 else ()

    @property
    def classes(self) -> ClassList:
        """What its labels mean; noted in the layer, where napari's own saving finds it."""
        return self._classes

    @classes.setter
    def classes(self, classes: ClassList) -> None:
        self._classes = classes
        self.layer.metadata[KEY][CLASSES] = classes.to_json()

    @property
    def gone(self) -> bool:
        """Whether nobody has the layer any more."""
        of = self._of_ref()
        return of is None or of.layer() is None

    @property
    def role(self) -> str:
        """Which of the plane's masks it is: "refined" or "coarse"."""
        return str(self.layer.metadata[KEY]["role"])

    def propose(self, labels: NDArray[Any], region: Region | None = None) -> None:
        """Write labels where nobody painted, as one step that napari's undo takes back.

        Parameters
        ----------
        labels : (H, W) integers
            Of the region's rectangle if one is given.
        region : Region, optional
            The pixels that are meant; all of them unless given.
        """
        if region is None:
            self._waiting.clear()  # older ones, all of whose pixels get others now
        if self._stroke_under_way:
            self.proposal = _with(labels, region, self.proposal)
            self._put_off(labels, region)
            return
        self._write_waiting()
        self.proposal = _with(labels, region, self.proposal)
        dragged = self._end_drag()
        self._look()
        # What is around the region is looked up now: strokes may have been made while this waited.
        whole = _with(labels, region, self.data)
        self.make_room(int(whole.max()))
        where = self.painted.open_to(whole, self.data)
        if dragged and len(where) == 0:
            self._refresh()
        self._write(where, whole)

    def begin(self, labels: NDArray[Any]) -> None:
        """The same in a plane that the program has not written into yet: nothing to undo."""
        self.proposal = labels
        self.make_room(int(labels.max()))
        data = self.data
        where = self.painted.open_to(labels, data)
        data.ravel()[where] = labels.ravel()[where]
        self.painted.previewed(data)
        self._refresh()
        self._tell_soon()

    def preview(self, labels: NDArray[Any]) -> None:
        """Write labels where nobody painted, for as long as a slider is dragged: no undo step."""
        if self._stroke_under_way:
            return
        self._look()
        data = self.data
        if self._before_drag is None:
            self._before_drag = data.copy()
        where = self.painted.open_to(labels, data)
        if len(where):
            data.ravel()[where] = labels.ravel()[where]
            self.painted.previewed(data)
            self._refresh()

    def correct(self, labels: NDArray[Any], theirs: NDArray[np.bool_] | None = None) -> None:
        """Write labels for a person, everywhere, as one stroke of theirs.

        Parameters
        ----------
        labels : (H, W) integers
        theirs : (H, W) bool, optional
            Pixels that are theirs from now on even where nothing changes.
        """
        self._look()
        self.make_room(int(labels.max()))
        labels = labels.astype(self.data.dtype)
        where = np.flatnonzero(labels != self.data)
        if len(where):
            self._set(where, labels.ravel()[where])
        if theirs is not None:
            self.painted.touch(theirs)
            self.strokes += 1
        self._tell_soon()

    def release(self, where: NDArray[np.bool_]) -> None:
        """Pixels (H, W) are no longer anyone's; they keep their labels until the next update."""
        self._look()
        self.painted.release(where)
        self._tell_soon()

    def restore(
        self, labels: NDArray[Any], protected: NDArray[np.bool_], proposal: NDArray[Any]
    ) -> None:
        """Take on what was saved of a mask like this one, each (H, W); nothing can be undone."""
        self._waiting.clear()
        self.make_room(int(labels.max(initial=0)))
        self.data[:] = labels
        self._of.forget_steps()
        self.painted = Painted(self.data)
        self._refresh()
        self.painted.touch(protected)
        self.proposal = proposal
        self._tell_soon()

    def replace(self, old: int, new: int, painted: bool = True) -> None:
        """Give all pixels of one label another one, as one step.

        Parameters
        ----------
        old, new : int
        painted : bool
            Whether those that a person painted stay theirs.
        """
        self.make_room(new)
        data = self.data
        where = np.flatnonzero(data == old)
        self._write(where, np.full_like(data, new))
        if not painted:
            released = np.zeros(data.shape, bool)
            released.ravel()[where] = True
            self.painted.release(released)

    def dress(self, classes: ClassList, hidden: Collection[int] = ()) -> None:
        """Take on other names and colours."""
        self.classes = classes
        self.wear(dress(classes, hidden))

    def wear(self, attributes: Any) -> None:
        """Set colours and names as `dress` prepared them, where they differ."""
        layer = self.layer
        features = attributes["features"]
        if any(list(layer.features.get(name, ())) != features[name] for name in features):
            layer.features = features
        if not _same_colors(layer.colormap, attributes["colormap"]):
            layer.colormap = attributes["colormap"]

    @property
    def _stroke_under_way(self) -> bool:
        """Whether someone holds the brush down; what is written now would be part of the stroke."""
        return bool(getattr(self.layer, "_block_history", False))  # there is no public word

    def _put_off(self, labels: NDArray[Any], region: Region | None) -> None:
        """Keep labels until the brush is lifted; of a region's the newest."""
        others = [one for one in self._waiting if one[1] is not region]
        self._waiting = [*others, (labels, region)]
        self._wait()

    def _wait(self) -> None:
        if not self._waits:
            self._waits = True
            QTimer.singleShot(STROKE_PAUSE, self._look_whether_lifted)

    def _look_whether_lifted(self) -> None:
        self._waits = False
        if self._waiting and self._stroke_under_way and not self.gone:
            self._wait()
        else:
            self._write_waiting()

    def _write_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for labels, region in waiting:
            if not self.gone and self.proposal.shape == self.data.shape:
                self.propose(labels, region)

    def _end_drag(self) -> bool:
        """Bring back what was there before a drag: only then is the whole drag one step."""
        before, self._before_drag = self._before_drag, None
        data = self.data
        if before is None or before.shape != data.shape:
            return False
        self._look()
        where = self.painted.open_to(before, data)
        data.ravel()[where] = before.ravel()[where]
        self.painted.previewed(data)
        return True

    def _write(self, where: NDArray[np.intp], labels: NDArray[Any]) -> None:
        if len(where) == 0:
            return
        with self._of.writing():
            self._set(where, labels.ravel()[where].astype(self.data.dtype))
            self.painted.updated(self.data)
        self._of.bound_history()
        self._tell_soon()

    def _set(self, where: NDArray[np.intp], values: NDArray[Any]) -> None:
        """Write values at flat indices, as a step of napari's history."""
        inside = np.unravel_index(where, self.data.shape)
        before = (np.full(where.shape, at) for at in self._place)
        # A hidden layer has no picture to update: napari fails there, with history and data
        # written.
        with suppress(IndexError):
            self.layer.data_setitem((*before, *inside), values)

    def make_room(self, label: int) -> None:
        """Let the layer hold labels up to this one."""
        if label > np.iinfo(self.layer.data.dtype).max:
            with self._of.writing():
                self.layer.data = self.layer.data.astype(np.uint16)
                # A hidden layer would go on taking values for the narrower type.
                self.layer.set_view_slice()

    def _refresh(self) -> None:
        with self._of.writing():
            self.layer.refresh(extent=False, highlight=False)

    def stroke(self, changes: list[Change]) -> None:
        """A person painted; indices are those of this plane."""
        self.painted.stroke(changes)
        self.strokes += 1
        self._tell_soon()

    def touch(self, box: tuple[slice, ...], inside: NDArray[np.bool_], label: int) -> None:
        """A person goes over pixels with a label that some of them have; napari tells nothing."""
        # As seen before this stroke: what it has changed is told when it ends.
        same = self.painted.seen[box] == label
        same &= inside
        self.painted.touch(same, box)
        self.strokes += 1
        self._tell_soon()

    def look(self) -> None:
        """Notice undo and redo, of which napari tells nothing but that the layer is drawn anew."""
        self._look()
        self._tell_soon()

    def _tell_soon(self) -> None:
        self.revision += 1
        if not self._told_soon:
            self._told_soon = True
            QTimer.singleShot(STROKE_PAUSE, self._tell)

    def _tell(self) -> None:
        self._told_soon = False
        self.changed.emit()

    def _look(self) -> None:
        data = self.data
        if not isinstance(data, np.ndarray):
            return
        if data.shape == self.painted.mask.shape:
            self.painted.look(data)
        else:  # somebody's code made another map of it
            self.painted = Painted(data)
            self._before_drag = None


def _with(labels: NDArray[Any], region: Region | None, before: NDArray[Any]) -> NDArray[Any]:
    """A whole plane's labels, with what is outside of a region as before."""
    return labels if region is None else region.put(labels, before)


def _same_colors(ours: Any, others: Any) -> bool:
    known, wanted = (getattr(colormap, "color_dict", {}) for colormap in (ours, others))
    return known.keys() == wanted.keys() and all(
        np.array_equal(known[label], wanted[label]) for label in wanted
    )
