"""The question what shall become of the pixels of a class that is removed."""

from __future__ import annotations

from qtpy.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QLabel,
    QVBoxLayout,
    QWidget,
)

from napari_cliper.annotation.class_list import ClassEntry, ClassList
from napari_cliper.widgets.parts import narrow, part

BACKGROUND = 0


class RemovalDialog(QDialog):
    """Asks, before a class goes that has pixels.

    Parameters
    ----------
    entry : ClassEntry
        The class.
    classes : ClassList
        All of them.
    pixels, painted : int
        How many it has, and how many of these a person painted.
    """

    def __init__(
        self,
        entry: ClassEntry,
        classes: ClassList,
        pixels: int,
        painted: int,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle(f"Remove “{entry.name}”")
        theirs = f", {painted:,} of them painted" if painted else ""
        question = QLabel(
            f"“{entry.name}” has {pixels:,} pixels{theirs}. What shall become of them?"
        )
        question.setWordWrap(True)
        self._answer = part(QComboBox(), "removal", "Ctrl+Z in the layer takes it back")
        narrow(self._answer)
        self._answer.addItem("Background, or what other classes claim", BACKGROUND)
        for other in classes:
            if other.id != entry.id:
                self._answer.addItem(f"{other.name}", other.id)
        buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel
        )
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        for widget in (question, self._answer, buttons):
            layout.addWidget(widget)

    @property
    def chosen(self) -> int:
        """The label they get."""
        return int(self._answer.currentData())
