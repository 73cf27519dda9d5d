import math
from pathlib import PureWindowsPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from napari_cliper.annotation.review import (
    Entry,
    Review,
    State,
    after,
    before,
    natural_key,
    next_open,
)
from napari_cliper.errors import NapariCliperError

NAMES = ["a1.png", "a2.png", "a10.png", "b/猫.jpg"]


def review(**states):
    """Pictures `one`, `two` and so on, in the order of their names."""
    return Review(entries=[Entry(picture=name, state=state) for name, state in states.items()])


def pictures(entries):
    return [entry.picture for entry in entries]


def says(message):
    return pytest.raises(NapariCliperError, match=message)


def test_names_are_in_natural_order_folder_by_folder():
    shuffled = ["img10", "b/1", "img003", "IMG2", "img02", "b 2/1", "a/10/x", "a/9/x"]
    expected = ["a/9/x", "a/10/x", "b/1", "b 2/1", "IMG2", "img02", "img003", "img10"]
    assert pictures(Review(entries=()).of(shuffled).entries) == expected


letters = st.text("aB1029²٣./é猫", max_size=8)


@settings(max_examples=50, deadline=None)
@given(letters, letters, st.integers(0, 10**30), st.integers(0, 10**30))
def test_any_names_have_an_order_and_numbers_count(first, second, low, high):
    assert (natural_key(first) < natural_key(second)) != (natural_key(first) >= natural_key(second))
    assert (natural_key(first) == natural_key(second)) == (first == second)
    assert (natural_key(f"x{low}.png") < natural_key(f"X{high}.png")) == (
        low < high or (low == high and f"x{low}" < f"X{high}")
    )


@pytest.mark.parametrize("state", State)
def test_a_proposal_touches_only_what_is_new(state):
    told = review(a=state, b="new").with_proposals(["a"])
    assert told.entry("a").state == ("proposed" if state == "new" else state)
    assert told.entry("b").state == "new"


@pytest.mark.parametrize("state", State)
def test_a_stroke_corrects_whatever_it_was(state):
    assert review(a=state).with_stroke("a").entry("a").state == "corrected"


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize(
    ("has_strokes", "has_mask", "again"),
    [(True, True, "corrected"), (False, True, "proposed"), (False, False, "new")],
)
def test_what_was_closed_opens_again_as_fits(state, has_strokes, has_mask, again):
    reopened = review(a=state).reopened("a", has_strokes, has_mask)
    closed = state in ("accepted", "skipped")
    assert reopened.entry("a").state == (again if closed else state)


class Reviewing(RuleBasedStateMachine):
    """What a person and the program do to a few pictures, told again in plain dictionaries."""

    def __init__(self):
        super().__init__()
        self.review = Review(entries=()).of(NAMES)
        self.states = dict.fromkeys(NAMES, "new")
        self.seconds = dict.fromkeys(NAMES, 0.0)
        self.uncertainty = dict.fromkeys(NAMES)
        self.at = NAMES[0]

    @rule(names=st.sets(st.sampled_from(NAMES)))
    def propose(self, names):
        self.review = self.review.with_proposals(names)
        self.states |= {name: "proposed" for name in names if self.states[name] == "new"}

    @rule()
    def paint(self):
        self.review = self.review.with_stroke(self.at)
        self.states[self.at] = "corrected"

    @rule(state=st.sampled_from([State.ACCEPTED, State.SKIPPED]))
    def press(self, state):
        self.review = self.review.with_state(self.at, state)
        self.states[self.at] = state

    @precondition(lambda self: self.states[self.at] in ("accepted", "skipped"))
    @rule(has_strokes=st.booleans(), has_mask=st.booleans())
    def press_again(self, has_strokes, has_mask):
        self.review = self.review.reopened(self.at, has_strokes, has_mask)
        proposed = "proposed" if has_mask else "new"
        self.states[self.at] = "corrected" if has_strokes else proposed

    @rule(more=st.floats(0, 1e6))
    def look(self, more):
        self.review = self.review.with_seconds(self.at, more)
        self.seconds[self.at] += more

    @rule(value=st.none() | st.floats(0, 1))
    def measure(self, value):
        self.review = self.review.with_uncertainty(self.at, value)
        self.uncertainty[self.at] = value

    @rule(by_uncertainty=st.booleans())
    def go_on(self, by_uncertainty):
        entries = self.review.ordered(by_uncertainty)
        found = next_open(self.at, entries)
        names = pictures(entries)
        place = names.index(self.at)
        ahead = [*names[place + 1 :], *names[: place + 1]]
        still_open = [n for n in ahead if self.states[n] not in ("accepted", "skipped")]
        assert (found and found.picture) == (still_open[0] if still_open else None)
        self.at = found.picture if found else self.at

    @rule(forth=st.booleans(), by_uncertainty=st.booleans())
    def step(self, forth, by_uncertainty):
        entries = self.review.ordered(by_uncertainty)
        there = (after if forth else before)(self.at, entries)
        if there is None:
            assert self.at == pictures(entries)[-1 if forth else 0]
            return
        back = (before if forth else after)(there.picture, entries)
        assert back.picture == self.at
        self.at = there.picture

    @invariant()
    def all_is_known(self):
        assert pictures(self.review.entries) == NAMES
        assert [e.state for e in self.review.entries] == list(self.states.values())
        assert [e.seconds for e in self.review.entries] == list(self.seconds.values())
        assert [e.uncertainty for e in self.review.entries] == list(self.uncertainty.values())

    @invariant()
    def the_uncertain_come_first(self):
        values = [e.uncertainty for e in self.review.ordered(by_uncertainty=True)]
        known = [value for value in values if value is not None]
        assert values == [*sorted(known, reverse=True), *[None] * (len(NAMES) - len(known))]

    @invariant()
    def it_is_counted(self):
        states = list(self.states.values())
        assert self.review.counts() == {state: states.count(state) for state in State}

    @invariant()
    def it_can_be_saved(self):
        assert Review.from_json(self.review.to_json()) == self.review


Reviewing.TestCase.settings = settings(max_examples=50, stateful_step_count=20, deadline=None)
TestReviewing = Reviewing.TestCase


def test_equally_uncertain_pictures_stay_in_the_order_of_names():
    told = Review(entries=()).of(["e", "d", "c", "b", "a"])
    for name, value in {"a": 0.2, "c": 0.2, "d": 0.9}.items():
        told = told.with_uncertainty(name, value)
    assert pictures(told.ordered(by_uncertainty=True)) == ["d", "a", "c", "b", "e"]
    assert pictures(told.ordered(by_uncertainty=False)) == ["a", "b", "c", "d", "e"]


def test_the_way_through_the_queue():
    told = review(a="accepted", b="new", c="skipped", d="corrected", e="accepted")
    assert next_open(None, told.entries).picture == "b"
    assert next_open("b", told.entries).picture == "d"
    assert next_open("d", told.entries).picture == "b"
    assert next_open("d", told.with_state("b", State.SKIPPED).entries).picture == "d"
    assert next_open("a", review(a="accepted", b="skipped").entries) is None
    assert next_open(None, ()) is None
    for move in (after, before, next_open):
        with pytest.raises(ValueError, match="not in list"):
            move("x", told.entries)


def test_time_is_that_of_pictures_somebody_is_done_with():
    told = review(a="accepted", b="corrected", c="skipped", d="accepted", e="new", f="proposed")
    assert told.seconds_per_picture is None
    assert told.remaining_seconds is None
    for name, seconds in {"a": 10, "b": 4, "c": 1, "e": 1000, "f": 1000}.items():
        told = told.with_seconds(name, seconds)
    assert told.seconds_per_picture == 5  # d was not looked at
    assert told.remaining_seconds == 15  # b, e and f are open
    done = review(a="accepted").with_seconds("a", 3)
    assert done.remaining_seconds == 0


def test_pictures_come_and_go():
    first = Review(entries=()).of(["a", "b", "c"]).with_seconds("b", 5).with_stroke("b")
    without = first.of(["c", "a", "d"])
    assert pictures(without.entries) == ["a", "c", "d"]
    assert without.gone == (first.entry("b"),)
    assert sum(without.counts().values()) == 3
    assert without.seconds_per_picture is None
    saved = Review.from_json(without.to_json())
    assert saved == without
    assert saved.of(["b"]).entries == (first.entry("b"),)
    assert pictures(saved.of(["b"]).gone) == ["a", "c", "d"]


def test_a_picture_that_is_not_in_the_review():
    told = review(a="new", c="new").of(["a"])
    for name in ("b", "c", "z"):
        with pytest.raises(KeyError):
            told.with_stroke(name)
        with pytest.raises(KeyError):
            told.with_proposals(["a", name])


@pytest.mark.parametrize(
    "change",
    [
        lambda told: told.with_uncertainty("a", 1.5),
        lambda told: told.with_uncertainty("a", math.nan),
        lambda told: told.with_seconds("a", -1),
        lambda told: told.with_seconds("a", math.inf),
        lambda told: told.with_state("a", "odd"),
        lambda told: told.with_masks_from("\udcff"),
    ],
)
def test_what_cannot_be_told(change):
    with pytest.raises(ValueError, match="Input should be"):
        change(review(a="new"))


entries = st.builds(
    Entry,
    picture=st.text("aB1é猫\\\" '", min_size=1, max_size=5),
    state=st.sampled_from(State),
    uncertainty=st.none() | st.floats(0, 1),
    seconds=st.floats(0, 1e12),
)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(entries, max_size=8, unique_by=lambda entry: entry.picture),
    st.integers(0, 8),
    st.none() | st.text("aB1é猫\\\" '/:.", min_size=1, max_size=9),
)
def test_all_of_it_comes_back(some, listed, masks_from):
    told = Review(entries=some[:listed], gone=some[listed:], masks_from=masks_from)
    assert Review.from_json(told.to_json()) == told
    assert set(told.entries) == set(some[:listed])


def test_what_a_file_looks_like():
    text = Review(entries=()).of(["b/猫.jpg"]).with_uncertainty("b/猫.jpg", 0.25).to_json()
    assert text == (
        '{\n  "format": 1,\n  "entries": [\n    {\n      "picture": "b/猫.jpg",\n'
        '      "state": "new",\n      "uncertainty": 0.25,\n      "seconds": 0.0\n    }\n  ],\n'
        '  "gone": []\n}\n'
    )


def test_the_folder_of_masks_made_before_is_kept():
    told = review(a="new").with_masks_from("/masks/猫").with_stroke("a").of(["b"])
    assert told.masks_from == "/masks/猫"
    assert pictures(told.gone) == ["a"]
    assert Review.from_json(told.to_json()) == told
    assert told.with_masks_from("../others").masks_from == "../others"
    assert told.masks_from == "/masks/猫"


def test_a_file_from_before_masks_were_remembered():
    """What such a program writes, and what it can still read if no folder was chosen."""
    text = '{"format": 1, "entries": [{"picture": "a"}], "gone": []}'
    told = Review.from_json(text)
    assert told.masks_from is None
    assert "masks_from" not in told.to_json()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"is not valid \(Invalid JSON: .*\): correct it there, or move the file away"),
        (b'{"entries": [\xff]}', "not valid .*Invalid JSON"),
        ("[]", r"is not valid \(Input should be an object"),
        ("{}", r"not valid at entries \(Field required"),
        ('{"format": 0, "entries": []}', "not valid at format"),
        ('{"entries": [{"picture": "a", "state": "odd"}]}', r"at entries\.0\.state .*'skipped'"),
        ('{"entries": [{"picture": "a", "seconds": -1}]}', r"at entries\.0\.seconds"),
        ('{"entries": [], "masks_from": ""}', "not valid at masks_from"),
        ('{"entries": [], "masks_from": ["a"]}', "not valid at masks_from"),
        ('{"entries": [{"picture": "a"}, {"picture": "a"}]}', "“a” has more than one entry: keep"),
        ('{"entries": [{"picture": "a"}], "gone": [{"picture": "a"}]}', "more than one entry"),
        ('{"entries": [{"picture": "/a.png"}]}', "“/a.png” does not lie in the pictures’ folder"),
        ('{"entries": [{"picture": "a/../../b.png"}]}', "give its path from there"),
        (
            '{"format": 2, "entries": {}, "more": 1}',
            r"saved by a newer napari-cliper \(format 2, this one reads 1\): update napari-cliper",
        ),
    ],
)
def test_files_that_cannot_be_read(text, message):
    with says(message):
        Review.from_json(text)


def test_a_frozen_review():
    told = review(a="new")
    told.with_stroke("a").with_seconds("a", 1)
    assert told == review(a="new")
    with pytest.raises(ValueError, match="frozen"):
        told.entries = ()


@pytest.mark.parametrize(
    "picture", ["..\\a.png", "b\\..\\..\\a.png", "C:\\a.png", "C:a.png", "\\a"]
)
def test_on_windows_no_picture_lies_outside(monkeypatch, picture):
    assert Entry(picture=picture).picture == picture  # elsewhere these are names like any other
    monkeypatch.setattr("napari_cliper.annotation.review.PurePath", PureWindowsPath)
    with pytest.raises(ValueError, match="does not lie in the pictures’ folder"):
        Entry(picture=picture)


def test_no_picture_has_a_null_in_its_name():
    with pytest.raises(ValueError, match="does not lie in the pictures’ folder"):
        Entry(picture="a\0.png")


def test_no_picture_has_half_a_letter_in_its_name():
    with pytest.raises(ValueError, match="half of a pair"):
        Entry(picture="a\udc80.png")
