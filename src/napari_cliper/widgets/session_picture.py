"""The picture of a session: where it came from, and how it is found again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray

from napari_cliper.encodings import digest
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.pictures import read_picture
from napari_cliper.widgets.layers import KEY, is_result
from napari_cliper.widgets.planes import Plane, placement_of, shown_plane
from napari_cliper.widgets.queued_picture import picture_layer

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_cliper.annotation.session import Picture


def planes(viewer: Viewer) -> list[Plane]:
    """What is shown of the pictures that are open, the topmost first."""
    found = []
    for layer in reversed(viewer.layers):
        if isinstance(layer, Image) and not is_result(layer):
            with suppress(NapariCliperError):
                found.append(shown_plane(viewer, layer))
    return found


def same(candidates: list[Plane], wanted: Picture) -> Plane | None:
    """The plane of these pictures that has the session's pixels."""
    places = _at(candidates, wanted.place)
    return next((plane for plane in places if plane.digest() == wanted.sha256), None)


def open_picture(viewer: Viewer, wanted: Picture, pixels: NDArray[Any] | None) -> tuple[Plane, str]:
    """The picture of a session, and what is to be said about it."""
    if pixels is not None:
        layer = picture_layer(wanted.name, pixels, Path(str(wanted.path)))
        viewer.add_layer(layer)
        return shown_plane(viewer, layer), ""
    before = {plane.picture for plane in planes(viewer)}
    with suppress(Exception):  # readers raise anything: without the picture its masks come
        if wanted.sample is not None:
            viewer.open_sample(*wanted.sample.split(":", 1))
        elif wanted.path is not None and Path(wanted.path).exists():
            viewer.open(wanted.path)
    opened = [plane for plane in planes(viewer) if plane.picture not in before]
    missing = _without_picture(wanted.name, wanted.sha256, wanted.size)
    if not opened:
        where = wanted.path or wanted.name
        return missing, f"“{where}” is not there: the masks come without their picture."
    plane = next(_at(opened, wanted.place), opened[0])
    if plane.digest() == wanted.sha256:
        return plane, ""
    if wanted.size not in (plane.size, plane.full):
        return missing, (
            f"“{wanted.name}” has another size than when it was annotated: its masks come "
            "beside it."
        )
    return plane, (
        f"“{wanted.name}” has changed since it was annotated: check that the masks still fit."
    )


def _without_picture(name: str, sha256: str, size: tuple[int, int]) -> Plane:
    """A plane for masks whose picture is not there."""
    blank = Image(np.zeros(size, np.uint8))
    index, placement = (slice(None), slice(None)), placement_of(blank, [0, 1])
    return Plane(name, f"missing {sha256}", blank.data, index, (0, 255), placement)


def _at(planes: list[Plane], place: tuple[int, ...]) -> Iterator[Plane]:
    """The planes at this place of their pictures, where they have it."""
    for plane in planes:
        inside = all(0 <= at < size for at, size in zip(place, plane.stack, strict=False))
        if len(place) == len(plane.place) and inside:
            yield plane.at(place)


def read_again(wanted: Picture) -> NDArray[Any] | None:
    """A session's picture from its file, if it is what it was."""
    if wanted.path is None or wanted.place:
        return None
    try:
        pixels = read_picture(wanted.path)
        same = digest(pixels) == wanted.sha256
    except NapariCliperError:
        return None
    return pixels if same else None


def source_of(layer: Image | None) -> dict[str, str | None]:
    """Where a picture came from."""
    if layer is None:
        return {"path": None, "sample": None}
    source = layer.source
    path = layer.metadata.get(KEY, {}).get("path")  # of what we have read ourselves
    if path is None and source.path:
        path = Path(source.path).absolute().as_posix()
    return {"path": path, "sample": ":".join(source.sample) if source.sample else None}
