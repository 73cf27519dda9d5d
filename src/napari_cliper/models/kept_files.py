"""A folder of tensors that took long to compute, bounded in size. No torch until one is read.

Whatever goes wrong with such a file costs a computation and nothing else, so nothing is raised.
"""

import hashlib
import json
import math
import os
import secrets
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from napari_cliper.errors import NapariCliperError
from napari_cliper.models.weights import cache_folder

if TYPE_CHECKING:
    from torch import Tensor

NOTES = "napari-cliper"  # what our part of a file's header is called

Entry: TypeAlias = "tuple[Mapping[str, Tensor], Any]"
"""Named tensors, and notes: whatever JSON can hold."""


@dataclass(frozen=True)
class KeptFiles:
    """Entries of named tensors and notes, each a safetensors file called by its key.

    Several processes may use one folder at once. A file that was damaged is deleted when it is
    asked for. A folder that cannot be written is done without.

    Attributes
    ----------
    folder : Path
        Nothing else lies in it. Made when the first entry is kept.
    limit : float
        Bytes that all entries may take. Those not used for longest go first.
    """

    folder: Path
    limit: float = math.inf

    def get(self, key: str) -> "Entry | None":
        """An entry, its tensors on the CPU; None where there is none."""
        path = self._path(key)
        try:
            content = path.read_bytes()  # a file mapped into memory cannot be replaced on Windows
        except OSError:
            return None
        entry = _unpacked(content)
        with suppress(OSError):
            if entry is None:
                path.unlink()
            elif self.limit < math.inf:
                os.utime(path)  # used now
        return entry

    def put(self, entries: "Mapping[str, Entry]") -> None:
        """Keep entries, each wholly or not at all; one that is there already is left as it is.

        Parameters
        ----------
        entries : mapping of str to Entry
            By their keys, as of `key_of`; tensors of any device. Room is made for all at once.
        """
        from safetensors import SafetensorError

        parts: dict[Path, Path] = {}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for key, entry in entries.items():
                path = self._path(key)
                if _bytes(entry) <= self.limit and not path.exists():
                    part = path.with_name(f".{secrets.token_hex(8)}.part")
                    parts[part] = path
                    _pack(part, entry)
            if self._make_room({str(part) for part in parts}):
                for part, path in parts.items():
                    part.replace(path)
        except (OSError, SafetensorError):  # the latter where the disk is full
            pass
        finally:
            for part in parts:
                with suppress(OSError):
                    part.unlink()

    def size(self) -> int:
        """Bytes of all that is in the folder."""
        return sum(size for _, size, _ in self._files())

    def drop(self, key: str) -> None:
        """Delete an entry that turned out not to be what it should be."""
        with suppress(OSError):
            self._path(key).unlink()

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"

    def _make_room(self, new: set[str]) -> bool:
        """Delete what was not used for longest; whether all now fits, the new files included."""
        if self.limit == math.inf:
            return True
        # Parts that a killed process left behind age as entries do.
        files = self._files()
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files) if total > self.limit else ():
            if total <= self.limit:
                break
            if path not in new:
                with suppress(FileNotFoundError):  # another process deleted it
                    os.unlink(path)  # noqa: PTH108
                total -= size
        return total <= self.limit

    def _files(self) -> list[tuple[int, int, str]]:
        """When each file was used last, its bytes, and where it is."""
        found = []
        with suppress(OSError), os.scandir(self.folder) as entries:
            for entry in entries:
                with suppress(OSError):
                    state = entry.stat()
                    found.append((state.st_mtime_ns, state.st_size, entry.path))
        return found


def key_of(*parts: Any) -> str:
    """A file name for what JSON can hold; other parts give another name."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def stamp(path: Path) -> str:
    """What tells a file from others without reading it: its place, size and time of change."""
    place = path.resolve()
    state = place.stat()
    return f"{place} {state.st_size} {state.st_mtime_ns}"


def _bytes(entry: Entry) -> int:
    return sum(tensor.nbytes for tensor in entry[0].values())


def _pack(path: Path, entry: Entry) -> None:
    from safetensors.torch import save_file

    tensors, notes = entry
    # Copies: safetensors refuses tensors that share memory.
    plain = {
        name: each.detach().to("cpu", copy=True).contiguous() for name, each in tensors.items()
    }
    text = json.dumps({"sum": _sum(plain, notes), "notes": notes})
    save_file(plain, path, metadata={NOTES: text})


def _unpacked(content: bytes) -> "Entry | None":
    """What `_pack` wrote into a file; None if it is anything else by now."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    with suppress(SafetensorError, ValueError, KeyError, TypeError):
        length = int.from_bytes(content[:8], "little")
        known = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][NOTES])
        tensors = load(content)
        if _sum(tensors, known["notes"]) == known["sum"]:
            return tensors, known["notes"]
    return None


def _sum(tensors: "Mapping[str, Tensor]", notes: Any) -> int:
    """A checksum of names, types, shapes, values and notes.

    CRC-32: it is to find damage, not forgery, and takes a second a gigabyte.
    """
    import torch

    total = zlib.crc32(json.dumps(notes).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        total = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), total)
        total = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, total)
    return total


def disk_limit(given: float | None = None) -> float:
    """Bytes that encoded pictures and words may take on disk; 0 for none.

    Parameters
    ----------
    given : float or None
        Gigabytes. None asks the environment variable NAPARI_CLIPER_KEEP.

    Raises
    ------
    NapariCliperError
        If that is no number, or less than 0.
    """
    named = (os.environ.get("NAPARI_CLIPER_KEEP") or 0) if given is None else given
    try:
        gigabytes = float(named)
    except (TypeError, ValueError):
        gigabytes = math.nan
    if not 0 <= gigabytes < math.inf:
        raise NapariCliperError(
            f"“{named}” is no size for kept encodings: give gigabytes, 0 or more (keep in Python, "
            "the variable NAPARI_CLIPER_KEEP)."
        )
    return gigabytes * 1e9


def encodings_folder() -> Path:
    """Where encoded pictures and words are kept."""
    return cache_folder() / "encodings"
