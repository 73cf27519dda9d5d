"""Propose masks for many pictures of a review queue, as sessions, in a worker's thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from napari_cliper.annotation import session as saved_as
from napari_cliper.annotation.class_list import ClassList
from napari_cliper.annotation.unsure import weight_of
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.pictures import read_picture
from napari_cliper.files.session import MaskMaps, is_session, save_session
from napari_cliper.widgets.planes import Plane
from napari_cliper.widgets.queued_picture import limits_of
from napari_cliper.widgets.segmentation import Adjustment, Model, Request, Segmented, segmentation
from napari_cliper.widgets.session_layers import versions

if TYPE_CHECKING:
    from napari_cliper.annotation.review import Entry
    from napari_cliper.cliper.steps import Steps
    from napari_cliper.files.review import ReviewFolder

OPACITY = 0.5  # of a mask that nobody has looked at yet


def propose_all(
    folder: ReviewFolder,
    entries: Sequence[Entry],
    classes: ClassList,
    model: Model,
    adjustment: Adjustment,
    download: bool,
    save: Callable[[Entry, Callable[[], None]], bool],
    done: Callable[[str, float], None],
) -> Steps[list[str]]:
    """Segment pictures and save what was found as their sessions.

    A picture that has a session already is left alone. One that cannot be segmented does not keep
    the others from it.

    Parameters
    ----------
    folder : ReviewFolder
    entries : sequence of Entry
    classes : ClassList
    model : Model
    adjustment : Adjustment
    download : bool
        Whether weights may be fetched.
    save : callable
        Given a picture and what saves its session: does that, unless somebody has taken the
        picture up meanwhile. In the worker's thread; returns whether it did.
    done : callable
        Told of each picture and its mean uncertainty, in the worker's thread.

    Yields
    ------
    Step

    Returns
    -------
    list of str
        A sentence for each picture that failed.
    """
    from napari_cliper.cliper.steps import Step

    failed = []
    for number, entry in enumerate(entries):
        yield Step(f"Proposing {entry.picture}", number, len(entries))
        try:
            if not is_session(folder.session(entry)):
                plane = _plane(folder, entry)
                request = Request(plane, classes, model, adjustment, download)
                segmented = yield from _segmented(entry, request)
                uncertainty = weight_of(segmented.result.uncertainty)
                if save(entry, partial(_save, folder, entry, segmented)):
                    done(entry.picture, uncertainty)
        except NapariCliperError as error:
            failed.append(f"{entry.picture}: {error}")
    return failed


def _plane(folder: ReviewFolder, entry: Entry) -> Plane:
    pixels = read_picture(folder.picture(entry))
    index = (slice(None), slice(None))
    # The limits are a layer's: what is proposed is what pressing Segment brings.
    return Plane(
        entry.picture, entry.picture, pixels, index, limits_of(pixels), {}, pixels.ndim == 3
    )


def _segmented(entry: Entry, request: Request) -> Steps[Segmented]:
    steps = segmentation(request)
    title = f"Proposing {entry.picture}"  # the steps' own names would hide which picture it is
    try:
        while True:
            yield replace(next(steps), name=title)
    except StopIteration as stop:
        segmented: Segmented = stop.value
        return segmented
    finally:
        steps.close()


def _save(folder: ReviewFolder, entry: Entry, segmented: Segmented) -> None:
    scene, result = segmented.scene, segmented.result
    notes = saved_as.Notes(
        saved=datetime.now(UTC),
        versions=versions(),
        picture=saved_as.Picture(
            name=entry.picture,
            path=folder.picture(entry).absolute().as_posix(),
            sha256=scene.plane.digest(),
            size=scene.scored.size,
        ),
        classes=result.classes,
        model=saved_as.Model(**asdict(scene.model)),
        adjustment=saved_as.Adjustment(**asdict(scene.adjustment)),
    )
    masks = [
        (
            saved_as.MaskNotes(
                role=role,
                name=f"{entry.picture} [{role}]",
                classes=result.classes,
                visible=role == "refined",
                opacity=OPACITY,
                selected_label=result.classes.ids[0],
            ),
            MaskMaps(labels, None, labels),
        )
        for role, labels in (("coarse", result.coarse_labels), ("refined", result.labels))
    ]
    save_session(folder.session(entry), notes, masks)
