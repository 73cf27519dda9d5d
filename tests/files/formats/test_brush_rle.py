"""Label Studio's run lengths, the same as its SDK's."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_cliper.files.brush_rle import decode, encode

MASKS = st.tuples(st.integers(1, 20), st.integers(1, 20)).flatmap(lambda size: arrays(bool, size))


def ring():
    mask = np.zeros((5, 7), bool)
    mask[1:4, 2:6] = True
    mask[2, 3] = False
    return mask


def band():
    mask = np.zeros((200, 300), bool)
    mask[10:190] = True
    return mask


# What label_studio_sdk 2.1.2's brush.mask2rle makes of a mask.
RING = [
    0, 0, 0, 140, 57, 27, 254, 35, 0, 191, 255, 108, 2, 63, 248, 192, 39, 255, 182, 1, 127, 255,
    15, 128, 0,
]  # fmt: skip
ITS = {
    "ring": (ring(), RING),
    "full": (np.ones((3, 3), bool), [0, 0, 0, 36, 57, 27, 254, 35, 255, 0]),
    "runs too long for one": (
        band(),
        [0, 3, 169, 128, 57, 27, 255, 46, 223, 0, *[255] * 10, 244, 187, 255, 254, 93, 190, 0],
    ),
}


def whole_encoded(mask):
    """As an object of the whole picture is encoded: within its box."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    return encode(mask[box], int(rows[0]), int(columns[0]), mask.shape)


def packed(values, word, sizes, runs) -> bytes:
    """Encode values in runs that are given as (repeated, which size, how many)."""
    bits = f"{len(values):032b}{word - 1:05b}" + "".join(f"{size - 1:04b}" for size in sizes)
    at = 0
    for repeated, which, count in runs:
        bits += f"{repeated:b}{which:02b}{count - 1:0{sizes[which]}b}"
        bits += "".join(f"{v:0{word}b}" for v in values[at : at + (1 if repeated else count)])
        at += count
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))


@pytest.mark.parametrize(("mask", "its"), ITS.values(), ids=ITS)
def test_the_same_bytes_as_its_sdk(mask, its):
    assert list(whole_encoded(mask)) == its
    assert np.array_equal(decode(bytes(its), mask.shape), mask)


def test_alpha_alone_counts():
    # Of RGBA (9, 0, 7, 0), (1, 2, 3, 200), (0, 0, 0, 255), clear, white, white.
    its = [0, 0, 0, 24, 57, 27, 248, 1, 32, 0, 0, 14, 0, 0, 0, 32, 1, 0, 6, 6, 68, 64, 0, 127]
    its += [198, 1, 63, 248]
    assert decode(bytes(its), (3, 2)).tolist() == [[False, True], [True, False], [True, True]]


@given(MASKS.filter(np.any))
def test_there_and_back(mask):
    assert np.array_equal(decode(whole_encoded(mask), mask.shape), mask)


@given(st.data())
def test_runs_of_any_kind(data):
    size = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    word = data.draw(st.integers(1, 32))
    sizes = data.draw(st.lists(st.integers(1, 16), min_size=4, max_size=4))
    number, values, runs = 4 * size[0] * size[1], [], []
    while len(values) < number:
        repeated, which = data.draw(st.booleans()), data.draw(st.integers(0, 3))
        most = min(2 ** sizes[which], number - len(values))
        count = data.draw(st.integers(1, most))
        new = data.draw(st.lists(st.integers(0, 2**word - 1), min_size=count, max_size=count))
        values += [new[0]] * count if repeated else new
        runs.append((repeated, which, count))
    found = decode(packed(values, word, sizes, runs), size)
    assert np.array_equal(found, np.array(values).reshape(*size, 4)[..., 3] != 0)


@given(st.data())
def test_what_is_damaged_is_refused_or_another_mask(data):
    whole = whole_encoded(ring())
    changed = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for _ in range(data.draw(st.integers(0, 3))):
        if changed:
            changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = decode(bytes(changed), (5, 7))
    except ValueError:
        return
    assert found.shape == (5, 7)


def test_what_is_cut_short_is_refused():
    whole = whole_encoded(ring())
    for cut in range(len(whole) - 1):  # the last byte is empty
        with pytest.raises(ValueError, match="a mask"):
            decode(whole[:cut], (5, 7))


def test_large_masks_are_quick():
    rows, columns = np.ogrid[:4096, :4096]
    mask = ((rows - 2000) ** 2 + (columns - 1900) ** 2 < 1800**2) & (
        (rows // 64 + columns // 48) % 5 > 0
    )
    start = time.perf_counter()
    found = decode(whole_encoded(mask), mask.shape)
    assert time.perf_counter() - start < 4  # half a second; other tests may run beside
    assert np.array_equal(found, mask)
