"""The dock “Correct masks”: a person's strokes are kept, and small fixes are one gesture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_cliper.widgets import workspace
from napari_cliper.widgets.agreement_panel import AgreementPanel
from napari_cliper.widgets.docking import Docking
from napari_cliper.widgets.fix_panel import FixPanel
from napari_cliper.widgets.parts import TextLines, beside, folded, part, scrolling, tell
from napari_cliper.widgets.protection_panel import ProtectionPanel
from napari_cliper.widgets.scribbles import Scribbles
from napari_cliper.widgets.start_panel import StartPanel

if TYPE_CHECKING:
    import napari.viewer

    from napari_cliper.widgets.masks import Mask


class CorrectWidget(QWidget):
    """Corrects the mask that is active, or was last.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = napari_viewer
        self._workspace = workspace.of(napari_viewer)
        self._corrections = self._workspace.corrections
        self._mask: Mask | None = None
        self._name = part(TextLines(1), "mask-name", "The mask that is corrected")
        self._status = part(TextLines(3), "correct-status", "What was done")
        self._protection = ProtectionPanel(napari_viewer, self._corrections)
        self._fixes = FixPanel(napari_viewer, self._corrections)
        self._scribbles = Scribbles(napari_viewer, self._workspace, self)
        self._scribble = part(
            QPushButton("Scribble"),
            "scribble",
            "Draw a few strokes of a class; they spread along the attention",
        )
        self._next = part(
            QPushButton("Next unsure place"), "next-place", "Zoom to where to look next (N)"
        )
        self._forget = part(
            QPushButton("See all again"), "forget-seen", "Count no place as seen any more"
        )
        self._start = StartPanel(napari_viewer, self._corrections)
        self._agreement = AgreementPanel(napari_viewer, self._corrections)
        self._lay_out()
        self._connect()
        Docking(self).left.connect(self._close_down)
        self._follow()

    def _lay_out(self) -> None:
        inside = QWidget()
        layout = QVBoxLayout(inside)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.addWidget(self._name)
        layout.addWidget(self._status)
        for title, name, panel in (
            ("What is yours", "protection", self._protection),
            ("Fix a class", "fixes", self._fixes),
        ):
            layout.addWidget(folded(title, name, panel))
        layout.addLayout(beside(self._scribble))
        layout.addLayout(beside(self._next, self._forget))
        layout.addWidget(folded("Start from a layer", "start", self._start, is_open=False))
        layout.addWidget(folded("Agreement", "agreement-fold", self._agreement))
        layout.addStretch()
        scrolling(self, inside)

    def _connect(self) -> None:
        self._scribble.clicked.connect(self._scribbles.begin)
        self._next.clicked.connect(self._workspace.places.jump)
        self._forget.clicked.connect(self._workspace.places.forget)
        places = self._workspace.places
        for talker in (self._fixes, self._scribbles, self._start, self._agreement, places):
            talker.told.connect(self._status.setText)
            talker.failed.connect(self._fail)
        self._protection.failed.connect(self._fail)
        self._corrections.changed.connect(self._follow)

    @property
    def idle(self) -> bool:
        """Whether nothing is being worked out."""
        return all(
            part.idle
            for part in (self._fixes, self._scribbles, self._agreement, self._workspace.places)
        )

    def _close_down(self) -> None:
        self._corrections.drop()
        self._corrections.let_go()
        for panel in (
            self._protection, self._fixes, self._scribbles, self._start, self._agreement,
        ):  # fmt: skip
            panel.stop()
        self._workspace.places.leave()
        self._workspace.places.told.disconnect(self._status.setText)
        self._workspace.places.failed.disconnect(self._fail)
        self._corrections.changed.disconnect(self._follow)

    def _follow(self) -> None:
        mask = self._corrections.mask
        if mask is not self._mask:
            if self._mask is not None and not self._mask.gone:
                self._mask.layer.events.selected_label.disconnect(self._follow_label)
            self._mask = mask
            if mask is not None:
                mask.layer.events.selected_label.connect(self._follow_label)
        self._name.setText(f"Mask: {mask.layer.name}" if mask is not None else "No mask yet")

    def _follow_label(self, event: object = None) -> None:
        self._fixes.follow_label()

    def _fail(self, error: Exception) -> None:
        self._status.setText(tell(error))
