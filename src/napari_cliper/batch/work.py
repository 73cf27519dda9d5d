"""What is done with one picture, in whatever process."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cliper.annotation.class_list import ClassList
from napari_cliper.annotation.unsure import weight_of
from napari_cliper.files.indexed_png import encode_labels
from napari_cliper.files.pictures import read_picture
from napari_cliper.models.choices import Choices
from napari_cliper.models.presets import AUTO
from napari_cliper.models.schema import Preset

if TYPE_CHECKING:
    from napari_cliper.cliper.steps import Steps
    from napari_cliper.segmenter import Segmenter


@dataclass(frozen=True)
class Recipe:
    """What all pictures are segmented with.

    Attributes
    ----------
    classes : ClassList
    preset : str
        As of `segmenter.load`.
    device : str
    weights : Path or None
        Where weights are looked for first.
    download : bool
    choices : Choices
    present : str or None
        The classes known to be in every picture, as of `Scored.label`.
    presence, background : float in [0, 1], or None for the preset's threshold
    refinement : float in [0, 1]
    """

    classes: ClassList
    preset: str = AUTO
    device: str = AUTO
    weights: Path | None = None
    download: bool = False
    choices: Choices = field(default_factory=Choices)
    present: str | None = None
    presence: float | None = None
    background: float | None = None
    refinement: float = 1.0

    def identity(self, preset: Preset) -> str:
        """A sum of all that labels depend on, but for where they are computed.

        Parameters
        ----------
        preset : Preset
            What is meant by the recipe's, as of `weights.choose`.
        """
        labelled = (self.present, self.presence, self.background, self.refinement)
        parts = (preset.model_dump_json(), self.classes.model_dump_json(), repr(labelled))
        return sha256("\0".join(parts).encode()).hexdigest()


@dataclass(frozen=True)
class Made:
    """What was made of one picture.

    Attributes
    ----------
    labels : bytes
        The label map, as `indexed_png.encode_labels` writes it.
    uncertainty : float
        Its mean, 0 to 1.
    shares : mapping of str to float
        Of each class that was found, its part of the pixels.
    seconds : float
        What it took, the models being loaded.
    """

    labels: bytes
    uncertainty: float
    shares: Mapping[str, float]
    seconds: float


_turn = threading.Lock()  # of a process: its models look at one picture at a time
_loaded: dict[str, "Segmenter"] = {}  # one only, it may be gigabytes


def load(recipe: Recipe) -> "Steps[Segmenter]":
    """The recipe's models; this process's last ones if they are those."""
    from napari_cliper.segmenter import load_steps

    key = repr(recipe)
    if key not in _loaded:
        _loaded.clear()
        model = yield from load_steps(
            recipe.preset, recipe.device, recipe.weights, recipe.download, recipe.choices
        )
        model.encodings.limit = 0  # no picture comes twice
        _loaded[key] = model
    return _loaded[key]


def make(recipe: Recipe, name: str, content: bytes) -> "Steps[Made]":
    """Segment one picture with this process's models.

    Parameters
    ----------
    recipe : Recipe
    name : str
        The picture's, for messages.
    content : bytes
        Of its file.

    Yields
    ------
    Step

    Raises
    ------
    NapariCliperError
        If it is no picture, or cannot be segmented.
    """
    with _turn:
        return (yield from make_with((yield from load(recipe)), recipe, name, content))


def make_with(model: "Segmenter", recipe: Recipe, name: str, content: bytes) -> "Steps[Made]":
    """`make` with models that are loaded."""
    began = time.perf_counter()
    scored = yield from model.score_steps(read_picture(name, content), recipe.classes)
    result = scored.label(recipe.presence, recipe.background, recipe.present, recipe.refinement)
    labels = result.labels
    shares = {entry.name: float((labels == entry.id).mean()) for entry in result.classes}
    return Made(
        encode_labels(labels, result.classes),
        weight_of(result.uncertainty),
        {name: share for name, share in shares.items() if share > 0},
        time.perf_counter() - began,
    )
