"""napari's undo history of a Labels layer, of which there is no public word."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cliper.annotation.painted import Change


def changes(step: list[Any], shape: tuple[int, ...]) -> list[Change]:
    """What a step changed, in order: flat indices, values before and values after."""
    return [_change(atom, shape) for atom in step]


def plane_by_plane(changes: list[Change], shape: tuple[int, ...]) -> dict[int, list[Change]]:
    """The same changes with indices in the plane of the last two axes, by the plane's number."""
    if len(shape) == 2:
        return {0: changes}
    size = shape[-2] * shape[-1]
    found: dict[int, list[Change]] = {}
    for indices, before, after in changes:
        numbers = indices // size
        for number in np.unique(numbers).tolist():
            here = numbers == number
            new = after if np.ndim(after) == 0 else np.broadcast_to(after, indices.shape)[here]
            found.setdefault(number, []).append((indices[here] % size, before[here], new))
    return found


def _change(atom: Any, shape: tuple[int, ...]) -> Change:
    if _is_plain(atom):
        indices, before, after = atom
        return np.atleast_1d(np.ravel_multi_index(indices, shape)), before, after
    inside = np.ones(np.shape(atom.old_values), bool) if atom.mask is None else atom.mask
    begin = [part.start or 0 for part in atom.slice_key]
    height, width = inside.shape[-2:]
    if inside.size == height * width:  # in one plane
        # Faster than numpy's own ways for as few pixels as a brush has.
        indices = np.flatnonzero(inside)
        indices += indices // width * (shape[-1] - width)
        indices += np.ravel_multi_index(begin, shape)
    else:
        places = (axis + first for axis, first in zip(np.nonzero(inside), begin, strict=True))
        indices = np.ravel_multi_index(tuple(places), shape)
    return indices, np.ravel(atom.old_values), atom.new_value


class Sizes:
    """How much memory each step takes; a step is measured once."""

    def __init__(self) -> None:
        # With the steps themselves: else another one may have its identity.
        self._known: dict[int, tuple[list[Any], int]] = {}

    def of(self, steps: Iterable[list[Any]]) -> list[int]:
        """Bytes of each step; of others nothing is remembered."""
        known = self._known
        self._known = {
            id(step): known[id(step)] if id(step) in known else (step, _size(step))
            for step in steps
        }
        return [size for _, size in self._known.values()]


def _size(step: list[Any]) -> int:
    return sum(array.nbytes for atom in step for array in _arrays(atom))


def _arrays(atom: Any) -> Iterator[NDArray[Any]]:
    if _is_plain(atom):
        indices, before, after = atom
        parts = [*indices, before, after]
    else:
        parts = [atom.mask, atom.old_values]
    return (part for part in parts if isinstance(part, np.ndarray))


def _is_plain(atom: Any) -> bool:
    """Whether it is (indices, before, after), as `data_setitem` makes it, and not the brush's."""
    return isinstance(atom, tuple) and not hasattr(atom, "slice_key")
