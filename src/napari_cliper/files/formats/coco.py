"""COCO instances: pictures, categories and objects in one JSON file.

An object is given by polygons or run lengths. What is here without a leading underscore is the same
in COCO panoptic's file.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import ImageColor
from pydantic import BaseModel, Discriminator, Field, FiniteFloat, Tag
from pydantic_core import from_json

from napari_cliper.annotation.annotation import Annotation, merged_classes, with_all
from napari_cliper.annotation.class_list import ClassEntry, ClassList
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.foreign import (
    Part,
    checked_size,
    is_small_json,
    named_picture,
    picture_name,
    read_json,
)
from napari_cliper.files.formats.format import Format, Keeps, Options
from napari_cliper.files.names import different
from napari_cliper.files.nearby import classes_for, classes_near
from napari_cliper.files.objects import Object, assemble, is_void, objects_of, overlap_remark
from napari_cliper.files.polygons import filled, polygons_of
from napari_cliper.files.review import SUFFIXES
from napari_cliper.files.run_lengths import decode, encode

LONGEST = 5_000_000  # pixels around an object, of which each takes pycocotools 80 bytes
ROUGHEST = 50_000  # pixels' edges around an object that gets polygons: nobody edits longer ones
TITLE = "COCO instances"
OURS = "napari_cliper"  # the key of what COCO has no place for


class _Ours(BaseModel):
    name: str


class Picture(BaseModel):
    """One of the file's images."""

    id: int
    file_name: str
    height: int = Field(ge=1)
    width: int = Field(ge=1)
    ours: _Ours | None = Field(None, alias=OURS)

    @property
    def bare(self) -> str:
        """Its file's name without folders and ending."""
        name = self.file_name.replace("\\", "/").rpartition("/")[2]
        stem, dot, ending = name.rpartition(".")
        return stem if stem and dot + ending.lower() in SUFFIXES else name


class Category(BaseModel):
    """One of the file's classes."""

    id: int
    name: str
    color: Any = None  # other tools have many ways to say it, and none of them is worth an error


class _Runs(BaseModel):
    size: tuple[int, int]
    counts: str | list[int]


def _kind(value: Any) -> str:
    return "runs" if isinstance(value, dict | _Runs) else "polygons"


Polygons: TypeAlias = list[list[FiniteFloat]]
Segmentation: TypeAlias = Annotated[
    Annotated[Polygons, Tag("polygons")] | Annotated[_Runs, Tag("runs")], Discriminator(_kind)
]


class _Thing(BaseModel):
    image_id: int
    category_id: int
    segmentation: Segmentation | None = None
    iscrowd: Any = None


class _Document(BaseModel):
    images: list[Picture]
    annotations: list[_Thing]
    categories: list[Category]


class _Numbered(Protocol):
    @property
    def id(self) -> int: ...


Numbered = TypeVar("Numbered", bound=_Numbered)


def write(annotations: Iterable[Annotation], folder: Path, options: Options) -> None:
    """Write `{name}.json` of one annotation, `annotations.json` of several."""
    images: list[dict[str, Any]] = []
    things: list[dict[str, Any]] = []
    lists: dict[ClassList, None] = {}
    name = ""
    for number, annotation in enumerate(annotations, 1):
        name = annotation.name if number == 1 else "annotations"
        lists.setdefault(annotation.classes)
        images.append(picture_record(annotation, number))
        for thing in objects_of(annotation, options):
            things.append({"id": len(things) + 1, "image_id": number, **_record(thing, options)})
    categories = category_records(lists, options)
    write_json(folder / f"{name}.json", images, things, categories)


def read(path: Path, pictures: Path | None) -> Iterator[Annotation]:
    """Read the objects of each picture; where they overlap, the last one lies on top."""
    document = read_json(path, _Document, TITLE)
    images = by_id(document.images, "image", path)
    classes, labels = classes_of(document.categories, path)
    things: dict[int, list[tuple[str, _Thing]]] = {id_: [] for id_ in images}
    for index, thing in enumerate(document.annotations):
        place = f"annotations.{index}"
        check_known(thing.image_id, images, "image", place, path)
        check_known(thing.category_id, labels, "category", place, path)
        things[thing.image_id].append((place, thing))
    for image, name in zip(document.images, names_of(document.images), strict=True):
        size = checked_size(path, image.height, image.width)
        found = things.pop(image.id)
        empty: list[str] = []
        values, instances, hidden = assemble(size, _parts(found, labels, size, path, empty))
        crowds = sum(thing.iscrowd == 1 for _, thing in found)
        yield Annotation(
            name,
            values,
            with_all(classes, values),
            instances,
            picture=named_picture(image.file_name, path, pictures),
            remarks=(*overlap_remark(hidden), *remarks_of(crowds, len(empty))),
        )


def recognizes(path: Path) -> bool:
    """Whether it is a JSON file with the lists of COCO and segmentations. Never raises."""
    return holds(path, "segmentation", empty=True)


def picture_record(annotation: Annotation, id_: int) -> dict[str, Any]:
    """What is written of a picture."""
    height, width = annotation.labels.shape
    return {
        "id": id_,
        "file_name": picture_name(annotation),
        "height": height,
        "width": width,
        OURS: {"name": annotation.name},
    }


def category_records(lists: Iterable[ClassList], options: Options) -> list[dict[str, Any]]:
    """What is written of the classes, without the one that the options call void."""
    return [
        {
            "id": entry.id,
            "name": entry.name,
            "supercategory": "",
            "color": list(entry.color),
        }
        for entry in merged_classes(lists)
        if not is_void(entry, options)
    ]


def box_record(thing: Object) -> dict[str, Any]:
    """What is written of an object beside its pixels."""
    height, width = thing.mask.shape
    return {
        "category_id": thing.entry.id,
        "bbox": [thing.left, thing.top, width, height],
        "area": thing.area,
        "iscrowd": 0,
    }


def write_json(
    path: Path, images: list[Any], annotations: list[Any], categories: list[Any]
) -> None:
    """Write a file with the lists of COCO."""
    document = {
        "info": {"description": "written by napari-cliper"},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": categories,
    }
    path.write_bytes(json.dumps(document, ensure_ascii=False).encode())


def holds(path: Path, key: str, empty: bool = False) -> bool:
    """Whether it is a JSON file with the lists of COCO, and annotations with a key, or none.

    Never raises.
    """
    try:
        if not is_small_json(path):
            return False
        content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
        lists = ("images", "annotations", "categories")
        # That is quick, and most files are not read any further.
        if any(b'"%b"' % name.encode() not in content for name in lists):
            return False
        document = from_json(content)
    except (OSError, ValueError, RecursionError, MemoryError):
        return False
    if not isinstance(document, dict) or any(
        not isinstance(document.get(name), list) for name in lists
    ):
        return False
    things = document["annotations"]
    # Both of COCO's formats may have no annotations, but one without pictures is neither.
    if not things:
        return empty and bool(document["images"])
    return any(isinstance(thing, dict) and key in thing for thing in things)


def by_id(items: Sequence[Numbered], what: str, path: Path) -> dict[int, Numbered]:
    """Each by its id.

    Raises
    ------
    NapariCliperError
        Two have the same.
    """
    found = {item.id: item for item in items}
    if len(found) < len(items):
        twice = next(id_ for id_, n in Counter(item.id for item in items).items() if n > 1)
        raise NapariCliperError(
            f"In “{path}”, several have the {what} id {twice}: give each an id of its own."
        )
    return found


def check_known(id_: int, known: Mapping[int, Any], what: str, place: str, path: Path) -> None:
    """Refuse an id that nothing has."""
    if id_ not in known:
        raise NapariCliperError(
            f"In “{path}”, {place} has the {what} id {id_}, which no {what} has: add or correct it."
        )


def classes_of(
    categories: Sequence[Category], path: Path
) -> tuple[ClassList | None, dict[int, int]]:
    """The classes, None if there are none, and of each category's id the label."""
    found = by_id(categories, "category", path)
    if not found:
        return classes_near(path), {}
    colors = {id_: _color(category.color) for id_, category in found.items()}
    return classes_for(
        {id_: category.name for id_, category in found.items()},
        path,
        {id_: color for id_, color in colors.items() if color is not None},
    )


def names_of(images: Iterable[Picture]) -> list[str]:
    """What each picture's files may be called, all different."""
    return different(image.ours.name if image.ours else image.bare for image in images)


def remarks_of(crowds: int, lost: int) -> Iterator[str]:
    """What to say about crowds, and objects without pixels."""
    if crowds:
        yield f"{crowds} of the objects are crowds: each was read as one object."
    if lost:
        yield f"{lost} of the objects have no pixels, perhaps only a box: they were left out."


def _record(thing: Object, options: Options) -> dict[str, Any]:
    segmentation: Any = None if options.masks else _exact_polygons(thing)
    if segmentation is None:
        segmentation = {"size": list(thing.size), "counts": encode(thing)}
    return {**box_record(thing), "segmentation": segmentation}


def _exact_polygons(thing: Object) -> list[list[int]] | None:
    """Polygons that pycocotools turns into the same pixels; None if it does not."""
    border = np.pad(thing.mask, 1)
    if sum(np.count_nonzero(np.diff(border, axis=axis)) for axis in (0, 1)) > ROUGHEST:
        return None
    polygons = polygons_of(thing.mask)
    # Where the picture goes on, so does what is compared: pycocotools cuts polygons off at borders.
    (rows, columns), (height, width) = thing.mask.shape, thing.size
    above, left = min(thing.top, 1), min(thing.left, 1)
    below, right = min(height - thing.top - rows, 1), min(width - thing.left - columns, 1)
    mask = np.pad(thing.mask, ((above, below), (left, right)))
    margin, place = np.array([left, above]), np.array([thing.left, thing.top])
    if not np.array_equal(filled([each + margin for each in polygons], mask.shape), mask):
        return None
    return [(each + place).astype(int).ravel().tolist() for each in polygons]


def _parts(
    things: Iterable[tuple[str, _Thing]],
    labels: Mapping[int, int],
    size: tuple[int, int],
    path: Path,
    empty: list[str],
) -> Iterator[tuple[int, int, int, NDArray[np.bool_]]]:
    """What `assemble` takes, one by one: all masks together may not fit into memory.

    The places of objects without pixels are added to `empty`.
    """
    for place, thing in things:
        part = _part(thing.segmentation, size, f"In “{path}”, {place}")
        if part is None:
            empty.append(place)
        else:
            yield labels[thing.category_id], *part


def _part(
    segmentation: list[list[float]] | _Runs | None, size: tuple[int, int], place: str
) -> Part | None:
    """The pixels of an object, None if there are none."""
    if isinstance(segmentation, _Runs):
        try:
            if segmentation.size != size:
                raise ValueError
            return decode(segmentation.counts, size)
        except ValueError as error:
            raise NapariCliperError(
                f"{place} has run lengths that do not fit its picture: export it again."
            ) from error
    if any(len(polygon) % 2 for polygon in segmentation or ()):
        raise NapariCliperError(f"{place} has a corner with one coordinate: give x and y of each.")
    # Fewer corners enclose nothing; pycocotools would take two for a box.
    polygons = [np.reshape(polygon, (-1, 2)) for polygon in segmentation or () if len(polygon) >= 6]
    if not polygons:
        return None
    far = max(np.abs(polygon).max() for polygon in polygons)
    if far > LONGEST or sum(map(_length, polygons)) > LONGEST:
        raise NapariCliperError(f"{place} goes too far out of the picture: correct its corners.")
    return decode(_rasterised(polygons, size), size)


def _rasterised(polygons: list[NDArray[np.float64]], size: tuple[int, int]) -> str:
    """The run lengths of what polygons cover together."""
    from pycocotools import mask as coco

    runs = coco.merge(coco.frPyObjects([each.ravel().tolist() for each in polygons], *size))
    text: str = runs["counts"].decode("ascii")
    return text


def _length(polygon: NDArray[np.float64]) -> float:
    """How many pixels a closed polygon passes."""
    return float(np.abs(polygon - np.roll(polygon, 1, axis=0)).max(1).sum())


def _color(color: Any) -> tuple[int, int, int] | None:
    """Red, green and blue of a list of bytes or of "#rrggbb"; None of anything else."""
    try:
        red, green, blue = (ImageColor.getrgb(color) if isinstance(color, str) else color)[:3]
        known = ClassEntry(id=1, name="-", color=(red, green, blue))
    except (TypeError, ValueError, KeyError):
        return None
    return known.color


FORMAT = Format(
    key="coco",
    title=TITLE,
    rank=10,
    suffix=".json",
    keeps=Keeps(
        instances=True,
        note="Polygons where pycocotools makes the same pixels of them, else (or with the option "
        "masks) compressed run lengths. Our own keys are a category's “color” and a picture's "
        f"“{OURS}”, which other tools pass over.",
    ),
    write=write,
    recognizes=recognizes,
    read=read,
)
