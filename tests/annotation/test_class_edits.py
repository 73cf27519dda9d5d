import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from napari_cliper.annotation import class_edits
from napari_cliper.annotation.class_edits import (
    added,
    recolored,
    removed,
    renamed,
    with_background,
    with_strays,
    with_synonyms,
    with_templates,
    with_text,
    without_strays,
)
from napari_cliper.annotation.class_list import MAX_CLASSES, ClassEntry, ClassList
from napari_cliper.errors import NapariCliperError

PETS = ClassList(
    classes=(
        ClassEntry(id=4, name="cat", synonyms=("puss",), color=(1, 2, 3)),
        ClassEntry(id=2, name="dog", color=(4, 5, 6)),
        ClassEntry(id=7, name="hen", color=(7, 8, 9)),
    ),
    background=("sky",),
    templates=("a {}.",),
)
VOC = {1: (128, 0, 0), 3: (128, 128, 0), 5: (128, 0, 128)}


def brief(classes):
    return [(entry.id, entry.name, entry.color) for entry in classes]


def says(message):
    return pytest.raises(NapariCliperError, match=message)


def test_the_first_text_is_parsed():
    text = "cat = puss; dog"
    assert with_text(None, text) == ClassList.parse(text)
    assert with_text(None, text, {0, 1, 3}).ids == (2, 4)


def test_the_same_text_changes_nothing():
    assert with_text(PETS, PETS.to_text()) == PETS


def test_order_case_and_synonyms_are_the_texts_id_and_colour_stay():
    classes = with_text(PETS, "Hen; CAT = kitty; dog = hound")
    assert brief(classes) == [(7, "Hen", (7, 8, 9)), (4, "CAT", (1, 2, 3)), (2, "dog", (4, 5, 6))]
    assert [entry.synonyms for entry in classes] == [(), ("kitty",), ("hound",)]
    assert (classes.background, classes.templates) == (PETS.background, PETS.templates)


def test_one_name_gone_and_one_come_is_a_rename():
    classes = with_text(PETS, "hen; lion = big cat; dog")
    assert brief(classes)[1] == (4, "lion", (1, 2, 3))
    assert classes[1].synonyms == ("big cat",)
    # Also where the old class is painted: what it painted is the class of the new name.
    assert with_text(PETS, "hen; lion; dog", {4}) == with_text(PETS, "hen; lion; dog")


def test_new_classes_get_the_lowest_free_ids():
    classes = with_text(PETS, "ox; cat; dog; hen; cow", {0, 1})
    assert brief(classes)[0] == (3, "ox", VOC[3])
    assert brief(classes)[4] == (5, "cow", VOC[5])


def test_two_names_gone_and_one_come_is_no_rename():
    assert brief(with_text(PETS, "cat; cow")) == [(4, "cat", (1, 2, 3)), (1, "cow", VOC[1])]


def test_ids_of_classes_that_went_are_free_again():
    assert with_text(PETS, "hen; a; b").ids == (7, 1, 2)


def test_painted_classes_stay_at_the_end_as_they_were():
    classes = with_text(PETS, "hen", {2, 4, 9})
    assert classes.classes == (PETS[2], PETS[0], PETS[1])
    assert brief(with_text(PETS, "a; b", {2, 7})) == [
        (1, "a", VOC[1]),
        (3, "b", VOC[3]),
        (2, "dog", (4, 5, 6)),
        (7, "hen", (7, 8, 9)),
    ]


@pytest.mark.parametrize("text", ["", "cat; CAT", "cat, dog", "= puss", None])
def test_what_is_wrong_with_the_text_is_said_as_by_parse(text):
    with pytest.raises(NapariCliperError) as expected:
        ClassList.parse(text)
    with pytest.raises(NapariCliperError) as raised:
        with_text(PETS, text)
    assert str(raised.value) == str(expected.value)


def test_no_id_is_left():
    everything = range(MAX_CLASSES + 1)
    with says("All 65535 ids are taken"):
        with_text(None, "cat", everything)
    with says("All 65535 ids are taken"):
        added(PETS, "cow", everything)
    assert with_text(PETS, PETS.to_text(), everything) == PETS


names = st.lists(st.sampled_from("abcdefABCDEF"), min_size=1, max_size=7, unique_by=str.casefold)
sets = st.sets(st.integers(0, 8))


@settings(max_examples=100, derandomize=True, deadline=None)
@given(names, names, sets, sets)
def test_an_id_goes_on_meaning_what_it_meant(first, second, painted, later):
    before = with_text(None, "\n".join(first), painted)
    assert not painted & set(before.ids)
    after = with_text(before, "\n".join(second), later)
    assert after.names[: len(second)] == tuple(second)
    assert after.names[len(second) :] == tuple(
        entry.name for entry in before if entry in after.classes[len(second) :]
    )
    by_id = {entry.id: entry for entry in after}
    assert set(before.ids) & later <= by_id.keys()
    old = {name.casefold(): entry for name, entry in zip(before.names, before, strict=True)}
    for name, entry in zip(second, after, strict=False):
        if name.casefold() in old:
            assert entry.id == old[name.casefold()].id
            assert entry.color == old[name.casefold()].color
    assert with_text(after, after.to_text(), later) == after
    assume(len(first) != len(second))  # else it may be a rename
    assert not later & (set(after.ids) - set(before.ids))


def test_rename():
    classes = renamed(PETS, 4, "  big   Puss ")
    assert brief(classes)[0] == (4, "big Puss", (1, 2, 3))
    assert classes[0].synonyms == ("puss",)
    assert renamed(PETS, 4, "Puss")[0].synonyms == ()
    assert renamed(PETS, 4, "Cat").names == ("Cat", "dog", "hen")
    assert classes.classes[1:] == PETS.classes[1:]
    assert (classes.background, classes.templates) == (PETS.background, PETS.templates)
    assert PETS[0].name == "cat"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "A class has no name"),
        ("DOG", r"more than once \(DOG, dog\)"),
        ("cat, puss", "“cat, puss” holds a comma"),
        ("cat = puss", "may not hold"),
        (5, "not valid at name"),
    ],
)
def test_names_that_cannot_be(name, message):
    with says(message):
        renamed(PETS, 4, name)


def test_synonyms_are_replaced():
    classes = with_synonyms(PETS, 4, " kitty,,  CAT, big  cat ,Kitty")
    assert classes[0].prompt == "cat, kitty, big cat"
    assert with_synonyms(PETS, 4, "")[0].synonyms == ()
    with says("“a;b” may not hold"):
        with_synonyms(PETS, 4, "x, a;b")


def test_recolor():
    assert brief(recolored(PETS, 2, (0, 255, 9)))[1] == (2, "dog", (0, 255, 9))
    with says(r"not valid at color.1 \(.*255\)"):
        recolored(PETS, 2, (0, 256, 0))
    with says("not valid at color"):
        recolored(PETS, 2, (0, 0))


def test_add():
    classes = added(PETS, "sofa = couch, settee", {0, 1, 3})
    assert classes.classes[:-1] == PETS.classes
    assert classes[-1] == ClassEntry(id=5, name="sofa", synonyms=("couch", "settee"))
    assert (classes.background, classes.templates) == (PETS.background, PETS.templates)
    assert added(None, "cat", {1}) == ClassList(classes=(ClassEntry(id=2, name="cat"),))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (" ", "There are no classes"),
        ("Hen", r"more than once \(hen, Hen\)"),
        ("a, b", "holds a comma"),
        ("a; b; c", "“a” and “b” are several classes: add one"),
    ],
)
def test_what_cannot_be_added(name, message):
    with says(message):
        added(PETS, name)


def test_remove():
    assert removed(PETS, 2).ids == (4, 7)
    assert removed(PETS, 2).templates == PETS.templates
    assert removed(ClassList.parse("cat"), 1) is None


@pytest.mark.parametrize(
    "edit",
    [
        lambda classes: renamed(classes, 3, "x"),
        lambda classes: with_synonyms(classes, 3, "x"),
        lambda classes: recolored(classes, 3, (0, 0, 0)),
        lambda classes: removed(classes, 3),
    ],
)
def test_an_id_that_is_not_there(edit):
    with says("No class has the id 3: choose one"):
        edit(PETS)


def test_background_words():
    classes = with_background(PETS, "sky, clear  sky;grass\r\n ,Sky;\nsea")
    assert classes.background == ("sky", "clear sky", "grass", "sea")
    assert with_background(PETS, " \n").background == ()
    assert with_background(PETS, None).background is None
    assert (classes.classes, classes.templates) == (PETS.classes, PETS.templates)


def test_templates():
    classes = with_templates(PETS, "a photo, of a {}.\r\n\n  {} \n")
    assert classes.templates == ("a photo, of a {}.", "{}")
    assert with_templates(PETS, None).templates is None
    assert (classes.classes, classes.background) == (PETS.classes, PETS.background)
    with says("“a {} {}” must hold"):
        with_templates(PETS, "{}\na {} {}")
    with says("There are no templates"):
        with_templates(PETS, "\n")


def test_a_loaded_list_keeps_its_ids_and_what_is_painted() -> None:
    before = ClassList.parse("cat; dog; hen")
    file = ClassList(classes=(ClassEntry(id=1, name="Cat"), ClassEntry(id=9, name="cow")))
    loaded = class_edits.loaded(before, file, painted={1, 3})
    assert [(entry.id, entry.name) for entry in loaded] == [(1, "Cat"), (9, "cow"), (3, "hen")]
    assert class_edits.loaded(None, file, painted={1}) == file
    with pytest.raises(NapariCliperError, match="“dog” is painted with it"):
        class_edits.loaded(before, ClassList(classes=(ClassEntry(id=2, name="cow"),)), painted={2})


def test_a_map_s_list_follows_the_list_people_work_on() -> None:
    before = ClassList.parse("cat; dog")
    after = class_edits.recolored(class_edits.renamed(before, 2, "hound"), 1, (1, 2, 3))
    after = class_edits.added(after, "hen")
    followed = class_edits.followed(before, before, after)
    assert followed.classes == after.classes
    # A map in which number 2 meant another class goes on meaning it.
    other = ClassList(classes=(ClassEntry(id=2, name="tree"),))
    followed = class_edits.followed(other, before, after)
    assert {entry.id: entry.name for entry in followed} == {1: "cat", 2: "tree", 3: "hen"}
    gone = class_edits.removed(before, 2)
    assert gone is not None
    assert class_edits.followed(before, before, gone).names == ("cat",)


def test_labels_of_no_class_get_an_entry_and_lose_it_again():
    classes = with_strays(PETS, [9, 0, 4, 300, 9])
    assert brief(classes)[:3] == brief(PETS)
    assert [(entry.id, entry.name) for entry in classes][3:] == [(9, "label 9"), (300, "label 300")]
    assert without_strays(classes) == PETS
    assert with_strays(PETS, {0, 2, 4}) == without_strays(PETS) == PETS


def test_a_class_may_be_called_like_another_label():
    taken = ClassList(classes=(ClassEntry(id=1, name="Label 9"), ClassEntry(id=2, name="cat")))
    classes = with_strays(taken, [9])
    assert classes.names == ("Label 9", "cat", "label 9 (no class)")
    assert without_strays(classes) == taken


def test_a_list_of_nothing_but_labels_stays_as_it_is():
    only = ClassList(classes=(ClassEntry(id=9, name="label 9"),))
    assert without_strays(only) == only


@given(st.sets(st.integers(0, MAX_CLASSES), max_size=8))
@settings(max_examples=50, deadline=None)
def test_strays_come_and_go_without_a_trace(ids):
    classes = with_strays(PETS, ids)
    assert set(classes.ids) == {*PETS.ids, *ids} - {0}
    assert without_strays(classes) == PETS
