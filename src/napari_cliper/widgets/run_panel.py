"""The run of a dock: its buttons, the step at work, what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPushButton, QToolButton, QVBoxLayout, QWidget

from napari_cliper.widgets.help_dialog import HelpDialog
from napari_cliper.widgets.jobs import Job, Part
from napari_cliper.widgets.parts import TextLines, beside, part, tell
from napari_cliper.widgets.progress import ProgressBar

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_cliper.cliper.steps import Step


class RunPanel(QWidget):
    """Starts and cancels the segmentation of planes, and tells of it.

    Attributes
    ----------
    job : Job
    """

    submitted = Signal()
    cancelled = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.job = Job(self)
        self._asked = self._arrived = 0  # planes of this run, and those that are there
        self._start = part(
            QPushButton("Segment"), "segment", "Segment the picture by these words (Ctrl+Enter)"
        )
        self._cancel = part(
            QPushButton("Cancel"), "cancel", "Stop before the next step; nothing is added"
        )
        self._help = part(QToolButton(), "help", "Shortcuts, and how things work")
        self._help.setText("?")
        self._progress = part(ProgressBar(), "progress", "The step at work")
        self._status = part(TextLines(3), "status", "What the last run found")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(beside(self._start, self._cancel, self._help))
        layout.addWidget(self._progress)
        layout.addWidget(self._status)
        self._start.clicked.connect(self.submitted)
        self._cancel.clicked.connect(self.cancel)
        self._help.clicked.connect(HelpDialog(self).show)
        self.job.stepped.connect(self._progress.step)
        self.job.arrived.connect(self._count)
        self.job.failed.connect(self.fail)
        self.job.ended.connect(self._rest)
        self._rest()

    def start(self, steps: Generator[Step | Part, None, Any], planes: int) -> None:
        """Begin a run over so many planes; the one before must have ended."""
        self._asked, self._arrived = planes, 0
        self._start.setEnabled(False)
        self._cancel.setEnabled(True)
        self._status.clear()
        self._progress.begin("Loading the libraries")
        self.job.start(steps)

    def cancel(self) -> None:
        """Stop before the next step; what is there of many planes stays."""
        self.job.cancel()
        self._cancel.setEnabled(False)
        self._progress.say("Cancelling…")
        there = self._arrived
        verb = "is" if there == 1 else "are"
        told = f"{there} of {self._asked} planes {verb} segmented" if there else "nothing is added"
        self.say(f"Cancelled: {told}.")
        self.cancelled.emit()

    def stop(self) -> None:
        """Cancel without a word: the dock goes."""
        self.job.cancel()
        self._progress.rest()

    def say(self, text: str) -> None:
        """Tell what came of something."""
        self._status.setText(text)

    def fail(self, error: Exception) -> None:
        """Tell what went wrong."""
        self.say(tell(error))

    def _count(self) -> None:
        self._arrived += 1

    def _rest(self) -> None:
        self._start.setEnabled(True)
        self._cancel.setEnabled(False)
        self._progress.rest()
