"""labelme's JSON: a file a picture, with polygons or bitmaps.

A polygon goes from pixel to pixel, and covers those on its line too: so labelme itself makes masks
of it. What that does not give back exactly is written as a bitmap.
"""

import base64
import io
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json
from skimage.measure import euler_number, regionprops
from skimage.measure import label as connected

from napari_cliper.annotation.annotation import Annotation
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.foreign import (
    Part,
    box_of,
    checked_corners,
    checked_size,
    is_small_json,
    named_classes,
    named_picture,
    picture_name,
    picture_size,
    read_json,
    united,
)
from napari_cliper.files.formats.format import Format, Keeps, Options
from napari_cliper.files.indexed_png import CLASSES_FILE
from napari_cliper.files.nearby import picture_near
from napari_cliper.files.objects import assemble, objects_of, overlap_remark
from napari_cliper.files.pictures import explained
from napari_cliper.files.polygons import border_of

VERSION = "5.5.0"  # of labelme, whose files these are like
MOST_HOLES = 300  # of a part that gets a polygon: nobody edits more
# The fewest points of each type that has an area.
LEAST = {"polygon": 3, "oriented_rectangle": 4, "rectangle": 2, "circle": 2}


class Shape(BaseModel):
    """One shape; what else it holds is passed over."""

    model_config = ConfigDict(allow_inf_nan=False)

    label: str
    points: list[tuple[float, float]] = Field(min_length=1)
    group_id: int | None = None
    shape_type: str | None = None
    mask: str | None = None


class Document(BaseModel):
    """One file; what else it holds is passed over."""

    shapes: list[Shape]
    imagePath: str
    imageHeight: int | None = Field(None, ge=1)
    imageWidth: int | None = Field(None, ge=1)


def write(annotations: Iterable[Annotation], folder: Path, options: Options) -> None:
    """Write `{name}.json` of each."""
    for annotation in annotations:
        path = folder / f"{annotation.name}.json"
        if path.name.casefold() == CLASSES_FILE:
            raise NapariCliperError(
                f"“{path.name}” is the file of the class list: "
                f"give the picture “{annotation.name}” another name."
            )
        height, width = annotation.labels.shape
        content = {
            "version": VERSION,
            "flags": {},
            "shapes": list(_shapes(annotation, options)),
            "imagePath": picture_name(annotation),
            "imageData": None,
            "imageHeight": height,
            "imageWidth": width,
        }
        path.write_bytes(to_json(content, indent=2))


def _shapes(annotation: Annotation, options: Options) -> Iterator[dict[str, Any]]:
    for number, thing in enumerate(objects_of(annotation, options), 1):
        known = {"label": thing.entry.name, "description": "", "flags": {}}
        if options.masks:
            yield {**known, **_bitmap(thing.mask, thing.top, thing.left), "group_id": None}
            continue
        parts = regionprops(np.asarray(connected(thing.mask, connectivity=1)))
        group = number if len(parts) > 1 else None
        for part in parts:
            top, left = thing.top + part.bbox[0], thing.left + part.bbox[1]
            shape = _polygon(part.image, top, left) or _bitmap(part.image, top, left)
            yield {**known, **shape, "group_id": group}


def _polygon(mask: NDArray[np.bool_], top: int, left: int) -> dict[str, Any] | None:
    """A part as a polygon; None if labelme would make another mask of it, or of too many holes."""
    if 1 - euler_number(mask, connectivity=1) > MOST_HOLES:
        return None
    border = border_of(mask)
    if len(border) < 3 or not np.array_equal(_lined(border, "polygon", mask.shape), mask):
        return None
    points = (border + (left, top)).tolist()  # noqa: RUF005  # arrays
    return {"points": points, "shape_type": "polygon", "mask": None}


def _bitmap(mask: NDArray[np.bool_], top: int, left: int) -> dict[str, Any]:
    height, width = mask.shape
    file = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8)).save(file, "PNG")
    # The last point is the last pixel, not beyond it.
    last = [left + width - 1, top + height - 1]
    return {
        "points": [[left, top], last],
        "shape_type": "mask",
        "mask": base64.b64encode(file.getvalue()).decode(),
    }


def recognizes(path: Path) -> bool:
    """Whether a file has labelme's form."""
    try:
        with explained(path):
            if not is_small_json(path):
                return False
            content = path.read_bytes()
        # Other formats' files may be large: look before they are understood.
        if b'"shapes"' not in content or b'"imagePath"' not in content:
            return False
        read_json(path, Document, FORMAT.title)
    except NapariCliperError:
        return False
    return True


def read(path: Path, pictures: Path | None) -> Iterator[Annotation]:
    """Read one picture's shapes."""
    document = read_json(path, Document, FORMAT.title)
    if document.imageHeight is None or document.imageWidth is None:
        size = picture_size(path, picture_near(document.imagePath, path, pictures))
    else:
        size = checked_size(path, document.imageHeight, document.imageWidth)
    objects: dict[tuple[str, str], list[Part]] = {}
    skipped: Counter[str] = Counter()
    for place, shape in enumerate(document.shapes):
        part = _part(path, shape, size)
        if part is None:
            skipped[shape.shape_type or ""] += 1
            continue
        # What is in no group is an object of its own.
        group = f"alone {place}" if shape.group_id is None else str(shape.group_id)
        objects.setdefault((shape.label, group), []).append(part)
    classes, ids = named_classes((shape.label for shape in document.shapes), path)
    parts = ((ids[label], *united(found)) for (label, _), found in objects.items())
    labels, instances, hidden = assemble(size, parts)
    remarks = [
        f"{number} shapes of the type “{kind}” have no area: they are left out."
        for kind, number in skipped.items()
    ]
    yield Annotation(
        path.stem,
        labels,
        classes,
        instances,
        picture=named_picture(document.imagePath, path, pictures),
        remarks=(*remarks, *overlap_remark(hidden)),
    )


def _part(path: Path, shape: Shape, size: tuple[int, int]) -> Part | None:
    """The pixels of a shape, or None if it is of a type that has none."""
    kind, points = shape.shape_type or "polygon", shape.points
    if kind == "mask":
        return _unpacked(path, shape, size)
    if kind not in LEAST:
        return None
    least = LEAST[kind]
    if len(points) < least or (kind == "circle" and len(points) > least):
        raise NapariCliperError(
            f"In “{path}” a {kind} of “{shape.label}” has {len(points)} points in place of "
            f"{least}: correct it in labelme."
        )
    (corners,) = checked_corners(path, [points], size)
    if kind == "circle":
        radius = np.hypot(*(corners[1] - corners[0]))
        corners = np.stack([corners[0] - radius, corners[0] + radius])
        (corners,) = checked_corners(path, [corners], size)
    elif kind == "rectangle" and len(corners) == 2:
        corners = np.stack([corners.min(0), corners.max(0)])
    else:
        kind = "polygon"
    top, left, bottom, right = box_of(corners, size)
    with explained(path):
        return top, left, _lined(corners - (left, top), kind, (bottom - top, right - left))


def _lined(corners: NDArray[np.float64], kind: str, size: tuple[int, ...]) -> NDArray[np.bool_]:
    """The pixels (h, w) that labelme fills: those within a shape and those on its line."""
    picture = Image.new("1", (size[1], size[0]))
    pen, points = ImageDraw.Draw(picture), [(x, y) for x, y in corners.tolist()]
    draw = {"circle": pen.ellipse, "rectangle": pen.rectangle, "polygon": pen.polygon}[kind]
    draw(points, fill=1, outline=1)
    return np.array(picture, bool)


def _unpacked(path: Path, shape: Shape, size: tuple[int, int]) -> Part:
    """The pixels of a bitmap."""
    corners = np.array(shape.points).reshape(-1)
    edges = np.array([*size[::-1], *size[::-1]])
    fits = len(corners) == 4 and np.all((corners >= 0) & (corners < edges))
    left, top, right, bottom = corners.astype(int).tolist() if fits else (0, 0, 0, 0)
    with explained(path):
        content = base64.b64decode(shape.mask or "", validate=True)
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            if not fits or image.size != (right - left + 1, bottom - top + 1):
                raise ValueError(f"a mask of “{shape.label}” that does not fit its box")
            pixels: NDArray[Any] = np.array(image.convert("L") if image.mode != "P" else image)
    return top, left, pixels > 0


FORMAT = Format(
    key="labelme",
    title="labelme",
    rank=30,
    suffix=".json",
    keeps=Keeps(
        colors=False,
        ids=False,
        instances=True,
        note="An object of several parts is a group. A part that labelme would fill differently as "
        "a polygon, most often one with holes or of a pixel or two, is a bitmap. So is one of more "
        "than 300 holes, and with the option masks every object (labelme 5.3 or newer). Labels and "
        "colours are in the class list beside; a class without objects is only there.",
    ),
    write=write,
    recognizes=recognizes,
    read=read,
)
