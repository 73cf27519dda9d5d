import pytest

from napari_cliper.annotation import class_edits
from napari_cliper.annotation.class_list import ClassList
from napari_cliper.annotation.class_text import retyped

TEXT = "# animals\ncat = kitty  # ours\n\ndog; hen\n"
CLASSES = ClassList.parse(TEXT)


def test_what_did_not_change_stays_as_it_was_typed() -> None:
    assert retyped(TEXT, CLASSES, CLASSES) == TEXT.removesuffix("\n")


def test_a_rename_changes_its_own_words_only() -> None:
    after = class_edits.renamed(CLASSES, 2, "hound")
    assert retyped(TEXT, CLASSES, after) == "# animals\ncat = kitty  # ours\n\nhound; hen"


def test_synonyms_are_written_behind_the_name() -> None:
    after = class_edits.with_synonyms(CLASSES, 3, "chicken, poultry")
    assert retyped(TEXT, CLASSES, after).endswith("dog; hen = chicken, poultry")


def test_a_removed_class_leaves_its_comment() -> None:
    after = class_edits.removed(CLASSES, 1)
    assert retyped(TEXT, CLASSES, after) == "# animals\n#  ours\n\ndog; hen".replace("#  o", "# o")


def test_a_class_alone_on_its_line_takes_the_line_along() -> None:
    classes = ClassList.parse("cat\ndog")
    assert retyped("cat\ndog", classes, class_edits.removed(classes, 1)) == "dog"


def test_a_new_class_gets_a_line() -> None:
    after = class_edits.added(CLASSES, "cow")
    assert retyped(TEXT, CLASSES, after) == TEXT + "cow"


def test_no_classes_leave_the_comments() -> None:
    assert retyped("cat\n# note", ClassList.parse("cat"), None) == "# note"
    assert retyped("", None, CLASSES) == CLASSES.to_text()


@pytest.mark.parametrize("text", ["", "cat; cat", "other; words", "=;;", "hen\ndog\ncat"])
def test_it_always_reads_as_the_list(text: str) -> None:
    assert ClassList.parse(retyped(text, CLASSES, CLASSES)).prompts == CLASSES.prompts
