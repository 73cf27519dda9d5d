"""The value that formats exchange: labels, classes, void, names of other tools."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotations import class_lists, ours
from napari_cliper.annotation.annotation import (
    VOID_COLOR,
    Annotation,
    checked_labels,
    foreign_classes,
    merged_classes,
    with_all,
)
from napari_cliper.annotation.class_list import ClassEntry, ClassList
from napari_cliper.errors import NapariCliperError

LABELS = np.array([[0, 1, 2], [2, 255, 7]], np.uint16)


def test_labels_without_a_class_are_named_after_themselves():
    found = Annotation.of("a", LABELS, ours("cat", "dog"))
    assert {e.id: e.name for e in found.classes} == {1: "cat", 2: "dog", 255: "void", 7: "label 7"}
    assert found.classes[2].color == VOID_COLOR
    assert with_all(found.classes, LABELS) is found.classes
    assert with_all(None, LABELS * 0).names == ("label 1",)


def test_a_class_called_void_is_not_there_twice():
    classes = ours("void")
    found = with_all(classes, np.array([[255, 1]], np.uint16))
    assert {e.id: e.name for e in found} == {1: "void", 255: "label 255"}


@pytest.mark.parametrize(
    "labels",
    [
        np.array([[-1, 2]]),
        np.array([[65536]]),
        np.array([[0.5]]),
        np.array([[1.0]]),
        np.array([[1j]]),
        np.zeros((0, 3), int),
        np.zeros(3, int),
        np.array([["a"]]),
    ],
)
def test_what_is_no_label_is_refused(labels):
    with pytest.raises(NapariCliperError):
        checked_labels(labels)


@pytest.mark.parametrize("dtype", ["bool", "int8", ">u2", "<i8", "uint64"])
def test_all_integers_are_labels(dtype):
    found = checked_labels(np.array([[0, 1]], dtype))
    assert found.dtype == np.uint16
    assert found.tolist() == [[0, 1]]


def test_only_some_classes():
    objects = np.arange(6, dtype=np.uint32).reshape(2, 3)
    found = Annotation("a", LABELS, with_all(ours("cat", "dog"), LABELS), objects).only([2, 9])
    assert found.labels.tolist() == [[0, 0, 2], [2, 0, 0]]
    assert found.classes.names == ("dog",)
    assert found.instances is not None
    assert found.instances.tolist() == [[0, 0, 2], [3, 0, 0]]
    with pytest.raises(NapariCliperError, match="No class is left"):
        found.only([])


def test_void_gets_its_label():
    found = Annotation("a", LABELS % 3, ours("Void", "dog")).with_void("void")
    assert found.labels.tolist() == [[0, 255, 2], [2, 0, 255]]
    assert {e.id: e.name for e in found.classes} == {2: "dog", 255: "Void"}
    assert found.with_void("VOID") is found
    assert found.with_void("none of them") is found


def test_names_of_other_tools():
    names = {1: "a, b", 2: " a ; b\n", 3: "", 4: "Cat", 5: "cat", 6: "x=#", 7: "\ud800"}
    assert foreign_classes(names).names == (
        "a， b",  # noqa: RUF001
        "a ； b",  # noqa: RUF001
        "label 3",
        "Cat",
        "cat (5)",
        "x＝＃",  # noqa: RUF001
        "�",
    )
    assert foreign_classes({3: "x"}, {3: (1, 2, 3), 9: (0, 0, 0)})[0].color == (1, 2, 3)
    for wrong in ({}, {0: "a"}, {65536: "a"}):
        with pytest.raises(NapariCliperError):
            foreign_classes(wrong)


@given(st.dictionaries(st.integers(1, 65535), st.text(max_size=9), min_size=1, max_size=9))
def test_any_names_make_a_class_list(names):
    found = foreign_classes(names)
    assert found.ids == tuple(names)
    assert ClassList.from_json(found.to_json()) == found


@given(class_lists())
def test_names_of_ours_stay(classes):
    again = foreign_classes({e.id: e.name for e in classes}, {e.id: e.color for e in classes})
    assert again == classes


def test_lists_are_put_together():
    one, both = ours("cat"), ours("cat", "dog")
    assert merged_classes([one, both]) == both
    assert merged_classes([both, one]) is both
    other = ClassList(classes=(ClassEntry(id=2, name="cat"),))
    for lists in ([one, other], [ours("dog"), one]):
        with pytest.raises(NapariCliperError, match="different folders"):
            merged_classes(lists)
    with pytest.raises(NapariCliperError, match="nothing to write"):
        merged_classes([])
