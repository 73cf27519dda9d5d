"""What a run will do with each picture, known before it begins."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from napari_cliper.annotation.review import WORKED_ON, Entry
from napari_cliper.batch.journal import Journal, digest, stamp
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.indexed_png import LABELS
from napari_cliper.files.review import ReviewFolder, as_named, places_of, saved_review


class Todo(StrEnum):
    """What is to be done with a picture."""

    MAKE = "to segment"
    ANEW = "to segment anew"
    DONE = "done before"
    PERSONS = "corrected, accepted or skipped by a person"
    CHANGED = "mask changed since it was made"


@dataclass(frozen=True)
class Item:
    """One picture of a run.

    Attributes
    ----------
    picture : str
        Its path from the folder of pictures, with ``/``.
    todo : Todo
    """

    picture: str
    todo: Todo


@dataclass(frozen=True)
class Plan:
    """All pictures of a run, and where things lie.

    Attributes
    ----------
    folder : ReviewFolder
    identity : str
        Of the recipe that it was made for.
    items : tuple of Item
        By `natural_key`.
    films : tuple of Path
        Those whose frames would be taken; only of a plan that is not carried out.
    failed : tuple of str
        A sentence for each film that could not be read to its end.
    """

    folder: ReviewFolder
    identity: str
    items: tuple[Item, ...] = ()
    films: tuple[Path, ...] = ()
    failed: tuple[str, ...] = ()

    def file(self, picture: str) -> Path:
        """The picture itself."""
        return self.folder.pictures / picture

    def labels(self, picture: str) -> Path:
        """Where its label map goes: where the review queue looks for it."""
        return self.folder.results / (picture.rpartition(".")[0] + LABELS)

    def of(self, *todo: Todo) -> list[str]:
        """The pictures with which this is to be done."""
        return [item.picture for item in self.items if item.todo in todo]

    @property
    def to_make(self) -> list[str]:
        """The pictures to segment."""
        return self.of(Todo.MAKE, Todo.ANEW)

    def told(self) -> list[str]:
        """What there is, in sentences."""
        counts = {todo: len(self.of(todo)) for todo in Todo}
        pictures = {todo: "picture" if count == 1 else "pictures" for todo, count in counts.items()}
        films = [f"{film}: its frames would be taken" for film in self.films]
        return films + [
            f"{count} {pictures[todo]} {todo}" for todo, count in counts.items() if count
        ]

    def has_session(self, picture: str) -> bool:
        """Whether somebody has taken it up."""
        return self.folder.has_session(Entry(picture=picture))


def plan(
    top: Path, pictures: Sequence[str], results: Path, identity: str, overwrite: bool = False
) -> Plan:
    """Find out what is done already, and what a person has taken up. Writes nothing.

    Parameters
    ----------
    top : Path
        The folder of pictures.
    pictures : sequence of str
        Their paths from there, with ``/``.
    results : Path
    identity : str
        As of `work.identify`.
    overwrite : bool
        Whether what was made with another recipe is made anew; a person's work never is.

    Raises
    ------
    NapariCliperError
        The results are other pictures', or another recipe's and shall not be made anew, or are
        damaged.
    """
    if top.resolve() == results.resolve():
        raise NapariCliperError(
            f"“{results}” holds the pictures: choose another folder for the results, or one in it."
        )
    journal, review = Journal(results), saved_review(results)
    if journal.pictures not in (None, as_named(top, results)):
        raise NapariCliperError(
            f"“{results}” holds masks of the pictures in “{journal.pictures}”: choose another "
            "folder, or name those pictures."
        )
    bare = Plan(ReviewFolder(top, results, None, places_of(pictures)), identity)
    persons = {entry.picture for entry in review.entries if entry.state in WORKED_ON}
    items = tuple(
        Item(
            picture,
            Todo.PERSONS
            if picture in persons or bare.has_session(picture)
            else _todo(bare, picture, journal),
        )
        for picture in pictures
    )
    if not overwrite and any(item.todo is Todo.ANEW for item in items):
        raise NapariCliperError(
            f"“{results}” holds masks for other classes, models or settings: choose another "
            "folder, or allow overwriting; what a person corrected stays."
        )
    return replace(bare, items=items)


def _todo(plan: Plan, picture: str, journal: Journal) -> Todo:
    """What is to be done with a picture that nobody has taken up."""
    record, labels = journal.records.get(picture), plan.labels(picture)
    if record is None or not labels.is_file():
        return Todo.MAKE
    there = digest(labels.read_bytes())
    if not journal.is_ours(picture, there):
        return Todo.CHANGED
    if there != record.sha256:  # killed before the last one was put into its place
        return Todo.MAKE
    if record.recipe != plan.identity:
        return Todo.ANEW
    file = plan.file(picture)
    same = file.is_file() and stamp(file) == record.stamp
    return Todo.DONE if same else Todo.MAKE
