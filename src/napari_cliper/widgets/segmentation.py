"""The work behind the docks, as generators of steps for the worker: no Qt, no layers."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from napari_cliper.encodings import Encodings, digest
from napari_cliper.errors import NapariCliperError
from napari_cliper.images import odd_values
from napari_cliper.models.schema import CLIPER
from napari_cliper.widgets import warm_up
from napari_cliper.widgets.jobs import Part
from napari_cliper.widgets.planes import Plane
from napari_cliper.widgets.preferences import Preferences
from napari_cliper.widgets.regions import Nowhere

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from numpy.typing import NDArray

    from napari_cliper.annotation.class_list import ClassList
    from napari_cliper.cliper.steps import Step, Steps
    from napari_cliper.result import Result, Scored
    from napari_cliper.segmenter import Encoding, Segmenter

T = TypeVar("T")
ODD = "{:,} values are not finite: they count as darkest or brightest."


@dataclass(frozen=True)
class Model:
    """What was chosen to segment with, as of `segmenter.load`."""

    preset: str
    device: str = "auto"
    method: str = CLIPER
    precision: str = "auto"


@dataclass(frozen=True)
class Adjustment:
    """What can be changed without running a model.

    Attributes
    ----------
    presence, background : float in [0, 1], or None for the preset's threshold
    refinement : float in [0, 1]
    all_present : bool
        Whether all classes are known to be in the picture.
    """

    presence: float | None = None
    background: float | None = None
    refinement: float = 1.0
    all_present: bool = False

    def label(self, scored: Scored) -> Result:
        """The label maps that scores give."""
        present = "all" if self.all_present else None
        return scored.label(self.presence, self.background, present, self.refinement)


@dataclass(frozen=True)
class Request:
    """What someone wants segmented.

    Attributes
    ----------
    plane : Plane
    classes : ClassList
    model : Model
    adjustment : Adjustment
    download : bool
        Whether weights that are not on this machine may be fetched.
    """

    plane: Plane
    classes: ClassList
    model: Model
    adjustment: Adjustment = Adjustment()
    download: bool = False


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture that was compared with words: all that sliders and inspection go on from.

    Attributes
    ----------
    plane : Plane
    digest : str
        Of the pixels that were encoded.
    model : Model
    scored : Scored
    adjustment : Adjustment
        With which it is shown.
    """

    plane: Plane
    digest: str
    model: Model
    scored: Scored
    adjustment: Adjustment


@dataclass(frozen=True, eq=False)
class Segmented:
    """What a segmentation brings to the window.

    Attributes
    ----------
    scene : Scene
    result : Result
        Its label maps are made.
    summary : str
        What was found by which model, in a line or two.
    odd : int
        How many of the picture's values are not finite.
    """

    scene: Scene
    result: Result
    summary: str
    odd: int = 0


@dataclass(frozen=True)
class PlanesDone:
    """What came of segmenting several planes.

    Attributes
    ----------
    count : int
        Those that were segmented.
    failures : tuple of str
        A sentence for each of the others.
    odd : int
        How many of their values are not finite.
    """

    count: int
    failures: tuple[str, ...] = ()
    odd: int = 0

    @property
    def summary(self) -> str:
        """Both in a few sentences."""
        odd = [ODD.format(self.odd)] if self.odd else []
        planes = "plane" if self.count == 1 else "planes"
        return "\n".join([f"{self.count} {planes} segmented.", *odd, *self.failures])


# What took long and may be wanted again, for all docks of the process. One model only, since it may
# be gigabytes; a run over a large picture holds its own until it ends. Encodings go by the `Model`
# they were made with.
_segmenters: dict[Model, Segmenter] = {}
encodings = Encodings(limit=4e9)
_turn = threading.Lock()  # docks take turns: a model runs for one of them at a time
_idle: threading.Timer | None = None


def segmentation(request: Request) -> Steps[Segmented]:
    """Load the models if need be, then segment a picture.

    Raises
    ------
    NapariCliperError
        If nothing of the plane is wanted, weights or device are not there, the picture cannot be
        read or a word is too long.
    """
    request = replace(request, plane=request.plane.found())
    return (yield from in_turn(_segment(request)))


def segmentations(requests: Sequence[Request]) -> Generator[Step | Part, None, PlanesDone]:
    """Segment several planes of a picture, one after the other; each arrives as a `Part`.

    A plane that cannot be read keeps no other from it; one that nothing is wanted of is left out.

    Raises
    ------
    NapariCliperError
        As of `segmentation`; if no plane could be segmented, for the first one's reason.
    """
    from napari_cliper.cliper.steps import Step

    warm_up.wait()
    nowhere: list[NapariCliperError] = []
    failures: list[NapariCliperError] = []
    count = odd = 0
    prepared = False
    for number, request in enumerate(requests, 1):
        name = f"Plane {number} of {len(requests)}"
        if request.plane.where is not None:
            yield Step(f"{name}: Looking for its part", number - 1, len(requests))
        try:
            request = replace(request, plane=request.plane.found())
        except Nowhere as error:
            nowhere.append(error)
            continue
        except NapariCliperError as error:  # the layer that says which part
            failures.append(error)
            continue
        if not prepared:
            yield from in_turn(_prepare(request))
            prepared = True
        steps = in_turn(_segment(request))
        try:
            while True:
                step = next(steps)
                told = f"{name}: {step.name}"
                yield step if step.notice else Step(told, number - 1, len(requests))
        except StopIteration as stop:
            segmented: Segmented = stop.value
            count += 1
            odd += segmented.odd
            yield Part(segmented)
        except NapariCliperError as error:
            failures.append(error)
        finally:
            steps.close()
    if not count:
        raise [*failures, *nowhere][0]
    return PlanesDone(count, tuple(map(str, failures)), odd)


def encoding_of(plane: Plane, model: Model, download: bool = False) -> Steps[Encoding]:
    """Load the models if need be, then encode a picture so that it can be looked into.

    Raises
    ------
    NapariCliperError
        As of `segmentation`.
    """
    return in_turn(_encode_to_inspect(plane, model, download))


def encode_ahead(plane: Plane, model: Model) -> Steps[None]:
    """Encode a picture that will be asked for next, if the models are there already.

    Raises
    ------
    NapariCliperError
        If the picture cannot be read.
    """
    return in_turn(_encode_ahead(plane, model))


def in_turn(steps: Steps[T]) -> Steps[T]:
    """Run steps when it is our turn, with everything imported.

    Raises
    ------
    NapariCliperError
        torch cannot be loaded.
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
        yield Step("Waiting for another dock")
    try:
        return (yield from steps)
    finally:  # a job that is cancelled is closed, see `jobs`
        _turn.release()
        _let_go_when_idle()


def _let_go_when_idle() -> None:
    """Have `let_go` called when nobody has worked for as long as the preferences say."""
    global _idle
    if _idle is not None:
        _idle.cancel()
    minutes = Preferences.read().idle_limit
    _idle = threading.Timer(60 * minutes, let_go) if minutes else None
    if _idle is not None:
        _idle.daemon = True  # a process that ends does not wait for it
        _idle.start()


def let_go() -> None:
    """Let go of models and encodings, unless one is at work."""
    if not _turn.acquire(blocking=False):
        return
    try:
        devices = {segmenter.device for segmenter in _segmenters.values()}
        _segmenters.clear()
        encodings.clear()
        if devices:
            from napari_cliper.out_of_memory import give_back

            for device in devices:
                give_back(device)
    finally:
        _turn.release()


def _prepare(request: Request) -> Steps[None]:
    """Models and words: what is wrong with these is wrong for all planes."""
    segmenter = yield from segmenter_of(request.model, request.download)
    yield from segmenter.word_steps(request.classes)


def _segment(request: Request) -> Steps[Segmented]:
    from napari_cliper.cliper.steps import Step

    segmenter = yield from segmenter_of(request.model, request.download)
    classes = request.classes
    yield from segmenter.word_steps(classes)  # a mistake in the words shows before the long work
    values = request.plane.read()
    pixels = request.plane.as_shown(values)
    encoding = yield from segmenter.encode_steps(pixels)
    encoding = replace(encoding, size=request.plane.looked_at)
    scored = yield from segmenter.score_steps(encoding, classes)
    yield Step("Labelling")
    result = request.adjustment.label(scored)
    model = f"{segmenter.preset_name} on {segmenter.device} in {segmenter.precision}"
    summary = f"{model}: {found(result.labels, result.classes)}."
    if odd := odd_values(values):
        summary += f"\n{ODD.format(odd)}"
    if segmenter.note is not None:
        summary += f"\n{segmenter.note}"
    _ = result.labels, result.coarse_labels  # made here, not in the window
    scene = Scene(request.plane, digest(pixels), request.model, scored, request.adjustment)
    return Segmented(scene, result, summary, odd)


def _encode_to_inspect(plane: Plane, model: Model, download: bool) -> Steps[Encoding]:
    segmenter = yield from segmenter_of(model, download)
    encoding = yield from segmenter.encode_steps(plane.pixels(), inspect=True)
    return replace(encoding, size=plane.full)  # points are those of the picture itself


def _encode_ahead(plane: Plane, model: Model) -> Steps[None]:
    if model in _segmenters:
        yield from _segmenters[model].encode_steps(plane.pixels())


def segmenter_of(model: Model, download: bool) -> Steps[Segmenter]:
    """The window's models, loaded if need be; only in one's turn.

    Raises
    ------
    NapariCliperError
        Weights or device are not there.
    """
    from napari_cliper.models.choices import Choices
    from napari_cliper.segmenter import load_steps

    if model not in _segmenters:
        # Another method on the same models; other models must be gone before these are loaded.
        known = {replace(other, method=model.method): other for other in _segmenters}
        before = _segmenters[known[model]] if model in known else None
        if before is None:
            _segmenters.clear()
            encodings.clear()
        loaded = yield from load_steps(
            model.preset,
            model.device,
            download=download,
            choices=Choices(method=model.method, precision=model.precision),
            before=before,
            keep=Preferences.read().disk_limit or None,
        )
        _segmenters.clear()
        _segmenters[model] = replace(loaded, encodings=encodings, kept_as=model)
    return _segmenters[model]


def found(labels: NDArray[np.integer], classes: ClassList) -> str:
    """Name the share of each class, the largest first."""
    counts = np.bincount(labels.ravel(), minlength=max(classes.ids) + 1)
    shares = {entry.name: counts[entry.id] / labels.size for entry in classes}
    names = sorted((name for name in shares if shares[name]), key=lambda name: -shares[name])
    if not names:
        return "none of these classes found"
    return ", ".join(f"{name} {shares[name]:.0%}" for name in names)
