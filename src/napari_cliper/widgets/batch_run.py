"""A run over many pictures with the window's own models, as steps for the worker: no Qt."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_cliper.batch.cluster import cluster
from napari_cliper.batch.exporting import export_masks
from napari_cliper.batch.run import Crew, one_by_one, run
from napari_cliper.batch.work import Content, Made, Recipe, identify, make_with
from napari_cliper.encodings import Encodings
from napari_cliper.errors import NapariCliperError
from napari_cliper.widgets import warm_up
from napari_cliper.widgets.segmentation import Model, in_turn, segmenter_of

if TYPE_CHECKING:
    from napari_cliper.batch.order import Order
    from napari_cliper.cliper.steps import Steps
    from napari_cliper.files.formats import Format
    from napari_cliper.segmenter import Segmenter


@dataclass(frozen=True)
class Asked:
    """What the form says.

    Attributes
    ----------
    order : Order
    format : Format or None
        In which the masks are written too.
    only_look : bool
        Whether nothing is to be done.
    workers : int or None
        How many processes of this machine do it; None for the window's own models.
    scheduler : str or None
        The address of the dask cluster that does it.
    """

    order: Order
    format: Format | None = None
    only_look: bool = False
    workers: int | None = None
    scheduler: str | None = None


@dataclass(frozen=True)
class Done:
    """What came of it.

    Attributes
    ----------
    told : tuple of str
        Sentences.
    """

    told: tuple[str, ...]


def in_window(asked: Asked) -> Steps[Done]:
    """Look, segment, export.

    Other docks take their turns between two pictures.

    Raises
    ------
    NapariCliperError
        As of `cluster`, `Order.plan`, `run` and `export_masks`.
    """
    warm_up.wait()
    order = asked.order
    with (yield from _crew(asked)) as crew:
        plan = yield from order.plan(asked.only_look, crew.identify)
        told = plan.told()
        if asked.only_look:
            return Done(tuple(told))
        summary = yield from run(plan, order.recipe, crew.work)
    told += [*summary.told(plan), *summary.failed]
    if asked.format is not None:
        try:
            told.append(f"Written to {(yield from export_masks(plan, asked.format))}.")
        except NapariCliperError as error:  # what was made is told all the same
            told.append(str(error))
    return Done(tuple(told))


def _crew(asked: Asked) -> Steps[AbstractContextManager[Crew]]:
    """Whoever is to do it."""
    if asked.workers is None and asked.scheduler is None:
        return nullcontext(Crew(identify, one_by_one(_prepare, _make)))
    from napari_cliper.cliper.steps import Step

    yield Step("Starting the workers" if asked.scheduler is None else f"Asking {asked.scheduler}")
    return cluster(asked.scheduler, asked.workers)


def _prepare(recipe: Recipe) -> Steps[Segmenter]:
    return in_turn(_model_of(recipe))


def _make(recipe: Recipe, name: str, content: Content) -> Steps[Made]:
    return in_turn(_make_now(recipe, name, content))


def _make_now(recipe: Recipe, name: str, content: Content) -> Steps[Made]:
    model = yield from _model_of(recipe)
    # These pictures come once: the window's encodings, and the disk's, stay as they are.
    alone = replace(model, encodings=Encodings(limit=0), disk=None)
    return (yield from make_with(alone, recipe, name, content))


def _model_of(recipe: Recipe) -> Steps[Segmenter]:
    choices = recipe.choices
    chosen = Model(recipe.preset, recipe.device, choices.method, choices.precision)
    return segmenter_of(chosen, recipe.download)
