"""Whatever text names something, its files stay in their folder."""

import re
import tempfile
from pathlib import Path, PureWindowsPath

import numpy as np
import pytest
from hypothesis import strategies as st

from annotations import ours
from fuzz.broken import NASTY
from fuzz.examples import allowed, fuzz
from napari_cliper.annotation.annotation import Annotation
from napari_cliper.annotation.review import Entry, Review
from napari_cliper.files.exporting import export
from napari_cliper.files.formats import formats
from napari_cliper.files.names import by_pattern, different, plain
from napari_cliper.files.nearby import picture_near
from napari_cliper.files.review import ReviewFolder

PARTS = [
    "..", ".", "/", "\\", "C:", "\0", "con", "NUL", "com1", "COM¹", "LPT9", "aux.png", "CONIN$",
    " ", "~", "\\\\?\\", "file://", "%2e%2e", "a", "é", "\u202e", "\ud800", "..;", ":stream", "*",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(PARTS) | st.text(max_size=5)).map("".join) | st.sampled_from(
    [text for text in NASTY if isinstance(text, str)]
)
# As Windows' own documentation lists them.
DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³]) *(\..*)?", re.I | re.S)


def check_name(name: str) -> None:
    """It is one part of a path on every system, and no device."""
    assert name not in ("", ".", "..")
    assert not {*name} & {*'/\\:*?"<>|\0'}
    assert not name.endswith((" ", "."))
    assert not DEVICE.fullmatch(name)
    assert len(name.encode()) <= 255
    assert PureWindowsPath(name).name == name == Path(name).name


@fuzz(0.1, texts=st.lists(TEXTS, min_size=1, max_size=5), pattern=TEXTS)
def test_any_name(texts, pattern):
    for text in texts:
        check_name(plain(text))
        assert plain(plain(text)) == plain(text)
        if (made := allowed(by_pattern, pattern, text, texts[0])) is not None:
            check_name(plain(made))
    names = different(texts)
    assert len({name.casefold() for name in names}) == len(texts)
    for name in names:
        check_name(name)


@fuzz(0.04, text=TEXTS)
def test_any_picture_of_a_review(text):
    try:
        entry = Entry(picture=text)
    except ValueError:
        return
    Review(entries=(entry,))
    folder = ReviewFolder(Path("/pictures"), Path("/results"), None, {})
    place = folder.session(entry)
    assert Path("/results") in place.parents
    for part in place.relative_to("/results").parts:
        check_name(part)
    assert ".." not in folder.picture(entry).parts


@fuzz(0.04, text=TEXTS)
def test_any_picture_that_a_file_names(text):
    with tempfile.TemporaryDirectory() as hidden:
        inside = Path(hidden, "data", "in")
        inside.mkdir(parents=True)
        Path(hidden, "a.png").write_bytes(b"")
        for pictures in (inside, None):
            found = picture_near(text, inside / "in.json", pictures)
            near = [inside, inside.parent] if pictures is None else [inside]
            assert found is None or any(top in found.resolve().parents for top in near)


@pytest.mark.parametrize("key", [*formats()])
@fuzz(0.006, name=TEXTS)
def test_any_name_in_an_export(key, name):
    with tempfile.TemporaryDirectory() as hidden:
        folder = Path(hidden, "out")
        labels = np.ones((4, 4), np.uint16)
        wanted = [Annotation(name, labels, ours("cat")), Annotation(plain(name), labels, ours("a"))]
        for annotation in wanted:
            for path in allowed(export, [annotation], formats()[key], folder, overwrite=True) or []:
                assert folder in path.parents
        assert {path.name for path in Path(hidden).iterdir()} <= {"out"}
