"""Files of a repository on this machine, and what tells them from others."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from napari_cliper.models.presets import MODELS, Repository

Files = dict[str, Path]


@dataclass(frozen=True)
class Source:
    """Where a repository's files are.

    Attributes
    ----------
    files : mapping of file name to Path
        The names are the repository's or the wheel's.
    pins : mapping of file name to str
        The sha256 of a file, or the commit it is of; a name is absent where neither is known.
    """

    files: Files
    pins: Mapping[str, str]

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
