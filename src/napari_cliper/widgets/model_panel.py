"""Which models segment, where they run, and whether they may be fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QVBoxLayout, QWidget

from napari_cliper.models.inventory import describe
from napari_cliper.models.presets import (
    AUTO,
    get_preset,
    load_methods,
    load_presets,
    method_changes,
)
from napari_cliper.widgets.device_box import DeviceBox
from napari_cliper.widgets.parts import TextLines, form, narrow, part
from napari_cliper.widgets.segmentation import Model

if TYPE_CHECKING:
    from napari_cliper.models.schema import Preset
    from napari_cliper.widgets.preferences import Preferences

FALLBACK = "small"  # what “auto” fetches if nothing is here


class ModelPanel(QWidget):
    """Chooses preset, device and method."""

    changed = Signal()

    def __init__(self, preferences: Preferences, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._precision = preferences.precision
        self._make_parts(preferences)
        rows = form()
        rows.addRow("Preset", self._preset)
        rows.addRow("Device", self._device)
        rows.addRow("Method", self._method)
        rows.addRow(self._download)
        rows.addRow(self._terms)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(rows)
        self._download.toggled.connect(self._show_terms)
        self._download.toggled.connect(self.changed)
        for box in (self._preset, self._device, self._method):
            narrow(box)
            box.currentIndexChanged.connect(self._show_terms)
            box.currentIndexChanged.connect(self.changed)
        self._show_terms()

    def _make_parts(self, preferences: Preferences) -> None:
        self._preset = part(
            QComboBox(), "preset", "The models; “auto” takes the best whose weights are here"
        )
        self._preset.addItem(AUTO, AUTO)
        for row, (name, preset) in enumerate(load_presets().items(), start=1):
            self._preset.addItem(f"{name}: {preset.title}", name)
            self._preset.setItemData(row, preset.summary, Qt.ItemDataRole.ToolTipRole)
        self._preset.setCurrentIndex(max(self._preset.findData(preferences.preset), 0))
        self._device = part(
            DeviceBox(preferences.device),
            "device",
            "Where the models run; “auto” takes a GPU if there is one",
        )
        self._method = part(
            QComboBox(), "method", "Which of the methods that the paper compares; “cliper” is best"
        )
        for row, (name, method) in enumerate(load_methods().items()):
            self._method.addItem(f"{name}: {method.title}", name)
            self._method.setItemData(row, method.source, Qt.ItemDataRole.ToolTipRole)
        self._download = part(
            QCheckBox("Allow downloads"),
            "download",
            "Fetch weights that are not on this machine; they can be gigabytes",
        )
        self._terms = part(TextLines(7), "terms", "What a download would fetch, and its licence")

    @property
    def model(self) -> Model:
        """What is chosen."""
        return Model(
            self._preset.currentData(),
            self._device.device,
            self._method.currentData(),
            self._precision,
        )

    def choose(self, model: Model) -> None:
        """Choose a model; in place of a preset or method that is not offered, what is stays."""
        self._precision = model.precision
        for box, name in ((self._preset, model.preset), (self._method, model.method)):
            row = box.findData(name)
            if row >= 0:
                box.setCurrentIndex(row)
        self._device.choose(model.device)

    @property
    def download(self) -> bool:
        """Whether weights may be fetched."""
        return self._download.isChecked()

    @property
    def preset(self) -> Preset:
        """The chosen preset; for “auto”, what it fetches if nothing is here."""
        name = self._preset.currentData()
        return get_preset(
            FALLBACK if name == AUTO else name, [method_changes(self._method.currentData())]
        )

    @property
    def thresholds(self) -> tuple[float, float]:
        """The preset's thresholds: presence, background."""
        settings = self.preset.settings
        presence, background = settings["presence_threshold"], settings["background_threshold"]
        return float(presence), float(background)

    def _show_terms(self) -> None:
        """Tell sizes and licences of the weights before any of them is fetched."""
        preset = self.preset
        total = f"{preset.size_mb / 1000:.1f} GB in all, less what is here already"
        self._terms.setText(f"{describe(preset.repositories)}\n{total}")
        self._terms.setVisible(self._download.isChecked())
