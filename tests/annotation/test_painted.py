import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from napari.layers import Labels

from napari_cliper.annotation.painted import MAX_STEPS, Painted

SHAPE = (4, 5)
SIZE = 20
NOWHERE: frozenset[int] = frozenset()


class Map:
    """A label map with the history of a Labels layer; the owner of each pixel goes with its value.

    So the owners are what `Painted` should find out: its mask, known here without any guess.
    """

    def __init__(self):
        self.data = np.zeros(SHAPE[::-1], np.uint8).T  # a view that is not in order
        self.owner = np.zeros(SHAPE, bool)
        self.done, self.undone = [], []

    def write(self, where, values, owner):
        at = np.unravel_index(where, SHAPE)
        old = self.data[at], self.owner[at]
        self.data[at], self.owner[at] = values, owner
        return at, old, (self.data[at], self.owner[at])

    def keep(self, atoms):
        self.done.append(atoms)
        self.undone.clear()

    def undo(self):
        atoms = self.done.pop()
        for at, (values, owner), _ in reversed(atoms):
            self.data[at], self.owner[at] = values, owner
        self.undone.append(atoms)

    def redo(self):
        atoms = self.undone.pop()
        for at, _, (values, owner) in atoms:
            self.data[at], self.owner[at] = values, owner
        self.done.append(atoms)


def told(atoms):
    """What `Painted.stroke` is told: indices, values before, value after."""
    return [
        (np.ravel_multi_index(at, SHAPE), before, int(after[0]))
        for at, (before, _), (after, _) in atoms
    ]


class Annotator:
    """A map, and what follows it, with the person, the program and other code around them.

    Parameters
    ----------
    quick : bool
        Whether strokes are told without the map, after a look at it.
    """

    def __init__(self, quick=False):
        self.quick = quick
        self.map = Map()
        self.painted = Painted(self.map.data)

    @property
    def mask(self):
        return set(np.flatnonzero(self.painted.mask).tolist())

    def look(self):
        self.painted.look(self.map.data)

    def atom(self, where, value):
        """As the brush does: only pixels that have not the value yet."""
        where = [index for index in sorted(where) if self.map.data.flat[index] != value]
        return self.map.write(where, value, True) if where else None

    def stroke(self, *dabs, peek=False, told_first=False):
        """Paint (pixels, value) after (pixels, value) in one step; told_first: before writing."""
        if self.quick:
            self.look()
        before = self.map.data.copy()
        atoms = []
        for where, value in dabs:
            if atom := self.atom(where, value):
                atoms.append(atom)
            if peek:
                self.look()
        if atoms:
            self.map.keep(atoms)
            if self.quick:
                self.painted.stroke(told(atoms))
            else:
                self.painted.stroke(told(atoms), before if told_first else self.map.data)

    def touch(self, where):
        """Paint what is there already: told in a box around it, as the brush does."""
        self.look()
        rows, columns = np.unravel_index(sorted(where), SHAPE)
        box = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
        touched = np.zeros(SHAPE, bool)
        touched[rows, columns] = True
        self.painted.touch(touched[box], box)
        self.map.owner |= touched

    def forget(self, kept):
        """The map's history forgets its oldest steps."""
        self.look()
        del self.map.done[: max(0, len(self.map.done) - kept)]
        self.painted.forget(len(self.map.done))

    def abort(self, *dabs, peek=False):
        atoms = []
        for where, value in dabs:
            if atom := self.atom(where, value):
                atoms.append(atom)
            if peek:
                self.look()
        self.map.keep(atoms)
        undone = self.map.undone[:]
        self.map.undo()
        self.map.undone[:] = undone

    def update(self, proposal, owner_before=None):
        self.look()
        where = self.painted.open_to(proposal, self.map.data)
        if where.size:
            if owner_before is not None:
                self.map.owner = owner_before
            self.map.keep([self.map.write(where, proposal.flat[where], False)])
        self.painted.updated(self.map.data)

    def reset(self, where, proposal):
        self.look()
        owner = self.map.owner.copy()
        region = np.zeros(SHAPE, bool)
        region.flat[list(where)] = True
        self.painted.release(region)
        self.update(proposal, owner)
        self.map.owner[region] = False

    def preview(self, proposals):
        self.look()
        base = self.map.data.copy()
        for proposal in proposals:
            where = self.painted.open_to(proposal, self.map.data)
            self.map.data[np.unravel_index(where, SHAPE)] = proposal.flat[where]
            self.painted.previewed(self.map.data)
        self.map.data[:] = base
        self.painted.previewed(self.map.data)

    def foreign(self, where, value):
        self.map.write(sorted(where), value, True)


def everywhere(value):
    return np.full(SHAPE, value)


@pytest.fixture(params=[False, True], ids=["with the map", "without the map"])
def person(request):
    return Annotator(quick=request.param)


# One rule each


def test_nothing_is_painted_in_the_beginning(person):
    assert person.painted.count() == 0
    assert person.painted.ids(person.map.data) == NOWHERE
    assert person.painted.open_to(everywhere(3), person.map.data).tolist() == list(range(SIZE))


@pytest.mark.parametrize("told_first", [False, True])
def test_a_stroke_is_the_persons(person, told_first):
    person.stroke(({1, 2}, 7), told_first=told_first)
    assert person.mask == {1, 2}
    assert person.painted.count() == 2
    assert person.painted.ids(person.map.data) == {7}
    assert person.painted.seen.flat[1] == 7
    assert set(person.painted.open_to(everywhere(3), person.map.data)) == set(range(SIZE)) - {1, 2}


def test_where_the_program_would_write_the_same_it_has_nothing_to_write(person):
    person.map.data[0] = 3
    person.painted.previewed(person.map.data)
    assert set(person.painted.open_to(everywhere(3), person.map.data)) == set(range(5, SIZE))


def test_undo_and_redo_of_a_stroke(person):
    person.stroke(({1, 2}, 7))
    for _ in range(2):
        person.map.undo()
        person.look()
        assert person.mask == NOWHERE
        person.map.redo()
        person.look()
        assert person.mask == {1, 2}


def test_the_same_pixels_several_times_in_a_stroke(person):
    person.stroke(({1, 2}, 7), ({2, 3}, 8), ({3}, 9))
    assert person.mask == {1, 2, 3}
    person.map.undo()
    person.look()
    assert person.mask == NOWHERE


def test_undoing_the_upper_of_two_strokes_leaves_the_lower_painted(person):
    person.stroke(({1, 2}, 7))
    person.stroke(({2, 3}, 8))
    person.map.undo()
    person.look()
    assert person.mask == {1, 2}
    assert person.painted.ids(person.map.data) == {7}


def test_both_undone_between_two_looks(person):
    person.stroke(({1, 2}, 7))
    person.stroke(({2, 3}, 8))
    person.map.undo()
    person.map.undo()
    person.look()
    assert person.mask == NOWHERE
    person.map.redo()
    person.map.redo()
    person.look()
    assert person.mask == {1, 2, 3}


def test_undone_and_painted_anew_between_two_looks(person):
    person.stroke(({1, 2}, 7))
    person.stroke(({2, 3}, 8))
    person.map.undo()
    person.stroke(({2, 5}, 9))
    assert person.mask == {1, 2, 5}
    person.map.undo()
    person.look()
    assert person.mask == {1, 2}


def test_past_a_step_of_the_program(person):
    person.stroke(({1, 2}, 7))
    person.update(everywhere(3))
    assert person.mask == {1, 2}
    person.map.undo()
    person.look()
    assert person.mask == {1, 2}
    person.map.undo()
    person.look()
    assert person.mask == NOWHERE
    person.map.redo()
    person.map.redo()
    person.look()
    assert person.mask == {1, 2}
    np.testing.assert_array_equal(person.painted.seen, person.map.data)


def test_a_stroke_over_a_step_of_the_program(person):
    person.update(everywhere(3))
    person.stroke(({1, 2}, 0))
    assert person.painted.ids(person.map.data) == {0}
    person.update(everywhere(4))
    assert person.map.data.flat[1] == 0
    for _ in range(3):
        person.map.undo()
    person.look()
    assert person.mask == NOWHERE


def test_what_the_program_writes_anew_forgets_what_was_undone(person):
    person.stroke(({1}, 7))
    person.map.undo()
    person.update(everywhere(3))
    person.foreign({1}, 7)  # no redo: there is none
    person.look()
    assert person.mask == {1}
    person.foreign({1}, 3)
    person.look()
    assert person.mask == NOWHERE


def test_an_update_that_changes_nothing_is_no_step(person):
    person.stroke(({1}, 7))
    person.map.undo()
    person.look()
    person.update(everywhere(0))
    person.map.redo()
    person.stroke(({2}, 7))
    assert person.mask == {1, 2}
    person.map.undo()
    person.map.undo()
    person.look()
    assert person.mask == NOWHERE


def test_previews_leave_no_trace(person):
    person.stroke(({1}, 7))
    person.preview([everywhere(3), everywhere(4)])
    person.update(everywhere(4))
    assert person.mask == {1}
    person.map.undo()
    person.map.undo()
    person.look()
    assert person.mask == NOWHERE


def test_undo_within_a_preview(person):
    person.stroke(({1}, 7))
    person.look()
    person.map.data.flat[3:6] = 3
    person.painted.previewed(person.map.data)
    person.map.undo()
    person.look()
    assert person.mask == NOWHERE


def test_changes_by_others_are_taken_for_the_persons(person):
    person.update(everywhere(3))
    person.foreign({1, 2}, 7)
    person.look()
    assert person.mask == {1, 2}
    person.foreign({1, 2}, 3)  # as it was
    person.look()
    assert person.mask == NOWHERE


def test_others_change_what_they_changed_before_the_last_stroke(person):
    person.foreign({1}, 9)
    person.stroke(({1}, 7))
    person.foreign({1}, 0)
    person.look()
    assert person.mask == {1}


def test_undo_below_a_change_by_others(person):
    person.stroke(({1, 2}, 7))
    person.stroke(({5}, 7))
    person.foreign({2, 3}, 9)
    person.look()
    assert person.mask == {1, 2, 3, 5}
    person.map.undo()
    person.map.undo()  # this writes over what the others did to pixel 2
    person.look()
    assert person.mask == {3}
    person.map.redo()
    person.look()
    assert person.mask == {1, 2, 3}


def test_others_write_where_a_step_wrote_in_part_what_was_there_before(person):
    person.stroke(({1, 2, 3}, 7))
    person.foreign({1, 2}, 0)
    person.look()
    assert person.mask == {1, 2, 3}


def test_a_look_at_a_stroke_under_way(person):
    person.stroke(({1, 2}, 7), ({2, 3}, 8), peek=True)
    assert person.mask == {1, 2, 3}
    person.map.undo()
    person.look()
    assert person.mask == NOWHERE


def test_a_stroke_taken_back_before_it_ended(person):
    person.stroke(({5}, 7))
    person.abort(({1, 2}, 7), ({2, 3}, 8), peek=True)
    person.look()
    assert person.mask == {5}


def test_a_stroke_that_ends_as_it_began_is_painted_too(person):
    person.stroke(({1}, 7))
    person.stroke(({2}, 8), ({2}, 0))
    assert person.mask == {1, 2}
    person.map.undo()
    person.map.undo()
    person.look()  # that the second was undone cannot be seen
    assert person.mask == {2}


def test_when_in_doubt_pixels_stay_painted(person):
    person.stroke(({1}, 7))
    person.stroke(({1}, 0))
    person.map.undo()
    person.look()
    person.map.redo()  # brings what one more undo would have brought, too
    person.look()
    assert person.mask == {1}


def test_undo_that_looks_like_a_redo_of_the_program(person):
    person.stroke(({1}, 7))
    person.stroke(({1}, 0))
    proposal = everywhere(0)
    proposal.flat[1] = 7
    person.reset({1}, proposal)
    person.map.undo()
    person.look()
    person.map.undo()
    person.look()
    assert person.mask == {1}


def test_when_in_doubt_no_step_is_forgotten(person):
    for value in (1, 0, 1):
        person.stroke(({1}, value))
    person.map.undo()
    person.look()
    person.map.redo()  # or one more undo?
    person.look()
    person.stroke(({2}, 1))
    person.map.undo()
    person.look()
    person.map.undo()
    person.look()
    assert person.mask == {1}


def test_others_take_back_what_they_did_and_a_stroke_is_undone_between_two_looks(person):
    person.stroke(({1}, 7))
    person.foreign({2, 3}, 9)
    person.look()
    person.foreign({2, 3}, 0)
    person.map.undo()
    person.look()
    assert person.mask == NOWHERE


def test_released_pixels_are_the_programs(person):
    person.update(everywhere(3))
    person.stroke(({1, 2}, 7))
    person.reset({2, 4}, everywhere(3))
    assert person.mask == {1}
    assert person.map.data.flat[2] == 3
    person.map.undo()
    person.look()
    assert person.mask == {1, 2}
    person.map.redo()
    person.look()
    assert person.mask == {1}


def test_only_the_next_step_gives_released_pixels_back(person):
    person.stroke(({1}, 7))
    region = np.ones(SHAPE, bool)
    person.painted.release(region)
    person.stroke(({2}, 8))
    person.update(everywhere(3))
    person.map.undo()
    person.look()
    assert person.mask == {2}


def test_as_many_steps_as_a_labels_layer(person):
    for value in range(1, MAX_STEPS + 2):
        person.stroke(({value % SIZE}, value))
    for _ in range(MAX_STEPS):
        person.map.undo()
    person.look()
    assert person.mask == {1}


def test_the_map_becomes_wider(person):
    person.stroke(({1}, 255))
    person.map.data = person.map.data.astype(np.uint16)
    person.look()
    person.stroke(({2}, 256 + 7))
    assert person.painted.seen.flat[2] == 256 + 7
    person.map.data = person.map.data.astype(np.int32)
    person.map.undo()
    person.look()
    assert person.mask == {1}
    person.map.undo()
    person.map.redo()
    person.map.redo()
    person.look()
    assert person.painted.ids(person.map.data) == {255, 256 + 7}


@pytest.mark.parametrize("quick", [False, True])
def test_indices_may_come_in_any_order_and_after_values_as_an_array(quick):
    data = np.zeros(SHAPE, np.uint8)
    painted = Painted(data)
    data.flat[[3, 1, 2]] = [7, 8, 9]
    step = [(np.array([3, 1, 2]), np.zeros(3, np.uint8), np.array([7, 8, 9]))]
    painted.stroke(step, None if quick else data)
    np.testing.assert_array_equal(painted.seen, data)
    assert np.flatnonzero(painted.mask).tolist() == [1, 2, 3]


def change(where, before, after):
    return np.array(where), np.array(before, np.uint8), after


@pytest.mark.parametrize(
    ("changes", "after"),
    [
        ([change([1], [0], 7), change([3, 2], [5, 0], 7)], [7, 7, 7]),  # one value for all
        ([change([1, 2], [0, 0], 7), change([2, 3], [7, 5], 8)], [7, 8, 8]),  # the last one counts
        ([change([1], [0], 7), change([2, 3], [0, 5], np.array([7, 9]))], [7, 7, 9]),
        ([change([1], [0], 7), change([1], [7], 0), change([2, 3], [0, 5], 4)], [0, 4, 4]),
    ],
)
@pytest.mark.parametrize("quick", [False, True])
def test_a_stroke_of_one_value_and_one_of_several(changes, after, quick):
    before = np.zeros(SHAPE, np.uint8)
    before.flat[3] = 5
    data = before.copy()
    painted = Painted(data)
    data.flat[[1, 2, 3]] = after
    painted.stroke(changes, None if quick else data)
    np.testing.assert_array_equal(painted.seen, data)
    assert painted.seen.dtype == np.uint8
    assert np.flatnonzero(painted.mask).tolist() == [1, 2, 3]
    painted.look(before)
    assert painted.count() == 0
    painted.look(data)
    assert np.flatnonzero(painted.mask).tolist() == [1, 2, 3]


def test_without_the_map_only_the_strokes_pixels_are_read_and_written():
    data = np.zeros(SHAPE, np.uint8)
    painted = Painted(data)
    seen = painted.seen
    painted.stroke([change([1, 2], [0, 0], 7)])
    assert painted.seen is seen  # not compared, not copied
    assert np.flatnonzero(seen).tolist() == [1, 2]


def test_a_look_at_a_stroke_under_way_told_without_the_map():
    person = Annotator(quick=True)
    person.foreign({9}, 3)
    person.stroke(({1, 2}, 7), ({2, 3}, 7), ({3, 4}, 8), peek=True)
    assert person.mask == {1, 2, 3, 4, 9}
    person.map.undo()
    person.look()
    assert person.mask == {9}
    person.map.redo()
    person.look()
    assert person.mask == {1, 2, 3, 4, 9}


# What is there already


def test_what_is_touched_is_the_persons(person):
    person.update(everywhere(3))
    person.touch({6, 7, 12})
    assert person.mask == {6, 7, 12}
    assert person.painted.ids(person.map.data) == {3}
    person.update(everywhere(4))
    assert np.flatnonzero(person.map.data == 3).tolist() == [6, 7, 12]


def test_without_a_box_the_whole_map_may_be_touched(person):
    where = np.zeros(SHAPE, bool)
    where[1:3, 2] = True
    person.painted.touch(where)
    where[:] = False  # not kept, but copied
    assert person.mask == {7, 12}


def test_a_touch_is_no_step(person):
    person.stroke(({1, 2}, 7))
    person.touch({2, 5})
    person.map.undo()  # of the stroke, which wrote below the touched pixel
    person.look()
    assert person.mask == {5}
    person.map.redo()
    person.look()
    assert person.mask == {1, 2, 5}


def test_a_later_step_undone_gives_touched_pixels_back(person):
    person.update(everywhere(3))
    person.touch({5, 6})
    person.stroke(({6, 7}, 8))
    person.map.undo()
    person.look()
    assert person.mask == {5, 6}
    person.reset({5}, everywhere(4))
    assert person.mask == {6}
    person.map.undo()
    person.look()
    assert person.mask == {5, 6}


def test_an_earlier_step_undone_takes_back_what_was_touched_of_it(person):
    person.stroke(({1}, 7))
    person.update(everywhere(3))
    person.touch({1, 5})
    person.map.undo()  # the touched value goes
    person.look()
    assert person.mask == {1}
    person.map.undo()
    person.look()
    assert person.mask == NOWHERE


def test_redo_brings_back_what_was_touched_after_the_step(person):
    person.update(everywhere(3))
    person.touch({1, 5})
    person.map.undo()
    person.look()
    assert person.mask == NOWHERE
    person.map.redo()
    person.look()
    assert person.mask == {1, 5}


def test_both_undone_between_two_looks_and_what_was_touched_comes_back(person):
    person.update(everywhere(3))
    person.touch({1})
    person.update(everywhere(4))
    person.touch({2})
    person.map.undo()
    person.map.undo()
    person.look()
    person.map.redo()
    person.look()
    assert person.mask == {1}
    person.map.redo()
    person.look()
    assert person.mask == {1, 2}


def test_touched_pixels_can_be_released(person):
    person.touch({5, 6})
    person.reset({6}, everywhere(3))
    assert person.mask == {5}
    assert person.map.data.flat[6] == 3


# Memory


def test_memory_of_what_can_be_undone(person):
    assert person.painted.nbytes == 0
    person.stroke(({1, 2}, 7))
    assert person.painted.nbytes == 2 * (4 + 1 + 1 + 1 + 1)  # place, two values, two flags
    person.map.data = person.map.data.astype(np.uint16)
    person.update(everywhere(3))
    assert person.painted.nbytes == 16 + 18 * (4 + 1 + 2 + 1 + 1)  # the values before were narrow
    person.touch({9})
    person.preview([everywhere(4)])
    assert person.painted.nbytes == 16 + 162
    person.map.undo()
    person.look()
    assert person.painted.nbytes == 16


def test_the_oldest_steps_are_forgotten(person):
    person.stroke(({1}, 7))
    person.stroke(({2, 3}, 8))
    person.stroke(({3, 4}, 9))
    person.forget(4)
    assert person.painted.nbytes == 5 * 8
    person.forget(2)
    assert person.painted.nbytes == 4 * 8
    assert person.mask == {1, 2, 3, 4}
    person.map.undo()
    person.map.undo()
    person.look()
    assert person.mask == {1}
    person.map.redo()
    person.look()
    assert person.mask == {1, 2, 3}
    person.foreign({1}, 0)  # no undo: that step is forgotten
    person.look()
    assert person.mask == {1, 2, 3}
    person.forget(0)
    assert person.painted.nbytes == 0
    person.foreign({2, 3}, 0)
    person.look()
    assert person.mask == {1, 2, 3}


@pytest.mark.parametrize(
    "call",
    [
        lambda painted, map_: painted.look(map_),
        lambda painted, map_: painted.updated(map_),
        lambda painted, map_: painted.previewed(map_),
        lambda painted, map_: painted.ids(map_),
        lambda painted, map_: painted.release(map_ > 0),
        lambda painted, map_: painted.open_to(map_, np.zeros(SHAPE)),
        lambda painted, map_: painted.open_to(np.zeros(SHAPE), map_),
        lambda painted, map_: painted.stroke([], map_),
    ],
)
def test_another_shape_is_the_callers_mistake(person, call):
    with pytest.raises(ValueError, match=r"\(1, 5\), where one of \(4, 5\)"):
        call(person.painted, np.zeros((1, 5), np.uint8))


# A layer of napari itself


def flat(atom):
    """An entry of a Labels layer's history as `Painted.stroke` is told of it."""
    if len(atom) == 3:
        at, before, after = atom
        return np.ravel_multi_index(at, SHAPE), before, after
    at, mask, before, after = atom
    indices = np.arange(SIZE).reshape(SHAPE)[at]
    return (indices if mask is None else indices[mask]).ravel(), before.ravel(), after


def test_with_a_labels_layer():
    layer = Labels(np.zeros(SHAPE, np.uint8))
    painted = Painted(layer.data)
    layer.events.paint.connect(
        lambda event: painted.stroke([flat(atom) for atom in event.value], layer.data)
    )
    masks = [painted.mask.copy()]

    def changed():
        painted.look(layer.data)
        np.testing.assert_array_equal(painted.seen, layer.data)
        masks.append(painted.mask.copy())

    layer.brush_size = 1
    layer.paint((1, 1), 3)
    changed()
    with layer.block_history():
        layer.paint((1, 2), 4)
        layer.paint((2, 2), 5)
        painted.look(layer.data)
    changed()
    layer.data_setitem((np.array([0, 1]), np.array([4, 4])), [6, 7])
    changed()
    with layer.events.paint.blocker():
        where = painted.open_to(everywhere(2), layer.data)
        layer.data_setitem(np.unravel_index(where, SHAPE), 2)
    painted.updated(layer.data)
    changed()
    layer.fill((1, 4), 8)
    changed()
    layer.paint_polygon([(0, 0), (0, 2), (2, 2), (2, 0)], 9)
    changed()
    assert [int(mask.sum()) for mask in masks] == [0, 1, 3, 5, 5, 5, 11]
    for expected in masks[-2::-1]:
        layer.undo()
        painted.look(layer.data)
        np.testing.assert_array_equal(painted.mask, expected)
    for expected in masks[1:]:
        layer.redo()
        painted.look(layer.data)
        np.testing.assert_array_equal(painted.mask, expected)


# All of them, in any order

pixels = st.integers(1, 2**SIZE - 1).map(
    lambda bits: [index for index in range(SIZE) if bits >> index & 1]
)
rectangles = st.tuples(*[st.integers(0, 3)] * 2, *[st.integers(0, 4)] * 2).map(
    lambda edge: [
        y * SHAPE[1] + x
        for y in range(min(edge[:2]), max(edge[:2]) + 1)
        for x in range(min(edge[2:]), max(edge[2:]) + 1)
    ]
)
dabs = st.lists(st.tuples(rectangles, st.integers(0, 2)), min_size=1, max_size=3)
steps = st.integers(1, 4)


class Machine(RuleBasedStateMachine):
    """What both machines below share."""

    peeks = True

    def __init__(self):
        super().__init__()
        self.person = Annotator()
        self.looked = True
        self.newest = 2

    @property
    def map(self):
        return self.person.map

    def value(self, drawn):
        return drawn

    def new_value(self):
        self.newest += 1
        if self.newest > np.iinfo(self.map.data.dtype).max:
            self.map.data = self.map.data.astype(np.uint16)
        return self.newest

    def values(self, dabs):
        return [(where, self.value(drawn)) for where, drawn in dabs]

    def proposal(self, where, value):
        """The map with another value in some places, whether they are painted or not."""
        proposal = self.map.data.copy()
        proposal.flat[where] = value
        return proposal

    def look(self):
        self.person.look()
        self.looked = True

    @rule(where=rectangles, drawn=st.integers(0, 2), told_first=st.booleans(), quick=st.booleans())
    def one_dab(self, where, drawn, told_first, quick):
        undo_unseen = not self.looked
        self.person.quick = quick
        self.person.stroke((where, self.value(drawn)), told_first=told_first)
        if undo_unseen:
            self.look()  # there may have been nothing to paint

    @rule(dabs=dabs, peek=st.booleans(), quick=st.booleans())
    def stroke(self, dabs, peek, quick):
        self.person.quick = quick
        peek &= self.peeks
        if peek and not self.looked:
            self.look()
        dabs = self.values(dabs)
        after = self.map.data.copy()
        for where, value in dabs:
            after.flat[where] = value
        if (after != self.map.data).any():  # else its undoing cannot be seen
            self.person.stroke(*dabs, peek=peek)
        self.look()

    @rule(dabs=dabs, peek=st.booleans())
    def abort(self, dabs, peek):
        self.look()
        self.person.abort(*self.values(dabs), peek=peek and self.peeks)
        self.look()

    @rule(where=pixels, drawn=st.integers(0, 2))
    def update(self, where, drawn):
        proposal = self.proposal(where, self.value(drawn))
        self.looked = True
        before, painted = self.map.data.copy(), self.map.owner.copy()
        self.person.update(proposal)
        assert (self.map.data == before)[painted].all()

    @rule(places=st.lists(pixels, min_size=1, max_size=3), drawn=st.integers(0, 2))
    def drag(self, places, drawn):
        proposals = [self.proposal(where, self.value(drawn)) for where in places]
        self.looked = True
        self.person.preview(proposals)
        self.person.update(proposals[-1])

    @rule(where=rectangles, more=pixels)
    def reset(self, where, more):
        # Released pixels all change: the map's history knows nothing of those that do not.
        proposal = self.proposal([*where, *more], self.new_value())
        self.looked = True
        self.person.reset(where, proposal)

    @rule(where=st.one_of(rectangles, pixels))
    def touch(self, where):
        self.looked = True
        self.person.touch(where)

    @rule()
    def later(self):
        self.look()

    @invariant()
    def it_has_seen_the_map(self):
        if self.looked:
            np.testing.assert_array_equal(self.person.painted.seen, self.map.data)


class Exact(Machine):
    """Every value is new, so that there is one explanation for whatever happens."""

    def value(self, drawn):
        return self.new_value()

    @precondition(lambda self: self.map.done)
    @rule(count=steps)
    def undo(self, count):
        self.look()
        for _ in range(min(count, len(self.map.done))):
            self.map.undo()
        self.looked = False

    @precondition(lambda self: self.map.undone)
    @rule(count=steps)
    def redo(self, count):
        self.look()
        for _ in range(min(count, len(self.map.undone))):
            self.map.redo()
        self.looked = False

    @rule(where=rectangles)
    def foreign(self, where):
        self.look()
        self.person.foreign(where, self.value(0))
        self.look()

    @rule(kept=st.integers(0, 3))
    def forget(self, kept):
        self.looked = True
        self.person.forget(kept)
        assert (self.person.painted.nbytes > 0) == bool(self.map.done)

    @rule(other=st.sampled_from([np.uint16, np.int32, np.int64]))
    def widen(self, other):
        self.map.data = self.map.data.astype(other)

    @invariant()
    def the_mask_is_what_the_person_owns(self):
        if self.looked:
            np.testing.assert_array_equal(self.person.painted.mask, self.map.owner)
            held = self.map.data[self.map.owner].tolist()
            assert self.person.painted.ids(self.map.data) == set(held)


class Ambiguous(Machine):
    """Few values: undo may look like redo, and two steps like none. In doubt it is painted.

    Only half a stroke that looks like several steps undone would lead astray.
    """

    peeks = False

    @precondition(lambda self: self.map.done)
    @rule()
    def undo(self):
        self.map.undo()
        self.look()

    @precondition(lambda self: self.map.undone)
    @rule()
    def redo(self):
        self.map.redo()
        self.look()

    @invariant()
    def all_that_the_person_owns_is_painted(self):
        assert not (self.map.owner & ~self.person.painted.mask).any()


often = settings(max_examples=60, stateful_step_count=30, derandomize=True, deadline=None)
TestExact = Exact.TestCase
TestExact.settings = often
TestAmbiguous = Ambiguous.TestCase
TestAmbiguous.settings = often
