"""The pictures of a folder with their states, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QObject, Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

from napari_cliper.annotation.review import Entry, State

Role = Qt.ItemDataRole

MARKS = {
    State.NEW: "○",
    State.PROPOSED: "◌",
    State.CORRECTED: "✎",
    State.ACCEPTED: "✔",
    State.SKIPPED: "–",
}


class Column(IntEnum):
    """What the columns hold."""

    STATE, PICTURE, UNSURE, TIME = range(4)


TITLES = {
    Column.STATE: ("", "new, proposed, corrected, accepted or skipped"),
    Column.PICTURE: ("Picture", "Where it lies in the folder"),
    Column.UNSURE: ("Unsure", "The mean uncertainty of its proposal"),
    Column.TIME: ("Time", "How long somebody looked at it"),
}


class ReviewModel(QAbstractTableModel):
    """Entries in the order they are reviewed."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.entries: Sequence[Entry] = ()

    def show(self, entries: Sequence[Entry]) -> None:
        """Show these; where only their states changed, the table stays as it is scrolled."""
        known = [entry.picture for entry in self.entries]
        if known == [entry.picture for entry in entries]:
            self.entries = entries
            if entries:
                corners = self.index(0, 0), self.index(len(entries) - 1, len(Column) - 1)
                self.dataChanged.emit(*corners)
            return
        self.beginResetModel()
        self.entries = entries
        self.endResetModel()

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """How many pictures there are."""
        return len(self.entries)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """As many as `Column` has."""
        return len(Column)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Role.DisplayRole
    ) -> Any:
        """Titles and what they mean."""
        if orientation is Qt.Orientation.Vertical:
            return section + 1 if role == Role.DisplayRole else None
        title, meaning = TITLES[Column(section)]
        return {Role.DisplayRole: title, Role.ToolTipRole: meaning}.get(Role(role))

    def data(self, index: QModelIndex, role: int = Role.DisplayRole) -> Any:
        """What a cell shows."""
        entry, column = self.entries[index.row()], Column(index.column())
        if role == Role.ToolTipRole:
            return f"{entry.picture}: {entry.state}"
        if role != Role.DisplayRole:
            return None
        if column is Column.STATE:
            return MARKS[entry.state]
        if column is Column.PICTURE:
            return entry.picture
        if column is Column.UNSURE:
            return "" if entry.uncertainty is None else f"{entry.uncertainty:.2f}"
        return duration(entry.seconds) if entry.seconds else ""


class ReviewTable(QTableView):
    """Shows the queue; a double click opens a picture."""

    wanted = Signal(str)  # a picture to open

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.queue = ReviewModel(self)
        self._chosen: str | None = None
        self.setModel(self.queue)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setTabKeyNavigation(False)
        self.setShowGrid(False)
        self.setMinimumHeight(120)
        header = self.horizontalHeader()
        assert header is not None
        for column in Column:
            stretched = column is Column.PICTURE
            header.setSectionResizeMode(
                column,
                QHeaderView.ResizeMode.Stretch
                if stretched
                else QHeaderView.ResizeMode.ResizeToContents,
            )
        self.verticalHeader().hide()  # type: ignore[union-attr]
        self.doubleClicked.connect(
            lambda index: self.wanted.emit(self.queue.entries[index.row()].picture)
        )

    def choose(self, picture: str | None) -> None:
        """Mark the picture that is open, and scroll to it if it is another one than before.

        Parameters
        ----------
        picture : str or None
            None for none: the next one is another one, whatever it is called.
        """
        before, self._chosen = self._chosen, picture
        rows = (row for row, e in enumerate(self.queue.entries) if e.picture == picture)
        row = next(rows, None)
        if row is None:
            return
        self.setAutoScroll(False)  # a row that becomes the current one would be scrolled to
        self.selectRow(row)
        self.setAutoScroll(True)
        if picture != before:
            self.scrollTo(self.queue.index(row, Column.PICTURE))


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
