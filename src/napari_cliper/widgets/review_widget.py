"""The dock “Review pictures”: a folder of pictures, one after the other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import (
    QCheckBox,
    QFileDialog,
    QProgressBar,
    QPushButton,
    QShortcut,
    QVBoxLayout,
    QWidget,
)

from napari_cliper.annotation.review import State
from napari_cliper.widgets import workspace
from napari_cliper.widgets.docking import Docking
from napari_cliper.widgets.inspect_toggle import PLUGIN
from napari_cliper.widgets.parts import TextLines, beside, part, scrolling, tell
from napari_cliper.widgets.progress import ProgressBar
from napari_cliper.widgets.review_desk import ReviewDesk
from napari_cliper.widgets.review_table import ReviewTable, duration

if TYPE_CHECKING:
    import napari.viewer
    from napari.layers import Layer

    from napari_cliper.widgets.masks import Mask

SEGMENT_DOCK = "Segment with text"


class ReviewWidget(QWidget):
    """Lists a folder's pictures with their states, and goes through them.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = napari_viewer
        self._workspace = workspace.of(napari_viewer)
        self.desk = ReviewDesk(napari_viewer, self._open_dock, self)
        self._make_parts()
        self._lay_out()
        self._connect()
        docking = Docking(self)
        docking.left.connect(self._close_down)
        docking.closing.connect(self.desk.save_at_once)
        self._follow()

    def _make_parts(self) -> None:
        self._open = part(
            QPushButton("Open folder…"), "open-folder", "Choose a folder of pictures to review"
        )
        self._masks = part(
            QPushButton("Masks from…"),
            "masks-from",
            "A folder with masks made before, by “napari-cliper segment”: NAME_labels.png",
        )
        self._counts = part(TextLines(3), "review-counts", "How far the review is")
        self._bar = part(QProgressBar(), "review-bar", "Pictures that are accepted or skipped")
        self._bar.setTextVisible(False)
        self._bar.setMaximumHeight(6)
        self._table = part(ReviewTable(), "review-table", "Double-click opens a picture")
        self._unsure_first = part(
            QCheckBox("Most uncertain first"),
            "unsure-first",
            "Order by the mean uncertainty of the proposals; unknown ones come last",
        )
        self._segments_new = part(
            QCheckBox("Segment new pictures"),
            "segments-new",
            "Those without a mask, by the words of the first dock; the next one is encoded ahead",
        )
        self._segments_new.setChecked(self.desk.segments_new)
        self._propose = part(
            QPushButton("Propose for all new"),
            "propose-all",
            "Segment all new pictures in the background, by the words of the first dock",
        )
        self._progress = part(ProgressBar(), "review-progress", "The picture at work")
        self._actions = {
            name: part(QPushButton(f"{title} ({_short(key)})"), name, help_text)
            for name, title, key, help_text, _ in self._keys()
        }
        self._status = part(TextLines(2), "review-status", "What happened last")

    def _keys(self) -> tuple[tuple[str, str, str, str, Any], ...]:
        """Each action's name, title, key, what it does, and the function."""
        desk = self.desk
        return (
            ("show-before", "Previous", "PageUp", "The picture before", desk.show_before),
            ("show-after", "Next", "PageDown", "The picture after", desk.show_after),
            (
                "accept",
                "Accept",
                "A",
                "Done, and on to the next; again: open",
                desk.accept,
            ),
            ("skip", "Skip", "S", "Leave out, and on; again: open", desk.skip),
        )

    def _lay_out(self) -> None:
        inside = QWidget()
        layout = QVBoxLayout(inside)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.addLayout(beside(self._open, self._masks))
        layout.addWidget(self._counts)
        layout.addWidget(self._bar)
        layout.addWidget(self._table, 1)
        layout.addWidget(self._unsure_first)
        layout.addWidget(self._segments_new)
        layout.addLayout(beside(self._propose, self._progress))
        layout.addLayout(beside(self._actions["show-before"], self._actions["show-after"]))
        layout.addLayout(beside(self._actions["accept"], self._actions["skip"]))
        layout.addWidget(self._status)
        scrolling(self, inside)

    def _connect(self) -> None:
        self._open.clicked.connect(self._choose_folder)
        self._masks.clicked.connect(self._choose_masks)
        self._table.wanted.connect(self.desk.show)
        self._unsure_first.toggled.connect(self._order)
        self._segments_new.toggled.connect(self._set_segments_new)
        self._propose.clicked.connect(self._start_or_cancel)
        self.desk.proposals.stepped.connect(self._progress.step)
        for name, _, key, _, function in self._keys():
            self._actions[name].clicked.connect(function)
            shortcut = QShortcut(QKeySequence(key), self)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(function)
        self.desk.changed.connect(self._follow)
        self.desk.told.connect(self._status.setText)
        self.desk.failed.connect(self._fail)
        self._viewer.layers.events.inserted.connect(self._bind_picture)
        self._workspace.mask_shown.connect(self._bind_mask)

    def _open_dock(self) -> Any:
        return self._viewer.window.add_plugin_dock_widget(PLUGIN, SEGMENT_DOCK)[1]

    @property
    def idle(self) -> bool:
        """Whether nothing is at work."""
        return self.desk.idle

    def _close_down(self) -> None:
        self._viewer.layers.events.inserted.disconnect(self._bind_picture)
        self._workspace.mask_shown.disconnect(self._bind_mask)
        self.desk.stop()

    def _bind_picture(self, event: Any) -> None:
        if self.desk.is_open(event.value):
            self._bind_keys(event.value)

    def _bind_mask(self, mask: Mask) -> None:
        if self.desk.shows(mask):
            self._bind_keys(mask.layer)

    def _bind_keys(self, layer: Layer) -> None:
        """Bind the keys on a picture or a mask, for when the canvas has the focus."""
        for _, title, key, help_text, function in self._keys():

            def press(layer: Any, function: Any = function) -> None:
                function()

            press.__doc__ = f"{title}: {help_text}."
            layer.bind_key(key, press, overwrite=True)

    def _choose_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "A folder of pictures")
        if folder:
            self.desk.open_folder(Path(folder))

    def _choose_masks(self) -> None:
        known = self.desk.folder
        if known is None:
            self._status.setText("Open a folder of pictures first.")
            return
        begin = str(known.proposals or known.pictures)
        folder = QFileDialog.getExistingDirectory(self, "A folder of masks made before", begin)
        if folder:
            self.desk.open_folder(known.pictures, known.results, Path(folder))

    def _start_or_cancel(self) -> None:
        if self.desk.proposals.running:
            self.desk.proposals.cancel()
        else:
            self.desk.propose_all()

    def _order(self, unsure_first: bool) -> None:
        self.desk.by_uncertainty = unsure_first
        self._table.choose(None)  # so that the picture that is open is seen where it is now
        self._follow()

    def _set_segments_new(self, wanted: bool) -> None:
        self.desk.segments_new = wanted

    def _follow(self) -> None:
        """Show the queue as it is now."""
        review, entry = self.desk.review, self.desk.entry
        self._propose.setText("Cancel" if self.desk.proposals.running else "Propose for all new")
        if not self.desk.proposals.running:
            self._progress.rest()
        with QSignalBlocker(self._unsure_first):
            self._unsure_first.setChecked(self.desk.by_uncertainty)
        self._table.queue.show(self.desk.entries)
        for button in self._actions.values():
            button.setEnabled(entry is not None)
        self._table.choose(entry.picture if entry is not None else None)
        if review is None:
            self._counts.setText("No folder is open.")
            self._bar.setValue(0)
            return
        counts = review.counts()
        done = counts[State.ACCEPTED] + counts[State.SKIPPED]
        self._bar.setRange(0, len(review.entries))
        self._bar.setValue(done)
        words = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        rate, left = review.seconds_per_picture, review.remaining_seconds
        pace = ""
        if rate is not None and left is not None:
            pace = f"\n{duration(rate)} a picture, about {duration(left)} left"
        self._counts.setText(f"{words} of {len(review.entries)}{pace}")

    def _fail(self, error: Exception) -> None:
        self._status.setText(tell(error))


def _short(key: str) -> str:
    """A key as a narrow button can name it."""
    return key.replace("Page", "Pg").replace("Down", "Dn")
