"""Sessions in the window: saved now and then and when it closes, and opened again."""

from __future__ import annotations

import re
import threading
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs
from napari.layers import Image
from qtpy.QtCore import QObject, QTimer, Signal

from napari_cliper.annotation import session as saved_as
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.session import LoadedSession, load_session, save_session
from napari_cliper.widgets import masks, session_layers, session_picture
from napari_cliper.widgets.latest import Latest
from napari_cliper.widgets.planes import digest
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

    opened = Signal(object)  # Session: the first dock is to take over what it says
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
        self._folders: dict[tuple[str, ...], Path] = {}
        self._chosen: set[tuple[str, ...]] = set()  # whose folder somebody chose
        self._saved: dict[tuple[str, ...], Any] = {}  # what it was like when it was saved
        self._digests: dict[tuple[str, ...], tuple[Plane, str]] = {}
        self._writing = threading.Lock()  # on closing, one may still be written in the thread
        self._latest = Latest(self)
        self._latest.failed.connect(self._fail)
        self._failing = False
        self._timer = QTimer(self)
        self._timer.timeout.connect(self.autosave)
        if seconds > 0:
            self._timer.start(round(seconds * 1000))
        viewer.layers.events.removing.connect(self._save_removed)

    @property
    def idle(self) -> bool:
        """Whether nothing is read or written."""
        return self._latest.idle

    def stop(self) -> None:
        """Save what is not saved yet, and no more: the dock goes."""
        self._viewer.layers.events.removing.disconnect(self._save_removed)
        self.save_at_once()
        self._timer.stop()
        self._latest.stop()

    # Saving

    def folder(self, plane: Plane) -> Path | None:
        """Where a plane's session lies, if it has one."""
        return self._folders.get(plane.key)

    def keep_in(self, plane: Plane, folder: Path) -> None:
        """Save a plane's layers into this folder, once there are any."""
        self._folders[plane.key] = folder
        self._chosen.add(plane.key)

    def save(self, plane: Plane, folder: Path, then: Callable[[], None] | None = None) -> None:
        """Save a plane's layers into this folder, from now on too.

        Parameters
        ----------
        plane : Plane
        folder : Path
        then : callable, optional
            Called when they are saved, in place of a word about it.
        """
        self._failing = False
        self.keep_in(plane, folder)
        write, state = self._write(plane.key)

        def done(_: Any) -> None:
            self._note_saved(plane.key, state)
            if then is None:
                self.told.emit(f"Saved {folder}")
            else:
                then()

        self._latest.ask(write, done)

    def autosave(self) -> None:
        """Save what was painted on, or has a chosen folder, and has changed since."""
        if not self._latest.idle:
            return  # the disk is slow: the next time will do
        work = self._due()
        if not work:
            return

        def done(_: Any) -> None:
            for key, _write, state in work:
                self._note_saved(key, state)

        self._latest.ask(lambda: [write() for _, write, _ in work], done)

    def save_at_once(self) -> None:
        """The same, now, for the window closes, or a layer goes."""
        if not self._timer.isActive():
            return  # nobody wants it
        for key, write, state in self._due():
            try:
                write()
            except NapariCliperError as error:
                self._fail(error)
            else:
                self._note_saved(key, state)

    def _save_removed(self, event: Any) -> None:
        if session_layers.is_kept(self._viewer.layers[event.index]):
            self.save_at_once()

    def _due(self) -> list[tuple[tuple[str, ...], Callable[[], Any], Any]]:
        """What is to be saved: plane, what does it, and what it is like now."""
        due = []
        refined = [m for m in masks.masks(self._viewer) if m.role == "refined"]
        for key in {mask.plane.key: None for mask in refined}:
            if key in self._chosen or self._is_painted(key):
                saved = self._saved.get(key, {})
                # That a layer is gone is no news: nothing on disk is to be forgotten for that.
                if any(saved.get(name) != now for name, now in self._state(key).items()):
                    due.append((key, *self._write(key)))
        return due

    def _is_painted(self, key: tuple[str, ...]) -> bool:
        return any(
            mask.plane.key == key and mask.painted.count() for mask in masks.masks(self._viewer)
        )

    def _state(self, key: tuple[str, ...]) -> dict[str, Any]:
        """Of each thing that a session holds, something that differs where it does."""
        state: dict[str, Any] = {
            "desk": self._desk(),
            "adjustment": self._workspace.adjustment(key),
            "seen": tuple(self._workspace.places.seen.get(key, ())),
            "folder": self._folders.get(key),
        }
        for layer in session_layers.label_layers(self._viewer, key):
            mask = masks.of(layer)
            state[str(layer.unique_id)] = (
                mask.revision if mask is not None else zlib.crc32(layer.data),
                *(layer.name, layer.visible, layer.opacity, layer.contour, layer.selected_label),
            )
        return state

    def _write(self, key: tuple[str, ...]) -> tuple[Callable[[], Any], Any]:
        """What saves a plane's layers as they are now, and what they are like."""
        layers = session_layers.label_layers(self._viewer, key)
        plane = next(m.plane for m in masks.masks(self._viewer) if m.plane.key == key)
        if key not in self._folders:
            self._folders[key] = _new_folder(plane.name)
        folder = self._folders[key]
        maps = [(session_layers.notes_of(layer), session_layers.maps_of(layer)) for layer in layers]
        size = layers[0].data.shape
        desk, adjustment = self._desk(), self._workspace.adjustment(key)
        source = session_picture.source_of(self._picture(plane))
        seen = tuple(self._workspace.places.seen.get(key, ()))
        state = self._state(key)

        def write() -> None:
            picture = saved_as.Picture(
                name=plane.name,
                sha256=self._known_digest(plane),
                size=(size[0], size[1]),
                place=plane.place,
                **source,
            )
            notes = saved_as.Notes(
                saved=datetime.now(UTC),
                versions=session_layers.versions(),
                picture=picture,
                classes=desk.classes,
                hidden=tuple(sorted(desk.hidden)),
                model=saved_as.Model(**asdict(desk.model)),
                adjustment=saved_as.Adjustment(**asdict(adjustment)),
                seen=seen,
            )
            with self._writing:
                save_session(folder, notes, maps)

        return write, state

    def _known_digest(self, plane: Plane) -> str:
        """Of a plane's pixels; they are read once for all saves."""
        known = self._digests.get(plane.key)
        if known is None or known[0] is not plane:
            scene = self._workspace.scene(plane)
            try:
                found = digest(plane.pixels())
            except Exception:  # the file is gone: the strokes are to be saved nevertheless
                found = scene.digest if scene is not None else ""
            known = self._digests[plane.key] = plane, found
        return known[1]

    def _picture(self, plane: Plane) -> Image | None:
        return next(
            (layer for layer in self._viewer.layers if str(layer.unique_id) == plane.picture), None
        )

    def _note_saved(self, key: tuple[str, ...], state: Any) -> None:
        self._saved[key] = state
        self._failing = False

    def _fail(self, error: Exception) -> None:
        """Say that saving fails, once and not every time."""
        if not self._failing:
            self.failed.emit(error)
        self._failing = self._timer.isActive()

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

        self._failing = False
        self._latest.ask(read, lambda found: self._show(folder, *found))

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
            mask.layer.name
            for mask in masks.masks(self._viewer)
            if mask.plane.key == plane.key and mask.painted.count()
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
        self, plane: Plane, loaded: LoadedSession, folder: Path, takes_desk: bool = True
    ) -> None:
        """Show on a plane what was saved in a folder, and go on saving there.

        Parameters
        ----------
        plane : Plane
        loaded : LoadedSession
        folder : Path
        takes_desk : bool
            Whether class list and model are to be the session's, too.
        """
        session = loaded.session
        for mask, maps in zip(session.masks, loaded.maps, strict=True):
            session_layers.restore(self._viewer, self._workspace, plane, mask, maps, session.hidden)
        self._workspace.places.seen[plane.key] = list(session.seen)
        adjustment = Adjustment(**session.adjustment.model_dump())
        self._workspace.remember_adjustment(plane.key, adjustment)
        self.keep_in(plane, folder)
        if takes_desk:
            self.opened.emit(session)
        self._saved[plane.key] = self._state(plane.key)


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
