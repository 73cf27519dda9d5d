"""Times, memory and counted operations of the steps."""

import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch.utils.flop_counter import FlopCounterMode

from napari_cliper.benchmark.memory import peak_bytes
from napari_cliper.benchmark.report import Figures, Measured
from napari_cliper.benchmark.steps import Pair
from napari_cliper.cliper.steps import Step, Steps

SIDE = {"cpu": 2048}  # of the matrices whose product is measured
LARGE_SIDE = 8192  # of a GPU's
LEAST = 0.5  # seconds that a step is repeated for: one of a millisecond tells little


def measure(
    pairs: Sequence[Pair], device: torch.device, repeat: int = 1
) -> Steps[tuple[Measured, ...]]:
    """Do all steps both ways, ours first.

    Each is done once to count operations and memory, then to be timed `repeat` times, or more often
    if it is short.

    Yields
    ------
    Step, before each
    """
    measured: dict[str, Measured] = {}
    for done, pair in enumerate(pairs):
        yield Step(f"Measuring: {pair.name}", done, len(pairs))
        ours, plain = (_figures(way, device, repeat) for way in (pair.ours, pair.plain))
        parts = [plain, *(measured[name].plain for name in pair.again)]
        measured[pair.name] = Measured(name=pair.name, ours=ours, plain=_together(parts))
    return tuple(measured.values())


def rate(device: torch.device, dtype: torch.dtype, side: int | None = None) -> float:
    """Multiply-adds a second: the best of some products of large square matrices."""
    side = side or SIDE.get(device.type, LARGE_SIDE)
    left, right = torch.randn(2, side, side, device=device).to(dtype)
    seconds = [_timed(lambda: left @ right, device) for _ in range(10)]
    return side**3 / min(seconds)


def _figures(work: Callable[[], object], device: torch.device, repeat: int) -> Figures:
    with FlopCounterMode(display=False) as counter:
        peak = peak_bytes(work, device)
    seconds: list[float] = []
    while len(seconds) < repeat or sum(seconds) < LEAST:
        seconds.append(_timed(work, device))
    return Figures(
        seconds=statistics.median(seconds),
        multiply_adds=counter.get_total_flops() // 2,
        peak=peak,
    )


def _together(parts: Sequence[Figures]) -> Figures:
    """Work that follows other work, as one."""
    peaks = [part.peak for part in parts if part.peak is not None]
    return Figures(
        seconds=sum(part.seconds for part in parts),
        multiply_adds=sum(part.multiply_adds for part in parts),
        peak=max(peaks, default=None),
    )


def _timed(work: Callable[[], object], device: torch.device) -> float:
    _wait(device)
    began = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - began


def _wait(device: torch.device) -> None:
    """Until what the device was given is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
