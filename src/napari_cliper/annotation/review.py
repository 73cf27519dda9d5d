"""The queue of pictures that a person reviews: how far each one is, and where to go next.

A proposal makes a new picture proposed and touches no other. A person's stroke makes any picture
corrected: who paints on an accepted or skipped one is at work on it again. A person accepts and
skips from any state, and opens again what was accepted or skipped. Looking changes no state.
"""

import math
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import PurePath
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from napari_cliper.annotation.validation import newer_format, told

FORMAT = 1

Piece: TypeAlias = str | tuple[int, str]


class State(StrEnum):
    """How far a picture is."""

    NEW = "new"
    PROPOSED = "proposed"
    CORRECTED = "corrected"
    ACCEPTED = "accepted"
    SKIPPED = "skipped"


CLOSED = frozenset({State.ACCEPTED, State.SKIPPED})
WORKED_ON = CLOSED | {State.CORRECTED}


def natural_key(picture: str) -> tuple[tuple[tuple[Piece, ...], ...], str]:
    """What to sort paths by: folder by folder, whatever the case, numbers by their value.

    Different for different paths.

    Examples
    --------
    >>> sorted(["b/1.png", "img10.png", "Img2.png"], key=natural_key)
    ['b/1.png', 'Img2.png', 'img10.png']
    """
    parts = picture.casefold().split("/")
    return tuple(tuple(_pieces(part)) for part in parts), picture


def _pieces(name: str) -> Iterable[Piece]:
    """Text and numbers, taking turns, so that only like is compared with like."""
    for i, piece in enumerate(re.split("([0-9]+)", name)):
        digits = piece.lstrip("0")
        yield (len(digits), digits) if i % 2 else piece


def _inside(picture: str) -> str:
    if any("\ud800" <= letter <= "\udfff" for letter in picture):
        raise ValueError("A picture's name holds a broken letter, half of a pair: rename it.")
    path = PurePath(picture)  # Windows knows "\\" and drives as well
    outside = path.anchor or path.drive or ".." in path.parts or "\0" in picture
    if outside or not {"", ".", ".."}.isdisjoint(picture.split("/")):
        raise ValueError(
            f"“{picture}” does not lie in the pictures’ folder: give its path from there, with “/”."
        )
    return picture


class Entry(BaseModel):
    """One picture of a review. Frozen.

    Attributes
    ----------
    picture : str
        Its path from the pictures' folder, with ``/``.
    state : State
    uncertainty : float or None
        Mean uncertainty of its proposal, 0 to 1.
    seconds : float
        How long a person looked at it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    picture: Annotated[str, AfterValidator(_inside)]
    state: State = State.NEW
    uncertainty: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    seconds: float = Field(default=0.0, ge=0, allow_inf_nan=False)

    @property
    def is_open(self) -> bool:
        """Whether it is neither accepted nor skipped."""
        return self.state not in CLOSED


class Review(BaseModel):
    """The pictures of a folder and how far each one is. Frozen.

    Attributes
    ----------
    format : int
        Of the file; 1.
    masks_from : str or None
        The folder with masks made before that somebody chose: its path with ``/``, from the
        pictures' folder or absolute. The file does not mention it if there is none.
    pictures : str or None
        The folder of pictures, with ``/``, from the file's or absolute; None if it is the one that
        the file's folder lies in, as usual. The file does not mention it then.
    entries : tuple of Entry
        All different, by `natural_key`.
    gone : tuple of Entry
        What is known of pictures that are not there now. They are listed nowhere else.

    Notes
    -----
    Methods that are given a picture raise KeyError if it is none of the entries', and ValueError
    if an entry cannot be as they are told.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    masks_from: str | None = Field(default=None, min_length=1)
    pictures: str | None = Field(default=None, min_length=1)
    entries: tuple[Entry, ...]
    gone: tuple[Entry, ...] = ()

    @field_validator("format", mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        if isinstance(value, int) and value > FORMAT:
            raise ValueError(newer_format("review", value, FORMAT))
        return value

    @field_validator("entries", "gone")
    @classmethod
    def _in_order(cls, entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
        return _sorted(entries)

    @model_validator(mode="after")
    def _all_different(self) -> Self:
        times = Counter(entry.picture for entry in (*self.entries, *self.gone))
        if twice := [picture for picture, count in times.items() if count > 1]:
            raise ValueError(f"“{twice[0]}” has more than one entry: keep one of them.")
        return self

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read what `to_json` wrote.

        Raises
        ------
        NapariCliperError
            The text is not JSON, not a valid review, or of a newer format.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise told(error, "review") from error

    def to_json(self) -> str:
        """All of it as JSON, indented for people to read."""
        unsaid = {name for name in ("masks_from", "pictures") if getattr(self, name) is None}
        return self.model_dump_json(indent=2, exclude=unsaid) + "\n"

    def of(self, pictures: Iterable[str]) -> Self:
        """The review of these pictures: new where they are not known, the other ones gone.

        Parameters
        ----------
        pictures : iterable of str
            All different.
        """
        known = {entry.picture: entry for entry in (*self.entries, *self.gone)}
        entries = [known.pop(n) if n in known else Entry(picture=n) for n in pictures]
        gone = known.values()
        return self.model_copy(update={"entries": _sorted(entries), "gone": _sorted(gone)})

    def entry(self, picture: str) -> Entry:
        """The entry of a picture."""
        return self.entries[self._index(picture)]

    def with_state(self, picture: str, state: State) -> Self:
        """A picture is in this state, for example accepted or skipped by a person."""
        return self._with(picture, state=state)

    def with_proposals(self, pictures: Iterable[str]) -> Self:
        """There is a proposal for each of these: what was new is proposed, else nothing changes."""
        told = set(pictures)
        if unknown := told.difference(entry.picture for entry in self.entries):
            raise KeyError(min(unknown))
        entries = (
            entry.model_copy(update={"state": State.PROPOSED})
            if entry.state is State.NEW and entry.picture in told
            else entry
            for entry in self.entries
        )
        return self.model_copy(update={"entries": tuple(entries)})

    def with_stroke(self, picture: str) -> Self:
        """A person painted on a picture: it is corrected, whatever it was."""
        return self._with(picture, state=State.CORRECTED)

    def reopened(self, picture: str, has_strokes: bool, has_mask: bool) -> Self:
        """A picture is neither accepted nor skipped any more; one that is open stays as it is.

        Parameters
        ----------
        picture : str
        has_strokes : bool
            Whether a person painted on it: it is corrected then.
        has_mask : bool
            Whether there is a mask, else: it is proposed then, or new.
        """
        if self.entry(picture).is_open:
            return self
        if has_strokes:
            return self._with(picture, state=State.CORRECTED)
        return self._with(picture, state=State.PROPOSED if has_mask else State.NEW)

    def with_seconds(self, picture: str, more: float) -> Self:
        """A person looked at a picture for so many more seconds."""
        return self._with(picture, seconds=self.entry(picture).seconds + more)

    def with_masks_from(self, folder: str) -> Self:
        """Masks made before are taken from this folder too, in place of the one before."""
        return type(self).model_validate({**dict(self), "masks_from": folder})

    def with_uncertainty(self, picture: str, value: float | None) -> Self:
        """The mean uncertainty of a picture's proposal, 0 to 1, or None if it is not known."""
        return self._with(picture, uncertainty=value)

    def with_uncertainties(self, values: Mapping[str, float]) -> Self:
        """`with_uncertainty` for many pictures."""
        if unknown := values.keys() - {entry.picture for entry in self.entries}:
            raise KeyError(min(unknown))
        entries = (
            Entry.model_validate({**entry.model_dump(), "uncertainty": values[entry.picture]})
            if entry.picture in values
            else entry
            for entry in self.entries
        )
        return self.model_copy(update={"entries": tuple(entries)})

    def beside(self, saved: "Review") -> Self:
        """The same, with what only the saved one knows: proposals that a run has made meanwhile.

        Where pictures are, and of each picture an uncertainty, and that there is a proposal.
        """
        known = {entry.picture: entry for entry in saved.entries}

        def filled(entry: Entry) -> Entry:
            other = known.pop(entry.picture, entry)
            changes: dict[str, Any] = {}
            if entry.uncertainty is None and other.uncertainty is not None:
                changes["uncertainty"] = other.uncertainty
            if entry.state is State.NEW and other.state is State.PROPOSED:
                changes["state"] = other.state
            return entry.model_copy(update=changes) if changes else entry

        entries = [filled(entry) for entry in self.entries]
        gone = {entry.picture for entry in self.gone}
        entries += [entry for picture, entry in known.items() if picture not in gone]
        changes = {"entries": _sorted(entries), "pictures": self.pictures or saved.pictures}
        return self.model_copy(update=changes)

    def ordered(self, by_uncertainty: bool) -> tuple[Entry, ...]:
        """The entries by name, or the most uncertain first and then, by name, the unknown ones."""
        if not by_uncertainty:
            return self.entries
        return tuple(sorted(self.entries, key=_certainty))

    def counts(self) -> dict[State, int]:
        """How many pictures there are in each state."""
        found = Counter(entry.state for entry in self.entries)
        return {state: found[state] for state in State}

    @property
    def seconds_per_picture(self) -> float | None:
        """Mean over the pictures that were looked at and corrected, accepted or skipped.

        None if there are none.
        """
        times = [e.seconds for e in self.entries if e.seconds > 0 and e.state in WORKED_ON]
        return math.fsum(times) / len(times) if times else None

    @property
    def remaining_seconds(self) -> float | None:
        """How long the open pictures will take at that rate; None if it is not known."""
        rate = self.seconds_per_picture
        return None if rate is None else rate * sum(entry.is_open for entry in self.entries)

    def _index(self, picture: str) -> int:
        key = natural_key(picture)
        index = bisect_left(self.entries, key, key=lambda entry: natural_key(entry.picture))
        if index == len(self.entries) or self.entries[index].picture != picture:
            raise KeyError(picture)
        return index

    def _with(self, picture: str, **changes: Any) -> Self:
        index = self._index(picture)
        entry = Entry.model_validate({**self.entries[index].model_dump(), **changes})
        entries = (*self.entries[:index], entry, *self.entries[index + 1 :])
        return self.model_copy(update={"entries": entries})


def _sorted(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    return tuple(sorted(entries, key=lambda entry: natural_key(entry.picture)))


def after(picture: str, entries: Sequence[Entry]) -> Entry | None:
    """The entry after a picture's in this order; None at the end.

    Raises
    ------
    ValueError
        The picture is none of the entries'; so for `before` and `next_open`.
    """
    index = _position(picture, entries) + 1
    return entries[index] if index < len(entries) else None


def before(picture: str, entries: Sequence[Entry]) -> Entry | None:
    """The entry before a picture's in this order; None at the beginning."""
    index = _position(picture, entries) - 1
    return entries[index] if index >= 0 else None


def next_open(picture: str | None, entries: Sequence[Entry]) -> Entry | None:
    """The next entry that is neither accepted nor skipped, round the end to the beginning.

    Parameters
    ----------
    picture : str or None
        After which to look, and which comes last itself; None looks from the beginning.
    entries : sequence of Entry
        In an order that `Review.ordered` gives.

    Returns
    -------
    Entry or None if none is open
    """
    start = 0 if picture is None else _position(picture, entries) + 1
    return next((e for e in (*entries[start:], *entries[:start]) if e.is_open), None)


def _position(picture: str, entries: Sequence[Entry]) -> int:
    return [entry.picture for entry in entries].index(picture)


def _certainty(entry: Entry) -> float:
    return math.inf if entry.uncertainty is None else -entry.uncertainty
