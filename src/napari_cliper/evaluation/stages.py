"""How long each stage of a picture takes (Table 4)."""

from collections.abc import Callable
from statistics import median
from time import perf_counter

from napari_cliper.cliper.steps import Step, Steps, T


class Stages:
    """Seconds of each stage of each picture.

    Parameters
    ----------
    finish : callable
        Waits until the device has done what it was told to.
    """

    def __init__(self, finish: Callable[[], object]) -> None:
        self._finish = finish
        self._pictures: list[dict[str, float]] = []

    def begin(self) -> None:
        """A new picture."""
        self._pictures.append({})

    def forget(self) -> None:
        """The picture failed, so that its times mean nothing."""
        self._pictures.pop()

    def run(self, first: str, steps: Steps[T], shown: Callable[[Step], Step]) -> Steps[T]:
        """Run a generator of steps; what its driver does between them is not counted.

        Parameters
        ----------
        first : str
            What to call the stage before its first step.
        steps : generator of Step
        shown : callable
            What to yield in place of each step.
        """
        stage = first
        try:
            while True:
                began = perf_counter()
                try:
                    step = next(steps)
                except StopIteration as stop:
                    result: T = stop.value
                    return result
                finally:
                    self._finish()
                    self._add(stage, perf_counter() - began)
                stage = step.name
                yield shown(step)
        finally:
            steps.close()

    def call(self, stage: str, function: Callable[[], T]) -> T:
        """Do one thing that is a stage of its own."""
        began = perf_counter()
        result = function()
        self._finish()
        self._add(stage, perf_counter() - began)
        return result

    def _add(self, stage: str, seconds: float) -> None:
        times = self._pictures[-1]
        times[stage] = times.get(stage, 0) + seconds

    def medians(self) -> dict[str, float]:
        """Of each stage, over the pictures that have it."""
        names = dict.fromkeys(stage for times in self._pictures for stage in times)
        return {
            name: median(times[name] for times in self._pictures if name in times) for name in names
        }

    def total(self) -> float | None:
        """All stages of a picture together, the median."""
        return median(sum(times.values()) for times in self._pictures) if self._pictures else None
