"""Outlines are the edges of regions, as thick as the picture is large."""

import numpy as np
import pytest

from napari_cliper.widgets.outlines import edges


def test_what_is_near_another_value_stays() -> None:
    """A square keeps its border, and where two regions meet both keep theirs."""
    regions = np.zeros((8, 12), np.uint8)
    regions[2:7, 1:6] = 1
    regions[2:7, 6:11] = 2
    expected = regions.copy()
    expected[3:6, 2:5] = 0
    expected[3:6, 7:10] = 0
    assert np.array_equal(edges(regions, 1), expected)


def test_the_border_of_the_picture_is_no_edge() -> None:
    """A region that fills the picture has no outline."""
    assert not edges(np.ones((5, 5), np.uint8), 2).any()


@pytest.mark.parametrize("width", [2, 3, 5, 8])
def test_a_line_is_as_thick_as_asked_for(width: int) -> None:
    """Along an axis, also beside a gap that is narrower than the line."""
    regions = np.ones((30, 60), np.uint16)
    regions[:, 30] = 0
    drawn = np.flatnonzero(edges(regions, width)[15])
    assert drawn.min() == 30 - width
    assert drawn.max() == 30 + width
    assert len(drawn) == 2 * width


def test_pictures_thinner_than_a_line() -> None:
    """One row of pixels has edges only along it."""
    row = np.array([[0, 0, 3, 3, 3, 3, 3, 3, 0]], np.uint8)
    assert edges(row, 2).tolist() == [[0, 0, 3, 3, 0, 0, 3, 3, 0]]
