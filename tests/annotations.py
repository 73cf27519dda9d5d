"""Random annotations, and whether two are the same, for the tests of the formats."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_cliper.annotation.annotation import Annotation, foreign_classes
from napari_cliper.annotation.class_list import ClassList

HARD_NAMES = [
    "a/b", 'quoted "name"', "it's", "back\\slash", "😀", "كلب", "<tag> & co", "a: b", "- x", "null",
    "%s", "..", "C:", "  spaced  out ", "line\nbreak", "tab\tstop",
    "🏳️‍🌈", "naïve", "[0, 1]", "{}", "a,b",
]  # fmt: skip
NAMES = st.one_of(st.sampled_from(HARD_NAMES), st.text(min_size=1, max_size=12))
COLORS = st.tuples(*[st.integers(0, 255)] * 3)


@st.composite
def class_lists(draw, most=254):
    ids = draw(st.lists(st.integers(1, most), min_size=1, max_size=5, unique=True))
    names = {id_: draw(NAMES) for id_ in ids}
    colors = {id_: draw(COLORS) for id_ in ids if draw(st.booleans())}
    return foreign_classes(names, colors)


@st.composite
def annotations(draw, most=254, stacks=False, instances=False, name="picture", classes=None):
    classes = classes or draw(class_lists(most))
    shape = draw(st.tuples(st.integers(1, 20), st.integers(1, 20)))
    if stacks:
        shape = draw(st.lists(st.integers(1, 3), min_size=0, max_size=2)) + list(shape)
    labels = draw(arrays(np.uint16, tuple(shape), elements=st.sampled_from([0, *classes.ids])))
    numbers = None
    if instances:
        numbers = draw(arrays(np.uint32, tuple(shape), elements=st.integers(1, 3)))
        numbers[labels == 0] = 0
    return Annotation(name, labels, classes, numbers)


def ours(*names: str) -> ClassList:
    return ClassList.parse("; ".join(names))


def check_same(found: Annotation, wanted: Annotation, keeps) -> None:
    """Assert that what a format keeps is the same in both."""
    if keeps.ids:
        assert np.array_equal(found.labels, wanted.labels)
    by_id = {entry.id: entry for entry in found.classes}
    by_name = {entry.name: entry for entry in found.classes}
    for entry in wanted.classes:
        there = np.any(wanted.labels == entry.id)
        other = by_id.get(entry.id) if keeps.ids else by_name.get(entry.name)
        if other is None:
            # A format may leave out a class of which there is nothing.
            assert not there, f"{entry.name} is lost"
            continue
        assert np.array_equal(found.labels == other.id, wanted.labels == entry.id)
        if keeps.names:
            assert other.name == entry.name
        if keeps.colors:
            assert other.color == entry.color
    if keeps.instances and wanted.instances is not None:
        assert partition(found) == partition(wanted)


def partition(annotation: Annotation) -> set:
    """The objects, each as the set of its pixels."""
    flat = zip(annotation.labels.ravel(), annotation.instances.ravel(), strict=True)
    objects: dict = {}
    for place, key in enumerate(flat):
        if key[0]:
            objects.setdefault(key, set()).add(place)
    return {frozenset(places) for places in objects.values()}
