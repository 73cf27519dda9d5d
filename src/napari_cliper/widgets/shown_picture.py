"""The picture under review that lies in the viewer, with all that we made of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_cliper.widgets import queued_picture, session_layers, workspace
from napari_cliper.widgets.layers import KEY, is_ours
from napari_cliper.widgets.strokes import Strokes

if TYPE_CHECKING:
    from napari.layers import Image, Labels
    from napari.viewer import Viewer

    from napari_cliper.widgets.masks import Mask
    from napari_cliper.widgets.queued_picture import QueuedPicture
    from napari_cliper.widgets.segment_widget import SegmentWidget
    from napari_cliper.widgets.segmentation import Segmented


class ShownPicture(QObject):
    """Puts one picture at a time into the viewer, saves it, and takes it away again.

    Parameters
    ----------
    viewer : Viewer
    open_dock : callable
        Opens the dock “Segment with text”, or gives the one that is open.

    Attributes
    ----------
    strokes : Strokes
        On its masks.
    """

    segmented = Signal(object)  # Segmented: of this picture
    unsaved = Signal(object)  # what kept it from being saved; the dock tells a person

    def __init__(
        self,
        viewer: Viewer,
        open_dock: Callable[[], SegmentWidget],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._workspace = workspace.of(viewer)
        self._layer: Image | None = None
        self._open_dock = open_dock
        self._segment: SegmentWidget | None = None
        self.strokes = Strokes(viewer, self)
        self.dock()

    def stop(self) -> None:
        """Listen to nothing any more; the layers stay."""
        self._listen_to(None)
        self.strokes.stop()

    # The dock beside it

    def dock(self) -> SegmentWidget:
        """The dock “Segment with text”, opened again if somebody closed it."""
        if self._segment is None or self._segment.closed:
            self._listen_to(self._open_dock())
        assert self._segment is not None
        return self._segment

    def _listen_to(self, segment: SegmentWidget | None) -> None:
        if self._segment is not None:
            self._segment.segmented.disconnect(self._pass_on)
            self._segment.sessions.failed.disconnect(self.unsaved)
        self._segment = segment
        if segment is not None:
            segment.segmented.connect(self._pass_on)
            segment.sessions.failed.connect(self.unsaved)

    def _pass_on(self, segmented: Segmented) -> None:
        if self._layer is not None and segmented.scene.plane.picture == str(self._layer.unique_id):
            self.segmented.emit(segmented)

    # What is known of it

    def is_layer(self, layer: Any) -> bool:
        """Whether this layer is the picture."""
        return layer is self._layer

    def has(self, mask: Mask) -> bool:
        """Whether this is a mask of the picture."""
        return self._layer is not None and mask.plane.picture == str(self._layer.unique_id)

    @property
    def has_masks(self) -> bool:
        """Whether there is something to save."""
        return bool(self._masks)

    @property
    def has_strokes(self) -> bool:
        """Whether there is a person's work in its masks."""
        key = self._key
        return any(session_layers.is_painted(layer, key) for layer in self._masks if key)

    @property
    def _masks(self) -> list[Labels]:
        return session_layers.label_layers(self._viewer, self._key) if self._key else []

    @property
    def _key(self) -> tuple[str, ...]:
        """Its plane's; () where there is no picture."""
        return queued_picture.plane_of(self._layer).key if self._layer is not None else ()

    # Into the viewer and out of it

    def put(self, read: QueuedPicture, layer: Image, place: Path, segments: bool) -> None:
        """Show a picture that was read, and what was done to it before.

        Parameters
        ----------
        read : QueuedPicture
        layer : Image
            Of its pixels, in no viewer yet.
        place : Path
            Its session's folder; need not exist.
        segments : bool
            Whether it is segmented if it has no mask, and there are words to look for.
        """
        self._layer = layer
        self._viewer.add_layer(layer)
        self._viewer.reset_view()
        dock, plane = self.dock(), queued_picture.plane_of(layer)
        dock.show_picture(layer)
        dock.sessions.keep_in(plane, place)
        if read.session is not None:
            # The list of classes grows from picture to picture: an older one does not replace it.
            dock.sessions.restore(plane, read.session, place, adds_classes=True)
        elif read.proposal is not None:
            labels, classes = read.proposal
            dock.show_proposal(plane, labels, classes)
        elif segments and dock.has_words:
            dock.segment()
        self.strokes.watch(plane.key)

    def save(self, place: Path, then: Callable[[], None]) -> None:
        """Save it in this folder if there is a mask, then call; `unsaved` if that fails."""
        if self._layer is not None and self.has_masks:
            self.dock().sessions.save(queued_picture.plane_of(self._layer), place, then)
        else:
            then()

    def close(self) -> None:
        """Take it and all that we made of it out of the viewer."""
        layer, self._layer = self._layer, None
        dock = self.dock()
        dock.cancel()
        self._workspace.corrections.drop()
        self.strokes.watch(None)
        if layer is None:
            return
        key = str(layer.unique_id)
        with dock.sessions.leaving():
            for other in list(self._viewer.layers):
                of_it = is_ours(other) and other.metadata[KEY]["plane"][0] == key
                if other in self._viewer.layers and (other is layer or of_it):
                    self._viewer.layers.remove(other)
