"""Progress by name: in the dock's own bar, and in napari's activity dock."""

from __future__ import annotations

import time
from dataclasses import dataclass

from napari.utils import progress
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QProgressBar, QWidget

PAUSE = 0.25  # seconds between two drawings of the same step: drawing takes the engine's time
# Milliseconds after which work is long enough for the activity dock. An entry there moves a picture
# beside the canvas, and without a GPU the window is drawn anew for each of its frames.
LONG = 700


@dataclass(frozen=True)
class Shown:
    """What a bar says: as a `Step`, which would import torch."""

    name: str
    done: int = 0
    total: int = 1


class ProgressBar(QProgressBar):
    """Shows the step at work, here and in napari's activity dock."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._activity = Activity()
        self._shown_at = 0.0
        self.rest()

    def begin(self, text: str) -> None:
        """Something long begins."""
        self.say(text)
        self._activity.show(Shown(text))

    def step(self, step: Shown) -> None:
        """Show a new step at once, and its parts now and then."""
        if step.name == self.format() and time.monotonic() - self._shown_at < PAUSE:
            return
        self._show(step)
        self._activity.show(step)

    def say(self, text: str) -> None:
        """Show a text in place of the step's."""
        self._show(Shown(text))

    def rest(self) -> None:
        """Nothing is at work any more."""
        self.say("")
        self._activity.show(None)

    def _show(self, step: Shown) -> None:
        self._shown_at = time.monotonic()
        # Each of these would draw at once, and beside a canvas that means the whole window.
        self.setUpdatesEnabled(False)
        self.setRange(0, step.total)
        self.setValue(step.done)
        self.setFormat(step.name)
        self.setUpdatesEnabled(True)


class Activity:
    """One entry of napari's activity dock.

    Whatever napari's bars are told, they handle all waiting events before they return: clicks, the
    end of the job. So they are told from the event loop and not from the midst of our code.
    """

    def __init__(self) -> None:
        self._wanted: Shown | None = None
        self._bar: progress | None = None
        self._telling = False
        self._put_off = False

    def show(self, step: Shown | None) -> None:
        """Show this step soon; None takes the entry away."""
        self._wanted = step
        if not self._put_off and (step is not None or self._bar is not None or self._telling):
            self._put_off = True
            QTimer.singleShot(LONG if self._bar is None else 0, self._tell)

    def _tell(self) -> None:
        self._put_off = False
        if self._telling:
            return
        self._telling = True
        told: Shown | None = Shown("")
        try:
            while told is not self._wanted:
                told = self._wanted
                self._tell_bar(told)
        finally:
            self._telling = False

    def _tell_bar(self, step: Shown | None) -> None:
        if step is None:
            bar, self._bar = self._bar, None
            if bar is not None:
                bar.close()
            return
        if self._bar is None:
            self._bar = progress(total=step.total, desc=step.name)
            return
        bar = self._bar
        if bar.desc.removesuffix(": ") != step.name:
            bar.set_description(step.name)
        if bar.total != step.total:
            bar.total = step.total
        if bar.n != step.done:
            bar.update(step.done - bar.n)
