"""What is found in one picture, in numpy arrays and a class list's words."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_cliper.annotation.class_list import ClassList
from napari_cliper.cliper import Encoding, Scores, Settings
from napari_cliper.cliper.labelling import Labeller, Part, Thresholds
from napari_cliper.errors import NapariCliperError


@dataclass(frozen=True, eq=False)
class Result:
    """Label maps of one picture and what they mean; each array is made when first asked for.

    Attributes
    ----------
    classes : ClassList
        The C classes asked for.
    presence : (C,) float32
        How sure the maps are that each class is in the picture; larger is surer.
    present : (C,) bool
        Whether each class is in the picture: as the caller said, or because its presence is above
        the threshold (which drops no class where the background threshold is 0), or because a
        scribble says so.
    """

    classes: ClassList
    presence: NDArray[np.float32]
    present: NDArray[np.bool_]
    _thresholds: Thresholds = field(repr=False)
    _known: Tensor | None = field(repr=False)
    _refined: Labeller = field(repr=False)
    _coarse: Labeller = field(repr=False)

    @cached_property
    def labels(self) -> NDArray[np.uint16]:
        """(H, W) uint16: 0 background, else a class's id (i + 1 for the i-th class of a text)."""
        return self._label(self._refined)

    @cached_property
    def coarse_labels(self) -> NDArray[np.uint16]:
        """The same before fine-grained compensation."""
        return self._label(self._coarse)

    @cached_property
    def scores(self) -> NDArray[np.float32]:
        """Each class's refined score a pixel, (C, H, W)."""
        return _numpy(self._refined.scores())

    @cached_property
    def uncertainty(self) -> NDArray[np.float32]:
        """One minus the margin between the two best scores of a pixel, (H, W) in [0, 1].

        The background is one of the classes here, its score the background threshold.
        """
        return _numpy(self._refined.uncertainty(self._thresholds, self._known))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the picture, in pixels."""
        return self._refined.size

    def labels_by_part(
        self, parts: Iterable[Part], coarse: bool = False
    ) -> Iterator[NDArray[np.uint16]]:
        """Labels of some rows and columns after others: no whole map need fit into memory.

        Scribbles do not count.

        Parameters
        ----------
        parts : iterable of (slice of rows, slice of columns)
        coarse : bool
            Whether they are wanted as before fine-grained compensation.

        Yields
        ------
        (h, w) uint16, for each part
        """
        labeller = self._coarse if coarse else self._refined
        for labels in labeller.labels_by_part(parts, self._thresholds, self._known):
            yield self._ids(labels)

    def _label(self, labeller: Labeller) -> NDArray[np.uint16]:
        return self._ids(labeller.labels(self._thresholds, self._known))

    def _ids(self, labels: Tensor) -> NDArray[np.uint16]:
        """Ids for places in the class list, counted from 1."""
        ids = np.array([0, *self.classes.ids], np.uint16)
        taken: NDArray[np.uint16] = ids.take(labels.cpu().numpy())
        return taken


@dataclass(frozen=True, eq=False)
class Scored:
    """A picture compared with words: labels at any thresholds, without running a model.

    Attributes
    ----------
    classes : ClassList
        The C classes asked for.
    """

    classes: ClassList
    _scores: Scores = field(repr=False)
    _settings: Settings = field(repr=False)
    _refined: dict[float, Labeller] = field(default_factory=dict, init=False, repr=False)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the picture, in pixels."""
        return self._scores.size

    @property
    def presence(self) -> NDArray[np.float32]:
        """How sure the maps are that each class is in the picture, (C,); larger is surer."""
        return _numpy(self._scores.presence)

    @property
    def coarse_maps(self) -> NDArray[np.float32]:
        """Each class's map before fine-grained compensation, (C, h, w), patch by patch."""
        return _numpy(self._scores.coarse)

    @property
    def refined_maps(self) -> NDArray[np.float32]:
        """Each class's map after it, (C, gh, gw), place by place of the attention."""
        return _numpy(self._scores.refined)

    def label(
        self,
        presence_threshold: float | None = None,
        background_threshold: float | None = None,
        present: str | Sequence[str] | None = None,
        refinement: float = 1.0,
    ) -> Result:
        """Turn scores into label maps.

        Parameters
        ----------
        presence_threshold, background_threshold : float in [0, 1], or None for the preset's
        present : str or sequence of str, or None
            The classes known to be in the picture: names, as a sequence or separated by
            semicolons, or "all". These alone are labelled, and classes with a scribble, however low
            their presence (Table 3).
        refinement : float in [0, 1]
            How much of fine-grained compensation goes into the labels: 0 none of it.

        Raises
        ------
        NapariCliperError
            If a number is outside its range, or a name that is known to be in the picture is none
            of the classes.
        """
        thresholds = self._chosen(presence_threshold, background_threshold)
        if not 0 <= refinement <= 1:
            raise NapariCliperError(f"A refinement of {refinement} makes no sense: give 0 to 1.")
        known = _as_tensor(self.classes.known(present))
        refined = self._labeller(refinement)
        return Result(
            self.classes,
            _numpy(refined.presence),
            np.asarray(refined.present(thresholds, known).cpu()),
            thresholds,
            known,
            refined,
            self._coarse,
        )

    def corrected(self, encoding: Encoding, scribbles: NDArray[np.integer[Any]]) -> "Scored":
        """The same with a person's strokes, which are carried along the attention maps.

        No model runs, and the encoding is not kept. What `label` of this returns has the strokes'
        labels under them, and a class with a stroke is in the picture; thresholds and refinement
        work as before.

        Parameters
        ----------
        encoding : Encoding
            What the picture was compared with words as.
        scribbles : (H, W) integers
            All strokes there are, in place of those given before: -1 nowhere, 0 background, else a
            class's id.

        Raises
        ------
        NapariCliperError
            If the scribbles are no integers or not of the picture's size, have a value that is no
            class's id, or the encoding is not of this picture's size or for another method.
        """
        if encoding.size != self.size or not self._settings.encodes_as(encoding.settings):
            raise NapariCliperError(
                "Scribbles need the picture as it was compared with the words: give the encoding "
                "that these scores were made from."
            )
        strokes = torch.from_numpy(self._positions(np.asarray(scribbles)))
        carried = encoding.scribbles(strokes, len(self.classes))
        return Scored(self.classes, replace(self._scores, scribbles=carried), self._settings)

    def _positions(self, scribbles: NDArray[Any]) -> NDArray[np.int32]:
        """Scribbles with a class's place in the list, counted from 1, for its id."""
        if scribbles.shape != self.size or not np.issubdtype(scribbles.dtype, np.integer):
            raise NapariCliperError(
                f"Scribbles of {_described(scribbles)} do not fit the picture: give "
                f"{self.size[0]} × {self.size[1]} whole numbers, −1 where there is no stroke."
            )
        where = scribbles != -1
        values, index = np.unique(scribbles[where], return_inverse=True)
        ids = (0, *self.classes.ids)
        if unknown := [value for value in values.tolist() if value not in ids]:
            raise NapariCliperError(
                f"A scribble has the value {unknown[0]}, which is no class's id: scribble with 0 "
                "for background or with the id of a class."
            )
        positions = np.full(scribbles.shape, -1, np.int32)
        positions[where] = np.array([ids.index(value) for value in values], np.int32)[index]
        return positions

    def present(self, presence_threshold: float | None = None) -> NDArray[np.bool_]:
        """Which classes' presence is above the threshold, (C,) bool."""
        above: NDArray[np.bool_] = self.presence > self._chosen(presence_threshold).presence
        return above

    @property
    def thresholds(self) -> Thresholds:
        """The preset's thresholds."""
        return Thresholds(self._settings.presence_threshold, self._settings.background_threshold)

    def _chosen(self, presence: float | None, background: float | None = None) -> Thresholds:
        usual = self.thresholds
        return Thresholds(
            usual.presence if presence is None else presence,
            usual.background if background is None else background,
        )

    def _labeller(self, refinement: float) -> Labeller:
        """The labeller of this refinement; the last one is kept."""
        labeller = self._refined.get(refinement)
        if labeller is None:
            labeller = self._scores.labeller(self._settings, refinement)
            self._refined.clear()
            self._refined[refinement] = labeller
        return labeller

    @cached_property
    def _coarse(self) -> Labeller:
        return self._scores.coarse_labeller(self._settings)


@dataclass(frozen=True, eq=False)
class Presence:
    """Which classes are in a picture: multi-label classification (Table 2).

    Attributes
    ----------
    classes : ClassList
        The C classes asked for.
    presence : (C,) float32
        How sure the maps are that each class is in the picture; larger is surer.
    present : (C,) bool
        Whether it is above the threshold.
    """

    classes: ClassList
    presence: NDArray[np.float32]
    present: NDArray[np.bool_]

    @property
    def names(self) -> tuple[str, ...]:
        """The classes that are in the picture, the surest first."""
        order = np.argsort(-self.presence, kind="stable")
        return tuple(self.classes[int(index)].name for index in order if self.present[index])


def _described(array: NDArray[Any]) -> str:
    return f"{' × '.join(map(str, array.shape)) or 'one number'} ({array.dtype})"


def _as_tensor(known: tuple[bool, ...] | None) -> Tensor | None:
    return None if known is None else torch.tensor(known)


def _numpy(tensor: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.float().cpu().numpy()
    return array
