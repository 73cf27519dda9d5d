"""Where the class names are typed."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QFocusEvent, QKeyEvent, QTextCursor
from qtpy.QtWidgets import QPlainTextEdit, QWidget


class ClassBox(QPlainTextEdit):
    """Lines of class names; Ctrl+Enter submits them."""

    submitted = Signal()
    left = Signal()  # the focus went elsewhere

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

    def replace(self, words: str) -> None:
        """Set the text so that Ctrl+Z brings back the one before."""
        cursor = self.textCursor()
        place = cursor.position()
        cursor.select(QTextCursor.SelectionType.Document)
        cursor.insertText(words)
        cursor.setPosition(min(place, len(words)))
        self.setTextCursor(cursor)

    def focusOutEvent(self, event: QFocusEvent | None) -> None:
        """Tell that someone is done typing, unless they only went to a menu or another program."""
        super().focusOutEvent(event)
        elsewhere = (Qt.FocusReason.PopupFocusReason, Qt.FocusReason.ActiveWindowFocusReason)
        if event is not None and event.reason() not in elsewhere:
            self.left.emit()

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
