"""The dock “Segment large pictures”: window by window, what is large or has small things in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Labels
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QLineEdit,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_cliper.errors import NapariCliperError
from napari_cliper.files.layer_data import CLASSES
from napari_cliper.models.paths import path_of
from napari_cliper.widgets import masks, warm_up, workspace
from napari_cliper.widgets.batch_widget import SEGMENT_DOCK
from napari_cliper.widgets.docking import Docking
from napari_cliper.widgets.inspect_toggle import PLUGIN
from napari_cliper.widgets.jobs import Job
from napari_cliper.widgets.large_run import (
    Asked,
    Stored,
    copy_to_paint,
    placement,
    segment_large,
    usual_output,
    windows,
)
from napari_cliper.widgets.latest import Latest
from napari_cliper.widgets.layers import KEY, dress, find, kept_selection, make
from napari_cliper.widgets.mask_view import MaskView
from napari_cliper.widgets.parts import TextLines, beside, form, narrow, part, scrolling, tell
from napari_cliper.widgets.picture_box import LAYER_EVENTS, PictureBox
from napari_cliper.widgets.planes import levels
from napari_cliper.widgets.progress import ProgressBar
from napari_cliper.widgets.segmentation import Request, Segmented
from napari_cliper.widgets.session_picture import source_of

if TYPE_CHECKING:
    import napari.viewer
    from napari.layers import Layer
    from numpy.typing import NDArray

    from napari_cliper.cliper.steps import Steps
    from napari_cliper.widgets.planes import Plane
    from napari_cliper.widgets.segment_widget import SegmentWidget

LARGE = "Larger than memory: windows, stored as OME-Zarr"
DETAIL = "Small things: windows over the whole picture"
TO_PAINT = (
    "These labels are read from disk as they come into view, and cannot be painted on: press "
    "“Copy to paint on”, or segment a part with Where in the dock Segment with text."
)


STORED_IN = "stored in"  # the note in a layer's metadata of where its labels lie


class LargeWidget(QWidget):
    """Asks for a picture and its windows; words and models are the first dock's.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = napari_viewer
        self._masks = MaskView(napari_viewer, workspace.of(napari_viewer), self)
        self._job = Job(self)
        self._counting = Latest(self)
        self._copying = Latest(self)
        self._stored: Stored | None = None  # what the last run has brought
        self._source: Path | None = None  # the picture's file or folder
        self._seen: tuple[str, ...] = ()  # the plane that the form speaks of
        self._aside: list[tuple[int, Layer]] = []  # layers of labels that this run replaces
        self._segment: SegmentWidget | None = None  # whose words this run looks for
        self._cancelled = False
        self._ready: Stored | Segmented | None = None  # what a run has made when it ends
        self._make_parts()
        self._lay_out()
        self._connect()
        self._docking = Docking(self)
        self._docking.left.connect(self._close_down)
        self._turn_to_picture()
        self._rest()
        QTimer.singleShot(0, warm_up.start)

    def _make_parts(self) -> None:
        self._picture = part(
            PictureBox(self._viewer),
            "large-picture",
            "The picture to segment; of a stack, the plane shown",
        )
        self._purpose = part(
            QComboBox(),
            "large-purpose",
            "The first for pictures of any size, whose labels go to disk; the second for pictures "
            "of usual size, whose labels are the masks of the dock Segment with text",
        )
        self._purpose.addItems([LARGE, DETAIL])
        self._window = part(
            QSpinBox(),
            "large-window",
            "Pixels of a window’s side. Smaller ones show smaller things, and less of large ones; "
            "each takes as long as a picture",
        )
        self._window.setRange(0, 1_000_000)
        self._window.setSpecialValueText("usual")
        self._count = part(TextLines(1), "large-count", "How many windows there are, and how large")
        self._output = part(
            QLineEdit(), "large-output", "The folder for the labels; its name ends in .zarr"
        )
        self._browse = part(QPushButton("…"), "large-browse", "Choose a folder for the labels")
        self._overwrite = part(
            QCheckBox("Replace what is there"),
            "large-overwrite",
            "Labels that a run has stored under this name are replaced; other folders never",
        )
        self._start = part(QPushButton("Start"), "large-start", "Segment the picture")
        self._progress = part(ProgressBar(), "large-progress", "Which window is looked at")
        self._status = part(TextLines(8), "large-status", "What the last run found")
        self._copy = part(
            QPushButton("Copy to paint on"),
            "large-copy",
            "Add the finest copy of the stored labels that fits into memory as a layer of its own",
        )

    def _lay_out(self) -> None:
        self._browse.setMaximumWidth(32)
        rows = form()
        rows.addRow("Picture", narrow(self._picture))
        rows.addRow("For", narrow(self._purpose))
        rows.addRow("Window", self._window)
        rows.addRow(self._count)
        rows.addRow("Labels to", beside(self._output, self._browse))
        rows.addRow(self._overwrite)
        inside = QWidget()
        layout = QVBoxLayout(inside)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.addLayout(rows)
        layout.addWidget(self._start)
        layout.addWidget(self._progress)
        layout.addWidget(self._status)
        layout.addWidget(self._copy)
        layout.addStretch(1)
        scrolling(self, inside)

    def _connect(self) -> None:
        self._picture.layer_changed.connect(self._turn_to_picture)
        self._purpose.currentIndexChanged.connect(self._look)
        self._window.valueChanged.connect(self._look)
        self._counting.failed.connect(lambda error: self._count.setText("no such windows"))
        self._browse.clicked.connect(self._choose)
        self._start.clicked.connect(self._start_or_cancel)
        self._copying.failed.connect(self._fail)
        self._copy.clicked.connect(self._ask_for_copy)
        self._job.stepped.connect(self._progress.step)
        self._job.succeeded.connect(self._show)
        self._job.failed.connect(self._fail)
        self._job.ended.connect(self._end)
        for event in LAYER_EVENTS:
            getattr(self._viewer.layers.events, event).connect(self.reset_choices)
        self._viewer.dims.events.current_step.connect(self._look)

    def reset_choices(self, event: Any = None) -> None:
        """Offer the pictures that are open now; napari, too, calls this when layers change."""
        self._picture.refresh()

    def _close_down(self) -> None:
        self._cancelled = False  # nothing is told any more
        self._job.cancel()
        self._progress.rest()
        self._counting.stop()
        self._copying.stop()
        self._masks.stop()
        for event in LAYER_EVENTS:
            getattr(self._viewer.layers.events, event).disconnect(self.reset_choices)
        self._viewer.dims.events.current_step.disconnect(self._look)

    # The form

    @property
    def _to_disk(self) -> bool:
        return self._purpose.currentIndex() == 0

    @property
    def _window_asked(self) -> int | None:
        return self._window.value() or None

    def _plane(self) -> Plane:
        """What is shown of the picture, with as many pixels as its masks have that are there.

        Raises
        ------
        NapariCliperError
            No picture is open, or it is not shown as one can segment it.
        """
        plane = self._picture.plane()
        mask = masks.find_mask(self._viewer, plane)
        if mask is not None and self._picture.layer is not None:
            fitting = [size for size in levels(self._picture.layer) if size == mask.data.shape]
            plane = replace(plane, mask_size=fitting[0]) if fitting else plane
        return plane

    def _turn_to_picture(self) -> None:
        path = source_of(self._picture.layer)["path"]
        self._source = Path(path) if path is not None and Path(path).exists() else None
        self._look()

    def _look(self, event: Any = None) -> None:
        """Tell how many windows there would be, and where labels would go."""
        for widget in (self._output, self._browse, self._overwrite):
            widget.setEnabled(self._to_disk)
        try:
            plane = self._plane()
        except NapariCliperError:
            self._counting.forget()
            self._count.setText("")
            self._output.setPlaceholderText("")
            return
        if plane.key != self._seen:  # what may be replaced was another one's
            self._seen = plane.key
            self._overwrite.setChecked(False)
        usual = usual_output(self._source, plane.place)
        self._output.setPlaceholderText("NAME.zarr" if usual is None else str(usual))
        size = plane.full if self._to_disk else plane.size
        window = self._window_asked
        self._counting.ask(lambda: windows(size, window), self._tell_count)

    def _tell_count(self, known: tuple[int, int]) -> None:
        side, number = known
        self._count.setText(
            f"{number:,} windows of {side:,} pixels" if number > 1 else "the whole picture"
        )

    def _choose(self) -> None:
        begin = self._output.text() or self._output.placeholderText()
        name, _ = QFileDialog.getSaveFileName(
            self,
            "A folder for the labels",
            begin,
            "OME-Zarr (*.zarr)",
            options=QFileDialog.Option.DontConfirmOverwrite,
        )
        if name:
            self._output.setText(name if name.lower().endswith(".zarr") else f"{name}.zarr")

    # The run

    def _start_or_cancel(self) -> None:
        if self._job.running:
            self._cancelled = True
            self._job.cancel()
            self._progress.say("Cancelling…")
            self._status.setText("Cancelled: nothing is added, and the disk is as it was.")
            return
        try:
            asked = self._asked()
        except NapariCliperError as error:
            self._fail(error)
            return
        self._status.setText("")
        self._progress.begin("Loading the libraries")
        self._cancelled = False
        self._lay_aside(asked)
        self._job.start(self._steps(asked))
        self._rest()

    def _lay_aside(self, asked: Asked) -> None:
        """Take layers away that read what is replaced: they would show a mixture."""
        if not asked.overwrite:
            return
        place = str(asked.output)
        layers = enumerate(self._viewer.layers)
        self._aside = [(at, one) for at, one in layers if _stored_in(one) == place]
        for _, layer in self._aside:
            self._viewer.layers.remove(layer)

    def _steps(self, asked: Asked) -> Steps[Stored | Segmented]:
        self._ready = yield from segment_large(asked)
        return self._ready

    def _asked(self) -> Asked:
        """What the form says.

        Raises
        ------
        NapariCliperError
            Picture, words or folder are missing; or painted pixels do not go with the words.
        """
        plane = self._plane()
        segment = self._segment = self._first_dock()
        request = Request(
            plane, segment.commit(), segment.model, segment.adjustment, segment.download
        )
        if not self._to_disk:
            self._masks.check(plane, request.classes)
            return Asked(request, self._window_asked)
        source = self._source
        given = self._output.text().strip()
        output = path_of(given) if given else usual_output(source, plane.place)
        if output is not None and not output.is_absolute():
            output = None if source is None else source.parent / output
        if output is None:
            raise NapariCliperError(
                f"“{plane.name}” comes from no file: write where its labels go, the whole path of "
                "a folder that ends in “.zarr”."
            )
        return Asked(request, self._window_asked, output, self._overwrite.isChecked(), source)

    def _first_dock(self) -> SegmentWidget:
        """The dock with words and models; it is opened if it is not there."""
        segment = self._viewer.window.add_plugin_dock_widget(PLUGIN, SEGMENT_DOCK)[1]
        # Once it has its place: one that is opened raises itself.
        QTimer.singleShot(0, self._docking.come_forward)
        found: SegmentWidget = segment
        return found

    def _fail(self, error: Exception) -> None:
        self._status.setText(tell(error))

    def _show(self, found: Stored | Segmented) -> None:
        if isinstance(found, Segmented):
            segment = self._segment
            if segment is None or segment.closed:
                segment = self._first_dock()
            segment.show_segmented(found)
            self._status.setText(found.summary)
            return
        self._stored, self._aside = found, []
        with kept_selection(self._viewer):
            for item in found.layers:
                before = find(self._viewer, found.plane, item.role)
                layer = make(found.plane, item, Labels, placement(found.plane))
                layer.metadata[KEY][CLASSES] = found.result.classes.to_json()
                layer.metadata[KEY][STORED_IN] = str(found.result.path)
                if before is not None:  # of an earlier run, which nobody can have painted on
                    self._viewer.layers.remove(before)
                self._viewer.add_layer(layer)
        self._status.setText(f"{found.summary}\nStored in {found.result.path}.\n{TO_PAINT}")

    def _ask_for_copy(self) -> None:
        stored = self._stored
        if stored is not None:
            self._copying.ask(lambda: copy_to_paint(stored), lambda made: self._add(stored, *made))

    def _add(self, stored: Stored, labels: NDArray[Any], factor: int) -> None:
        """Add a copy of stored labels that can be painted on."""
        plane, classes = stored.plane, stored.result.classes
        layer = Labels(
            labels,
            name=f"{plane.name} [large copy]",
            opacity=0.5,
            metadata={KEY: {CLASSES: classes.to_json()}},
            **dress(classes),
            **placement(plane, factor),
        )
        self._viewer.add_layer(layer)
        self._status.setText(
            f"“{layer.name}” has {labels.shape[-1]:,} × {labels.shape[-2]:,} pixels, and is yours: "
            "what is on disk stays as it is."
        )

    def _end(self) -> None:
        """Tell of labels that were on disk already when somebody pressed Cancel."""
        ready, self._ready = self._ready, None
        if self._cancelled and isinstance(ready, Stored):
            self._show(ready)
            self._status.setText(f"Too late to be cancelled.\n{self._status.text()}")
        for at, layer in self._aside:  # what it reads is there as it was
            self._viewer.layers.insert(at, layer)
        self._aside = []
        self._rest()

    def _rest(self) -> None:
        """Show whether something is at work."""
        running = self._job.running
        self._start.setText("Cancel" if running else "Start")
        self._copy.setEnabled(not running and self._stored is not None)
        if not running:
            self._progress.rest()


def _stored_in(layer: Layer) -> str:
    return str(layer.metadata.get(KEY, {}).get(STORED_IN, ""))
