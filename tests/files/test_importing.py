"""What there is to read, and labels by names."""

import numpy as np
import pytest

from annotations import ours
from napari_cliper import save_labels
from napari_cliper.annotation.annotation import Annotation, foreign_classes
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.formats import format_of
from napari_cliper.files.importing import Numbering, by_names, left_out, within

LABELS = np.array([[0, 1, 2]], np.uint16)


def test_a_folder_is_listed_without_what_is_no_mask(tmp_path):
    save_labels(tmp_path / "a_labels.png", LABELS, "cat; dog")
    for name in ("a_overlay.png", "b.png", "b.json", "review.json", "notes.txt"):
        (tmp_path / name).touch()
    found = within(tmp_path)
    assert [path.name for path in found] == ["a_labels.png"]
    assert [path.name for path in left_out(tmp_path, found)] == ["b.json", "b.png"]
    assert left_out(found[0], found) == []
    named = within(tmp_path, format_of("png"))
    assert [path.name for path in named] == ["a_labels.png", "b.png"]
    assert [path.name for path in within(tmp_path, format_of("coco"))] == ["b.json"]


def test_classes_by_their_names():
    annotation = Annotation("a", LABELS, ours("Dog", "cat", "owl"))
    found = by_names(annotation, ours("cat", "dog"))  # no pixel is an owl
    assert found.labels.tolist() == [[0, 2, 1]]
    assert found.classes == ours("cat", "dog")
    with pytest.raises(NapariCliperError, match="“a” has the class “cat”"):
        by_names(annotation, ours("dog"))


def test_numbers_by_names():
    numbering = Numbering()
    first = Annotation("a", LABELS, foreign_classes({1: "dog", 2: "cat"}))
    assert numbering.renumbered(first).classes == first.classes
    found = numbering.renumbered(Annotation("b", LABELS, foreign_classes({1: "owl", 2: "Dog"})))
    assert found.labels.tolist() == [[0, 3, 1]]
    assert found.classes == foreign_classes({3: "owl", 1: "Dog"})
