"""The dock “Segment a folder”: a mask for each of many pictures, for a person to review."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QLineEdit,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_cliper.annotation.class_list import ClassList
from napari_cliper.batch.order import Order
from napari_cliper.batch.work import Recipe
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.formats import format_of, formats
from napari_cliper.files.review import RESULTS_FOLDER, REVIEW_FILE
from napari_cliper.models.choices import Choices
from napari_cliper.models.paths import path_of
from napari_cliper.widgets import warm_up, workspace
from napari_cliper.widgets.batch_run import Asked, Done, in_window
from napari_cliper.widgets.docking import Docking
from napari_cliper.widgets.inspect_toggle import PLUGIN
from napari_cliper.widgets.jobs import Job
from napari_cliper.widgets.parts import TextLines, beside, form, narrow, part, scrolling, tell
from napari_cliper.widgets.progress import ProgressBar

if TYPE_CHECKING:
    import napari.viewer

SEGMENT_DOCK, REVIEW_DOCK = "Segment with text", "Review pictures"


class BatchWidget(QWidget):
    """Asks for pictures and a place for their masks; words and models are the first dock's.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = napari_viewer
        self._workspace = workspace.of(napari_viewer)
        self._job = Job(self)
        self._asked_for: Path | None = None  # where the run puts its masks
        self._make_parts()
        self._lay_out()
        self._connect()
        self._docking = Docking(self)
        self._docking.left.connect(self._job.cancel)
        self._rest()
        QTimer.singleShot(0, warm_up.start)

    def _make_parts(self) -> None:
        self._pictures = part(
            QLineEdit(),
            "batch-pictures",
            "A folder, a file, or a pattern such as scans/**/*.png; several with “;” between. "
            "Videos and TIFF files of several pages are taken apart",
        )
        self._pictures.setPlaceholderText("Folder, files or pattern")
        self._browse = part(QPushButton("…"), "batch-browse", "Choose a folder of pictures")
        self._results = part(
            QLineEdit(),
            "batch-results",
            f"Folder for masks and index; {RESULTS_FOLDER} in the pictures’ folder unless given",
        )
        self._results.setPlaceholderText(f"{RESULTS_FOLDER}, beside the pictures")
        self._browse_results = part(
            QPushButton("…"), "batch-browse-results", "Choose a folder for the masks"
        )
        self._every = part(QSpinBox(), "batch-every", "Of films, take one of so many frames")
        self._every.setRange(1, 100_000)
        self._format = part(
            QComboBox(), "batch-format", "Write all masks in this format too, when they are made"
        )
        self._format.addItem("none", "")
        for known in formats().values():
            self._format.addItem(known.title, known.key)
        self._workers = part(
            QLineEdit(),
            "batch-workers",
            "A number: so many processes of this machine share the work. An address such as "
            "tcp://10.0.0.1:8786: the workers of that dask scheduler do it",
        )
        self._workers.setPlaceholderText("none: this window does it")
        self._overwrite = part(
            QCheckBox("Make anew what was made before"),
            "batch-overwrite",
            "Masks that a person has corrected stay in any case",
        )
        self._look = part(
            QPushButton("Preview"), "batch-preview", "Tell what would be done, and do nothing"
        )
        self._start = part(QPushButton("Start"), "batch-start", "Segment all these pictures")
        self._progress = part(ProgressBar(), "batch-progress", "How many are done")
        self._status = part(TextLines(8), "batch-status", "What was done")
        self._review = part(
            QPushButton("Review them"), "batch-review", "Open the masks in the dock Review pictures"
        )

    def _lay_out(self) -> None:
        for button in (self._browse, self._browse_results):
            button.setMaximumWidth(32)
        rows = form()
        rows.addRow("Pictures", beside(self._pictures, self._browse))
        rows.addRow("Masks to", beside(self._results, self._browse_results))
        rows.addRow("One frame of", self._every)
        rows.addRow("Export as", narrow(self._format))
        rows.addRow("Workers", self._workers)
        rows.addRow(self._overwrite)
        inside = QWidget()
        layout = QVBoxLayout(inside)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.addLayout(rows)
        layout.addLayout(beside(self._look, self._start))
        layout.addWidget(self._progress)
        layout.addWidget(self._status)
        layout.addWidget(self._review)
        layout.addStretch(1)
        scrolling(self, inside)

    def _connect(self) -> None:
        self._browse.clicked.connect(lambda: self._choose(self._pictures))
        self._browse_results.clicked.connect(lambda: self._choose(self._results))
        self._look.clicked.connect(lambda: self._begin(only_look=True))
        self._start.clicked.connect(self._start_or_cancel)
        self._review.clicked.connect(self._open_review)
        self._job.stepped.connect(self._progress.step)
        self._job.succeeded.connect(self._show)
        self._job.failed.connect(lambda error: self._status.setText(tell(error)))
        self._job.ended.connect(self._rest)

    def _choose(self, line: QLineEdit) -> None:
        folder = QFileDialog.getExistingDirectory(self, "A folder", line.text())
        if folder:
            line.setText(folder)

    def _start_or_cancel(self) -> None:
        if self._job.running:
            self._job.cancel()
            self._progress.say("Stopping; what is made stays")
            self._status.setText("Stopped: what is made stays, and Start goes on.")
        else:
            self._begin(only_look=False)

    def _begin(self, only_look: bool) -> None:
        if self._job.running:
            return
        try:
            asked = self._asked(only_look)
        except NapariCliperError as error:
            self._status.setText(tell(error))
            return
        self._status.setText("")
        self._progress.begin("Looking for pictures")
        self._asked_for = asked.order.results
        self._job.start(in_window(asked))
        self._rest()

    def _asked(self, only_look: bool) -> Asked:
        """What the form says.

        Raises
        ------
        NapariCliperError
            Pictures or words are missing.
        """
        given = tuple(filter(None, map(str.strip, self._pictures.text().split(";"))))
        if not given:
            raise NapariCliperError("Say which pictures: choose a folder, or write a pattern.")
        segment = self._viewer.window.add_plugin_dock_widget(PLUGIN, SEGMENT_DOCK)[1]
        self._docking.come_forward()
        classes: ClassList = segment.commit()
        model, adjustment = segment.model, segment.adjustment
        results = self._results.text().strip()
        recipe = Recipe(
            classes,
            model.preset,
            model.device,
            download=segment.download,
            choices=Choices(method=model.method, precision=model.precision),
            present="all" if adjustment.all_present else None,
            presence=adjustment.presence,
            background=adjustment.background,
            refinement=adjustment.refinement,
        )
        order = Order(
            given,
            path_of(results) if results else usual_results(given),
            recipe,
            self._every.value(),
            self._overwrite.isChecked(),
        )
        key = self._format.currentData()
        format_ = format_of(key) if key else None
        workers = self._workers.text().strip()
        if workers.isdecimal():
            return Asked(order, format_, only_look, workers=max(1, int(workers)))
        return Asked(order, format_, only_look, scheduler=workers or None)

    def _show(self, done: Done) -> None:
        self._status.setText("\n".join(done.told))

    def _open_review(self) -> None:
        assert self._asked_for is not None
        review = self._viewer.window.add_plugin_dock_widget(PLUGIN, REVIEW_DOCK)[1]
        review.desk.open_folder(self._asked_for)

    @property
    def _is_reviewable(self) -> bool:
        """Whether there is something to review: after a run that was cancelled, too."""
        return self._asked_for is not None and (self._asked_for / REVIEW_FILE).is_file()

    def _rest(self) -> None:
        """Show whether something is at work."""
        running = self._job.running
        self._start.setText("Cancel" if running else "Start")
        self._look.setEnabled(not running)
        self._review.setEnabled(not running and self._is_reviewable)
        if not running:
            self._progress.rest()


def usual_results(given: tuple[str, ...]) -> Path:
    """Where masks go if nothing is said: beside the first picture, or in the first folder."""
    first = path_of(given[0])
    if not first.is_dir():
        first = first.parent
    while glob.has_magic(str(first)):
        first = first.parent
    return first / RESULTS_FOLDER
