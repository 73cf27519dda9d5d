"""A report as tables: for the terminal, and as Markdown in the layout of the paper's tables."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from napari_cliper.evaluation.benchmarks import get_benchmark, load_benchmarks
from napari_cliper.evaluation.published import published_for
from napari_cliper.evaluation.report import Figures, Masks, Report, Run
from napari_cliper.models.schema import CLIPER

NOTHING = "–"
PARTIAL = (
    "Where a number of pictures stands beside a method, it failed on the others: its means are "
    "over fewer pictures than those of the rest, and not to be compared with them."
)
Row = tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Rows of texts under a title.

    Attributes
    ----------
    title : str
    columns : tuple of str
    rows : tuple of rows
    """

    title: str
    columns: Row
    rows: tuple[Row, ...]

    def without_empty(self) -> "Table":
        """Without the columns that have nothing to say in any row."""
        kept = [
            index
            for index in range(len(self.columns))
            if index == 0 or any(row[index] != NOTHING for row in self.rows)
        ]
        columns, *rows = (tuple(row[index] for index in kept) for row in (self.columns, *self.rows))
        return Table(self.title, columns, tuple(rows))

    def markdown(self) -> str:
        """As Markdown; all columns but the first flush right."""
        lines = [self.columns, ("---", *["--:"] * (len(self.columns) - 1)), *self.rows]
        return "\n".join(
            [f"### {self.title}", "", *(f"| {' | '.join(map(_cell, r))} |" for r in lines)]
        )


def tables(report: Report, beside: Sequence[Report] = ()) -> tuple[Table, ...]:
    """All that the report has something for, in the order of the paper's tables.

    Parameters
    ----------
    report : Report
    beside : sequence of Report
        Of other benchmarks, to be shown in one table with it.
    """
    made = [
        *([across([*beside, report])] if beside else []),
        _masks(report),
        _presence(report),
        _told(report),
        _seconds(report),
        _heads(report),
        _thresholds(report),
        _classes(report),
        _failures(report),
    ]
    return tuple(table.without_empty() for table in made if table.rows)


def summary(report: Report, beside: Sequence[Report] = ()) -> tuple[Table, ...]:
    """What the terminal shows: without each class's line."""
    classes = _classes(report).title
    return tuple(table for table in tables(report, beside) if table.title != classes)


def across(reports: Sequence[Report]) -> Table:
    """Several benchmarks in the layout of the paper's Table 1: mIoU, in brackets uncompensated.

    Parameters
    ----------
    reports : sequence of Report
        One for each data set; the last one counts where there are several.

    Returns
    -------
    Table
        A row for each method and encoder, then what the paper and the reference implementation got
        with the same encoder.
    """
    order = list(load_benchmarks())
    by_data = {report.benchmark or report.dataset: report for report in reports}
    data = sorted(by_data, key=lambda name: order.index(name) if name in order else len(order))
    ours: dict[str, dict[str, str]] = {}
    others: dict[str, dict[str, str]] = {}
    for name in data:
        for run in by_data[name].runs:
            title = f"{run.title}, {run.preset}"
            both = _both(*_pair(run.asked, "miou"))
            over = by_data[name].evaluated(run)
            cell = " ".join(both)
            ours.setdefault(title, {})[name] = f"{cell}, {over}" if over else cell
            known = published_for(run, by_data[name].comparable)
            if run.method == CLIPER:
                pair = _both(_plain(known.coarse), _plain(known.refined))
                others.setdefault(f"paper, {run.architecture}", {})[name] = _plain(known.paper)
                others.setdefault(f"reference, {run.architecture}", {})[name] = " ".join(pair)
    rows = [
        (title, *(cells.get(name, NOTHING) for name in data))
        for title, cells in {**ours, **others}.items()
    ]
    kept = tuple(row for row in rows if any(cell != NOTHING for cell in row[1:]))
    columns = [get_benchmark(name).column if name in order else name for name in data]
    return Table("All benchmarks: mIoU (Table 1)", ("method", *columns), kept)


def _both(coarse: str, refined: str) -> Row:
    """The two figures of a cell."""
    if refined == NOTHING:
        return (coarse,) if coarse == NOTHING else (f"({coarse})",)
    return refined, f"({coarse})"


def remarks(report: Report) -> list[str]:
    """What to know before the tables are read."""
    return [PARTIAL] if any(map(report.evaluated, report.runs)) else []


def markdown(report: Report, beside: Sequence[Report] = ()) -> str:
    """The whole report, as of `tables`."""
    note = (
        "Per cent; * is without fine-grained compensation. The mean is over the classes in the "
        "truth. Figures of the paper and of its reference implementation "
        "stand beside those of the same method, encoder and benchmark where they are known."
    )
    made = (table.markdown() for table in tables(report, beside))
    parts = [f"## {report.title}", note, *remarks(report), *made]
    return "\n\n".join(parts) + "\n"


def _masks(report: Report) -> Table:
    """Table 1 (and 5 to 7, where settings are varied)."""
    column = get_benchmark(report.benchmark).column if report.benchmark else "mIoU"
    columns = (
        "method",
        f"{column}*",
        column,
        "paper",
        "reference*",
        "reference",
        "pixel accuracy*",
        "pixel accuracy",
        "mean accuracy*",
        "mean accuracy",
    )
    rows = []
    for run in report.runs:
        known = published_for(run, report.comparable)
        rows.append(
            (
                _called(report, run),
                *_pair(run.asked, "miou"),
                _plain(known.paper),
                _plain(known.coarse),
                _plain(known.refined),
                *_pair(run.asked, "pixel_accuracy"),
                *_pair(run.asked, "mean_accuracy"),
            )
        )
    return Table("Masks, all classes asked for: mIoU (Table 1)", columns, tuple(rows))


def _presence(report: Report) -> Table:
    columns = ("method", "mAP", "F1", "P", "R", "pooled F1", "pooled P", "pooled R")
    rows = tuple(
        (_called(report, run), *(_share(value) for value in run.presence.model_dump().values()))
        for run in report.runs
    )
    return Table("Which classes are in a picture (Table 2)", columns, rows)


def _told(report: Report) -> Table:
    columns = ("method", "mIoU*", "mIoU", "pixel accuracy*", "pixel accuracy")
    rows = tuple(
        (_called(report, run), *_pair(run.told, "miou"), *_pair(run.told, "pixel_accuracy"))
        for run in report.runs
    )
    return Table("Masks, told which classes are in each picture (Table 3)", columns, rows)


def _seconds(report: Report) -> Table:
    """Table 4, in milliseconds."""
    timed = [run for run in report.runs if run.seconds]
    stages = dict.fromkeys(stage for run in timed for stage in run.seconds)
    columns = ("method", *stages, "together", "paper, RTX 3090")
    rows = []
    for run in timed:
        others = published_for(run, report.comparable)
        known = others.refined_milliseconds or others.coarse_milliseconds
        rows.append(
            (
                _called(report, run),
                *(_milliseconds(run.seconds.get(stage)) for stage in stages),
                _milliseconds(run.seconds_a_picture),
                NOTHING if known is None else f"{known} ms",
            )
        )
    return Table("Milliseconds a picture, medians (Table 4)", columns, tuple(rows))


def _heads(report: Report) -> Table:
    swept = [run for run in report.runs if run.heads]
    columns = ("heads", *(_called(report, run) for run in swept))
    fusions = dict.fromkeys(head.fusion for run in swept for head in run.heads)
    by_run = [{head.fusion: head.miou for head in run.heads} for run in swept]
    rows = tuple(
        (
            f"head {fusion}" if fusion.isdigit() else fusion,
            *(_share(found.get(fusion)) for found in by_run),
        )
        for fusion in fusions
    )
    return Table("Refined masks by one head alone, and by all: mIoU (Table 7)", columns, rows)


def _thresholds(report: Report) -> Table:
    columns = ("method", "tuned on", "pictures", "presence", "background")
    rows = tuple(
        (
            run.title,
            run.tuned.split,
            str(run.tuned.pictures),
            f"{run.tuned.presence:g}",
            f"{run.tuned.background:g}",
        )
        for run in report.runs
        if run.tuned is not None
    )
    return Table("Thresholds, chosen on other pictures than these", columns, rows)


def _classes(report: Report) -> Table:
    columns = ("class", *(_called(report, run) for run in report.runs))
    figures = [run.asked.best for run in report.runs]
    names = dict.fromkeys(name for one in figures for name in one.iou)
    rows = tuple(
        (name, *(_share(one.iou.get(name)) for one in figures))
        for name in names
        if any(one.iou.get(name) is not None for one in figures)
    )
    return Table("IoU of each class, all classes asked for", columns, rows)


def _failures(report: Report) -> Table:
    """Which pictures failed, with which methods if not with all, and why."""
    rows = []
    for failure in report.failures:
        failed = [run.title for run in report.runs if failure in run.failures]
        by_some = len(failed) < len(report.runs)
        rows.append((failure.picture, ", ".join(failed) if by_some else NOTHING, failure.reason))
    title = "Pictures that could not be evaluated"
    return Table(title, ("picture", "with", "reason"), tuple(rows))


def _called(report: Report, run: Run) -> str:
    """A run's title, and over how many pictures its figures are if it failed on some."""
    over = report.evaluated(run)
    return f"{run.title} ({over})" if over else run.title


def _pair(masks: Masks, name: str) -> Iterator[str]:
    """A figure of the coarse and of the refined masks."""
    both: Sequence[Figures | None] = (masks.coarse, masks.refined)
    for figures in both:
        yield NOTHING if figures is None else _share(getattr(figures, name))


def _share(value: float | None) -> str:
    return NOTHING if value is None else f"{100 * value:.1f}"


def _plain(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.1f}"


def _milliseconds(seconds: float | None) -> str:
    return NOTHING if seconds is None else f"{1e3 * seconds:.0f}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
