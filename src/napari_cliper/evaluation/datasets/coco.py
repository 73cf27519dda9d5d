"""COCO 2017 or 2014: things from its instances, things and stuff from the stuff maps."""

import json
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self, TypeAlias, cast

import numpy as np
from pydantic import AfterValidator, BaseModel, TypeAdapter

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
from napari_cliper.evaluation.datasets.polygons import laid
from napari_cliper.evaluation.datasets.sizes import Size
from napari_cliper.files.foreign import Part, drawn, read_json
from napari_cliper.files.formats.coco import Category, Picture, Segmentation, by_id, check_known
from napari_cliper.files.nearby import picture_near
from napari_cliper.files.run_lengths import decode

TITLE = "COCO instances"
USUAL, OLDER = "2017", "2014"  # years
# The numbers up to 182 that no class of COCO or COCO-Stuff has.
UNUSED = frozenset((12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91))
STUFF = tuple(number for number in range(1, 183) if number not in UNUSED)


@dataclass(frozen=True, slots=True)
class _Runs:
    size: tuple[int, int]
    counts: "str | array[int]"


Outline: TypeAlias = "tuple[array[float], ...] | _Runs"


def _compact(segmentation: Any) -> Outline:
    """An object's numbers as arrays: of lists, those of a large file take gigabytes."""
    if isinstance(segmentation, list):
        if any(len(polygon) % 2 for polygon in segmentation):
            raise ValueError("a corner has one coordinate")
        return tuple(array("d", polygon) for polygon in segmentation if len(polygon) >= 6)
    counts = segmentation.counts
    try:
        return _Runs(segmentation.size, counts if isinstance(counts, str) else array("q", counts))
    except OverflowError as error:
        raise ValueError("a run is too long") from error


@dataclass(slots=True)
class _Thing:
    image_id: int
    category_id: int
    segmentation: Annotated[Segmentation, AfterValidator(_compact)] | None = None


_THING = TypeAdapter(_Thing)


class _Document(BaseModel):
    images: list[Picture]
    annotations: list[_Thing]
    categories: list[Category]

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **how: Any) -> Self:
        """The same in less memory: what is not needed of an object goes as soon as it is read."""
        try:
            return cls.model_validate(json.loads(json_data, object_hook=_needed))
        except (ValueError, RecursionError):
            return super().model_validate_json(json_data, **how)  # which tells best what is wrong


def _needed(read: dict[str, Any]) -> Any:
    return _THING.validate_python(read) if "segmentation" in read else read


def unpacked(root: Path, split: str) -> str:
    """The split as it is there: "val" is "val2014" where there is that and not 2017's."""
    split = split.removesuffix(USUAL)
    older = [place for place in _places(split + OLDER) if (root / place).is_dir()]
    newer = [place for place in _places(split + USUAL) if (root / place).is_dir()]
    return split + OLDER if older and not newer else split


def _places(dated: str) -> tuple[str, str]:
    """Where a split's pictures may be."""
    return dated, f"images/{dated}"


def _dated(split: str) -> str:
    return split if split.endswith(OLDER) else split + USUAL


def things(root: Path, split: str, names: Sequence[str], background: bool) -> tuple[Sample, ...]:
    """COCO-Object: `annotations/instances_SPLIT.json` and `SPLIT`; smaller things on top.

    Parameters
    ----------
    root : Path
        Of these folders.
    split : str
        "val" or "train", of 2017 unless the year is said: "val2014".
    names : sequence of str
        Of the 80 classes, in the order of the categories' ids.
    background : bool
        Whether 0 counts.
    """
    dated = _dated(split)
    path = part_of(root, f"annotations/instances_{dated}.json")
    pictures = part_of(root, *_places(dated))
    document = read_json(path, _Document, TITLE)
    ids = sorted(category.id for category in document.categories)
    if len(ids) != len(names):
        raise NapariCliperError(
            f"“{path}” has {len(ids)} categories, not {len(names)}: give COCO's own file."
        )
    labels = {id_: label for label, id_ in enumerate(ids, 1)}
    return _samples(document, path, pictures, labels, 0 if background else IGNORED)


def stuff(root: Path, split: str, names: Sequence[str], background: bool) -> tuple[Sample, ...]:
    """COCO-Stuff 164k: `stuffthingmaps/SPLIT/NAME.png` holds each class's number less 1.

    Its maps are of 2017's splits, all of whose pictures for "val" are among 2014's for "val": with
    these, `stuffthingmaps/val2017` does too.

    Parameters
    ----------
    root, split, names, background
        As of `things`; what has no class, 255, never counts.
    """
    places = ("stuffthingmaps", "stuffthingmaps_trainval2017", "annotations")
    dated = _dated(split)
    years = dict.fromkeys([dated, dated.replace(OLDER, USUAL)])
    masks = part_of(root, *(f"{place}/{year}" for year in years for place in places))
    pictures = part_of(root, *_places(dated))
    prefix = f"COCO_{dated}_" if dated.endswith(OLDER) else ""
    meaning = {number - 1: label for label, number in enumerate(STUFF, 1)} | {255: IGNORED}
    found = by_stem(path for path in masks.glob("*.png") if not path.stem.endswith("TrainIds"))
    return paired(
        list(found),
        lambda name: pictures / f"{prefix}{name.removeprefix(prefix)}.jpg",
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
    found: dict[int, list[tuple[int, Outline]]] = {id_: [] for id_ in images}
    for index, thing in enumerate(document.annotations):
        check_known(thing.image_id, images, "image", f"annotations.{index}", path)
        check_known(thing.category_id, labels, "category", f"annotations.{index}", path)
        outline = cast("Outline | None", thing.segmentation)  # as `_compact` made it
        if not outline:
            continue
        image = images[thing.image_id]
        if isinstance(outline, _Runs) and outline.size != (image.height, image.width):
            raise _misfit(path, f"annotations.{index} has")
        found[thing.image_id].append((labels[thing.category_id], outline))
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
        Sample(place.stem, place, _reader(images[id_], found[id_], none, path), _size(images[id_]))
        for id_, place in where.items()
    ]
    return tuple(sorted(samples, key=lambda sample: sample.name))


def _size(image: Picture) -> Callable[[], Size]:
    return lambda: (image.height, image.width)


def _reader(
    image: Picture, things: Sequence[tuple[int, Outline]], none: int, path: Path
) -> Callable[[], Labels]:
    def read() -> Labels:
        size = image.height, image.width
        return laid(size, ((label, _part(one, size, path)) for label, one in things), none)

    return read


def _part(outline: Outline, size: tuple[int, int], path: Path) -> Part:
    """The pixels of an object."""
    if not isinstance(outline, _Runs):
        return drawn(path, outline, size)
    try:
        return decode(outline.counts, size) or (0, 0, np.zeros((0, 0), bool))
    except ValueError as error:
        raise _misfit(path, "there are") from error


def _misfit(path: Path, where: str) -> NapariCliperError:
    return NapariCliperError(
        f"In “{path}” {where} run lengths that do not fit their picture: export it again."
    )
