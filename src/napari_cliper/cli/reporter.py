"""What the command says while it works: steps on standard error, results on standard output."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

WIDE = 1000  # columns

if TYPE_CHECKING:
    from napari_cliper.cliper.steps import Step, Steps, T


def console(stderr: bool = False) -> Console:
    """Where to print: names are a person's words, not rich's markup, and nothing is cut off.

    What is no terminal is so wide that each row of a table stays a line.
    """
    plain = Console(stderr=stderr, markup=False, emoji=False, highlight=False)
    if not plain.is_terminal:
        plain = Console(stderr=stderr, markup=False, emoji=False, highlight=False, width=WIDE)
    return plain


class Reporter:
    """Shows steps by name on the terminal: even the shortest run takes seconds."""

    def __init__(self) -> None:
        self._console = console()
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TimeElapsedColumn(),
            console=console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task("", total=1)

    def __enter__(self) -> "Reporter":
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def run(self, steps: "Steps[T]") -> "T":
        """Drive a generator of steps to its result."""
        from napari_cliper.cliper.steps import drain

        return drain(steps, self._on_step)

    def _on_step(self, step: "Step") -> None:
        if step.notice:
            self.warn(step.name)
        self.show(step.name, step.done, step.total)

    def show(self, name: str, done: int = 0, total: int = 1) -> None:
        """Name the work that is about to be done, and how much of it is over."""
        self._progress.update(self._task, description=name, completed=done, total=total)
        self._progress.start()

    def say(self, what: "str | Table") -> None:
        """Print a line or a table on standard output, above the bar."""
        self._progress.stop()
        self._console.print(what, soft_wrap=isinstance(what, str))

    def warn(self, what: str) -> None:
        """Print a line on standard error, above the bar."""
        self._progress.console.print(what, soft_wrap=True)
