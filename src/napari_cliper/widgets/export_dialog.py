"""Export of a picture's labels: what, how and where; and what will be written, before it is."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QLabel,
    QLineEdit,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import QSignalDebouncer

from napari_cliper.errors import NapariCliperError
from napari_cliper.files.exporting import Planned, export, preview
from napari_cliper.files.formats import Format, Options, format_of, formats
from napari_cliper.widgets import masks
from napari_cliper.widgets.export_choice import ExportChoice, remember, remembered
from napari_cliper.widgets.export_sources import Source, picture_file, sources
from napari_cliper.widgets.latest import Latest
from napari_cliper.widgets.parts import TextLines, beside, form, narrow, part

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_cliper.annotation.annotation import Annotation
    from napari_cliper.widgets.planes import Plane

TYPING_PAUSE = 200  # milliseconds until what is chosen is looked at


class ExportDialog(QDialog):
    """Asks how to export the labels of a plane.

    Parameters
    ----------
    viewer : Viewer
    plane : Plane
        It has at least one label layer of ours.
    """

    written = Signal(str)  # what was done, in a sentence

    def __init__(self, viewer: Viewer, plane: Plane, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(f"Export labels of {plane.name}")
        self._viewer, self._plane = viewer, plane
        self._sources = sources(viewer, plane)
        self._picture = picture_file(viewer, plane)
        self._planned: Sequence[Planned] = ()
        self._cancelled = Event()
        self._latest = Latest(self)
        self._latest.failed.connect(self._refuse)
        self._writing = Latest(self)
        self._writing.failed.connect(self._refuse)
        self._make_parts()
        self._lay_out()
        self._fill_in(remembered())
        self._connect()
        self._look()

    def _make_parts(self) -> None:
        self._format = narrow(part(QComboBox(), "export-format", "The language of the files"))
        for format_ in formats().values():
            self._format.addItem(format_.title, format_.key)
        self._source = narrow(part(QComboBox(), "export-source", "Which labels are written"))
        for source in self._sources:
            self._source.addItem(source.title, source.key)
        self._visible = part(
            QCheckBox("Only classes that are shown"),
            "export-visible",
            "Leave out what is unchecked in the list of classes",
        )
        self._void = narrow(
            part(
                QComboBox(),
                "export-void",
                "The class of pixels that nobody has decided: 255 in an indexed PNG, "
                "no object elsewhere",
            )
        )
        self._masks = part(
            QCheckBox("Bitmaps in place of polygons"),
            "export-masks",
            "In COCO and labelme: exact in every tool, but harder to edit there",
        )
        self._pattern = part(
            QLineEdit(), "export-pattern", "{picture} and {name} stand for their names"
        )
        self._folder = part(QLineEdit(), "export-folder", "Made if it is missing")
        self._browse = part(QPushButton("…"), "export-browse", "Choose a folder")
        self._replace = part(
            QCheckBox("Replace files that are there"),
            "export-replace",
            "Without it, nothing is written if a file is in the way",
        )
        self._files = part(QTreeWidget(), "export-files", "What will be written")
        self._files.setHeaderLabels(["File", "Size", ""])
        self._files.setRootIsDecorated(False)
        self._note = part(TextLines(3), "export-note", "")
        self._buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self._write = part(QPushButton("Export"), "export-write", "Write these files")
        self._buttons.addButton(self._write, QDialogButtonBox.ButtonRole.AcceptRole)

    def _lay_out(self) -> None:
        fields = form()
        fields.addRow("Format", self._format)
        fields.addRow("Labels", self._source)
        fields.addRow("", self._visible)
        fields.addRow("Void", self._void)
        fields.addRow("", self._masks)
        fields.addRow("File name", self._pattern)
        fields.addRow("Folder", beside(self._folder, self._browse))
        layout = QVBoxLayout(self)
        layout.addLayout(fields)
        layout.addWidget(QLabel("Will be written:"))
        for widget in (self._files, self._replace, self._note, self._buttons):
            layout.addWidget(widget)
        self.resize(520, 560)

    def _fill_in(self, choice: ExportChoice) -> None:
        for box, value in ((self._format, choice.format), (self._source, choice.source)):
            box.setCurrentIndex(max(0, box.findData(value)))
        active = self._viewer.layers.selection.active
        for index, source in enumerate(self._sources):
            if source.layer is active and masks.of(active) is None:  # instances: they are wanted
                self._source.setCurrentIndex(index)
        self._list_classes()
        self._void.setCurrentIndex(max(0, self._void.findData(choice.void)))
        self._visible.setChecked(choice.visible)
        self._masks.setChecked(choice.masks)
        self._pattern.setText(choice.pattern)
        self._folder.setText(choice.folder or self._usual_folder)

    def _list_classes(self) -> None:
        """Offer the classes of the chosen labels as void."""
        chosen = self._void.currentData()
        self._void.clear()
        self._void.addItem("None", "")
        with suppress(NapariCliperError):
            source = self._sources[self._source.currentIndex()]
            found = source.annotation(self._plane, None, "{name}", self._objects, visible=False)
            for name in found.classes.names:
                self._void.addItem(name, name)
        self._void.setCurrentIndex(max(0, self._void.findData(chosen)))

    def _connect(self) -> None:
        self._soon = QSignalDebouncer(parent=self)
        self._soon.setTimeout(TYPING_PAUSE)
        self._soon.triggered.connect(self._look)
        self._source.activated.connect(self._list_classes)
        for box in (self._format, self._source, self._void):
            box.activated.connect(self._change)
        for check in (self._visible, self._masks):
            check.clicked.connect(self._change)
        for line in (self._pattern, self._folder):
            line.textEdited.connect(self._change)
        self._replace.toggled.connect(self._allow)
        self._browse.clicked.connect(self._choose_folder)
        self._write.clicked.connect(self._export)
        self._buttons.rejected.connect(self.reject)

    # What is chosen

    @property
    def choice(self) -> ExportChoice:
        """What the person asks for."""
        return ExportChoice(
            format=self._format.currentData(),
            source=self._source.currentData(),
            visible=self._visible.isChecked(),
            pattern=self._pattern.text(),
            void=self._void.currentData() or "",
            masks=self._masks.isChecked(),
            folder="" if self._folder.text() == self._usual_folder else self._folder.text(),
        )

    @property
    def _usual_folder(self) -> str:
        """The picture's, else the person's own."""
        return str(self._picture.parent if self._picture else Path.home())

    @property
    def _chosen_format(self) -> Format:
        return format_of(self._format.currentData())

    @property
    def _objects(self) -> bool:
        return self._chosen_format.keeps.instances

    @property
    def _options(self) -> Options:
        return Options(void=self._void.currentData() or None, masks=self._masks.isChecked())

    def _annotation(self) -> Annotation:
        if not self._folder.text().strip():
            raise NapariCliperError("No folder is chosen: name one.")
        source: Source = self._sources[self._source.currentIndex()]
        return source.annotation(
            self._plane,
            self._picture,
            self._pattern.text(),
            self._objects,
            self._visible.isChecked(),
        )

    def _choose_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Export to", self._folder.text())
        if folder:
            self._folder.setText(folder)
            self._change()

    # What will be written

    def _change(self) -> None:
        self._planned = ()
        self._replace.setChecked(False)  # it was about other files
        self._latest.forget()
        self._write.setEnabled(False)
        self._soon.throttle()

    def _look(self) -> None:
        self._write.setEnabled(False)
        try:
            annotation = self._annotation()
        except NapariCliperError as error:
            self._refuse(error)
            return
        format_, folder, options = self._chosen_format, self._folder.text(), self._options
        self._latest.ask(lambda: preview([annotation], format_, folder, options), self._show)

    def _show(self, planned: Sequence[Planned]) -> None:
        self._planned = planned
        self._files.clear()
        for file in planned:
            state = "replaces another" if file.taken else ""
            row = QTreeWidgetItem([file.place, f"{max(1, round(file.nbytes / 1000)):,} kB", state])
            row.setToolTip(0, file.place)
            self._files.addTopLevelItem(row)
        for column in range(3):
            self._files.resizeColumnToContents(column)
        self._note.setText(self._chosen_format.keeps.note)
        self._allow()

    def _refuse(self, error: Exception) -> None:
        self._planned = ()
        self._files.clear()
        self._note.setText(str(error))
        self._write.setEnabled(False)

    def _allow(self) -> None:
        taken = any(file.taken for file in self._planned)
        self._replace.setEnabled(taken)
        asked = self._replace.isChecked() or not taken
        self._write.setEnabled(bool(self._planned) and asked and self._writing.idle)

    def _export(self) -> None:
        try:
            annotation = self._annotation()
        except NapariCliperError as error:
            self._refuse(error)
            return
        format_, folder, options = self._chosen_format, self._folder.text(), self._options
        allowed = {file.place for file in self._planned if file.taken}
        overwrite = allowed if self._replace.isChecked() else ()
        self._write.setEnabled(False)
        self._note.setText(f"Writing {format_.title}…")
        cancelled = self._cancelled

        def check() -> None:
            if cancelled.is_set():
                raise NapariCliperError("The export was cancelled: nothing has been written.")

        self._writing.ask(
            lambda: export([annotation], format_, folder, options, overwrite, check), self._finish
        )

    def _finish(self, paths: Sequence[Path]) -> None:
        with suppress(NapariCliperError):  # what is written is written
            remember(self.choice)
        first = paths[0] if len(paths) == 1 else f"{len(paths)} files to {self._folder.text()}"
        self.written.emit(f"Exported {first}")
        self.accept()

    def done(self, result: int) -> None:
        """Look at nothing any more, and write nothing: the dialog goes."""
        self._cancelled.set()
        self._soon.cancel()
        self._latest.stop()
        super().done(result)
