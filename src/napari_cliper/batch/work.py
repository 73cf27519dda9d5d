"""What is done with one picture, in whatever process."""

import threading
import time
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cliper.annotation.class_list import ClassList
from napari_cliper.annotation.unsure import weight_of
from napari_cliper.batch.journal import stamp
from napari_cliper.files.indexed_png import encode_labels
from napari_cliper.files.pictures import explained, read_picture
from napari_cliper.images import Percentiles, normalised
from napari_cliper.models.choices import Choices
from napari_cliper.models.presets import AUTO

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
    percentiles : (float, float) or None
        Which of a picture's values become black and white, as of `images.normalised`.
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
    percentiles: Percentiles | None = None


@dataclass(frozen=True)
class Content:
    """What is in a picture's file.

    Attributes
    ----------
    data : bytes
    stamp : str
        As of `journal.stamp`, when it was read.
    """

    data: bytes
    stamp: str

    @classmethod
    def of(cls, picture: Path) -> "Content":
        """Read it.

        Raises
        ------
        NapariCliperError
            It cannot be read.
        """
        seen = stamp(picture)
        with explained(picture):
            return cls(picture.read_bytes(), seen)


@dataclass(frozen=True)
class Made:
    """What was made of one picture.

    Attributes
    ----------
    labels : bytes
        The label map, as `indexed_png.encode_labels` writes it.
    stamp : str
        Of the picture's file, as of `Content`.
    uncertainty : float
        Its mean, 0 to 1.
    seconds : float
        What it took, the models being loaded.
    notices : tuple of str
        What a person should know of how it was made.
    """

    labels: bytes
    stamp: str
    uncertainty: float
    seconds: float
    notices: tuple[str, ...] = ()


def identify(recipe: Recipe) -> str:
    """A sum of all that labels depend on: words, models, settings, precision, percentiles.

    Raises
    ------
    NapariCliperError
        There is no such preset or device, or weights are absent.
    """
    from napari_cliper.models import weights
    from napari_cliper.models.loading import resolve_device
    from napari_cliper.models.precision import resolve_precision

    folder, where = weights.user_folder(recipe.weights), resolve_device(recipe.device)
    preset, _ = weights.choose(recipe.preset, where.type, folder, recipe.choices)
    precision = resolve_precision(recipe.choices.precision, where)
    labelled = (recipe.present, recipe.presence, recipe.background, recipe.refinement)
    parts = [preset.model_dump_json(), recipe.classes.model_dump_json(), repr(labelled)]
    parts.append(str(precision))
    if recipe.percentiles is not None:  # else the sum is that of times when there were none
        parts.append(repr(recipe.percentiles))
    return sha256("\0".join(parts).encode()).hexdigest()


turn = threading.RLock()  # of a process: its models look at one picture at a time
_loaded: dict[str, "Segmenter"] = {}  # one only, it may be gigabytes


def load(recipe: Recipe) -> "Steps[Segmenter]":
    """The recipe's models; this process's last ones if they are those.

    Raises
    ------
    NapariCliperError
        Weights or device are not there.
    """
    from napari_cliper.segmenter import load_steps

    with turn:
        key = repr((recipe.preset, recipe.device, recipe.weights, recipe.choices))
        model = _loaded.get(key)
        if model is None:
            _loaded.clear()
            model = yield from load_steps(
                recipe.preset, recipe.device, recipe.weights, recipe.download, recipe.choices
            )
            model.encodings.limit = 0  # no picture comes twice
            _loaded[key] = model
        return model


def forget() -> None:
    """Let go of this process's models."""
    with turn:
        _loaded.clear()


def make(recipe: Recipe, name: str, content: Content) -> "Steps[Made]":
    """Segment one picture with this process's models.

    Parameters
    ----------
    recipe : Recipe
    name : str
        The picture's, for messages.
    content : Content

    Yields
    ------
    Step

    Raises
    ------
    NapariCliperError
        If it is no picture, or cannot be segmented.
    """
    with turn:
        model = yield from load(recipe)
        return (yield from make_with(model, recipe, name, content))


def make_with(model: "Segmenter", recipe: Recipe, name: str, content: Content) -> "Steps[Made]":
    """`make` with models that are loaded."""
    began = time.perf_counter()
    picture = normalised(read_picture(name, content.data), recipe.percentiles)
    scored = yield from model.score_steps(picture, recipe.classes)
    result = scored.label(recipe.presence, recipe.background, recipe.present, recipe.refinement)
    return Made(
        encode_labels(result.labels, result.classes),
        content.stamp,
        weight_of(result.uncertainty),
        time.perf_counter() - began,
    )
