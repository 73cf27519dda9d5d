"""Proposals for all new pictures of a review queue, made in the background."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_cliper.widgets.jobs import Job
from napari_cliper.widgets.proposing import propose_all

if TYPE_CHECKING:
    from napari_cliper.annotation.class_list import ClassList
    from napari_cliper.annotation.review import Entry
    from napari_cliper.files.review import ReviewFolder
    from napari_cliper.widgets.kept_sessions import KeptSessions
    from napari_cliper.widgets.segment_widget import SegmentWidget


class Proposals(QObject):
    """Makes proposals one after the other; those that are made stay when it is cancelled."""

    stepped = Signal(object)  # Step
    proposed = Signal(object, str, float)  # ReviewFolder, picture, mean uncertainty
    told = Signal(str)
    failed = Signal(object)
    ended = Signal()

    def __init__(self, kept: KeptSessions, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._kept = kept
        self._folder: ReviewFolder | None = None
        self._made: deque[tuple[str, float]] = deque()
        self._job = Job(self)
        self._job.stepped.connect(self._pass_on)
        self._job.stepped.connect(self.stepped)
        self._job.succeeded.connect(self._tell)
        self._job.failed.connect(self.failed)
        self._job.ended.connect(self._end)

    @property
    def running(self) -> bool:
        """Whether pictures are segmented."""
        return self._job.running

    def start(
        self,
        folder: ReviewFolder,
        entries: Sequence[Entry],
        classes: ClassList,
        segment: SegmentWidget,
        is_open: Callable[[str], bool],
    ) -> None:
        """Begin; pictures that are open when their turn comes are left out."""
        self._folder = folder

        def save(entry: Entry, write: Callable[[], None]) -> bool:
            with self._kept.lock:
                if is_open(entry.picture) or folder.has_session(entry):
                    return False
                write()
                return True

        self._job.start(
            propose_all(
                folder,
                entries,
                classes,
                segment.model,
                segment.adjustment,
                segment.download,
                save,
                lambda *made: self._made.append(made),
            )
        )

    def cancel(self) -> None:
        """Make no more."""
        self._job.cancel()

    def _pass_on(self, step: Any = None) -> None:
        while self._made:
            self.proposed.emit(self._folder, *self._made.popleft())

    def _tell(self, failed: list[str]) -> None:
        self.told.emit("\n".join(failed) or "Every picture has a proposal.")

    def _end(self) -> None:
        self._pass_on()
        self.ended.emit()
