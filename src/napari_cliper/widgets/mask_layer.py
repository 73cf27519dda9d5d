"""One of our Labels layers, which holds the masks of all planes of a picture."""

from __future__ import annotations

import weakref
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_cliper.widgets.history import Sizes, changes, plane_by_plane
from napari_cliper.widgets.mask import Mask

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_cliper.annotation.class_list import ClassList
    from napari_cliper.widgets.planes import Plane


class MaskLayer:
    """Hears what happens to one of our Labels layers, and tells the mask of the plane concerned.

    Attributes
    ----------
    layer : weakref of Labels
    masks : dict of Mask
        By the keys of their planes.
    """

    def __init__(self, layer: Labels) -> None:
        self.layer = weakref.ref(layer)
        self.masks: dict[tuple[str, ...], Mask] = {}
        self._shape = layer.data.shape
        self._writing = False
        self._sizes = Sizes()
        self._steps = (0, 0)  # in napari's history, when we looked last
        self._touched: dict[int, tuple[list[Any], tuple[int, ...]]] = {}  # planes, by step
        layer.events.paint.connect(self._on_paint)
        layer.events.set_data.connect(self._on_data)
        _hear_of_touches(layer, self)

    def mask(self, plane: Plane, classes: ClassList) -> Mask:
        """The mask of a plane; what is in a new one was painted by a person."""
        if plane.key not in self.masks:
            made = self.masks[plane.key] = Mask(self, plane, classes)
            if len(self.masks) > 1:
                made.painted.touch(made.data != 0)
        return self.masks[plane.key]

    def shown(self) -> Mask | None:
        """The mask of the plane that napari shows of the layer."""
        layer = self.layer()
        if layer is None or not self.masks:
            return None
        if layer.data.ndim == 2:
            return next(reversed(self.masks.values()))
        # There is no public word for where a layer is cut.
        point = layer.world_to_data(layer._slice_input.world_slice.point)[: layer.ndim - 2]
        place = tuple(np.round(point).astype(int).tolist())
        return next((mask for mask in self.masks.values() if mask.plane.place == place), None)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """What the layer tells of meanwhile is our own doing."""
        before, self._writing = self._writing, True
        try:
            yield
        finally:
            self._writing = before

    def touch(self, box: tuple[slice, ...], inside: NDArray[np.bool_], label: int) -> None:
        """A person goes over pixels, as of `Mask.touch`, of any planes."""
        if self._writing or not self.masks:
            return
        for offset in np.ndindex(inside.shape[:-2]):
            place = [part.start + at for part, at in zip(box[:-2], offset, strict=True)]
            self._at(place).touch(box[-2:], inside[offset], label)

    def bound_history(self) -> None:
        """Let napari's history and ours forget the oldest steps if both take too much memory."""
        layer = self.layer()
        history = getattr(layer, "_undo_history", None)
        if history is None:
            return
        sizes = self._sizes.of(history)
        self._forget_lost(history)
        while len(history) > 1 and self._too_much(sizes):
            history.popleft()
            sizes.pop(0)
            self._forget_lost(history)

    def forget_steps(self) -> None:
        """Let nothing be undone or redone any more, in no plane."""
        layer = self.layer()
        for name in ("_undo_history", "_redo_history"):
            getattr(layer, name, deque[Any]()).clear()
        for mask in self.masks.values():
            mask.painted.forget_all()
        self._steps = (0, 0)

    def _forget_lost(self, history: Sequence[list[Any]]) -> None:
        """Let each mask forget the steps that napari has forgotten."""
        if len(self._shape) == 2:
            for mask in self.masks.values():
                mask.painted.forget(len(history))
            return
        self._touched = {
            id(step): self._touched.get(id(step)) or (step, self._planes_in(step))
            for step in history
        }
        kept = Counter(number for _, numbers in self._touched.values() for number in numbers)
        for mask in self.masks.values():
            number = int(np.ravel_multi_index(mask.plane.place, self._shape[:-2]))
            mask.painted.forget(kept[number])

    def _planes_in(self, step: list[Any]) -> tuple[int, ...]:
        """The numbers of the planes that a step has changed."""
        return tuple(plane_by_plane(changes(step, self._shape), self._shape))

    def _too_much(self, sizes: list[int]) -> bool:
        ours = sum(mask.painted.nbytes for mask in self.masks.values())
        return sum(sizes) + ours > min(mask.history_limit for mask in self.masks.values())

    def _at(self, place: Sequence[int]) -> Mask:
        """The mask at this place of the stack, made if it is not there."""
        known = next(reversed(self.masks.values()))
        return self.mask(known.plane.at(place) if place else known.plane, known.classes)

    def _on_paint(self, event: Any) -> None:
        if self._writing or not self.masks:
            return
        found = plane_by_plane(changes(event.value, self._shape), self._shape)
        for number, changed in found.items():
            self._at(np.unravel_index(number, self._shape[:-2])).stroke(changed)  # type: ignore[arg-type]
        self.bound_history()

    def _on_data(self, event: Any = None) -> None:
        """Let masks look at their pixels: all of them after undo and redo, else the one shown."""
        layer = self.layer()
        if self._writing or layer is None or not isinstance(layer.data, np.ndarray):
            return
        if layer.data.shape != self._shape and max(layer.data.ndim, len(self._shape)) > 2:
            self.masks.clear()  # somebody's code made another stack of it
        self._shape = layer.data.shape
        history = [getattr(layer, name, ()) for name in ("_undo_history", "_redo_history")]
        steps = len(history[0]), len(history[1])
        shown = self.shown()
        looking = [shown] if shown and steps == self._steps else list(self.masks.values())
        self._steps = steps
        for mask in looking:
            mask.look()


def _hear_of_touches(layer: Labels, of: MaskLayer) -> None:
    """Tell what brush, bucket and polygon go over, also where that changes nothing.

    napari has no event for it, and no public method that all three go through.
    """
    paint = getattr(type(layer), "_paint_region_with_mask", None)
    if paint is None:
        return
    layer_of, known_of = weakref.ref(layer), weakref.ref(of)

    def touching(
        box: tuple[slice, ...],
        inside: NDArray[np.bool_],
        label: int,
        axes: Sequence[int],
        *rest: Any,
        **more: Any,
    ) -> None:
        painted, known = layer_of(), known_of()
        if known is not None:
            others = tuple(axis for axis in range(len(box)) if axis not in axes)
            known.touch(box, np.expand_dims(inside, others), label)
        paint(painted, box, inside, label, axes, *rest, **more)

    layer._paint_region_with_mask = touching
