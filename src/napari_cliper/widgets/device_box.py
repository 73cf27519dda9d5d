"""A list of the devices that are really here."""

from __future__ import annotations

from qtpy.QtCore import QSignalBlocker, QTimer
from qtpy.QtWidgets import QComboBox, QWidget

from napari_cliper.widgets import warm_up
from napari_cliper.widgets.latest import Latest

USUAL = {"auto": "auto", "cpu": "CPU"}
"""What is here for certain, before torch was asked."""


class DeviceBox(QComboBox):
    """Offers devices by name and free memory, once torch is there to ask.

    Each item's data is what torch calls it.
    """

    def __init__(self, chosen: str = "auto", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._latest = Latest(self)
        self._fill(USUAL)
        self.choose(chosen)
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._ask)
        self._timer.start(300)

    @property
    def device(self) -> str:
        """The chosen one, as torch names it."""
        return str(self.currentData())

    def choose(self, device: str) -> None:
        """Choose one; a device that is not here is offered too, and refused when it is used."""
        if self.findData(device) < 0:
            self.addItem(device, device)
        self.setCurrentIndex(self.findData(device))

    def _ask(self) -> None:
        if not warm_up.start().is_alive():
            self._timer.stop()
            self._latest.ask(_devices, self._fill)

    def _fill(self, devices: dict[str, str]) -> None:
        chosen = self.device if self.count() else "auto"
        with QSignalBlocker(self):
            self.clear()
            for device, title in devices.items():
                self.addItem(title, device)
            self.choose(chosen)


def _devices() -> dict[str, str]:
    from napari_cliper.models.loading import devices

    return devices()
