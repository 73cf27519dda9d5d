"""The objects of an annotation, one by one, as formats of objects need them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label as connected
from skimage.measure import regionprops

from napari_cliper.annotation.annotation import Annotation, same_name
from napari_cliper.annotation.class_list import ClassEntry
from napari_cliper.files.formats.format import Options


@dataclass(frozen=True, eq=False)
class Object:
    """One object of a picture.

    Attributes
    ----------
    entry : ClassEntry
        Its class.
    top, left : int
        Where its box begins.
    mask : (h, w) bool
        Its pixels within the box, which is as small as can be.
    size : (H, W)
        Of the picture.
    """

    entry: ClassEntry
    top: int
    left: int
    mask: NDArray[np.bool_]
    size: tuple[int, int]

    @property
    def area(self) -> int:
        """How many pixels it has."""
        return int(np.count_nonzero(self.mask))


def objects_of(annotation: Annotation, options: Options = Options()) -> Iterator[Object]:
    """Its objects: by class in the order of the list, then from top to bottom.

    They are what `instances` says; where that is None, regions connected by sides or corners. The
    class that the options call void has none.
    """
    height, width = annotation.labels.shape
    numbers = _numbered(annotation)
    order = {entry.id: (rank, entry) for rank, entry in enumerate(annotation.classes)}
    found = []
    for region in regionprops(numbers):
        box, mask = region.slice, region.image
        id_ = int(annotation.labels[box][mask][0])
        if id_ in order and not is_void(order[id_][1], options):
            rank, entry = order[id_]
            thing = Object(entry, box[0].start, box[1].start, mask, (height, width))
            found.append((rank, region.label, thing))
    yield from (thing for _, _, thing in sorted(found, key=lambda item: item[:2]))


def is_void(entry: ClassEntry, options: Options) -> bool:
    """Whether the options say that pixels of this class are no objects."""
    return options.void is not None and same_name(entry.name, options.void)


def without_void(annotation: Annotation, options: Options) -> Annotation:
    """The same without the class that the options call void.

    If it has no other, it keeps that one, for a class list is never empty, but no pixel of it.
    """
    kept = [entry.id for entry in annotation.classes if not is_void(entry, options)]
    if len(kept) == len(annotation.classes):
        return annotation
    if kept:
        return annotation.only(kept)
    nothing = None if annotation.instances is None else np.zeros_like(annotation.instances)
    return replace(annotation, labels=np.zeros_like(annotation.labels), instances=nothing)


def assemble(
    size: tuple[int, int], parts: Iterable[tuple[int, int, int, NDArray[np.bool_]]]
) -> tuple[NDArray[np.uint16], NDArray[np.uint32], int]:
    """Put objects together again; later ones lie on top.

    Parameters
    ----------
    size : (H, W)
    parts : iterable of (id, top, left, mask)
        A class's id, and where its (h, w) mask lies.

    Returns
    -------
    labels : (H, W) uint16
    instances : (H, W) uint32
        1, 2, … in order.
    hidden : int
        How many pixels were covered by an object of another class, or another object of it.
    """
    labels, instances = np.zeros(size, np.uint16), np.zeros(size, np.uint32)
    hidden = 0
    for number, (id_, top, left, mask) in enumerate(parts, 1):
        box = slice(top, top + mask.shape[0]), slice(left, left + mask.shape[1])
        hidden += int(np.count_nonzero(labels[box][mask]))
        labels[box][mask] = id_
        instances[box][mask] = number
    return labels, instances, hidden


def overlap_remark(hidden: int) -> tuple[str, ...]:
    """What to say about pixels that several objects claim."""
    if not hidden:
        return ()
    return (f"{hidden} pixels belong to several objects: the last one has them.",)


def _numbered(annotation: Annotation) -> NDArray[np.int32]:
    """A number of its own for each object, (H, W), 0 elsewhere."""
    labels = annotation.labels
    if annotation.instances is None:
        return np.asarray(connected(labels, background=0, connectivity=2), np.int32)
    keys = labels.astype(np.uint64) << np.uint64(32) | annotation.instances.astype(np.uint64)
    keys[labels == 0] = 0
    values, numbers = np.unique(keys, return_inverse=True)
    # Where everything is labelled, 0 is not among the values.
    first = 0 if values[0] == 0 else 1
    return np.asarray(numbers.reshape(labels.shape) + first, np.int32)
