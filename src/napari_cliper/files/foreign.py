"""What readers of other tools' files have in common."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from pydantic import BaseModel, ValidationError

from napari_cliper.annotation.annotation import Annotation, with_all
from napari_cliper.annotation.class_list import ClassEntry, ClassList
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.bounded import read_bounded
from napari_cliper.files.nearby import classes_for, classes_near, picture_near
from napari_cliper.files.pictures import explained, read_picture
from napari_cliper.files.polygons import filled

LARGEST = 2**29  # bytes of a JSON file of any format; the largest of COCO's own has 449 million
LONGEST = 20_000_000  # pixels around an object, of which each takes pycocotools 80 bytes

Model = TypeVar("Model", bound=BaseModel)
Part = tuple[int, int, NDArray[np.bool_]]  # where a mask's box begins, and the mask


def is_small_json(path: Path) -> bool:
    """Whether a path is a JSON file's, by its name, which is small enough to look into.

    Raises
    ------
    OSError
    """
    return path.suffix.lower() == ".json" and path.is_file() and path.stat().st_size <= LARGEST


def read_json(path: Path, model: type[Model], title: str) -> Model:
    """Read a JSON file that is as a model says.

    Parameters
    ----------
    path : Path
    model : type of pydantic's BaseModel
    title : str
        Of the format, for people.

    Raises
    ------
    NapariCliperError
        There is no such file, it is too large, cannot be read, or is not as the model says.
    """
    content = read_bounded(path, LARGEST).removeprefix(b"\xef\xbb\xbf")  # Windows' byte order mark
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        raise invalid(path, title, error) from error


def invalid(path: Path, title: str, error: ValidationError) -> NapariCliperError:
    """What is wrong first, in one sentence."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(step) for step in first["loc"])
    at = f" at {where}" if where else ""
    message = first["msg"].removeprefix("Value error, ").rstrip(".")
    return NapariCliperError(
        f"“{path}” is no valid file of {title}{at} ({message}): correct or export it again."
    )


def checked_size(path: Path, height: int, width: int) -> tuple[int, int]:
    """A picture's height and width, if it is no larger than pictures that can be opened.

    Raises
    ------
    NapariCliperError
    """
    with explained(path):
        # As Pillow does: one that is larger than its limit is strange, one of twice it an attack.
        if Image.MAX_IMAGE_PIXELS is not None and height * width > 2 * Image.MAX_IMAGE_PIXELS:
            raise Image.DecompressionBombError
    return height, width


def picture_size(path: Path, picture: Path | None) -> tuple[int, int]:
    """The height and width of a file's picture.

    Parameters
    ----------
    path : Path
        That file.
    picture : Path or None
        As `nearby.picture_near` found it.

    Raises
    ------
    NapariCliperError
        The picture is not there or cannot be read.
    """
    if picture is None:
        raise NapariCliperError(
            f"“{path}” does not tell how large its picture is: put the picture beside it, "
            "or say in which folder the pictures are."
        )
    height, width = read_picture(picture).shape[:2]
    return height, width


def picture_name(annotation: Annotation) -> str:
    """How another tool's file names the picture: the name alone, for it may lie elsewhere there."""
    name = annotation.picture.name if annotation.picture else f"{annotation.name}.png"
    return name.encode(errors="replace").decode()


def named_picture(name: str, path: Path, pictures: Path | None) -> Path | None:
    """The picture that a file names: where it is, else its bare name; None if that is empty."""
    bare = name.replace("\\", "/").rpartition("/")[2]
    return picture_near(name, path, pictures) or (Path(bare) if bare else None)


def checked_corners(
    path: Path, polygons: Sequence[ArrayLike], size: tuple[int, int]
) -> list[NDArray[np.float64]]:
    """The corners of another tool's polygons, (n, 2) each, if they can be drawn.

    Raises
    ------
    NapariCliperError
        A corner is far outside of the picture, or an outline is too long.
    """
    rings = [np.asarray(polygon, np.float64).reshape(-1, 2) for polygon in polygons]
    edges = np.array(size[::-1])
    if not all(np.all((ring >= -edges) & (ring <= 2 * edges)) for ring in rings):  # NaN neither
        raise NapariCliperError(
            f"In “{path}” a polygon leads far out of the picture: correct it, "
            "or check that file and picture belong together."
        )
    if sum(np.abs(np.diff(ring, axis=0)).max(1).sum() for ring in rings) > LONGEST:
        raise NapariCliperError(
            f"In “{path}” a polygon has an outline of more than {LONGEST} pixels: simplify it."
        )
    return rings


def box_of(corners: NDArray[np.float64], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The part of a picture, (H, W), that corners (n, 2) lie in: top, left, bottom and right."""
    edges = np.array(size[::-1])
    left, top = np.clip(np.floor(corners.min(0)).astype(int), 0, edges - 1).tolist()
    right, bottom = np.clip(np.ceil(corners.max(0)).astype(int) + 1, 1, edges).tolist()
    return top, left, bottom, right


def drawn(path: Path, polygons: Sequence[ArrayLike], size: tuple[int, int]) -> Part:
    """The pixels that another tool's polygons cover together, within their box.

    Parameters
    ----------
    path : Path
        Where they are from.
    polygons : sequence of (n, 2) numbers
        x and y of corners.
    size : (H, W)

    Returns
    -------
    top, left : int
        Where the box begins.
    mask : (h, w) bool

    Raises
    ------
    NapariCliperError
        A corner is far outside of the picture, or there are too many corners.
    """
    rings = checked_corners(path, polygons, size)
    corners = np.concatenate(rings) if rings else np.zeros((0, 2))
    if not len(corners):
        return 0, 0, np.zeros((0, 0), bool)
    # Rounded as pycocotools does: at a tie, moving a corner to the box would make a difference.
    # What is negative is not moved.
    rings = [np.where(ring > 0, np.trunc(ring * 5 + 0.5) / 5, ring) for ring in rings]
    top, left, bottom, right = box_of(corners, size)
    with explained(path):
        return (
            top,
            left,
            filled([ring - (left, top) for ring in rings], (bottom - top, right - left)),
        )


def boxed(mask: NDArray[np.bool_]) -> Part:
    """A mask's box, as small as can be: where it begins, and the mask in it."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return 0, 0, np.zeros((0, 0), bool)
    top, left = int(rows[0]), int(columns[0])
    return top, left, mask[top : rows[-1] + 1, left : columns[-1] + 1].copy()


def united(parts: Sequence[Part]) -> Part:
    """One mask of several; at least one."""
    if len(parts) == 1:
        return parts[0]
    top, left = min(part[0] for part in parts), min(part[1] for part in parts)
    bottom = max(part[0] + part[2].shape[0] for part in parts)
    right = max(part[1] + part[2].shape[1] for part in parts)
    whole = np.zeros((bottom - top, right - left), bool)
    for row, column, mask in parts:
        height, width = mask.shape
        whole[row - top :, column - left :][:height, :width] |= mask
    return top, left, whole


def named_classes(
    names: Iterable[str], path: Path, known: Iterable[ClassEntry] = ()
) -> tuple[ClassList, dict[str, int]]:
    """The class list of a file that gives its objects names, as `nearby.classes_for` does.

    Parameters
    ----------
    names : iterable of str
        Of the objects; the same ones may come again.
    path : Path
        That file.
    known : iterable of ClassEntry
        Classes that the file tells more of. If two share an id, the first has it.

    Returns
    -------
    classes : ClassList
    labels : dict
        Of each name, the label.

    Raises
    ------
    NapariCliperError
        The class list beside the file is not valid.
    """
    entries: dict[int, ClassEntry] = {}
    numbers: dict[str, int] = {}
    for entry in known:
        if entry.name not in numbers and entry.id not in entries:
            entries[entry.id] = entry
            numbers[entry.name] = entry.id
    free = (number for number in count(1) if number not in entries)
    for name in names:
        if name not in numbers:
            numbers[name] = next(free)
    colors = {id_: entry.color for id_, entry in entries.items()}
    named = {number: name for name, number in numbers.items()}
    classes, labels = numbered_classes(named, path, colors, own=entries)
    return classes, {name: labels[id_] for name, id_ in numbers.items()}


def numbered_classes(
    names: Mapping[int, str],
    path: Path,
    colors: Mapping[int, tuple[int, int, int]] | None = None,
    own: Collection[int] | None = None,
) -> tuple[ClassList, dict[int, int]]:
    """The same as `nearby.classes_for`, also for a file that has no names, as it has no objects."""
    if names:
        return classes_for(names, path, colors, own)
    return classes_near(path) or with_all(None, np.zeros((1, 1), np.uint16)), {}
