"""The help behind the question mark."""

from __future__ import annotations

from qtpy.QtWidgets import QDialog, QLabel, QVBoxLayout, QWidget

SHORTCUTS = {
    "Ctrl+Enter": "in the class box: segment",
    "Alt+1 … Alt+9": "on a mask: paint with that class of the list",
    "Ctrl+Z, Ctrl+Shift+Z": "on a mask: take back a stroke or a whole update, and bring it again",
    "1, 2, 3, 4, 5": "on a mask: napari's eraser, brush, polygon, bucket, picker",
    "[ and ]": "on a mask: a smaller or a larger brush",
    "Tab": "to the next part of the dock",
    "F2": "on a row of the table: rename",
}

HOW = (
    "Type what you see, one name a line, and press Segment. Two masks come: the refined one is "
    "shown, the coarse one is hidden below it.",
    "Paint, erase and fill as you like: pixels that you touched are yours, and nothing here writes "
    "over them.",
    "Once the picture is encoded, other words and the sliders answer at once.",
)


class HelpDialog(QDialog):
    """Says how things work, and stays open beside the work."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Segment with text")
        rows = "".join(
            f"<tr><td><b>{key}</b>&nbsp;&nbsp;</td><td>{what}</td></tr>"
            for key, what in SHORTCUTS.items()
        )
        text = QLabel("".join(f"<p>{sentence}</p>" for sentence in HOW) + f"<table>{rows}</table>")
        text.setWordWrap(True)
        text.setMinimumWidth(380)
        layout = QVBoxLayout(self)
        layout.addWidget(text)
