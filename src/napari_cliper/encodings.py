"""Encoded pictures in memory, so that a picture is looked at once. No torch is imported here."""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from napari_cliper.cliper.pipeline import Encoding

LIMIT = 1e9  # bytes; a script that wants another sets `Segmenter.encodings.limit`

Key = tuple[Hashable, str]
"""What a model is called, and the `digest` of a picture."""


class Encodings:
    """Encoded pictures, the last used ones, as many as fit into a number of bytes.

    Threads may use it at the same time.

    Attributes
    ----------
    limit : float
        Bytes; the newest is kept however large it is.
    """

    def __init__(self, limit: float = LIMIT) -> None:
        self.limit = limit
        self._kept: OrderedDict[Key, Encoding] = OrderedDict()
        self._lock = threading.Lock()

    def __contains__(self, key: Key) -> bool:
        return key in self._kept

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Key, inspect: bool = False) -> "Encoding | None":
        """What is kept of a model and a picture; with `inspect`, only what can be looked into."""
        with self._lock:
            encoding = self._kept.get(key)
            if encoding is None or (inspect and encoding.inspection is None):
                return None
            self._kept.move_to_end(key)
            return encoding

    def keep(self, key: Key, encoding: "Encoding") -> None:
        """Keep one more, and let go of those that were not used for longest."""
        with self._lock:
            self._kept[key] = encoding
            self._kept.move_to_end(key)
            while len(self._kept) > 1 and sum(map(_bytes, self._kept.values())) > self.limit:
                self._kept.popitem(last=False)

    def clear(self) -> None:
        """Let go of all."""
        with self._lock:
            self._kept.clear()


def _bytes(encoding: "Encoding") -> int:
    return encoding.nbytes


def digest(data: NDArray[Any]) -> str:
    """Tell arrays apart by dtype, shape and content. About half a millisecond a megabyte."""
    hashed = sha256(f"{data.dtype.str} {data.shape}".encode())
    hashed.update(np.ascontiguousarray(data).data)
    return hashed.hexdigest()
