"""Which pixels of a label map a person painted, so that the program leaves them alone.

The map is someone else's (a Labels layer's): strokes are told, undo and redo are not. They are
recognised by the values they bring back, step by step as the map's own history would. Where several
explanations fit, what any of them leaves painted stays so; what has none is taken for painted.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

MAX_STEPS = 100  # as many as a Labels layer can undo

LabelMap: TypeAlias = NDArray[np.integer[Any]]
Indices: TypeAlias = NDArray[np.integer[Any]]
Mask: TypeAlias = NDArray[np.bool_]
Change: TypeAlias = tuple[Indices, LabelMap, LabelMap | int]


@dataclass(frozen=True, eq=False, slots=True)
class _Step:
    """One entry of the map's history: all arrays are (n,), of the pixels with these indices.

    Indices are flat, ascending and different. Values before and after differ somewhere.
    """

    indices: Indices
    before: LabelMap
    after: LabelMap
    mask_before: Mask
    mask_after: Mask

    @property
    def nbytes(self) -> int:
        """Memory of its arrays."""
        arrays = (self.indices, self.before, self.after, self.mask_before, self.mask_after)
        return sum(array.nbytes for array in arrays)


class Painted:
    """The pixels of one label map that a person painted.

    Parameters
    ----------
    data : (H, W) int
        The map; nothing in it is painted yet.

    Attributes
    ----------
    mask : (H, W) bool
        True where a person painted.
    seen : (H, W) int
        The map when it was last looked at.

    Notes
    -----
    Every method that gets the map raises ValueError if it has not the shape it had in the
    beginning. Its integer type may change.
    """

    def __init__(self, data: LabelMap) -> None:
        self.mask: Mask = np.zeros(data.shape, bool)
        self.seen = _copy(data)
        self._done: deque[_Step] = deque(maxlen=MAX_STEPS)
        self._undone: deque[_Step] = deque(maxlen=MAX_STEPS)
        # Changes since the last step that nobody told of: not in the map's history, but they may
        # be a stroke under way, which is told or taken back as a whole later.
        self._untold: deque[_Step] = deque(maxlen=MAX_STEPS)
        self._released: Mask | None = None

    def stroke(self, changes: Sequence[Change], data: LabelMap | None = None) -> None:
        """A person painted: one step that can be undone.

        Parameters
        ----------
        changes : sequence of (indices, before, after)
            At least one, in the order they were painted: flat indices (n,), the values there
            before (n,) and after (n,) or one for all. Pixels may occur repeatedly. What was
            there already can be told too; with nothing else, `touch`.
        data : (H, W) int, optional
            The map, with the stroke or still without it: only the other pixels are read. They
            tell what was undone or redone before this stroke. To be left out if nothing was since
            the last look: then the cost is that of the stroke, whatever the size of the map.
        """
        if data is None and self._untold:  # a look may have met the stroke under way
            data = self.seen
        if data is not None:
            self._check(data)
            self.look(_without(data, changes))
        indices, before, after = _net(changes)
        self._record(self._step(indices, before, after, by_person=True))
        self.seen = self.seen.astype(after.dtype, copy=False)
        self.seen.reshape(-1)[indices] = after

    def touch(self, where: Mask, box: tuple[slice, ...] = (slice(None), slice(None))) -> None:
        """A person painted what was there already: theirs, but no step that can be undone.

        Parameters
        ----------
        where : (h, w) bool
        box : (slice, slice)
            Which part of the map that covers: all of it unless given.
        """
        painted = self.mask[box]
        painted |= where

    def updated(self, data: LabelMap) -> None:
        """The program changed the map: one step that can be undone, if it changed anything.

        Parameters
        ----------
        data : (H, W) int
            The map with the change. `look` at it before changing it.
        """
        self._check(data)
        indices = np.flatnonzero(data != self.seen)
        if indices.size:
            self._record(self._from_seen(indices, data, by_person=False))
            self.seen = _copy(data)

    def previewed(self, data: LabelMap) -> None:
        """The program changed the map, but that is no step in its history.

        To make it one, change the map back to what it was, tell so by this method as well, then
        change it again and call `updated`.

        Parameters
        ----------
        data : (H, W) int
            The map with the change. `look` at it before changing it.
        """
        self._check(data)
        self.seen = _copy(data)

    def look(self, data: LabelMap) -> None:
        """Notice what was changed without a word: undone, redone, or by someone else.

        One comparison of arrays if nothing was.

        Parameters
        ----------
        data : (H, W) int
            The map.
        """
        self._check(data)
        different = (data != self.seen).reshape(-1)
        if not different.any():
            return
        if not self._retrace_one(data.reshape(-1), different):
            while self._retrace(data.reshape(-1), different):
                pass
        if different.any():
            self._untold.append(self._from_seen(np.flatnonzero(different), data, by_person=True))
        self.seen = _copy(data)

    def open_to(self, proposal: LabelMap, data: LabelMap) -> NDArray[np.intp]:
        """Where the program has something new to write and may.

        Parameters
        ----------
        proposal : (H, W) int
            What the program would write.
        data : (H, W) int
            The map. `look` at it before.

        Returns
        -------
        (n,) intp array
            Flat indices, ascending.
        """
        self._check(data)
        self._check(proposal)
        return np.flatnonzero((proposal != data) & ~self.mask)

    def release(self, where: Mask) -> None:
        """Pixels are the program's again; if its next step changes them, undoing it restores both.

        Parameters
        ----------
        where : (H, W) bool
        """
        self._check(where)
        released = self.mask & where
        self._released = released if self._released is None else self._released | released
        self.mask &= ~where

    def forget(self, kept: int) -> None:
        """Forget the oldest steps, as the map's history did.

        Parameters
        ----------
        kept : int
            How many there are in the map's history that can be undone.
        """
        while len(self._done) > kept:
            self._done.popleft()

    def forget_all(self) -> None:
        """Forget all steps: the map's history is empty."""
        self._done.clear()
        self._undone.clear()
        self._settle()

    @property
    def nbytes(self) -> int:
        """Memory of what can be undone."""
        return sum(step.nbytes for step in self._done)

    def ids(self, data: LabelMap) -> frozenset[int]:
        """The values that painted pixels hold, 0 too where a person erased."""
        self._check(data)
        return frozenset(np.unique(data[self.mask]).tolist())

    def ids_to_come_back(self) -> frozenset[int]:
        """The values that undo or redo may give back to painted pixels."""
        found: set[int] = set()
        for steps, back in ((self._done, True), (self._undone, False)):
            for step in steps:
                values = step.before if back else step.after
                found.update(np.unique(values[step.mask_before if back else step.mask_after]))
        return frozenset(map(int, found))

    def count(self) -> int:
        """How many pixels are painted."""
        return int(np.count_nonzero(self.mask))

    def _check(self, array: NDArray[Any]) -> None:
        if array.shape != self.mask.shape:
            raise ValueError(f"a map of {array.shape}, where one of {self.mask.shape} is followed")

    def _from_seen(self, indices: Indices, data: LabelMap, by_person: bool) -> _Step:
        """The step from `seen` to `data`."""
        before, after = self.seen.reshape(-1)[indices], data.reshape(-1)[indices]
        return self._step(indices, before, after, by_person)

    def _step(self, indices: Indices, before: LabelMap, after: LabelMap, by_person: bool) -> _Step:
        """A step; takes it as far as the mask is concerned."""
        mask = self.mask.reshape(-1)
        mask_before = mask_after = mask[indices]
        if by_person:
            mask_after = np.broadcast_to(np.True_, indices.shape)
            mask[indices] = True
        elif self._released is not None:
            mask_before = mask_before | self._released.reshape(-1)[indices]
        if mask.size <= np.iinfo(np.int32).max:
            indices = indices.astype(np.int32)
        return _Step(indices, before, after, mask_before, mask_after)

    def _record(self, step: _Step) -> None:
        """As the map's history does, which forgets what was undone."""
        self._undone.clear()
        self._settle()
        if (step.before != step.after).any():  # else its undoing cannot be seen either
            self._done.append(step)

    def _settle(self) -> None:
        """What was pending belongs to the past of the latest step."""
        self._untold.clear()
        self._released = None

    def _retrace_one(self, data: LabelMap, different: Mask) -> bool:
        """Go back or forth one step if that, and the other way not, explains all of `different`.

        The usual case, told from the latest steps alone.
        """
        count = int(np.count_nonzero(different))
        fitting = []
        for source in (self._done, self._undone):
            if source:
                step = source[-1]
                values = step.before if source is self._done else step.after
                changed = step.before != step.after
                if (
                    count == np.count_nonzero(changed)
                    and different[step.indices][changed].all()
                    and np.array_equal(data[step.indices], values)
                ):
                    fitting.append(source)
        if len(fitting) != 1:
            return False
        (source,) = fitting
        mask = self.mask.reshape(-1)
        if source is self._done:
            step = self._taken_back(mask)
            mask[step.indices] = step.mask_before
        else:
            step = source.pop()
            mask[step.indices] = step.mask_after
            self._done.append(step)
        self._settle()
        different[:] = False
        return True

    def _retrace(self, data: LabelMap, different: Mask) -> bool:
        """Go back or forth as many steps as explain most of the pixels that are different.

        Takes them out of `different`; False if no step explains any. Both arrays are flat.
        """
        fewest = int(np.count_nonzero(different))
        count, source, place, painted = 0, self._done, 0, self.mask.reshape(-1)
        for steps, way in ((self._done, -1), (self._undone, 1), (self._untold, 0)):
            mask = self.mask.reshape(-1).copy()
            for past, (step, left) in enumerate(self._fits(steps, data, different), 1):
                mask[step.indices] = step.mask_after if steps is self._undone else step.mask_before
                if left is None or left > fewest or not (count or left < fewest):
                    continue
                painted = mask | painted if left == fewest else mask.copy()
                # Of equals the latest, for the steps after it are forgotten with the next stroke.
                if left < fewest or way * past > place:
                    fewest, count, source, place = left, past, steps, way * past
        mask = self.mask.reshape(-1).copy()
        self.mask[:] = painted.reshape(self.mask.shape)
        for _ in range(count):
            if source is self._done:
                step = self._taken_back(mask)
                mask[step.indices] = step.mask_before
            else:
                step = source.pop()
                if source is self._undone:
                    self._done.append(step)
            different[step.indices] = False
            if source is not self._untold:
                self._settle()
        return count > 0

    def _taken_back(self, mask: Mask) -> _Step:
        """Undo the latest step as far as history is concerned; the step, which redo brings back.

        With it comes back what was touched after it, by the flat mask of this moment.
        """
        step = self._done.pop()
        step = replace(step, mask_after=mask[step.indices])
        self._undone.append(step)
        return step

    def _fits(
        self, source: deque[_Step], data: LabelMap, different: Mask
    ) -> Iterator[tuple[_Step, int | None]]:
        """Whether the map is as if the last steps of `source` had been taken, one by one.

        Parameters
        ----------
        source : deque of steps
        data : (H * W,) int
            The map as it is now.
        different : (H * W,) bool
            Where that is not as it was seen.

        Yields
        ------
        step : _Step
            The next one.
        left : int or None
            After it, how many pixels would still be different, but None if there are some among
            those that the steps so far have written.
        """
        different = different.copy()
        written = np.zeros_like(different)
        left = int(np.count_nonzero(different))
        wrong = 0  # of those left, how many are written
        for step in reversed(source):
            values = step.after if source is self._undone else step.before
            was, now = different[step.indices], values != data[step.indices]
            more = int(np.count_nonzero(now))
            wrong += more - int(np.count_nonzero(was & written[step.indices]))
            left += more - int(np.count_nonzero(was))
            different[step.indices] = now
            written[step.indices] = True
            yield step, None if wrong else left


def _net(changes: Sequence[Change]) -> tuple[Indices, LabelMap, LabelMap]:
    """Of each pixel its index, its first value and its last: (n,) each, values of one type."""
    indices = np.concatenate([where for where, _, _ in changes])
    before = np.concatenate([values for _, values, _ in changes])
    values = {int(value) for _, _, value in changes if np.ndim(value) == 0}
    if len(values) == 1 and all(np.ndim(value) == 0 for _, _, value in changes):
        # The usual brush: what it has painted it does not change again.
        return indices, before, np.full_like(before, values.pop())
    after = np.concatenate([np.broadcast_to(values, where.shape) for where, _, values in changes])
    unique, first = np.unique(indices, return_index=True)
    _, last = np.unique(indices[::-1], return_index=True)
    return unique, before[first], after[::-1][last].astype(before.dtype)


def _without(data: LabelMap, changes: Sequence[Change]) -> LabelMap:
    """The map as it was before the changes."""
    indices, before, _ = _net(changes)
    earlier = _copy(data)
    earlier.reshape(-1)[indices] = before
    return earlier


def _copy(data: LabelMap) -> LabelMap:
    """A copy whose flat view is a view, whatever the order of `data` in memory."""
    return np.array(data, order="C")
