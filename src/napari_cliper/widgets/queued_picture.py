"""One picture of a review queue: read with what is known of it, and put into a viewer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image
from napari.layers.utils.layer_utils import calc_data_range

from napari_cliper.annotation.class_edits import with_strays
from napari_cliper.annotation.class_list import ClassList
from napari_cliper.annotation.unsure import weight_of
from napari_cliper.encodings import digest
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.indexed_png import load_labels
from napari_cliper.files.pictures import read_picture
from napari_cliper.files.session import LoadedSession, is_session, load_session
from napari_cliper.widgets.layers import KEY
from napari_cliper.widgets.planes import Plane, placement_of

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from napari_cliper.annotation.review import Entry
    from napari_cliper.files.review import ReviewFolder
    from napari_cliper.widgets.segmentation import Scene


@dataclass(frozen=True, eq=False)
class QueuedPicture:
    """What was read of a picture.

    Attributes
    ----------
    entry : Entry
    path : Path
    pixels : array
        As `files.pictures.read_picture` gives them.
    session : LoadedSession or None
        What was done to it before.
    proposal : (labels, classes) or None
        A label map that was made before, if there is no session.
    changed : bool
        Whether the picture is another one than when it was annotated.
    """

    entry: Entry
    path: Path
    pixels: NDArray[Any]
    session: LoadedSession | None
    proposal: tuple[NDArray[np.uint16], ClassList | None] | None
    changed: bool = False


def read(folder: ReviewFolder, entry: Entry) -> QueuedPicture:
    """Read a picture, and its session or the proposal made before.

    Raises
    ------
    NapariCliperError
        Something cannot be read, or does not fit the picture.
    """
    path = folder.picture(entry)
    pixels = read_picture(path)
    place = folder.session(entry)
    if is_session(place):
        loaded = load_session(place)
        _check(place, loaded.session.picture.size, pixels)
        changed = digest(pixels) != loaded.session.picture.sha256
        return QueuedPicture(entry, path, pixels, loaded, None, changed)
    file = folder.proposal(entry)
    if file is None:
        return QueuedPicture(entry, path, pixels, None, None)
    labels, classes = load_labels(file)
    _check(file, labels.shape, pixels)
    ids = np.unique(labels).tolist()
    if classes is not None:
        classes = with_strays(classes, ids)
    return QueuedPicture(entry, path, pixels, None, (labels, classes))


def _check(path: Path, size: tuple[int, ...], pixels: NDArray[Any]) -> None:
    if tuple(size) != pixels.shape[:2]:
        raise NapariCliperError(
            f"“{path}” was made for a picture of {size[1]} × {size[0]} pixels, this one has "
            f"{pixels.shape[1]} × {pixels.shape[0]}: move it away, or bring the picture back."
        )


def picture_layer(name: str, pixels: NDArray[Any], path: Path) -> Image:
    """A layer of a picture that we have read; no viewer has it yet."""
    layer = Image(pixels, name=name, rgb=pixels.ndim == 3)
    layer.metadata[KEY] = {"path": path.absolute().as_posix()}
    return layer


def limits_of(pixels: NDArray[Any]) -> tuple[float, float] | None:
    """The contrast limits that napari gives to such a picture; None for colours."""
    if pixels.ndim == 3:
        return None
    low, high = calc_data_range(pixels)
    return float(low), float(high)


def plane_of(layer: Image) -> Plane:
    """The plane of a 2-D picture that no viewer has to show."""
    return Plane(
        layer.name,
        str(layer.unique_id),
        layer.data,
        (slice(None), slice(None)),
        None if layer.rgb else tuple(layer.contrast_limits),
        placement_of(layer, [layer.ndim - 2, layer.ndim - 1]),
        layer.rgb,
    )


def uncertainty_of(scene: Scene) -> float:
    """The mean uncertainty of what was found, 0 to 1."""
    return weight_of(scene.adjustment.label(scene.scored).uncertainty)
