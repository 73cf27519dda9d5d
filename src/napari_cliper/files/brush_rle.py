"""Masks in Label Studio's own bit-packed run lengths.

They are those of an RGBA picture, value by value; a pixel is in the mask if its last value, alpha,
is not 0. A header of 53 bits holds the number of values (32 bits), the bits of a value less 1 (5)
and four sizes, each less 1 (4 bits each). Then come runs: a bit that tells one value repeated (1)
from values one by one (0), two bits that choose a size, that many bits with the number of values
less 1, and the value or the values. label_studio_sdk.converter.brush makes the same bytes.
"""

import numpy as np
from numpy.typing import NDArray

VALUE_BITS = 8
SIZES = np.array([3, 4, 8, 16])
LONGEST = 1 << 16  # values in a run


def encode(mask: NDArray[np.bool_], top: int, left: int, size: tuple[int, int]) -> bytes:
    """Pack the mask of an object.

    Parameters
    ----------
    mask : (h, w) bool
        Its pixels within its box.
    top, left : int
        Where the box begins.
    size : (H, W)
        Of the picture.
    """
    height, width = size
    # Where the mask begins and ends along the picture's rows, one after the other.
    padded = np.pad(mask, ((0, 0), (1, 1)))
    rows, columns = np.nonzero(padded[:, 1:] != padded[:, :-1])
    turns, times = np.unique((top + rows) * width + left + columns, return_counts=True)
    turns = turns[times == 1]  # else it goes on from the end of a row to the next one's beginning
    lengths = np.diff(turns, prepend=0, append=height * width) * 4
    values = np.arange(len(lengths)) % 2 * 255
    codes, widths = _codes(lengths[lengths > 0], values[lengths > 0])
    header = 4 * height * width << 21 | (VALUE_BITS - 1) << 16
    for place, bits in enumerate(SIZES.tolist()):
        header |= (bits - 1) << 4 * (3 - place)
    bits = np.concatenate([_bits(np.array([header]), np.array([53])), _bits(codes, widths)])
    # Label Studio's own writer ends with a byte that is not full, be it empty.
    return np.packbits(np.pad(bits, (0, 8 - len(bits) % 8))).tobytes()


def decode(packed: bytes, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Unpack a mask.

    Parameters
    ----------
    packed : bytes
    size : (H, W)
        Of the picture.

    Returns
    -------
    (H, W) bool

    Raises
    ------
    ValueError
        It is cut short, or of another size.
    """
    pixels = size[0] * size[1]
    header = int.from_bytes(packed[:7], "big") >> 3
    if len(packed) < 7 or header >> 21 != 4 * pixels:
        raise ValueError("a mask of another size than the picture")
    value_bits = (header >> 16 & 31) + 1
    sizes = [(header >> 4 * (3 - place) & 15) + 1 for place in range(4)]
    flat = np.zeros(pixels, bool)
    at, end, done = 53, 8 * len(packed), 0
    while done < 4 * pixels:
        # Whatever the sizes: how a run begins, and a value that is repeated, are in 8 bytes.
        near = int.from_bytes(packed[at >> 3 : (at >> 3) + 8].ljust(8, b"\0"), "big")
        left = 64 - (at & 7)  # bits of it that are not read yet
        bits = sizes[near >> (left - 3) & 3]
        repeated = near >> (left - 1) & 1
        count = (near >> (left - 3 - bits) & (1 << bits) - 1) + 1
        begin = at + 3 + bits
        at = begin + (value_bits if repeated else count * value_bits)
        if at > end or done + count > 4 * pixels:
            raise ValueError("a mask that is cut short")
        if not repeated:
            alphas = _are_set(packed, begin, count, value_bits)[(3 - done) % 4 :: 4]
            flat[done // 4 : done // 4 + len(alphas)] = alphas
        elif near >> (left - 3 - bits - value_bits) & (1 << value_bits) - 1:
            flat[done // 4 : (done + count) // 4] = True
        done += count
    return flat.reshape(size)


def _codes(
    lengths: NDArray[np.int64], values: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of runs of one value: each code as a number, and of how many bits it is.

    Longer runs than fit are several.
    """
    chosen = np.searchsorted([8, 16, 256], lengths)
    pieces = (lengths - 1) // LONGEST + 1
    last = np.cumsum(pieces) - 1
    rest = lengths - (pieces - 1) * LONGEST
    chosen, values, lengths = (np.repeat(each, pieces) for each in (chosen, values, lengths))
    lengths = np.full(len(values), LONGEST)
    lengths[last] = rest
    bits = SIZES[chosen]
    codes = (((4 | chosen) << bits) | (lengths - 1)) << VALUE_BITS | values
    return codes, 3 + bits + VALUE_BITS


def _bits(codes: NDArray[np.int64], widths: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The bits of numbers, one number after the other."""
    ends = np.cumsum(widths)
    bits = np.zeros(int(ends[-1]), np.uint8)
    for place in range(int(widths.max())):
        wide = widths > place
        bits[ends[wide] - 1 - place] = codes[wide] >> place & 1
    return bits


def _are_set(packed: bytes, begin: int, count: int, value_bits: int) -> NDArray[np.bool_]:
    """Whether values that are stored one by one, from a bit on, are other than 0."""
    end = begin + count * value_bits
    bits = np.unpackbits(np.frombuffer(packed[begin >> 3 : (end + 7) >> 3], np.uint8))
    values = bits[begin & 7 : (begin & 7) + count * value_bits].reshape(count, value_bits)
    return np.asarray(values.any(axis=1))
