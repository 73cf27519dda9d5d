"""Scribbles on a photograph, with the small preset's real weights."""

import numpy as np
import pytest
import skimage.data

import napari_cliper as nc
from napari_cliper.annotation.class_list import ClassEntry, ClassList
from napari_cliper.models.choices import Choices
from napari_cliper.result import Scored
from napari_cliper.segmenter import Encoding, Segmenter, drain, load_steps

CLASSES = ClassList(classes=(ClassEntry(id=300, name="cat"), ClassEntry(id=7, name="toaster")))


@pytest.fixture(scope="module")
def model() -> Segmenter:
    return nc.load("small", device="cpu", changes=["settings.shorter_side=224"])


@pytest.fixture(scope="module")
def encoding(model: Segmenter) -> Encoding:
    return model.encode(skimage.data.cat())


@pytest.fixture(scope="module")
def scored(model: Segmenter, encoding: Encoding) -> Scored:
    return model.score(encoding, CLASSES)


def stroke(id_: int, size: tuple[int, int] = (300, 451)) -> np.ndarray:
    """A short line on the cat's forehead."""
    scribbles = np.full(size, -1)
    scribbles[100:105, 190:240] = id_
    return scribbles


def test_one_stroke_of_another_class_spreads(scored: Scored, encoding: Encoding) -> None:
    before = scored.label()
    assert before.present.tolist() == [True, False]
    after = scored.corrected(encoding, stroke(7)).label()
    assert after.present.tolist() == [True, True]
    assert after.labels.dtype == np.uint16
    drawn = stroke(7) == 7
    assert (after.labels[drawn] == 7).all()
    changed = after.labels != before.labels
    assert changed.sum() > 10 * drawn.sum()
    assert (before.labels[changed] == 300).mean() > 0.9  # of the cat, not of what is beside it
    # What was known before is as it was.
    np.testing.assert_array_equal(scored.label().labels, before.labels)


def test_one_stroke_of_the_background_spreads(scored: Scored, encoding: Encoding) -> None:
    before, corrected = scored.label(), scored.corrected(encoding, stroke(0))
    after = corrected.label()
    removed = (before.labels == 300) & (after.labels == 0)
    assert removed.sum() > 10 * (stroke(0) == 0).sum()
    assert not ((before.labels == 0) & (after.labels > 0)).any()
    # Thresholds and refinement go on working.
    strict = corrected.label(background_threshold=0.9)
    assert (strict.labels > 0).sum() < (after.labels > 0).sum()
    coarse = corrected.label(refinement=0)
    np.testing.assert_array_equal(coarse.labels, after.coarse_labels)
    assert (coarse.labels != after.labels).any()


def test_scribbles_take_the_place_of_those_before(scored: Scored, encoding: Encoding) -> None:
    again = scored.corrected(encoding, stroke(7)).corrected(encoding, stroke(-1)).label()
    np.testing.assert_array_equal(again.labels, scored.label().labels)
    assert again.present.tolist() == [True, False]


def test_mistakes_are_told_in_a_sentence(
    model: Segmenter, scored: Scored, encoding: Encoding
) -> None:
    for wrong in (stroke(7, (301, 451)), stroke(7).astype(float), np.array(7)):
        with pytest.raises(nc.NapariCliperError, match="give 300 × 451 whole numbers"):
            scored.corrected(encoding, wrong)
    for id_ in (1, -2):
        with pytest.raises(nc.NapariCliperError, match=f"the value {id_}, which is no class's id"):
            scored.corrected(encoding, stroke(id_))
    other = model.encode(skimage.data.cat()[:200])
    with pytest.raises(nc.NapariCliperError, match="give the encoding that these scores"):
        scored.corrected(other, stroke(7))
    clearclip = drain(load_steps("small", "cpu", choices=Choices("clearclip"), before=model))
    with pytest.raises(nc.NapariCliperError, match="give the encoding that these scores"):
        clearclip.score(skimage.data.cat(), CLASSES).corrected(encoding, stroke(7))
