"""The classes as a table: a row each, with its name, its looks, and how much there is of it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QObject, QRect, Qt, Signal
from qtpy.QtGui import QColor, QPainter
from qtpy.QtWidgets import (
    QAbstractItemView,
    QColorDialog,
    QHeaderView,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QWidget,
)

from napari_cliper.annotation.class_list import ClassEntry, ClassList

Role = Qt.ItemDataRole
Flag = Qt.ItemFlag


@dataclass(frozen=True)
class Found:
    """What was found of a class in the picture that is shown.

    Attributes
    ----------
    presence : float in [0, 1], or None if it was not looked for
    present : bool
        Whether it is above the threshold.
    share : float in [0, 1], or None
        Of the refined mask's pixels, strokes included.
    """

    presence: float | None = None
    present: bool = True
    share: float | None = None


class Column(IntEnum):
    """The table's columns, from left to right."""

    VISIBLE = 0
    COLOR = 1
    ID = 2
    NAME = 3
    PRESENCE = 4
    SHARE = 5
    SYNONYMS = 6


_TITLES = {
    Column.VISIBLE: ("", "Whether the class is drawn", 24),
    Column.COLOR: ("", "Double-click to choose another colour", 24),
    Column.ID: ("No.", "The value its pixels have", 30),
    Column.NAME: ("Name", "Double-click to rename; painted pixels keep their class", 80),
    Column.PRESENCE: ("Sure", "How sure the maps are that it is in the picture", 46),
    Column.SHARE: ("Share", "Its part of the picture, strokes included", 44),
    Column.SYNONYMS: ("Synonyms", "Other words for it, separated by commas", 80),
}


class ClassTableModel(QAbstractTableModel):
    """A class list as Qt's table; what a person changes goes out as signals, not into the list."""

    renamed = Signal(int, str)  # id, name
    synonyms_given = Signal(int, str)  # id, comma-separated
    visibility_changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._entries: tuple[ClassEntry, ...] = ()
        self._found: dict[int, Found] = {}
        self.hidden: set[int] = set()

    def show_classes(self, classes: ClassList | None) -> None:
        """Show this list, or none."""
        entries = classes.classes if classes is not None else ()
        if entries == self._entries:
            return
        if [entry.id for entry in entries] == [entry.id for entry in self._entries]:
            self._entries = entries  # the selection and an open editor stay
            self._changed(Column.VISIBLE, Column.SYNONYMS)
        else:
            self.beginResetModel()
            self._entries = entries
            self.endResetModel()

    def hide(self, ids: Collection[int]) -> None:
        """Show these as not drawn, and all others as drawn."""
        self.hidden = set(ids)
        self.layoutChanged.emit()

    def forget_hidden(self, classes: ClassList | None) -> None:
        """Draw the classes again that are gone from the list, should they come back."""
        self.hidden &= {entry.id for entry in classes or ()}

    def show_found(self, found: dict[int, Found]) -> None:
        """Show what was found, by id."""
        if found != self._found:
            self._found = found
            self._changed(Column.PRESENCE, Column.SHARE)

    def entry(self, row: int) -> ClassEntry:
        """The class in a row."""
        return self._entries[row]

    def row(self, id_: int) -> int:
        """The row of a class, -1 if it is not there."""
        ids = [entry.id for entry in self._entries]
        return ids.index(id_) if id_ in ids else -1

    def found(self, row: int) -> Found:
        """What was found of the class in a row."""
        return self._found.get(self._entries[row].id, Found())

    def _changed(self, first: Column, last: Column) -> None:
        if self._entries:
            self.dataChanged.emit(self.index(0, first), self.index(len(self._entries) - 1, last))

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Qt's."""
        return len(self._entries)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """Qt's."""
        return len(Column)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Role.DisplayRole
    ) -> Any:
        """Qt's."""
        if orientation == Qt.Orientation.Horizontal:
            title, help_text, _ = _TITLES[Column(section)]
            return {Role.DisplayRole: title, Role.ToolTipRole: help_text}.get(role)  # type: ignore[call-overload]
        return None

    def data(self, index: QModelIndex, role: int = Role.DisplayRole) -> Any:
        """Qt's."""
        if index.row() >= len(self._entries):
            return None
        shown = _SHOWN.get((Column(index.column()), role))
        if shown is not None:
            return shown(self._entries[index.row()], self.found(index.row()), self.hidden)
        if role == Role.ToolTipRole:
            return _TITLES[Column(index.column())][1]
        return None

    def setData(self, index: QModelIndex, value: Any, role: int = Role.EditRole) -> bool:
        """Qt's; hands on what was typed."""
        id_ = self._entries[index.row()].id
        column = index.column()
        if column == Column.VISIBLE and role == Role.CheckStateRole:
            self.hidden ^= {id_}
            self._changed(Column.VISIBLE, Column.VISIBLE)
            self.visibility_changed.emit()
            return True
        if role == Role.EditRole and column in (Column.NAME, Column.SYNONYMS):
            if value != self.data(index, Role.EditRole):
                signal = self.renamed if column == Column.NAME else self.synonyms_given
                signal.emit(id_, value)
            return True
        return False

    def flags(self, index: QModelIndex) -> Flag:
        """Qt's."""
        flags = Flag.ItemIsEnabled | Flag.ItemIsSelectable
        if index.column() == Column.VISIBLE:
            flags |= Flag.ItemIsUserCheckable
        if index.column() in (Column.NAME, Column.SYNONYMS):
            flags |= Flag.ItemIsEditable
        return flags


def _checked(entry: ClassEntry, found: Found, hidden: set[int]) -> Any:
    return Qt.CheckState.Unchecked if entry.id in hidden else Qt.CheckState.Checked


def _share(entry: ClassEntry, found: Found, hidden: set[int]) -> str:
    if found.share is None:
        return ""
    return "<1%" if 0 < found.share < 0.005 else f"{found.share:.0%}"


_Show = Callable[[ClassEntry, Found, "set[int]"], Any]

_SHOWN: dict[tuple[Column, int], _Show] = {
    (Column.VISIBLE, Role.CheckStateRole): _checked,
    (Column.COLOR, Role.DecorationRole): lambda entry, *_: QColor(*entry.color),
    (Column.ID, Role.DisplayRole): lambda entry, *_: str(entry.id),
    (Column.NAME, Role.DisplayRole): lambda entry, *_: entry.name,
    (Column.NAME, Role.EditRole): lambda entry, *_: entry.name,
    (Column.PRESENCE, Role.UserRole): lambda entry, found, _: found.presence,
    (Column.PRESENCE, Role.ToolTipRole): lambda entry, found, _: (
        "Not looked for yet"
        if found.presence is None
        else f"Presence {found.presence:.2f}: {'kept' if found.present else 'below the threshold'}"
    ),
    (Column.SHARE, Role.DisplayRole): _share,
    (Column.SYNONYMS, Role.DisplayRole): lambda entry, *_: ", ".join(entry.synonyms),
    (Column.SYNONYMS, Role.EditRole): lambda entry, *_: ", ".join(entry.synonyms),
}


class PresenceBar(QStyledItemDelegate):
    """Draws a presence as a bar, pale where it is below the threshold."""

    def paint(
        self, painter: QPainter | None, option: QStyleOptionViewItem, index: QModelIndex
    ) -> None:
        """Qt's."""
        super().paint(painter, option, index)
        presence = index.data(Role.UserRole)
        model = index.model()
        if painter is None or presence is None or not isinstance(model, ClassTableModel):
            return
        frame: QRect = option.rect.adjusted(3, 7, -3, -7)
        color = option.palette.color(option.palette.ColorRole.Text)
        color.setAlphaF(0.2)
        painter.fillRect(frame, color)
        color.setAlphaF(0.9 if model.found(index.row()).present else 0.35)
        frame.setWidth(round(frame.width() * min(max(presence, 0), 1)))
        painter.fillRect(frame, color)


class ClassTable(QTableView):
    """The table as it is seen and clicked."""

    chosen = Signal(int)  # id, of the row that was clicked or moved to
    recolored = Signal(int, tuple)  # id, (red, green, blue)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.classes = ClassTableModel(self)
        self.setModel(self.classes)
        self.setItemDelegateForColumn(Column.PRESENCE, PresenceBar(self))
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(
            QAbstractItemView.EditTrigger.DoubleClicked
            | QAbstractItemView.EditTrigger.EditKeyPressed
        )
        self.setTabKeyNavigation(False)  # Tab leaves the table, as it leaves every other part
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setMinimumHeight(90)
        rows, columns = self.verticalHeader(), self.horizontalHeader()
        assert rows is not None
        assert columns is not None
        rows.setVisible(False)
        rows.setDefaultSectionSize(24)
        columns.setMinimumSectionSize(24)
        columns.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        columns.setStretchLastSection(True)
        for column, (_, _, width) in _TITLES.items():
            self.setColumnWidth(column, width)
        self._following = False
        self.doubleClicked.connect(self._on_double_click)
        self.clicked.connect(self._tell)
        selection = self.selectionModel()
        assert selection is not None
        selection.currentRowChanged.connect(self._tell)

    @property
    def current_id(self) -> int | None:
        """The id of the class whose row is chosen."""
        row = self.currentIndex().row()
        return self.classes.entry(row).id if 0 <= row < self.classes.rowCount() else None

    def show_classes(self, classes: ClassList | None) -> None:
        """Show this list, or none; the chosen class stays chosen."""
        chosen = self.current_id
        self.classes.show_classes(classes)
        if chosen is not None:
            self.choose(chosen)

    def choose(self, id_: int) -> None:
        """Choose the row of a class without telling."""
        row = self.classes.row(id_)
        if row >= 0 and row != self.currentIndex().row():
            self._following = True
            self.selectRow(row)
            self._following = False

    def edit_name(self, row: int) -> None:
        """Let someone type the name of the class in this row."""
        index = self.classes.index(row, Column.NAME)
        self.setCurrentIndex(index)
        self.scrollTo(index)
        self.edit(index)

    def _tell(self, index: QModelIndex) -> None:
        if index.isValid() and not self._following:
            self.chosen.emit(self.classes.entry(index.row()).id)

    def _on_double_click(self, index: QModelIndex) -> None:
        if index.column() == Column.COLOR:
            entry = self.classes.entry(index.row())
            color = QColorDialog.getColor(QColor(*entry.color), self, f"Colour of “{entry.name}”")
            if color.isValid():
                self.recolored.emit(entry.id, (color.red(), color.green(), color.blue()))
