import json

import pytest
from pydantic import ValidationError

from napari_cliper.annotation.class_list import ClassEntry, ClassList
from napari_cliper.errors import NapariCliperError


def test_lines_and_semicolons_synonyms_and_comments():
    classes = ClassList.parse(
        """
        # animals first
        cat; Great  Dane\t= dog ,hound   # a comment; not = a class
        ;;
        sofa = couch, settee
        lamp =
        """
    )
    assert classes.names == ("cat", "Great Dane", "sofa", "lamp")
    assert [entry.synonyms for entry in classes] == [(), ("dog", "hound"), ("couch", "settee"), ()]
    assert classes.prompts == ("cat", "Great Dane, dog, hound", "sofa, couch, settee", "lamp")
    assert classes.ids == (1, 2, 3, 4)
    assert [entry.color for entry in classes] == [
        (128, 0, 0),
        (0, 128, 0),
        (128, 128, 0),
        (0, 0, 128),
    ]
    assert classes.background is None
    assert classes.templates is None


def test_it_is_a_sequence():
    classes = ClassList.parse("cat; dog")
    assert len(classes) == 2
    assert classes[1] is list(classes)[1]
    assert classes[-1].name == "dog"


def test_it_cannot_be_changed_and_can_be_a_key():
    classes = ClassList.parse("cat; dog")
    with pytest.raises(ValidationError):
        classes.classes = ()
    with pytest.raises(ValidationError):
        classes[0].name = "lion"
    assert {classes: 1}[ClassList.parse("cat;dog")] == 1


def test_what_is_parsed_already_stays_what_it_is():
    classes = ClassList.parse("cat")
    assert ClassList.parse(classes) is classes


def test_a_sequence_is_read_as_lines():
    assert ClassList.parse(["cat", "sofa = couch"]) == ClassList.parse("cat\nsofa = couch")


def test_a_file_from_windows():
    assert ClassList.parse("\ufeffcat\r\ndog\r\n") == ClassList.parse("cat; dog")


def test_synonyms_that_say_nothing_new_are_dropped():
    assert ClassList.parse("cat = Kitty, CAT, kitty, , puss")[0].synonyms == ("Kitty", "puss")


def test_text_goes_there_and_back():
    classes = ClassList.parse("cat; sofa = couch, settee; Straße")
    assert classes.to_text() == "cat\nsofa = couch, settee\nStraße"
    assert ClassList.parse(classes.to_text()) == classes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "There are no classes: name at least one"),
        (" ;; \n ", "There are no classes"),
        ("# cat\n  # dog", "There are no classes"),
        ([], "There are no classes"),
        ("cat; dog; CAT; dog", r"more than once \(cat, dog, CAT, dog\): keep one"),
        ("straße; STRASSE", "more than once"),
        ("= couch", "A class has no name: write one before “=”"),
        ("cat; = ", "A class has no name"),
        ("cat, dog", "“cat, dog” holds a comma: separate classes by semicolons"),
        ("cat = kitty = puss", "“kitty = puss” may not hold"),
        ("cat\ud83d", "broken letter"),
        (b"cat", "not as bytes: write"),
        (None, "not as NoneType"),
        (7, "not as int"),
        (["cat", 7], "not as list"),
        ("\n".join(map(str, range(65536))), "65536 classes are more .* at most 65535"),
        ("x" * 5000 + ", y", "^“x{59}…” holds a comma"),
    ],
)
def test_what_is_wrong_is_told_in_one_sentence(text, message):
    with pytest.raises(NapariCliperError, match=message) as raised:
        ClassList.parse(text)
    assert "\n" not in str(raised.value)


def test_as_many_classes_as_a_label_picture_holds():
    classes = ClassList.parse("\n".join(map(str, range(65535))))
    assert classes.ids == tuple(range(1, 65536))
    assert len({entry.color for entry in classes}) == 65535


def test_json_goes_there_and_back():
    classes = ClassList(
        classes=(
            ClassEntry(id=7, name="Katze", synonyms=("Kätzchen", "猫"), color=(1, 2, 3)),
            ClassEntry(id=3, name="C major"),
        ),
        background=("sky", "grass"),
        templates=("ein Bild von {}.",),
    )
    text = classes.to_json()
    assert ClassList.from_json(text) == classes
    assert ClassList.from_json(text.encode()) == classes
    assert json.loads(text)["classes"][1] == {
        "id": 3,
        "name": "C major",
        "synonyms": [],
        "color": [128, 128, 0],
    }


def test_json_by_hand_needs_only_ids_and_names():
    classes = ClassList.from_json('{"classes": [{"id": 2, "name": "  big   cat "}]}')
    assert classes[0] == ClassEntry(id=2, name="big cat", color=(0, 128, 0))


def as_json(*entries, **more):
    return json.dumps({"classes": list(entries), **more})


CAT = {"id": 1, "name": "cat"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not valid at its beginning"),
        ("[1]", "not valid at its beginning"),
        ("{}", "not valid at classes "),
        (as_json(), "There are no classes"),
        (as_json(CAT, {"id": 1, "name": "dog"}), "share the id 1: give each class an id"),
        (as_json(CAT, {"id": 2, "name": "Cat"}), r"more than once \(cat, Cat\)"),
        (as_json({"id": 0, "name": "cat"}), "not valid at classes.0.id"),
        (as_json({"id": 65536, "name": "cat"}), "not valid at classes.0.id"),
        (as_json({"id": 1, "name": " "}), "A class has no name"),
        (as_json({"id": 1, "name": 5}), "not valid at classes.0.name"),
        (as_json({"id": 1, "name": "a;b"}), "“a;b” may not hold “;”"),
        (as_json({"id": 1, "name": "a", "synonyms": ["b,c"]}), "“b,c” holds a comma"),
        (as_json({**CAT, "synonyms": 5}), "not valid at classes.0.synonyms"),
        (as_json({**CAT, "synonym": ["puss"]}), "not valid at classes.0.synonym "),
        (as_json({**CAT, "color": [0, 0, 256]}), "not valid at classes.0.color.2"),
        (as_json(7), "not valid at classes.0 "),
        (as_json(CAT, templates=[]), "There are no templates"),
        (as_json(CAT, templates=["a {}", "a photo"]), "“a photo” must hold “{}” once"),
        (as_json(CAT, templates=["a {} or {}"]), "must hold “{}” once"),
        (as_json(CAT, templates=["a {} {name}"]), "must hold “{}” once"),
    ],
)
def test_json_that_is_wrong_is_told_in_one_sentence(text, message):
    with pytest.raises(NapariCliperError, match=message) as raised:
        ClassList.from_json(text)
    assert "\n" not in str(raised.value)
