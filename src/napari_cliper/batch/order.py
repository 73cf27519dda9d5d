"""What a person asks for: pictures, words, a place for the masks."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cliper.batch.frames import extract
from napari_cliper.batch.journal import JOURNAL_FILE
from napari_cliper.batch.plan import Plan, plan
from napari_cliper.batch.sources import find_sources
from napari_cliper.batch.work import Recipe, identify
from napari_cliper.files.atomic import check_writable
from napari_cliper.files.indexed_png import LABELS, check_target
from napari_cliper.files.review import ReviewFolder

if TYPE_CHECKING:
    from napari_cliper.cliper.steps import Steps


@dataclass(frozen=True)
class Order:
    """A run, before anybody has looked at what there is.

    Attributes
    ----------
    given : tuple of str
        As of `sources.find_sources`.
    results : Path
    recipe : Recipe
    every : int
        Of films, of how many frames one is taken.
    overwrite : bool
        Whether what was made with another recipe is made anew.
    """

    given: tuple[str, ...]
    results: Path
    recipe: Recipe
    every: int = 1
    overwrite: bool = False

    def plan(
        self, dry_run: bool = False, identify: Callable[[Recipe], str] = identify
    ) -> "Steps[Plan]":
        """Look at what there is, and take the frames of films unless it is a dry run.

        Parameters
        ----------
        dry_run : bool
        identify : callable
            As of `Crew`.

        Yields
        ------
        Step

        Raises
        ------
        NapariCliperError
            There is nothing to do, something does not fit, or the results cannot be written.
        """
        from napari_cliper.cliper.steps import Step

        yield Step("Looking for pictures")
        found = find_sources(self.given, self.results)
        check_writable(self.results)
        if not (self.results / JOURNAL_FILE).exists():  # else the list there is ours
            check_target(self.results / LABELS, self.recipe.classes, overwrite=False)
        identity = identify(self.recipe)
        if found.films and dry_run:
            return Plan(ReviewFolder(found.top, self.results, None, {}), identity, (), found.films)
        if not found.films:
            return plan(found.top, found.pictures, self.results, identity, self.overwrite)
        taken = yield from extract(found.films, found.top, self.every, self.recipe.percentiles)
        made = plan(found.top, taken.pictures, self.results, identity, self.overwrite)
        return replace(made, failed=taken.failed)
