import subprocess
import sys
import warnings

import numpy as np
import pytest

from napari_cliper.errors import NapariCliperError
from napari_cliper.images import (
    normalised,
    odd_values,
    parse_percentiles,
    percentile_limits,
    to_rgb,
)

RAMP = np.linspace(0, 1, 32 * 24).reshape(32, 24)  # height 32, width 24
RAMP_8 = np.rint(255 * RAMP).astype(np.uint8)


def grey(picture):
    """One channel, after a look that the three are the same."""
    assert picture.dtype == np.uint8
    assert picture.ndim == 3
    assert picture.flags.c_contiguous
    assert (picture == picture[..., :1]).all()
    return picture[..., 0]


def test_8_bit_rgb_is_not_copied():
    picture = np.zeros((32, 24, 3), np.uint8)
    assert np.shares_memory(to_rgb(picture), picture)


def test_8_bit_rgb_that_lies_backwards_in_memory_becomes_contiguous():
    picture = np.dstack([RAMP_8, RAMP_8 // 2, RAMP_8 // 3])
    result = to_rgb(picture[::-1])
    assert result.flags.c_contiguous
    np.testing.assert_array_equal(result, picture[::-1])


@pytest.mark.parametrize(
    "picture",
    [
        RAMP_8,
        RAMP_8[..., None],
        RAMP,
        RAMP.astype(np.float32),
        RAMP.astype(">f8"),
        RAMP * 900 - 300,  # floats beyond [0, 1]: from the smallest to the largest
        RAMP_8.astype(np.uint16) * 16,
        RAMP_8.astype(">u2") * 257,
        RAMP_8.astype(np.int64) * 1000 - 7,
        (RAMP_8.astype(np.int16) - 128).astype(np.int8),
        RAMP * 1e308 * 1.5 - 0.7e308,  # their difference is no finite float
    ],
    ids=lambda picture: f"{picture.dtype.str}-{picture.ndim}-{picture.max():.3g}",
)
def test_grey_values_fill_the_range(picture):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = grey(to_rgb(picture))
    np.testing.assert_allclose(result, RAMP_8, atol=1)
    assert (result.min(), result.max()) == (0, 255)


def test_floats_within_0_and_1_are_not_stretched():
    np.testing.assert_array_equal(grey(to_rgb(RAMP * 0.5)), np.rint(RAMP * 127.5))


def test_booleans():
    picture = RAMP > 0.5
    np.testing.assert_array_equal(grey(to_rgb(picture)), np.where(picture, 255, 0))
    np.testing.assert_array_equal(to_rgb(np.dstack([picture] * 3)), to_rgb(picture))


@pytest.mark.parametrize(
    "picture", [RAMP_8.astype(np.float32), RAMP_8, RAMP_8.astype(np.int32)], ids=lambda p: p.dtype
)
def test_contrast_limits_win(picture):
    result = grey(to_rgb(picture, (51, 102)))
    expected = np.clip((RAMP_8.astype(float) - 51) / 51, 0, 1) * 255
    np.testing.assert_array_equal(result, np.rint(expected))


@pytest.mark.parametrize("limits", [[0, 255], np.array([0.0, 255.0])], ids=["list", "array"])
def test_contrast_limits_in_any_form(limits):
    picture = np.dstack([RAMP_8, RAMP_8 // 2, RAMP_8 // 3])
    assert np.shares_memory(to_rgb(picture, limits), picture)


def test_contrast_limits_of_a_mask():
    picture = RAMP > 0.5
    np.testing.assert_array_equal(grey(to_rgb(picture, (0, 2))), np.where(picture, 128, 0))


def test_nan_is_black_and_infinities_are_the_ends():
    picture = RAMP * 10 + 5
    picture[0, :3] = np.nan, np.inf, -np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = grey(to_rgb(picture))
    assert result[0, :3].tolist() == [0, 255, 0]
    # The other values are spread as if these were not there.
    np.testing.assert_array_equal(
        result.ravel()[3:], grey(to_rgb(picture.ravel()[3:].reshape(17, 45))).ravel()
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.uint16(700), 255),
        (np.uint16(0), 0),
        (np.int32(-5), 0),
        (np.float32(0.5), 128),
        (np.float64(3.5), 255),
        (np.uint8(9), 9),
    ],
)
def test_constant_pictures(value, expected):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = grey(to_rgb(np.full((20, 20), value)))
    assert np.unique(result).tolist() == [expected]


def test_colours_keep_their_balance_and_their_black():
    """All channels are spread by the same two limits, the lower one not above 0."""
    red = RAMP_8.astype(np.uint16) + 1000
    picture = np.stack([red, red + 500, np.full_like(red, 4000)], axis=2)
    np.testing.assert_array_equal(to_rgb(picture), np.rint(picture / 4000 * 255))


def test_integer_colours_of_8_bits_in_a_wider_type_stay():
    picture = np.dstack([RAMP_8 // 2, RAMP_8 // 3, RAMP_8 // 4])
    np.testing.assert_array_equal(to_rgb(picture.astype(np.int64)), picture)
    np.testing.assert_array_equal(to_rgb(picture.astype(">u2")), picture)


def test_float_colours():
    picture = np.dstack([RAMP, RAMP / 2, RAMP / 4])
    expected = np.rint(picture * 255)
    np.testing.assert_array_equal(to_rgb(picture.astype(np.float32)), expected)
    np.testing.assert_array_equal(to_rgb(picture * 255), expected)  # 0 to 255 as floats


@pytest.mark.parametrize(
    ("dtype", "scale"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1), (np.int64, 255)]
)
def test_transparency_shows_black(dtype, scale):
    picture = np.ones((32, 24, 4))
    picture[..., :3] = [0.8, 0.4, 1]
    picture[:16, :, 3] = 0
    picture[16:20, :, 3] = 0.6
    if scale > 1:
        picture = np.rint(picture * scale)
    result = to_rgb(picture.astype(dtype))
    assert (result[:16] == 0).all()
    np.testing.assert_allclose(result[16:20], np.broadcast_to([122, 61, 153], (4, 24, 3)), atol=1)
    np.testing.assert_array_equal(result[20:], np.broadcast_to([204, 102, 255], (12, 24, 3)))


def test_opaque_rgba_is_its_rgb():
    picture = np.dstack([RAMP_8, RAMP_8 // 2, RAMP_8 // 3, np.full_like(RAMP_8, 255)])
    np.testing.assert_array_equal(to_rgb(picture), picture[..., :3])


def test_nested_lists_are_pictures_too():
    np.testing.assert_array_equal(to_rgb(RAMP_8.tolist()), to_rgb(RAMP_8.astype(np.int64)))


def test_the_limits_of_size_are_inside():
    assert to_rgb(np.zeros((16, 128), np.uint8)).shape == (16, 128, 3)
    assert to_rgb(np.zeros((128, 16, 3), np.uint8)).shape == (128, 16, 3)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((32, 32), np.complex64), "magnitude"),
        (np.full((32, 32), "a"), "booleans, integers or floats"),
        (np.full((32, 32), None), "booleans, integers or floats"),
        ([[1, 2], [3]], "give a numpy array"),
        (np.zeros(()), "no axes"),
        (np.zeros(300), "array of 300 is"),
        (np.zeros((32, 32, 2)), "32 × 32 × 2"),
        (np.zeros((3, 32, 32)), "colours as the last axis"),
        (np.zeros((9, 32, 32, 3)), "one plane of a stack"),
        (np.zeros((0, 32)), "32 × 0 pixels is too small"),
        (np.zeros((15, 32)), "32 × 15 pixels is too small"),
        (np.zeros((32, 1, 3)), "1 × 32 pixels is too small"),
        (np.zeros((16, 129)), "crop it to at most 8 times"),
        (np.full((32, 32), np.nan), "no finite value"),
    ],
)
def test_what_is_no_picture_is_refused_in_one_sentence(array, message):
    with pytest.raises(NapariCliperError, match=message) as raised:
        to_rgb(array)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("limits", [(1, 1), (2, 1), (0, np.nan), (-np.inf, 0)])
def test_contrast_limits_must_ascend(limits):
    with pytest.raises(NapariCliperError, match="two finite numbers"):
        to_rgb(RAMP, limits)


def test_nothing_heavy_is_imported():
    """What the command and the window import at their start has to be light."""
    code = (
        "import napari_cliper.images, napari_cliper.annotation.class_list,"
        " napari_cliper.files.pictures, napari_cliper.files.overlay, sys;"
        " print({'torch', 'skimage', 'tifffile', 'napari', 'qtpy'} & {*sys.modules})"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True
    )
    assert output.stdout.strip() == "set()"


def test_gamma_is_that_of_the_layer() -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    expected = np.rint((np.arange(256) / 255) ** 0.5 * 255).reshape(16, 16)
    for pixels, limits in ((grey, (0, 255)), (grey / np.float32(255), (0, 1))):
        found = to_rgb(pixels, limits, gamma=0.5)[..., 0]
        np.testing.assert_allclose(found, expected, atol=1)
    # Between the limits, as on the canvas.
    middle = to_rgb(grey, (0, 128), gamma=2)[..., 0].ravel()
    assert middle[64] == 64
    assert middle[200] == 255
    for gamma in (0, -1, float("nan"), float("inf")):
        with pytest.raises(NapariCliperError, match="positive number"):
            to_rgb(grey, gamma=gamma)


@pytest.mark.parametrize(
    "limits", [(), (1,), (1, 2, 3), 5, "ab", (None, 1), (0, 10**400), [[0], [1, 2]], ("a", "b")]
)
def test_contrast_limits_are_two_numbers(limits):
    with pytest.raises(NapariCliperError, match="two finite numbers"):
        to_rgb(RAMP, limits)


@pytest.mark.filterwarnings("error")
def test_the_strangest_floats_warn_of_nothing():
    signalling = np.full((16, 16), 0x7FA00000, np.uint32).view(np.float32)
    signalling[0, 0] = 2
    assert grey(to_rgb(signalling)).max() == 255
    smallest = np.full((16, 16), -5e-324)
    smallest[0] = 0
    assert grey(to_rgb(smallest)).shape == (16, 16)
    longest = np.ones((16, 16), np.longdouble) * np.finfo(np.float64).max
    longest[0] *= 4  # infinite, as far as 64 bits go
    assert (grey(to_rgb(longest))[0] == 255).all()


def test_values_that_are_not_finite_are_counted() -> None:
    values = np.array([[np.nan, 1, np.inf], [-np.inf, 0, 2]], np.float32)
    assert odd_values(values) == 3
    assert odd_values(values.astype(np.float16)) == 3
    assert odd_values(np.ones((2, 2), np.uint8)) == 0


def test_limits_by_percentiles() -> None:
    values = np.arange(1001, dtype=np.float32).reshape(7, 143)
    assert percentile_limits(values) == (10, 990)
    assert percentile_limits(values, 0, 100) == (0, 1000)
    values[0, 0] = np.nan
    values[6, 142] = np.inf
    low, high = percentile_limits(values, 1, 99)
    assert 10 < low < high < 990
    # A hot pixel does not darken the rest.
    dark = np.full((40, 60), 100, np.uint16)
    dark[:, 30:] = 200
    dark[0, 0] = 65535
    limits = percentile_limits(dark)
    assert limits == (100, 200)
    assert np.unique(to_rgb(dark, limits)).tolist() == [0, 255]
    assert percentile_limits(np.full((20, 20), 7, np.uint8)) == (0, 7)
    opaque = np.dstack([np.full((20, 20, 3), 9, np.uint8), np.full((20, 20), 255, np.uint8)])
    assert percentile_limits(opaque) == (0, 9)


@pytest.mark.parametrize("pair", [(50, 50), (-1, 99), (1, 101), (99, 1), (float("nan"), 50)])
def test_percentiles_that_are_none(pair: tuple[float, float]) -> None:
    with pytest.raises(NapariCliperError, match="from 0 to 100"):
        percentile_limits(np.zeros((20, 20)), *pair)
    with pytest.raises(NapariCliperError, match="no finite value"):
        percentile_limits(np.full((20, 20), np.nan))


def test_normalised_pictures() -> None:
    dark = np.full((40, 60), 100, np.uint16)
    dark[:, 30:] = 200
    dark[0, 0] = 65535
    assert normalised(dark, None) is dark
    found = normalised(dark, (1, 99))
    assert found.shape == (40, 60, 3)
    assert found.dtype == np.uint8
    assert np.unique(found).tolist() == [0, 255]
    deep = np.dstack([dark, dark, dark])
    assert np.array_equal(normalised(deep, (1, 99)), found)
    grey = np.tile(np.array([10, 20], np.uint8), (40, 30))
    assert np.unique(normalised(grey, (1, 99))).tolist() == [0, 255]
    for colours in (np.dstack([grey] * 3), np.dstack([grey] * 4)):
        assert normalised(colours, (1, 99)) is colours


@pytest.mark.parametrize(("text", "pair"), [("1,99", (1, 99)), (" 0.5 , 99.5", (0.5, 99.5))])
def test_percentiles_as_somebody_writes_them(text: str, pair: tuple[float, float]) -> None:
    assert parse_percentiles(text) == pair


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "write them like 1,99"),
        ("1", "write them like 1,99"),
        ("1,2,3", "write them like 1,99"),
        ("1;99", "write them like 1,99"),
        ("99,1", "from 0 to 100"),
        ("nan,99", "from 0 to 100"),
    ],
)
def test_texts_that_are_no_percentiles(text: str, says: str) -> None:
    with pytest.raises(NapariCliperError, match=says):
        parse_percentiles(text)
