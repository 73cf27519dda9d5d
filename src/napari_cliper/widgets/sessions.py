"""Sessions in the window: saved now and then and when it closes, and opened again."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs
from napari.layers import Image
from qtpy.QtCore import QObject, QTimer, Signal

from napari_cliper.annotation import session as saved_as
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.session import LoadedSession, MaskMaps, load_session
from napari_cliper.widgets import masks, session_layers, session_picture
from napari_cliper.widgets.kept_sessions import KeptSessions, Key
from napari_cliper.widgets.latest import Latest
from napari_cliper.widgets.segmentation import Adjustment

if TYPE_CHECKING:
    from napari.viewer import Viewer
    from numpy.typing import NDArray

    from napari_cliper.annotation.class_list import ClassList
    from napari_cliper.widgets.planes import Plane
    from napari_cliper.widgets.segmentation import Model
    from napari_cliper.widgets.workspace import Workspace


def usual_folder() -> Path:
    """Where sessions lie that nobody chose a place for."""
    return Path(platformdirs.user_data_dir("napari-cliper")) / "sessions"


@dataclass(frozen=True)
class Desk:
    """What lies on the first dock: class list, hidden classes, model."""

    classes: ClassList | None
    hidden: frozenset[int]
    model: Model


class Sessions(QObject):
    """Keeps a session folder for each picture of a viewer that somebody painted on.

    Parameters
    ----------
    viewer : Viewer
    workspace : Workspace
    desk : callable
        Gives what lies on the first dock now.
    seconds : float
        Between two saves; 0 for none.
    """

    opened = Signal(object, object, bool)  # Session, Plane, adds_classes: for the first dock
    told = Signal(str)
    failed = Signal(object)

    def __init__(
        self,
        viewer: Viewer,
        workspace: Workspace,
        desk: Callable[[], Desk],
        seconds: float,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._viewer, self._workspace, self._desk = viewer, workspace, desk
        self._kept = workspace.kept
        self._failing: set[Key] = set()  # whose failure was told already
        self._leaving = False  # whether layers go because their picture is closed
        self._digests: dict[Key, tuple[Plane, str]] = {}
        self._latest, self._reading = Latest(self), Latest(self)
        for worker in (self._latest, self._reading):
            worker.failed.connect(self.failed)
        self._timer = QTimer(self)
        self._timer.timeout.connect(self.autosave)
        if seconds > 0:
            self._timer.start(round(seconds * 1000))
        viewer.layers.events.removing.connect(self._save_removed)

    @property
    def idle(self) -> bool:
        """Whether nothing is read or written."""
        return self._latest.idle and self._reading.idle

    def stop(self) -> None:
        """Save what is not saved yet, and no more: the dock goes."""
        self._viewer.layers.events.removing.disconnect(self._save_removed)
        self.save_at_once()
        self._timer.stop()
        self._latest.stop()
        self._reading.stop()

    # Saving

    def keep_in(self, plane: Plane, folder: Path) -> None:
        """Save a plane's layers into this folder, once there are any."""
        self._kept.folders[plane.key] = folder
        self._kept.chosen.add(plane.key)

    def save(self, plane: Plane, folder: Path, then: Callable[[], None] | None = None) -> None:
        """Save a plane's layers into this folder, from now on too.

        Parameters
        ----------
        plane : Plane
        folder : Path
        then : callable, optional
            Called when they are saved, in place of a word about it. Not called if they are not.
        """
        task = self._task(plane, folder)

        def work() -> None:
            if then is None:  # somebody chose the folder just now
                self._kept.check_free_for(plane.key, folder, task.picture())
            task.write()

        def done(_: Any) -> None:
            self.keep_in(plane, folder)
            self._note_saved(task)
            if then is None:
                self.told.emit(f"Saved {folder}")
            else:
                then()

        self._latest.ask(work, done)

    @contextmanager
    def leaving(self) -> Iterator[None]:
        """Layers that go meanwhile go because their picture is closed, saved."""
        self._leaving = True
        try:
            yield
        finally:
            self._leaving = False

    def autosave(self) -> None:
        """Save what was painted on, or has a chosen folder, and has changed since."""
        if not self._latest.idle:
            return  # the disk is slow: the next time will do
        tasks = self._due()
        if tasks:
            self._latest.ask(lambda: [(task, _tried(task)) for task in tasks], self._note_tried)

    def save_at_once(self) -> None:
        """The same, now, for the window closes, or a layer goes."""
        self._note_tried([(task, _tried(task)) for task in self._due()])

    def _note_tried(self, tried: list[tuple[_Task, NapariCliperError | None]]) -> None:
        for task, error in tried:
            if error is None:
                self._note_saved(task)
            elif task.key not in self._failing:  # told once, and not every time
                self._failing.add(task.key)
                self.failed.emit(error)

    def _note_saved(self, task: _Task) -> None:
        self._kept.saved[task.key] = task.state
        self._kept.orphaned.discard(task.key)
        self._failing.discard(task.key)

    def _save_removed(self, event: Any) -> None:
        layer = self._viewer.layers[event.index]
        if self._leaving or not session_layers.is_kept(layer):
            return
        self.save_at_once()
        painted = session_layers.is_painted
        self._kept.orphaned.update(k for k in session_layers.planes_of(layer) if painted(layer, k))

    def _due(self) -> list[_Task]:
        """What is to be saved."""
        due = []
        for plane in {m.plane.key: m.plane for m in masks.masks(self._viewer)}.values():
            key = plane.key
            wanted = self._timer.isActive() and self._is_painted(key)
            if key in self._kept.chosen or wanted:
                saved = self._kept.saved.get(key, {})
                # That a layer is gone is no news: nothing on disk is to be forgotten for that.
                if any(saved.get(name) != now for name, now in self._state(key).items()):
                    if key not in self._kept.folders:
                        name = " ".join(map(str, (plane.name, *plane.place)))
                        self._kept.folders[key] = _new_folder(name)
                    due.append(self._task(plane, self._kept.folders[key]))
        return due

    def _is_painted(self, key: Key) -> bool:
        layers = session_layers.label_layers(self._viewer, key)
        return any(session_layers.is_painted(layer, key) for layer in layers)

    def _state(self, key: tuple[str, ...]) -> dict[str, Any]:
        """Of each thing that a session holds, something that differs where it does."""
        state: dict[str, Any] = {
            "desk": self._desk(),
            "adjustment": self._workspace.adjustment(key),
            "seen": tuple(self._workspace.places.seen.get(key, ())),
            "folder": self._kept.folders.get(key),
        }
        for layer in session_layers.label_layers(self._viewer, key):
            mask = masks.on(layer, key)
            state[str(layer.unique_id)] = (
                mask.revision if mask is not None else zlib.crc32(layer.data),
                *(layer.name, layer.visible, layer.opacity, layer.contour, layer.selected_label),
            )
        return state

    def _task(self, plane: Plane, folder: Path) -> _Task:
        """What saves a plane's layers as they are now."""
        key = plane.key
        layers = session_layers.label_layers(self._viewer, key)
        known, layer = self._kept.pictures.get(key), self._picture(plane)
        size = layers[0].data.shape[-2:] if layers else (1, 1)
        source = session_picture.source_of(layer)

        def picture() -> saved_as.Picture:
            if layer is None and known is not None:  # it is not there any more
                return known
            found = saved_as.Picture(
                name=plane.name,
                sha256=self._known_digest(plane),
                size=(size[0], size[1]),
                place=plane.place,
                **source,
            )
            self._kept.pictures[key] = found
            return found

        return _Task(
            key,
            folder,
            picture,
            [
                (session_layers.looks_of(layer, key), session_layers.maps_of(layer, key))
                for layer in layers
            ],
            self._desk(),
            self._workspace.adjustment(key) or Adjustment(),
            tuple(self._workspace.places.seen.get(key, ())),
            self._state(key) | {"folder": folder},
            self._kept,
            next(self._kept.numbers),
            _new_folder(f"{plane.name} before") if key in self._kept.orphaned else None,
        )

    def _known_digest(self, plane: Plane) -> str:
        """Of a plane's pixels; they are read once for all saves."""
        known = self._digests.get(plane.key)
        if known is None or known[0] is not plane:
            try:
                found = plane.digest()
            except Exception:  # the file is gone: the strokes are to be saved nevertheless
                found = ""
            known = self._digests[plane.key] = plane, found
        return known[1]

    def _picture(self, plane: Plane) -> Image | None:
        return next(
            (layer for layer in self._viewer.layers if str(layer.unique_id) == plane.picture), None
        )

    # Opening

    def open(self, folder: Path) -> None:
        """Bring back what a session holds."""
        candidates = session_picture.planes(self._viewer)

        def read() -> tuple[LoadedSession, Plane | None, NDArray[Any] | None]:
            loaded = load_session(folder)
            wanted = loaded.session.picture
            plane = session_picture.same(candidates, wanted)
            pixels = session_picture.read_again(wanted) if plane is None else None
            return loaded, plane, pixels

        self._reading.ask(read, lambda found: self._show(folder, *found))

    def _show(
        self,
        folder: Path,
        loaded: LoadedSession,
        plane: Plane | None,
        pixels: NDArray[Any] | None,
    ) -> None:
        remark = ""
        if plane is None:
            wanted = loaded.session.picture
            plane, remark = session_picture.open_picture(self._viewer, wanted, pixels)
        painted = [
            layer.name
            for layer in session_layers.label_layers(self._viewer, plane.key)
            if session_layers.is_painted(layer, plane.key)
        ]
        if painted:
            self.failed.emit(
                NapariCliperError(
                    f"“{painted[0]}” holds strokes of yours: save and delete that layer first, "
                    "then open the session."
                )
            )
            return
        self.restore(plane, loaded, folder if folder.is_dir() else folder.parent)
        self.told.emit(remark or f"Opened {folder}")

    def restore(
        self, plane: Plane, loaded: LoadedSession, folder: Path, adds_classes: bool = False
    ) -> None:
        """Show on a plane what was saved in a folder, and go on saving there.

        Parameters
        ----------
        plane : Plane
        loaded : LoadedSession
        folder : Path
        adds_classes : bool
            Whether classes of the first dock that the session has not are added to its own; else
            the session's list is taken as it is.
        """
        session = loaded.session
        with self.leaving():
            for mask, maps in zip(session.masks, loaded.maps, strict=True):
                session_layers.restore(
                    self._viewer, self._workspace, plane, mask, maps, session.hidden
                )
        self._workspace.places.seen[plane.key] = list(session.seen)
        adjustment = Adjustment(**session.adjustment.model_dump())
        self._workspace.remember_adjustment(plane.key, adjustment)
        self.keep_in(plane, folder)
        self._kept.pictures[plane.key] = session.picture
        self.opened.emit(session, plane, adds_classes)
        self._kept.saved[plane.key] = self._state(plane.key)


@dataclass(frozen=True, eq=False)
class _Task:
    """One state of a plane that is to be saved; may be done in a thread."""

    key: Key
    folder: Path
    picture: Callable[[], saved_as.Picture]
    layers: list[tuple[session_layers.Looks, MaskMaps]]
    desk: Desk
    adjustment: Adjustment
    seen: tuple[tuple[int, int], ...]
    state: dict[str, Any]
    kept: KeptSessions
    number: int
    copy_to: Path | None

    def write(self) -> None:
        """Save it.

        Raises
        ------
        NapariCliperError
        """
        notes = saved_as.Notes(
            saved=datetime.now(UTC),
            versions=session_layers.versions(),
            picture=self.picture(),
            classes=self.desk.classes,
            hidden=tuple(sorted(self.desk.hidden)),
            model=saved_as.Model(**asdict(self.desk.model)),
            adjustment=saved_as.Adjustment(**asdict(self.adjustment)),
            seen=self.seen,
        )
        layers = [(session_layers.notes_of(looks, maps), maps) for looks, maps in self.layers]
        self.kept.write(self.number, self.folder, notes, layers, self.copy_to)


def _tried(task: _Task) -> NapariCliperError | None:
    """What kept a state from being saved."""
    try:
        task.write()
    except NapariCliperError as error:
        return error
    return None


def _new_folder(name: str) -> Path:
    """A folder that no other session has: what was saved before stays."""
    plain = re.sub(r"[^\w.-]+", "_", name)[:60].strip(".") or "picture"
    moment = datetime.now().astimezone().strftime("%Y-%m-%d %H.%M.%S")
    place = usual_folder() / f"{plain} {moment}"
    number = 1
    while place.exists() or place in _given:
        number += 1
        place = usual_folder() / f"{plain} {moment} {number}"
    _given.add(place)
    return place


_given: set[Path] = set()
