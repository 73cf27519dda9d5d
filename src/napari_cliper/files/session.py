"""Session folders: what an annotator has done on one picture, saved so that no kill can break it.

A folder holds `session.json` and label maps as PNG files. A map's name holds a digest of its file,
so that other pixels are another file beside the old one. New maps are written first, then
`session.json` is replaced in one step; whoever reads it before or after finds all that it names.
"""

import io
import os
import re
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_cliper.annotation.class_list import ClassList
from napari_cliper.annotation.session import Mask, MaskNotes, Notes, Session
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.atomic import atomic_write
from napari_cliper.files.bounded import read_bounded
from napari_cliper.files.indexed_png import encode_labels, load_labels, present_ids
from napari_cliper.files.pictures import explained

SESSION_FILE = "session.json"
REMEDY = "copy the whole folder again, or move it away to begin anew"
KEPT_FOR = 3600  # seconds that files which nothing names are left alone: another save may be on

_MAP = re.compile(r"[a-z0-9-]+-(labels|protected|proposal)\.[0-9a-f]{16}\.png")
_LEFT_BEHIND = re.compile(rf"{_MAP.pattern}|\.[0-9a-f]{{16}}\.part")  # the latter `atomic_write`'s
_DTYPES = ("uint8", "uint16")


@dataclass(frozen=True, eq=False)
class MaskMaps:
    """The pixels of a label layer.

    Attributes
    ----------
    labels : (H, W) uint8 or uint16
    protected : (H, W) bool, or None
        True where the program leaves them alone.
    proposal : (H, W) uint8 or uint16, or None
        What the program last wanted to write.
    """

    labels: NDArray[Any]
    protected: NDArray[np.bool_] | None = None
    proposal: NDArray[Any] | None = None


@dataclass(frozen=True, eq=False)
class LoadedSession:
    """What a session folder holds.

    Attributes
    ----------
    session : Session
    maps : tuple of MaskMaps
        Of each of the session's masks.
    """

    session: Session
    maps: tuple[MaskMaps, ...]


def is_session(path: str | Path) -> bool:
    """Whether there is a session here: a folder, or the `session.json` in it."""
    try:
        return _file(Path(path)).is_file()
    except OSError:  # a name too long, a folder that may not be read
        return False


def save_session(
    folder: str | Path, notes: Notes, masks: Sequence[tuple[MaskNotes, MaskMaps]]
) -> Session:
    """Write a session, or the next state of the one that is there.

    Files that did not change are not written again. What the session that was there alone named is
    deleted, and what ended saves left behind an hour ago or earlier.

    Parameters
    ----------
    folder : str or Path
        The folder, made if it is missing, or the `session.json` in it. One program at a time may
        write there.
    notes : Notes
        If it is a `Session`, its masks count for nothing.
    masks : sequence of (MaskNotes, MaskMaps)
        In order. File names in the notes count for nothing.

    Returns
    -------
    Session
        As `load_session` will read it.

    Raises
    ------
    NapariCliperError
        A map is not of the picture's size, is of another type, or holds a label that no class of
        its mask has; the folder cannot be written; or it holds a `session.json` that cannot be
        read. Then the session that was there is as it was, and no new file is left.
    """
    folder = _file(Path(folder)).parent
    kept: dict[str, bytes] = {}  # what the files of the masks have to hold
    entries = tuple(_entry(mask, maps, notes.picture.size, kept) for mask, maps in masks)
    session = Session(**{**dict(notes), "masks": entries})
    before = _named(folder)
    written: set[str] = set()
    try:
        for name, content in kept.items():
            if not _holds(folder / name, content):
                if name not in before:
                    written.add(name)
                # One that is named and holds anything else is damaged.
                with atomic_write(folder / name, overwrite=True) as file:
                    file.write(content)
        _sync(folder)
        with atomic_write(folder / SESSION_FILE, overwrite=True) as file:
            file.write(session.to_json().encode("utf-8", "surrogatepass"))
    except BaseException:
        with suppress(NapariCliperError):
            # Asked again, for an interrupt may come just after it was replaced.
            _remove(folder, written - _named(folder))
        raise
    _sync(folder)
    _remove(folder, {*filter(_MAP.fullmatch, before), *_left_behind(folder)} - session.files)
    return session


def load_session(folder: str | Path) -> LoadedSession:
    """Read what `save_session` wrote. Changes nothing on disk.

    Parameters
    ----------
    folder : str or Path
        The folder, or the `session.json` in it.

    Raises
    ------
    NapariCliperError
        There is no session, it is of a newer format, or one of its files is missing, damaged, of
        another size than the picture, or holds a label that no class of its mask has.
    """
    file = _file(Path(folder))
    session = _read(file)
    if session is None:
        raise NapariCliperError(
            f"There is no session in “{file.parent}”: choose a folder that holds a {SESSION_FILE}."
        )
    size = session.picture.size
    return LoadedSession(session, tuple(_maps(file.parent, mask, size) for mask in session.masks))


def read_session(folder: str | Path) -> Session | None:
    """A session without its maps, or None if there is none.

    Raises
    ------
    NapariCliperError
        It cannot be read, or is of a newer format.
    """
    return _read(_file(Path(folder)))


def encode_protected(protected: NDArray[np.bool_]) -> bytes:
    """What is protected, (H, W) bool, as a PNG file of one bit a pixel."""
    file = io.BytesIO()
    Image.fromarray(protected).save(file, "PNG")
    return file.getvalue()


def _file(path: Path) -> Path:
    return path if path.name == SESSION_FILE else path / SESSION_FILE


def _read(file: Path) -> Session | None:
    """The session of a `session.json`, or None if that is not there."""
    with explained(file):
        try:
            file.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
    text = read_bounded(file)
    try:
        return Session.from_json(text)
    except NapariCliperError as error:
        raise NapariCliperError(f"In “{file}”: {error}") from error


def _named(folder: Path) -> frozenset[str]:
    """The files that the session of a folder names."""
    session = _read(folder / SESSION_FILE)
    return frozenset() if session is None else session.files


def _entry(notes: MaskNotes, maps: MaskMaps, size: tuple[int, int], kept: dict[str, bytes]) -> Mask:
    """The session's entry of a mask; adds its files to `kept`."""

    def keep(kind: str, content: bytes) -> str:
        role = re.sub("[^a-z0-9]+", "-", notes.role.lower()).strip("-")[:40] or "mask"
        name = f"{role}-{kind}.{sha256(content).hexdigest()[:16]}.png"
        kept[name] = content
        return name

    def keep_labels(kind: str, labels: NDArray[Any]) -> str:
        _check(f"The {kind} of “{notes.name}”", labels, size, _DTYPES)
        return keep(kind, encode_labels(labels, notes.classes))

    files: dict[str, str | None] = {
        "labels": keep_labels("labels", maps.labels),
        "dtype": maps.labels.dtype.name,
        "protected": None,
        "proposal": None,
        "proposal_dtype": None,
    }
    if maps.protected is not None:
        _check(f"What is protected of “{notes.name}”", maps.protected, size, ("bool",))
        files["protected"] = keep("protected", encode_protected(maps.protected))
    if maps.proposal is not None:
        files["proposal"] = keep_labels("proposal", maps.proposal)
        files["proposal_dtype"] = maps.proposal.dtype.name
    return Mask(**{**dict(notes), **files})


def _check(what: str, array: NDArray[Any], size: tuple[int, int], dtypes: Sequence[str]) -> None:
    if array.shape != size or array.dtype.name not in dtypes:
        raise NapariCliperError(
            f"{what}, of shape {array.shape} and type {array.dtype}, cannot be saved: "
            f"make it {size} as the picture, and {' or '.join(dtypes)}."
        )


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.read_bytes() == content
    except OSError:
        return False


def _maps(folder: Path, mask: Mask, size: tuple[int, int]) -> MaskMaps:
    """Read the files of a mask."""
    return MaskMaps(
        _labels(folder / mask.labels, mask.dtype, mask.classes, size),
        None if mask.protected is None else _bits(folder / mask.protected, size),
        None
        if mask.proposal is None
        else _labels(folder / mask.proposal, mask.proposal_dtype or mask.dtype, mask.classes, size),
    )


def _labels(path: Path, dtype: str, classes: ClassList, size: tuple[int, int]) -> NDArray[Any]:
    _verify(path, size)
    labels, _ = load_labels(path)
    known = {i for i in classes.ids if i <= np.iinfo(dtype).max}
    if unknown := [i for i in present_ids(labels) if i not in known]:
        raise NapariCliperError(
            f"“{path}” holds the label {unknown[0]}, which is none of its classes in "
            f"{SESSION_FILE}: add such a class there, or erase that label."
        )
    return labels.astype(dtype)


def _bits(path: Path, size: tuple[int, int]) -> NDArray[np.bool_]:
    _verify(path, size)
    with explained(path), Image.open(path, formats=["PNG"]) as picture:
        if picture.mode != "1":
            raise NapariCliperError(
                f"“{path}” tells what is protected, but not in black and white: save it with one "
                "bit a pixel."
            )
        return np.array(picture)


def _verify(path: Path, size: tuple[int, int]) -> None:
    """Refuse a PNG that is missing, of another size or damaged.

    Reading its pixels would not notice all damage: checksums are left alone then.
    """
    with explained(path):
        if not path.exists():
            raise NapariCliperError(f"The session lacks its file “{path}”: {REMEDY}.")
        with Image.open(path, formats=["PNG"]) as picture:
            found = picture.size[::-1]
            if found == size:
                picture.verify()
    if found != size:
        raise NapariCliperError(
            f"“{path}” is {found[1]} × {found[0]} pixels, the session's picture "
            f"{size[1]} × {size[0]}: {REMEDY}."
        )


def _left_behind(folder: Path) -> Iterable[str]:
    """What looks like ours and has not been touched for a while."""
    with suppress(OSError):
        for path in folder.iterdir():
            with suppress(OSError):
                old = time.time() - path.stat().st_mtime > KEPT_FOR
                if old and _LEFT_BEHIND.fullmatch(path.name):
                    yield path.name


def _remove(folder: Path, names: Iterable[str]) -> None:
    """Delete files as far as that is possible."""
    for name in names:
        with suppress(OSError):
            (folder / name).unlink()


def _sync(folder: Path) -> None:
    """Have the names of a folder's files on the disk, where the system can do that."""
    with suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
