"""Masks become polygons and come back without a pixel's difference."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageDraw
from scipy.ndimage import binary_fill_holes
from skimage.measure import label

from napari_cliper.files.polygons import border_of, filled, joined, outline_of, polygons_of

MASKS = st.tuples(st.integers(1, 24), st.integers(1, 24)).flatmap(lambda size: arrays(bool, size))


@given(MASKS)
def test_there_and_back(mask):
    assert np.array_equal(filled(polygons_of(mask), mask.shape), mask)


@given(MASKS.filter(np.any))
def test_there_and_back_as_one_polygon(mask):
    assert np.array_equal(filled([joined(polygons_of(mask))], mask.shape), mask)


@given(MASKS.filter(np.any))
def test_there_and_back_as_an_outline(mask):
    assert np.array_equal(filled([outline_of(mask)], mask.shape), mask)


def test_many_holes_take_no_more_than_seconds():
    # Holes times corners would be minutes; the second half is far from everything at first.
    mask = np.random.default_rng(0).random((512, 1024)) > 0.05
    mask[:, :512] = True
    started = time.monotonic()
    outline = outline_of(mask)
    assert time.monotonic() - started < 20
    assert np.array_equal(filled([outline], mask.shape), mask)


def test_parts_that_touch_are_joined_where_they_do():
    mask = np.eye(9, dtype=bool) | np.eye(9, dtype=bool)[::-1]
    outline = outline_of(mask)
    lengths = np.abs(outline - np.roll(outline, 1, axis=0)).sum(1)
    assert lengths.sum() == 4 * mask.sum()  # nothing but the pixels' own edges


@pytest.mark.parametrize("seed", range(3))
def test_large_blobs_with_holes(seed):
    random = np.random.default_rng(seed)
    coarse = random.random((40, 60)) < 0.6
    mask = coarse.repeat(11, axis=0).repeat(7, axis=1)
    assert np.array_equal(filled(polygons_of(mask), mask.shape), mask)


def drawn(polygon, shape):
    """As labelme and OpenCV do: the line itself is filled too."""
    picture = Image.new("1", shape[::-1])
    ImageDraw.Draw(picture).polygon([tuple(point) for point in polygon], fill=1, outline=1)
    return np.array(picture)


@given(MASKS)
def test_borders_of_parts_without_holes_are_exact_where_lines_are_drawn(mask):
    parts = label(binary_fill_holes(mask), connectivity=1)
    for number in range(1, parts.max() + 1):
        part = parts == number
        border = border_of(part)
        if len(border) > 2:
            assert np.array_equal(drawn(border, part.shape), part)


def test_the_border_of_a_pixel_and_of_a_square():
    assert border_of(np.ones((1, 1), bool)).tolist() == [[0, 0]]
    assert sorted(border_of(np.ones((3, 2), bool)).tolist()) == [[0, 0], [0, 2], [1, 0], [1, 2]]


def test_a_square_has_four_corners():
    mask = np.zeros((6, 8), bool)
    mask[1:4, 2:7] = True
    (polygon,) = polygons_of(mask)
    assert sorted(map(tuple, polygon.tolist())) == [(2, 1), (2, 4), (7, 1), (7, 4)]


def test_parts_that_touch_at_a_corner_are_two():
    assert len(polygons_of(np.eye(2, dtype=bool))) == 2


def test_nothing_has_no_polygon():
    assert polygons_of(np.zeros((3, 3), bool)) == []


def test_too_few_corners_cover_nothing():
    assert not filled([[1, 1, 5, 5]], (8, 8)).any()
