import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from torch.nn import functional as F

from napari_cliper.cliper.resampling import enlargement
from napari_cliper.cliper.windows import Blend, Layout, Line

CPU = torch.device("cpu")
often = settings(max_examples=100, derandomize=True, deadline=None)


@st.composite
def lines(draw: st.DrawFn) -> Line:
    pixels = draw(st.integers(16, 3000))
    window = draw(st.integers(16, pixels))
    return Line.spread(pixels, window, draw(st.floats(0.05, 0.75)))


@often
@given(lines())
def test_windows_reach_from_end_to_end_and_overlap(line: Line) -> None:
    assert line.starts[0] == 0
    assert line.starts[-1] + line.window == line.pixels
    assert (np.diff(line.starts) <= line.window).all()


@often
@given(st.integers(16, 3000), st.floats(0.05, 0.75), st.data())
def test_no_overlap_is_less_than_asked_for(
    pixels: int, overlap: float, data: st.DataObject
) -> None:
    window = data.draw(st.integers(16, pixels))
    steps = np.diff(Line.spread(pixels, window, overlap).starts)
    assert (window - steps >= window * overlap - 1).all()  # starts are whole pixels


@often
@given(lines(), st.integers(1, 200))
def test_shares_sum_to_one_everywhere(line: Line, places: int) -> None:
    shares = line.shares(places)
    assert shares.shape == (len(line.starts), places)
    assert (shares >= 0).all()
    assert_allclose(shares.sum(axis=0), 1)


@often
@given(lines())
def test_shares_fall_to_nothing_where_windows_end(line: Line) -> None:
    shares = line.shares(line.pixels)
    common = line.window - max(np.diff(line.starts), default=0)
    if common < 20:  # few pixels for a rise
        return
    for start, share in zip(line.starts, shares, strict=True):
        for end in (start, start + line.window - 1):
            if 0 < end < line.pixels - 1:
                assert share[end] < 0.05


@often
@given(lines(), lines(), st.integers(1, 9), st.integers(1, 9))
def test_constant_maps_stay_constant(down: Line, across: Line, rows: int, columns: int) -> None:
    layout = Layout(down, across)
    if len(layout) > 100:  # only slower
        return
    blend = Blend.empty(2, layout.grid((rows, columns)))
    values = torch.tensor([0.7, -1.5])[:, None, None]
    for window in layout.windows():
        blend.add(layout, window, values.expand(2, rows, columns))
    assert_allclose(blend.maps, values.expand_as(blend.maps), rtol=1e-5)


def test_one_window_is_the_picture_itself() -> None:
    layout = Layout.of((300, 451), 500, 0.25)
    maps = torch.rand(3, 8, 12)
    blend = Blend.empty(3, layout.grid((8, 12)))
    blend.add(layout, next(layout.windows()), maps)
    assert_allclose(blend.maps, maps, atol=1e-6)


def test_windows_of_a_smooth_map_give_it_back() -> None:
    """A plane is what bilinear resizing keeps, but for the outermost half places."""
    layout = Layout.of((900, 1300), 400, 0.25)
    blend = Blend.empty(1, layout.grid((16, 16)))
    for window in layout.windows():
        rows, columns = layout.part(window)
        down = torch.linspace(rows.start, rows.stop, 33)[1::2]
        across = torch.linspace(columns.start, columns.stop, 33)[1::2]
        blend.add(layout, window, (down[:, None] + 2 * across)[None])
    height, width = blend.maps.shape[1:]
    down = (torch.arange(height) + 0.5) * 900 / height
    across = (torch.arange(width) + 0.5) * 1300 / width
    # Half a place of 25 pixels, in both directions, is all that a window's end may be off.
    assert_allclose(blend.maps[0], down[:, None] + 2 * across, atol=12.5 * 3)
    assert_allclose(blend.maps[0, 2:-2, 2:-2], (down[:, None] + 2 * across)[2:-2, 2:-2], atol=1)


def test_two_layouts_count_by_their_shares() -> None:
    fine, whole = Layout.of((64, 64), 32, 0.25), Layout.of((64, 64), 64, 0.25)
    blend = Blend.empty(1, fine.grid((4, 4)))
    for window in fine.windows():
        blend.add(fine, window, torch.ones(1, 4, 4), 0.7)
    blend.add(whole, (0, 0), torch.zeros(1, 4, 4), 0.3)
    assert_allclose(blend.maps, torch.full_like(blend.maps, 0.7), rtol=1e-5)


@pytest.mark.parametrize(
    ("size", "sides"), [((300, 451), (300, 451)), ((100, 5000), (100, 200)), ((900, 90), (180, 90))]
)
def test_no_window_is_long_and_narrow(size: tuple[int, int], sides: tuple[int, int]) -> None:
    layout = Layout.of(size, 5000, 0.25)
    assert (layout.down.window, layout.across.window) == sides


@pytest.mark.parametrize("part", [slice(0, 50), slice(13, 14), slice(20, 37), slice(44, 50)])
@pytest.mark.parametrize("places", [1, 7, 50, 80])
def test_a_part_is_resized_as_the_whole(part: slice, places: int) -> None:
    line = torch.randn(1, 1, places)
    whole = F.interpolate(line, 50, mode="linear", align_corners=False)[0, 0]
    needed, matrix = enlargement(part, 50, places, CPU)
    assert_allclose(matrix @ line[0, 0, needed], whole[part], atol=1e-5)
    assert_array_equal(matrix.sum(dim=1) > 0.999, True)
