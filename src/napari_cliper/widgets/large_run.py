"""A run over a picture window by window with the window's own models, as steps: no Qt."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from napari_cliper.encodings import digest
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.names import STORED_LABELS
from napari_cliper.images import part_to_rgb
from napari_cliper.widgets import warm_up
from napari_cliper.widgets.layers import ResultLayer, dress
from napari_cliper.widgets.planes import LARGEST_MASK, stretched, usual_level
from napari_cliper.widgets.segmentation import Scene, Segmented, found, in_turn, segmenter_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cliper.cliper.steps import Step, Steps
    from napari_cliper.result import Scored
    from napari_cliper.segmenter import Segmenter
    from napari_cliper.tiles.picture import Lazy
    from napari_cliper.tiles.segmenting import Image
    from napari_cliper.tiles.stored import StoredResult
    from napari_cliper.widgets.planes import Plane
    from napari_cliper.widgets.segmentation import Request

T = TypeVar("T")
ROLES = ("large coarse", "large")


@dataclass(frozen=True)
class Asked:
    """What the form says.

    Attributes
    ----------
    request : Request
        Picture, words, model and thresholds.
    window : int or None
        Pixels of a window's side; None for the usual number.
    output : Path or None
        The Zarr folder for labels that need not fit into memory. None for labels that do, in the
        masks of the dock “Segment with text”.
    overwrite : bool
        Whether a folder that is there may be replaced.
    source : Path or None
        Where the picture came from.
    """

    request: Request
    window: int | None = None
    output: Path | None = None
    overwrite: bool = False
    source: Path | None = None


@dataclass(frozen=True, eq=False)
class Stored:
    """What a run over a picture larger than memory brings.

    Attributes
    ----------
    plane : Plane
    layers : tuple of ResultLayer
        Their data are the labels and smaller copies of them, which are read from disk.
    result : StoredResult
    summary : str
    """

    plane: Plane
    layers: tuple[ResultLayer, ...]
    result: StoredResult
    summary: str


def segment_large(asked: Asked) -> Steps[Stored | Segmented]:
    """Segment a picture window by window; other docks take their turns between two windows.

    Raises
    ------
    NapariCliperError
        Weights, device, words, picture, window or folder cannot be used, a window cannot be read,
        or the disk is full; nothing is left on it then, nor if the steps are closed.
    """
    warm_up.wait()
    _check(asked)
    if asked.output is not None:
        return (yield from _stored(asked, asked.output))
    return (yield from _detailed(asked))


def windows(size: tuple[int, int], window: int | None) -> tuple[int, int]:
    """A window's side in pixels, and how many there are; waits until all is imported.

    Raises
    ------
    NapariCliperError
        The window is too small, or larger than the picture.
    """
    warm_up.wait()
    from napari_cliper.tiles.segmenting import Tiling

    if window is not None and window > max(size):
        raise NapariCliperError(
            f"A window of {window:,} pixels is larger than the picture of {size[1]:,} × "
            f"{size[0]:,}: choose a smaller one, or the usual one."
        )
    layout = Tiling(window).layouts(size)[0][0]
    return max(layout.down.window, layout.across.window), len(layout)


def usual_output(source: Path | None, place: tuple[int, ...]) -> Path | None:
    """Where labels go if nothing is said: beside the picture's file, if it has one."""
    if source is None:
        return None
    # Not into the folder of a picture that is one.
    source = next((above for above in reversed(source.parents) if above.suffix == ".zarr"), source)
    return source.with_name("_".join([source.stem, *map(str, place)]) + STORED_LABELS)


def _check(asked: Asked) -> None:
    """Refuse what can be seen before the models are loaded.

    Raises
    ------
    NapariCliperError
    """
    from napari_cliper.tiles.stored import check_output

    plane, path = asked.request.plane, asked.output
    if path is None:
        if math.prod(plane.size) > LARGEST_MASK:
            height, width = plane.size
            raise NapariCliperError(
                f"“{plane.name}” has {width:,} × {height:,} pixels, too many for masks in memory: "
                "choose the other purpose, whose labels go to disk."
            )
        windows(plane.size, asked.window)
        return
    windows(plane.full, asked.window)
    if path.exists() and not asked.overwrite:
        raise NapariCliperError(
            f"“{path}” exists already: choose another name, or tick “Replace what is there”."
        )
    if asked.source is not None and _lies_in(asked.source, path):
        raise NapariCliperError(f"“{path}” holds the picture itself: choose another name.")
    _picture(plane)
    check_output(path, plane.full, asked.request.classes, asked.overwrite)


def _lies_in(source: Path, folder: Path) -> bool:
    return source.resolve().is_relative_to(folder.resolve())


# Labels on disk


def placement(plane: Plane, factor: int = 1) -> dict[str, Any]:
    """Where labels of a plane lie, each of which stands for so many pixels along both sides."""
    ones = (1.0,) * len(plane.stack)
    return stretched(plane.whole, (*ones, factor, factor), (*map(float, plane.place), 0.0, 0.0))


def copy_to_paint(stored: Stored) -> tuple[NDArray[Any], int]:
    """Read the finest copy of the labels that is not too large to paint on, and its factor.

    Returns
    -------
    labels : array
        With as many axes as the picture, all before the last two of one entry.
    factor : int
        How many pixels of the picture each stands for, along both sides.

    Raises
    ------
    NapariCliperError
        They are not there any more.
    """
    levels = stored.layers[-1].data
    # Zarr takes what is gone for background.
    if not (stored.result.path / "zarr.json").is_file():
        raise NapariCliperError(f"“{stored.result.path}” is gone: press Start to make it again.")
    level = usual_level([(level.shape[-2], level.shape[-1]) for level in levels])
    return np.array(levels[level]), 2**level


def _stored(asked: Asked, path: Path) -> Steps[Stored]:
    from napari_cliper.tiles.stored import store_steps

    plane = asked.request.plane
    scored, told = yield from _scored(asked, _picture(plane))
    result = asked.request.adjustment.label(scored)
    stored = yield from store_steps(result, path, asked.overwrite)
    # Of the smallest copy, which has every n-th pixel: the shares are the same.
    summary = told(np.asarray(stored.levels[-1]))
    return Stored(plane, _layers(plane, stored), stored, summary)


def _layers(plane: Plane, stored: StoredResult) -> tuple[ResultLayer, ...]:
    """The coarse labels, hidden, and the refined ones; with the axes of the picture."""
    import dask.array

    layers = []
    for role, levels in zip(ROLES, (stored.coarse_levels, stored.levels), strict=True):
        # Without a name of its own, what was read of a folder that is replaced would be kept.
        lazy = [dask.array.from_array(level, level.chunks, name=False) for level in levels]
        if len(lazy) == 1:  # napari would take it for labels to paint on
            lazy.append(lazy[0][::2, ::2])
        data: Any = [level[(None,) * len(plane.stack)] for level in lazy]
        first = {"visible": role == ROLES[-1], "opacity": 0.5, "multiscale": True}
        layers.append(ResultLayer(role, data, dress(stored.classes), first))
    return tuple(layers)


def _picture(plane: Plane) -> list[Lazy]:
    """The plane and its smaller copies, as the layer shows them, read when they are asked for.

    Raises
    ------
    NapariCliperError
        It is no picture.
    """
    from napari_cliper.tiles.picture import Picture

    levels = [_Shown.of(plane, array) for array in plane.pyramid or (plane.data,)]
    raw = [replace(level, limits=None) for level in levels]
    Picture.checked(raw, plane.contrast_limits)
    return list(levels)


@dataclass(frozen=True, eq=False)
class _Shown:
    """One plane of an array.

    Attributes
    ----------
    array : array-like
    place : tuple of int
        Where the plane lies along the axes before its own.
    limits : (float, float) or None
        The values that become black and white; None for pixels as they are.
    gamma : float
    """

    array: Any
    place: tuple[int, ...]
    limits: tuple[float, float] | None
    gamma: float

    @classmethod
    def of(cls, plane: Plane, array: Any) -> _Shown:
        # Of a pyramid, a level may have fewer planes.
        sizes = zip(plane.place, array.shape, plane.stack, strict=False)
        place = tuple(at * here // whole for at, here, whole in sizes)
        return cls(array, place, plane.contrast_limits, plane.gamma)

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W) or (H, W, C)."""
        shape = tuple(map(int, self.array.shape[len(self.place) :]))
        return shape if self.limits is None else (*shape[:2], 3)

    @property
    def dtype(self) -> Any:
        """Of the array, or of 8-bit colours."""
        return self.array.dtype if self.limits is None else np.uint8

    def __getitem__(self, part: tuple[slice, slice]) -> Any:
        pixels = np.asarray(self.array[(*self.place, *part)])
        if self.limits is None:
            return pixels
        return part_to_rgb(pixels[..., None], self.limits, self.gamma)


# Labels in memory


def _detailed(asked: Asked) -> Steps[Segmented]:
    plane = asked.request.plane
    # Pixel by pixel as its masks are: of a pyramid that is finer than what an encoder needs.
    fine = next((array for array in plane.pyramid if _size(plane, array) == plane.size), plane.data)
    pixels = replace(plane, data=fine).pixels()
    scored, told = yield from _scored(asked, pixels)
    result = asked.request.adjustment.label(scored)
    _ = result.labels, result.coarse_labels  # made here, not in the window
    marked = digest(pixels if fine is plane.data else plane.pixels())
    scene = Scene(plane, marked, asked.request.model, scored, asked.request.adjustment)
    return Segmented(scene, result, told(result.labels))


def _size(plane: Plane, array: Any) -> tuple[int, ...]:
    return tuple(map(int, array.shape[len(plane.place) :][:2]))


# Both


def _scored(asked: Asked, image: Image) -> Steps[tuple[Scored, Any]]:
    """What the windows together say of the words, and how to tell of a result."""
    from napari_cliper.tiles.segmenting import Tiling, score_tiled_steps

    request = asked.request
    model: Segmenter = yield from in_turn(segmenter_of(request.model, request.download))

    def told(labels: NDArray[Any]) -> str:
        by = f"{model.preset_name} on {model.device} in {model.precision}"
        return "\n".join(filter(None, [f"{by}: {found(labels, request.classes)}.", model.note]))

    steps = score_tiled_steps(model, image, request.classes, Tiling(asked.window))
    return (yield from _by_turns(steps)), told


def _by_turns(steps: Steps[T]) -> Steps[T]:
    """The same steps; whatever goes by one name, such as a window, is a turn of its own."""
    first: Step | None = None
    try:
        while True:
            end = yield from in_turn(_one_turn(steps, first))
            if isinstance(end, _Result):
                result: T = end.value
                return result
            first = end
    finally:
        steps.close()


@dataclass(frozen=True, eq=False)
class _Result:
    value: Any


def _one_turn(steps: Steps[T], first: Step | None) -> Steps[Step | _Result]:
    """Steps up to one of another name, which is returned, or to the result."""
    try:
        step = first or next(steps)
        name = step.name
        while step.name == name or step.notice:
            yield step
            step = next(steps)
    except StopIteration as stop:
        return _Result(stop.value)
    return step
