"""Masks that somebody painted on, saved now and then in case the program ends."""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import platformdirs
from qtpy.QtCore import QObject, QTimer, Signal

from napari_cliper.annotation.class_edits import with_strays
from napari_cliper.files.indexed_png import save_labels
from napari_cliper.widgets import masks
from napari_cliper.widgets.latest import Latest
from napari_cliper.widgets.layers import KEY
from napari_cliper.widgets.planes import digest

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_cliper.widgets.masks import Mask


def folder() -> Path:
    """Where autosaved masks lie, a folder for each picture."""
    return Path(platformdirs.user_data_dir("napari-cliper")) / "autosave"


class Autosave(QObject):
    """Saves the refined masks of a viewer that were painted on and changed since.

    Parameters
    ----------
    viewer : Viewer
    minutes : float
        Between two saves; 0 for none.
    """

    failed = Signal(object)

    def __init__(self, viewer: Viewer, minutes: float, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._saved: dict[Path, str] = {}
        self._latest = Latest(self)
        self._latest.failed.connect(self.failed)
        self._timer = QTimer(self)
        self._timer.timeout.connect(self.save)
        if minutes > 0:
            self._timer.start(round(minutes * 60_000))

    @property
    def idle(self) -> bool:
        """Whether nothing is being written."""
        return self._latest.idle

    def save(self) -> None:
        """Save now, in a thread."""
        if not self._latest.idle:
            return  # the disk is slow: the next time will do
        writes = [self._write(mask) for mask in masks.masks(self._viewer) if _is_worth_it(mask)]
        if writes:
            self._latest.ask(lambda: [write() for write in writes], lambda _: None)

    def stop(self) -> None:
        """Save no more: the dock goes."""
        self._timer.stop()
        self._latest.stop()

    def _write(self, mask: Mask) -> Callable[[], None]:
        """What saves a mask as it is now, unless it was saved like that."""
        labels, classes, path = mask.layer.data.copy(), mask.classes, _path(mask)

        def write() -> None:
            found = digest(labels)
            if self._saved.get(path) != found:
                everything = with_strays(classes, np.unique(labels).tolist())
                save_labels(path, labels, everything, overwrite=True)
                self._saved[path] = found

        return write


def _is_worth_it(mask: Mask) -> bool:
    return mask.layer.metadata[KEY]["role"] == "refined" and mask.painted.count() > 0


def _path(mask: Mask) -> Path:
    """A folder of its own for each plane: names may be alike, and may be no file's."""
    plane = "/".join(mask.layer.metadata[KEY]["plane"])
    name = re.sub(r"[^\w.-]+", "_", mask.layer.name.removesuffix(" [refined]"))[:60] or "picture"
    return folder() / f"{name}-{sha256(plane.encode()).hexdigest()[:8]}" / "labels.png"
