import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import distance_transform_edt
from skimage.segmentation import find_boundaries

from napari_cliper.annotation.agreement import ClassAgreement, compare, difference
from napari_cliper.errors import NapariCliperError

FIRST = np.array(
    [
        [1, 1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0, 2],
        [0, 0, 0, 0, 0, 2],
    ],
    np.uint16,
)
SECOND = np.array(
    [
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0, 3],
        [1, 1, 1, 0, 0, 3],
        [1, 1, 1, 0, 0, 0],
    ],
    np.uint8,
)
maps = st.tuples(st.integers(1, 12), st.integers(1, 12)).flatmap(
    lambda shape: st.tuples(*[arrays(np.uint16, shape, elements=st.integers(0, 3))] * 2)
)


def square(left, size=64):
    labels = np.zeros((size, size), np.uint16)
    labels[20:40, left : left + 20] = 1
    return labels


def test_by_hand():
    agreement = compare(FIRST, SECOND, (3, 1, 2, 9), tolerance=0)
    # Class 1 has 9 pixels in both, 15 in either. Its boundaries: the fourth column and third row
    # of 12, which are 6 pixels; the third column, which is 4. They share the one at (2, 2).
    boundary_f = 2 * (1 / 6) * (1 / 4) / (1 / 6 + 1 / 4)
    assert agreement.classes == (
        ClassAgreement(3, 0.0, 0.0),
        ClassAgreement(1, 9 / 15, pytest.approx(boundary_f)),
        ClassAgreement(2, 0.0, 0.0),
    )
    assert agreement.mean_iou == pytest.approx(0.2)
    assert agreement.mean_boundary_f == pytest.approx(boundary_f / 3)
    # 3 + 3 pixels of class 1, 2 of class 2, 2 of class 3, of which one is both.
    assert agreement.pixel_accuracy == pytest.approx(1 - 9 / 24)
    assert agreement.different.sum() == 9
    np.testing.assert_array_equal(agreement.different, FIRST != SECOND)


@pytest.mark.parametrize(
    ("tolerance", "precision", "recall"),
    [
        # Of the 6 pixels, from left to right and bottom to top: distances 2, 1, 0, then 1 each.
        # Of the 4: 1, 1, 0 and 1.
        (0, 1 / 6, 1 / 4),
        (0.9, 1 / 6, 1 / 4),
        (1, 5 / 6, 1),
        (2, 1, 1),
    ],
)
def test_boundaries_within_the_tolerance(tolerance, precision, recall):
    (entry,) = compare(FIRST, SECOND, [1], tolerance).classes
    assert entry.boundary_f == pytest.approx(2 * precision * recall / (precision + recall))


def test_the_tolerance_is_a_distance_straight_across():
    first, second = np.zeros((2, 20, 20), np.uint16)
    first[5, 5] = second[8, 9] = 1
    for tolerance, expected in ((4.99, 0), (5, 1)):
        assert compare(first, second, [1], tolerance).mean_boundary_f == expected


def test_the_tolerance_follows_from_the_diagonal():
    first, second = np.zeros((2, 300, 400), np.uint16)
    first[:, :200] = 1
    second[:, :204] = 1
    agreement = compare(first, second, [1])
    assert agreement.tolerance == 4  # 0.0075 × 500 is 3.75
    assert agreement.mean_boundary_f == 1
    assert agreement.mean_iou == pytest.approx(200 / 204)
    second[:, :205] = 1
    assert compare(first, second, [1]).mean_boundary_f == 0
    assert compare(FIRST, SECOND, [1]).tolerance == 1


def test_a_shifted_square():
    agreement = compare(square(10), square(15), [1], tolerance=1)
    assert agreement.mean_iou == pytest.approx(15 * 20 / (25 * 20))
    # Near the other's are, of the 76 pixels of an outline, 16 above and below, and beside them 2.
    assert agreement.mean_boundary_f == pytest.approx(34 / 76)


def test_a_map_agrees_with_itself():
    agreement = compare(FIRST, FIRST, [1, 2, 3], tolerance=0)
    assert [entry.id for entry in agreement.classes] == [1, 2]
    assert (agreement.mean_iou, agreement.mean_boundary_f) == (1, 1)
    assert agreement.pixel_accuracy == 1
    assert not agreement.different.any()


def test_a_class_without_boundary():
    full, empty, half = np.ones((4, 6), int), np.zeros((4, 6), int), np.ones((4, 6), int)
    half[:, 3:] = 0
    assert compare(full, full, [1]).classes == (ClassAgreement(1, 1.0, 1.0),)
    assert compare(full, half, [1]).classes == (ClassAgreement(1, 0.5, 0.0),)
    assert compare(full, empty, [1]).classes == (ClassAgreement(1, 0.0, 0.0),)


def test_nothing_to_compare():
    for ids in ([], [5, 70000]):
        agreement = compare(FIRST, SECOND, ids)
        assert agreement.classes == ()
        assert (agreement.mean_iou, agreement.mean_boundary_f) == (1, 1)
        assert agreement.pixel_accuracy == pytest.approx(1 - 9 / 24)


def test_an_id_counts_once():
    assert compare(FIRST, SECOND, [2, 1, 2]) == compare(FIRST, SECOND, [2, 1])
    assert compare(FIRST, SECOND, [2, 1]) != compare(FIRST, SECOND, [1, 2])


def test_difference():
    labels = np.array([[0, 1, 0], [2, 2, 300]], np.uint16)
    others = np.array([[0, 1, 7], [0, 1, 5]], np.uint8)
    kinds = difference(labels, others)
    assert kinds.dtype == np.uint8
    assert kinds.tolist() == [[0, 0, 2], [1, 3, 3]]
    assert difference(others, labels).tolist() == [[0, 0, 1], [2, 3, 3]]


@pytest.mark.parametrize("function", [difference, lambda *maps: compare(*maps, [1])])
def test_maps_of_different_sizes(function):
    with pytest.raises(NapariCliperError, match=r"\(4, 6\) and \(6, 4\) pixels cannot be compared"):
        function(FIRST, SECOND.T)


@settings(max_examples=50, derandomize=True, deadline=None)
@given(maps, st.sampled_from([0, 1, 1.5, 3]))
def test_each_class_as_if_alone(pair, tolerance):
    agreement = compare(*pair, range(4), tolerance)
    there = [i for i in range(4) if any((labels == i).any() for labels in pair)]
    assert [entry.id for entry in agreement.classes] == there
    for entry in agreement.classes:
        masks = [labels == entry.id for labels in pair]
        assert entry.iou == pytest.approx((masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum())
        if not all(mask.any() for mask in masks):
            assert entry.boundary_f == 0
            continue
        ours, theirs = (find_boundaries(mask, mode="inner") for mask in masks)
        if not ours.any() or not theirs.any():
            assert entry.boundary_f == (ours.any() == theirs.any())
            continue
        precision = (distance_transform_edt(~theirs) <= tolerance)[ours].mean()
        recall = (distance_transform_edt(~ours) <= tolerance)[theirs].mean()
        mean = 2 * precision * recall / (precision + recall) if precision or recall else 0
        assert entry.boundary_f == pytest.approx(mean)
    assert agreement.pixel_accuracy == pytest.approx(np.mean(pair[0] == pair[1]))
    back = compare(*pair[::-1], range(4), tolerance)
    assert back.mean_iou == pytest.approx(agreement.mean_iou)
    assert back.mean_boundary_f == pytest.approx(agreement.mean_boundary_f)
