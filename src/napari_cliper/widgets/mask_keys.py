"""What keys and clicks do on our masks: napari does not honour a manifest's key bindings."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cliper.widgets import masks

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_cliper.widgets.corrections import Corrections
    from napari_cliper.widgets.unsure_places import UnsurePlaces

CLASS_KEYS = 9
"""Alt+1 to Alt+9 are the first classes, Alt+0 is the background."""
STILL = 4  # screen pixels that a click may wander


def bind(layer: Labels, corrections: Corrections, places: UnsurePlaces) -> None:
    """Bind keys and clicks of one mask's layer."""
    for number in range(CLASS_KEYS + 1):
        layer.bind_key(f"Alt-{number}", _class_key(corrections, number), overwrite=True)
    for key, action in (
        ("Enter", _accept(corrections)),
        ("Escape", _drop(corrections, places)),
        ("N", _next(places)),
    ):
        layer.bind_key(key, action, overwrite=True)
    layer.mouse_drag_callbacks.append(_click(corrections))


def _class_key(corrections: Corrections, number: int) -> Callable[[Labels], None]:
    def press(layer: Labels) -> None:
        mask = masks.of(layer)
        if mask is not None and number <= len(mask.classes):
            corrections.press_class(mask, mask.classes[number - 1].id if number else 0)

    name = f"class {number} of the list" if number else "the background"
    press.__doc__ = f"Give the chosen region {name}, or paint with it."
    return press


def _accept(corrections: Corrections) -> Callable[[Labels], None]:
    def accept(layer: Labels) -> None:
        """Let the change that is shown count; else complete the polygon."""
        if corrections.change is not None:
            corrections.accept()
        else:
            _press_naparis("complete_polygon", layer)

    return accept


def _drop(corrections: Corrections, places: UnsurePlaces) -> Callable[[Labels], None]:
    def drop(layer: Labels) -> None:
        """Forget the change that is shown, the chosen region, or the polygon."""
        if corrections.change is not None:
            corrections.drop()
        elif corrections.region is not None:
            corrections.let_go()
        else:
            places.leave()
            _press_naparis("reset_polygon", layer)

    return drop


def _press_naparis(action: str, layer: Labels) -> None:
    """Do what napari's own key does, which ours stands before.

    There is no public way to it: with a napari that has it elsewhere, the key does only our part.
    """
    try:
        bindings = import_module("napari.layers.labels._labels_key_bindings")
    except ImportError:
        return
    press = getattr(bindings, action, None)
    if press is not None:
        press(layer)


def _next(places: UnsurePlaces) -> Callable[[Labels], None]:
    def jump(layer: Labels) -> None:
        """Go to the next place that is unsure."""
        places.jump()

    return jump


def _click(corrections: Corrections) -> Callable[[Labels, Any], Iterator[None]]:
    def click(layer: Labels, event: Any) -> Iterator[None]:
        """Choose the region below the mouse, unless the picture is dragged."""
        if layer.mode != "pan_zoom" or event.button != 1 or event.modifiers:
            return
        began, wandered = np.array(event.pos), False
        yield
        while event.type == "mouse_move":
            wandered = wandered or bool(np.abs(np.array(event.pos) - began).max() > STILL)
            yield
        mask = masks.of(layer)
        place = np.round(layer.world_to_data(event.position)[-2:]).astype(int)
        inside = mask is not None and (place >= 0).all() and (place < mask.data.shape).all()
        if mask is not None and inside and not wandered:
            corrections.choose(mask, (int(place[0]), int(place[1])))

    return click


_bound: weakref.WeakSet[Labels] = weakref.WeakSet()


def bind_once(layer: Labels, corrections: Corrections, places: UnsurePlaces) -> None:
    """The same, unless it was done already."""
    if layer not in _bound:
        _bound.add(layer)
        bind(layer, corrections, places)
