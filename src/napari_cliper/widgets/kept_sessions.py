"""What is known of a viewer's sessions, which outlives the dock that saves them."""

from __future__ import annotations

import itertools
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_cliper.annotation.session import MaskNotes, Notes, Picture
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.session import MaskMaps, is_session, read_session, save_session

Key = tuple[str, ...]


@dataclass
class KeptSessions:
    """Of planes, by their keys.

    Attributes
    ----------
    folders : dict of Path
        Where each is saved.
    chosen : set
        Those whose folder somebody chose.
    saved : dict
        What each was like when it was saved.
    pictures : dict of Picture
        What each plane's picture was when it was last saved or opened.
    orphaned : set
        Those whose painted mask was deleted: their folder is copied before it is written again.
    """

    folders: dict[Key, Path] = field(default_factory=dict)
    chosen: set[Key] = field(default_factory=set)
    saved: dict[Key, Any] = field(default_factory=dict)
    pictures: dict[Key, Picture] = field(default_factory=dict)
    orphaned: set[Key] = field(default_factory=set)
    numbers: Iterator[int] = field(default_factory=itertools.count)
    _last: dict[Path, int] = field(default_factory=dict)
    # A thread may still write when the window closes, or other proposals are being made.
    lock: threading.RLock = field(default_factory=threading.RLock)

    def write(
        self,
        number: int,
        folder: Path,
        notes: Notes,
        masks: list[tuple[MaskNotes, MaskMaps]],
        copy_to: Path | None = None,
    ) -> None:
        """Save one state, unless a newer one was saved in this folder meanwhile.

        Parameters
        ----------
        number : int
            From `numbers`, taken when the state was.
        folder : Path
        notes : Notes
        masks : list of (MaskNotes, MaskMaps)
        copy_to : Path, optional
            Where what the folder holds now is kept first.

        Raises
        ------
        NapariCliperError
        """
        with self.lock:
            if number < self._last.get(folder, -1):
                return
            if copy_to is not None and is_session(folder):
                try:
                    shutil.copytree(folder, copy_to)
                except OSError as error:
                    raise NapariCliperError(
                        f"“{folder}” cannot be copied to “{copy_to}” ({error.strerror or error}): "
                        "make room, or save the session in another folder."
                    ) from error
            save_session(folder, notes, masks)
            self._last[folder] = number

    def check_free_for(self, key: Key, folder: Path, picture: Picture) -> None:
        """Refuse a folder that holds another picture's session.

        Raises
        ------
        NapariCliperError
        """
        there = read_session(folder)
        other = any(kept == folder and other != key for other, kept in self.folders.items())
        mine = there is None or (
            there.picture.place == picture.place
            and (
                there.picture.sha256 == picture.sha256
                or (picture.path is not None and there.picture.path == picture.path)
            )
        )
        if other or not mine:
            name = there.picture.name if there is not None else "another picture"
            raise NapariCliperError(
                f"“{folder}” holds the session of “{name}”: choose another folder."
            )
