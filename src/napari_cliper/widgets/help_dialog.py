"""The help behind the question mark."""

from __future__ import annotations

from qtpy.QtWidgets import QDialog, QLabel, QVBoxLayout, QWidget

SHORTCUTS = {
    "Ctrl+Enter": "in the class box: segment",
    "Tab": "to the next part of the dock",
    "F2": "on a row of the table: rename",
    "1 … 7": "on a mask: napari's eraser, brush, polygon, bucket, picker, moving, transforming",
    "[ , ]": "on a mask: a smaller or a larger brush",
    "Click": "on a mask, while moving (6): choose the region there",
    "Alt+1 … Alt+9": "on a mask: give the chosen region that class of the list; without one, "
    "paint with it",
    "Alt+0": "on a mask: the same with the background",
    "N": "on a mask: show the next unsure place",
    "Enter": "on a mask or scribbles: let the change that is shown count",
    "Escape": "on a mask or scribbles: drop the change that is shown, or the chosen region",
    "Ctrl+Z, Ctrl+Shift+Z": "on a mask: take back a stroke or a whole update, and bring it again",
    "A": "in a review: accept the picture and go on; again: open it",
    "S": "in a review: skip the picture and go on; again: open it",
    "PageUp, PageDown": "in a review: the picture before, the picture after",
}
"""What each key does; docs/annotating.md has the same keys."""

WIDTH = 560  # pixels

HOW = (
    "Type what you see, one name a line, and press Segment. Two masks come: the refined one is "
    "shown, the coarse one is hidden below it.",
    "Paint, erase and fill as you like: pixels that you touched are yours, and nothing here writes "
    "over them.",
    "Once the picture is encoded, other words and the sliders answer at once.",
    "In the same menu: “Correct masks” to go over a mask, “Review pictures” for a whole folder.",
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
        text = QLabel(
            "".join(f"<p>{sentence}</p>" for sentence in HOW) + f"<p><table>{rows}</table>"
        )
        text.setWordWrap(True)
        text.setMinimumWidth(WIDTH)
        text.setMinimumHeight(text.heightForWidth(WIDTH))  # else long tables are cut off
        layout = QVBoxLayout(self)
        layout.addWidget(text)
