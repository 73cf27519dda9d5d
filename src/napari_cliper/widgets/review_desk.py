"""The work on a review queue: one picture after the other, timed, and the next one ready."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_cliper.annotation.review import Entry, Review, State, after, before, next_open
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.review import ReviewFolder, save_review
from napari_cliper.widgets import queued_picture, review_opening, workspace
from napari_cliper.widgets.jobs import Job
from napari_cliper.widgets.latest import Latest
from napari_cliper.widgets.proposals import Proposals
from napari_cliper.widgets.queued_picture import QueuedPicture
from napari_cliper.widgets.review_opening import Opened
from napari_cliper.widgets.segmentation import encode_ahead
from napari_cliper.widgets.shown_picture import ShownPicture

if TYPE_CHECKING:
    from napari.layers import Image
    from napari.viewer import Viewer

    from napari_cliper.widgets.masks import Mask
    from napari_cliper.widgets.segment_widget import SegmentWidget
    from napari_cliper.widgets.segmentation import Segmented

ALL_DONE = "Every picture of this folder is accepted or skipped."


class ReviewDesk(QObject):
    """Shows one picture of a folder at a time, with the dock “Segment with text” beside it.

    Attributes
    ----------
    folder : ReviewFolder or None
    review : Review or None
    entry : Entry or None
        The picture that is open.
    by_uncertainty : bool
        Whether the most uncertain pictures come first.
    segments_new : bool
        Whether a picture without a mask is segmented when it is opened.
    """

    changed = Signal()  # the list, its states, or the open picture
    told = Signal(str)
    failed = Signal(object)

    def __init__(
        self,
        viewer: Viewer,
        open_dock: Callable[[], SegmentWidget],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.folder: ReviewFolder | None = None
        self.review: Review | None = None
        self.entry: Entry | None = None
        self.by_uncertainty = False
        self.segments_new = True
        self._since = 0.0
        self._reading = Latest(self)
        self._writing = Latest(self)
        self._rating = Latest(self)
        for worker in (self._reading, self._writing, self._rating):
            worker.failed.connect(self.failed)
        self._reading.failed.connect(self._stay)
        self._ahead = Job(self)
        self.proposals = Proposals(workspace.of(viewer).kept, self)
        self.proposals.proposed.connect(self._note_proposed)
        self.proposals.told.connect(self.told)
        self.proposals.failed.connect(self.failed)
        self.proposals.ended.connect(self._end_proposing)
        self._going = False  # from one picture to another: the one is saved, the other read
        self._stopped = False
        self._next: tuple[QueuedPicture, Image] | None = None  # read and perhaps encoded
        self._reading_ahead = Latest(self)  # its faults are told when the picture's turn comes
        self._picture = ShownPicture(viewer, open_dock, self)
        self._picture.segmented.connect(self._note_proposal)
        self._picture.unsaved.connect(self._stay)
        self._picture.strokes.painted.connect(self._note_stroke)

    @property
    def idle(self) -> bool:
        """Whether nothing is read, written or worked out."""
        workers = (self._reading, self._writing, self._rating, self._reading_ahead)
        jobs = (self._ahead, self.proposals)
        return all(worker.idle for worker in workers) and not any(job.running for job in jobs)

    def stop(self) -> None:
        """Save, and work no more: the dock goes."""
        self._stopped = True
        self.save_at_once()
        self._ahead.cancel()
        self.proposals.cancel()
        for worker in (self._reading, self._writing, self._rating, self._reading_ahead):
            worker.stop()
        self._picture.stop()

    def save_at_once(self) -> None:
        """Save the time and the states now, for the window closes."""
        self._count_time()
        self._save_review(at_once=True)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The pictures in the order they are reviewed."""
        return self.review.ordered(self.by_uncertainty) if self.review is not None else ()

    def shows(self, mask: Mask) -> bool:
        """Whether this is a mask of the picture that is open."""
        return self._picture.has(mask)

    def is_open(self, layer: Any) -> bool:
        """Whether this layer is the picture that is open."""
        return self._picture.is_layer(layer)

    # The folder

    def open_folder(
        self, pictures: Path, results: Path | None = None, masks: Path | None = None
    ) -> None:
        """List a folder's pictures, and open the first that is to be reviewed.

        Parameters
        ----------
        pictures : Path
        results : Path, optional
            ``cliper-review`` in the pictures' folder unless given.
        masks : Path, optional
            A folder with masks made before, which the review remembers from then on.
        """

        def show(opened: Opened) -> None:
            self.folder, self.review = opened.folder, opened.review
            self.entry = None  # it is of the folder before
            if opened.review.pictures is not None:  # a run made it, to be looked at in this order
                self.by_uncertainty = True
            self._going = False
            self.changed.emit()
            if masks is not None:
                self._save_review()
            first = next_open(None, self.entries)
            remarks = [opened.remark, ALL_DONE if first is None else ""]
            if any(remarks):
                self.told.emit(" ".join(filter(None, remarks)))
            if first is not None:
                self.show(first.picture)

        def work() -> Opened:
            return review_opening.open_folder(pictures, results, masks)

        if self._going:
            return
        self.save_at_once()
        self.proposals.cancel()
        self._rating.forget()
        self._next = None  # it may have a mask now
        self._leave(lambda: self._reading.ask(work, show))

    # From picture to picture

    def show_after(self) -> None:
        """Open the picture after this one."""
        self._go(after)

    def show_before(self) -> None:
        """Open the picture before this one."""
        self._go(before)

    def _go(self, way: Callable[[str, tuple[Entry, ...]], Entry | None]) -> None:
        if self.entry is None or self._is_busy:
            return
        found = way(self.entry.picture, self.entries)
        if found is None:
            self.told.emit("There is no further picture this way.")
        else:
            self.show(found.picture)

    @property
    def _is_busy(self) -> bool:
        """Whether keys are to be ignored: two quick ones would decide on the next picture too."""
        return self._going or self._stopped

    def accept(self) -> None:
        """Call this picture done, and go on to the next one that is not."""
        self._decide(State.ACCEPTED)

    def skip(self) -> None:
        """Leave this picture out, and go on to the next one that is not done."""
        self._decide(State.SKIPPED)

    def _decide(self, state: State) -> None:
        if self.review is None or self.entry is None or self._is_busy:
            return
        self._picture.strokes.note()  # that were not told yet: they came before the decision
        picture, shown = self.entry.picture, self._picture
        if self.review.entry(picture).state is state:
            self._change(self.review.reopened(picture, shown.has_strokes, shown.has_masks))
            self.told.emit(f"{picture} is open again.")
            return
        decided = self.review.with_state(picture, state)
        following = next_open(picture, decided.ordered(self.by_uncertainty))

        def decide() -> None:
            assert self.review is not None
            self._change(self.review.with_state(picture, state))
            if following is not None:
                self._picture.close()
                self._read(following.picture)
            else:
                self._going = False
                self.told.emit(ALL_DONE)

        self._save(decide)

    def show(self, picture: str) -> None:
        """Open a picture, once the one before is saved."""
        if self.folder is not None and self.review is not None and not self._is_busy:
            self._leave(lambda: self._read(picture))

    def _read(self, picture: str) -> None:
        """Read a picture that is to be shown."""
        assert self.folder is not None
        assert self.review is not None
        self._going = True
        folder, entry = self.folder, self.review.entry(picture)
        self.entry = entry  # where it cannot be read, one goes on from here
        ready, self._next = self._next, None

        def show(read: QueuedPicture) -> None:
            self._going = False
            layer = ready[1] if ready is not None and ready[0] is read else _layer(read)
            self._put(read, layer)

        def work() -> QueuedPicture:
            if ready is not None and ready[0].path == folder.picture(entry):
                return ready[0]
            return queued_picture.read(folder, entry)

        self._reading.ask(work, show)

    def _stay(self, error: object = None) -> None:
        """Something could not be saved or read: the keys work again."""
        self._going = False
        self.changed.emit()

    def _leave(self, then: Callable[[], None]) -> None:
        """Save the open picture and close it; where that fails it stays."""

        def close() -> None:
            self._picture.close()
            then()

        self._save(close)

    def _save(self, then: Callable[[], None]) -> None:
        """Save the open picture."""
        self._going = True
        self._count_time()
        self._reading_ahead.forget()
        if self.folder is None or self.entry is None:
            then()
        else:
            self._picture.save(self.folder.session(self.entry), then)

    def _put(self, read: QueuedPicture, layer: Image) -> None:
        assert self.folder is not None
        self.entry = read.entry
        self._since = time.monotonic()
        self._picture.put(read, layer, self.folder.session(read.entry), self.segments_new)
        if read.changed:
            self.told.emit(f"{read.entry.picture} has changed since it was annotated: check it.")
        self.changed.emit()
        self._prepare_next()

    # The next one

    def _prepare_next(self) -> None:
        """Read and encode the picture that comes next, while a person looks at this one."""
        if self.folder is None or self.entry is None or self.proposals.running:
            return
        following = next_open(self.entry.picture, self.entries)
        if following is None or following.picture == self.entry.picture:
            return
        folder = self.folder

        def keep(read: QueuedPicture) -> None:
            layer = _layer(read)
            self._next = read, layer
            if read.session is None and read.proposal is None and not self._ahead.running:
                plane = queued_picture.plane_of(layer)
                self._ahead.start(encode_ahead(plane, self._picture.dock().model))

        self._reading_ahead.ask(lambda: queued_picture.read(folder, following), keep)

    # Proposals for all

    def propose_all(self) -> None:
        """Segment all new pictures in the background, as the first dock is set."""
        if self.folder is None or self.review is None:
            self.told.emit("Open a folder of pictures first.")
            return
        new = [
            entry
            for entry in self.review.entries
            if entry.state is State.NEW and not self._is_shown(entry.picture)
        ]
        if not new:
            self.told.emit("Every picture has a proposal already.")
            return
        try:
            classes = self._picture.dock().commit()
        except NapariCliperError as error:
            self.failed.emit(error)
            return
        self._ahead.cancel()
        self._next = None
        self.proposals.start(self.folder, new, classes, self._picture.dock(), self._is_shown)
        self.changed.emit()

    def _is_shown(self, picture: str) -> bool:
        return self.entry is not None and self.entry.picture == picture

    def _note_proposed(self, folder: ReviewFolder, picture: str, uncertainty: float) -> None:
        if self.review is not None and folder is self.folder:
            review = self.review.with_proposals([picture])
            self._change(review.with_uncertainty(picture, uncertainty))

    def _end_proposing(self) -> None:
        self.changed.emit()
        self._prepare_next()

    # What is known of the open picture

    def _note_stroke(self) -> None:
        """A person painted on the open picture: it is corrected, whatever it was."""
        if self.review is not None and self.entry is not None:
            self._change(self.review.with_stroke(self.entry.picture))

    def _note_proposal(self, segmented: Segmented) -> None:
        """The open picture was segmented: how uncertain is that."""
        if self.entry is None:
            return
        picture, folder = self.entry.picture, self.folder

        def note(value: float) -> None:
            if self.review is not None and self.folder is folder:
                review = self.review.with_proposals([picture])
                self._change(review.with_uncertainty(picture, value))

        self._rating.ask(lambda: queued_picture.uncertainty_of(segmented.scene), note)

    def _count_time(self) -> None:
        if self.review is not None and self.entry is not None:
            seconds = time.monotonic() - self._since
            self._since = time.monotonic()
            self.review = self.review.with_seconds(self.entry.picture, seconds)

    def _change(self, review: Review) -> None:
        self.review = review
        self.changed.emit()
        self._save_review()

    def _save_review(self, at_once: bool = False) -> None:
        folder, review = self.folder, self.review
        if folder is None or review is None:
            return
        if at_once:
            try:
                save_review(folder, review)
            except NapariCliperError as error:
                self.failed.emit(error)
        else:
            self._writing.ask(lambda: save_review(folder, review), lambda _: None)


def _layer(read: QueuedPicture) -> Image:
    return queued_picture.picture_layer(read.entry.picture, read.pixels, read.path)
