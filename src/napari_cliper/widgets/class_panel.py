"""The classes: a text box to type and paste, a table that mirrors it, and what belongs to both."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from qtpy.QtCore import QSignalBlocker, Qt, QTimer, Signal
from qtpy.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QMenu,
    QSplitter,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_cliper.annotation import class_edits
from napari_cliper.annotation.class_list import ClassList
from napari_cliper.annotation.class_text import retyped
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.atomic import atomic_write
from napari_cliper.files.bounded import read_bounded
from napari_cliper.widgets.class_box import ClassBox
from napari_cliper.widgets.class_table import ClassTable, Found
from napari_cliper.widgets.parts import TextLines, part
from napari_cliper.widgets.words_dialog import WordsDialog

TYPING_PAUSE = 150  # milliseconds after which the table follows the text
JSON_FILES = "Class lists (*.json)"


class ClassPanel(QWidget):
    """Keeps one class list, however it is changed.

    The list follows the text when the text is submitted or left; until then the table shows what
    it would become.

    Parameters
    ----------
    painted_ids : callable
        Gives the ids that painted pixels hold: their classes stay.
    usual_words : callable
        Gives the preset's background words and templates.

    Attributes
    ----------
    naming : bool
        Whether the list changes by a class whose name is yet to be typed.
    """

    changed = Signal()  # the list is another one
    submitted = Signal()  # someone pressed Ctrl+Enter
    chosen = Signal(int)  # the id of the class to paint with
    removal_asked = Signal(int)  # the id of the class to remove
    visibility_changed = Signal()
    failed = Signal(object)  # NapariCliperError

    def __init__(
        self,
        painted_ids: Callable[[], Collection[int]],
        usual_words: Callable[[], tuple[tuple[str, ...], tuple[str, ...]]],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._painted_ids = painted_ids
        self._usual_words = usual_words
        self._classes: ClassList | None = None
        self.naming = False
        self._read = ""  # the text that the list was read from
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(TYPING_PAUSE)
        self._make_parts()
        self._lay_out()
        self._connect()

    def _make_parts(self) -> None:
        self.text = part(
            ClassBox(),
            "classes",
            "One class a line, or separated by semicolons: name, or name = synonym, synonym."
            " What follows # is a comment. Ctrl+Enter segments.",
        )
        self.table = part(ClassTable(), "class-table", "")
        self._hint = part(TextLines(3), "class-hint", "What is wrong with the text")
        self._hint.hide()
        self._add = part(QToolButton(), "add-class", "Add a class; the others keep their numbers")
        self._add.setText("+")
        self._remove = part(QToolButton(), "remove-class", "Remove the chosen class")
        self._remove.setText("−")
        self._more = part(QToolButton(), "class-menu", "Load, save, background words, templates")
        self._more.setText("⋯")
        self._more.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.menu = QMenu(self._more)
        for text, action in (
            ("Load classes…", self._load),
            ("Save classes…", self._save),
            ("Background words and templates…", self._edit_words),
        ):
            self.menu.addAction(text, action)
        self._more.setMenu(self.menu)

    def _lay_out(self) -> None:
        buttons = QHBoxLayout()
        for button in (self._add, self._remove, self._more):
            buttons.addWidget(button)
        buttons.addStretch()
        below = QWidget()
        lower = QVBoxLayout(below)
        lower.setContentsMargins(0, 0, 0, 0)
        for widget in (self._hint, self.table):
            lower.addWidget(widget)
        lower.addLayout(buttons)
        self.text.setMinimumHeight(50)
        splitter = QSplitter(Qt.Orientation.Vertical)
        splitter.setChildrenCollapsible(False)
        splitter.addWidget(self.text)
        splitter.addWidget(below)
        splitter.setSizes([80, 180])
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(splitter)

    def _connect(self) -> None:
        self.text.textChanged.connect(self._pause.start)
        self.text.submitted.connect(self.submitted)
        self.text.left.connect(self._follow_text)
        self._pause.timeout.connect(self._mirror)
        self._add.clicked.connect(self._add_class)
        self._remove.clicked.connect(self._ask_removal)
        self.table.chosen.connect(self.chosen)
        self.table.recolored.connect(self._recolor)
        model = self.table.classes
        model.renamed.connect(lambda id_, name: self._edit(class_edits.renamed, id_, name))
        model.synonyms_given.connect(
            lambda id_, words: self._edit(class_edits.with_synonyms, id_, words)
        )
        model.visibility_changed.connect(self.visibility_changed)

    @property
    def classes(self) -> ClassList | None:
        """The list as it was last agreed on; None for no classes."""
        return self._classes

    @property
    def hidden(self) -> frozenset[int]:
        """Ids of the classes that are not to be drawn."""
        return frozenset(self.table.classes.hidden)

    def hide_classes(self, ids: Collection[int]) -> None:
        """Let these classes, and no others, not be drawn."""
        self.table.classes.hide(ids)
        self.visibility_changed.emit()

    def commit(self) -> ClassList:
        """Take over what the text says.

        Raises
        ------
        NapariCliperError
            If it cannot be read.
        """
        if self._classes is None or self.text.toPlainText() != self._read:
            self._agree(self._from_text())
        assert self._classes is not None
        return self._classes

    def take(self, classes: ClassList | None) -> None:
        """Another list, from elsewhere than the text."""
        self._agree(classes)

    def show_found(self, found: dict[int, Found]) -> None:
        """Show what was found of each class, by id."""
        self.table.classes.show_found(found)

    def remove(self, id_: int) -> None:
        """Take a class out of the list."""
        self._edit(class_edits.removed, id_)

    def _from_text(self) -> ClassList:
        return class_edits.with_text(self._classes, self.text.toPlainText(), self._painted_ids())

    def _mirror(self) -> None:
        """Show in the table what the text would become, and below it what is wrong with it."""
        hint = ""
        if not self.text.toPlainText().strip():
            self.table.show_classes(None)
        else:
            try:
                self.table.show_classes(self._from_text())
            except NapariCliperError as error:
                hint = str(error)
        self._hint.setText(hint)
        self._hint.setVisible(bool(hint))

    def _follow_text(self) -> None:
        """Someone left the text box: what it says now counts, if it can be read."""
        if self.text.toPlainText() == self._read:
            return
        try:
            self.commit()
        except NapariCliperError:
            self._mirror()

    def _edit(self, change: Callable[..., ClassList | None], *values: Any) -> None:
        """Change the list by a function from list to list."""
        try:
            self._agree(change(self.commit(), *values))
        except NapariCliperError as error:
            self._mirror()
            self.failed.emit(error)

    def _agree(self, classes: ClassList | None) -> None:
        before, self._classes = self._classes, classes
        text = self.text.toPlainText()
        agreed = retyped(text, before, classes)
        if agreed != text and not _reads_as(text, classes):
            with QSignalBlocker(self.text):
                self.text.replace(agreed)
        self._read = self.text.toPlainText()
        self._pause.stop()
        self._hint.hide()
        self.table.show_classes(classes)
        self.table.classes.forget_hidden(classes)
        if classes != before:
            self.changed.emit()

    def _add_class(self) -> None:
        """Add a class with a name to be overwritten."""
        try:
            before = self.commit() if self.text.toPlainText().strip() else None
            taken = {name.casefold() for name in before.names} if before else set()
            numbers = (f"class {number}" for number in range(1, len(taken) + 2))
            name = next(name for name in numbers if name not in taken)
            self.naming = True
            self._agree(class_edits.added(before, name, self._painted_ids()))
        except NapariCliperError as error:
            self._mirror()
            self.failed.emit(error)
            return
        finally:
            self.naming = False
        self.table.edit_name(self.table.classes.rowCount() - 1)

    def _ask_removal(self) -> None:
        id_ = self.table.current_id
        if id_ is None:
            self.failed.emit(NapariCliperError("No class is chosen: click on its row first."))
        else:
            self.removal_asked.emit(id_)

    def _recolor(self, id_: int, color: tuple[int, int, int]) -> None:
        self._edit(class_edits.recolored, id_, color)

    def _load(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Load classes", "", JSON_FILES)
        if path:
            self.load(Path(path))

    def load(self, path: Path) -> None:
        """Take the class list from a JSON file; classes that are painted stay."""
        try:
            loaded = ClassList.from_json(read_bounded(path))
            self._agree(class_edits.loaded(self._classes, loaded, self._painted_ids()))
        except NapariCliperError as error:
            self.failed.emit(error)

    def _save(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Save classes", "classes.json", JSON_FILES)
        if path:
            self.save(Path(path))

    def save(self, path: Path) -> None:
        """Write the class list as JSON."""
        try:
            text = self.commit().to_json()
            with atomic_write(path, overwrite=True) as file:  # the dialog has asked
                file.write(text.encode())
        except NapariCliperError as error:
            self.failed.emit(error)

    def _edit_words(self) -> None:
        try:
            classes = self.commit()
        except NapariCliperError as error:
            self.failed.emit(error)
            return
        dialog = WordsDialog(classes, *self._usual_words(), self)
        if dialog.exec():
            self._edit(lambda _: dialog.classes)


def _reads_as(text: str, classes: ClassList | None) -> bool:
    """Whether a text already says what the list does."""
    if classes is None:
        return not text.strip()
    try:
        return ClassList.parse(text).prompts == classes.prompts
    except NapariCliperError:
        return False
