"""COCO panoptic: a JSON file, and a folder of pictures whose colours are the objects' numbers.

As COCO's panopticapi has it: the number is red + 256 green + 256² blue, and 0 is unlabelled.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, Field

from napari_cliper.annotation.annotation import Annotation, with_all
from napari_cliper.annotation.class_list import ClassList
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.foreign import checked_size, named_picture, read_json
from napari_cliper.files.formats.coco import (
    Category,
    Picture,
    box_record,
    by_id,
    category_records,
    check_known,
    classes_of,
    holds,
    names_of,
    picture_record,
    remarks_of,
    write_json,
)
from napari_cliper.files.formats.format import Format, Keeps, Options
from napari_cliper.files.objects import assemble, objects_of
from napari_cliper.files.pictures import explained

TITLE = "COCO panoptic"
SEVERAL = "panoptic"  # what the files of more than one picture are called
MOST = 2**24  # how many numbers the colours can hold


class _Segment(BaseModel):
    id: int = Field(ge=1, lt=MOST)
    category_id: int
    iscrowd: Any = None


class _Segments(BaseModel):
    image_id: int
    file_name: str
    segments_info: list[_Segment]


class _Document(BaseModel):
    images: list[Picture]
    annotations: list[_Segments]
    categories: list[Category]


def write(annotations: Iterable[Annotation], folder: Path, options: Options) -> None:
    """Write `{name}.json` and `{name}/` of one annotation, `panoptic…` of several."""
    images: list[dict[str, Any]] = []
    records: list[dict[str, Any]] = []
    lists: dict[ClassList, None] = {}
    masks = folder / SEVERAL
    masks.mkdir()
    for number, annotation in enumerate(annotations, 1):
        lists.setdefault(annotation.classes)
        images.append(picture_record(annotation, number))
        segments, ids = _segments(annotation, options)
        file = f"{annotation.name}.png"
        Image.fromarray(id2rgb(ids)).save(masks / file)
        records.append({"image_id": number, "file_name": file, "segments_info": segments})
    categories = [{**record, "isthing": 1} for record in category_records(lists, options)]
    if len(records) == 1:
        masks = masks.rename(folder / Path(records[0]["file_name"]).stem)
    write_json(folder / f"{masks.name}.json", images, records, categories)


def read(path: Path, pictures: Path | None) -> Iterator[Annotation]:
    """Read the segments of each picture, which lie in a folder of the file's name."""
    document = read_json(path, _Document, TITLE)
    images = by_id(document.images, "image", path)
    classes, labels = classes_of(document.categories, path)
    records: dict[int, tuple[str, _Segments]] = {}
    for index, record in enumerate(document.annotations):
        place = f"annotations.{index}"
        check_known(record.image_id, images, "image", place, path)
        if record.image_id in records:
            raise NapariCliperError(
                f"In “{path}”, {place} is of the same picture as another (image id "
                f"{record.image_id}): keep one of them."
            )
        for segment in record.segments_info:
            check_known(segment.category_id, labels, "category", place, path)
        records[record.image_id] = place, record
    for image, name in zip(document.images, names_of(document.images), strict=True):
        size = checked_size(path, image.height, image.width)
        ids = np.zeros(size, np.uint32)
        values = np.zeros(size, np.uint16)
        crowds = 0
        if image.id in records:
            place, record = records[image.id]
            mask = path.with_suffix("") / Path(record.file_name.replace("\\", "/")).name
            ids = _read_ids(mask, size)
            values = _labelled(ids, record, labels, f"In “{path}”, {place}")
            crowds = sum(segment.iscrowd == 1 for segment in record.segments_info)
        yield Annotation(
            name,
            values,
            with_all(classes, values),
            ids,
            picture=named_picture(image.file_name, path, pictures),
            remarks=tuple(remarks_of(crowds, 0)),
        )


def recognizes(path: Path) -> bool:
    """Whether it is a JSON file with the lists of COCO and segments. Never raises."""
    return holds(path, "segments_info")


def id2rgb(ids: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """Colours that stand for numbers below 2**24, (..., 3)."""
    return np.stack([ids & 255, ids >> 8 & 255, ids >> 16], axis=-1).astype(np.uint8)


def rgb2id(colors: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """The numbers that colours, (..., 3), stand for."""
    red, green, blue = np.moveaxis(colors.astype(np.uint32), -1, 0)
    return np.asarray(red | green << np.uint32(8) | blue << np.uint32(16))


def _segments(
    annotation: Annotation, options: Options
) -> tuple[list[dict[str, Any]], NDArray[np.uint32]]:
    """What is written of each object, and their numbers, (H, W)."""
    height, width = annotation.labels.shape
    things = list(objects_of(annotation, options))
    if len(things) >= MOST:
        raise NapariCliperError(
            f"“{annotation.name}” has {len(things)} objects, more than COCO panoptic can number: "
            "smooth the mask, or take another format."
        )
    parts = ((thing.entry.id, thing.top, thing.left, thing.mask) for thing in things)
    _, ids, _ = assemble((height, width), parts)
    return [{"id": number, **box_record(thing)} for number, thing in enumerate(things, 1)], ids


def _read_ids(path: Path, size: tuple[int, int]) -> NDArray[np.uint32]:
    with explained(path), Image.open(path, formats=["PNG"]) as picture:
        if picture.mode not in ("RGB", "RGBA"):
            raise NapariCliperError(
                f"“{path}” has no colours to number objects: export it again as RGB."
            )
        if picture.size != size[::-1]:
            raise NapariCliperError(
                f"“{path}” has {picture.width} × {picture.height} pixels, but its picture "
                f"{size[1]} × {size[0]}: export both again."
            )
        return rgb2id(np.asarray(picture)[..., :3])


def _labelled(
    ids: NDArray[np.uint32], record: _Segments, labels: dict[int, int], place: str
) -> NDArray[np.uint16]:
    """The labels of numbered pixels."""
    known = np.full(int(ids.max()) + 1, -1, np.int32)
    known[0] = 0
    for segment in record.segments_info:
        if segment.id < len(known):
            known[segment.id] = labels[segment.category_id]
    values = known[ids]
    if (values < 0).any():
        raise NapariCliperError(
            f"{place} has no segment {ids[values < 0][0]}, which “{record.file_name}” holds: "
            "export both again."
        )
    return values.astype(np.uint16)


FORMAT = Format(
    key="coco-panoptic",
    title=TITLE,
    rank=11,
    suffix=".json",
    keeps=Keeps(
        instances=True,
        note="A JSON file and a folder of the same name, which stay together. Every class is a "
        "thing; background and void are 0, unlabelled.",
    ),
    write=write,
    recognizes=recognizes,
    read=read,
)
