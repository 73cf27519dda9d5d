"""What every form of ours is made of."""

from __future__ import annotations

from typing import TypeVar

from napari.utils.notifications import notification_manager, show_error
from qtpy.QtCore import Qt
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible

from napari_cliper.errors import NapariCliperError

Part = TypeVar("Part", bound=QWidget)


def part(widget: Part, name: str, help_text: str) -> Part:
    """Give a part of a form its object name and its tooltip."""
    widget.setObjectName(f"cliper-{name}")
    widget.setToolTip(help_text)
    return widget


def form() -> QFormLayout:
    """A form without margins whose fields take all the width there is."""
    layout = QFormLayout()
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    return layout


def narrow(box: QComboBox) -> QComboBox:
    """Keep long names from widening the dock."""
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(4)
    box.setMinimumWidth(90)  # or a placeholder's length counts
    box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    return box


class TextLines(QLabel):
    """A text of so many lines: it neither widens the dock nor moves what is around it.

    A label that wraps by itself makes the whole form's height depend on its width, and a form that
    scrolls jump when its text changes.
    """

    def __init__(self, lines: int) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._lines = lines

    def showEvent(self, event: QShowEvent | None) -> None:
        """Take the height of the lines, now that the font is known, and the padding around it."""
        super().showEvent(event)
        self.setFixedHeight(self._lines * self.fontMetrics().lineSpacing() + 12)

    def hasHeightForWidth(self) -> bool:
        """Never."""
        return False

    def setText(self, text: str | None) -> None:
        """Show a text, and where it is too long all of it in the tooltip."""
        super().setText(text)
        self.setToolTip(text or "")


def beside(*widgets: QWidget) -> QHBoxLayout:
    """Widgets in a row."""
    row = QHBoxLayout()
    for widget in widgets:
        row.addWidget(widget)
    return row


def folded(title: str, name: str, inside: QWidget, is_open: bool = True) -> QCollapsible:
    """A part of a form that can be folded away."""
    fold = part(QCollapsible(title), name, "")
    fold.setDuration(0)
    fold.toggleButton().setObjectName(f"cliper-{name}-fold")
    fold.toggleButton().setToolTip("Fold or unfold")
    fold.addWidget(inside)
    if is_open:
        fold.expand(animate=False)
    return fold


def scrolling(dock: QWidget, inside: QWidget) -> None:
    """Fill a dock with a form that scrolls where the dock is short."""
    scroll = QScrollArea()
    scroll.setFrameShape(QFrame.Shape.NoFrame)
    scroll.setWidgetResizable(True)
    scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    scroll.setWidget(inside)
    layout = QVBoxLayout(dock)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.addWidget(scroll)
    dock.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
    dock.setMinimumWidth(270)


def tell(error: Exception) -> str:
    """Show an error as napari does; returns what to write into the form."""
    if isinstance(error, NapariCliperError):
        show_error(str(error))
        return str(error)
    notification_manager.receive_error(type(error), error, error.__traceback__)
    return "Something went wrong: see the notification."
