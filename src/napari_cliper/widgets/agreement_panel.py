"""How far a mask agrees with what was proposed, or with another annotator's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from napari_cliper.annotation.agreement import Agreement, compare, difference
from napari_cliper.annotation.class_list import ClassList
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.indexed_png import as_labels
from napari_cliper.widgets.labels_box import LabelsBox
from napari_cliper.widgets.latest import Latest
from napari_cliper.widgets.layers import ResultLayer, add, find, kept_selection
from napari_cliper.widgets.parts import beside, part

if TYPE_CHECKING:
    from napari.viewer import Viewer
    from numpy.typing import NDArray

    from napari_cliper.widgets.corrections import Corrections

ROLE = "difference"
PROPOSAL = "the proposal"
# Value, colour and meaning; the numbers are `agreement.difference`'s.
KINDS = (
    (1, "lime", "only here"),
    (2, "red", "only there"),
    (3, "yellow", "another class"),
)


class AgreementPanel(QWidget):
    """Compares the corrected mask class by class, and shows where it differs."""

    told = Signal(str)
    failed = Signal(object)

    def __init__(
        self, viewer: Viewer, corrections: Corrections, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._viewer, self._corrections = viewer, corrections
        self._latest = Latest(self)
        self._latest.failed.connect(self.failed)
        self.others = part(
            LabelsBox(viewer, corrections, PROPOSAL),
            "compare-with",
            "The proposal, or another Labels layer of this size: somebody else's mask",
        )
        self._compare = part(
            QPushButton("Compare"), "compare", "IoU and boundary F-score of each class"
        )
        self._table = part(QLabel(), "agreement", "")
        self._table.setTextFormat(Qt.TextFormat.RichText)
        self._table.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._table.setWordWrap(True)
        self._table.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(beside(self.others, self._compare))
        layout.addWidget(self._table)
        self._compare.clicked.connect(self._start)

    @property
    def idle(self) -> bool:
        """Whether nothing is compared."""
        return self._latest.idle

    def stop(self) -> None:
        """Compare no more: the dock goes."""
        self._latest.stop()
        self.others.stop()

    def _start(self) -> None:
        try:
            mask = self._corrections.needed_mask()
            other = self.others.layer
            labels = mask.proposal if other is None else np.asarray(mask.part_of(other.data))
            theirs = as_labels(labels, None)
        except NapariCliperError as error:
            self.failed.emit(error)
            return
        plane, classes = mask.plane, mask.classes
        ours = mask.data.copy()

        def work() -> tuple[Agreement, NDArray[np.uint8]]:
            return compare(ours, theirs, classes.ids), difference(ours, theirs)

        def show(found: tuple[Agreement, NDArray[np.uint8]]) -> None:
            agreement, differs = found
            self._table.setText(_as_table(agreement, classes))
            self._show_difference(plane, differs)
            self.told.emit(f"{agreement.pixel_accuracy:.1%} of the pixels agree.")

        self._latest.ask(work, show)

    def _show_difference(self, plane: Any, differs: NDArray[np.uint8]) -> None:
        layer = find(self._viewer, plane, ROLE, differs.shape)
        if layer is not None:
            layer.data = differs
            return
        table: dict[int | None, Any] = {None: "transparent", 0: "transparent"}
        attributes = {
            "colormap": DirectLabelColormap(
                color_dict=table | {value: color for value, color, _ in KINDS}
            ),
            "features": {
                "index": [0, *(value for value, _, _ in KINDS)],
                "name": ["the same", *(meaning for _, _, meaning in KINDS)],
            },
        }
        item = ResultLayer(ROLE, differs, attributes, {"opacity": 0.7})
        with kept_selection(self._viewer):
            add(self._viewer, plane, item, Labels)


def _as_table(agreement: Agreement, classes: ClassList) -> str:
    names = {entry.id: entry.name for entry in classes}
    rows = [(names[found.id], found.iou, found.boundary_f) for found in agreement.classes]
    rows.append(("mean", agreement.mean_iou, agreement.mean_boundary_f))
    cells = "".join(
        f"<tr><td>{name}&nbsp;&nbsp;</td><td align=right>{iou:.3f}</td>"
        f"<td align=right>&nbsp;&nbsp;{boundary:.3f}</td></tr>"
        for name, iou, boundary in rows
    )
    legend = ", ".join(f"{color}: {meaning}" for _, color, meaning in KINDS)
    return (
        "<table><tr><td></td><td align=right>IoU</td><td align=right>&nbsp;&nbsp;boundary F</td>"
        f"</tr>{cells}</table><p>{legend}</p>"
    )
