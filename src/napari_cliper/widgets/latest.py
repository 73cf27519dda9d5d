"""Short work off the GUI thread of which only the newest counts: a drag, a moving mouse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari.qt.threading import create_worker
from qtpy.QtCore import QObject, Signal


class Latest(QObject):
    """Runs one function at a time; of those that wait meanwhile, only the last is run.

    The signal `failed` brings an exception, on the GUI thread.
    """

    failed = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._waiting: tuple[Callable[[], Any], Callable[[Any], None]] | None = None
        self._then: Callable[[Any], None] | None = None
        self._at_work = False
        self._stopped = False

    @property
    def idle(self) -> bool:
        """Whether nothing runs or waits."""
        return not self._at_work and self._waiting is None

    def ask(self, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Run `work` in a thread and hand its result to `then` on the GUI thread.

        Whatever waits to be run is forgotten; what runs still brings its result.
        """
        if not self._stopped:
            self._waiting = (work, then)
            self._next()

    def forget(self) -> None:
        """Drop what waits, and the result of what runs."""
        self._waiting = None
        self._then = None

    def stop(self) -> None:
        """Take no more work: the window goes."""
        self.forget()
        self._stopped = True

    def _next(self) -> None:
        if self._at_work or self._waiting is None:
            return
        (work, self._then), self._waiting = self._waiting, None
        self._at_work = True
        worker = create_worker(_outcome, work, _start_thread=False)
        worker.returned.connect(self._on_return)
        worker.start()

    def _on_return(self, outcome: tuple[Any, Exception | None]) -> None:
        result, error = outcome
        then, self._then = self._then, None
        self._at_work = False
        if then is not None and not self._stopped:
            if error is None:
                then(result)
            else:
                self.failed.emit(error)
        self._next()


def _outcome(work: Callable[[], Any]) -> tuple[Any, Exception | None]:
    """Return the error like a result: the worker takes a RuntimeError for its own end."""
    try:
        return work(), None
    except Exception as error:
        return None, error
