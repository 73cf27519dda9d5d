"""The dock “Colours from channels”: which channel is red, green and blue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QComboBox, QPushButton, QVBoxLayout, QWidget

from napari_cliper.errors import NapariCliperError
from napari_cliper.widgets.channels import Channel, channels, colours
from napari_cliper.widgets.docking import Docking
from napari_cliper.widgets.parts import TextLines, form, narrow, part, scrolling, tell
from napari_cliper.widgets.picture_box import LAYER_EVENTS

if TYPE_CHECKING:
    import napari.viewer

COLOURS = ("red", "green", "blue")


class ChannelsWidget(QWidget):
    """Makes a picture in colours out of grey ones, as they are shown now.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = napari_viewer
        self._channels: list[Channel | None] = [None]
        self._boxes = [
            narrow(part(QComboBox(), f"channel-{colour}", f"What becomes {colour}"))
            for colour in COLOURS
        ]
        self._make = part(
            QPushButton("Make a picture"), "channels-make", "Add a picture in these colours"
        )
        self._status = part(TextLines(4), "channels-status", "What was made")
        rows = form()
        for colour, box in zip(COLOURS, self._boxes, strict=True):
            rows.addRow(colour.capitalize(), box)
        inside = QWidget()
        layout = QVBoxLayout(inside)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.addLayout(rows)
        layout.addWidget(self._make)
        layout.addWidget(self._status)
        layout.addStretch(1)
        scrolling(self, inside)
        self._make.clicked.connect(self._add)
        for event in LAYER_EVENTS:
            getattr(napari_viewer.layers.events, event).connect(self.reset_choices)
        docking = Docking(self)
        docking.left.connect(self._close_down)
        self.reset_choices()

    def reset_choices(self, event: object = None) -> None:
        """Offer the channels that are open now; napari, too, calls this when layers change."""
        before = [self._channels[max(0, box.currentIndex())] for box in self._boxes]
        self._channels = [None, *channels(self._viewer)]
        for box, channel in zip(self._boxes, before, strict=True):
            with QSignalBlocker(box):
                box.clear()
                box.addItems(["none" if one is None else one.name for one in self._channels])
                box.setCurrentIndex(self._index(channel))

    def _index(self, wanted: Channel | None) -> int:
        """Where a channel is in the list now; 0 if it is gone."""
        if wanted is None:
            return 0
        places = (
            at
            for at, one in enumerate(self._channels)
            if one is not None
            and one.layer is wanted.layer
            and (one.axis, one.entry) == (wanted.axis, wanted.entry)
        )
        return next(places, 0)

    def _add(self) -> None:
        try:
            picture = colours([self._channels[box.currentIndex()] for box in self._boxes])
        except NapariCliperError as error:
            self._status.setText(tell(error))
            return
        self._viewer.add_layer(picture)
        self._status.setText(
            f"“{picture.name}” is there, in the contrast that its channels have now."
        )

    def _close_down(self) -> None:
        for event in LAYER_EVENTS:
            getattr(self._viewer.layers.events, event).disconnect(self.reset_choices)
