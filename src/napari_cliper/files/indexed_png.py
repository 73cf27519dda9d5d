"""Label pictures as PNG files that carry their class list."""

import io
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageFile
from PIL.PngImagePlugin import PngInfo
from pydantic_core import from_json

from napari_cliper.annotation.class_list import MAX_CLASSES, ClassList
from napari_cliper.annotation.palette import voc_palette
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.atomic import atomic_write, check_free
from napari_cliper.files.bounded import read_bounded
from napari_cliper.files.pictures import explained

KEY = "napari-cliper"  # of the text chunk that holds the class list
CLASSES_FILE = "classes.json"
LABELS, OVERLAY = "_labels.png", "_overlay.png"  # what a picture's results end in


@runtime_checkable
class Labelled(Protocol):
    """Labels and what they mean, for example a `segmenter.Result`."""

    @property
    def labels(self) -> NDArray[np.uint16]:
        """(H, W): 0 background, else a class's id."""

    @property
    def classes(self) -> ClassList:
        """The classes of the labels."""


def save_labels(
    path: str | Path,
    result: Labelled | ArrayLike,
    classes: ClassList | str | None = None,
    overwrite: bool = False,
) -> None:
    """Write an indexed PNG with the class list inside it, and `classes.json` beside it.

    Up to id 255 the file has a palette (the classes' colours, Pascal VOC's for the other indices);
    beyond, it is 16-bit grey. `load_labels` gives back exactly what was saved.

    Parameters
    ----------
    path : str or Path
        Ends in ``.png``. Missing folders are made.
    result : Labelled or (H, W) array of integers
        What `Segmenter.segment` returned, or labels alone.
    classes : ClassList or str, optional
        The classes of labels given alone (of a result, its own unless given). Without any, only the
        PNG is written.
    overwrite : bool
        Whether a PNG that is there, or a `classes.json` with other classes, may be replaced.

    Raises
    ------
    NapariCliperError
        The files exist or cannot be written, the array does not hold labels, or it holds a label
        that no class has. Nothing has been written then.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise NapariCliperError(f"“{path}” is no name for labels: let it end in “.png”.")
    if isinstance(result, Labelled):
        classes = result.classes if classes is None else classes
        result = result.labels
    classes = None if classes is None else ClassList.parse(classes)
    encoded = encode_labels(result, classes)
    if classes is None:
        with atomic_write(path, overwrite) as png:
            png.write(encoded)
        return

    check_target(path, classes, overwrite)
    beside = path.with_name(CLASSES_FILE)
    with atomic_write(beside, overwrite=True) as list_, atomic_write(path, overwrite) as png:
        list_.write(classes.to_json().encode())
        list_.flush()  # a full disk shows before either is moved to its place
        png.write(encoded)


def encode_labels(labels: ArrayLike, classes: ClassList | None, grey: bool = False) -> bytes:
    """The PNG file that `save_labels` writes.

    Parameters
    ----------
    labels : (H, W) array of integers
    classes : ClassList or None
    grey : bool
        Without a palette also up to 255: 8-bit grey.

    Raises
    ------
    NapariCliperError
        The array does not hold labels, or it holds a label that no class has.
    """
    values = as_labels(labels, classes)
    text = PngInfo()
    if classes is not None:
        text.add_itxt(KEY, classes.model_dump_json())
    file = io.BytesIO()
    _indexed(values, classes, grey).save(file, "PNG", pnginfo=text)
    return file.getvalue()


def check_target(path: Path, classes: ClassList, overwrite: bool) -> None:
    """Refuse a place for labels that is taken, or beside which other classes are kept.

    Raises
    ------
    NapariCliperError
    """
    check_free(path, overwrite)
    beside = path.with_name(CLASSES_FILE)
    # Saving many pictures of the same classes is no overwriting.
    if not overwrite and beside.exists() and not _holds(beside, classes):
        raise NapariCliperError(
            f"“{beside}” holds other classes: choose another folder, or allow overwriting."
        )


def load_labels(path: str | Path) -> tuple[NDArray[np.uint16], ClassList | None]:
    """Read a label picture, this project's or any indexed or grey PNG.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    labels : (H, W) uint16 array
        The indices or grey values as stored.
    classes : ClassList or None
        The one inside the file; else that of a `classes.json` beside it; else None.

    Raises
    ------
    NapariCliperError
        The file is missing, damaged or has colours, or a class list in it is not valid.
    """
    path = Path(path)
    with explained(path):
        with Image.open(path, formats=["PNG"]) as picture:
            scale = _scale(picture)
            picture.load()
            text = picture.info.get(KEY)
        if picture.mode not in ("1", "L", "P", "I;16"):
            raise NapariCliperError(
                f"“{path}” holds colours, not labels: give an indexed or grey PNG."
            )
        labels = np.array(picture).astype(np.uint16) // scale
    if text is None:
        return labels, class_list_in(path.with_name(CLASSES_FILE))
    return labels, _class_list(text, path)


def class_list_in(path: Path) -> ClassList | None:
    """The class list of a `classes.json`; None if there is none, or one of another tool.

    Raises
    ------
    NapariCliperError
        It cannot be read, or has the form of ours and is not valid.
    """
    if not path.is_file():
        return None
    text = read_bounded(path)
    return None if _is_of_others(text) else _class_list(text, path)


def _class_list(text: str | bytes, path: Path) -> ClassList:
    try:
        return ClassList.from_json(text)
    except NapariCliperError as error:
        raise NapariCliperError(f"In “{path}”: {error}") from error


def _is_of_others(text: bytes) -> bool:
    """Whether it surely is no class list of ours; one that is damaged may be ours."""
    try:
        found = from_json(text)
    except ValueError:
        return False
    classes = found.get("classes") if isinstance(found, dict) else None
    return not isinstance(classes, list) or not all(isinstance(one, dict) for one in classes)


def holds_classes(path: Path, grey: bool) -> bool:
    """Whether a file surely is a label picture: one with classes inside, or that fit from beside.

    Parameters
    ----------
    path : Path
    grey : bool
        Whether it is to be an 8-bit grey one; else one with a palette, or with 16 bits.

    Notes
    -----
    Never raises.
    """
    try:
        with path.open("rb") as file:
            if file.read(8) != b"\x89PNG\r\n\x1a\n":
                return False
        with Image.open(path, formats=["PNG"]) as picture:
            if picture.mode not in (("1", "L") if grey else ("P", "I;16")):
                return False
            if KEY in picture.info:
                return True
        if not path.with_name(CLASSES_FILE).is_file():
            return False
        labels, classes = load_labels(path)
    except (OSError, ValueError, SyntaxError, MemoryError, NapariCliperError):
        return False
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return False
    return classes is not None and {*present_ids(labels)} <= {*classes.ids, 255}


def as_labels(labels: ArrayLike, classes: ClassList | None) -> NDArray[np.uint16]:
    """The same labels as uint16, once they have been checked.

    Parameters
    ----------
    labels : (H, W) array of integers or booleans
    classes : ClassList or None
        Where the labels other than 0 have to be found.

    Raises
    ------
    NapariCliperError
    """
    array = np.asarray(labels)
    if array.ndim != 2 or array.size == 0 or array.dtype.kind not in "bui":
        raise NapariCliperError(
            f"Labels of shape {array.shape} and type {array.dtype} cannot be saved: "
            "give one plane of integers."
        )
    if array.min() < 0 or array.max() > MAX_CLASSES:
        raise NapariCliperError(
            f"The labels go from {array.min()} to {array.max()}: keep them from 0 to {MAX_CLASSES}."
        )
    values = array.astype(np.uint16)
    if classes is not None and (unknown := set(present_ids(values)) - set(classes.ids)):
        raise NapariCliperError(
            f"No class has the id {min(unknown)}, which the labels hold: "
            "add such a class, or erase that label."
        )
    return values


def present_ids(labels: NDArray[np.uint16]) -> list[int]:
    """The labels there are, ascending, without the background."""
    ids: list[int] = np.flatnonzero(np.bincount(labels.ravel())).tolist()
    return [i for i in ids if i != 0]


def _scale(picture: ImageFile.ImageFile) -> int:
    """What Pillow will multiply the stored values by: it spreads 2- and 4-bit grey over 0 to 255.

    To be asked before the pixels are loaded.
    """
    return {"L;2": 85, "L;4": 17}.get(str(picture.tile[0].args), 1) if picture.tile else 1


def _indexed(
    labels: NDArray[np.uint16], classes: ClassList | None, grey: bool = False
) -> Image.Image:
    ids = classes.ids if classes is not None else (int(labels.max()),)
    if max(ids) > 255:
        return Image.fromarray(labels)
    picture = Image.fromarray(labels.astype(np.uint8))
    if grey:
        return picture
    palette = voc_palette()
    for entry in classes or ():
        palette[entry.id] = entry.color
    picture.putpalette(palette.tobytes())
    return picture


def _holds(path: Path, classes: ClassList) -> bool:
    """Whether a file holds exactly this class list."""
    try:
        return ClassList.from_json(read_bounded(path)) == classes
    except NapariCliperError:
        return False
