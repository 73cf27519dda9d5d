"""What a run has made, written down picture by picture: what a killed run knows is never lost."""

from collections.abc import Iterator
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


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


Line = TypeVar("Line")


class Head(_Line):
    """The first line.

    Attributes
    ----------
    format : int
    """

    format: Literal[1] = 1

    @field_validator("format", mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        if isinstance(value, int) and value > FORMAT:
            raise ValueError(newer_format("run", value, FORMAT))
        return value


class Record(_Line):
    """One picture that is done.

    Attributes
    ----------
    picture : str
        Its path from the folder of pictures.
    recipe : str
        What it was made with, as of `Recipe.identity`.
    sha256 : str
        Of the label map's file.
    uncertainty : float
    seconds : float
    """

    picture: str
    recipe: str
    sha256: str
    uncertainty: float = Field(ge=0, le=1)
    seconds: float = Field(ge=0)


class Exported(_Line):
    """What a run wrote in another format.

    Attributes
    ----------
    exported : str
        The format's key.
    sha256 : str
        Of all its files, as of `exporting.digest_of`.
    """

    exported: str
    sha256: str


def digest(content: bytes) -> str:
    """What tells a label map's file from another."""
    return sha256(content).hexdigest()


_HEAD: TypeAdapter[Head] = TypeAdapter(Head)
_LINES: TypeAdapter[Record | Exported] = TypeAdapter(Record | Exported)


class Journal:
    """A file to which one line is added for each picture.

    Parameters
    ----------
    folder : Path
        Of the results.

    Attributes
    ----------
    records : dict of str to Record
        By picture.
    exports : dict of str to str
        Of each format that masks were written in, the digest of its files.

    Raises
    ------
    NapariCliperError
        It is damaged, or newer than this program.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / JOURNAL_FILE
        self.records: dict[str, Record] = {}
        self.exports: dict[str, str] = {}
        for number, line in enumerate(self._lines()):
            if number:
                self._know(self._read(_LINES, line))
            else:
                self._read(_HEAD, line)

    def begin(self) -> None:
        """Write all that is known anew: one line a picture, none cut short.

        Raises
        ------
        NapariCliperError
            It cannot be written.
        """
        exports = (Exported(exported=key, sha256=sum_) for key, sum_ in self.exports.items())
        lines = (Head(), *self.records.values(), *exports)
        with atomic_write(self._path, overwrite=True) as file:
            file.write("".join(f"{line.model_dump_json()}\n" for line in lines).encode())

    def add(self, record: Record | Exported) -> None:
        """Write down that a picture or an export is done, its files being in their places.

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
        else:
            self.exports[record.exported] = record.sha256

    def _lines(self) -> Iterator[str]:
        """Whole lines; one that a kill has cut short is none."""
        with explained(self._path):
            if not self._path.exists():
                return
            content = self._path.read_bytes()
            yield from content.decode()[: content.decode().rfind("\n") + 1].splitlines()

    def _read(self, kind: TypeAdapter[Line], line: str) -> Line:
        try:
            return kind.validate_json(line)
        except ValidationError as error:
            raise NapariCliperError(f"In “{self._path}”: {told(error, 'run')}") from error
