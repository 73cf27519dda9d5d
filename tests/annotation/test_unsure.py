import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.filters import threshold_otsu
from skimage.measure import label

from napari_cliper.annotation.unsure import spots, weight_of

often = settings(max_examples=50, derandomize=True, deadline=None)
maps = st.tuples(st.integers(1, 14), st.integers(1, 14)).flatmap(
    lambda shape: arrays(np.float32, shape, elements=st.sampled_from([0, 0.25, 0.5, 0.75, 1]))
)


def a_map():
    """Three regions: small and unsure, large and less so, and a speck."""
    uncertainty = np.full((60, 80), 0.1, np.float32)
    uncertainty[5:9, 50:54] = 0.9
    uncertainty[6, 52] = 1
    uncertainty[20:40, 10:20] = 0.7
    uncertainty[39, 18] = 0.75
    uncertainty[50:52, 60:64] = 1
    return uncertainty


def outlines(found):
    return [(spot.area, spot.box, spot.place) for spot in found]


def test_spots():
    found = spots(a_map())
    assert outlines(found) == [(200, (20, 10, 40, 20), (39, 18)), (16, (5, 50, 9, 54), (6, 52))]
    assert [spot.weight for spot in found] == pytest.approx([140.05, 14.5])
    assert all(spot.inside.all() for spot in found)
    assert [type(number) for number in (*found[0].box, *found[0].place)] == [int] * 6
    with pytest.raises(dataclasses.FrozenInstanceError):
        found[0].area = 1


def test_nine_pixels_are_no_speck():
    uncertainty = a_map()
    uncertainty[52, 60] = 1
    assert outlines(spots(uncertainty))[2] == (9, (50, 60, 53, 64), (50, 60))


def test_in_a_larger_picture_a_speck_is_larger():
    uncertainty = np.zeros((300, 400), np.float32)  # 0.0002 of it are 24 pixels
    uncertainty[10:14, 10:16] = 1
    uncertainty[100:104, 10:16] = 1
    uncertainty[103, 15] = 0
    assert [spot.area for spot in spots(uncertainty)] == [24]


def test_regions_that_meet_at_corners_are_one():
    uncertainty = np.zeros((20, 20), np.float32)
    uncertainty[2:6, 2:6] = uncertainty[6:10, 6:10] = 0.5
    uncertainty[9, 6] = 1
    (spot,) = spots(uncertainty)
    assert outlines([spot]) == [(32, (2, 2, 10, 10), (9, 6))]
    np.testing.assert_array_equal(spot.inside, uncertainty[2:10, 2:10] > 0)


def test_what_was_seen_is_left_out():
    uncertainty, seen = a_map(), np.zeros((60, 80), bool)
    seen[:, 15:40] = True
    left = spots(uncertainty, seen)
    assert outlines(left) == [(100, (20, 10, 40, 15), (20, 10)), (16, (5, 50, 9, 54), (6, 52))]
    # All of the large one: the less sure rest does not come up in its stead.
    seen[:, :40] = True
    assert outlines(spots(uncertainty, seen)) == [(16, (5, 50, 9, 54), (6, 52))]
    assert spots(uncertainty, np.ones_like(seen)) == ()


def test_as_many_as_wanted():
    assert spots(a_map(), most=1) == spots(a_map())[:1]
    assert spots(a_map(), most=0) == ()


@pytest.mark.parametrize("value", [0, 0.3, 1])
def test_a_constant_map_has_none(value):
    assert spots(np.full((30, 30), value, np.float32)) == ()


def test_of_equal_ones_the_first_comes_first():
    uncertainty = np.zeros((30, 40), np.float32)
    for left in (30, 20, 2):
        uncertainty[left % 7 : left % 7 + 4, left : left + 4] = 0.5
    assert [spot.box[:2] for spot in spots(uncertainty)] == [(2, 2), (2, 30), (6, 20)]


@often
@given(maps, st.data())
def test_spots_are_the_large_regions_above_the_threshold(uncertainty, data):
    left_out = data.draw(arrays(bool, uncertainty.shape, elements=st.sampled_from([0, 0, 0, 1])))
    unsure = (uncertainty > threshold_otsu(uncertainty)) & ~left_out
    regions = label(unsure, connectivity=2)
    expected = {
        (np.flatnonzero(regions == number).tobytes())
        for number in range(1, regions.max() + 1)
        if (regions == number).sum() >= 9
    }
    found = spots(uncertainty, left_out)
    masks = []
    for spot in found:
        top, left, bottom, right = spot.box
        mask = np.zeros(uncertainty.shape, bool)
        mask[top:bottom, left:right] = spot.inside
        masks.append(np.flatnonzero(mask).tobytes())
        rows, columns = np.nonzero(mask)
        assert spot.box == (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)
        assert spot.area == mask.sum()
        assert spot.weight == pytest.approx(uncertainty[mask].sum())
        assert mask[spot.place]
        assert uncertainty[spot.place] == uncertainty[mask].max()
    assert len(masks) == len(expected)
    assert set(masks) == expected
    weights = [spot.weight for spot in found]
    assert weights == sorted(weights, reverse=True)


def test_weight_of_a_picture():
    assert weight_of(np.array([[0, 1], [0.5, 0]], np.float32)) == 0.375
    assert weight_of(np.ones((2048, 2048), np.float32)) == 1
    assert type(weight_of(np.zeros((2, 2), np.float32))) is float
    # What spots weigh is part of it.
    assert sum(spot.weight for spot in spots(a_map())) < weight_of(a_map()) * a_map().size
