"""Label Studio's tasks: brush masks as predictions to import, annotations to read back."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, TypeAlias
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import quoteattr

import numpy as np
from pydantic import BaseModel, ConfigDict, Discriminator, Field, RootModel, Tag

from napari_cliper.annotation.annotation import Annotation, merged_classes
from napari_cliper.annotation.class_list import ClassEntry, ClassList
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.brush_rle import decode, encode
from napari_cliper.files.foreign import (
    Part,
    boxed,
    checked_size,
    drawn,
    is_small_json,
    named_classes,
    named_picture,
    picture_name,
    picture_size,
    read_json,
)
from napari_cliper.files.formats.format import Format, Keeps, Options
from napari_cliper.files.indexed_png import CLASSES_FILE
from napari_cliper.files.names import different
from napari_cliper.files.nearby import picture_near
from napari_cliper.files.objects import Object, assemble, is_void, objects_of, overlap_remark
from napari_cliper.files.pictures import explained

TAG, IMAGE = "tag", "image"  # what the parts of the labelling interface are called
SEVERAL = "tasks"  # the file's name if there are several pictures
_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_UPLOAD = re.compile("[0-9a-f]{8}-")  # what Label Studio puts before the name of an uploaded file


class Ours(BaseModel):
    """What we tell of a picture in its task's data, which Label Studio keeps."""

    name: str
    height: int = Field(ge=1)
    width: int = Field(ge=1)
    classes: tuple[ClassEntry, ...] = ()


class Data(BaseModel):
    """What a task is about; its fields are as the project calls them."""

    model_config = ConfigDict(extra="allow")

    image: Any = None
    napari_cliper: Ours | None = None

    @property
    def place(self) -> str:
        """Where the picture is: in the field "image", or else the first one that holds text."""
        texts = (value for value in (self.model_extra or {}).values() if isinstance(value, str))
        return self.image if isinstance(self.image, str) else next(texts, "")


class Brush(BaseModel):
    """A mask and its labels."""

    rle: list[int]
    brushlabels: list[str] = Field(min_length=1)


class Polygon(BaseModel):
    """An outline, in percent of the picture's width and height, and its labels."""

    model_config = ConfigDict(allow_inf_nan=False)

    points: list[tuple[float, float]]
    polygonlabels: list[str] = Field(min_length=1)


class Other(BaseModel):
    """A result of another type."""

    type: str = ""


class Region(Other):
    """A result that is a part of the picture."""

    original_height: int | None = Field(None, ge=1)
    original_width: int | None = Field(None, ge=1)
    image_rotation: float = 0


class BrushRegion(Region):
    """A result of the type brushlabels."""

    value: Brush

    @property
    def names(self) -> list[str]:
        """Its labels."""
        return self.value.brushlabels

    def part(self, path: Path, size: tuple[int, int]) -> Part:
        """Its pixels."""
        with explained(path):
            return boxed(decode(bytes(self.value.rle), size))


class PolygonRegion(Region):
    """A result of the type polygonlabels."""

    value: Polygon

    @property
    def names(self) -> list[str]:
        """Its labels."""
        return self.value.polygonlabels

    def part(self, path: Path, size: tuple[int, int]) -> Part:
        """Its pixels."""
        height, width = size
        points = np.array(self.value.points).reshape(-1, 2) * (width, height) / 100
        return drawn(path, [points], size)


def _kind(result: Any) -> str:
    kind = result.get("type") if isinstance(result, dict) else None
    return kind if kind in ("brushlabels", "polygonlabels") else "other"


Result: TypeAlias = Annotated[
    Annotated[BrushRegion, Tag("brushlabels")]
    | Annotated[PolygonRegion, Tag("polygonlabels")]
    | Annotated[Other, Tag("other")],
    Discriminator(_kind),
]


class Work(BaseModel):
    """An annotation or a prediction."""

    result: list[Result]
    was_cancelled: bool | None = None


class Task(BaseModel):
    """One picture's task; what else it holds is passed over."""

    data: Data
    annotations: list[Work] | None = None
    predictions: list[Work | int] | None = None  # an export may hold no more than their ids

    @property
    def results(self) -> list[Result]:
        """Those of the last annotation; where there is none, of the last prediction."""
        done = [work for work in self.annotations or () if not work.was_cancelled]
        found = done or [work for work in self.predictions or () if isinstance(work, Work)]
        return found[-1].result if found else []

    @property
    def regions(self) -> list[BrushRegion | PolygonRegion]:
        """The results that can become pixels.

        Not those of a picture that was turned: it is another one then.
        """
        return [
            result
            for result in self.results
            if isinstance(result, BrushRegion | PolygonRegion) and result.image_rotation % 360 == 0
        ]


class Tasks(RootModel[list[Task]]):
    """The whole file."""


def write(annotations: Iterable[Annotation], folder: Path, options: Options) -> None:
    """Write the tasks, `{name}.json` or `tasks.json`, and beside it the interface, `.xml`."""
    names: list[str] = []
    lists: dict[ClassList, None] = {}
    unnamed = folder / "part"
    with unnamed.open("w", encoding="utf-8", newline="\n") as file:
        for annotation in annotations:
            task = json.dumps(_task(annotation, options), ensure_ascii=False)
            file.write(f"{',' if names else '['}\n{task}")
            names.append(annotation.name)
            lists.setdefault(annotation.classes)
        file.write("\n]\n")
    classes = merged_classes(lists)
    stem = names[0] if len(names) == 1 else SEVERAL
    if f"{stem}.json".casefold() == CLASSES_FILE:
        stem = SEVERAL
    unnamed.rename(folder / f"{stem}.json")
    shown = [entry for entry in classes if not is_void(entry, options)]
    (folder / f"{stem}.xml").write_bytes(_interface(shown).encode())


def _task(annotation: Annotation, options: Options) -> dict[str, Any]:
    height, width = annotation.labels.shape
    told = Ours(
        name=annotation.name,
        height=height,
        width=width,
        classes=tuple(
            entry.model_copy(update={"synonyms": ()})
            for entry in annotation.classes
            if not is_void(entry, options)
        ),
    )
    regions = [
        _region(number, thing) for number, thing in enumerate(objects_of(annotation, options), 1)
    ]
    data = Data(image=picture_name(annotation), napari_cliper=told)
    return {
        "data": data.model_dump(mode="json"),
        "predictions": [{"model_version": "napari-cliper", "result": regions}],
    }


def _region(number: int, thing: Object) -> dict[str, Any]:
    height, width = thing.size
    return {
        "id": f"object-{number}",
        "from_name": TAG,
        "to_name": IMAGE,
        "type": "brushlabels",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": {
            "format": "rle",
            "rle": list(encode(thing.mask, thing.top, thing.left, thing.size)),
            "brushlabels": [thing.entry.name],
        },
    }


def _interface(classes: Iterable[ClassEntry]) -> str:
    """The labelling interface's XML, which cannot hold control characters."""
    labels = "\n".join(
        f"    <Label value={quoteattr(_NOT_IN_XML.sub('�', entry.name))} "
        f'background="#{bytes(entry.color).hex()}"/>'
        for entry in classes
    )
    return f"""<View>
  <Image name="{IMAGE}" value="${IMAGE}"/>
  <BrushLabels name="{TAG}" toName="{IMAGE}">
{labels}
  </BrushLabels>
</View>
"""


def recognizes(path: Path) -> bool:
    """Whether a file holds tasks with masks or outlines, or ours without any."""
    try:
        with explained(path):
            if not is_small_json(path):
                return False
            content = path.read_bytes()
        # Other formats' files may be large: look before they are understood.
        if b'"data"' not in content or b'"result"' not in content:
            return False
        tasks = read_json(path, Tasks, FORMAT.title).root
    except NapariCliperError:
        return False
    return any(task.regions or task.data.napari_cliper for task in tasks)


def read(path: Path, pictures: Path | None) -> Iterator[Annotation]:
    """Read tasks as we write them, or as Label Studio exports them as JSON."""
    tasks = read_json(path, Tasks, FORMAT.title).root
    # For all tasks together, so that a label means the same in all of them.
    known = (
        entry
        for task in tasks
        if task.data.napari_cliper
        for entry in task.data.napari_cliper.classes
    )
    names = (region.names[0] for task in tasks for region in task.regions)
    classes, ids = named_classes(names, path, known)
    places = [_place(task, path) for task in tasks]
    for task, place, name in zip(tasks, places, different(map(_name, tasks, places)), strict=True):
        found = picture_near(place, path, pictures) or picture_near(_shown(place), path, pictures)
        size = _size(task, path, found)
        parts = ((ids[region.names[0]], *region.part(path, size)) for region in task.regions)
        labels, instances, hidden = assemble(size, parts)
        yield Annotation(
            name,
            labels,
            classes,
            instances,
            picture=found or named_picture(_shown(place), path, pictures),
            remarks=(*_remarks(task), *overlap_remark(hidden)),
        )


def _place(task: Task, path: Path) -> str:
    """The path of a task's picture, without what else its address holds."""
    place = task.data.place
    if place.startswith("data:"):  # the picture itself
        return ""
    if "://" not in place and not place.startswith("/data/"):
        return place
    with explained(path):
        address = urlsplit(place)
        # Of a file in a folder that Label Studio was given, the query tells the path.
        return parse_qs(address.query).get("d", [unquote(address.path)])[0]


def _shown(place: str) -> str:
    """The name of a picture's file as it was before it was uploaded."""
    bare = place.replace("\\", "/").rpartition("/")[2]
    return _UPLOAD.sub("", bare, count=1) if "/upload/" in place else bare


def _name(task: Task, place: str) -> str:
    """What the annotation is to be called."""
    ours = task.data.napari_cliper
    return ours.name if ours else PurePosixPath(_shown(place)).stem or "task"


def _size(task: Task, path: Path, picture: Path | None) -> tuple[int, int]:
    for region in task.regions:
        if region.original_height and region.original_width:
            return checked_size(path, region.original_height, region.original_width)
    ours = task.data.napari_cliper
    return checked_size(path, ours.height, ours.width) if ours else picture_size(path, picture)


def _remarks(task: Task) -> Iterator[str]:
    left_out = Counter(result.type for result in task.results if type(result) is Other)
    for kind, number in left_out.items():
        yield f"{number} results of the type “{kind}” are no masks: they are left out."
    shapes = [result for result in task.results if isinstance(result, Region)]
    if turned := len(shapes) - len(task.regions):
        yield f"{turned} objects were drawn on the turned picture: they are left out."
    if several := sum(len(region.names) > 1 for region in task.regions):
        yield f"{several} objects have several labels: they have the first."


FORMAT = Format(
    key="label-studio",
    title="Label Studio",
    rank=20,
    suffix=".json",
    keeps=Keeps(
        instances=True,
        note="Tasks to import, with the masks as predictions, and the labelling interface to paste "
        "(.xml). Label Studio's own JSON export is read too: brush masks and polygons.",
    ),
    write=write,
    recognizes=recognizes,
    read=read,
)
