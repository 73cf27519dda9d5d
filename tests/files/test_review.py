import errno
import os
import re
import sys
import unicodedata
from pathlib import Path, PurePath

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from napari_cliper.annotation.review import Entry, Review, State
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.indexed_png import save_labels
from napari_cliper.files.pictures import FORMATS
from napari_cliper.files.review import ReviewFolder, open_review, save_review


def make(folder, *names):
    """Empty files; of a picture under review only the name counts."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def everything_in(folder):
    return sorted(path.name for path in folder.iterdir())


def listed(folder, **places):
    return [entry.picture for entry in open_review(folder, **places)[1].entries]


def states(review):
    return {entry.picture: str(entry.state) for entry in review.entries}


def says(message):
    return pytest.raises(NapariCliperError, match=message)


def test_pictures_are_listed_in_natural_order(tmp_path):
    names = [
        "img10.png",
        "IMG2.JPG",
        "b/10.tif",
        "b/9.TIFF",
        "a.jpeg",
        "é 猫.webp",
        "b.bmp",
        "c.Gif",
    ]
    make(tmp_path, *names, "notes.txt", "classes.json", "png", "movie.mp4")
    make(
        tmp_path, ".hidden.png", ".thumbs/a.png", "a_labels.png", "A_Overlay.PNG", "b/9_labels.png"
    )
    assert listed(tmp_path) == [
        *("a.jpeg", "b/9.TIFF", "b/10.tif", "b.bmp", "c.Gif", "IMG2.JPG", "img10.png", "é 猫.webp")
    ]


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_that_can_be_read_is_listed(tmp_path, name):
    extensions = [e for e, found in Image.registered_extensions().items() if found == name]
    usual = f".{name.lower()}"
    assert usual in extensions
    Image.new("L", (2, 2)).save(tmp_path / f"a{usual}", name)
    assert listed(tmp_path) == [f"a{usual}"]


@pytest.mark.parametrize("results", [None, "mine", "b/mine", "../outside"])
def test_results_and_sessions_are_no_pictures(tmp_path, results):
    pictures = tmp_path / "pictures"
    make(pictures, "a.png", "b/c.png", "moved/session.json", "moved/mask.png", "moved/x/y.png")
    chosen = results and pictures / results
    folder, review = open_review(pictures, chosen)
    assert folder.results == (chosen or pictures / "cliper-review")
    assert not folder.results.exists()
    save_review(folder, review)
    make(folder.results, "a.png")
    make(folder.session(review.entries[0]), "mask.png")
    assert listed(pictures, results=chosen) == ["a.png", "b/c.png"]


def test_links_are_not_followed_round_in_circles(tmp_path):
    make(tmp_path, "a/b.png")
    try:
        (tmp_path / "a" / "again").symlink_to(tmp_path, target_is_directory=True)
    except OSError:
        pytest.skip("Windows keeps symbolic links to administrators")
    assert listed(tmp_path) == ["a/b.png"]
    (tmp_path / "other").symlink_to(tmp_path / "a", target_is_directory=True)
    assert listed(tmp_path / "other") == ["b.png"]


def test_what_was_saved_comes_back(tmp_path):
    make(tmp_path, "a.png", "x/猫 é.png", "z.jpg")
    folder, review = open_review(str(tmp_path))
    review = review.with_state("a.png", State.ACCEPTED).with_seconds("a.png", 2.5)
    review = review.with_uncertainty("x/猫 é.png", 0.1)
    save_review(folder, review)
    assert open_review(tmp_path) == (folder, review)
    save_review(folder, review.with_stroke("z.jpg"))
    assert open_review(tmp_path)[1] == review.with_stroke("z.jpg")
    assert everything_in(folder.results) == ["review.json"]
    assert folder.picture(review.entries[1]).is_file()


def test_records_of_missing_pictures_survive(tmp_path):
    make(tmp_path, "a.png", "disk/b.png", "disk/c.png")
    folder, review = open_review(tmp_path)
    review = review.with_stroke("disk/b.png").with_seconds("disk/b.png", 60)
    save_review(folder, review)
    (tmp_path / "disk").rename(tmp_path / ".away")
    for _ in range(2):
        folder, without = open_review(tmp_path)
        assert states(without) == {"a.png": "new"}
        save_review(folder, without)
    (tmp_path / ".away").rename(tmp_path / "disk")
    assert open_review(tmp_path)[1] == review


def test_new_pictures_join_a_review(tmp_path):
    make(tmp_path, "img1.png", "img10.png")
    folder, review = open_review(tmp_path)
    save_review(folder, review.with_state("img10.png", State.SKIPPED))
    make(tmp_path, "img2.png")
    assert list(states(open_review(tmp_path)[1]).items()) == [
        *(("img1.png", "new"), ("img2.png", "new"), ("img10.png", "skipped"))
    ]


def test_label_maps_made_before_are_proposals(tmp_path):
    pictures, other = tmp_path / "pictures", tmp_path / "other"
    make(pictures, "a.png", "b.v1.jpg", "c.png", "x/d.png", "x/e.png", "f.png", "g.png")
    results = pictures / "cliper-review"
    for place in (results / "a", results / "x" / "d", other / "b.v1", other / "e", other / "a"):
        save_labels(place.with_name(place.name + "_labels.png"), np.eye(3, dtype=int))
    make(results, "f_labels.png/no file", "g_overlay.png")
    folder, review = open_review(pictures, proposals=other)
    assert {entry.picture: folder.proposal(entry) for entry in review.entries} == {
        "a.png": results / "a_labels.png",  # before the other one
        "b.v1.jpg": other / "b.v1_labels.png",
        "c.png": None,
        "f.png": None,
        "g.png": None,
        "x/d.png": results / "x" / "d_labels.png",
        "x/e.png": other / "e_labels.png",
    }
    assert {name for name, state in states(review).items() if state == "proposed"} == {
        *("a.png", "b.v1.jpg", "x/d.png", "x/e.png")
    }
    assert open_review(pictures)[1].counts()[State.PROPOSED] == 2


def test_a_label_map_beside_its_picture_is_a_proposal_if_chosen(tmp_path):
    make(tmp_path, "a.png", "a_labels.png", "a_labels_labels.png")
    folder, review = open_review(tmp_path, proposals=tmp_path)
    assert folder.proposal(review.entries[0]) == tmp_path / "a_labels.png"
    assert states(review) == {"a.png": "proposed"}
    assert states(open_review(tmp_path)[1]) == {"a.png": "new"}


def test_a_label_map_that_may_be_another_picture_s_is_not_taken(tmp_path):
    pictures, other = tmp_path / "pictures", tmp_path / "other"
    make(pictures, "one/001.png", "two/001.png", "a.png", "a.jpg", "b.png", "two/b.png", "X/c.png")
    make(pictures, "x y/C.png")
    make(other, "001_labels.png", "a_labels.png", "b_labels.png", "two/001_labels.png")
    make(other, "c_labels.png", "C_labels.png")
    folder, review = open_review(pictures, proposals=other)
    assert {e.picture: folder.proposal(e) for e in review.entries if folder.proposal(e)} == {
        "b.png": other / "b_labels.png",  # it is where two/b.png's would not be by itself
        "two/001.png": other / "two" / "001_labels.png",
    }
    assert review.counts()[State.PROPOSED] == 2


@pytest.mark.parametrize("state", State)
def test_a_session_makes_new_pictures_proposed(tmp_path, state):
    make(tmp_path, "IMG 1.png", "b.png")
    folder, review = open_review(tmp_path)
    save_review(folder, review.with_state("IMG 1.png", state))
    make(folder.session(review.entry("IMG 1.png")), "session.json")
    (folder.session(review.entry("b.png"))).mkdir()  # nothing in it
    assert states(open_review(tmp_path)[1]) == {
        "b.png": "new",
        "IMG 1.png": "proposed" if state is State.NEW else str(state),
    }


def session(picture):
    folder = ReviewFolder(Path("p"), Path("r"), None, {})
    return folder.session(Entry(picture=picture)).relative_to("r")


def test_sessions_have_readable_names():
    """They are found again by these names: changing them loses people's work."""
    assert session("a.png").as_posix() == "a.png.session"
    assert session("set 1/img_001.jpg").as_posix() == "set 1/img_001.jpg.session"
    assert session("Fotos/Wüste 2.JPG").as_posix() == (
        "Fotos~cbbba360eb/Wüste 2_JPG~eab5246343.session"
    )
    accent_by_itself = unicodedata.normalize("NFD", "Wüste.png")
    assert session(accent_by_itself).name.startswith("Wüste_png~")
    assert session(accent_by_itself) != session("Wüste.png")


parts = st.text("aAbäÄ\u0308ﬁß.~ _-:?\\*<\n猫", min_size=1, max_size=5) | st.sampled_from(
    ["con", "NUL", "com1", "review.json", "a.png.session", "x" * 250, "猫" * 80, "a~b", "A.PNG"]
)
folders = st.lists(parts, max_size=2)
names = st.tuples(folders, parts, st.sampled_from([".png", ".PNG", ".jpg"])).map(
    lambda found: "/".join([*found[0], found[1] + found[2]])
)
paths = names.filter(lambda path: {".", ".."}.isdisjoint(path.split("/")))
RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{n}{i}" for n in ("COM", "LPT") for i in range(10))}


def is_safe(name):
    """Whether Windows, and the other systems, take this for a name as it is."""
    return (
        not re.search(r'[<>:"/\\|?*\x00-\x1f]|[. ]$|^ ', name)
        and name.partition(".")[0].strip().upper() not in RESERVED
        and len(name.encode()) <= 255
    )


@settings(max_examples=50, deadline=None)
@given(st.lists(paths, min_size=2, max_size=12, unique=True))
def test_sessions_are_apart_on_every_system(pictures):
    found = [session(picture) for picture in pictures]
    assert all(is_safe(part) for path in found for part in path.parts)
    folded = {PurePath(unicodedata.normalize("NFKC", str(path)).casefold()) for path in found}
    assert len(folded) == len(pictures)
    assert not any(above in folded for path in folded for above in path.parents)
    assert not any("review.json" in path.parts for path in folded)
    assert all(
        len(path.parts) == len(picture.split("/"))
        for path, picture in zip(found, pictures, strict=True)
    )


@pytest.mark.parametrize(
    "clash", [("a.png", "a.jpg"), ("a.png", "A.png"), ("a/b.png", "A/b.png"), ("a:.png", "a?.png")]
)
def test_pictures_whose_names_nearly_clash(clash):
    first, second = (str(session(picture)).casefold() for picture in clash)
    assert first != second


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_full_disk_leaves_the_saved_review(tmp_path, monkeypatch, number):
    make(tmp_path, "a.png")
    folder, review = open_review(tmp_path)
    save_review(folder, review)

    def fail(_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with says(f"“.*review.json” cannot be written .{os.strerror(number)}.: choose another folder"):
        save_review(folder, review.with_stroke("a.png"))
    assert open_review(tmp_path)[1] == review
    assert everything_in(folder.results) == ["review.json"]


@pytest.mark.parametrize("step", ["mkdir", "open", "replace"])
def test_a_folder_that_may_not_be_written(tmp_path, monkeypatch, step):
    make(tmp_path, "a.png")
    folder, review = open_review(tmp_path)
    save_review(folder, review)

    def fail(self, *_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    with monkeypatch.context() as patched:
        patched.setattr(Path, step, fail)
        with says(r"cannot be written \(Permission denied\)"):
            save_review(folder, review.with_stroke("a.png"))
    assert open_review(tmp_path)[1] == review
    assert everything_in(folder.results) == ["review.json"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"In “.*review\.json”: The review is not valid .*: correct it there, or move"),
        (b'{"format": 1, "entries": [', "move the file away to begin anew"),
        (b'{"format": 7, "entries": []}', r"In “.*a newer napari-cliper \(format 7, .*: update"),
    ],
)
def test_a_review_that_cannot_be_read_is_left_alone(tmp_path, content, message):
    make(tmp_path, "a.png", "cliper-review/review.json")
    saved = tmp_path / "cliper-review" / "review.json"
    saved.write_bytes(content)
    with says(message):
        open_review(tmp_path)
    assert saved.read_bytes() == content
    assert everything_in(saved.parent) == ["review.json"]


def test_a_review_file_that_may_not_be_read(tmp_path, monkeypatch):
    make(tmp_path, "a.png", "cliper-review/review.json")

    def fail(self, mode):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", fail)
    with says(r"review\.json” may not be read: change its permissions"):
        open_review(tmp_path)
    monkeypatch.undo()
    (tmp_path / "cliper-review" / "review.json").unlink()
    (tmp_path / "cliper-review" / "review.json").mkdir()
    with says(r"review\.json” is a folder"):
        open_review(tmp_path)


def test_folders_that_cannot_be_reviewed(tmp_path):
    with says("There is no folder “.*missing”: check its name"):
        open_review(tmp_path / "missing")
    make(tmp_path, "notes.txt", "a_labels.png", ".b.png", "c/.d.png")
    with says("There is no folder “.*notes.txt”"):
        open_review(tmp_path / "notes.txt")
    with says("no pictures in “.*”: choose a folder with PNG, JPEG, TIFF, BMP, WebP or GIF"):
        open_review(tmp_path)
    make(tmp_path, "a.png")
    with says("There is no folder “.*missing”"):
        open_review(tmp_path, proposals=tmp_path / "missing")
    with says("holds the pictures: choose another folder for the results"):
        open_review(tmp_path, results=tmp_path / "c" / "..")


def test_no_picture_is_left_out_because_its_folder_may_not_be_read(tmp_path, monkeypatch):
    make(tmp_path, "a.png", "b/c.png")
    scandir = os.scandir

    def guarded(path):
        if Path(path).name == "b":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    with says(r"The folder “.*b” cannot be read \(Permission denied\): change its permissions"):
        open_review(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are text")
def test_a_name_that_is_no_text(tmp_path):
    make(tmp_path, "a.png", os.fsdecode(b"\xff\xe9.png"))
    with says(r"The name “\?\?\.png” is no valid text: rename it"):
        open_review(tmp_path)


def test_names_as_long_as_they_may_be(tmp_path):
    name = "x" * 251 + ".png"
    try:
        make(tmp_path, name)
    except OSError:
        pytest.skip("the disk takes no name as long")
    folder, review = open_review(tmp_path)
    assert folder.proposal(review.entries[0]) is None
    folder.session(review.entries[0]).mkdir(parents=True)
    assert states(review) == {name: "new"}


def test_ten_thousand_pictures(tmp_path):
    names = [f"set {i % 100}/IMG_{i}.JPG" for i in range(10_000)]
    folder = ReviewFolder(tmp_path, tmp_path / "results", None, {})
    review = Review(entries=()).of(names).with_proposals(names)
    save_review(folder, review)
    for name in names[:100]:
        review = review.with_state(name, State.ACCEPTED)
    assert review.counts()[State.PROPOSED] == 9900
