"""The dock widget: words in, masks out, and everything an annotator changes about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_cliper.annotation import class_edits
from napari_cliper.annotation.class_list import ClassList
from napari_cliper.errors import NapariCliperError
from napari_cliper.widgets import warm_up, workspace
from napari_cliper.widgets.adjustment_panel import AdjustmentPanel
from napari_cliper.widgets.class_panel import ClassPanel
from napari_cliper.widgets.docking import Docking
from napari_cliper.widgets.encoded_mark import State
from napari_cliper.widgets.inspect_toggle import InspectToggle
from napari_cliper.widgets.layers import fitting_classes
from napari_cliper.widgets.mask_view import MaskView
from napari_cliper.widgets.model_panel import ModelPanel
from napari_cliper.widgets.parts import folded, part, scrolling
from napari_cliper.widgets.picture_box import LAYER_EVENTS
from napari_cliper.widgets.picture_panel import PicturePanel
from napari_cliper.widgets.removal_dialog import RemovalDialog
from napari_cliper.widgets.run_panel import RunPanel
from napari_cliper.widgets.saving_panel import SavingPanel
from napari_cliper.widgets.segmentation import (
    Adjustment,
    Model,
    PlanesDone,
    Request,
    Scene,
    Segmented,
    segmentation,
    segmentations,
)
from napari_cliper.widgets.sessions import Desk, Sessions

if TYPE_CHECKING:
    import napari.viewer
    from napari.layers import Image
    from numpy.typing import NDArray

    from napari_cliper.annotation.session import Session
    from napari_cliper.widgets.planes import Plane


class SegmentWidget(QWidget):
    """Segment a picture by the words that someone types.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        Its pictures are offered, and it gets the results.

    Attributes
    ----------
    sessions : Sessions
    closed : bool
        Whether its dock was closed.
    """

    segmented = Signal(object)  # Segmented: its masks are there

    def __init__(self, napari_viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = napari_viewer
        self._workspace = workspace.of(napari_viewer)
        self._masks = MaskView(napari_viewer, self._workspace, self)
        self._run_panel = RunPanel()
        self._job = self._run_panel.job
        seconds = self._workspace.preferences.autosave
        self.sessions = Sessions(napari_viewer, self._workspace, self._desk, seconds, self)
        self._agreed: ClassList | None = None  # the class list that the masks follow
        self._once_more = False  # words have changed that were not looked for yet
        self._starting = False
        self.closed = False
        self._wanted = False  # another run, when this one has ended
        self._make_parts()
        self._lay_out()
        self._connect()
        docking = Docking(self)
        docking.left.connect(self._close_down)
        docking.closing.connect(self.sessions.save_at_once)
        self._choose_model()
        self._turn_to_picture()
        self._rest()
        QTimer.singleShot(0, warm_up.start)  # not before the window is drawn

    def _make_parts(self) -> None:
        self._choice = PicturePanel(self._viewer, self._workspace)
        self._picture, self._encoded = self._choice.box, self._choice.encoded
        self._classes = ClassPanel(self._masks.painted_ids, self._usual_words)
        self._adjustment = AdjustmentPanel()
        self._model = ModelPanel(self._workspace.preferences)
        self._inspect = part(
            InspectToggle(self._viewer),
            "inspect",
            "Open or close the dock that shows where a point's attention goes",
        )
        self._saving = SavingPanel(self._viewer, self._picture, self._masks, self.sessions)

    def _lay_out(self) -> None:
        inside = QWidget()
        layout = QVBoxLayout(inside)
        layout.setContentsMargins(6, 6, 6, 6)
        for row in (
            self._choice,
            self._classes,
            self._run_panel,
            folded("Adjust", "adjust", self._adjustment),
            folded("Model", "model", self._model),
            self._saving,
            self._inspect,
        ):
            layout.addWidget(row)
        layout.setStretchFactor(self._classes, 1)
        scrolling(self, inside)

    def _connect(self) -> None:
        self._job.arrived.connect(self.show_segmented)
        self._job.succeeded.connect(self._show_result)
        self._job.failed.connect(self._look_no_more)
        self._job.ended.connect(self._rest)
        self._run_panel.submitted.connect(self.segment)
        self._run_panel.cancelled.connect(self._want_no_more)
        self._saving.told.connect(self._run_panel.say)
        self._saving.failed.connect(self._run_panel.fail)
        self.sessions.opened.connect(self._take_session)
        self._encoded.checked.connect(self._look_again_if_wanted)
        self._picture.layer_changed.connect(self._turn_to_picture)
        self._classes.submitted.connect(self.segment)
        self._choice.submitted.connect(self.segment)
        self._classes.changed.connect(self._follow_classes)
        self._classes.visibility_changed.connect(self._dress)
        self._classes.chosen.connect(
            lambda id_: self._masks.select(self._picture.plane_or_none(), id_)
        )
        self._classes.removal_asked.connect(self._remove_class)
        self._classes.failed.connect(self._run_panel.fail)
        self._adjustment.dragged.connect(lambda: self._adjust(settled=False))
        self._adjustment.settled.connect(lambda: self._adjust(settled=True))
        self._model.changed.connect(self._choose_model)
        self._masks.found.connect(self._classes.show_found)
        self._masks.label_selected.connect(self._classes.table.choose)
        self._masks.failed.connect(self._run_panel.fail)
        for event in LAYER_EVENTS:
            getattr(self._viewer.layers.events, event).connect(self.reset_choices)
        self._viewer.dims.events.current_step.connect(self._turn_to_plane)

    def reset_choices(self, event: Any = None) -> None:
        """Offer the pictures that are open now; napari, too, calls this when layers change."""
        self._picture.refresh()

    def _close_down(self) -> None:
        """Stop everything, and listen to the viewer no more."""
        self._once_more = False
        self._run_panel.stop()
        self.closed = True
        self._masks.stop()
        self.sessions.stop()
        self._choice.stop()
        for event in LAYER_EVENTS:
            getattr(self._viewer.layers.events, event).disconnect(self.reset_choices)
        self._viewer.dims.events.current_step.disconnect(self._turn_to_plane)

    @property
    def idle(self) -> bool:
        """Whether nothing runs, and no slider's move is on its way to the masks."""
        return not self._job.running and self._masks.idle and self.sessions.idle

    @property
    def model(self) -> Model:
        """The chosen model."""
        return self._model.model

    @property
    def adjustment(self) -> Adjustment:
        """What the sliders say."""
        return self._adjustment.adjustment

    @property
    def download(self) -> bool:
        """Whether weights may be fetched."""
        return self._model.download

    @property
    def has_words(self) -> bool:
        """Whether there is something to look for."""
        return bool(self._classes.text.toPlainText().strip())

    # The picture

    def show_picture(self, layer: Image) -> None:
        """Choose a picture of the viewer's."""
        self._picture.choose(layer)

    def show_proposal(
        self, plane: Plane, labels: NDArray[np.uint16], classes: ClassList | None
    ) -> None:
        """Show a label map that was made before, as if it were a run's."""
        if classes is None:
            ids = [id_ for id_ in np.unique(labels).tolist() if id_] or [1]
            known = self._classes.classes or ClassList.parse([f"label {ids[0]}"])
            classes = class_edits.with_strays(known, ids)
        if not self.has_words:
            self._classes.take(classes)
        self._masks.show_labels(plane, "refined", labels, classes, self._classes.hidden)

    def _turn_to_picture(self) -> None:
        layer = self._picture.layer
        if layer is not None:
            self._classes.text.offer(fitting_classes(layer))
        self._turn_to_plane()

    def _turn_to_plane(self, event: Any = None) -> None:
        plane = self._picture.plane_or_none()
        self._masks.turn_to(plane)
        known = self._workspace.adjustment(plane.key) if plane is not None else None
        if known is not None and not self._adjustment.sliding:
            self._adjustment.show_adjustment(known)

    # The classes

    def _usual_words(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        preset = self._model.preset
        return preset.background, preset.templates

    def _follow_classes(self) -> None:
        """Let the masks follow the class list; words that changed are looked for at once."""
        before, self._agreed = self._agreed, self._classes.classes
        self._masks.dress(before, self._agreed, self._classes.hidden)
        if self._agreed is not None and _asks_anew(before, self._agreed):
            self._once_more = not self._classes.naming
            if not self._job.running and not self._starting:
                self._look_again_if_wanted()

    def _dress(self) -> None:
        self._masks.dress(self._agreed, self._agreed, self._classes.hidden)

    def _look_again_if_wanted(self) -> None:
        """Segment anew, if words have changed and that costs next to nothing."""
        plane = self._picture.plane_or_none()
        if not self._once_more or self._job.running or plane is None:
            return
        scene = self._workspace.scene(plane)
        if self._encoded.state is State.ENCODED and scene is not None:
            self._segment_again(plane, scene)

    def _remove_class(self, id_: int) -> None:
        """Remove a class, with a question about its pixels if it has any."""
        try:
            classes = self._classes.commit()
        except NapariCliperError as error:
            self._run_panel.fail(error)
            return
        entry = next((entry for entry in classes if entry.id == id_), None)
        if entry is None:
            return
        pixels, painted = self._masks.pixels(entry)
        if pixels:
            dialog = RemovalDialog(entry, classes, pixels, painted, self)
            if not dialog.exec():
                return
            self._masks.replace(entry, dialog.chosen)
        self._classes.remove(id_)

    # The models

    def _choose_model(self) -> None:
        self._workspace.choose(self._model.model)
        self._workspace.download = self._model.download
        self._adjustment.set_defaults(*self._model.thresholds)

    # The run

    def segment(self) -> None:
        """Segment the chosen picture; if a run ends just now, as soon as it has."""
        if self._job.running:
            self._wanted = True
            return
        self._wanted = False
        self._run(self._choice.planes)

    def _segment_again(self, plane: Plane, scene: Scene) -> None:
        """Look for other words where these were looked for, in the plane that is shown alone."""
        same = replace(plane, mask_size=scene.plane.mask_size).part(scene.plane.region)
        self._run(lambda: [same])

    def _run(self, wanted: Callable[[], list[Plane]]) -> None:
        try:
            planes = wanted()
            request = Request(
                planes[0],
                self.commit(),
                self._model.model,
                self._adjustment.adjustment,
                self._model.download,
            )
            self._masks.check(planes[0], request.classes)
        except NapariCliperError as error:
            self._run_panel.fail(error)
            return
        requests = [replace(request, plane=plane) for plane in planes]
        steps = segmentations(requests) if len(planes) > 1 else segmentation(request)
        self._run_panel.start(steps, len(planes))

    def commit(self) -> ClassList:
        """Take over the classes as they are typed; that starts no run of its own.

        Raises
        ------
        NapariCliperError
            If they cannot be read.
        """
        self._starting = True
        try:
            return self._classes.commit()
        finally:
            self._starting = False
            self._once_more = False

    def cancel(self) -> None:
        """Stop the run, if there is one."""
        if self._job.running:
            self._run_panel.cancel()

    def _want_no_more(self) -> None:
        """After a run that was cancelled, none begins by itself."""
        self._wanted = False
        self._look_no_more()

    def _look_no_more(self) -> None:
        """Words that have changed wait for the button."""
        self._once_more = False

    def _show_result(self, found: Segmented | PlanesDone) -> None:
        if isinstance(found, Segmented):
            self.show_segmented(found)
        self._run_panel.say(found.summary)

    def show_segmented(self, segmented: Segmented) -> None:
        """Show a plane's masks and what was found, as those of a run of this dock."""
        self._masks.show(segmented, self._classes.hidden)
        self.segmented.emit(segmented)
        thresholds = segmented.scene.scored.thresholds
        self._adjustment.set_defaults(thresholds.presence, thresholds.background)
        plane = self._picture.plane_or_none()
        shown = plane is not None and plane.key == segmented.scene.plane.key
        if shown and self._adjustment.adjustment != segmented.scene.adjustment:
            self._adjust(settled=not self._adjustment.sliding)  # moved during the run

    def _adjust(self, settled: bool) -> None:
        plane = self._picture.plane_or_none()
        if plane is None:
            return
        if self._encoded.state is State.CHANGED:
            self._run_panel.say("The picture or the model has changed: press Segment.")
        else:
            self._masks.adjust(plane, self._adjustment.adjustment, settled)

    # Sessions

    def _desk(self) -> Desk:
        return Desk(self._classes.classes, self._classes.hidden, self._model.model)

    def _take_session(self, session: Session, plane: Plane, adds_classes: bool) -> None:
        """Let the dock show what a session was made with."""
        layer = next((x for x in self._viewer.layers if str(x.unique_id) == plane.picture), None)
        if layer is not None:
            self.show_picture(layer)
        classes, current = session.classes, self._classes.classes
        if adds_classes and current is not None:
            known = {name.casefold() for name in classes.names} if classes is not None else set()
            for entry in current:
                if entry.name.casefold() not in known:
                    classes = class_edits.with_entry(classes, entry)
        self._agreed = classes  # what other pictures' labels mean is not touched
        self._classes.take(classes)
        self._model.choose(Model(**session.model.model_dump()))
        self._classes.hide_classes(session.hidden)
        self._turn_to_picture()

    def _rest(self) -> None:
        """Wait for someone to press Segment."""
        self._encoded.look()  # and then for words that changed meanwhile
        if self._wanted:
            self.segment()


def _asks_anew(before: ClassList | None, after: ClassList) -> bool:
    """Whether a list asks something else of a picture than the one before: not its colours."""
    return before is None or any(
        getattr(before, name) != getattr(after, name)
        for name in ("prompts", "ids", "background", "templates")
    )
