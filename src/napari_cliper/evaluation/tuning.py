"""Thresholds chosen on one split, so that another one can be reported on."""

from itertools import product
from pathlib import Path

from napari_cliper.cliper.steps import Step, Steps
from napari_cliper.errors import NapariCliperError
from napari_cliper.evaluation.datasets.dataset import Dataset
from napari_cliper.evaluation.metrics import Confusion
from napari_cliper.evaluation.needs import needed
from napari_cliper.evaluation.report import Point, Tuned
from napari_cliper.evaluation.runner import read_pair
from napari_cliper.files.atomic import atomic_write
from napari_cliper.segmenter import Segmenter

PRESENCE = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
# The smallest are what benchmarks without background use.
BACKGROUND = (0.0001, 0.001, 0.01, *(round(0.05 * step, 2) for step in range(1, 20)))


def check_apart(tuning: Dataset, reported: Dataset) -> None:
    """Refuse to tune on a picture that is reported on.

    Raises
    ------
    NapariCliperError
    """
    shared = {one.name for one in tuning.samples} & {one.name for one in reported.samples}
    if shared:
        raise NapariCliperError(
            f"“{min(shared)}” is both tuned on and reported on, which would be cheating: "
            "choose splits that share no picture."
        )


def tune(model: Segmenter, dataset: Dataset, title: str) -> Steps[Tuned]:
    """Try pairs of thresholds on pictures that are not reported on.

    Each picture is encoded and scored once; the masks that are judged are those that the method
    ends with.

    Parameters
    ----------
    model : Segmenter
    dataset : Dataset
        Of the split to tune on.
    title : str

    Yields
    ------
    Step

    Raises
    ------
    NapariCliperError
        One of the pictures cannot be read: what is chosen must not depend on which ones can.
    """
    count = len(dataset.classes)
    tallies = {pair: Confusion.empty(count) for pair in product(PRESENCE, BACKGROUND)}
    for done, sample in enumerate(dataset.samples):
        yield Step(f"{title}: tuning on {sample.name}", done, len(dataset.samples))
        picture, truth = read_pair(sample)
        encoding = yield from model.encode_steps(picture)
        scored = yield from model.score_steps(encoding, dataset.classes)
        # The presence varies slowest, for what it lets through is ranked only once.
        for (presence, background), tally in tallies.items():
            result = scored.label(presence, background)
            found = result.labels if encoding.compensation is not None else result.coarse_labels
            tally.add(Confusion.of(truth, found, count))
    points = tuple(
        Point(
            presence=presence,
            background=background,
            miou=tally.figures(dataset.names, dataset.background).miou,
        )
        for (presence, background), tally in tallies.items()
    )
    best = max(points, key=lambda point: -1.0 if point.miou is None else point.miou)
    return Tuned(
        split=dataset.split,
        pictures=len(dataset.samples),
        presence=best.presence,
        background=best.background,
        points=points,
    )


def save_curve(path: Path, tuned: Tuned, title: str, overwrite: bool = False) -> None:
    """Draw mIoU over the background threshold, a line for each presence threshold.

    Parameters
    ----------
    path : Path
        Ends in “.png”.
    tuned : Tuned
    title : str
    overwrite : bool
        Whether a file that is there may be replaced.

    Raises
    ------
    NapariCliperError
        matplotlib is not installed, or the file cannot be written.
    """
    # Without pyplot: it would look for a window.
    figure = needed("matplotlib.figure").Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    levels = sorted({point.presence for point in tuned.points})
    for index, presence in enumerate(levels):
        line = [point for point in tuned.points if point.presence == presence]
        axes.plot(
            [point.background for point in line],
            [None if point.miou is None else 100 * point.miou for point in line],
            marker=".",
            color=needed("matplotlib").colormaps["viridis"](index / max(1, len(levels) - 1) * 0.9),
            label=f"presence above {presence:g}",
        )
    axes.axvline(tuned.background, color="grey", linestyle=":")
    axes.set_title(
        f"{title}, tuned on {tuned.split} ({tuned.pictures} pictures)\n"
        f"best: presence {tuned.presence:g}, background {tuned.background:g}",
        fontsize=10,
    )
    axes.set_xlabel("background threshold")
    axes.set_ylabel("mIoU, per cent")
    axes.grid(alpha=0.3)
    axes.legend()
    with atomic_write(path, overwrite) as file:
        figure.savefig(file, format="png", dpi=120)
