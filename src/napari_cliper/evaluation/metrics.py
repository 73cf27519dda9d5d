"""How well labels fit their truth: counted picture by picture, judged at the end."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_cliper.evaluation.datasets.dataset import IGNORED, Labels
from napari_cliper.evaluation.needs import needed
from napari_cliper.evaluation.report import Figures, ImageLevel

BACKGROUND = "background"


@dataclass(frozen=True, eq=False)
class Confusion:
    """How many pixels of each true label got each label.

    Attributes
    ----------
    counts : (C + 1, C + 1) int64
        Row: the truth; column: what was found; 0 is what is none of the classes.
    """

    counts: NDArray[np.int64]

    @classmethod
    def empty(cls, classes: int) -> "Confusion":
        """Of no pixel yet."""
        return cls(np.zeros((classes + 1, classes + 1), np.int64))

    @classmethod
    def of(cls, truth: Labels, found: Labels, classes: int) -> "Confusion":
        """Of one picture.

        Parameters
        ----------
        truth : (H, W) uint16
            0 to C, or `IGNORED`: such pixels are not counted.
        found : (H, W) uint16
            0 to C.
        classes : int
            C.
        """
        counted = truth != IGNORED
        pairs = truth[counted].astype(np.int64) * (classes + 1) + found[counted]
        counts = np.bincount(pairs, minlength=(classes + 1) ** 2)
        return cls(counts.reshape(classes + 1, classes + 1).astype(np.int64))

    def add(self, other: "Confusion") -> None:
        """Count another picture's pixels too."""
        self.counts[...] += other.counts

    def figures(self, names: Sequence[str], background: bool) -> Figures:
        """The usual figures.

        Parameters
        ----------
        names : sequence of C str
        background : bool
            Whether 0 counts as a class.

        Returns
        -------
        Figures
            The means are over the classes in the truth, as the reference implementation has it. A
            class that is only found has the IoU 0, and one that is neither has none.
        """
        metrics = needed("sklearn.metrics")
        # The matrix's entries as samples with weights: one for each kind of pixel there is.
        truth, found = np.nonzero(self.counts)
        weights = self.counts[truth, found]
        labels = np.arange(0 if background else 1, len(self.counts))
        if not len(truth):
            return Figures.nothing()
        chosen = {"labels": labels, "average": None, "sample_weight": weights, "zero_division": 0}
        iou = metrics.jaccard_score(truth, found, **chosen)
        recall = metrics.recall_score(truth, found, **chosen)
        there = self.counts.sum(1)[labels] > 0
        seen = there | (self.counts.sum(0)[labels] > 0)
        called = [BACKGROUND, *names][labels[0] :]
        return Figures(
            miou=_mean(iou[there]),
            pixel_accuracy=float(metrics.accuracy_score(truth, found, sample_weight=weights)),
            mean_accuracy=_mean(recall[there]),
            iou={
                name: float(value) if known else None
                for name, value, known in zip(called, iou, seen, strict=True)
            },
        )

    def score(self, background: bool) -> float | None:
        """The mean IoU of the classes that are in the truth, of one picture; None if none is."""
        rows, columns = self.counts.sum(1), self.counts.sum(0)
        there = rows > 0
        there[0] &= background
        both = np.diagonal(self.counts)[there]
        return _mean(both / (rows + columns - np.diagonal(self.counts))[there])


def image_level(
    truth: NDArray[np.bool_], presence: NDArray[np.float32], found: NDArray[np.bool_]
) -> ImageLevel:
    """Which classes are in a picture: multi-label classification (Table 2).

    Parameters
    ----------
    truth, found : (n, C) bool
        Of each picture.
    presence : (n, C) float32
        How sure the maps are.

    Returns
    -------
    ImageLevel
        Means are over the classes that are in at least one picture's truth; what is pooled is over
        all classes.
    """
    metrics = needed("sklearn.metrics")
    known = truth.any(axis=0)
    if not known.any():
        return ImageLevel.nothing()
    pooled = metrics.precision_recall_fscore_support(truth, found, average="micro", zero_division=0)
    truth, presence, found = truth[:, known], presence[:, known], found[:, known]
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        truth, found, average=None, zero_division=0
    )
    each = [
        metrics.average_precision_score(one, sure)
        for one, sure in zip(truth.T, presence.T, strict=True)
    ]
    return ImageLevel(
        mean_average_precision=_mean(np.array(each)),
        f1=_mean(f1),
        precision=_mean(precision),
        recall=_mean(recall),
        pooled_f1=float(pooled[2]),
        pooled_precision=float(pooled[0]),
        pooled_recall=float(pooled[1]),
    )


def _mean(values: NDArray[np.float64]) -> float | None:
    return float(values.mean()) if len(values) else None
