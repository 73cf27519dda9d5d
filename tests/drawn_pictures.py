"""Miniature pictures and a model whose answers are known, so that figures are computed by hand.

In a drawn picture the red of a pixel is the label that the model finds there, the green the label
that it finds before compensation.
"""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from napari_cliper.cliper import Scores, Settings, Step
from napari_cliper.cliper.labelling import presence
from napari_cliper.encodings import Encodings
from napari_cliper.models.presets import get_preset
from napari_cliper.result import Scored

Quadrants = tuple[int, int, int, int]
SIDE = 16


def quadrants(values: Quadrants, dtype: type = np.uint8) -> NDArray[np.integer]:
    """(16, 16): a value for each quadrant of 64 pixels, top left, top right, bottom left, right."""
    plane = np.array(values, dtype).reshape(2, 2)
    return plane.repeat(SIDE // 2, 0).repeat(SIDE // 2, 1)


def draw(path: Path, found: Quadrants, coarse: Quadrants | None = None) -> None:
    """A picture in which the model finds these labels; its format is PNG whatever its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    picture[..., 0] = quadrants(found)
    picture[..., 1] = quadrants(found if coarse is None else coarse)
    Image.fromarray(picture).save(path, "PNG")


def save_mask(path: Path, values: Quadrants) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(quadrants(values)).save(path, "PNG")


class ColourModel:
    """Finds in a picture what its colours say; with a `Segmenter`'s interface as far as needed."""

    preset = get_preset("small")
    preset_name, precision, device, disk = "small", "float32", "cpu", None

    def __init__(self, compensate: bool = True) -> None:
        thresholds = {"presence_threshold": 0.3, "background_threshold": 0.25}
        self.engine = SimpleNamespace(settings=Settings(compensate=compensate, **thresholds))
        self.encodings = Encodings()
        self.encoded = 0

    def word_steps(self, classes):
        yield Step("Reading the words")

    def encode_steps(self, image, inspect=False):
        yield Step("Looking at the picture")
        self.encoded += 1
        compensation = object() if self.engine.settings.compensate else None
        return SimpleNamespace(labels=torch.from_numpy(image), compensation=compensation)

    def score_steps(self, encoding, classes):
        yield Step("Comparing")
        numbers = torch.arange(1, len(classes) + 1)[:, None, None]
        refined, coarse = ((encoding.labels[..., colour] == numbers).float() for colour in (0, 1))
        refined = coarse if encoding.compensation is None else refined
        scores = Scores(encoding.labels.shape[:2], coarse, refined, presence(coarse, refined))
        return Scored(classes, scores, self.engine.settings)
