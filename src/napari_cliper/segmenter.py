"""Words and a picture go in; label maps come out, as numpy arrays.

>>> import napari_cliper as nc
>>> model = nc.load("small")  # doctest: +SKIP
>>> encoding = model.encode(image)  # doctest: +SKIP
>>> result = model.segment(encoding, "cat; sofa = couch, settee")  # doctest: +SKIP
"""

import sys
import warnings
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from napari_cliper.annotation.class_list import ClassList
from napari_cliper.cliper import CLIPer, Encoding, Step, drain
from napari_cliper.cliper.memory_estimate import encoding_bytes
from napari_cliper.cliper.steps import Steps, T
from napari_cliper.encoding_files import EncodingFiles, Templates
from napari_cliper.encodings import Encodings, digest
from napari_cliper.errors import NapariCliperError
from napari_cliper.images import to_rgb
from napari_cliper.models import loading, weights
from napari_cliper.models.choices import Choices
from napari_cliper.models.kept_files import disk_limit
from napari_cliper.models.precision import resolve_precision
from napari_cliper.models.presets import AUTO, Changes
from napari_cliper.models.schema import CLIPER, Preset
from napari_cliper.out_of_memory import free_bytes, within_memory
from napari_cliper.result import Presence, Result, Scored

__all__ = [
    "Encoding",
    "Presence",
    "Result",
    "Scored",
    "Segmenter",
    "Step",
    "drain",
    "load",
    "load_steps",
]

USUAL = Choices()
CPU = torch.device("cpu")


@dataclass(frozen=True, eq=False)
class Segmenter:
    """A loaded preset: a picture is encoded once, and segmented again and again.

    Attributes
    ----------
    preset : Preset
    device : str
        Where it computes, as torch names it.
    precision : str
        Of the models' weights: "float32", "bfloat16" or "float16".
    engine : CLIPer
    note : str or None
        One line for the person who left the choice of the preset to us.
    weights_folder : Path or None
        Where weights were looked for first.
    origins : mapping of str to str
        What files the weights came from, as of `loading.Loader`.
    disk : EncodingFiles or None
        What is kept on disk; None for nothing.
    encodings : Encodings
        What is kept in memory; `encodings.limit` bounds its bytes.
    kept_as : hashable
        What its encodings go by, among those of other models.
    """

    preset: Preset
    device: str
    precision: str
    engine: CLIPer = field(repr=False)
    note: str | None = None
    weights_folder: Path | None = None
    origins: Mapping[str, str] = field(default_factory=dict, repr=False)
    disk: EncodingFiles | None = field(default=None, repr=False)
    encodings: Encodings = field(default_factory=Encodings, repr=False)
    kept_as: Hashable = None
    _text_rows: dict[tuple[Templates, str], Tensor] = field(default_factory=dict, repr=False)
    _spare: list[CLIPer] = field(default_factory=list, init=False, repr=False)

    @property
    def preset_name(self) -> str:
        """The preset's name."""
        return self.preset.name

    def fits(self, device: str, precision: str, folder: Path | None) -> bool:
        """Whether its models could serve where these are asked for."""
        return (self.device, self.precision, self.weights_folder) == (device, precision, folder)

    def encode(self, image: ArrayLike, inspect: bool = False) -> Encoding:
        """Look at a picture once; what this returns is kept, and `segment` takes it.

        Parameters
        ----------
        image : array
            Whatever `images.to_rgb` takes: (H, W, 3) uint8, or grey, RGBA, 16-bit, float.
        inspect : bool
            Whether the attention of every layer and head is kept too, for an `Inspector`. It takes
            memory; what is segmented is the same.

        Raises
        ------
        NapariCliperError
            If this is not a picture that can be segmented.
        """
        return finish(self.encode_steps(image, inspect))

    def encode_steps(
        self, image: ArrayLike, inspect: bool = False, keep: bool = True
    ) -> Steps[Encoding]:
        """`encode` as a generator of steps; without `keep`, it is not kept for the next time."""
        pixels = to_rgb(image)
        if not keep:
            return (yield from self._encode(pixels, inspect))
        picture = digest(pixels)
        encoding = self.encodings.get((self.kept_as, picture), inspect)
        if encoding is not None:
            return encoding
        kept = self.disk.encoding(picture) if self.disk and not inspect else None
        encoding = kept or (yield from self._encode(pixels, inspect))
        self.encodings.keep((self.kept_as, picture), encoding)
        where = torch.device(self.device).type
        if self.disk and kept is None and encoding.attention.device.type == where:
            yield Step("Keeping the encoded picture")
            self.disk.keep_encoding(picture, encoding)
        return encoding

    def _encode(self, pixels: NDArray[np.uint8], inspect: bool) -> Steps[Encoding]:
        """Encode where there is room: on the CPU if a GPU's memory is too small."""

        def on_cpu() -> Steps[Encoding]:
            if not self._spare:
                self._spare.append((yield from self._engine_on_cpu()))
            return (yield from self._spare[0].encode(pixels, inspect))

        def needed() -> int:
            return encoding_bytes(self.engine, (pixels.shape[0], pixels.shape[1]))

        device = torch.device(self.device)
        if self._spare and needed() > free_bytes(device):  # it has failed before
            return (yield from within_memory(on_cpu, CPU, needed))
        elsewhere = None if device.type == "cpu" else on_cpu

        def here() -> Steps[Encoding]:
            return self.engine.encode(pixels, inspect)

        return (yield from within_memory(here, device, needed, elsewhere))

    def _engine_on_cpu(self) -> Steps[CLIPer]:
        """The same models, loaded once more."""
        dtype = resolve_precision(AUTO, CPU)
        return loading.Loader(self.preset, CPU, dtype, self.weights_folder).load()

    def score(self, image: ArrayLike | Encoding, classes: str | ClassList) -> Scored:
        """Compare a picture with words; what this returns gives labels at any thresholds.

        Parameters
        ----------
        image : array or Encoding
            A picture as `encode` takes it, or what `encode` returned.
        classes : str or ClassList
            One class a line or separated by semicolons: `name`, or `name = synonym, synonym`.

        Raises
        ------
        NapariCliperError
            If the picture or the classes cannot be used, or a name is too long.
        """
        return finish(self.score_steps(image, classes))

    def classify(
        self,
        image: ArrayLike | Encoding,
        classes: str | ClassList,
        presence_threshold: float | None = None,
    ) -> Presence:
        """Tell which classes are in a picture (Table 2).

        Parameters
        ----------
        image : array or Encoding
            A picture as `encode` takes it, or what `encode` returned.
        classes : str or ClassList
        presence_threshold : float in [0, 1], or None for the preset's

        Raises
        ------
        NapariCliperError
            If the picture or the classes cannot be used, or a name is too long.
        """
        return finish(self.classify_steps(image, classes, presence_threshold))

    def classify_steps(
        self,
        image: ArrayLike | Encoding,
        classes: str | ClassList,
        presence_threshold: float | None = None,
    ) -> Steps[Presence]:
        """`classify` as a generator of steps."""
        classes = ClassList.parse(classes)
        self.engine.thresholds(presence_threshold)
        scored = yield from self.score_steps(image, classes)
        return Presence(classes, scored.presence, scored.present(presence_threshold))

    def segment(
        self,
        image: ArrayLike | Encoding,
        classes: str | ClassList,
        presence_threshold: float | None = None,
        background_threshold: float | None = None,
        present: str | Sequence[str] | None = None,
    ) -> Result:
        """Find classes in a picture.

        Parameters
        ----------
        image : array or Encoding
            A picture as `encode` takes it, or what `encode` returned.
        classes : str or ClassList
            One class a line or separated by semicolons: `name`, or `name = synonym, synonym`.
        presence_threshold, background_threshold, present
            As of `Scored.label`.

        Raises
        ------
        NapariCliperError
            If the picture or the classes cannot be used, or a name is too long.
        """
        return finish(
            self.segment_steps(image, classes, presence_threshold, background_threshold, present)
        )

    def segment_steps(
        self,
        image: ArrayLike | Encoding,
        classes: str | ClassList,
        presence_threshold: float | None = None,
        background_threshold: float | None = None,
        present: str | Sequence[str] | None = None,
    ) -> Steps[Result]:
        """`segment` as a generator of steps."""
        classes = ClassList.parse(classes)
        self.engine.thresholds(presence_threshold, background_threshold)
        classes.known(present)
        scored = yield from self.score_steps(image, classes)
        yield Step("Labelling")
        return scored.label(presence_threshold, background_threshold, present)

    def score_steps(self, image: ArrayLike | Encoding, classes: str | ClassList) -> Steps[Scored]:
        """`score` as a generator of steps."""
        classes = ClassList.parse(classes)
        # The words first: a mistake in them shows before the long work.
        rows = yield from self.word_steps(classes)
        if not isinstance(image, Encoding):
            image = yield from self.encode_steps(image)
        elif not self.engine.settings.encodes_as(image.settings):
            raise NapariCliperError(
                "The picture was encoded for another method or other settings: encode it again "
                "with this model."
            )
        return Scored(classes, self.engine.score(image, *rows), self.engine.settings)

    def word_steps(self, classes: ClassList) -> Steps[tuple[Tensor, Tensor]]:
        """Encode classes and background words; each is kept, and encoded once.

        Returns
        -------
        (C, D) and (B, D) float32, rows of length 1

        Raises
        ------
        NapariCliperError
            If a name is too long for the text tower.
        """
        templates = classes.templates or self.preset.templates
        prompts = [*classes.prompts, *_background(self.preset, classes)]
        known = self._text_rows
        new = [prompt for prompt in dict.fromkeys(prompts) if (templates, prompt) not in known]
        found = yield from self._read_words(templates, new)
        known.update(((templates, prompt), row) for prompt, row in found.items())
        rows = [known[templates, prompt] for prompt in prompts]
        return _stack(rows[: len(classes)], rows[0]), _stack(rows[len(classes) :], rows[0])

    def _read_words(self, templates: Templates, prompts: list[str]) -> Steps[dict[str, Tensor]]:
        """The row of each prompt, from disk or from the text tower."""
        found = self.disk.rows(templates, prompts) if self.disk else {}
        new = [prompt for prompt in prompts if prompt not in found]
        if new:
            encoded = yield from self.engine.encode_text(new, templates)
            rows = dict(zip(new, encoded, strict=True))
            if self.disk:
                self.disk.keep_rows(templates, rows)
            found |= rows
        return found


def finish(steps: Steps[T]) -> T:
    """Run steps to their end; a notice among them becomes a warning."""

    def warn(step: Step) -> None:
        if step.notice:
            warnings.warn(step.name, stacklevel=4)

    return drain(steps, warn)


def _background(preset: Preset, classes: ClassList) -> tuple[str, ...]:
    """The words for what is none of the classes, without those that a class has taken."""
    words = preset.background if classes.background is None else classes.background
    taken = {word.casefold() for entry in classes for word in (entry.name, *entry.synonyms)}
    return tuple(word for word in words if word.casefold() not in taken)


def _stack(rows: Sequence[Tensor], like: Tensor) -> Tensor:
    """(n, D) from n rows; none of them gives (0, D)."""
    return torch.stack(list(rows)) if rows else like.new_zeros(0, like.shape[-1])


def load(
    preset: str | Path = AUTO,
    device: str = "auto",
    weights_folder: str | Path | None = None,
    download: bool = False,
    *,
    method: str = CLIPER,
    encoder: str | None = None,
    compensation: str | None = None,
    precision: str = AUTO,
    changes: Sequence[str | Changes] | str | Changes = (),
    keep: float | None = None,
) -> Segmenter:
    """Load a preset's models.

    Parameters
    ----------
    preset : str or Path
        "small", "base", "large", "huge", the path of a preset file, or "auto": the best one whose
        weights are on this machine and whose device suits.
    device : str
        "auto", "cpu", "cuda", "cuda:1", "mps".
    weights_folder : str, Path or None
        Where to look for weights first; None asks the environment's NAPARI_CLIPER_WEIGHTS.
    download : bool
        Whether weights that are not on this machine may be fetched. They can be gigabytes; what
        is fetched, how large it is and its licence are told on standard error.
    method, encoder, compensation, precision, changes
        As of `Choices`.
    keep : float or None
        Gigabytes on disk where encoded pictures and words are kept for other processes; 0 for
        none. None asks the environment's NAPARI_CLIPER_KEEP, else it is 0.

    Raises
    ------
    NapariCliperError
        If there is no such preset, device or choice, or its weights are not to be had.
    """
    choices = Choices(method, encoder, compensation, precision, changes)  # type: ignore[arg-type]
    steps = load_steps(preset, device, weights_folder, download, choices, keep=keep)
    return drain(steps, _tell_terms)


def _tell_terms(step: Step) -> None:
    """Print what is about to be fetched; the steps that follow tell how far it is."""
    if step.name.startswith(loading.FETCHING):
        print(step.name, file=sys.stderr)


def load_steps(
    preset: str | Path = AUTO,
    device: str = "auto",
    weights_folder: str | Path | None = None,
    download: bool = False,
    choices: Choices = USUAL,
    before: Segmenter | None = None,
    keep: float | None = None,
) -> Steps[Segmenter]:
    """`load` as a generator of steps; models that `before` has already are not loaded again."""
    where = loading.resolve_device(device)
    dtype = resolve_precision(choices.precision, where)
    precision = str(dtype).removeprefix("torch.")
    folder = weights.user_folder(weights_folder)
    limit = disk_limit(keep)
    yield Step("Loading the model")
    full, note = weights.choose(preset, where.type, folder, choices)
    known = before if before and before.fits(str(where), precision, folder) else None
    built = loading.Built(known.preset, known.engine, known.origins) if known else None
    loader = loading.Loader(full, where, dtype, folder, download, built)
    engine = yield from loader.load()
    found = loader.origins
    disk = EncodingFiles.of(limit, full, engine.settings, where, dtype, found) if limit else None
    segmenter = Segmenter(full, str(where), precision, engine, note, folder, found, disk)
    if known and known.engine.text_encoder is engine.text_encoder:
        segmenter._text_rows.update(known._text_rows)
    return segmenter
