"""What runs have made, written down picture by picture."""

from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from napari_cliper.annotation.validation import newer_format, told
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.atomic import atomic_write
from napari_cliper.files.pictures import explained

JOURNAL_FILE = "batch.jsonl"
FORMAT = 1
Line = TypeVar("Line")


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Head(_Line):
    """The first line.

    Attributes
    ----------
    format : int
    pictures : str
        The folder of the pictures, as of `files.review.as_named`.
    """

    format: Literal[1] = 1
    pictures: str

    @field_validator("format", mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        if isinstance(value, int) and value > FORMAT:
            raise ValueError(newer_format("run", value, FORMAT))
        return value


class Record(_Line):
    """A mask, written down before it is put into its place.

    Attributes
    ----------
    picture : str
        Its path from the folder of pictures.
    stamp : str
        The picture's size and time of change, as of `stamp`.
    recipe : str
        What it was made with, as of `work.identify`.
    sha256 : str
        Of the label map's file.
    uncertainty : float
    seconds : float
    """

    picture: str
    stamp: str
    recipe: str
    sha256: str
    uncertainty: float = Field(ge=0, le=1)
    seconds: float = Field(ge=0)


class Exported(_Line):
    """What a run wrote in another format, written down before it is put into its place.

    Attributes
    ----------
    exported : str
        The format's key.
    sha256 : str
        Of all its files, as of `exporting.digest_of`.
    """

    exported: str
    sha256: str


_HEAD: TypeAdapter[Head] = TypeAdapter(Head)
_LINES: TypeAdapter[Record | Exported] = TypeAdapter(Record | Exported)


def digest(content: bytes) -> str:
    """What tells a label map's file from another."""
    return sha256(content).hexdigest()


def stamp(picture: Path) -> str:
    """What tells a picture's file from another one in its place, without reading it.

    Raises
    ------
    NapariCliperError
        It is not there, or may not be read.
    """
    with explained(picture):
        state = picture.stat()
    return f"{state.st_size} {state.st_mtime_ns}"


class Journal:
    """A file to which a line is added for each picture.

    Parameters
    ----------
    folder : Path
        Of the results.

    Attributes
    ----------
    pictures : str or None
        Of the head; None if there is no journal yet.
    records : dict of str to Record
        By picture, the last one.

    Raises
    ------
    NapariCliperError
        It is damaged, or newer than this program.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / JOURNAL_FILE
        self.pictures: str | None = None
        self.records: dict[str, Record] = {}
        self._ours: dict[str, set[str]] = {}
        with explained(self._path):
            content = self._path.read_bytes() if self._path.exists() else b""
        # A line that a kill has cut short is none. Not `splitlines`: names may hold other breaks.
        self._whole = content[: content.rfind(b"\n") + 1]
        for line in self._whole.split(b"\n")[:-1]:
            if self.pictures is None:
                self.pictures = self._read(_HEAD, line).pictures
            else:
                self._know(self._read(_LINES, line))

    def is_ours(self, name: str, sha256: str) -> bool:
        """Whether a run made what is there.

        Parameters
        ----------
        name : str
            A picture, or a format's key.
        sha256 : str
        """
        return sha256 in self._ours.get(name, ())

    def begin(self, pictures: str) -> None:
        """Have a file to add to, without what a kill has cut short; nobody else may be at it.

        Raises
        ------
        NapariCliperError
            It cannot be written.
        """
        if self.pictures is None:
            self.pictures = pictures
            self._whole = f"{Head(pictures=pictures).model_dump_json()}\n".encode()
        with atomic_write(self._path, overwrite=True, alone=True) as file:
            file.write(self._whole)

    def add(self, record: Record | Exported) -> None:
        """Write down what is about to be put into its place; after `begin`.

        Raises
        ------
        NapariCliperError
            It cannot be written.
        """
        with explained(self._path), self._path.open("ab") as file:
            file.write(f"{record.model_dump_json()}\n".encode())
        self._know(record)

    def _know(self, record: Record | Exported) -> None:
        if isinstance(record, Record):
            self.records[record.picture] = record
            self._ours.setdefault(record.picture, set()).add(record.sha256)
        else:
            self._ours.setdefault(record.exported, set()).add(record.sha256)

    def _read(self, kind: TypeAdapter[Line], line: bytes) -> Line:
        try:
            return kind.validate_json(line)
        except ValidationError as error:
            raise NapariCliperError(f"In “{self._path}”: {told(error, 'run')}") from error
