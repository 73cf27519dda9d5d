"""How long the GUI thread was held, and by which of our callbacks."""

import inspect
import time
from functools import wraps
from types import FunctionType
from typing import Any

from qtpy.QtCore import QObject, Qt, QTimer

from napari_cliper.widgets import (
    adjustment_panel,
    class_box,
    class_panel,
    class_table,
    device_box,
    encoded_mark,
    inspect_widget,
    jobs,
    latest,
    live_attention,
    mask_view,
    masks,
    model_panel,
    picture_box,
    progress,
    segment_widget,
)

BEAT_MS = 5
OURS = (
    adjustment_panel.AdjustmentPanel,
    class_box.ClassBox,
    class_panel.ClassPanel,
    class_table.ClassTable,
    class_table.ClassTableModel,
    device_box.DeviceBox,
    encoded_mark.EncodedMark,
    inspect_widget.InspectWidget,
    jobs.Job,
    latest.Latest,
    live_attention.LiveAttention,
    mask_view.MaskView,
    masks.Mask,
    model_panel.ModelPanel,
    picture_box.PictureBox,
    progress.ProgressBar,
    segment_widget.SegmentWidget,
)


class Pulse(QObject):
    """Notes the longest pause of the GUI thread, and the longest of our callbacks on it."""

    def __init__(self) -> None:
        super().__init__()
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._beat)
        self._timer.start(BEAT_MS)
        self.restart()

    def restart(self) -> None:
        """Begin a phase."""
        self._last = time.perf_counter()
        self._pause = self._callback = self._busy = 0.0
        self._culprit = ""

    def _beat(self) -> None:
        now = time.perf_counter()
        self._pause = max(self._pause, now - self._last - BEAT_MS / 1000)
        self._last = now

    def watch(self, *classes: type) -> None:
        """Time every method of our classes."""
        for class_ in classes:
            for name, function in list(vars(class_).items()):
                if isinstance(function, FunctionType) and name not in (
                    "__init__",
                    "event",
                    "data",
                    "flags",
                ):
                    setattr(class_, name, self._timed(function))

    def _timed(self, function: FunctionType) -> Any:
        # A slot need not take all that a signal brings.
        takes_any = function.__code__.co_flags & inspect.CO_VARARGS
        wanted = None if takes_any else function.__code__.co_argcount

        @wraps(function)
        def timed(*args: Any, **keywords: Any) -> Any:
            start, busy = time.perf_counter(), time.thread_time()
            try:
                return function(*args[:wanted], **keywords)
            finally:
                took = time.perf_counter() - start
                self._busy = max(self._busy, time.thread_time() - busy)
                if took > self._callback:
                    self._callback, self._culprit = took, function.__qualname__

        return timed

    def report(self) -> dict[str, Any]:
        """The phase in milliseconds."""
        return {
            "longest pause, ms": milliseconds(self._pause),
            "longest callback of ours, ms": milliseconds(self._callback),
            "which": self._culprit,
            "longest on the processor, ms": milliseconds(self._busy),
        }


def milliseconds(seconds: float) -> float:
    """Rounded to a tenth."""
    return round(1000 * seconds, 1)
