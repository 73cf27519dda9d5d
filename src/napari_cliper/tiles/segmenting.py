"""Window by window: large pictures in bounded memory, and small things in more detail.

One mechanism for both. Each window is looked at as a picture of its own; the maps of all windows
are blended into those of the picture (`cliper.windows`), and so is the picture looked at as a
whole, which knows what a window alone cannot. Only then come presence, the stretching of each
class's scores and the thresholds (METHOD step 7), so that no window is treated by itself.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_cliper.annotation.class_list import ClassList
from napari_cliper.cliper import Scores
from napari_cliper.cliper.labelling import presence
from napari_cliper.cliper.steps import Step, Steps, T
from napari_cliper.cliper.windows import Blend, Layout
from napari_cliper.errors import NapariCliperError
from napari_cliper.images import MIN_SIDE
from napari_cliper.result import Result, Scored
from napari_cliper.segmenter import Segmenter, finish
from napari_cliper.tiles.picture import Lazy, Picture
from napari_cliper.tiles.stored import StoredResult, check_output, store_steps

USUAL_WINDOW = 1024  # pixels: what photographs are taken to show is seldom larger
LARGEST = 1e9  # bytes of the picture's maps
FLOAT = 4  # bytes of each entry


@dataclass(frozen=True)
class Tiling:
    """How a picture is looked at.

    Attributes
    ----------
    window : int or None
        Pixels of a window's side. None takes 1024, or two thirds of the picture's shorter side if
        that is less.
    overlap : float in [0.05, 0.75]
        The least share of a window that the next one holds, too.
    context : float in [0, 1), or None
        How much the picture as a whole counts; the windows count the rest. 0 does not look at it.
        None takes a window's side as a share of the picture's: the more a window shows of it, the
        more alike is what both can say.

    Raises
    ------
    NapariCliperError
        If a number is outside its range.
    """

    window: int | None = None
    overlap: float = 0.5
    context: float | None = None

    def __post_init__(self) -> None:
        if self.window is not None and self.window < MIN_SIDE:
            raise NapariCliperError(
                f"A window of {self.window} pixels is too small: give at least {MIN_SIDE}."
            )
        if not 0.05 <= self.overlap <= 0.75:
            raise NapariCliperError(
                f"An overlap of {self.overlap} makes no sense: give 0.05 to 0.75."
            )
        if self.context is not None and not 0 <= self.context < 1:
            raise NapariCliperError(
                f"A share of {self.context} for the whole picture makes no sense: give 0 to less "
                "than 1."
            )

    def layouts(self, size: tuple[int, int]) -> list[tuple[Layout, float, str]]:
        """The windows, and those for context, with what each counts and what it is called."""
        window = self.window or max(MIN_SIDE, min(USUAL_WINDOW, 2 * min(size) // 3))
        fine = Layout.of(size, window, self.overlap)
        if len(fine) == 1 or self.context == 0:
            return [(fine, 1.0, "Window")]
        # One window of the whole picture, unless it is very long.
        whole = Layout.of(size, max(size), self.overlap)
        share = math.sqrt(fine.area / whole.area) if self.context is None else self.context
        return [(fine, 1 - share, "Window"), (whole, share, "Whole picture")]


@dataclass(frozen=True)
class Asked:
    """How scores become labels, as of `Scored.label`."""

    presence_threshold: float | None = None
    background_threshold: float | None = None
    present: str | Sequence[str] | None = None

    def check(self, model: Segmenter, classes: ClassList) -> None:
        """Refuse what `label` would refuse, before the long work.

        Raises
        ------
        NapariCliperError
        """
        model.engine.thresholds(self.presence_threshold, self.background_threshold)
        classes.known(self.present)

    def label(self, scored: Scored) -> Result:
        """Turn scores into label maps."""
        return scored.label(self.presence_threshold, self.background_threshold, self.present)


USUAL, AS_USUAL = Tiling(), Asked()
Image = Lazy | Sequence[Lazy]
Limits = tuple[float, float] | None


def segment_tiled(
    model: Segmenter,
    image: Image,
    classes: str | ClassList,
    *,
    window: int | None = None,
    overlap: float = USUAL.overlap,
    context: float | None = None,
    presence_threshold: float | None = None,
    background_threshold: float | None = None,
    present: str | Sequence[str] | None = None,
    contrast_limits: Limits = None,
    output: str | Path | None = None,
    overwrite: bool = False,
) -> Result | StoredResult:
    """Find classes in a picture window by window: a large one, or one with small things in it.

    Parameters
    ----------
    model : Segmenter
    image : array, or sequence of arrays
        (H, W), (H, W, 3) or (H, W, 4) of any size: of numpy, dask, zarr, tensorstore, or whatever
        has a shape, a dtype and slices. It is read window by window. As a list, the picture and
        smaller copies of it, of which the smallest that is large enough is read.
    classes : str or ClassList
        One class a line or separated by semicolons: `name`, or `name = synonym, synonym`.
    window, overlap, context
        As of `Tiling`.
    presence_threshold, background_threshold, present
        As of `Scored.label`.
    contrast_limits : (low, high) or None
        The values that become black and white, as of `images.to_rgb`.
    output : str, Path or None
        An OME-Zarr folder that is made for the labels; its name ends in ``.zarr``. Without one, the
        result makes its labels in memory when it is asked for them.
    overwrite : bool
        Whether a Zarr folder that is there may be replaced.

    Returns
    -------
    Result or StoredResult
        The latter where an output is given: its `labels` are read from disk part by part.

    Raises
    ------
    NapariCliperError
        If the picture, the classes, a number or the output cannot be used, or a window cannot be
        read; nothing is left on disk then.
    """
    classes = ClassList.parse(classes)
    tiling = Tiling(window, overlap, context)
    asked = Asked(presence_threshold, background_threshold, present)
    if output is not None:
        path = Path(output)
        return finish(
            store_tiled_steps(
                model, image, classes, path, tiling, asked, contrast_limits, overwrite
            )
        )
    asked.check(model, classes)
    scored = finish(score_tiled_steps(model, image, classes, tiling, contrast_limits))
    return asked.label(scored)


def store_tiled_steps(
    model: Segmenter,
    image: Image,
    classes: ClassList,
    output: Path,
    tiling: Tiling = USUAL,
    asked: Asked = AS_USUAL,
    contrast_limits: Limits = None,
    overwrite: bool = False,
) -> Steps[StoredResult]:
    """`segment_tiled` with an output, as a generator of steps; closing it leaves nothing there."""
    asked.check(model, classes)
    size = Picture.checked(image, contrast_limits).size
    check_output(output, size, classes, overwrite)
    scored = yield from score_tiled_steps(model, image, classes, tiling, contrast_limits)
    return (yield from store_steps(asked.label(scored), output, overwrite))


def score_tiled_steps(
    model: Segmenter,
    image: Image,
    classes: ClassList,
    tiling: Tiling = USUAL,
    contrast_limits: Limits = None,
) -> Steps[Scored]:
    """Compare a picture with words, window by window.

    Parameters
    ----------
    model : Segmenter
    image, contrast_limits
        As of `segment_tiled`.
    classes : ClassList
    tiling : Tiling

    Yields
    ------
    Step, named after the window that is looked at

    Returns
    -------
    Scored
        Labels at any thresholds, as of a picture that was looked at once.

    Raises
    ------
    NapariCliperError
        If a name is too long, a window cannot be read, or the maps would be too large.
    """
    picture = yield from Picture.of(image, contrast_limits)
    rows = yield from model.word_steps(classes)
    coarse = refined = Blend.empty(0, (0, 0))
    for layout, share, title in tiling.layouts(picture.size):
        for number, window in enumerate(layout.windows()):
            name = f"{title} {number + 1} of {len(layout)}"
            yield Step(name, number, len(layout))
            pixels = picture.read(layout.part(window))
            looking = model.encode_steps(pixels, keep=False)
            encoding = yield from _named(looking, name, number, len(layout))
            scores = model.engine.score(encoding, *rows)
            if not len(coarse.maps):
                coarse, refined = _blends(layout, scores)
            coarse.add(layout, window, scores.coarse, share)
            refined.add(layout, window, scores.refined, share)
    found = presence(coarse.maps, refined.maps)
    scores = Scores(picture.size, coarse.maps, refined.maps, found)
    return Scored(classes, scores, model.engine.settings)


def _named(steps: Steps[T], name: str, done: int, total: int) -> Steps[T]:
    """The same steps under a name of ours; notices keep theirs."""
    try:
        while True:
            step = next(steps)
            yield step if step.notice else Step(name, done, total)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        steps.close()


def _blends(layout: Layout, scores: Scores) -> tuple[Blend, Blend]:
    """Empty maps of the whole picture, coarse and refined."""
    maps = scores.coarse, scores.refined
    grids = [layout.grid((one.shape[1], one.shape[2])) for one in maps]
    needed = FLOAT * len(scores.coarse) * sum(rows * columns for rows, columns in grids)
    if needed > LARGEST:
        raise NapariCliperError(
            f"The maps of {len(scores.coarse)} classes would take {needed / 1e9:.1f} GB: take "
            "larger windows, or fewer classes at a time."
        )
    coarse, refined = (Blend.empty(len(scores.coarse), grid) for grid in grids)
    return coarse, refined
