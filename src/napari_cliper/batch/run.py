"""A run over many pictures: what is made is put into its place and written down one by one."""

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from napari_cliper.annotation.review import WORKED_ON, Review, State
from napari_cliper.batch.journal import Journal, Record, digest, stamp
from napari_cliper.batch.plan import Plan
from napari_cliper.batch.work import Content, Made, Recipe, identify, load, make
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.atomic import atomic_write
from napari_cliper.files.indexed_png import CLASSES_FILE
from napari_cliper.files.review import (
    REVIEW_FILE,
    as_named,
    locked,
    saved_review,
    update_review,
)

if TYPE_CHECKING:
    from napari_cliper.cliper.steps import Step, Steps

T = TypeVar("T")
Outcome: TypeAlias = tuple[str, Made | NapariCliperError]
"""A picture, and what was made of it or why it could not be."""
Work: TypeAlias = "Generator[Outcome | Step | None, None, None]"
"""Outcomes in any order; now and then None while there is none, and steps that are a notice."""
Workers: TypeAlias = Callable[[Recipe, Plan, Sequence[str]], Work]
"""Segments pictures."""


@dataclass(frozen=True)
class Crew:
    """Whoever segments.

    Attributes
    ----------
    identify : callable
        A recipe's identity, as of `work.identify`, as they take it.
    work : callable
    """

    identify: Callable[[Recipe], str]
    work: Workers


INDEX_EVERY = 20  # seconds between two savings of the index


@dataclass
class Summary:
    """What a run has done.

    Attributes
    ----------
    made : int
        Pictures that were segmented.
    lost : int
        Pictures that could not be.
    failed : list of str
        A sentence for each of them, and for what else went wrong.
    left : int
        Pictures that a person took up meanwhile: what was made of them is dropped.
    seconds : float
        From the first picture's beginning to the last one's end.
    """

    made: int = 0
    lost: int = 0
    failed: list[str] = field(default_factory=list)
    left: int = 0
    seconds: float = 0.0

    @property
    def over(self) -> int:
        """Pictures that are done with."""
        return self.made + self.lost + self.left

    def lose(self, why: str) -> None:
        """Count a picture that could not be segmented."""
        self.lost += 1
        self.failed.append(why)

    def told(self, plan: Plan) -> list[str]:
        """What was done, in sentences, and where to go on; without the failures themselves."""
        each = f", {self.seconds / self.made:.2f} s each" if self.made else ""
        told = [f"{self.made} segmented in {self.seconds:.1f} s{each}."]
        if self.left:
            told.append(f"{self.left} left to a person who took them up meanwhile.")
        if self.failed:
            told.append(f"{len(self.failed)} failed: run again to try them again.")
        told.append(
            f"To correct them, open the folder {plan.folder.results} in the dock Review pictures."
        )
        return told


def one_by_one(
    prepare: Callable[[Recipe], "Steps[object]"],
    make: Callable[[Recipe, str, Content], "Steps[Made]"],
) -> Workers:
    """Whoever segments one picture after the other, in this process.

    Parameters
    ----------
    prepare : callable
        As `work.load`: what it raises ends the run.
    make : callable
        As `work.make`: what it raises is one picture's fault.
    """

    def work(recipe: Recipe, plan: Plan, pictures: Sequence[str]) -> Work:
        yield from _silently(prepare(recipe))
        for picture in pictures:
            file = plan.file(picture)
            try:
                made = yield from _silently(make(recipe, str(file), Content.of(file)))
                yield picture, made
            except NapariCliperError as error:
                yield picture, error
            except Exception as error:  # one picture keeps no other from it
                yield picture, unexpected(error)

    return work


def unexpected(error: BaseException) -> NapariCliperError:
    """What to tell of an error that nobody thought of."""
    return NapariCliperError(f"something went wrong ({type(error).__name__}: {error}).")


def _silently(steps: "Steps[T]") -> "Generator[Step | None, None, T]":
    """Steps that are a chance to stop, or a notice: the run tells how many pictures are done."""
    with closing(steps):
        try:
            while True:
                step = next(steps)
                yield step if step.notice else None
        except StopIteration as stop:
            result: T = stop.value
            return result


HERE = Crew(identify, one_by_one(load, make))


def run(plan: Plan, recipe: Recipe, workers: Workers = HERE.work) -> "Steps[Summary]":
    """Segment what is to be segmented.

    Whenever it ends, is cancelled or killed, each mask is there, whole, or not; another run goes
    on with the rest.

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
        What ends a run that has begun is the last of its failures.

    Raises
    ------
    NapariCliperError
        Another run is at work there, the models cannot be loaded, or nobody is there to work.
    """
    from napari_cliper.cliper.steps import Step

    desk = _Desk(plan, recipe)
    work = workers(recipe, plan, plan.to_make) if plan.to_make else None
    try:
        for outcome in work or ():
            if isinstance(outcome, Step):
                yield outcome
            elif outcome is not None:
                desk.take(*outcome)
            yield desk.step()
    except NapariCliperError as error:
        if not desk.summary.over:
            raise
        desk.summary.failed.append(str(error))
    finally:
        if work is not None:
            work.close()
        desk.close()
    return desk.summary


class _Desk:
    """Where outcomes come in: masks are put into their places, and written down."""

    def __init__(self, plan: Plan, recipe: Recipe) -> None:
        self.summary = Summary(failed=list(plan.failed))
        self._plan, self._recipe = plan, recipe
        self._journal = Journal(plan.folder.results)
        self._named = as_named(plan.folder.pictures, plan.folder.results)
        self._began: float | None = None  # the first picture; the models are loaded
        self._alone = ExitStack()  # held from then on
        self._indexed = time.monotonic()
        self._seen = ""  # of the review's file, what its persons were read from
        self._persons: set[str] = set()
        self._index()  # what a run has made that was killed before it told

    def take(self, picture: str, made: Made | NapariCliperError) -> None:
        """Keep what was made of a picture, or why nothing was.

        Raises
        ------
        NapariCliperError
            It cannot be written.
        """
        if self._began is None:
            self._begin()
            self._began = time.monotonic() - (made.seconds if isinstance(made, Made) else 0)
        if isinstance(made, Made):
            self._keep(picture, made)
        else:
            self.summary.lose(f"{picture}: {made}")
        self.summary.seconds = time.monotonic() - self._began
        if time.monotonic() - self._indexed > INDEX_EVERY:
            self._index()

    def _begin(self) -> None:
        """Be the only run here, and have a journal and a class list."""
        results = self._plan.folder.results
        self._alone.enter_context(locked(results, "batch", wait=1))
        self._journal = Journal(results)
        self._journal.begin(self._named)
        with atomic_write(results / CLASSES_FILE, overwrite=True, alone=True) as file:
            file.write(self._recipe.classes.to_json().encode())

    def step(self) -> "Step":
        """How far it is."""
        from napari_cliper.cliper.steps import Step

        over, total = self.summary.over, len(self._plan.to_make)
        return Step(progress(over, total, self.summary.seconds), over, total)

    def close(self) -> None:
        """Tell the review what there is; a disk that is full has been told already."""
        with self._alone, suppress(NapariCliperError):
            self._index()

    def _keep(self, picture: str, made: Made) -> None:
        labels, ours = self._plan.labels(picture), digest(made.labels)
        if self._is_taken(picture):
            self.summary.left += 1
            return
        there = digest(labels.read_bytes()) if labels.exists() else ours
        if there != ours and not self._journal.is_ours(picture, there):
            self.summary.lose(
                f"{picture}: “{labels}” is there and was not made by a run: move it away."
            )
            return
        # Written down first: after a kill between both, the old mask is still known as ours.
        self._journal.add(
            Record(
                picture=picture,
                stamp=made.stamp,
                recipe=self._plan.identity,
                sha256=ours,
                uncertainty=made.uncertainty,
                seconds=made.seconds,
            )
        )
        with atomic_write(labels, overwrite=True, alone=True) as file:
            file.write(made.labels)
        self.summary.made += 1

    def _is_taken(self, picture: str) -> bool:
        """Whether a person has taken a picture up meanwhile."""
        results = self._plan.folder.results
        if (results / REVIEW_FILE).exists():
            seen = stamp(results / REVIEW_FILE)
            if seen != self._seen:
                entries = saved_review(results).entries
                self._persons = {e.picture for e in entries if e.state in WORKED_ON}
                self._seen = seen
        return picture in self._persons or self._plan.has_session(picture)

    def _index(self) -> None:
        """Tell the review queue what is proposed, and how unsure each is."""
        self._indexed = time.monotonic()
        if self._journal.pictures is None:
            return
        records, plan = self._journal.records, self._plan

        def told(saved: Review) -> Review:
            known = {entry.picture for entry in saved.entries}
            new = [item.picture for item in plan.items if item.picture not in known]
            review = saved.of([*known, *new])
            made = {one for one in records if plan.labels(one).is_file()}
            review = review.with_proposals(made & {entry.picture for entry in review.entries})
            proposed = [e.picture for e in review.entries if e.state is State.PROPOSED]
            unsure = {one: records[one].uncertainty for one in proposed if one in records}
            unsure = {one: value for one, value in unsure.items() if not plan.has_session(one)}
            changed = review.with_uncertainties(unsure)
            return changed.model_copy(update={"pictures": self._named})

        update_review(plan.folder.results, told)


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
