"""A button that sets a picture's contrast by the values of the plane that is shown."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QAction, QInputDialog, QMenu, QToolButton, QWidget

from napari_cliper.errors import NapariCliperError
from napari_cliper.images import parse_percentiles, percentile_limits
from napari_cliper.widgets.latest import Latest
from napari_cliper.widgets.parts import part, tell

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_cliper.images import Percentiles
    from napari_cliper.widgets.picture_box import PictureBox

OFFERED: tuple[Percentiles, ...] = ((0.1, 99.9), (1, 99), (2, 98), (5, 95))
USUAL: Percentiles = (1, 99)
MOST = 2**24  # values that are looked at; of a larger plane, every n-th row and column


class ContrastButton(QToolButton):
    """Sets the contrast limits of the chosen picture's layer: the model sees what a person sees.

    It is for grey pictures, as napari's own slider is, which takes it back.
    """

    def __init__(self, viewer: Viewer, picture: PictureBox, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        part(self, "contrast", "")
        self._viewer, self._picture = viewer, picture
        self._percentiles = USUAL
        self._latest = Latest(self)
        self._latest.failed.connect(tell)
        self.setText("◐")
        # napari's style leaves no room for the arrow beside it.
        self.setFixedWidth(self.fontMetrics().horizontalAdvance("◐") + 28)
        self.setAccessibleName("Contrast from percentiles")
        self.setPopupMode(QToolButton.ToolButtonPopupMode.MenuButtonPopup)
        menu = QMenu(self)
        menu.setTitle("Contrast from percentiles")
        others = QAction("Others…", menu)
        others.triggered.connect(self._ask)
        for percentiles in OFFERED:
            action = QAction(_told(percentiles), menu)
            action.triggered.connect(partial(self.set_by, percentiles))
            menu.addAction(action)
        menu.addAction(others)
        self.setMenu(menu)
        self.clicked.connect(lambda: self.set_by(self._percentiles))
        picture.layer_changed.connect(self._look)
        self._look()

    def stop(self) -> None:
        """Set nothing any more: the dock goes."""
        self._latest.stop()

    def set_by(self, percentiles: Percentiles, checked: bool = False) -> None:
        """Read the plane that is shown, in a thread, and set its layer's contrast; note the choice.

        Parameters
        ----------
        percentiles : (float, float)
            As of `images.percentile_limits`.
        checked : bool
            What Qt adds.
        """
        self._percentiles = percentiles
        self._look()
        layer = self._picture.layer
        try:
            plane = self._picture.plane()
        except NapariCliperError as error:
            tell(error)
            return

        def show(limits: tuple[float, float]) -> None:
            if layer is not None and layer in self._viewer.layers:
                layer.contrast_limits = limits

        def look() -> tuple[float, float]:
            pixels = plane.read()
            step = math.ceil(math.sqrt(pixels.size / MOST))
            return percentile_limits(pixels[::step, ::step], *percentiles)

        self._latest.ask(look, show)

    def _ask(self) -> None:
        """Let somebody write percentiles."""
        low, high = self._percentiles
        text, given = QInputDialog.getText(
            self, "Contrast from percentiles", "Darkest and brightest:", text=f"{low:g}, {high:g}"
        )
        if not given:
            return
        try:
            percentiles = parse_percentiles(text)
        except NapariCliperError as error:
            tell(error)
            return
        self.set_by(percentiles)

    def _look(self) -> None:
        """Be there for grey pictures."""
        layer = self._picture.layer
        grey = layer is not None and not layer.rgb
        self.setEnabled(grey)
        if layer is not None and layer.rgb:
            self.setToolTip("Colours are seen as they are: contrast is for grey pictures")
        else:
            self.setToolTip(
                f"Contrast from percentiles {_told(self._percentiles)} of the plane that is shown: "
                "the model sees what you see. napari's contrast limits take it back"
            )


def _told(percentiles: Percentiles) -> str:
    low, high = percentiles
    return f"{low:g} and {high:g}"
