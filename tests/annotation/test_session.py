import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import ValidationError

from napari_cliper.annotation.class_list import ClassList
from napari_cliper.annotation.session import (
    Adjustment,
    Mask,
    MaskNotes,
    Model,
    Picture,
    Session,
)
from napari_cliper.errors import NapariCliperError

PETS = ClassList.parse("Katze = 猫, chat; dog")
SESSION = Session(
    saved=datetime(2026, 5, 17, 9, 30, 1, 234567, timezone(timedelta(hours=5, minutes=30))),
    versions={"napari-cliper": "0.1.0", "napari": "0.9.2"},
    picture=Picture(
        name="Katze", path="/photos/猫.tif", sha256="0" * 64, size=(30, 41), place=(3, 0)
    ),
    classes=PETS,
    hidden=(2,),
    model=Model(preset="small", device="auto", method="cliper", precision="float32"),
    adjustment=Adjustment(presence=0.1, refinement=1 / 3, all_present=True),
    seen=((10, 20), (0, 40)),
    masks=(
        Mask(
            role="refined",
            name="Katze [refined]",
            classes=PETS,
            visible=False,
            opacity=0.7,
            contour=2,
            selected_label=300,
            labels="refined-labels.0.png",
            dtype="uint8",
            protected="refined-protected.0.png",
            proposal="refined-proposal.0.png",
            proposal_dtype="uint16",
        ),
        Mask(role="coarse", name="c", classes=PETS, labels="coarse-labels.0.png", dtype="uint16"),
    ),
)


def says(message):
    return pytest.raises(NapariCliperError, match=message)


def changed(*where, to):
    """The session's JSON with something else at one place."""
    data = json.loads(SESSION.to_json())
    inside = data
    for key in where[:-1]:
        inside = inside[key]
    inside[where[-1]] = to
    return json.dumps(data)


def test_it_comes_back_exactly():
    text = SESSION.to_json()
    assert Session.from_json(text) == SESSION
    assert Session.from_json(text.encode()).saved.microsecond == 234567
    least = Session(
        saved=datetime.now(UTC),
        picture=Picture(name="", sample="cat", sha256="", size=(1, 1)),
        model=SESSION.model,
    )
    assert Session.from_json(least.to_json()) == least


def test_people_can_read_it():
    lines = SESSION.to_json().splitlines()
    assert lines[1] == '  "format": 1,'
    assert '    "path": "/photos/猫.tif",' in lines


def test_a_path_of_any_bytes():
    """On Linux a name need not be text."""
    picture = SESSION.picture.model_copy(update={"path": "/photos/\udcff.png"})
    session = SESSION.model_copy(update={"picture": picture})
    written = session.to_json().encode("utf-8", "surrogatepass")
    assert Session.from_json(written) == session


def test_which_files_it_needs():
    assert SESSION.masks[0].files == (
        "refined-labels.0.png",
        "refined-protected.0.png",
        "refined-proposal.0.png",
    )
    assert SESSION.files == {*SESSION.masks[0].files, "coarse-labels.0.png"}


def test_it_is_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        SESSION.seen = ()
    with pytest.raises(ValidationError, match="frozen"):
        SESSION.masks[0].labels = "other.png"


@pytest.mark.parametrize("format_", [2, 10**30])
def test_a_newer_format_is_told_before_anything_else(format_):
    with says(rf"newer napari-cliper \(format {format_}, this one reads 1\): update napari-cliper"):
        Session.from_json(json.dumps({"format": format_, "picture": "of another kind"}))


@pytest.mark.parametrize("text", ["", "{", "words", b"\xff\xfe\x00", "[" * 100_000, '"\\ud8'])
def test_what_is_no_json(text):
    with says("The session is not JSON .*correct it there, or move the file away"):
        Session.from_json(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", r"The session is not valid \("),
        ("null", r"The session is not valid \("),
        ("{}", "not valid at saved"),
        (changed("format", to=0), "not valid at format"),
        (changed("format", to="2"), "not valid at format"),
        (changed("more", to=1), r"not valid at more \(Extra"),
        (changed("picture", "more", to=1), r"not valid at picture\.more"),
        (changed("saved", to="2026-05-17T09:30:00"), "not valid at saved .*timezone"),
        (changed("picture", "size", to=[0, 3]), r"not valid at picture\.size\.0"),
        (changed("picture", "size", to=[3]), r"not valid at picture\.size"),
        (changed("model", to=None), "not valid at model"),
        (changed("adjustment", "background", to=1.5), r"not valid at adjustment\.background"),
        (changed("adjustment", "refinement", to=float("nan")), r"at adjustment\.refinement"),
        (changed("seen", to=[[1, 2, 3]]), r"not valid at seen\.0"),
        (changed("masks", 0, "dtype", to="int64"), r"not valid at masks\.0\.dtype"),
        (changed("masks", 0, "contour", to=-1), r"not valid at masks\.0\.contour"),
        (changed("masks", 1, "opacity", to=-0.1), r"not valid at masks\.1\.opacity"),
        (changed("classes", "classes", to=[]), "There are no classes: name at least one"),
    ],
)
def test_what_is_no_session(text, message):
    with says(message):
        Session.from_json(text)


@pytest.mark.parametrize("field", ["labels", "protected", "proposal"])
@pytest.mark.parametrize(
    "name",
    [
        "/etc/x.png",
        "../x.png",
        "a/b.png",
        "a\\b.png",
        "..",
        ".",
        "",
        "C:x.png",
        "x.png\0.png",
        "x\n.png",
        "x.json",
        ".hidden.png",
        "con.png",
        "NUL.x.png",
    ],
)
def test_files_lie_in_the_folder_and_are_pictures(field, name):
    with says(r"is no name for a file of a session: give a plain one that ends in “\.png”"):
        Session.from_json(changed("masks", 0, field, to=name))


def test_notes_of_a_mask_have_no_files():
    with pytest.raises(ValidationError, match="labels"):
        MaskNotes(role="refined", name="x", classes=PETS, labels="x.png")
