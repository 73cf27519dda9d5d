"""Files that are there whole or not at all."""

import os
import platform
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from napari_cliper.errors import NapariCliperError


@contextmanager
def atomic_write(
    path: str | Path, overwrite: bool = False, alone: bool = False
) -> Iterator[BinaryIO]:
    """Write a file beside its place and move it there when all went well.

    Parameters
    ----------
    path : str or Path
        Where the file shall be. Missing folders are made.
    overwrite : bool
        Whether a file that is there may be replaced.
    alone : bool
        Whether nobody else on this machine can be writing this file: a lock is held. Then what a
        kill has left of an earlier writing is written over, and not left for ever.

    Yields
    ------
    binary file
        To write into. If the body raises, or the disk is full, nothing of it is left and a file
        that was at `path` is as it was.

    Raises
    ------
    NapariCliperError
        There is something at `path` already, or it cannot be written. An `OSError` of the body is
        taken as the latter.
    """
    path = Path(path)
    check_free(path, overwrite)
    # Through symbolic links, as open() writes: the link stays and what it points to is replaced.
    target = Path(os.path.realpath(path))
    token = _token_of(target) if alone else secrets.token_hex(8)
    temporary = target.with_name(f".{token}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb" if alone else "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        raise NapariCliperError(
            f"“{path}” cannot be written ({error.strerror or error}): "
            "choose another folder, or make room and check its permissions."
        ) from error
    finally:
        # If its folder is none, or gone, there is nothing to remove.
        with suppress(OSError):
            temporary.unlink()


def _token_of(target: Path) -> str:
    """The same at each writing of a file by this machine; others may write to the same disk."""
    name = f"{platform.node()} {target.name}".encode(errors="surrogateescape")
    return sha256(name).hexdigest()[:16]


def check_writable(folder: Path) -> None:
    """Refuse a folder in which no file can be made, and leave no trace there.

    Of a folder that does not exist yet, the nearest one above it is tried.

    Raises
    ------
    NapariCliperError
    """
    try:
        nearest = next(above for above in (folder, *folder.absolute().parents) if above.exists())
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise NapariCliperError(
            f"The folder “{folder}” cannot be written ({error.strerror or error}): "
            "choose another one, or make room and check its permissions."
        ) from error


def check_free(path: Path, overwrite: bool) -> None:
    """Refuse a place that is taken.

    Raises
    ------
    NapariCliperError
    """
    try:
        if path.is_dir():
            raise NapariCliperError(f"“{path}” is a folder: give a file name.")
        taken = path.exists() and not overwrite
    except OSError:  # a name too long, a folder that may not be read: writing says what it is
        return
    if taken:
        raise NapariCliperError(
            f"“{path}” exists already: choose another name, or allow overwriting."
        )
