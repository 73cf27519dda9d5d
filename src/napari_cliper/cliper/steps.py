"""Long work, told step by step.

Everything that takes long is a generator that yields a `Step` before the work it names and returns
its result. Whoever drives it may show the steps, and cancels by not asking for the next one.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Step:
    """The work about to be done.

    Attributes
    ----------
    name : str
        What a person may read beside a progress bar.
    done, total : int
        Parts of this work already finished, and how many there are.
    notice : bool
        Whether the name is something a person should know of when the work is over, too.
    """

    name: str
    done: int = 0
    total: int = 1
    notice: bool = False


Steps: TypeAlias = Generator[Step, None, T]


def drain(steps: Steps[T], on_step: Callable[[Step], None] | None = None) -> T:
    """Run a generator of steps to its end and return its result.

    An exception raised by `on_step` ends the work and closes the generator.
    """
    try:
        while True:
            step = next(steps)
            if on_step is not None:
                on_step(step)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        steps.close()
