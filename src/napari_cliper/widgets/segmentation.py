"""What happens when someone presses Segment: a generator of steps for the worker."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_cliper.errors import NapariCliperError
from napari_cliper.widgets import warm_up
from napari_cliper.widgets.layers import Plane, ResultLayer, digest, result_layers

if TYPE_CHECKING:
    from napari_cliper.annotation.class_list import ClassList
    from napari_cliper.cliper.steps import Steps
    from napari_cliper.segmenter import Encoding, Result, Segmenter

# What took long and may be wanted again, for all docks of the process. One of each, since they may
# be gigabytes.
_segmenters: dict[tuple[str, str], Segmenter] = {}  # by preset and device
_encodings: dict[tuple[str, str, str], Encoding] = {}  # by preset, device and pixels
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


def segmentation(
    plane: Plane,
    classes: ClassList,
    preset: str,
    device: str,
    download: bool = False,
    with_attention: bool = False,
) -> Steps[Segmented]:
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
        return (yield from _segment(plane, classes, preset, device, download, with_attention))
    finally:  # a job that is cancelled is closed, see `jobs`
        _turn.release()


def _segment(
    plane: Plane,
    classes: ClassList,
    preset: str,
    device: str,
    download: bool,
    with_attention: bool,
) -> Steps[Segmented]:
    from napari_cliper import segmenter

    if (preset, device) not in _segmenters:
        _segmenters.clear()
        _segmenters[preset, device] = yield from segmenter.load_steps(
            preset, device, download=download
        )
    model = _segmenters[preset, device]
    yield from model.word_steps(classes)  # a mistake in the words shows before the long work
    pixels = plane.pixels()
    key = (preset, device, digest(pixels))
    if key not in _encodings:
        _encodings.clear()
        _encodings[key] = yield from model.encode_steps(pixels)
    result = yield from model.segment_steps(_encodings[key], classes)
    attention = model.attention(_encodings[key]) if with_attention else None
    summary = f"{model.preset_name} on {model.device}: {_found(result)}."
    if model.note is not None:
        summary += f"\n{model.note}"
    return Segmented(plane, result_layers(result, attention), summary)


def _found(result: Result) -> str:
    """Name the share of each class, the largest first."""
    counts = np.bincount(result.labels.ravel(), minlength=max(result.classes.ids) + 1)
    shares = {entry.name: counts[entry.id] / result.labels.size for entry in result.classes}
    found = sorted((name for name in shares if shares[name]), key=lambda name: -shares[name])
    if not found:
        return "none of these classes found"
    return ", ".join(f"{name} {shares[name]:.0%}" for name in found)
