"""File names made of any text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_cliper.errors import NapariCliperError
from napari_cliper.files.names import by_pattern, different, plain


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("cat", "cat"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("C:\\x", "C__x"),
        ("nul.txt", "_nul.txt"),
        ("COM1", "_COM1"),
        ("com¹", "_com¹"),
        ("CONOUT$.txt", "_CONOUT$.txt"),
        ("con .png", "_con .png"),
        ("aux.a\u2029b", "_aux.a_b"),
        ("", "_"),
        (" . ", "_"),
        ("a\u202eb\n", "a_b_"),
        ("كلب 😀", "كلب 😀"),
        ("e\u0301", "é"),
    ],
)
def test_examples(text, name):
    assert plain(text) == name


@given(st.text())
def test_every_name_is_one_that_systems_take(text):
    name = plain(text)
    assert name == plain(name)
    assert 0 < len(name.encode()) <= 181
    assert not set(name) & set('/\\:*?"<>|\0\n')
    assert name.strip(" .") == name


@given(st.lists(st.text(max_size=3)))
def test_different_names_differ_on_every_system(texts):
    names = different(texts)
    assert len({name.casefold() for name in names}) == len(texts)


def test_patterns():
    assert by_pattern("{picture}_{name}_x", "{picture}", "p") == "p_{picture}_x"
    for wrong in ("{}", "{0}", "{name", "name}", " ", "{name.__class__}"):
        with pytest.raises(NapariCliperError, match="is no pattern"):
            by_pattern(wrong, "a", "b")
