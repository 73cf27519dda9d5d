"""A class list's background words and prompt templates, to be edited."""

from __future__ import annotations

from qtpy.QtWidgets import (
    QCheckBox,
    QDialog,
    QDialogButtonBox,
    QLabel,
    QPlainTextEdit,
    QVBoxLayout,
    QWidget,
)

from napari_cliper.annotation import class_edits
from napari_cliper.annotation.class_list import ClassList
from napari_cliper.errors import NapariCliperError
from napari_cliper.widgets.parts import part


class WordsDialog(QDialog):
    """Asks for the words for what is none of the classes, and the sentences around each prompt.

    Parameters
    ----------
    classes : ClassList
    background, templates : tuple of str
        The preset's own, to begin with.

    Attributes
    ----------
    classes : ClassList
        With what was agreed on.
    """

    def __init__(
        self,
        classes: ClassList,
        background: tuple[str, ...],
        templates: tuple[str, ...],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Background words and templates")
        self.classes = classes
        self._background = _Words(
            "background",
            "Words for what is none of the classes, one a line",
            classes.background,
            background,
        )
        self._templates = _Words(
            "templates",
            "Sentences with {} where the name goes, one a line: a microscopy image of {}",
            classes.templates,
            templates,
        )
        self._mistake = part(QLabel(), "words-mistake", "What is wrong")
        self._mistake.setWordWrap(True)
        buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel
        )
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        for widget in (self._background, self._templates, self._mistake, buttons):
            layout.addWidget(widget)

    def accept(self) -> None:
        """Close, unless there is a mistake."""
        try:
            classes = class_edits.with_background(self.classes, self._background.words)
            self.classes = class_edits.with_templates(classes, self._templates.words)
        except NapariCliperError as error:
            self._mistake.setText(str(error))
        else:
            super().accept()


class _Words(QWidget):
    """A box of lines that may be left to the preset."""

    def __init__(
        self, name: str, title: str, words: tuple[str, ...] | None, usual: tuple[str, ...]
    ) -> None:
        super().__init__()
        self._own = part(QCheckBox(title), f"own-{name}", "Not ticked: the preset's own are used")
        self._lines = part(QPlainTextEdit(), name, title)
        self._lines.setPlainText("\n".join(usual if words is None else words))
        self._lines.setTabChangesFocus(True)
        self._own.toggled.connect(self._lines.setEnabled)
        self._own.setChecked(words is not None)
        self._lines.setEnabled(words is not None)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._own)
        layout.addWidget(self._lines)

    @property
    def words(self) -> str | None:
        """What was typed, None if it is left to the preset."""
        return self._lines.toPlainText() if self._own.isChecked() else None
