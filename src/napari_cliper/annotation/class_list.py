"""The classes of an annotation: what a person types, with the ids and colours it is stored with.

One class a line, or separated by semicolons: ``name``, or ``name = synonym, synonym``; ``#`` starts
a comment that runs to the end of the line. A name is what is exported; the prompt is name plus
synonyms. Ids and colours live in the class list, not in the text.
"""

import functools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, ParamSpec, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from napari_cliper.annotation.palette import voc_palette
from napari_cliper.errors import NapariCliperError

MAX_CLASSES = 65535  # what a 16-bit label picture holds beside 0, the background
EXAMPLE = "“cat; sofa = couch, settee”"

P = ParamSpec("P")
T = TypeVar("T")


def _tidy(words: str) -> str:
    """Inner whitespace collapsed, outer removed."""
    return " ".join(words.split())


def _plain(words: str) -> str:
    """Tidy words that the text form can hold: none of its marks inside."""
    words = _tidy(words)
    if any("\ud800" <= letter <= "\udfff" for letter in words):
        raise ValueError("A class name holds a broken letter, half of a pair: type it again.")
    if any(mark in words for mark in ";=#"):
        raise ValueError(f"“{_short(words)}” may not hold “;”, “=” or “#”: write it without.")
    if "," in words:
        raise ValueError(
            f"“{_short(words)}” holds a comma: separate classes by semicolons or lines and give "
            f"synonyms after “=”, for example {EXAMPLE}."
        )
    return words


def _short(words: str) -> str:
    return words if len(words) <= 60 else words[:59] + "…"


@functools.cache
def default_colors() -> list[tuple[int, int, int]]:
    """Pascal VOC's colour of each label, 0 to 65535."""
    return [(r, g, b) for r, g, b in voc_palette(MAX_CLASSES + 1).tolist()]


def one_sentence(function: Callable[P, T]) -> Callable[P, T]:
    """Turn pydantic's report into the project's own error, about the first thing that is wrong."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            if first["type"] == "value_error":  # one of our own sentences
                raise NapariCliperError(str(first["ctx"]["error"])) from error
            where = ".".join(map(str, first["loc"])) or "its beginning"
            raise NapariCliperError(
                f"The class list is not valid at {where} ({first['msg']}): correct it there."
            ) from error

    return wrapper


Byte = Annotated[int, Field(ge=0, le=255)]
Words = Annotated[str, AfterValidator(_plain)]


class ClassEntry(BaseModel):
    """One class. Frozen.

    Attributes
    ----------
    id : int
        Its value in a label picture, 1 to 65535.
    name : str
        What is shown and exported. Its case is kept.
    synonyms : tuple of str
        Other words for it. The name itself and repetitions (whatever their case) are left out.
    color : tuple of int
        Red, green, blue, 0 to 255; Pascal VOC's colour of that id unless given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: int = Field(ge=1, le=MAX_CLASSES)
    name: Words
    synonyms: tuple[Words, ...] = ()
    color: tuple[Byte, Byte, Byte] = Field(
        default_factory=lambda known: default_colors()[known["id"]]
    )

    @field_validator("name")
    @classmethod
    def _has_a_name(cls, name: str) -> str:
        if not name:
            raise ValueError(f"A class has no name: write one before “=”, for example {EXAMPLE}.")
        return name

    @model_validator(mode="before")
    @classmethod
    def _without_repetition(cls, data: Any) -> Any:
        """Drop synonyms that say nothing new; what has the wrong type is left for the fields."""
        if not isinstance(data, dict) or not isinstance(data.get("synonyms"), (list, tuple)):
            return data
        seen = {"", _tidy(str(data.get("name"))).casefold()}
        kept = []
        for synonym in data["synonyms"]:
            key = _tidy(str(synonym)).casefold()
            if key not in seen:
                kept.append(synonym)
            seen.add(key)
        return {**data, "synonyms": kept}

    @property
    def prompt(self) -> str:
        """Name and synonyms in one string, as the text tower reads it."""
        return ", ".join((self.name, *self.synonyms))


class ClassList(BaseModel):
    """Classes in order, with different names and ids. Frozen; ``len``, iteration and indexing work.

    Attributes
    ----------
    classes : tuple of ClassEntry
        At least one.
    background : tuple of str or None
        Words for what is none of the classes; None leaves them to the preset.
    templates : tuple of str or None
        Sentences with one ``{}`` where the prompt goes; None leaves them to the preset.

    Examples
    --------
    >>> classes = ClassList.parse("cat; sofa = couch, settee  # furniture")
    >>> classes.names, classes.ids, classes.prompts
    (('cat', 'sofa'), (1, 2), ('cat', 'sofa, couch, settee'))
    >>> ClassList.from_json(classes.to_json()) == classes
    True
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    classes: tuple[ClassEntry, ...]
    background: tuple[str, ...] | None = None
    templates: tuple[str, ...] | None = None

    @field_validator("classes")
    @classmethod
    def _all_different(cls, classes: tuple[ClassEntry, ...]) -> tuple[ClassEntry, ...]:
        if not classes:
            raise ValueError(f"There are no classes: name at least one, for example {EXAMPLE}.")
        names = Counter(entry.name.casefold() for entry in classes)
        if twice := [entry.name for entry in classes if names[entry.name.casefold()] > 1]:
            raise ValueError(
                f"Classes named more than once ({_short(', '.join(twice))}): "
                "keep one of each, whatever its case."
            )
        ids = Counter(entry.id for entry in classes)
        if clash := [entry for entry in classes if ids[entry.id] > 1]:
            raise ValueError(
                f"The classes “{_short(clash[0].name)}” and others share the id {clash[0].id}: "
                "give each class an id of its own."
            )
        return classes

    @field_validator("templates")
    @classmethod
    def _one_gap_each(cls, templates: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for template in templates or ():
            # str.format fills them: any other brace would fail there, or mean something else.
            if template.count("{}") != 1 or set("{}") & set(template.replace("{}", "")):
                raise ValueError(
                    f"The template “{_short(template)}” must hold “{{}}” once and no other "
                    "braces: write it like “a photo of a {}.”."
                )
        if templates == ():
            raise ValueError("There are no templates: give at least one, or null for the preset's.")
        return templates

    @classmethod
    @one_sentence
    def parse(cls, source: "str | ClassList | Sequence[str]") -> Self:
        """Read what a person typed.

        Parameters
        ----------
        source : str, ClassList or sequence of str
            Text as described at the top of this module; a sequence is read as its lines.
            A class list comes back as it is.

        Returns
        -------
        ClassList
            Class i has the id i + 1 and Pascal VOC's colour of that id.

        Raises
        ------
        NapariCliperError
            No classes, a name that is empty or there twice, a comma in a name, or more than 65535.
        """
        if isinstance(source, cls):
            return source
        lines = source.splitlines() if isinstance(source, str) else source
        if not isinstance(lines, Sequence) or not all(isinstance(line, str) for line in lines):
            raise NapariCliperError(
                f"Classes are given as text, not as {type(source).__name__}: write {EXAMPLE}."
            )
        # Files made on Windows may begin with a byte order mark.
        bare = (line.removeprefix("\ufeff").partition("#")[0] for line in lines)
        parts = [part for line in bare for part in line.split(";") if part.strip()]
        if len(parts) > MAX_CLASSES:
            raise NapariCliperError(
                f"{len(parts)} classes are more than a label picture can hold: "
                f"give at most {MAX_CLASSES}."
            )
        return cls(classes=tuple(map(_entry, range(1, len(parts) + 1), parts)))

    @classmethod
    @one_sentence
    def from_json(cls, text: str | bytes) -> Self:
        """Read what `to_json` wrote.

        Raises
        ------
        NapariCliperError
            The text is not JSON, or not a valid class list.
        """
        return cls.model_validate_json(text)

    def to_json(self) -> str:
        """All of it as JSON, indented for people to read."""
        return self.model_dump_json(indent=2) + "\n"

    def to_text(self) -> str:
        """Names and synonyms in the form that `parse` reads, one class a line."""
        return "\n".join(
            f"{entry.name} = {', '.join(entry.synonyms)}" if entry.synonyms else entry.name
            for entry in self.classes
        )

    def known(self, present: str | Sequence[str] | None) -> tuple[bool, ...] | None:
        """Whether each class is one of those known to be in a picture.

        Parameters
        ----------
        present : str, sequence of str or None
            Names, as a sequence or separated by semicolons, or "all".

        Returns
        -------
        tuple of C bool, or None if nothing is known

        Raises
        ------
        NapariCliperError
            If a name is none of the classes', or there is none.
        """
        if present is None:
            return None
        listed = present.split(";") if isinstance(present, str) else present
        if not isinstance(listed, Sequence) or not all(isinstance(name, str) for name in listed):
            raise NapariCliperError(
                "Classes that are in the picture are given by their names, for example "
                f"“{_short(self.names[0])}”; or say all."
            )
        wanted = {_tidy(name).casefold(): name for name in listed if _tidy(name)}
        names = [name.casefold() for name in self.names]
        if wanted.keys() == {"all"} and "all" not in names:
            return (True,) * len(self)
        if unknown := [name for key, name in wanted.items() if key not in names]:
            raise NapariCliperError(
                f"“{_short(unknown[0])}” is said to be in the picture, but is none of the classes: "
                f"choose from {_short(', '.join(self.names))}, or say all."
            )
        if not wanted:
            raise NapariCliperError("No class is said to be in the picture: name some, or say all.")
        return tuple(name in wanted for name in names)

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each class."""
        return tuple(entry.name for entry in self.classes)

    @property
    def prompts(self) -> tuple[str, ...]:
        """The prompt of each class."""
        return tuple(entry.prompt for entry in self.classes)

    @property
    def ids(self) -> tuple[int, ...]:
        """The label value of each class."""
        return tuple(entry.id for entry in self.classes)

    def __len__(self) -> int:
        return len(self.classes)

    def __iter__(self) -> Iterator[ClassEntry]:  # type: ignore[override]  # pydantic's: the fields
        return iter(self.classes)

    def __getitem__(self, index: int) -> ClassEntry:
        return self.classes[index]


def _entry(id_: int, part: str) -> ClassEntry:
    """The class written as ``name`` or ``name = synonym, synonym``."""
    name, _, synonyms = part.partition("=")
    return ClassEntry(id=id_, name=name, synonyms=tuple(synonyms.split(",")))
