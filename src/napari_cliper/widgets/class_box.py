"""Where the class names are typed."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QPlainTextEdit, QWidget


class ClassBox(QPlainTextEdit):
    """Lines of class names; Ctrl+Enter submits them."""

    submitted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._offered = ""
        self.setPlaceholderText("cat\nsofa = couch, settee\n# a comment")
        self.setTabChangesFocus(True)
        # napari's themes give such a box no frame.
        self.setStyleSheet("border: 1px solid rgba(128, 128, 128, 70%); padding: 2px;")

    def offer(self, words: str) -> None:
        """Fill in fitting words, unless someone typed their own."""
        if words and self.toPlainText().strip() in ("", self._offered):
            self.setPlainText(words)
            self._offered = words

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Submit on Ctrl+Enter, which would break the line."""
        if (
            event is not None
            and event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter)
            and event.modifiers() & Qt.KeyboardModifier.ControlModifier
        ):
            self.submitted.emit()
        else:
            super().keyPressEvent(event)
