"""The steps that are measured, each our way and the plain way."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from napari_cliper.benchmark.our_way import OurWay
from napari_cliper.benchmark.plain_way import PlainWay
from napari_cliper.benchmark.report import ENCODE
from napari_cliper.segmenter import Segmenter

WORDS = [
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("table", "dog", "horse", "motorbike", "person", "plant", "sheep", "sofa", "train", "screen"),
]
MEGAPIXEL = 1000, 1000


@dataclass(frozen=True)
class Pair:
    """One step, both ways.

    Attributes
    ----------
    name : str
    ours, plain : callable
        Do it; both keep what the next steps need.
    again : tuple of str
        Earlier steps that are part of the plain way's: it has to do them again.
    """

    name: str
    ours: Callable[[], object]
    plain: Callable[[], object]
    again: tuple[str, ...] = ()


def pairs(
    ours: Segmenter, plain: Segmenter, image: NDArray[np.uint8], words: Sequence[str] = WORDS
) -> list[Pair]:
    """All steps for one picture and some words, to be done in this order.

    Parameters
    ----------
    ours : Segmenter
    plain : Segmenter
        The same in float32.
    image : (H, W, 3) uint8
    words : sequence of str

    Raises
    ------
    NapariCliperError
        If there is no plain way to do what the preset's settings ask for.
    """
    templates = ours.preset.templates
    one, other = OurWay(ours, image, templates, words), PlainWay(plain, image, templates, words)
    return pairs_of(one, other)


def pairs_of(one: OurWay, other: PlainWay) -> list[Pair]:
    """All steps of the two ways."""
    stages = [
        Pair(name, ours, plain)
        for (name, ours), plain in zip(one.stages(), other.stages(), strict=True)
    ]
    everything = torch.ones(len(one.words), dtype=torch.bool, device=other.device)
    new_words = f"{len(one.words)} new words"
    steps = [
        *stages,
        Pair(ENCODE, one.encode, other.encode),
        Pair(new_words, one.encode_words, other.encode_words),
        Pair("one word changed", one.change_word, other.label, again=(ENCODE, new_words)),
        Pair(
            "slider, 1 megapixel",
            lambda: one.slide(MEGAPIXEL, everything),
            lambda: other.slide(MEGAPIXEL, everything),
        ),
    ]
    if one.source is not None:
        steps.append(Pair("point inspection", one.point, other.point, again=("attention maps",)))
    return steps
