"""Whatever is typed or loaded as classes becomes a class list or is refused."""

import json

from hypothesis import strategies as st

from fuzz.broken import broken_bytes, broken_json, nasty_values
from fuzz.examples import allowed, fuzz
from napari_cliper.annotation import class_edits
from napari_cliper.annotation.class_list import ClassList
from napari_cliper.annotation.class_text import retyped

# Halves of letter pairs too: Windows' file names and paste buffers can hold them.
LETTERS = st.characters() | st.characters(categories=["Cs"])
SIGNS = st.sampled_from([";", "=", ",", "#", "\n", "\r", "\u2028", "{}", " ", "cat", "Cat", "ß"])
TEXTS = st.text(LETTERS, max_size=30) | st.lists(SIGNS | st.text(max_size=3)).map("".join)
IDS = st.integers(-1, 4) | st.sampled_from([255, 65535, 65536, 10**30])
WORDS = st.text(max_size=4).map(str.strip).filter(lambda word: not {*word} & {*";=,#"})
COLORS = st.tuples(*[st.integers(-1, 256)] * 3) | nasty_values()
BASE = ClassList.parse("cat; sofa = couch, settee; dog")


def check(classes):
    """What came out holds together."""
    if classes is not None:
        assert len(set(classes.ids)) == len(classes) > 0
        assert ClassList.from_json(classes.to_json()) == classes
        assert ClassList.parse(classes.to_text()).prompts == classes.prompts


@fuzz(0.1, text=TEXTS, before=TEXTS)
def test_any_text(text, before):
    typed = allowed(ClassList.parse, text)
    check(typed)
    old = allowed(ClassList.parse, before)
    if typed is not None and old is not None:
        check(class_edits.with_text(old, text, painted=old.ids[:2]))
        assert ClassList.parse(retyped(before, old, typed)).prompts == typed.prompts
        check(class_edits.loaded(old, typed))
        check(class_edits.followed(old, old, typed))
    check(allowed(ClassList.parse, [text, before]))
    if typed is not None:
        allowed(typed.known, before)


@fuzz(0.02, thing=nasty_values())
def test_anything_else_is_no_text(thing):
    check(allowed(ClassList.parse, thing))
    allowed(BASE.known, thing)


@fuzz(0.06, content=broken_bytes(BASE.to_json().encode()) | broken_json(BASE.to_json()))
def test_any_file(content):
    check(allowed(ClassList.from_json, content))


@fuzz(0.06, id_=IDS, text=TEXTS, color=COLORS, painted=st.lists(IDS))
def test_any_change(id_, text, color, painted):
    check(allowed(class_edits.renamed, BASE, id_, text))
    check(allowed(class_edits.with_synonyms, BASE, id_, text))
    check(allowed(class_edits.recolored, BASE, id_, color))
    check(allowed(class_edits.added, BASE, text, painted))
    check(allowed(class_edits.added, None, text, painted))
    check(allowed(class_edits.removed, BASE, id_))
    check(allowed(class_edits.with_background, BASE, text))
    check(allowed(class_edits.with_templates, BASE, text))
    check(allowed(class_edits.with_text, BASE, text, painted))
    check(allowed(class_edits.loaded, BASE, ClassList.parse("dog; cat"), painted))


@fuzz(0.02, data=nasty_values())
def test_any_json(data):
    text = json.dumps({"classes": data, "background": data, "templates": data})
    check(allowed(ClassList.from_json, text))
    text = json.dumps({"classes": [{"id": 1, "name": data, "synonyms": data}]})
    check(allowed(ClassList.from_json, text))
