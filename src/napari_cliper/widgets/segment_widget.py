"""The dock widget: words in, masks out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeVar

from napari.utils.notifications import notification_manager, show_error
from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible

from napari_cliper.annotation.class_list import ClassList
from napari_cliper.errors import NapariCliperError
from napari_cliper.models.inventory import describe
from napari_cliper.models.presets import (
    AUTO,
    get_preset,
    load_methods,
    load_presets,
    method_changes,
)
from napari_cliper.widgets import warm_up
from napari_cliper.widgets.class_box import ClassBox
from napari_cliper.widgets.jobs import Job
from napari_cliper.widgets.layers import fitting_classes, show, shown_plane
from napari_cliper.widgets.picture_box import PictureBox
from napari_cliper.widgets.segmentation import Model, Request, Segmented, segmentation

if TYPE_CHECKING:
    import napari.viewer

    from napari_cliper.cliper.steps import Step

FALLBACK = "small"
DEVICES = ("auto", "cpu", "cuda", "mps")

Part = TypeVar("Part", bound=QWidget)


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
        self._job = Job(self)
        self._job.stepped.connect(self._show_step)
        self._job.succeeded.connect(self._show_result)
        self._job.failed.connect(self._show_failure)
        self._job.ended.connect(self._rest)

        self._make_parts()
        self._lay_out()
        self._picture.layer_changed.connect(self._offer_classes)
        self._classes.submitted.connect(self._segment)
        self._download.toggled.connect(self._show_terms)
        for box in (self._preset, self._method):
            box.currentIndexChanged.connect(self._show_terms)
        self._show_terms()
        self._start.clicked.connect(self._segment)
        self._cancel.clicked.connect(self._stop)
        for event in ("inserted", "removed", "reordered", "renamed"):
            getattr(napari_viewer.layers.events, event).connect(self.reset_choices)
        self._offer_classes()
        self._rest()
        QTimer.singleShot(0, warm_up.start)  # not before the window is drawn

    def _make_parts(self) -> None:
        self._picture = _part(
            PictureBox(self._viewer), "image", "The picture to segment; of a stack, the plane shown"
        )
        self._classes = _part(
            ClassBox(),
            "classes",
            "One class a line, or separated by semicolons: name, or name = synonym, synonym."
            " What follows # is a comment.",
        )
        self._preset = _part(
            QComboBox(), "preset", "The models; “auto” takes the best whose weights are here"
        )
        self._preset.addItem(AUTO, AUTO)
        for row, (name, preset) in enumerate(load_presets().items(), start=1):
            self._preset.addItem(f"{name}: {preset.title}", name)
            self._preset.setItemData(row, preset.summary, Qt.ItemDataRole.ToolTipRole)
        self._device = _part(
            QComboBox(), "device", "Where the models run; “auto” takes a GPU if there is one"
        )
        self._device.addItems(DEVICES)
        self._download = _part(
            QCheckBox("Allow downloads"),
            "download",
            "Fetch weights that are not on this machine; they can be gigabytes",
        )
        self._terms = _part(QLabel(), "terms", "What a download would fetch, and its licence")
        self._method = _part(
            QComboBox(), "method", "Which of the methods that the paper compares; “cliper” is best"
        )
        for row, (name, method) in enumerate(load_methods().items()):
            self._method.addItem(f"{name}: {method.title}", name)
            self._method.setItemData(row, method.source, Qt.ItemDataRole.ToolTipRole)
        self._all_present = _part(
            QCheckBox("All classes are in the picture"),
            "all-present",
            "Keep classes however faint they are: you know that they are there",
        )
        self._attention = _part(
            QCheckBox("Add the attention map"), "attention", "Show where the models look, too"
        )
        self._start = _part(
            QPushButton("Segment"), "segment", "Segment the picture by these words (Ctrl+Enter)"
        )
        self._cancel = _part(
            QPushButton("Cancel"), "cancel", "Stop before the next step; nothing is added"
        )
        self._progress = _part(QProgressBar(), "progress", "The step at work")
        self._status = _part(QLabel(), "status", "What the last run found")

    def _lay_out(self) -> None:
        for box in (
            self._picture,
            self._preset,
            self._device,
            self._method,
        ):  # long names do not widen the dock
            box.setSizeAdjustPolicy(
                QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
            )
            box.setMinimumContentsLength(22)
            box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        for label in (self._status, self._terms):
            label.setWordWrap(True)

        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Picture", self._picture)
        form.addRow(QLabel("Classes, one a line"))
        form.addRow(self._classes)
        form.addRow("Preset", self._preset)
        form.addRow("Device", self._device)
        form.addRow(self._download)
        form.addRow(self._terms)
        form.addRow(self._attention)
        form.addRow(self._advanced())
        buttons = QHBoxLayout()
        buttons.addWidget(self._start)
        buttons.addWidget(self._cancel)
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        layout.addLayout(buttons)
        layout.addWidget(self._progress)
        layout.addWidget(self._status)

    def _advanced(self) -> QCollapsible:
        inside = QWidget()
        form = QFormLayout(inside)
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Method", self._method)
        form.addRow(self._all_present)
        advanced = _part(QCollapsible("Advanced"), "advanced", "The method, and what you know")
        advanced.setDuration(0)
        advanced.addWidget(inside)
        return advanced

    def reset_choices(self, event: Any = None) -> None:
        """Offer the pictures that are open now; napari, too, calls this when layers change."""
        self._picture.refresh()

    def event(self, event: QEvent | None) -> bool:
        """Stop when the dock is closed, which takes this widget out of it."""
        left = event is not None and event.type() == QEvent.Type.ParentChange
        if left and self.parent() is None:
            self._job.cancel()
        return bool(super().event(event))

    def _offer_classes(self) -> None:
        layer = self._picture.layer
        if layer is not None:
            self._classes.offer(fitting_classes(layer))

    def _show_terms(self) -> None:
        """Tell sizes and licences of the weights before any of them is fetched."""
        name = self._preset.currentData()
        # “auto” takes what is here already, and otherwise fetches the smallest.
        name = FALLBACK if name == AUTO else name
        preset = get_preset(name, [method_changes(self._method.currentData())])
        total = f"{preset.size_mb / 1000:.1f} GB in all, less what is here already"
        self._terms.setText(f"{describe(preset.repositories)}\n{total}")
        self._terms.setVisible(self._download.isChecked())

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
        model = Model(
            self._preset.currentData(), self._device.currentText(), self._method.currentData()
        )
        request = Request(
            plane,
            classes,
            model,
            download=self._download.isChecked(),
            with_attention=self._attention.isChecked(),
            all_present=self._all_present.isChecked(),
        )
        self._job.start(segmentation(request))

    def _stop(self) -> None:
        self._job.cancel()
        self._cancel.setEnabled(False)
        self._show_progress("Cancelling…")
        self._status.setText("Cancelled: nothing is added.")

    def _show_step(self, step: Step) -> None:
        """Show a new step at once, and its parts now and then: drawing takes the engine's time."""
        news = step.name != self._progress.format()
        if news or time.monotonic() - self._shown_at > 0.25:
            self._show_progress(step.name, step.done, step.total)

    def _show_progress(self, text: str, done: int = 0, total: int = 1) -> None:
        self._shown_at = time.monotonic()
        # Each of these would draw at once, and beside a canvas that means the whole window.
        self._progress.setUpdatesEnabled(False)
        self._progress.setRange(0, total)
        self._progress.setValue(done)
        self._progress.setFormat(text)
        self._progress.setUpdatesEnabled(True)

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
        self._show_progress("")


def _part(part: Part, name: str, help_text: str) -> Part:
    """Give a part of the form its object name and its tooltip."""
    part.setObjectName(f"cliper-{name}")
    part.setToolTip(help_text)
    return part
