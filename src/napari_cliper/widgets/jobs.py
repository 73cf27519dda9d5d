"""Long work off the GUI thread: one job at a time, with its steps, its end, and a way out."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari.qt.threading import GeneratorWorker, thread_worker
from napari.utils.notifications import show_warning
from qtpy.QtCore import QObject, Qt, Signal

if TYPE_CHECKING:
    from napari_cliper.cliper.steps import Step


@dataclass(frozen=True, eq=False)
class Part:
    """Yielded in place of a step: a part of the result that is there already."""

    result: Any


class Job(QObject):
    """Runs a generator of steps in napari's thread worker.

    Signals, all of them on the GUI thread; `ended` comes once for each job, after what else there
    is to say. A job that was cancelled brings neither result nor error.
    """

    stepped = Signal(object)  # Step
    arrived = Signal(object)  # what a Part holds
    succeeded = Signal(object)  # what the generator returned
    failed = Signal(object)  # the exception it raised
    ended = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._worker: GeneratorWorker | None = None
        self._cancelled = False

    @property
    def running(self) -> bool:
        """Whether a job has not ended yet, cancelled or not."""
        return self._worker is not None

    def start(self, steps: Generator[Step | Part, None, Any]) -> None:
        """Begin a job; the one before must have ended."""
        if self.running:
            raise RuntimeError("The job before has not ended.")
        self._cancelled = False
        self._worker = _work(steps)
        self._worker.yielded.connect(self._on_step)
        self._worker.returned.connect(self._on_return)
        self._worker.finished.connect(self._on_finish)
        # A worker that quits leaves its generator hanging at a yield. It is closed in the worker,
        # so that what it holds is let go at once, and where it was taken.
        self._worker.aborted.connect(steps.close, Qt.ConnectionType.DirectConnection)
        self.destroyed.connect(self._worker.quit)
        self._worker.start()

    def cancel(self) -> None:
        """Let the job stop before its next step, and drop what it may still bring."""
        self._cancelled = True
        if self._worker is not None:
            self._worker.quit()

    def _on_step(self, step: Step | Part) -> None:
        if self._cancelled:
            return
        if isinstance(step, Part):
            self.arrived.emit(step.result)
            return
        if step.notice:
            show_warning(step.name)
        self.stepped.emit(step)

    def _on_return(self, outcome: _Outcome) -> None:
        if self._cancelled:
            return
        if outcome.error is not None:
            self.failed.emit(outcome.error)
        else:
            self.succeeded.emit(outcome.result)

    def _on_finish(self) -> None:
        if self._worker is not None:
            self.destroyed.disconnect(self._worker.quit)
        self._worker = None
        self.ended.emit()


@dataclass(frozen=True)
class _Outcome:
    result: Any = None
    error: Exception | None = None


@thread_worker
def _work(steps: Generator[Step | Part, None, Any]) -> Generator[Step | Part, None, _Outcome]:
    """Run `steps` to its end, and return its error like a result.

    The worker takes a RuntimeError, torch's usual one, for a sign that it was deleted, and would
    neither report it nor finish.
    """
    try:
        return _Outcome((yield from steps))
    except Exception as error:
        return _Outcome(error=error)
