"""Our Labels layers: what the program writes goes around what a person painted."""

from __future__ import annotations

import weakref
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_cliper.annotation.painted import Painted
from napari_cliper.files.layer_data import CLASSES
from napari_cliper.widgets.history import Sizes, changes
from napari_cliper.widgets.layers import (
    KEY,
    ResultLayer,
    dress,
    find,
    is_ours,
    make,
    placed,
    set_changed,
)

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_cliper.annotation.class_list import ClassList
    from napari_cliper.widgets.planes import Plane

STROKE_PAUSE = 50  # milliseconds until we look again whether the brush is lifted


class Mask:
    """Watches one of our Labels layers, and writes into it.

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

    def __init__(self, layer: Labels, plane: Plane, classes: ClassList) -> None:
        self._layer = weakref.ref(layer)
        self.plane = plane
        self.classes = classes
        self.painted = Painted(layer.data)
        self.proposal: NDArray[Any] = layer.data.copy()
        self._writing = False
        self._before_drag: NDArray[Any] | None = None
        self._waiting: NDArray[Any] | None = None
        self._sizes = Sizes()
        self._told_soon = False
        self.revision = self.strokes = 0
        layer.events.paint.connect(self._on_paint)
        layer.events.set_data.connect(self._look)
        _hear_of_touches(layer, self)

    @property
    def layer(self) -> Labels:
        """The layer; asked of a mask that `of` or `masks` gave, it is there."""
        layer = self._layer()
        if layer is None:
            raise RuntimeError("the layer is gone")
        return layer

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
        return self._layer() is None

    @property
    def role(self) -> str:
        """Which of the plane's masks it is: "refined" or "coarse"."""
        return str(self.layer.metadata[KEY]["role"])

    def propose(self, labels: NDArray[Any]) -> None:
        """Write labels where nobody painted, as one step that napari's undo takes back.

        Parameters
        ----------
        labels : (H, W) integers
        """
        self.proposal = labels
        if self._put_off(labels):
            return
        layer = self.layer
        self._end_drag(labels)
        self._look()
        self.make_room(int(labels.max()))
        self._write(self.painted.open_to(labels, layer.data), labels)

    def preview(self, labels: NDArray[Any]) -> None:
        """Write labels where nobody painted, for as long as a slider is dragged: no undo step."""
        if self._stroke_under_way:
            return
        self._look()
        data = self.layer.data
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
        layer = self.layer
        self.make_room(int(labels.max()))
        labels = labels.astype(layer.data.dtype)
        where = np.flatnonzero(labels != layer.data)
        if len(where):
            with suppress(IndexError):  # as in `_write`
                layer.data_setitem(np.unravel_index(where, labels.shape), labels.ravel()[where])
        if theirs is not None:
            self.painted.touch(theirs)
            self.strokes += 1
        self._tell_soon()

    def release(self, where: NDArray[np.bool_]) -> None:
        """Pixels (H, W) are no longer anyone's; they keep their labels until the next update."""
        self._look()
        self.painted.release(where)
        self._tell_soon()

    def restore(self, protected: NDArray[np.bool_], proposal: NDArray[Any]) -> None:
        """Take on what was saved of a layer like this one, both (H, W)."""
        self.painted = Painted(self.layer.data)
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
        data = self.layer.data
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

    def _put_off(self, labels: NDArray[Any]) -> bool:
        """Keep the newest labels until the brush is lifted; False if it is."""
        self._waiting = labels if self._stroke_under_way else None
        if self._waiting is not None:
            QTimer.singleShot(STROKE_PAUSE, self._write_waiting)
        return self._waiting is not None

    def _write_waiting(self) -> None:
        labels, layer = self._waiting, self._layer()
        if labels is not None and layer is not None and labels.shape == layer.data.shape:
            self.propose(labels)

    def _end_drag(self, labels: NDArray[Any]) -> None:
        """Bring back what was there before a drag: only then is the whole drag one step."""
        before, self._before_drag = self._before_drag, None
        data = self.layer.data
        if before is None or before.shape != data.shape:
            return
        self._look()
        where = self.painted.open_to(before, data)
        data.ravel()[where] = before.ravel()[where]
        self.painted.previewed(data)
        if len(self.painted.open_to(labels, data)) == 0:
            self._refresh()

    def _write(self, where: NDArray[np.intp], labels: NDArray[Any]) -> None:
        if len(where) == 0:
            return
        layer = self.layer
        values = labels.ravel()[where].astype(layer.data.dtype)
        with self._at_work():
            # A hidden layer has no picture to update: napari fails there, with history and data
            # written.
            with suppress(IndexError):
                layer.data_setitem(np.unravel_index(where, layer.data.shape), values)
            self.painted.updated(layer.data)
        self._bound_history()
        self._tell_soon()

    def make_room(self, label: int) -> None:
        """Let the layer hold labels up to this one."""
        if label > np.iinfo(self.layer.data.dtype).max:
            with self._at_work():
                self.layer.data = self.layer.data.astype(np.uint16)
                # A hidden layer would go on taking values for the narrower type.
                self.layer.set_view_slice()

    def _refresh(self) -> None:
        with self._at_work():
            self.layer.refresh(extent=False, highlight=False)

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        """What the layer tells of meanwhile is our own doing."""
        before, self._writing = self._writing, True
        try:
            yield
        finally:
            self._writing = before

    def _on_paint(self, event: Any) -> None:
        if not self._writing:
            self.painted.stroke(changes(event.value, self.layer.data.shape))
            self.strokes += 1
            self._bound_history()
            self._tell_soon()

    def touch(self, box: tuple[slice, ...], inside: NDArray[np.bool_], label: int) -> None:
        """A person goes over pixels with a label that some of them have; napari tells nothing."""
        if not self._writing:
            # As seen before this stroke: what it has changed is told when it ends.
            same = self.painted.seen[box] == label
            same &= inside
            self.painted.touch(same, box)
            self.strokes += 1
            self._tell_soon()

    def _tell_soon(self) -> None:
        self.revision += 1
        if not self._told_soon:
            self._told_soon = True
            QTimer.singleShot(STROKE_PAUSE, self._tell)

    def _tell(self) -> None:
        self._told_soon = False
        self.changed.emit()

    def _bound_history(self) -> None:
        """Let napari's history and ours forget the oldest steps if both take too much memory."""
        history = getattr(self.layer, "_undo_history", None)
        if history is None:
            return
        sizes = self._sizes.of(history)
        while len(history) > 1 and sum(sizes) + self.painted.nbytes > self.history_limit:
            history.popleft()
            sizes.pop(0)
            self.painted.forget(len(history))

    def _look(self, event: Any = None) -> None:
        """Notice undo and redo, of which napari tells nothing but that the layer is drawn anew."""
        data = self.layer.data
        if not self._writing and isinstance(data, np.ndarray):
            if data.shape == self.painted.mask.shape:
                self.painted.look(data)
            else:  # somebody's code made another map of it
                self.painted = Painted(data)
                self._before_drag = None
            self._tell_soon()


def _hear_of_touches(layer: Labels, mask: Mask) -> None:
    """Tell the mask what brush, bucket and polygon go over, also where that changes nothing.

    napari has no event for it, and no public method that all three go through.
    """
    paint = getattr(type(layer), "_paint_region_with_mask", None)
    if paint is None:
        return
    layer_of, mask_of = weakref.ref(layer), weakref.ref(mask)

    def touching(
        box: tuple[slice, ...], inside: NDArray[np.bool_], label: int, *rest: Any, **more: Any
    ) -> None:
        painted, known = layer_of(), mask_of()
        if known is not None:
            known.touch(box, inside, label)
        paint(painted, box, inside, label, *rest, **more)

    layer._paint_region_with_mask = touching


def _same_colors(ours: Any, others: Any) -> bool:
    known, wanted = (getattr(colormap, "color_dict", {}) for colormap in (ours, others))
    return known.keys() == wanted.keys() and all(
        np.array_equal(known[label], wanted[label]) for label in wanted
    )


# Strokes outlive the dock that was open when they were painted, and nothing but their layer.
_masks: weakref.WeakKeyDictionary[Labels, Mask] = weakref.WeakKeyDictionary()


def show_mask(viewer: Viewer, plane: Plane, item: ResultLayer, classes: ClassList) -> Mask:
    """Write a result into its layer, around what was painted there; add the layer if need be."""
    layer = find(viewer, plane, item.role, item.data.shape)
    if layer is None:
        layer = make(plane, item, Labels)
        _masks[layer] = Mask(layer, plane, classes)  # known before anybody hears of the layer
        viewer.add_layer(layer)
        return _masks[layer]
    mask = _masks[layer]
    mask.plane, mask.classes = plane, classes
    set_changed(layer, placed(plane, item))
    mask.propose(item.data)
    mask.wear(item.attributes)
    return mask


def masks(viewer: Viewer) -> list[Mask]:
    """All masks in a viewer, from bottom to top."""
    return [_masks[layer] for layer in viewer.layers if is_ours(layer) and layer in _masks]


def of(layer: Any) -> Mask | None:
    """The mask of a layer, if it is ours."""
    return _masks.get(layer) if isinstance(layer, Labels) else None
