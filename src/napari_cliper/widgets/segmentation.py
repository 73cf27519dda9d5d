"""What happens when someone presses Segment: a generator of steps for the worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_cliper.widgets import warm_up
from napari_cliper.widgets.layers import Plane, ResultLayer, digest, result_layers

if TYPE_CHECKING:
    from napari_cliper.annotation.class_list import ClassList
    from napari_cliper.cliper.steps import Steps
    from napari_cliper.segmenter import Encoding, Result, Segmenter

# What took long and may be wanted again, for all docks of the process.
_segmenters: dict[tuple[str, str], Segmenter] = {}  # by preset and device
_encodings: dict[tuple[str, str, str], Encoding] = {}  # of the last picture; they may be large


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
    from napari_cliper import segmenter

    if (preset, device) not in _segmenters:
        _segmenters[preset, device] = yield from segmenter.load_steps(
            preset, device, download=download
        )
    model = _segmenters[preset, device]
    pixels = plane.pixels()
    key = (preset, device, digest(pixels))
    if key not in _encodings:
        _encodings.clear()
    result = yield from model.segment_steps(_encodings.get(key, pixels), classes)
    _encodings[key] = result.encoding
    summary = f"{model.preset_name} on {model.device}: {_found(result)}."
    if model.note is not None:
        summary += f"\n{model.note}"
    return Segmented(plane, result_layers(result, with_attention), summary)


def _found(result: Result) -> str:
    """Name the share of each class, the largest first."""
    counts = np.bincount(result.labels.ravel(), minlength=max(result.classes.ids) + 1)
    shares = {entry.name: counts[entry.id] / result.labels.size for entry in result.classes}
    found = sorted((name for name in shares if shares[name]), key=lambda name: -shares[name])
    if not found:
        return "none of these classes found"
    return ", ".join(f"{name} {shares[name]:.0%}" for name in found)
