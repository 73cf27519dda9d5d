"""Times, memory and counted operations of the steps."""

import platform
import statistics
import time
from collections.abc import Callable, Sequence
from threading import Event, Thread

import psutil
import torch
from pydantic import BaseModel, ConfigDict
from torch.utils.flop_counter import FlopCounterMode

from napari_cliper.benchmark.steps import Step

LOOK = 0.01  # seconds between two looks at the memory


class Figures(BaseModel):
    """One step, one way. Frozen.

    Attributes
    ----------
    seconds : float
        The median of the repetitions.
    multiply_adds : int
        Counted in products and convolutions.
    peak : int
        Bytes that the process took more than before, at most; on a GPU, of the GPU.
    """

    model_config = ConfigDict(frozen=True)

    seconds: float
    multiply_adds: int
    peak: int


class Measured(BaseModel):
    """One step. Frozen.

    Attributes
    ----------
    name : str
    ours, plain : Figures
    """

    model_config = ConfigDict(frozen=True)

    name: str
    ours: Figures
    plain: Figures

    @property
    def ratio(self) -> float:
        """How many times faster ours is."""
        return self.plain.seconds / self.ours.seconds


class Report(BaseModel):
    """All steps. Frozen.

    Attributes
    ----------
    preset, device, precision : str
    machine : str
        The device's name.
    threads : int
        That torch computes with.
    rate : float
        Multiply-adds a second of a large product of matrices.
    steps : tuple of Measured
    """

    model_config = ConfigDict(frozen=True)

    preset: str
    device: str
    precision: str
    machine: str
    threads: int
    rate: float
    steps: tuple[Measured, ...]

    def floor(self, figures: Figures) -> float:
        """Seconds that the step's multiply-adds take at the machine's rate."""
        return figures.multiply_adds / self.rate


def measure(step: Step, device: torch.device, repeat: int = 1) -> Measured:
    """Do a step both ways, ours first."""
    ours = _figures(step.ours, device, repeat)
    return Measured(name=step.name, ours=ours, plain=_figures(step.plain, device, repeat))


def summed(name: str, parts: Sequence[Measured]) -> Measured:
    """Steps that follow each other, as one."""

    def total(figures: Sequence[Figures]) -> Figures:
        return Figures(
            seconds=sum(one.seconds for one in figures),
            multiply_adds=sum(one.multiply_adds for one in figures),
            peak=max(one.peak for one in figures),
        )

    return Measured(
        name=name,
        ours=total([part.ours for part in parts]),
        plain=total([part.plain for part in parts]),
    )


def rate(device: torch.device, dtype: torch.dtype, size: int = 2048) -> float:
    """Multiply-adds a second: the best of some products of large matrices."""
    left, right = torch.randn(2, size, size, device=device).to(dtype)
    seconds = [_timed(lambda: left @ right, device) for _ in range(10)]
    return size**3 / min(seconds)


def machine(device: torch.device) -> str:
    """The device's name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return platform.processor() or platform.machine()


def _figures(work: Callable[[], object], device: torch.device, repeat: int) -> Figures:
    with FlopCounterMode(display=False) as counter:
        work()  # also the first time, which makes buffers
    seconds, peaks = [], []
    for _ in range(repeat):
        with _Peak(device) as peak:
            seconds.append(_timed(work, device))
        peaks.append(peak.bytes)
    return Figures(
        seconds=statistics.median(seconds),
        multiply_adds=counter.get_total_flops() // 2,
        peak=max(peaks),
    )


def _timed(work: Callable[[], object], device: torch.device) -> float:
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


class _Peak:
    """Looks at the memory while something runs."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._done = Event()
        self.bytes = 0

    def __enter__(self) -> "_Peak":
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            self._before = torch.cuda.memory_allocated(self._device)
            return self
        self._process = psutil.Process()
        self._before = self._process.memory_info().rss
        self._thread = Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def _look(self) -> None:
        while not self._done.wait(LOOK):
            self.bytes = max(self.bytes, self._process.memory_info().rss - self._before)

    def __exit__(self, *_: object) -> None:
        if self._device.type == "cuda":
            self.bytes = torch.cuda.max_memory_allocated(self._device) - self._before
            return
        self._done.set()
        self._thread.join()
