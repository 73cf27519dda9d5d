"""What happens when someone presses Segment: a generator of steps for the worker."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_cliper.errors import NapariCliperError
from napari_cliper.models.schema import CLIPER
from napari_cliper.widgets import warm_up
from napari_cliper.widgets.layers import Plane, ResultLayer, digest, result_layers

if TYPE_CHECKING:
    from napari_cliper.annotation.class_list import ClassList
    from napari_cliper.cliper.steps import Steps
    from napari_cliper.segmenter import Encoding, Result, Segmenter


@dataclass(frozen=True)
class Model:
    """What was chosen to segment with, as of `segmenter.load`."""

    preset: str
    device: str = "auto"
    method: str = CLIPER


@dataclass(frozen=True)
class Request:
    """What someone wants segmented.

    Attributes
    ----------
    plane : Plane
    classes : ClassList
    model : Model
    download : bool
        Whether weights that are not on this machine may be fetched.
    with_attention : bool
        Whether the attention map is wanted too.
    all_present : bool
        Whether all classes are known to be in the picture.
    """

    plane: Plane
    classes: ClassList
    model: Model
    download: bool = False
    with_attention: bool = False
    all_present: bool = False


# What took long and may be wanted again, for all docks of the process. One of each, since they may
# be gigabytes.
_segmenters: dict[Model, Segmenter] = {}
_encodings: dict[tuple[Model, str], Encoding] = {}  # by model and pixels
_turn = threading.Lock()  # docks take turns: a model runs for one of them at a time


@dataclass(frozen=True)
class Segmented:
    """What a segmentation brings to the window.

    Attributes
    ----------
    plane : Plane
    layers : list of ResultLayer
        From bottom to top.
    summary : str
        What was found by which model, in a line or two.
    """

    plane: Plane
    layers: list[ResultLayer]
    summary: str


def segmentation(request: Request) -> Steps[Segmented]:
    """Load the models if need be, then segment a picture.

    Raises
    ------
    NapariCliperError
        If weights or device are not there, the picture cannot be read or a word is too long.
    """
    warm_up.wait()
    try:
        from napari_cliper.cliper.steps import Step
    except OSError as error:  # on Windows, torch's libraries may not load after Qt's
        raise NapariCliperError(
            f"PyTorch cannot be loaded beside the window ({error}): start Python, import torch "
            "before napari, and open the window from there."
        ) from error

    while not _turn.acquire(timeout=0.2):
        yield Step("Waiting for another window")
    try:
        return (yield from _segment(request))
    finally:  # a job that is cancelled is closed, see `jobs`
        _turn.release()


def _segment(request: Request) -> Steps[Segmented]:
    model = yield from _segmenter(request.model, request.download)
    classes = request.classes
    yield from model.word_steps(classes)  # a mistake in the words shows before the long work
    pixels = request.plane.pixels()
    key = (request.model, digest(pixels))
    if key not in _encodings:
        _encodings.clear()
        _encodings[key] = yield from model.encode_steps(pixels)
    encoding = _encodings[key]
    present = "all" if request.all_present else None
    result = yield from model.segment_steps(encoding, classes, present=present)
    attention = model.attention(encoding) if request.with_attention else None
    summary = f"{model.preset_name} on {model.device}: {_found(result)}."
    if model.note is not None:
        summary += f"\n{model.note}"
    return Segmented(request.plane, result_layers(result, attention), summary)


def _segmenter(model: Model, download: bool) -> Steps[Segmenter]:
    from napari_cliper.models.choices import Choices
    from napari_cliper.segmenter import load_steps

    if model not in _segmenters:
        # Another method on the same models; other models must be gone before these are loaded.
        known = {replace(other, method=model.method): other for other in _segmenters}
        before = _segmenters[known[model]] if model in known else None
        if before is None:
            _segmenters.clear()
            _encodings.clear()
        loaded = yield from load_steps(
            model.preset,
            model.device,
            download=download,
            choices=Choices(method=model.method),
            before=before,
        )
        _segmenters.clear()
        _segmenters[model] = loaded
    return _segmenters[model]


def _found(result: Result) -> str:
    """Name the share of each class, the largest first."""
    counts = np.bincount(result.labels.ravel(), minlength=max(result.classes.ids) + 1)
    shares = {entry.name: counts[entry.id] / result.labels.size for entry in result.classes}
    found = sorted((name for name in shares if shares[name]), key=lambda name: -shares[name])
    if not found:
        return "none of these classes found"
    return ", ".join(f"{name} {shares[name]:.0%}" for name in found)
