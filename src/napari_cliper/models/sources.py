"""Files of a repository on this machine, and what tells them from others."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

from napari_cliper.models.schema import MODELS, Repository

Files = dict[str, Path]


class Place(StrEnum):
    """Where files were found, in a person's words."""

    NAMED = "folder of the preset"
    USER = "your folder"
    WHEEL = "wheel"
    HUB = "hub cache"


@dataclass(frozen=True)
class Source:
    """Where a repository's files are.

    Attributes
    ----------
    files : mapping of file name to Path
        The names are the repository's or the wheel's.
    pins : mapping of file name to str
        The sha256 of a file, or the commit it is of; a name is absent where neither is known.
    place : Place
    """

    files: Files
    pins: Mapping[str, str]
    place: Place

    @property
    def model(self) -> Path:
        """The one file of weights among them."""
        return next(path for name, path in self.files.items() if name.endswith(MODELS))

    def identity(self) -> str:
        """What tells these files from others; those without a pin are read for it."""
        return identity(
            {name: self.pins.get(name) or sha256(path) for name, path in self.files.items()}
        )


def pins(repository: Repository) -> dict[str, str]:
    """The sum of each of a repository's files, else the commit it is of, else nothing."""
    known = {name: sum_ or repository.revision for name, sum_ in repository.files.items()}
    return {name: pin for name, pin in known.items() if pin}


def known_identities(repository: Repository) -> list[str]:
    """What `Source.identity` gives for files that are pinned, without reading any."""
    known = [repository.wheel.files] if repository.wheel else []
    if len(pins(repository)) == len(repository.files):
        known.append(pins(repository))
    return [identity(names) for names in known]


def identity(names: Mapping[str, str]) -> str:
    """One line for file names and their pins, in any order."""
    return " ".join(f"{name}={names[name]}" for name in sorted(names))


def differing(files: Files, sums: Mapping[str, str]) -> Path | None:
    """The first file that has another sha256 than it should; empty sums are not checked."""
    wrong = (path for name, path in files.items() if sums[name] and sha256(path) != sums[name])
    return next(wrong, None)


def sha256(path: Path) -> str:
    """The sha256 of a file, as 64 hexadecimal digits; read again only once the file changed."""
    status = path.stat()
    return _sha256(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=256)
def _sha256(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_whole(path: Path, name: str | None = None) -> bool:
    """Whether nothing was cut off a file, as far as a look at its beginning tells.

    A safetensors file says there how long it is, so that gigabytes need not be read. One that is
    something else (a pickle, a web page) is not whole either.

    Parameters
    ----------
    path : Path
    name : str or None
        What it is to be called, if it has another name as yet.
    """
    from safetensors import SafetensorError, safe_open

    if not (name or path.name).endswith(".safetensors"):
        return path.stat().st_size > 0
    try:
        with safe_open(path, framework="numpy"):
            return True
    except (SafetensorError, OSError):
        return False


def amount(size: int) -> str:
    """Bytes as a person reads them: "5.2 GB", "346 MB", "12 kB"."""
    scale, unit = _unit(size)
    return f"{_digits(size / scale)} {unit}"


def share(part: int, size: int) -> str:
    """Bytes of bytes: "1.2 of 5.2 GB"."""
    scale, unit = _unit(size)
    return f"{_digits(part / scale)} of {_digits(size / scale)} {unit}"


def _unit(size: int) -> tuple[float, str]:
    units = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
    return next((unit for unit in units if size >= unit[0]), (1, "bytes"))


def _digits(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0") if number < 10 else f"{number:.0f}"
