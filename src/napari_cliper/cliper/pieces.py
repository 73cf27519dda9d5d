"""Large matrices are worked on in pieces, which costs less memory and time."""

from collections.abc import Iterator

import torch

FLOAT = 4  # bytes of a float32, in which matrices are worked on
MEGABYTE = 2**20
# Bytes worked on together. A processor's own cache is several times faster than its memory, and
# what is large costs new pages from the system each time; on other devices only memory counts.
_LARGEST = {"cpu": 4 * MEGABYTE}
_ELSEWHERE = 1024 * MEGABYTE
_LEAST = 16 * MEGABYTE  # less saves nothing beside what must be in memory anyway


def largest(device: torch.device) -> int:
    """Bytes that a piece may take on a device."""
    return _LARGEST.get(device.type, _ELSEWHERE)


def shrink(device: torch.device) -> bool:
    """Let pieces on such devices take a quarter from now on; False if that would save nothing."""
    quarter = largest(device) // 4
    if quarter < _LEAST:
        return False
    limit(device, quarter)
    return True


def limit(device: torch.device, size: int) -> None:
    """Let pieces on such devices take so many bytes from now on."""
    _LARGEST[device.type] = size


def pieces(count: int, size: int, device: torch.device) -> Iterator[slice]:
    """Which of some equal parts are worked on together.

    Parameters
    ----------
    count : int
        How many parts there are.
    size : int
        Bytes of each.
    device : torch.device
        Where they are.
    """
    together = max(1, largest(device) // size)
    return (slice(first, min(first + together, count)) for first in range(0, count, together))
