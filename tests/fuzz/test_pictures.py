"""Whatever array is given as a picture becomes colours or is refused."""

import numpy as np
from hypothesis import strategies as st

from fuzz.examples import allowed, fuzz
from napari_cliper.images import to_rgb

NUMBERS = [
    "?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "g", "F", "D", "G",
]  # fmt: skip
OTHERS = ["O", "S3", "U2", "V4", "M8[s]", "m8[s]", "u1,f4", "(2,)u1"]
EXTREMES = [
    0, 1, -1, 255, 256, 65535, 2**31, 2**53 + 1, 2**63 - 1, -(2**63), 2**64 - 1, 0.5, 1e-45,
    5e-324, -5e-324, 65504.0, 3.4e38, 1.7e308, -1.7e308, np.nan, np.inf, -np.inf,
]  # fmt: skip
SIDES = st.sampled_from([0, 1, 2, 3, 4, 15, 16, 17, 24, 40, 200])
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=20,
)
LIMITS = st.none() | st.tuples(st.floats() | st.integers(), st.floats() | st.integers()) | ANYTHING


@st.composite
def shapes(draw):
    if draw(st.booleans()):  # most often a picture's
        sides = [draw(st.integers(16, 40)), draw(st.integers(16, 40))]
        return (*sides, *draw(st.sampled_from([(), (1,), (3,), (4,)])))
    shape = draw(st.lists(SIDES, max_size=5))
    while np.prod(shape, dtype=float) > 1e6:
        shape.pop()
    return tuple(shape)


@st.composite
def pictures(draw):
    dtype = np.dtype(draw(st.sampled_from(NUMBERS * 3 + OTHERS)))
    if draw(st.booleans()):
        dtype = dtype.newbyteorder()
    shape = draw(shapes())
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    if dtype.kind not in "?buifcg":
        array = np.zeros(shape, dtype)
    elif draw(st.booleans()):
        count = int(np.prod(shape))
        raw = random.integers(0, 256, count * dtype.itemsize, np.uint8).tobytes()
        array = np.frombuffer(raw, dtype).reshape(shape)
    else:
        chosen = draw(st.lists(st.sampled_from(EXTREMES), min_size=1, max_size=4))
        with np.errstate(all="ignore"):
            values = np.array(chosen, np.longdouble).astype(dtype)
        array = random.choice(values, shape).astype(dtype)
    for axis in range(array.ndim):
        if draw(st.booleans()):
            step = draw(st.sampled_from([-1, 2, -2]))
            array = array[(slice(None),) * axis + (slice(None, None, step),)]
    way = draw(st.sampled_from(["as it is", "turned", "columns first", "one value", "a list"]))
    if way == "turned" and array.ndim:
        array = array.swapaxes(0, draw(st.integers(0, array.ndim - 1)))
    elif way == "columns first":
        array = np.asfortranarray(array)
    elif way == "one value" and array.size:
        array = np.broadcast_to(array.ravel()[0], array.shape)
    elif way == "a list" and array.size < 5000:
        return array.tolist()
    return array


def check(array, limits):
    rgb = allowed(to_rgb, array, limits)
    if rgb is not None:
        assert rgb.dtype == np.uint8
        assert rgb.ndim == 3
        assert rgb.shape[2] == 3
        assert rgb.flags.c_contiguous
        assert rgb.shape[:2] == np.shape(array)[:2]


@fuzz(0.16, array=pictures(), limits=LIMITS)
def test_any_array(array, limits):
    check(array, None)
    check(array, limits)


@fuzz(0.02, thing=ANYTHING)
def test_anything_else_is_no_picture(thing):
    check(thing, None)
