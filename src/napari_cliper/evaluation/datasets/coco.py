"""COCO 2017: things from its instances, things and stuff from the stuff maps."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from napari_cliper.annotation.annotation import foreign_classes
from napari_cliper.annotation.class_list import ClassList
from napari_cliper.errors import NapariCliperError
from napari_cliper.evaluation.datasets.dataset import (
    IGNORED,
    Labels,
    Sample,
    by_stem,
    indices_of,
    looked_up,
    paired,
    part_of,
    pictures_in,
)
from napari_cliper.evaluation.datasets.polygons import Shape, laid
from napari_cliper.files.foreign import checked_corners, read_json
from napari_cliper.files.formats.coco import Category, Picture, Segmentation, by_id, check_known
from napari_cliper.files.nearby import picture_near
from napari_cliper.files.polygons import filled
from napari_cliper.files.run_lengths import decode

TITLE = "COCO instances"
# The numbers up to 182 that no class of COCO or COCO-Stuff has.
UNUSED = frozenset((12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91))
STUFF = tuple(number for number in range(1, 183) if number not in UNUSED)


class _Thing(BaseModel):
    image_id: int
    category_id: int
    segmentation: Segmentation | None = None


class _Document(BaseModel):
    images: list[Picture]
    annotations: list[_Thing]
    categories: list[Category]


def things(root: Path, split: str, names: Sequence[str], background: bool) -> tuple[Sample, ...]:
    """COCO-Object: `annotations/instances_SPLIT2017.json` and `SPLIT2017`; smaller things on top.

    Parameters
    ----------
    root : Path
        Of these folders.
    split : str
        "val" or "train".
    names : sequence of str
        Of the 80 classes, in the order of the categories' ids.
    background : bool
        Whether 0 counts.
    """
    path = part_of(root, f"annotations/instances_{split}2017.json")
    pictures = part_of(root, f"{split}2017", f"images/{split}2017")
    document = read_json(path, _Document, TITLE)
    ids = sorted(category.id for category in document.categories)
    if len(ids) != len(names):
        raise NapariCliperError(
            f"“{path}” has {len(ids)} categories, not {len(names)}: give COCO's own file."
        )
    labels = {id_: label for label, id_ in enumerate(ids, 1)}
    return _samples(document, path, pictures, labels, 0 if background else IGNORED)


def stuff(root: Path, split: str, names: Sequence[str], background: bool) -> tuple[Sample, ...]:
    """COCO-Stuff 164k: `stuffthingmaps/SPLIT2017/NAME.png` holds each class's number less 1.

    Parameters
    ----------
    root, split, names, background
        As of `things`; what has no class, 255, never counts.
    """
    places = ("stuffthingmaps", "stuffthingmaps_trainval2017", "annotations")
    masks = part_of(root, *(f"{place}/{split}2017" for place in places))
    pictures = part_of(root, f"{split}2017", f"images/{split}2017")
    meaning = {number - 1: label for label, number in enumerate(STUFF, 1)} | {255: IGNORED}
    found = by_stem(path for path in masks.glob("*.png") if not path.stem.endswith("TrainIds"))
    return paired(
        list(found),
        lambda name: pictures / f"{name}.jpg",
        lambda name: found[name],
        lambda path: looked_up(indices_of(path), meaning, path),
    )


def instances(
    path: Path, pictures: Path, classes: ClassList | None, background: bool
) -> tuple[ClassList, tuple[Sample, ...]]:
    """Any COCO file of instances and a folder of pictures.

    Parameters
    ----------
    path : Path
    pictures : Path
    classes : ClassList or None
        What is asked, which has the file's categories by their names; the file's own for None.
    background : bool
        Whether 0 counts.

    Raises
    ------
    NapariCliperError
        The file is not valid, a picture is missing, or a category is none of the classes.
    """
    pictures_in(pictures)
    document = read_json(path, _Document, TITLE)
    if not document.images or not document.categories:
        raise NapariCliperError(f"“{path}” has no images or no categories: export it again.")
    named = foreign_classes(
        {place: category.name for place, category in enumerate(document.categories, 1)}
    )
    asked = classes or named
    place_of = {name.casefold(): place for place, name in enumerate(asked.names, 1)}
    if lost := [name for name in named.names if name.casefold() not in place_of]:
        raise NapariCliperError(
            f"“{path}” has the category “{lost[0]}”, which is none of the classes: add it to them."
        )
    labels = {
        category.id: place_of[entry.name.casefold()]
        for category, entry in zip(document.categories, named, strict=True)
    }
    return asked, _samples(document, path, pictures, labels, 0 if background else IGNORED)


def _samples(
    document: _Document, path: Path, pictures: Path, labels: dict[int, int], none: int
) -> tuple[Sample, ...]:
    """One sample for each of the file's pictures."""
    images = by_id(document.images, "image", path)
    by_id(document.categories, "category", path)
    found: dict[int, list[_Thing]] = {id_: [] for id_ in images}
    for index, thing in enumerate(document.annotations):
        check_known(thing.image_id, images, "image", f"annotations.{index}", path)
        check_known(thing.category_id, labels, "category", f"annotations.{index}", path)
        found[thing.image_id].append(thing)
    where: dict[int, Path] = {}
    for image in document.images:
        place = picture_near(image.file_name, path, pictures)
        if place is None:
            raise NapariCliperError(
                f"“{path}” names “{image.file_name}”, which is not in “{pictures}”: put it there."
            )
        where[image.id] = place
    by_stem(where.values())
    samples = [
        Sample(place.stem, place, _reader(images[id_], found[id_], labels, none, path))
        for id_, place in where.items()
    ]
    return tuple(sorted(samples, key=lambda sample: sample.name))


def _reader(
    image: Picture, things: list[_Thing], labels: dict[int, int], none: int, path: Path
) -> Callable[[], Labels]:
    def read() -> Labels:
        size = image.height, image.width
        shapes = [
            Shape(labels[thing.category_id], _mask(thing, size, path))
            for thing in things
            if thing.segmentation
        ]
        return laid(size, shapes, none)

    return read


def _mask(thing: _Thing, size: tuple[int, int], path: Path) -> NDArray[np.bool_]:
    """The pixels of a thing, (H, W) bool."""
    segmentation = thing.segmentation
    if isinstance(segmentation, list):
        if any(len(polygon) % 2 for polygon in segmentation):
            raise NapariCliperError(f"In “{path}” a corner has one coordinate: export it again.")
        return filled(checked_corners(path, [p for p in segmentation if len(p) >= 6], size), size)
    assert segmentation is not None
    mask = np.zeros(size, bool)
    try:
        if segmentation.size != size:
            raise ValueError
        part = decode(segmentation.counts, size)
    except ValueError as error:
        raise NapariCliperError(
            f"In “{path}” there are run lengths that do not fit their picture: export it again."
        ) from error
    if part is not None:
        top, left, cut = part
        mask[top : top + cut.shape[0], left : left + cut.shape[1]] = cut
    return mask
