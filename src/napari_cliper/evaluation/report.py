"""What an evaluation found, as data: the JSON file is this, tables and Markdown are made of it."""

from typing import Self

from pydantic import BaseModel, ConfigDict


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def nothing(cls) -> Self:
        """Of no pixel or picture: no figure is known."""
        return cls(**{name: None for name in cls.model_fields if name != "iou"})


class Figures(_Data):
    """How well masks fit; shares, 0 to 1, and None where there is nothing to judge.

    Attributes
    ----------
    miou : float or None
        The mean of `iou` over the classes in the truth.
    pixel_accuracy : float or None
        Of the pixels that count, how many have the right label.
    mean_accuracy : float or None
        The mean over the classes in the truth of how many of their pixels have the right label.
    iou : dict of str to float or None
        Of each class, the background's first where it counts.
    """

    miou: float | None
    pixel_accuracy: float | None
    mean_accuracy: float | None
    iou: dict[str, float | None] = {}


class ImageLevel(_Data):
    """How well it is told which classes are in a picture (Table 2); shares, 0 to 1.

    Attributes
    ----------
    mean_average_precision, f1, precision, recall : float or None
        Means over classes.
    pooled_f1, pooled_precision, pooled_recall : float or None
        Of all decisions together.
    """

    mean_average_precision: float | None
    f1: float | None
    precision: float | None
    recall: float | None
    pooled_f1: float | None
    pooled_precision: float | None
    pooled_recall: float | None


class Masks(_Data):
    """Masks before and after fine-grained compensation.

    Attributes
    ----------
    coarse : Figures
    refined : Figures or None
        None where nothing is compensated.
    """

    coarse: Figures
    refined: Figures | None

    @property
    def best(self) -> Figures:
        """Those that the method ends with."""
        return self.refined or self.coarse


class Point(_Data):
    """One pair of thresholds that was tried, and its mIoU on the split for tuning."""

    presence: float
    background: float
    miou: float | None


class Tuned(_Data):
    """Thresholds that were chosen on other pictures than those reported on.

    Attributes
    ----------
    split : str
        What they were chosen on.
    pictures : int
    presence, background : float
        The best.
    points : tuple of Point
        All that were tried.
    """

    split: str
    pictures: int
    presence: float
    background: float
    points: tuple[Point, ...]


class Head(_Data):
    """One way to fuse the heads (Table 7), and the mIoU of the refined masks with it.

    Attributes
    ----------
    fusion : str
        "mean", "product", or a head's number.
    miou : float or None
    """

    fusion: str
    miou: float | None


class Failure(_Data):
    """A picture that could not be evaluated, and why."""

    picture: str
    reason: str


class Run(_Data):
    """One method on all pictures.

    Attributes
    ----------
    title : str
        The method, and what is varied.
    method, preset, architecture, precision, device : str
    settings : dict
        All of `cliper.Settings`, as used.
    asked : Masks
        All classes asked for (Table 1).
    told : Masks
        Told which classes are in each picture: pseudo-masks (Table 3).
    presence : ImageLevel
        Table 2.
    seconds : dict of str to float
        Of each stage, the median over pictures (Table 4); empty where encodings are kept on disk.
    seconds_a_picture : float or None
        The median over pictures of all stages together.
    scores : dict of str to float
        Of each picture, the mean IoU of the classes in its truth.
    tuned : Tuned or None
    heads : tuple of Head
        The sweep over the heads, if one was asked for.
    evaluated : int or None
        How many of the report's pictures all figures are over; None in files of earlier versions.
    failures : tuple of Failure
        The others.
    """

    title: str
    method: str
    preset: str
    architecture: str
    precision: str
    device: str
    settings: dict[str, bool | int | float | str]
    asked: Masks
    told: Masks
    presence: ImageLevel
    seconds: dict[str, float]
    seconds_a_picture: float | None
    scores: dict[str, float]
    tuned: Tuned | None = None
    heads: tuple[Head, ...] = ()
    evaluated: int | None = None
    failures: tuple[Failure, ...] = ()


class Report(_Data):
    """All methods on one data set.

    Attributes
    ----------
    dataset, split : str
    benchmark : str or None
        One of the paper's, by name.
    as_published : bool
        Whether it was run as others ran it, so that their figures may stand beside: the encoder's
        own preset, the benchmark's settings, all of the validation split, nothing tuned or varied.
    pictures : int
    classes : int
    background : bool
        Whether what is none of the classes counts as one.
    machine : str
        The name of the GPU or the CPU, and the number of threads.
    runs : tuple of Run
    """

    dataset: str
    split: str
    benchmark: str | None
    pictures: int
    classes: int
    background: bool
    machine: str
    runs: tuple[Run, ...]
    as_published: bool = False

    @property
    def comparable(self) -> str | None:
        """The benchmark, where figures of others may stand beside."""
        return self.benchmark if self.as_published else None

    @property
    def title(self) -> str:
        """What was evaluated, in a line."""
        counted = "background counted" if self.background else "background not counted"
        return (
            f"{self.dataset}, {self.split}: {self.pictures} pictures, {self.classes} classes, "
            f"{counted}; {self.machine}"
        )

    def evaluated(self, run: Run) -> str | None:
        """Over how many pictures a run's figures are, where these are not all; else None."""
        if run.evaluated in (None, self.pictures):
            return None
        return f"{run.evaluated} of {self.pictures} pictures"

    @property
    def failures(self) -> tuple[Failure, ...]:
        """Each picture that failed, once for each reason."""
        return tuple(dict.fromkeys(failure for run in self.runs for failure in run.failures))
