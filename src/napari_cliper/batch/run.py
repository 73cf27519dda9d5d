"""A run over many pictures: what is made is put into its place and written down one by one."""

import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from napari_cliper.batch.journal import Journal, Record, digest
from napari_cliper.batch.plan import Plan, Todo
from napari_cliper.batch.work import Made, Recipe, load, make
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.atomic import atomic_write
from napari_cliper.files.indexed_png import CLASSES_FILE
from napari_cliper.files.review import as_named, save_review, saved_review

if TYPE_CHECKING:
    from napari_cliper.cliper.steps import Steps

T = TypeVar("T")
Outcome: TypeAlias = tuple[str, Made | NapariCliperError]
"""A picture, and what was made of it or why it could not be."""
Workers: TypeAlias = Callable[[Recipe, Plan, Sequence[str]], Generator[Outcome | None, None, None]]
"""Whoever segments: yields outcomes in any order, and None now and then while there is none."""

INDEX_EVERY = 20  # seconds between two savings of the index


@dataclass
class Summary:
    """What a run has done.

    Attributes
    ----------
    made : int
        Pictures that were segmented.
    failed : list of str
        A sentence for each picture that could not be.
    seconds : float
        From the first picture's beginning to the last one's end.
    """

    made: int = 0
    failed: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def told(self, plan: Plan) -> list[str]:
        """What was done, in sentences, and where to go on; without the failures themselves."""
        each = f", {self.seconds / self.made:.2f} s each" if self.made else ""
        told = [f"{self.made} segmented in {self.seconds:.1f} s{each}."]
        if self.failed:
            told.append(f"{len(self.failed)} failed: run again to try them again.")
        told.append(
            f"To correct them, open the folder {plan.folder.results} in the dock Review pictures."
        )
        return told


def one_by_one(
    prepare: Callable[[Recipe], "Steps[object]"],
    make: Callable[[Recipe, str, bytes], "Steps[Made]"],
) -> Workers:
    """Whoever segments one picture after the other, in this process.

    Parameters
    ----------
    prepare : callable
        As `work.load`: what it raises ends the run.
    make : callable
        As `work.make`: what it raises is one picture's fault.
    """

    def work(
        recipe: Recipe, plan: Plan, pictures: Sequence[str]
    ) -> Generator[Outcome | None, None, None]:
        yield from _silently(prepare(recipe))
        for picture in pictures:
            file = plan.file(picture)
            try:
                made = yield from _silently(make(recipe, str(file), content(file)))
                yield picture, made
            except NapariCliperError as error:
                yield picture, error

    return work


def _silently(steps: "Steps[T]") -> Generator[None, None, T]:
    """Steps that are no more than a chance to stop: the run tells how many pictures are done."""
    with closing(steps):
        try:
            while True:
                next(steps)
                yield None
        except StopIteration as stop:
            result: T = stop.value
            return result


here = one_by_one(load, make)


def content(picture: Path) -> bytes:
    """What is in a picture's file.

    Raises
    ------
    NapariCliperError
        It cannot be read.
    """
    from napari_cliper.files.pictures import explained

    with explained(picture):
        return picture.read_bytes()


def run(plan: Plan, recipe: Recipe, workers: Workers = here) -> "Steps[Summary]":
    """Segment what is to be segmented.

    Whenever it ends, is cancelled or killed, each picture is done, mask and record, or is not
    begun; another run goes on.

    Parameters
    ----------
    plan : Plan
    recipe : Recipe
        The one that the plan was made for.
    workers : callable

    Yields
    ------
    Step
        Its name tells how many pictures a second there are and how long it will take.

    Returns
    -------
    Summary

    Raises
    ------
    NapariCliperError
        The results cannot be written, the models cannot be loaded, or nobody is there to work.
    """
    from napari_cliper.cliper.steps import Step

    pictures = plan.of(Todo.MAKE)
    summary = Summary()
    journal = Journal(plan.folder.results)
    began = indexed = time.monotonic()
    work, written = workers(recipe, plan, pictures), False
    try:
        for outcome in work:
            if outcome is not None:
                if not written:  # not before anything is made
                    journal.begin()
                    _write_classes(plan.folder.results, recipe)
                    written = True
                picture, made = outcome
                if isinstance(made, Made):
                    _keep(plan, journal, summary, picture, made)
                else:
                    summary.failed.append(f"{picture}: {made}")
            now = time.monotonic()
            if now - indexed > INDEX_EVERY:
                write_index(plan, journal)
                indexed = now
            over = summary.made + len(summary.failed)
            yield Step(progress(over, len(pictures), now - began), over, len(pictures))
    finally:
        work.close()
        if written:
            write_index(plan, journal)
    summary.seconds = time.monotonic() - began
    return summary


def progress(over: int, total: int, seconds: float) -> str:
    """How far a run is: "12 of 128 pictures · 1.3 s each · 2 min left"."""
    told = f"{over} of {total} pictures"
    if over == 0:
        return told
    each = seconds / over
    rate = f"{each:.1f} s each" if each >= 1 else f"{1 / each:.1f} a second"
    return f"{told} · {rate} · {_duration(each * (total - over))} left"


def _duration(seconds: float) -> str:
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def _keep(plan: Plan, journal: Journal, summary: Summary, picture: str, made: Made) -> None:
    """Put a mask into its place and write it down, unless somebody was there before."""
    labels, ours = plan.labels(picture), digest(made.labels)
    known = journal.records.get(picture)
    if _is_anothers(labels, {ours, known.sha256 if known else ours}):
        summary.failed.append(
            f"{picture}: “{labels}” is there and was not made by this run: move it away."
        )
        return
    if not plan.has_session(picture):  # else somebody took it up meanwhile
        with atomic_write(labels, overwrite=True) as file:
            file.write(made.labels)
        journal.add(
            Record(
                picture=picture,
                recipe=plan.identity,
                sha256=ours,
                uncertainty=made.uncertainty,
                seconds=made.seconds,
            )
        )
    summary.made += 1


def _is_anothers(labels: Path, ours: Iterable[str]) -> bool:
    """Whether there is a mask that is none of ours.

    A run that was killed between mask and record has left the same mask that is made now.
    """
    return labels.exists() and digest(labels.read_bytes()) not in ours


def _write_classes(results: Path, recipe: Recipe) -> None:
    """The class list, which masks are read with where their own is not."""
    with atomic_write(results / CLASSES_FILE, overwrite=True) as file:
        file.write(recipe.classes.to_json().encode())


def write_index(plan: Plan, journal: Journal) -> None:
    """Tell the review queue what is proposed, and how unsure each is.

    What a person has done meanwhile is read first, and stays.
    """
    saved = saved_review(plan.folder.results)
    known = {entry.picture for entry in saved.entries}
    review = saved.of([*known, *(item.picture for item in plan.items if item.picture not in known)])
    done = {entry.picture for entry in review.entries}.intersection(journal.records)
    review = review.with_proposals(done).with_uncertainties(
        {picture: journal.records[picture].uncertainty for picture in done}
    )
    pictures = as_named(plan.folder.pictures, plan.folder.results)
    save_review(plan.folder, review.model_copy(update={"pictures": pictures}))
