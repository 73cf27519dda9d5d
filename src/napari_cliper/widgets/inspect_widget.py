"""The dock “Inspect attention”: where a point's attention goes, and what each layer sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtWidgets import (
    QCheckBox,
    QGridLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QSearchableComboBox

from napari_cliper.errors import NapariCliperError
from napari_cliper.models.presets import load_methods
from napari_cliper.widgets import inspection, warm_up, workspace
from napari_cliper.widgets.docking import Docking
from napari_cliper.widgets.jobs import Job
from napari_cliper.widgets.latest import Latest
from napari_cliper.widgets.layers import KEY, ResultLayer, show
from napari_cliper.widgets.live_attention import LiveAttention
from napari_cliper.widgets.parts import (
    TextLines,
    beside,
    folded,
    form,
    narrow,
    part,
    scrolling,
    tell,
)
from napari_cliper.widgets.picture_box import LAYER_EVENTS, PictureBox
from napari_cliper.widgets.progress import ProgressBar
from napari_cliper.widgets.segmentation import Request, encoding_of
from napari_cliper.widgets.side_by_side import SideBySide

if TYPE_CHECKING:
    import napari.viewer

    from napari_cliper.inspector import Inspector
    from napari_cliper.segmenter import Encoding
    from napari_cliper.widgets.planes import Plane
    from napari_cliper.widgets.segmentation import Scene

_NAME = Qt.ItemDataRole.UserRole
_CHECKED, _UNCHECKED = Qt.CheckState.Checked, Qt.CheckState.Unchecked

NOT_LOOKED = "Press “Look inside” first: every layer's attention is kept only if it is asked for."
NOTHING_FOUND = "Nothing was segmented here yet: do that first in “Segment with text”."
USUAL_METHODS = ("clip", "maskclip", "sclip", "clearclip", "cliper-star", "cliper")


class InspectWidget(QWidget):
    """Shows what the models look at, as layers over the picture.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        Its pictures are offered, and it gets the layers.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = napari_viewer
        self._workspace = workspace.of(napari_viewer)
        self._job = Job(self)
        self._latest = Latest(self)
        self._live = LiveAttention(napari_viewer, self)
        self._side_by_side = SideBySide(napari_viewer)
        self._inspector: Inspector | None = None
        self._plane: Plane | None = None  # the one that the inspector is of
        self._make_parts()
        self._lay_out()
        self._connect()
        Docking(self).left.connect(self._close_down)
        self._turn_to_picture()
        self._rest()
        QTimer.singleShot(0, warm_up.start)

    def _make_parts(self) -> None:
        self._picture = part(PictureBox(self._viewer), "inspect-image", "The picture to look into")
        self._start = part(
            QPushButton("Look inside"),
            "look",
            "Encode the picture so that every layer's attention is kept",
        )
        self._cancel = part(QPushButton("Cancel"), "inspect-cancel", "Stop before the next step")
        self._progress = part(ProgressBar(), "inspect-progress", "The step at work")
        self._status = part(TextLines(2), "inspect-status", "What is shown")
        self._view = part(QSearchableComboBox(), "view", "Whose attention is shown; type to search")
        self._follow = part(
            QCheckBox("Follow the mouse"),
            "follow",
            "Show the attention of the point under the mouse; a click pins it",
        )
        self._follow.setChecked(True)
        self._buttons = {
            name: part(QPushButton(title), name, help_text)
            for name, title, help_text in (
                (
                    "group",
                    "All heads",
                    "Where the point's attention goes in all maps of this kind, to scroll through",
                ),
                ("pinned", "Pinned points", "Where each pinned point's attention goes"),
                ("received", "Received", "How much attention each place draws"),
                (
                    "colours",
                    "Layer colours",
                    "What each layer sees, its three main directions as colours (PCA)",
                ),
                (
                    "likeness",
                    "Likeness",
                    "How alike the point in each layer is to all places in the last",
                ),
                ("scores", "Class maps", "Each class before and after compensation"),
                ("uncertainty", "Uncertainty", "Where the two best classes are close"),
            )
        }
        self._methods = part(QListWidget(), "methods", "The methods to compare")
        for name, method in load_methods().items():
            item = QListWidgetItem(f"{name}: {method.title}")
            item.setData(_NAME, name)
            item.setToolTip(method.source)
            item.setCheckState(_CHECKED if name in USUAL_METHODS else _UNCHECKED)
            self._methods.addItem(item)
        self._methods.setMaximumHeight(150)
        self._compare = part(
            QPushButton("Compare methods"),
            "compare",
            "Segment by each of them, with the words of “Segment with text”",
        )
        self._side = part(
            QCheckBox("Side by side"),
            "side-by-side",
            "Show one method a field; unticked, everything is as it was",
        )
        self._side.setEnabled(False)

    def _lay_out(self) -> None:
        narrow(self._picture)
        narrow(self._view)
        rows = form()
        rows.addRow("Picture", self._picture)
        rows.addRow(beside(self._start, self._cancel))
        rows.addRow(self._progress)
        rows.addRow(self._status)
        rows.addRow("Attention", self._view)
        rows.addRow(self._follow)
        grid = QGridLayout()
        for number, button in enumerate(self._buttons.values()):
            grid.addWidget(button, number // 2, number % 2)
        rows.addRow(QLabel("Add as layers"))
        rows.addRow(grid)
        methods = QWidget()
        below = QVBoxLayout(methods)
        below.setContentsMargins(0, 0, 0, 0)
        for widget in (self._methods, self._compare, self._side):
            below.addWidget(widget)
        inside = QWidget()
        layout = QVBoxLayout(inside)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.addLayout(rows)
        layout.addWidget(folded("Methods side by side", "comparison", methods, is_open=False))
        layout.addStretch()
        scrolling(self, inside)

    def _connect(self) -> None:
        self._job.stepped.connect(self._progress.step)
        self._job.succeeded.connect(lambda then: then())
        self._job.failed.connect(self._fail)
        self._job.ended.connect(self._rest)
        self._latest.failed.connect(self._fail)
        self._live.failed.connect(self._fail)
        self._live.pointed.connect(self._say_point)
        self._live.dismissed.connect(lambda: self._follow.setChecked(False))
        self._start.clicked.connect(self._look)
        self._cancel.clicked.connect(self._stop)
        self._picture.layer_changed.connect(self._turn_to_picture)
        self._workspace.model_changed.connect(self._turn_to_picture)
        self._view.currentTextChanged.connect(self._choose_view)
        self._follow.toggled.connect(self._set_following)
        for name, act in {
            "group": self._add_group,
            "pinned": self._add_pinned,
            "received": lambda: self._add(inspection.received_layer),
            "colours": lambda: self._add(inspection.colors_layer),
            "likeness": lambda: self._add(inspection.similarity_layer, self._live.point),
            "scores": self._add_scores,
            "uncertainty": self._add_uncertainty,
        }.items():
            self._buttons[name].clicked.connect(act)
        self._compare.clicked.connect(self._compare_methods)
        self._side.toggled.connect(self._side_by_side.show)
        for event in LAYER_EVENTS:
            getattr(self._viewer.layers.events, event).connect(self.reset_choices)
        self._viewer.dims.events.current_step.connect(self._follow_sliders)

    def reset_choices(self, event: Any = None) -> None:
        """Offer the pictures that are open now; napari, too, calls this when layers change."""
        self._picture.refresh()

    def event(self, event: QEvent | None) -> bool:
        """Leave the mouse alone while the dock is hidden."""
        if event is not None and event.type() in (QEvent.Type.Show, QEvent.Type.Hide):
            self._set_following()
        return bool(super().event(event))

    def _close_down(self) -> None:
        """Leave the viewer as it is without us."""
        self._job.cancel()
        self._progress.rest()
        self._live.stop()
        self._latest.stop()
        self._side.setChecked(False)
        for event in LAYER_EVENTS:
            getattr(self._viewer.layers.events, event).disconnect(self.reset_choices)
        self._viewer.dims.events.current_step.disconnect(self._follow_sliders)

    @property
    def idle(self) -> bool:
        """Whether nothing runs or is on its way to a layer."""
        return not self._job.running and self._latest.idle and self._live.idle

    # What is looked into

    def _turn_to_picture(self) -> None:
        """Another picture, plane or model: what was looked into is not what is shown."""
        self._inspector = self._plane = None
        self._live.look_into(None, None, None)
        self._view.clear()
        self._enable()

    def _look(self) -> None:
        try:
            plane = self._picture.plane()
        except NapariCliperError as error:
            self._fail(error)
            return
        self._start_job(self._encode(plane))

    def _encode(self, plane: Plane) -> Any:
        model, download = self._workspace.model, self._workspace.download
        encoding = yield from encoding_of(plane, model, download)
        return lambda: self._look_into(plane, encoding)

    def _look_into(self, plane: Plane, encoding: Encoding) -> None:
        from napari_cliper.inspector import Inspector

        if self._picture.layer is None or str(self._picture.layer.unique_id) != plane.picture:
            return
        self._inspector, self._plane = Inspector(encoding), plane
        self._live.look_into(self._picture.layer, plane, self._inspector)
        chosen = self._view.currentText()
        self._view.clear()
        names = [view.name for view in self._inspector.views]
        self._view.addItems(names)
        self._view.setCurrentIndex(max(self._view.findText(chosen), 0))
        self._status.setText("Move the mouse over the picture; click to pin a point.")
        self._enable()
        self._live.refresh()

    def _choose_view(self, name: str) -> None:
        if self._inspector is not None and self._view.findText(name) >= 0:
            line = self._view.lineEdit()
            if line is not None and not line.hasFocus():
                line.setCursorPosition(0)  # the beginning of a long name is shown
            self._live.view = name
            group = next(view.group for view in self._inspector.views if view.name == name)
            several = sum(view.group == group for view in self._inspector.views) > 1
            self._buttons["group"].setEnabled(several)
            self._live.refresh()

    def _set_following(self, _: Any = None) -> None:
        self._live.following = self._follow.isChecked() and self.isVisible()

    def _say_point(self, point: tuple[float, float]) -> None:
        self._status.setText(f"{self._live.view} at {point[0]:.0f}, {point[1]:.0f}")

    def _follow_sliders(self, event: Any = None) -> None:
        """Say which map of a stack of ours is shown; turn away from a plane that is not shown."""
        layer = self._viewer.layers.selection.active
        names = layer.metadata.get(KEY, {}).get("names", ()) if layer is not None else ()
        if names:
            step = round(float(layer.world_to_data(self._viewer.dims.point)[0]))
            self._status.setText(names[min(max(step, 0), len(names) - 1)])
        if self._plane is not None:
            now = self._picture.plane_or_none()
            if now is None or now.key != self._plane.key:
                self._turn_to_picture()

    # What is added

    def _add(self, prepare: Callable[..., ResultLayer], *arguments: Any) -> None:
        """Prepare a layer from the inspector in a thread, and show it."""
        inspector, plane = self._inspector, self._plane
        if inspector is None or plane is None:
            self._fail(NapariCliperError(NOT_LOOKED))
            return
        self._latest.ask(
            lambda: [prepare(inspector, *arguments)], lambda items: self._show(plane, items)
        )

    def _add_group(self) -> None:
        if self._inspector is None:
            self._fail(NapariCliperError(NOT_LOOKED))
            return
        name = self._view.currentText()
        group = next(view.group for view in self._inspector.views if view.name == name)
        self._add(inspection.group_layer, self._live.point, group)

    def _add_pinned(self) -> None:
        points = self._live.pinned
        if not points and self._inspector is not None:
            self._fail(NapariCliperError("No point is pinned: click on the picture first."))
        else:
            self._add(inspection.pinned_layer, points, self._view.currentText())

    def _scene(self) -> Scene | None:
        try:
            scene = self._workspace.scene(self._picture.plane())
        except NapariCliperError as error:
            self._fail(error)
            return None
        if scene is None:
            self._fail(NapariCliperError(NOTHING_FOUND))
        return scene

    def _add_scores(self) -> None:
        scene = self._scene()
        if scene is not None:
            self._latest.ask(
                lambda: inspection.score_layers(scene.scored),
                lambda items: self._show(scene.plane, items),
            )

    def _add_uncertainty(self) -> None:
        scene = self._scene()
        if scene is not None:
            self._latest.ask(
                lambda: [inspection.uncertainty_layer(scene.adjustment.label(scene.scored))],
                lambda items: self._show(scene.plane, items),
            )

    def _show(self, plane: Plane, items: list[ResultLayer]) -> None:
        for item in items:
            show(self._viewer, plane, item)

    # Methods side by side

    def _compare_methods(self) -> None:
        scene = self._scene()
        if scene is None:
            return
        rows = (self._methods.item(row) for row in range(self._methods.count()))
        chosen = [item.data(_NAME) for item in rows if item and item.checkState() == _CHECKED]
        if not chosen:
            self._fail(NapariCliperError("No method is ticked: tick those to compare."))
            return
        request = Request(
            scene.plane,
            scene.scored.classes,
            self._workspace.model,
            download=self._workspace.download,
        )
        self._start_job(self._compared(request, chosen))

    def _compared(self, request: Request, methods: list[str]) -> Any:
        found = yield from inspection.comparison(request, methods)
        items = [inspection.method_layer(*each) for each in found]
        return lambda: self._show_methods(request, items)

    def _show_methods(self, request: Request, items: list[ResultLayer]) -> None:
        self._side.setChecked(False)
        plane, classes = request.plane, request.classes
        self._side_by_side.take(plane, items, classes)
        self._side.setEnabled(True)
        self._side.setChecked(True)

    # The run

    def _start_job(self, steps: Any) -> None:
        if self._job.running:
            steps.close()
            return
        self._cancel.setEnabled(True)
        self._enable()
        self._progress.begin("Loading the libraries")
        self._job.start(steps)
        self._enable()

    def _stop(self) -> None:
        self._job.cancel()
        self._cancel.setEnabled(False)
        self._progress.say("Cancelling…")

    def _rest(self) -> None:
        self._cancel.setEnabled(False)
        self._progress.rest()
        self._enable()

    def _enable(self) -> None:
        """Let only that be pressed which can be done now."""
        free = not self._job.running
        self._start.setEnabled(free)
        self._compare.setEnabled(free)
        inside = self._inspector is not None
        self._view.setEnabled(inside)
        for name in ("group", "pinned", "received", "colours", "likeness"):
            self._buttons[name].setEnabled(inside)

    def _fail(self, error: Exception) -> None:
        self._status.setText(tell(error))
