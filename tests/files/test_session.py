import errno
import json
import os
import stat
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from PIL import Image

from napari_cliper.annotation.class_list import ClassEntry, ClassList
from napari_cliper.annotation.session import MaskNotes, Model, Notes, Picture, Session
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.indexed_png import load_labels
from napari_cliper.files.session import (
    KEPT_FOR,
    MaskMaps,
    is_session,
    load_session,
    save_session,
)

SIZE = (30, 41)
PETS = ClassList.parse("cat = kitty; dog")
NOTES = Notes(
    saved=datetime(2026, 5, 17, 9, 30, tzinfo=UTC),
    picture=Picture(name="Katze", path="/photos/猫.tif", sha256="0" * 64, size=SIZE),
    model=Model(preset="small", device="auto", method="cliper", precision="float32"),
)
REFINED = MaskNotes(role="refined", name="Katze [refined]", classes=PETS)
COARSE = MaskNotes(role="coarse", name="Katze [coarse]", classes=PETS, visible=False)
RANDOM = np.random.default_rng(0)
MAPS = MaskMaps(
    RANDOM.integers(0, 3, SIZE).astype(np.uint8),
    RANDOM.random(SIZE) < 0.3,
    RANDOM.integers(0, 3, SIZE).astype(np.uint16),
)
MASKS = [(REFINED, MAPS), (COARSE, MaskMaps(MAPS.labels[::-1]))]
LATER = [(REFINED, MaskMaps(MAPS.labels % 2, ~MAPS.protected, MAPS.proposal)), MASKS[1]]


def says(message):
    return pytest.raises(NapariCliperError, match=message)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def the_file(folder, kind, role="refined"):
    (path,) = folder.glob(f"{role}-{kind}.*.png")
    return path


def edit(folder, *where, to):
    """Change one value in the session's file."""
    data = json.loads((folder / "session.json").read_text("utf-8"))
    inside = data
    for key in where[:-1]:
        inside = inside[key]
    inside[where[-1]] = to
    (folder / "session.json").write_text(json.dumps(data), "utf-8")


def check_same(found, expected):
    if expected is None:
        assert found is None
    else:
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


def check_holds(folder, notes, masks):
    """The folder gives back just this."""
    loaded = load_session(folder)
    for name in Notes.model_fields:
        assert getattr(loaded.session, name) == getattr(notes, name)
    assert len(loaded.session.masks) == len(loaded.maps) == len(masks)
    for mask, found, (expected, maps) in zip(loaded.session.masks, loaded.maps, masks, strict=True):
        for name in MaskNotes.model_fields:
            assert getattr(mask, name) == getattr(expected, name)
        check_same(found.labels, maps.labels)
        check_same(found.protected, maps.protected)
        check_same(found.proposal, maps.proposal)


@st.composite
def masks_of(draw, size):
    ids = draw(st.lists(st.integers(1, 65535), min_size=1, max_size=5, unique=True))
    classes = ClassList(classes=tuple(ClassEntry(id=i, name=f"class {i}") for i in ids))

    def labels():
        dtype = draw(st.sampled_from([np.uint8, np.uint16]))
        values = st.sampled_from([i for i in [0, *ids] if i <= np.iinfo(dtype).max])
        array = draw(nps.arrays(dtype, size, elements=values))
        return draw(st.sampled_from([array, np.asfortranarray(array), array[::-1, ::-1]]))

    notes = MaskNotes(
        role=draw(st.sampled_from(["refined", "coarse", "instances of café/猫", "猫", ""])),
        name=draw(st.text(max_size=5)),
        classes=classes,
        opacity=draw(st.floats(0, 1)),
    )
    protected = draw(st.none() | nps.arrays(bool, size))
    return notes, MaskMaps(labels(), protected, labels() if draw(st.booleans()) else None)


sizes = st.tuples(st.integers(1, 20), st.integers(1, 20))
sessions = sizes.flatmap(
    lambda size: st.tuples(st.just(size), st.lists(masks_of(size), max_size=3))
)


@settings(max_examples=30, deadline=None)
@given(states=st.lists(sessions, min_size=1, max_size=3))
def test_each_state_comes_back_exactly(tmp_path_factory, states):
    folder = tmp_path_factory.mktemp("session")
    for size, masks in states:
        notes = NOTES.model_copy(
            update={"picture": NOTES.picture.model_copy(update={"size": size})}
        )
        saved = save_session(folder, notes, masks)
        check_holds(folder, notes, masks)
        assert load_session(folder).session == saved
        assert {path.name for path in folder.iterdir()} == {"session.json", *saved.files}


def test_folder_and_file_are_the_same_session(tmp_path):
    folder = tmp_path / "new" / "cat.session"
    assert not is_session(folder)
    assert not is_session(folder / "session.json")
    save_session(folder / "session.json", NOTES, MASKS)
    for path in (folder, folder / "session.json", str(folder)):
        assert is_session(path)
        check_holds(path, NOTES, MASKS)
    assert not is_session(tmp_path)
    assert not is_session(the_file(folder, "protected"))
    assert not is_session(tmp_path / ("x" * 300))


def test_label_maps_are_pictures_for_other_programs(tmp_path):
    save_session(tmp_path, NOTES, MASKS)
    labels, classes = load_labels(the_file(tmp_path, "labels"))
    np.testing.assert_array_equal(labels, MAPS.labels)
    assert classes == PETS
    with Image.open(the_file(tmp_path, "proposal")) as picture:
        assert picture.mode == "P"


@pytest.mark.parametrize("share", [0.02, 0.5])
def test_what_is_protected_takes_one_bit_a_pixel(tmp_path, share):
    size = (400, 800)
    notes = NOTES.model_copy(update={"picture": NOTES.picture.model_copy(update={"size": size})})
    protected = RANDOM.random(size) < share
    maps = MaskMaps(np.zeros(size, np.uint8), protected)
    save_session(tmp_path, notes, [(REFINED, maps)])
    path = the_file(tmp_path, "protected")
    assert path.read_bytes()[24:26] == b"\x01\x00"  # bit depth 1, grey
    # Of noise, which nothing compresses, a byte for each row is added, and the header.
    assert path.stat().st_size * 8 < 400 * 800 * (1.015 if share == 0.5 else 0.25)


def test_what_did_not_change_is_not_written_again(tmp_path, monkeypatch):
    save_session(tmp_path, NOTES, MASKS)
    for path in tmp_path.iterdir():
        os.utime(path, (1e9, 1e9))
    labels = the_file(tmp_path, "labels")
    notes = NOTES.model_copy(update={"seen": ((1, 2),)})
    save_session(tmp_path, notes, LATER)
    old = {path.name for path in tmp_path.iterdir() if path.stat().st_mtime == 1e9}
    assert old == {
        the_file(tmp_path, "proposal").name,
        the_file(tmp_path, "labels", "coarse").name,
    }
    assert not labels.exists()
    check_holds(tmp_path, notes, LATER)


def test_a_mask_with_other_colours_is_another_file(tmp_path):
    save_session(tmp_path, NOTES, MASKS)
    recolored = ClassList.parse("cat = kitty; dog; hen")
    save_session(tmp_path, NOTES, [(REFINED.model_copy(update={"classes": recolored}), MAPS)])
    assert load_labels(the_file(tmp_path, "labels"))[1] == recolored


def test_a_loaded_session_can_be_saved_as_it_is(tmp_path):
    save_session(tmp_path / "a", NOTES, MASKS)
    loaded = load_session(tmp_path / "a")
    pairs = list(zip(loaded.session.masks, loaded.maps, strict=True))
    save_session(tmp_path / "b", loaded.session, pairs)
    assert contents(tmp_path / "b") == contents(tmp_path / "a")
    # Of the files that its masks had, nothing is taken over.
    notes, maps = pairs[0]
    save_session(tmp_path / "b", loaded.session, [(notes, MaskMaps(maps.labels))])
    check_holds(tmp_path / "b", NOTES, [(REFINED, MaskMaps(MAPS.labels))])


def test_masks_of_equal_role_and_pixels_share_files(tmp_path):
    masks = [MASKS[0], (REFINED.model_copy(update={"name": "another"}), MAPS)]
    save_session(tmp_path, NOTES, masks)
    check_holds(tmp_path, NOTES, masks)
    assert len(contents(tmp_path)) == 4
    save_session(tmp_path, NOTES, masks[1:])
    check_holds(tmp_path, NOTES, masks[1:])


def test_what_ended_saves_left_behind_goes_after_a_while(tmp_path):
    save_session(tmp_path, NOTES, MASKS)
    ours = [
        "refined-labels.0123456789abcdef.png",
        "mask-protected.0123456789abcdef.png",
        ".0123456789abcdef.part",
    ]
    others = [
        "cat.png",
        "refined-labels.png",
        "refined-labels.0123456789abcdef.tif",
        "Refined-labels.0123456789abcdef.png",
        "notes.part",
    ]
    for name in ours + others:
        (tmp_path / name).write_bytes(b"")
        os.utime(tmp_path / name, (time.time() - KEPT_FOR + 60,) * 2)
    save_session(tmp_path, NOTES, MASKS)
    assert {*ours, *others} < contents(tmp_path).keys()
    for name in [*ours, *others, *load_session(tmp_path).session.files]:
        os.utime(tmp_path / name, (time.time() - KEPT_FOR - 60,) * 2)
    save_session(tmp_path, NOTES, MASKS)
    check_holds(tmp_path, NOTES, MASKS)
    assert {*ours, *others} & contents(tmp_path).keys() == {*others}


def test_a_file_that_is_not_ours_is_not_deleted_even_if_a_session_names_it(tmp_path):
    save_session(tmp_path, NOTES, MASKS)
    the_file(tmp_path, "labels").rename(tmp_path / "cat.png")
    edit(tmp_path, "masks", 0, "labels", to="cat.png")
    check_holds(tmp_path, NOTES, MASKS)
    save_session(tmp_path, NOTES, LATER)
    assert (tmp_path / "cat.png").exists()


def test_what_cannot_be_deleted_stays(tmp_path, monkeypatch):
    save_session(tmp_path, NOTES, MASKS)
    before = contents(tmp_path)

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "held by another program")

    monkeypatch.setattr(Path, "unlink", refuse)
    save_session(tmp_path, NOTES, LATER)
    check_holds(tmp_path, NOTES, LATER)
    assert before.keys() < contents(tmp_path).keys()


def test_saving_mends_a_file_that_was_damaged(tmp_path):
    save_session(tmp_path, NOTES, MASKS)
    path = the_file(tmp_path, "labels")
    path.write_bytes(path.read_bytes()[:100])
    the_file(tmp_path, "protected").unlink()
    save_session(tmp_path, NOTES, MASKS)
    check_holds(tmp_path, NOTES, MASKS)


def test_loading_changes_nothing(tmp_path):
    save_session(tmp_path, NOTES, MASKS)
    (tmp_path / ".0123456789abcdef.part").write_bytes(b"")
    for path in tmp_path.iterdir():
        os.utime(path, (1e9, 1e9))
    os.utime(tmp_path, (1e9, 1e9))
    before = contents(tmp_path)
    load_session(tmp_path)
    assert contents(tmp_path) == before
    assert {path.stat().st_mtime for path in (tmp_path, *tmp_path.iterdir())} == {1e9}


# ------------------------------------------------------------------ what cannot be saved


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (replace(MAPS, labels=MAPS.labels[1:]), r"The labels of “Katze \[refined\]”.*\(29, 41\)"),
        (replace(MAPS, labels=MAPS.labels.astype(int)), "int64.* uint8 or uint16"),
        (replace(MAPS, labels=MAPS.labels[None]), r"\(1, 30, 41\)"),
        (replace(MAPS, protected=MAPS.protected[:, 1:]), r"What is protected .*\(30, 40\)"),
        (replace(MAPS, protected=MAPS.labels), "and bool"),
        (replace(MAPS, proposal=MAPS.proposal.T), r"The proposal .*\(41, 30\)"),
        (replace(MAPS, proposal=MAPS.proposal / 2), "float64"),
        (replace(MAPS, labels=MAPS.labels + np.uint8(1)), "No class has the id 3"),
    ],
)
def test_maps_that_do_not_fit(tmp_path, maps, message):
    save_session(tmp_path, NOTES, MASKS)
    before = contents(tmp_path)
    with says(message):
        save_session(tmp_path, NOTES, [MASKS[1], (REFINED, maps)])
    assert contents(tmp_path) == before


def test_the_folder_is_a_file(tmp_path):
    (tmp_path / "file").write_text("mine")
    with says("cannot be written .*: choose another folder"):
        save_session(tmp_path / "file", NOTES, MASKS)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(
    os.name == "nt" or os.geteuid() == 0, reason="folders are read-only for no administrator"
)
def test_a_folder_that_is_read_only(tmp_path):
    save_session(tmp_path, NOTES, MASKS)
    tmp_path.chmod(0o500)
    try:
        with says(r"cannot be written \(Permission denied\)"):
            save_session(tmp_path, NOTES, LATER)
        check_holds(tmp_path, NOTES, MASKS)
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize(
    "there",
    [
        json.dumps({"format": 2, "layers": []}),
        json.dumps({"name": "another program's"}),
        "{",
    ],
)
def test_what_is_no_session_of_ours_is_not_replaced(tmp_path, there):
    save_session(tmp_path, NOTES, MASKS)
    (tmp_path / "session.json").write_text(there)
    before = contents(tmp_path)
    with says(r"In “.*session\.json”: The session"):
        save_session(tmp_path, NOTES, LATER)
    assert contents(tmp_path) == before


class Faults:
    """Counts what `atomic_write` and the session ask of the system; one of the times, it fails."""

    def __init__(self, monkeypatch, at, number):
        self.steps = []
        self._at, self._number = at, number
        openly, sync, move = Path.open, os.fsync, Path.replace

        def opening(path, mode="r", *args, **kwargs):
            if mode != "xb":
                return openly(path, mode, *args, **kwargs)
            self.step("open")
            return _File(openly(path, mode, *args, **kwargs), self)

        def syncing(number):
            is_folder = stat.S_ISDIR(os.fstat(number).st_mode)
            self.step("sync the folder" if is_folder else "sync")
            sync(number)

        def moving(path, target):
            self.step("commit" if Path(target).name == "session.json" else "move")
            return move(path, target)

        monkeypatch.setattr(Path, "open", opening)
        monkeypatch.setattr(Path, "replace", moving)
        monkeypatch.setattr(os, "fsync", syncing)

    def step(self, name):
        self.steps.append(name)
        if len(self.steps) == self._at:
            raise OSError(self._number, os.strerror(self._number))


class _File:
    """A file of which half is written when the disk gets full."""

    def __init__(self, file, faults):
        self._file, self._faults = file, faults

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()

    def write(self, content):
        self._file.write(content[: len(content) // 2])
        self._faults.step("write")
        return self._file.write(content[len(content) // 2 :])

    def __getattr__(self, name):
        return getattr(self._file, name)


A_FILE = ["open", "write", "sync", "move"]
STEPS = [
    *A_FILE * 2,  # labels and what is protected
    "sync the folder",
    *A_FILE[:3],
    "commit",
    "sync the folder",
]


@pytest.mark.skipif(os.name == "nt", reason="no folder can be synchronised there")
def test_the_steps_of_a_save(tmp_path, monkeypatch):
    """The commit comes last, with all that it names on the disk."""
    save_session(tmp_path, NOTES, MASKS)
    faults = Faults(monkeypatch, None, None)
    save_session(tmp_path, NOTES, LATER)
    assert faults.steps == STEPS


@pytest.mark.skipif(os.name == "nt", reason="no folder can be synchronised there")
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES], ids=["full", "read-only"])
@pytest.mark.parametrize(("at", "step"), list(enumerate(STEPS, 1)))
def test_a_fault_at_any_step(tmp_path, at, step, number):
    save_session(tmp_path, NOTES, MASKS)
    before = contents(tmp_path)
    with pytest.MonkeyPatch.context() as monkeypatch:
        faults = Faults(monkeypatch, at, number)
        if step == "sync the folder":  # not every system can
            save_session(tmp_path, NOTES, LATER)
        else:
            with says(r"cannot be written \((No space left on device|Permission denied)\)"):
                save_session(tmp_path, NOTES, LATER)
        assert faults.steps[at - 1] == step
    if step == "sync the folder":
        check_holds(tmp_path, NOTES, LATER)
        return
    assert contents(tmp_path) == before
    check_holds(tmp_path, NOTES, MASKS)
    save_session(tmp_path, NOTES, LATER)
    check_holds(tmp_path, NOTES, LATER)


@pytest.mark.skipif(os.name == "nt", reason="no folder can be synchronised there")
@pytest.mark.parametrize("at", [step for step, _ in enumerate(STEPS, 1) if step not in (9, 14)])
def test_the_first_save_into_a_folder_fails(tmp_path, at):
    with pytest.MonkeyPatch.context() as monkeypatch:
        Faults(monkeypatch, at, errno.ENOSPC)
        with says("No space left on device"):
            save_session(tmp_path, NOTES, [(REFINED, replace(MAPS, proposal=None))])
    assert contents(tmp_path) == {}


def test_an_interrupt_just_after_the_commit_keeps_what_was_committed(tmp_path, monkeypatch):
    save_session(tmp_path, NOTES, MASKS)
    move = Path.replace

    def interrupted(path, target):
        done = move(path, target)
        if Path(target).name == "session.json":
            raise KeyboardInterrupt
        return done

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_session(tmp_path, NOTES, LATER)
    check_holds(tmp_path, NOTES, LATER)


# ------------------------------------------------------------------ what cannot be loaded


def test_no_session(tmp_path):
    (tmp_path / "cat.png").write_bytes(b"")
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / "cat.png", tmp_path / "session.json"):
        with says(r"There is no session in “.*”: choose a folder that holds a session\.json"):
            load_session(path)


def test_paths_that_cannot_be(tmp_path):
    (tmp_path / "session.json").mkdir()
    with says("is a folder: give a file in it"):
        load_session(tmp_path)
    with says("File name too long"):
        load_session(tmp_path / ("x" * 300))
    with says("null"):
        load_session("\0")


def test_a_newer_format(tmp_path):
    save_session(tmp_path, NOTES, MASKS)
    edit(tmp_path, "format", to=2)
    with says(r"In “.*session\.json”: .*a newer napari-cliper \(format 2.*: update napari-cliper"):
        load_session(tmp_path)


def test_damaged_json(tmp_path):
    save_session(tmp_path, NOTES, MASKS)
    file = tmp_path / "session.json"
    text = file.read_bytes()
    for length in range(0, len(text.rstrip()), 31):
        file.write_bytes(text[:length])
        with says(r"In “.*session\.json”: The session is not JSON"):
            load_session(tmp_path)
    data = json.loads(text)
    del data["picture"]
    file.write_text(json.dumps(data))
    with says(r"In “.*session\.json”: The session is not valid at picture"):
        load_session(tmp_path)


@pytest.mark.parametrize("kind", ["labels", "protected", "proposal"])
def test_a_map_is_missing(tmp_path, kind):
    save_session(tmp_path, NOTES, MASKS)
    path = the_file(tmp_path, kind)
    path.unlink()
    with says(f"lacks its file “.*{path.name}”: copy the whole folder again"):
        load_session(tmp_path)


@pytest.mark.parametrize("kind", ["labels", "protected", "proposal"])
def test_a_map_is_cut_short(tmp_path, kind):
    save_session(tmp_path, NOTES, MASKS)
    path = the_file(tmp_path, kind)
    whole = path.read_bytes()
    # Of the last chunk, which is empty, nothing is missed.
    for length in (*range(0, 60, 7), *range(60, len(whole) - 12, 31), len(whole) - 13):
        path.write_bytes(whole[:length])
        with says(f"{path.name}” is (no picture, or a damaged one|damaged or cut short)"):
            load_session(tmp_path)


@pytest.mark.parametrize("kind", ["labels", "protected", "proposal"])
def test_no_damage_to_a_map_goes_unnoticed(tmp_path, kind):
    """Whatever byte is another one."""
    save_session(tmp_path, NOTES, MASKS)
    path = the_file(tmp_path, kind)
    whole = path.read_bytes()
    for at in (*range(0, 60, 3), *range(60, len(whole) - 12, 17)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        with says(path.name):
            load_session(tmp_path)


@pytest.mark.parametrize("kind", ["labels", "protected", "proposal"])
def test_a_map_of_another_size(tmp_path, kind):
    save_session(tmp_path, NOTES, MASKS)
    path = the_file(tmp_path, kind)
    Image.new("1", (30, 41)).save(path)
    with says(rf"{path.name}” is 30 × 41 pixels, the session's picture 41 × 30: copy the whole"):
        load_session(tmp_path)


@pytest.mark.parametrize("mode", ["L", "P", "RGB"])
def test_what_is_protected_has_one_bit(tmp_path, mode):
    save_session(tmp_path, NOTES, MASKS)
    Image.new(mode, SIZE[::-1]).save(the_file(tmp_path, "protected"))
    with says(r"refined-protected\..*png” tells what is protected, but not in black and white"):
        load_session(tmp_path)


def test_labels_in_colour(tmp_path):
    save_session(tmp_path, NOTES, MASKS)
    Image.new("RGB", SIZE[::-1]).save(the_file(tmp_path, "labels"))
    with says("holds colours, not labels"):
        load_session(tmp_path)


@pytest.mark.parametrize("kind", ["labels", "proposal"])
def test_a_label_that_no_class_has(tmp_path, kind):
    save_session(tmp_path, NOTES, MASKS)
    path = the_file(tmp_path, kind)
    Image.fromarray(np.full(SIZE, 7, np.uint8)).save(path)
    with says(rf"{path.name}” holds the label 7, .* add such a class there, or erase that label"):
        load_session(tmp_path)


def test_a_label_that_its_type_cannot_hold(tmp_path):
    classes = ClassList(classes=(ClassEntry(id=300, name="cat"),))
    labels = np.full(SIZE, 300, np.uint16)
    save_session(
        tmp_path, NOTES, [(REFINED.model_copy(update={"classes": classes}), MaskMaps(labels))]
    )
    np.testing.assert_array_equal(load_session(tmp_path).maps[0].labels, labels)
    edit(tmp_path, "masks", 0, "dtype", to="uint8")
    with says("holds the label 300"):
        load_session(tmp_path)


def test_a_path_whose_bytes_are_no_text(tmp_path):
    picture = NOTES.picture.model_copy(update={"path": "/photos/\udcff.png"})
    notes = NOTES.model_copy(update={"picture": picture})
    save_session(tmp_path, notes, MASKS)
    check_holds(tmp_path, notes, MASKS)


def test_the_file_is_what_the_model_writes(tmp_path):
    saved = save_session(tmp_path, NOTES, MASKS)
    assert Session.from_json((tmp_path / "session.json").read_text("utf-8")) == saved
