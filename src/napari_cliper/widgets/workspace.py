"""What the docks of one viewer share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from qtpy.QtCore import QObject, Signal

from napari_cliper.models import weights
from napari_cliper.widgets import masks, segmentation
from napari_cliper.widgets.corrections import Corrections
from napari_cliper.widgets.kept_sessions import KeptSessions
from napari_cliper.widgets.mask_keys import bind_once
from napari_cliper.widgets.preferences import Preferences
from napari_cliper.widgets.unsure_places import UnsurePlaces

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_cliper.annotation.class_list import ClassList
    from napari_cliper.widgets.layers import ResultLayer
    from napari_cliper.widgets.masks import Mask
    from napari_cliper.widgets.planes import Plane
    from napari_cliper.widgets.segmentation import Adjustment, Model, Scene


SCENES = 50  # planes of which what was found is kept: a few megabytes each


class Workspace(QObject):
    """The chosen model, what was found in each picture, and what a person does about it.

    Attributes
    ----------
    preferences : Preferences
        As they were when the first dock was opened.
    model : Model
    download : bool
        Whether weights may be fetched.
    kept : KeptSessions
    corrections : Corrections
    places : UnsurePlaces
    """

    scene_changed = Signal()
    model_changed = Signal()
    mask_shown = Signal(object)  # Mask: it is there, or shows something else

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        viewer.layers.events.removed.connect(self._forget)
        self.preferences = chosen = Preferences.read()
        self.model = segmentation.Model(chosen.preset, chosen.device, precision=chosen.precision)
        self.download = False
        self._scenes: dict[tuple[str, ...], Scene] = {}
        self._adjustments: dict[tuple[str, ...], Adjustment] = {}
        self.kept = KeptSessions()
        self.corrections = Corrections(viewer)
        self.places = UnsurePlaces(viewer, self, self.corrections)
        viewer.dims.events.current_step.connect(self._turn)
        masks.Mask.history_limit = chosen.undo_limit * 1e9
        segmentation.encodings.limit = chosen.memory_limit * 1e9
        weights.prefer_cache_folder(chosen.cache_folder)

    def choose(self, model: Model) -> None:
        """Segment and inspect with this model from now on."""
        if model != self.model:
            self.model = model
            self.model_changed.emit()

    def scene(self, plane: Plane) -> Scene | None:
        """What was last found on this plane."""
        return self._scenes.get(plane.key)

    def adjustment(self, key: tuple[str, ...]) -> Adjustment | None:
        """With which a plane is shown, or was when its session was saved; None for neither."""
        scene = self._scenes.get(key)
        return scene.adjustment if scene is not None else self._adjustments.get(key)

    def remember_adjustment(self, key: tuple[str, ...], adjustment: Adjustment) -> None:
        """Let a plane that nothing was found on yet be shown with this."""
        self._adjustments[key] = adjustment

    def keep(self, scene: Scene) -> None:
        """Remember what was found on a plane."""
        self._scenes.pop(scene.plane.key, None)
        self._scenes[scene.plane.key] = scene
        while len(self._scenes) > SCENES:
            del self._scenes[next(iter(self._scenes))]
        self.scene_changed.emit()

    def show_mask(
        self, viewer: Viewer, plane: Plane, item: ResultLayer, classes: ClassList
    ) -> Mask:
        """Write a result into its layer, as of `masks.show_mask`, with all keys bound."""
        mask = masks.show_mask(viewer, plane, item, classes)
        bind_once(mask.layer, self.corrections, self.places)
        self.mask_shown.emit(mask)
        return mask

    def _turn(self, event: Any) -> None:
        """Another plane of a stack is shown: the outlined place was not on it."""
        self.places.leave()

    def _forget(self, event: Any) -> None:
        """Let go of what was found in a picture that is closed."""
        closed = str(event.value.unique_id)
        for key in [key for key in self._scenes if key[0] == closed]:
            del self._scenes[key]


_workspaces: WeakKeyDictionary[Viewer, Workspace] = WeakKeyDictionary()


def of(viewer: Viewer) -> Workspace:
    """The viewer's workspace."""
    viewer = getattr(viewer, "__wrapped__", viewer)  # each dock is given a proxy of its own
    if viewer not in _workspaces:
        _workspaces[viewer] = Workspace(viewer)
    return _workspaces[viewer]
