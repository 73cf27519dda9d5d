import numpy as np
import pytest
import skimage.data
import zarr
from numpy.testing import assert_allclose, assert_array_equal

from napari_cliper.cliper.steps import drain
from napari_cliper.errors import NapariCliperError
from napari_cliper.images import to_rgb
from napari_cliper.tiles import picture
from napari_cliper.tiles.picture import Picture, blocks

WHOLE = slice(0, 300), slice(0, 451)
PART = slice(40, 140), slice(100, 300)


def of(image: object, limits: tuple[float, float] | None = None) -> Picture:
    return drain(Picture.of(image, limits))


@pytest.fixture
def cat() -> np.ndarray:
    return skimage.data.cat()


def stored(pixels: np.ndarray) -> zarr.Array:
    return zarr.create_array({}, data=pixels, chunks=(64, 64, 3))


def lazy(pixels: np.ndarray) -> object:
    return pytest.importorskip("dask.array").from_array(pixels, chunks=(100, 100, 3))


@pytest.mark.parametrize("kind", [np.asarray, stored, lazy])
def test_a_window_is_read_as_it_is(kind: object, cat: np.ndarray) -> None:
    one = of(kind(cat))
    assert one.size == (300, 451)
    assert_array_equal(one.read(PART), cat[PART])


@pytest.mark.parametrize(
    "pixels",
    [
        skimage.data.cat().astype(np.uint16) * 200,
        skimage.data.cat()[..., 0].astype(np.float32) * 3 - 100,
        skimage.data.cat() > 100,
        np.dstack([skimage.data.cat(), skimage.data.cat()[..., 0]]),
        skimage.data.cat()[..., :1].astype(np.int32),
        np.where(skimage.data.cat()[..., 0] > 99, np.nan, skimage.data.cat()[..., 0] / 255),
        skimage.data.cat()[..., 0].astype(np.longdouble) * 1000,
    ],
    ids=["16-bit", "float", "bool", "RGBA", "int32", "NaN", "long double"],
)
def test_a_window_has_the_colours_it_has_in_the_picture(pixels: np.ndarray) -> None:
    """The limits are those of all pixels, not of the window's."""
    assert_array_equal(of(pixels).read(PART), to_rgb(pixels)[PART])


def test_limits_may_be_given(cat: np.ndarray) -> None:
    pixels = cat.astype(np.uint16)
    assert_array_equal(of(pixels, (0, 1000)).read(PART), to_rgb(pixels, (0, 1000))[PART])


def test_what_is_large_is_made_smaller(cat: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture, "LONGEST", 120)
    monkeypatch.setattr(picture, "TOGETHER", 130)
    small = of(cat).read(WHOLE)
    assert small.shape == (75, 113, 3)  # a quarter, the last column of three pixels
    means = cat[:, :448].reshape(75, 4, 112, 4, 3).mean(axis=(1, 3))
    assert_allclose(small[:, :112], means, atol=1)
    assert_allclose(small[:, 112], cat[:, 448:].reshape(75, 4, 3, 3).mean(axis=(1, 2)), atol=1)


def test_the_smallest_copy_that_is_large_enough_is_read(
    cat: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels = [cat, cat[::2, ::2] // 2, cat[::4, ::4] // 4]
    assert_array_equal(of(levels).read(PART), cat[PART])
    monkeypatch.setattr(picture, "LONGEST", 113)
    assert_array_equal(of(levels).read(WHOLE), levels[2])
    monkeypatch.setattr(picture, "LONGEST", 200)
    assert of(levels).read(WHOLE).mean() == pytest.approx(levels[1].mean(), abs=1)


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (np.zeros((3, 300, 300)), "one plane of a stack"),
        (np.zeros(300), "not one picture"),
        ("cat.png", "not one picture"),
        (np.zeros((300, 5, 3), np.uint8), "too small"),
        (np.zeros((300, 300), complex), "complex"),
        (np.zeros((300, 300, 4), np.uint16), "image[..., :3]"),
        (np.full((300, 300), np.nan), "no finite value"),
    ],
)
def test_what_is_no_picture(image: object, says: str) -> None:
    with pytest.raises(NapariCliperError) as error:
        of(image)
    assert says in str(error.value)


def test_limits_that_are_none(cat: np.ndarray) -> None:
    with pytest.raises(NapariCliperError, match="Contrast limits"):
        of(cat, (5, 5))


def test_blocks_cover_everything_once() -> None:
    count = np.zeros((70, 90), int)
    for part in blocks((slice(0, 70), slice(0, 90)), 32):
        count[part] += 1
    assert (count == 1).all()
