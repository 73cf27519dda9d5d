"""Encoded pictures in memory."""

import threading
from types import SimpleNamespace
from typing import Any

import numpy as np

from napari_cliper.encodings import Encodings, digest


def of_size(nbytes: int, inspection: object = None) -> Any:
    return SimpleNamespace(nbytes=nbytes, inspection=inspection)


def test_the_last_used_stay_within_the_limit() -> None:
    kept = Encodings(limit=100)
    first, second, third = ((None, name) for name in "abc")
    kept.keep(first, of_size(40))
    kept.keep(second, of_size(40))
    assert kept.get(first) is not None
    kept.keep(third, of_size(40))
    assert first in kept
    assert second not in kept
    assert third in kept
    kept.limit = 1
    kept.keep(second, of_size(40))
    assert second in kept
    assert len(kept) == 1  # the newest, however large
    kept.clear()
    assert len(kept) == 0


def test_models_do_not_get_each_others() -> None:
    kept = Encodings()
    kept.keep(("base", "a"), of_size(1))
    assert kept.get(("small", "a")) is None
    assert kept.get(("base", "a")) is not None


def test_what_can_be_looked_into_serves_for_both() -> None:
    kept = Encodings()
    kept.keep((None, "a"), of_size(1))
    assert kept.get((None, "a"), inspect=True) is None
    assert kept.get((None, "a")) is not None
    kept.keep((None, "a"), of_size(2, "maps"))
    assert kept.get((None, "a"), inspect=True) is kept.get((None, "a"))
    assert len(kept) == 1


def test_threads_may_use_it_at_once() -> None:
    kept = Encodings(limit=3)
    failed: list[Exception] = []

    def use(number: int) -> None:
        try:
            for round_ in range(3000):
                key = (None, str((number + round_) % 7))
                if kept.get(key) is None:
                    kept.keep(key, of_size(1))
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(kept) == 3


def test_digests_tell_pixels_shapes_and_types_apart() -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    others = (pixels + 1, pixels.reshape(4, 2, 3), pixels.view(np.int8), pixels.astype(np.uint16))
    assert len({digest(pixels), *map(digest, others)}) == 5
    assert digest(np.asfortranarray(pixels)) == digest(pixels.copy()) == digest(pixels)
