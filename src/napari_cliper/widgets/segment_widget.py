"""The dock widget: words in, masks out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.utils.notifications import notification_manager, show_error
from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_cliper.annotation.class_list import ClassList
from napari_cliper.errors import NapariCliperError
from napari_cliper.models.presets import load_presets
from napari_cliper.widgets import warm_up
from napari_cliper.widgets.jobs import Job
from napari_cliper.widgets.layers import fitting_classes, show, shown_plane
from napari_cliper.widgets.picture_box import PictureBox
from napari_cliper.widgets.segmentation import Segmented, segmentation

if TYPE_CHECKING:
    import napari.viewer

    from napari_cliper.cliper.steps import Step

PLACEHOLDER = "cat\nsofa = couch, settee\n# a comment"
CLASSES_HELP = (
    "One class a line, or separated by semicolons: name, or name = synonym, synonym."
    " What follows # is a comment."
)
DEVICES = ("auto", "cpu", "cuda", "mps")


class SegmentWidget(QWidget):
    """Segment a picture by the words that someone types.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        Its pictures are offered, and it gets the results.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = napari_viewer
        self._filled_in = ""  # the words we put into the class box ourselves

        self._job = Job(self)
        self._job.stepped.connect(self._show_step)
        self._job.succeeded.connect(self._show_result)
        self._job.failed.connect(self._show_failure)
        self._job.ended.connect(self._rest)

        self._build()
        self._rest()
        self._offer_classes()
        for event in ("inserted", "removed", "reordered", "renamed"):
            getattr(napari_viewer.layers.events, event).connect(self.reset_choices)
        QTimer.singleShot(0, warm_up.start)  # not before the window is drawn

    def _build(self) -> None:
        """Make the parts and lay them out."""
        self._picture = PictureBox(self._viewer)
        self._picture.layer_changed.connect(self._offer_classes)

        self._classes = QPlainTextEdit()
        self._classes.setPlaceholderText(PLACEHOLDER)
        self._classes.setTabChangesFocus(True)
        # napari's themes give such a box no frame.
        self._classes.setStyleSheet("border: 1px solid rgba(128, 128, 128, 70%); padding: 2px;")
        for key in ("Ctrl+Return", "Ctrl+Enter"):
            shortcut = QShortcut(QKeySequence(key), self._classes, self._segment)
            shortcut.setContext(Qt.ShortcutContext.WidgetShortcut)

        self._preset = QComboBox()
        self._preset.addItem("auto", "auto")
        for name, preset in load_presets().items():
            self._preset.addItem(f"{name}: {preset.title}", name)
            row = self._preset.count() - 1
            self._preset.setItemData(row, preset.summary, Qt.ItemDataRole.ToolTipRole)
        self._device = QComboBox()
        self._device.addItems(DEVICES)
        for box in (self._picture, self._preset, self._device):  # long names do not widen the dock
            box.setSizeAdjustPolicy(
                QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
            )
            box.setMinimumContentsLength(10)
            box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._download = QCheckBox("Allow downloads")
        self._attention = QCheckBox("Add the attention map")

        self._start = QPushButton("Segment")
        self._start.clicked.connect(self._segment)
        self._cancel = QPushButton("Cancel")
        self._cancel.clicked.connect(self._stop)
        self._progress = QProgressBar()
        self._status = QLabel()
        self._status.setWordWrap(True)

        parts = {
            "image": (self._picture, "The picture to segment: of a stack, the plane that is shown"),
            "classes": (self._classes, CLASSES_HELP),
            "preset": (self._preset, "The models; “auto” takes the best whose weights are here"),
            "device": (self._device, "Where the models run; “auto” takes a GPU if there is one"),
            "download": (self._download, "Fetch weights that are not here: this may be gigabytes"),
            "attention": (self._attention, "Also show which places draw the most attention"),
            "segment": (self._start, "Segment the picture by these words (Ctrl+Enter)"),
            "cancel": (self._cancel, "Stop before the next step; nothing is added"),
            "progress": (self._progress, "The step at work"),
            "status": (self._status, "What the last run found"),
        }
        for name, (part, help_text) in parts.items():
            part.setObjectName(f"cliper-{name}")
            part.setToolTip(help_text)

        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Picture", self._picture)
        form.addRow(QLabel("Classes, one a line"))
        form.addRow(self._classes)
        form.addRow("Preset", self._preset)
        form.addRow("Device", self._device)
        form.addRow(self._download)
        form.addRow(self._attention)
        buttons = QHBoxLayout()
        buttons.addWidget(self._start)
        buttons.addWidget(self._cancel)
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        layout.addLayout(buttons)
        layout.addWidget(self._progress)
        layout.addWidget(self._status)

    def reset_choices(self, event: Any = None) -> None:
        """Offer the pictures that are open now; napari, too, calls this when layers change."""
        self._picture.refresh()

    def event(self, event: QEvent) -> bool:
        """Stop when the dock is closed, which takes this widget out of it."""
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self._job.cancel()
        return bool(super().event(event))

    def _offer_classes(self) -> None:
        """Fill in the words that come with the picture, unless someone typed their own."""
        layer = self._picture.layer
        words = fitting_classes(layer) if layer else ""
        if words and self._classes.toPlainText().strip() in ("", self._filled_in):
            self._classes.setPlainText(words)
            self._filled_in = words

    def _segment(self) -> None:
        if self._job.running:
            return
        try:
            layer = self._picture.layer
            if layer is None:
                raise NapariCliperError(
                    "Open a picture first: File ▸ Open, or File ▸ Open Sample ▸ CLIPer."
                )
            classes = ClassList.parse(self._classes.toPlainText())
            plane = shown_plane(self._viewer, layer)
        except NapariCliperError as error:
            self._show_failure(error)
            return
        self._start.setEnabled(False)
        self._cancel.setEnabled(True)
        self._status.clear()
        self._show_progress("Loading the libraries")
        steps = segmentation(
            plane,
            classes,
            preset=self._preset.currentData(),
            device=self._device.currentText(),
            download=self._download.isChecked(),
            with_attention=self._attention.isChecked(),
        )
        self._job.start(steps)

    def _stop(self) -> None:
        self._job.cancel()
        self._cancel.setEnabled(False)
        self._show_progress("Cancelling…")
        self._status.setText("Cancelled: nothing was added.")

    def _show_step(self, step: Step) -> None:
        self._show_progress(step.name, step.done, step.total)

    def _show_progress(self, text: str, done: int = 0, total: int = 1) -> None:
        self._progress.setRange(0, total)
        self._progress.setValue(done)
        self._progress.setFormat(text)

    def _show_result(self, segmented: Segmented) -> None:
        for item in segmented.layers:
            show(self._viewer, segmented.plane, item)
        self._status.setText(segmented.summary)

    def _show_failure(self, error: Exception) -> None:
        if isinstance(error, NapariCliperError):
            self._status.setText(str(error))
            show_error(str(error))
        else:
            self._status.setText("Something went wrong: see the notification.")
            notification_manager.receive_error(type(error), error, error.__traceback__)

    def _rest(self) -> None:
        """Wait for someone to press Segment."""
        self._start.setEnabled(True)
        self._cancel.setEnabled(False)
        self._progress.reset()
        self._progress.setFormat("")
