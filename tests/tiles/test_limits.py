"""Percentiles of a picture that need not fit into memory."""

import numpy as np
import pytest
import zarr

from napari_cliper.cliper.steps import drain
from napari_cliper.errors import NapariCliperError
from napari_cliper.images import percentile_limits
from napari_cliper.tiles import limits
from napari_cliper.tiles.limits import percentile_limits_steps
from napari_cliper.tiles.picture import Lazy

VALUES = np.random.default_rng(0).gamma(2, 500, (300, 450)).astype(np.uint16)
VALUES[0, 0] = 65535


def found(*levels: Lazy) -> tuple[float, float] | None:
    return drain(percentile_limits_steps(levels, (1, 99)))


def stored(pixels: np.ndarray) -> zarr.Array:
    return zarr.create_array({}, data=pixels, chunks=(64, 64, *pixels.shape[2:]))


@pytest.mark.parametrize("kind", [np.asarray, stored])
def test_a_small_picture_is_looked_at_as_a_whole(kind: object) -> None:
    assert found(kind(VALUES)) == percentile_limits(VALUES)
    deep = np.dstack([VALUES] * 3)
    assert found(kind(deep)) == percentile_limits(VALUES)


def test_of_a_large_one_some_pixels_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST", 2**12)
    monkeypatch.setattr(limits, "TOGETHER", 100)
    counted: list[int] = []

    def counting(values: np.ndarray, *percentiles: float) -> tuple[float, float]:
        counted.append(values.size)
        return percentile_limits(values, *percentiles)

    monkeypatch.setattr(limits, "percentile_limits", counting)
    low, high = found(stored(VALUES)) or (0, 0)
    (size,) = counted
    assert 2**11 < size < 1.2 * 2**12  # the last rows of each block round up
    expected = percentile_limits(VALUES)
    np.testing.assert_allclose((low, high), expected, rtol=0.1, atol=40)


def test_the_smallest_copy_that_tells_enough_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ENOUGH", 100 * 150)
    levels = VALUES, VALUES[::3, ::3] + 1000, VALUES[::9, ::9] + 2000
    assert found(*levels) == percentile_limits(levels[1])


def test_colours_of_8_bits_stay() -> None:
    assert found(np.zeros((20, 20, 3), np.uint8)) is None
    assert found(np.zeros((20, 20, 4), np.uint8)) is None
    assert found(np.full((20, 20), 7, np.uint8)) == (0, 7)


def test_what_cannot_be_read_is_told() -> None:
    with pytest.raises(NapariCliperError, match="no finite value"):
        found(np.full((20, 20), np.nan))
