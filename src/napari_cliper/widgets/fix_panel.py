"""The commonest fixes of one class, shown before they count."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QComboBox, QLabel, QPushButton, QSpinBox, QVBoxLayout, QWidget

from napari_cliper.annotation.class_list import ClassEntry, ClassList
from napari_cliper.annotation.palette import voc_palette
from napari_cliper.annotation.regions import FIXES, instances
from napari_cliper.annotation.session import INSTANCES
from napari_cliper.errors import NapariCliperError
from napari_cliper.widgets.latest import Latest
from napari_cliper.widgets.layers import ResultLayer, dress
from napari_cliper.widgets.parts import beside, form, narrow, part
from napari_cliper.widgets.session_layers import add_instances

if TYPE_CHECKING:
    from napari.viewer import Viewer
    from numpy.typing import NDArray

    from napari_cliper.widgets.corrections import Corrections
    from napari_cliper.widgets.masks import Mask

METHODS = (
    ("components", "connected parts", "Every connected part is an instance"),
    ("watershed", "watershed", "Parts that touch are cut at their waists"),
)


class FixPanel(QWidget):
    """Fixes the class that the corrected mask is painted with."""

    told = Signal(str)
    failed = Signal(object)

    def __init__(
        self, viewer: Viewer, corrections: Corrections, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._viewer, self._corrections = viewer, corrections
        self._latest = Latest(self)
        self._latest.failed.connect(self.failed)
        self._make_parts()
        self._lay_out()
        self._fix.currentIndexChanged.connect(self._choose_fix)
        self._preview.clicked.connect(self._show)
        self._size.editingFinished.connect(self._show_again)
        self._accept.clicked.connect(corrections.accept)
        self._drop.clicked.connect(corrections.drop)
        self._split.clicked.connect(self._make_instances)
        corrections.changed.connect(self._follow)
        self._choose_fix()
        self._follow()

    def _make_parts(self) -> None:
        self._class = part(QLabel(), "fix-class", "The class that the mask is painted with")
        self._fix = part(narrow(QComboBox()), "fix", "What to do to this class")
        for fix in FIXES:
            self._fix.addItem(fix.title, fix)
        self._size_title = QLabel()
        self._size = part(QSpinBox(), "fix-size", "How much")
        self._preview = part(
            QPushButton("Preview"), "fix-preview", "Outline what would change; nothing does yet"
        )
        self._accept = part(
            QPushButton("Apply"), "fix-accept", "Let it count, as one step of undo (Enter)"
        )
        self._drop = part(QPushButton("Drop"), "fix-drop", "Forget it (Escape)")
        self._method = part(
            narrow(QComboBox()), "instances-by", "How a class is cut into instances"
        )
        for name, title, help_text in METHODS:
            self._method.addItem(title, name)
            self._method.setItemData(self._method.count() - 1, help_text, 3)
        self._distance = part(
            QSpinBox(), "instances-distance", "Watershed: pixels between two middles at least"
        )
        self._distance.setRange(1, 1000)
        self._distance.setValue(10)
        self._split = part(
            QPushButton("Split into instances"),
            "split",
            "Number the class's instances in a layer of their own, to be edited and exported",
        )

    def _lay_out(self) -> None:
        fix, cut = form(), form()
        fix.addRow("Class", self._class)
        fix.addRow("Fix", self._fix)
        cut.addRow("Cut by", self._method)
        cut.addRow("Apart by", self._distance)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(fix)
        layout.addWidget(self._size_title)  # in the form, a long one would narrow what is beside it
        layout.addWidget(self._size)
        layout.addLayout(beside(self._preview, self._accept, self._drop))
        layout.addLayout(cut)
        layout.addWidget(self._split)

    @property
    def idle(self) -> bool:
        """Whether nothing is being worked out."""
        return self._latest.idle

    def stop(self) -> None:
        """Listen no more: the dock goes."""
        self._latest.stop()
        self._corrections.changed.disconnect(self._follow)

    def follow_label(self) -> None:
        """Another label was chosen, or another mask."""
        mask = self._corrections.mask
        entry = _entry(mask) if mask is not None else None
        self._class.setText(entry.name if entry is not None else "")

    def _follow(self) -> None:
        shown = self._corrections.change is not None
        self._accept.setEnabled(shown)
        self._drop.setEnabled(shown)
        self.follow_label()

    def _choose_fix(self) -> None:
        size = self._fix.currentData().size
        self._size_title.setText(size.title)
        with QSignalBlocker(self._size):
            self._size.setRange(size.least, size.most)
            self._size.setValue(size.default)

    def _chosen(self) -> tuple[Mask, ClassEntry]:
        mask = self._corrections.needed_mask()
        entry = _entry(mask)
        if entry is None:
            raise NapariCliperError(
                "The mask is painted with no class of the list: click on a class in the table."
            )
        return mask, entry

    def _show_again(self) -> None:
        if self._corrections.change is not None:
            self._show()

    def _show(self) -> None:
        try:
            mask, entry = self._chosen()
        except NapariCliperError as error:
            self.failed.emit(error)
            return
        fix, size = self._fix.currentData(), self._size.value()
        data, theirs = mask.data.copy(), mask.painted.mask.copy()

        def show(labels: NDArray[np.unsignedinteger]) -> None:
            if mask.gone or self._corrections.mask is not mask or labels.shape != data.shape:
                return
            count = self._corrections.show(mask, labels, (labels != data) & ~theirs)
            if count == 0:
                self._corrections.drop()
                self.told.emit(f"{fix.title}: nothing to change in {entry.name}.")
            else:
                self.told.emit(f"{fix.title}: {count:,} pixels. Enter applies, Escape drops.")

        self._latest.ask(lambda: fix.apply(data, entry.id, size), show)

    def _make_instances(self) -> None:
        try:
            mask, entry = self._chosen()
        except NapariCliperError as error:
            self.failed.emit(error)
            return
        data, plane = mask.data.copy(), mask.plane
        method, distance = self._method.currentData(), self._distance.value()

        def show(numbers: NDArray[np.uint16]) -> None:
            count = int(numbers.max())
            classes = instance_classes(entry, count)
            item = ResultLayer(f"{INSTANCES}{entry.name}", numbers, dress(classes))
            add_instances(self._viewer, plane, item, entry)
            self.told.emit(f"{count} instances of {entry.name}, in a layer of their own.")

        self._latest.ask(lambda: instances(data, entry.id, method, distance), show)


def instance_classes(entry: ClassEntry, count: int) -> ClassList:
    """Names for the instances 1 to `count` of a class."""
    # The palette goes on after the class's own colour: over the mask, that would not be seen.
    colors = voc_palette(entry.id + count + 1)[entry.id :].tolist()
    return ClassList(
        classes=tuple(
            ClassEntry(id=number, name=f"{entry.name} {number}", color=tuple(colors[number]))
            for number in range(1, count + 1)
        )
    )


def _entry(mask: Mask) -> ClassEntry | None:
    """The class that a mask is painted with."""
    label = int(mask.layer.selected_label)
    return next((entry for entry in mask.classes if entry.id == label), None)
