"""The figures of cases computed by hand, and scikit-learn's own on random ones."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from napari_cliper.evaluation.datasets import IGNORED
from napari_cliper.evaluation.metrics import Confusion, image_level

NAMES = ("cat", "dog", "bird")
# Two classes and background; of ten pixels one does not count.
TRUTH = np.array([[0, 0, 0, 1, 1], [1, 2, 2, 2, IGNORED]], np.uint16)
FOUND = np.array([[0, 0, 1, 1, 1], [2, 2, 2, 0, 1]], np.uint16)
# Of each label there are 3 pixels, 3 are found and 2 of these are right: 2 / (3 + 3 - 2).


def test_a_case_computed_by_hand() -> None:
    figures = Confusion.of(TRUTH, FOUND, 3).figures(NAMES, background=True)
    assert figures.iou == {"background": 0.5, "cat": 0.5, "dog": 0.5, "bird": None}
    assert figures.miou == 0.5
    assert figures.pixel_accuracy == pytest.approx(6 / 9)
    assert figures.mean_accuracy == pytest.approx(2 / 3)


def test_without_background_its_pixels_do_not_count() -> None:
    truth = np.where(TRUTH == 0, IGNORED, TRUTH).astype(np.uint16)
    figures = Confusion.of(truth, FOUND, 3).figures(NAMES, background=False)
    # The cat's third pixel is taken for a dog, the dog's is left out; what is found where nothing
    # counts costs nothing.
    assert figures.iou == {"cat": pytest.approx(2 / 3), "dog": pytest.approx(2 / 4), "bird": None}
    assert figures.miou == pytest.approx(7 / 12)
    assert figures.pixel_accuracy == pytest.approx(4 / 6)
    assert figures.mean_accuracy == pytest.approx(2 / 3)


def test_the_mean_is_over_the_classes_in_the_truth() -> None:
    truth = np.array([[1, 1]], np.uint16)
    figures = Confusion.of(truth, np.array([[1, 3]], np.uint16), 3).figures(NAMES, True)
    assert figures.iou == {"background": None, "cat": 0.5, "dog": None, "bird": 0.0}
    assert figures.miou == figures.mean_accuracy == 0.5


def test_pictures_are_pooled_not_averaged() -> None:
    together = Confusion.empty(1)
    together.add(Confusion.of(np.ones((1, 9), np.uint16), np.ones((1, 9), np.uint16), 1))
    together.add(Confusion.of(np.ones((1, 1), np.uint16), np.zeros((1, 1), np.uint16), 1))
    assert together.figures(("cat",), False).miou == pytest.approx(0.9)


def test_nothing_that_counts_has_no_figures() -> None:
    truth = np.full((2, 2), IGNORED, np.uint16)
    figures = Confusion.of(truth, np.ones((2, 2), np.uint16), 3).figures(NAMES, True)
    assert figures.miou is None
    assert figures.pixel_accuracy is None
    assert Confusion.of(truth, truth * 0, 3).score(True) is None


def test_the_counts_are_scikit_learns() -> None:
    random = np.random.default_rng(0)
    truth, found = random.integers(0, 5, (2, 40, 50)).astype(np.uint16)
    truth[random.random(truth.shape) < 0.2] = IGNORED
    counted = truth != IGNORED
    expected = confusion_matrix(truth[counted], found[counted], labels=range(5))
    np.testing.assert_array_equal(Confusion.of(truth, found, 4).counts, expected)


def test_the_score_of_a_picture_is_of_the_classes_in_its_truth() -> None:
    truth = np.array([[1, 1, 0, 0]], np.uint16)
    found = np.array([[1, 0, 0, 3]], np.uint16)
    confusion = Confusion.of(truth, found, 3)
    # cat 1 / 2, background 1 / 3; the bird is not in the truth.
    assert confusion.score(background=True) == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert confusion.score(background=False) == pytest.approx(1 / 2)


def test_image_level_figures_computed_by_hand() -> None:
    truth = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0]], bool)
    presence = np.array([[0.9, 0.1, 0.8], [0.2, 0.7, 0], [0.3, 0.6, 0]], np.float32)
    found = np.array([[1, 0, 1], [0, 1, 0], [1, 1, 0]], bool)
    level = image_level(truth, presence, found)
    # Class 1, ranked 0.9 yes, 0.3 no, 0.2 yes: (1 + 2/3) / 2; class 2 perfect; class 3 is nowhere.
    assert level.mean_average_precision == pytest.approx((5 / 6 + 1) / 2)
    assert level.precision == pytest.approx((1 / 2 + 1) / 2)
    assert level.recall == pytest.approx((1 / 2 + 1) / 2)
    assert level.f1 == pytest.approx((1 / 2 + 1) / 2)
    assert level.pooled_precision == pytest.approx(3 / 5)  # the false alarm of class 3 counts
    assert level.pooled_f1 == pytest.approx(2 * 3 / 5 * 3 / 4 / (3 / 5 + 3 / 4))
    assert level.pooled_recall == pytest.approx(3 / 4)


def test_image_level_of_pictures_without_classes() -> None:
    nothing = np.zeros((2, 3), bool)
    assert image_level(nothing, nothing.astype(np.float32), nothing).f1 is None
