"""The files of an evaluation: figures, tables and pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_cliper.errors import NapariCliperError
from napari_cliper.evaluation.datasets.dataset import Dataset
from napari_cliper.evaluation.markdown import markdown
from napari_cliper.evaluation.report import Report
from napari_cliper.evaluation.runner import Outcome
from napari_cliper.evaluation.sheets import save_extremes, save_methods
from napari_cliper.evaluation.tuning import save_curve
from napari_cliper.files.atomic import atomic_write, check_free, check_writable
from napari_cliper.files.names import different

JSON, MARKDOWN, METHODS = "results.json", "results.md", "methods.png"


@dataclass(frozen=True)
class Files:
    """What is written, and where.

    Attributes
    ----------
    folder : Path
    overwrite : bool
    titles : sequence of str
        Of the runs.
    tuned : bool
        Whether curves of the tuning are drawn.
    """

    folder: Path
    overwrite: bool
    titles: Sequence[str]
    tuned: bool

    def sheet(self, title: str, kind: str) -> Path:
        """The picture of a run: "sheet" or "tuning"."""
        names = dict(zip(self.titles, different(self.titles), strict=True))
        return self.folder / f"{names[title]}-{kind}.png"

    def check(self) -> None:
        """Refuse places that are taken, or a folder that cannot be written.

        Raises
        ------
        NapariCliperError
        """
        kinds = ("sheet", *(["tuning"] if self.tuned else []))
        sheets = [self.sheet(title, kind) for title in self.titles for kind in kinds]
        check_writable(self.folder)
        try:
            for path in (*(self.folder / name for name in (JSON, MARKDOWN, METHODS)), *sheets):
                check_free(path, self.overwrite)
        except NapariCliperError as error:
            raise NapariCliperError(f"{error} Here: --overwrite, or another --output.") from error

    def draw(self, outcome: Outcome, dataset: Dataset) -> None:
        """The pictures of one run."""
        title, tuned = outcome.run.title, outcome.run.tuned
        if outcome.extremes:
            save_extremes(self.sheet(title, "sheet"), outcome, dataset.legend, self.overwrite)
        if tuned is not None:
            save_curve(self.sheet(title, "tuning"), tuned, title, self.overwrite)

    def draw_methods(self, outcomes: Sequence[Outcome], dataset: Dataset) -> None:
        """All methods side by side, if there are several and they have pictures in common."""
        if len(outcomes) > 1 and all(outcome.watched for outcome in outcomes):
            save_methods(self.folder / METHODS, outcomes, dataset.legend, self.overwrite)

    def write(self, report: Report, beside: Sequence[Report] = (), again: bool = False) -> None:
        """The figures, as JSON and as Markdown; `again` over what this run has written."""
        texts = {JSON: report.model_dump_json(indent=2) + "\n", MARKDOWN: markdown(report, beside)}
        for name, text in texts.items():
            with atomic_write(self.folder / name, self.overwrite or again) as file:
                file.write(text.encode())
