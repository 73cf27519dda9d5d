"""What can be changed while one watches: thresholds and refinement, as sliders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QCheckBox, QPushButton, QSlider, QVBoxLayout, QWidget
from superqt import QLabeledDoubleSlider
from superqt.utils import QSignalDebouncer, QSignalThrottler

from napari_cliper.widgets.parts import form, part
from napari_cliper.widgets.segmentation import Adjustment

DRAG_PAUSE = 30  # milliseconds between two pictures of a drag
TYPING_PAUSE = 300  # milliseconds after which a value that was typed or stepped to counts


@dataclass(frozen=True)
class _Slide:
    """One slider: the field of `Adjustment` it sets, and what is said of it."""

    field: str
    title: str
    help_text: str


_SLIDES = (
    _Slide("presence", "Presence", "Classes that are less sure to be in the picture are dropped"),
    _Slide("background", "Background", "Pixels that score less than this are background"),
    _Slide(
        "refinement",
        "Refinement",
        "How much self-attention sharpens the masks: 0 is the coarse mask",
    ),
)


class ShareSlider(QLabeledDoubleSlider):
    """From 0 to 1, in steps of a hundredth; superqt's own sliders do not listen to keys."""

    _STEPS: ClassVar[dict[Any, float]] = {
        Qt.Key.Key_Left: -0.01,
        Qt.Key.Key_Down: -0.01,
        Qt.Key.Key_Right: 0.01,
        Qt.Key.Key_Up: 0.01,
        Qt.Key.Key_PageDown: -0.1,
        Qt.Key.Key_PageUp: 0.1,
        Qt.Key.Key_Home: -1,
        Qt.Key.Key_End: 1,
    }

    def __init__(self) -> None:
        super().__init__(Qt.Orientation.Horizontal)
        self.setRange(0, 1)
        self.setDecimals(2)
        handle = self.findChild(QSlider)
        assert handle is not None
        handle.setFocusProxy(self)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Step by the keys that move sliders everywhere."""
        step = self._STEPS.get(event.key()) if event is not None else None
        if step is None:
            super().keyPressEvent(event)
        else:
            self.setValue(min(max(round(self.value() + step, 2), 0), 1))


class AdjustmentPanel(QWidget):
    """Three sliders, a box to tick and a way back.

    A slider that nobody moved follows the preset's default.
    """

    dragged = Signal()  # a slider is on its way, at most every DRAG_PAUSE
    settled = Signal()  # it has arrived

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._defaults = {"refinement": 1.0, "presence": 0.0, "background": 0.0}
        self._moved: set[str] = set()
        self._sliders: dict[str, ShareSlider] = {}
        self._drag = QSignalThrottler(parent=self)
        self._drag.setTimeout(DRAG_PAUSE)
        self._drag.triggered.connect(self.dragged)
        self._rest = QSignalDebouncer(parent=self)
        self._rest.setTimeout(TYPING_PAUSE)
        self._rest.triggered.connect(self._settle)

        rows = form()
        for slide in _SLIDES:
            slider = part(ShareSlider(), slide.field, slide.help_text)
            slider.valueChanged.connect(lambda _, field=slide.field: self._move(field))
            slider.sliderReleased.connect(self._settle)
            self._sliders[slide.field] = slider
            rows.addRow(slide.title, slider)
        self._all_present = part(
            QCheckBox("All classes are in the picture"),
            "all-present",
            "Keep classes however faint they are: you know that they are there",
        )
        self._all_present.toggled.connect(self.settled)
        self._reset = part(QPushButton("Reset"), "reset", "Back to the preset's defaults")
        self._reset.clicked.connect(self.reset)
        rows.addRow(self._all_present)
        rows.addRow(self._reset)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(rows)

    @property
    def adjustment(self) -> Adjustment:
        """What is chosen; None for a threshold that nobody moved."""
        moved = {name: self._sliders[name].value() for name in self._moved}
        return Adjustment(**moved, all_present=self._all_present.isChecked())

    def show_adjustment(self, adjustment: Adjustment) -> None:
        """Show what a picture's masks were made with."""
        given = {name: getattr(adjustment, name) for name in self._sliders}
        self._moved = {
            name
            for name, value in given.items()
            if value is not None and (name != "refinement" or value != 1)
        }
        with QSignalBlocker(self._all_present):
            self._all_present.setChecked(adjustment.all_present)
        for name in self._moved:
            with QSignalBlocker(self._sliders[name]):
                self._sliders[name].setValue(given[name])
        self._show_defaults()

    @property
    def sliding(self) -> bool:
        """Whether someone holds a slider."""
        return any(slider.isSliderDown() for slider in self._sliders.values())

    def set_defaults(self, presence: float, background: float) -> None:
        """Let the preset's thresholds show wherever nobody moved a slider."""
        self._defaults |= {"presence": presence, "background": background}
        self._show_defaults()

    def reset(self) -> None:
        """Bring all sliders back to the defaults."""
        was = self.adjustment
        self._moved.clear()
        with QSignalBlocker(self._all_present):
            self._all_present.setChecked(False)
        self._show_defaults()
        if self.adjustment != was:
            self.settled.emit()

    def _show_defaults(self) -> None:
        for name, slider in self._sliders.items():
            if name not in self._moved:
                with QSignalBlocker(slider):
                    slider.setValue(self._defaults[name])

    def _move(self, field: str) -> None:
        self._moved.add(field)
        if self.sliding:
            self._drag.throttle()
        else:
            self._rest.throttle()

    def _settle(self) -> None:
        if not self.sliding:
            self._drag.cancel()
            self._rest.cancel()
            self.settled.emit()
