"""Zarr folders that cost more than they look: zarr itself has no bound there."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cliper.errors import NapariCliperError

if TYPE_CHECKING:
    from zarr import Array

LARGEST_CHUNK = 2**31  # bytes; what Blosc can pack, and more than a plane of a picture may have


def check_chunks(array: "Array[Any]", path: Path) -> None:
    """Refuse an array with chunks too large to be unpacked whole, as they always are.

    A chunk may be much larger than the array, and a shard larger than its chunks. What is compared
    is the size that the array declares; nothing is read.

    Parameters
    ----------
    array : zarr.Array
    path : Path
        For the message.

    Raises
    ------
    NapariCliperError
    """
    shape = array.shards or array.chunks
    size = math.prod(shape) * array.dtype.itemsize
    if size > LARGEST_CHUNK:
        raise NapariCliperError(
            f"“{path}” has chunks of {' × '.join(map(str, shape))} values, {size / 2**30:,.1f} GiB "
            f"each, and at most {LARGEST_CHUNK >> 30} GiB are unpacked: save it in smaller chunks."
        )
