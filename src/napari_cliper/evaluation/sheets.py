"""Sheets of pictures: what was asked of a method, what it found and where it is wrong."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from napari_cliper.annotation.class_list import ClassEntry, ClassList
from napari_cliper.evaluation.datasets.dataset import IGNORED, Labels
from napari_cliper.evaluation.runner import Example, Outcome
from napari_cliper.files.atomic import atomic_write
from napari_cliper.files.overlay import INK, PAPER, draw_overlay
from napari_cliper.models.schema import CLIPER

WIDTH = 360  # of a cell's picture
GAP, LETTER = 12, 16
RANKS = ("best", "median", "worst")
UNCOUNTED = (224, 224, 192)
# What is wrong with a pixel; its place here is its label in the column of errors.
ERRORS = ClassList(
    classes=(
        ClassEntry(id=1, name="missed", color=(40, 90, 255)),
        ClassEntry(id=2, name="not there", color=(255, 170, 0)),
        ClassEntry(id=3, name="another class", color=(230, 20, 60)),
        ClassEntry(id=4, name="not counted", color=UNCOUNTED),
    )
)
Cells = Sequence[NDArray[np.uint8]]


def save_extremes(path: Path, outcome: Outcome, classes: ClassList, overwrite: bool) -> None:
    """The best, median and worst picture: image, truth, coarse, refined, error.

    Parameters
    ----------
    path : Path
        Ends in “.png”.
    outcome : Outcome
    classes : ClassList
        By the names to show.
    overwrite : bool
        Whether a file that is there may be replaced.

    Raises
    ------
    NapariCliperError
        The file cannot be written.
    """
    refined = outcome.extremes[0].refined is not None
    columns = ["picture", "truth", "coarse", *(["refined"] if refined else []), "error"]
    # Where there are fewer than three pictures, the last one is the worst.
    ranks = RANKS if len(outcome.extremes) == len(RANKS) else (RANKS[0], RANKS[2])
    rows = []
    for rank, example in zip(ranks, outcome.extremes, strict=False):
        masks = [example.coarse, *([] if example.refined is None else [example.refined])]
        cells = [
            _small(example.picture),
            _cell(example, example.truth, classes),
            *(_cell(example, mask, classes) for mask in masks),
            _cell(example, errors(example.truth, example.found), ERRORS),
        ]
        rows.append((f"{rank}: {_said(example)}", cells))
    _save(path, outcome.run.title, columns, rows, overwrite)


def save_methods(
    path: Path, outcomes: Sequence[Outcome], classes: ClassList, overwrite: bool
) -> None:
    """The same pictures by every method (Figure 5), with compensation where a run has it.

    Parameters
    ----------
    path, classes, overwrite
        As of `save_extremes`.
    outcomes : sequence of Outcome
        At least one that watched a picture.

    Raises
    ------
    NapariCliperError
        The file cannot be written.
    """
    first = outcomes[0].watched
    columns = ["picture", "truth", *map(_column, outcomes)]
    rows = []
    for name, example in first.items():
        found = [outcome.watched[name] for outcome in outcomes if name in outcome.watched]
        if len(found) < len(outcomes):  # some method failed on it
            continue
        cells = [
            _small(example.picture),
            _cell(example, example.truth, classes),
            *(_cell(one, one.found, classes) for one in found),
        ]
        rows.append((name, cells))
    _save(path, "The same pictures by every method", columns, rows, overwrite)


def _column(outcome: Outcome) -> str:
    refined = outcome.run.asked.refined is not None and outcome.run.method != CLIPER
    return f"{outcome.run.title}, compensated" if refined else outcome.run.title


def errors(truth: Labels, found: Labels) -> NDArray[np.uint16]:
    """What is wrong with each pixel, (H, W): an id of `ERRORS`, 0 where nothing is."""
    wrong = np.zeros(truth.shape, np.uint16)
    wrong[(truth > 0) & (found == 0)] = 1
    wrong[(truth == 0) & (found > 0)] = 2
    wrong[(truth > 0) & (found > 0) & (truth != found)] = 3
    wrong[truth == IGNORED] = 4
    return wrong


def _said(example: Example) -> str:
    score = "–" if example.score is None else f"{100 * example.score:.1f}"
    return f"{example.name}, mIoU of its classes {score}"


def _small(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture in the size of a cell."""
    return np.array(Image.fromarray(picture).resize(_size(picture.shape), Image.Resampling.LANCZOS))


def _size(shape: Sequence[int]) -> tuple[int, int]:
    return WIDTH, max(1, round(WIDTH * shape[0] / shape[1]))


def _cell(example: Example, labels: NDArray[np.uint16], classes: ClassList) -> NDArray[np.uint8]:
    """A picture with labels over it, in the size of a cell, above the legend of what it shows."""
    uncounted = len(classes) + 1
    values = np.where(labels == IGNORED, uncounted, labels).astype(np.uint16)
    size = _size(values.shape)
    shown = np.array(Image.fromarray(values).resize(size, Image.Resampling.NEAREST))
    if uncounted in shown:
        entry = ClassEntry(id=uncounted, name="not counted", color=UNCOUNTED)
        classes = ClassList(classes=(*classes, entry))
    return draw_overlay(_small(example.picture), shown, classes)


def _save(
    path: Path,
    title: str,
    columns: Sequence[str],
    rows: Iterable[tuple[str, Cells]],
    overwrite: bool,
) -> None:
    """Lay cells out in a table with a title, names of columns and a line above each row."""
    rows = list(rows)
    font, large = ImageFont.load_default(LETTER), ImageFont.load_default(LETTER * 1.5)
    heights = [max(cell.shape[0] for cell in cells) for _, cells in rows]
    line = 2 * LETTER
    top = 2 * GAP + 2 * line
    size = (
        GAP + len(columns) * (WIDTH + GAP),
        top + sum(height + line + GAP for height in heights),
    )
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP, GAP + LETTER), title, fill=INK, font=large, anchor="lm")
    for index, column in enumerate(columns):
        place = GAP + index * (WIDTH + GAP)
        draw.text((place, 2 * GAP + 3 * LETTER), column, fill=INK, font=font, anchor="lm")
    for (caption, cells), height in zip(rows, heights, strict=True):
        draw.text((GAP, top + LETTER), caption, fill=INK, font=font, anchor="lm")
        for index, cell in enumerate(cells):
            sheet.paste(Image.fromarray(cell), (GAP + index * (WIDTH + GAP), top + line))
        top += height + line + GAP
    with atomic_write(path, overwrite) as file:
        sheet.save(file, "PNG")
