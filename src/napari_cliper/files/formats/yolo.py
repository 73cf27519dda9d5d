"""YOLO's text files for segmentation: a line an object, with a polygon.

They tell neither names nor sizes: names are in `data.yaml`, and sizes in the pictures, or in an
entry of ours in `data.yaml`, which other readers pass over.
"""

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, ValidationError

from napari_cliper.annotation.annotation import Annotation, merged_classes
from napari_cliper.annotation.class_list import ClassList
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.bounded import read_bounded, read_yaml
from napari_cliper.files.foreign import checked_size, drawn, invalid, numbered_classes, picture_size
from napari_cliper.files.formats.format import Format, Keeps, Options
from napari_cliper.files.names import different
from napari_cliper.files.nearby import classes_near, picture_near
from napari_cliper.files.objects import assemble, is_void, objects_of, overlap_remark
from napari_cliper.files.pictures import explained
from napari_cliper.files.polygons import outline_of

DATA, LABELS = "data.yaml", "labels"
NAMES = (DATA, "data.yml", "dataset.yaml", "classes.txt")  # where names may be, best first
# Where a data set's text files are, as seen from its data.yaml.
PLACES = (f"{LABELS}/*.txt", f"{LABELS}/*/*.txt", f"*/{LABELS}/*.txt")
SLACK = 0.01  # how far a corner may lie outside: other tools round, and YOLO allows it
DIGITS = 8  # enough for the exact pixels of pictures of a million pixels in width

Index = Annotated[int, Field(ge=0)]
Length = Annotated[int, Field(ge=1)]


class Ours(BaseModel):
    """What we tell in `data.yaml` beside what YOLO wants."""

    sizes: dict[str, tuple[Length, Length]] = {}  # of each name: height and width


class Data(BaseModel):
    """What a data.yaml tells; what else it holds is passed over."""

    names: dict[Index, str] | list[str]
    napari_cliper: Ours = Ours()


@dataclass(frozen=True)
class Meaning:
    """What the numbers in text files mean.

    Attributes
    ----------
    path : Path or None
        The file that tells it.
    names : dict
        Of each index, its name.
    sizes : dict
        Of a picture's name, its height and width.
    """

    path: Path | None
    names: dict[int, str]
    sizes: dict[str, tuple[int, int]]


def write(annotations: Iterable[Annotation], folder: Path, options: Options) -> None:
    """Write `labels/{name}.txt` of each, and `data.yaml`."""
    # Indices are known only when all class lists have been seen.
    texts: dict[str, list[tuple[int, str]]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    lists: dict[ClassList, None] = {}
    for annotation in annotations:
        height, width = annotation.labels.shape
        sizes[annotation.name] = height, width
        lists.setdefault(annotation.classes)
        lines = texts.setdefault(annotation.name, [])
        for thing in objects_of(annotation, options):
            outline = outline_of(thing.mask) + np.array([thing.left, thing.top])
            lines.append((thing.entry.id, _text(outline / (width, height))))
    classes = [entry for entry in merged_classes(lists) if not is_void(entry, options)]
    index = {entry.id: place for place, entry in enumerate(classes)}
    (folder / LABELS).mkdir()
    for name, lines in texts.items():
        text = "".join(f"{index[id_]} {corners}\n" for id_, corners in lines)
        (folder / LABELS / f"{name}.txt").write_bytes(text.encode())
    yaml_text = _data([entry.name for entry in classes], sizes)
    (folder / DATA).write_bytes(yaml_text.encode())


def _text(corners: NDArray[np.float64]) -> str:
    return " ".join(f"{number:.{DIGITS}f}" for number in corners.reshape(-1).tolist())


def _data(names: list[str], sizes: dict[str, tuple[int, int]]) -> str:
    """The text of data.yaml. Without a path: it then is where data.yaml is."""
    lines = ["train: images", "val: images", "names:" if names else "names: {}"]
    lines += [f"  {index}: {_quoted(name)}" for index, name in enumerate(names)]
    lines += ["napari_cliper:", "  sizes: # height and width, for pictures that are elsewhere"]
    lines += [f"    {_quoted(name)}: [{high}, {wide}]" for name, (high, wide) in sizes.items()]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A text as JSON, with what YAML takes for no letter escaped as YAML knows it."""
    return "".join(
        letter if letter.isprintable() else f"\\U{ord(letter):08x}"
        for letter in json.dumps(text, ensure_ascii=False)
    )


def recognizes(path: Path) -> bool:
    """Whether it is a text file of polygons with names near it, its data.yaml, or their folder."""
    try:
        with explained(path):
            if path.is_dir():
                path = path / DATA
            kind = path.suffix.lower()
            if kind not in (".yaml", ".yml", ".txt") or not path.is_file():
                return False
            if kind != ".txt":
                if _told(path).sizes:
                    return True
                filled = (file for file in _text_files(path.parent) if file.stat().st_size)
                return any(map(_has_polygons, islice(filled, 1)))
        # Names first: large files of something else are not read then.
        meaning = _meaning(path.parent)
        if not meaning.names:
            return False
        return path.stem in meaning.sizes or _has_polygons(path)
    except NapariCliperError:
        return False


def _has_polygons(path: Path) -> bool:
    """Whether all lines of a file hold polygons, and there are any."""
    found = False
    for _, _, corners in _lines(path):
        if corners is None:
            return False
        found = True
    return found


def read(path: Path, pictures: Path | None) -> Iterator[Annotation]:
    """Read a text file; or all that belong to a data.yaml, or lie in a folder."""
    with explained(path):
        if path.is_dir():
            files, meaning = _text_files(path), _meaning(path)
        elif path.suffix.lower() in (".yaml", ".yml"):
            files, meaning = _text_files(path.parent), _told(path)
        else:
            files, meaning = [path], _meaning(path.parent)
    names = meaning.names
    remarks: list[str] = []
    if not names:
        # Text files are small enough to be read twice.
        present = {index for file in files for _, index, _ in _lines(file)}
        names = {index: f"class {index}" for index in sorted(present)}
        remarks.append(f"No {DATA} near “{path}” tells the classes' names: they are numbers.")
    classes, ids = numbered_classes(names, meaning.path or path, own=())
    found = {file: _picture(file, pictures) for file in files}
    lost = [file for file in files if found[file] is None and file.stem not in meaning.sizes]
    if 0 < len(lost) < len(files):
        files = [file for file in files if file not in lost]
        remarks.append(
            f"{len(lost)} files have no picture that tells its size, “{lost[0].name}” for one: "
            "they are left out."
        )
    for file, name in zip(files, different(file.stem for file in files), strict=True):
        picture, told = found[file], meaning.sizes.get(file.stem)
        size = checked_size(file, *told) if told else picture_size(file, picture)
        parts, boxes = _parts(file, size, ids)
        left_out = [f"{boxes} lines hold boxes, no outlines: they are left out."] if boxes else []
        labels, instances, hidden = assemble(size, parts)
        yield Annotation(
            name,
            labels,
            classes,
            instances,
            picture=picture,
            remarks=(*remarks, *left_out, *overlap_remark(hidden)),
        )


def _parts(
    path: Path, size: tuple[int, int], ids: dict[int, int]
) -> tuple[list[tuple[int, int, int, NDArray[np.bool_]]], int]:
    """The objects of a text file, and how many lines hold boxes."""
    parts, boxes = [], 0
    for number, index, corners in _lines(path):
        if index not in ids:
            raise NapariCliperError(
                f"“{path}”, line {number}: there is no name for the class {index}: "
                f"add it to {DATA}, or correct the line."
            )
        if corners is None:
            boxes += 1
        else:
            parts.append((ids[index], *drawn(path, [corners * size[::-1]], size)))
    return parts, boxes


def _lines(path: Path) -> Iterator[tuple[int, int, NDArray[np.float64] | None]]:
    """Of each line: its number, its class, and its corners (n, 2), or None if it holds a box."""
    with explained(path):
        text = read_bounded(path).decode("utf-8-sig")
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words:
            continue
        try:
            index, *values = map(float, words)
        except ValueError:
            index = math.nan
        if not index.is_integer() or index < 0 or len(values) % 2 or len(values) < 4:
            raise NapariCliperError(
                f"“{path}”, line {number}: it is no class index and three or more pairs of x and "
                "y: correct the line, or export the file again."
            )
        corners = np.array(values).reshape(-1, 2)
        if not np.all((corners >= -SLACK) & (corners <= 1 + SLACK)):  # what is no number neither
            raise NapariCliperError(
                f"“{path}”, line {number}: it leads out of the picture, which goes from 0 to 1: "
                "correct the line, or divide by the picture's width and height."
            )
        yield number, int(index), corners if len(corners) > 2 else None


def _text_files(folder: Path) -> list[Path]:
    """The text files of a data set, or of a folder that holds nothing else."""
    for places in (PLACES, ("*.txt",)):
        found = {file for place in places for file in folder.glob(place) if file.name not in NAMES}
        if found:
            return sorted(found)
    return []


def _picture(path: Path, pictures: Path | None) -> Path | None:
    """The picture of a text file: where YOLO looks for it, or near."""
    parts = list(path.parent.parts)
    if pictures is None and LABELS in parts:
        parts[len(parts) - 1 - parts[::-1].index(LABELS)] = "images"
        if found := picture_near(path.stem, path, Path(*parts)):
            return found
    return picture_near(path.stem, path, pictures)


def _meaning(folder: Path) -> Meaning:
    """What numbers mean in the text files of a folder."""
    for above in [folder, *folder.parents][:3]:
        for name in NAMES:
            if (above / name).is_file():
                return _told(above / name)
    near = classes_near(folder)
    return Meaning(None, dict(enumerate(near.names)) if near else {}, {})


def _told(path: Path) -> Meaning:
    """What a data.yaml or classes.txt tells."""
    with explained(path):
        text = read_bounded(path).decode("utf-8-sig")
        if path.suffix.lower() == ".txt":
            return Meaning(path, dict(enumerate(map(str.strip, text.rstrip().splitlines()))), {})
        told = read_yaml(text)
    try:
        data = Data.model_validate(told)
    except ValidationError as error:
        raise invalid(path, FORMAT.title, error) from error
    names = data.names if isinstance(data.names, dict) else dict(enumerate(data.names))
    return Meaning(path, dict(sorted(names.items())), data.napari_cliper.sizes)


FORMAT = Format(
    key="yolo",
    title="YOLO segmentation",
    rank=31,
    suffix="",
    keeps=Keeps(
        colors=False,
        ids=False,
        instances=True,
        note="An object is one polygon; parts and holes are joined over cuts of no width. Labels "
        "and colours are in the class list beside. Text files tell no sizes: data.yaml does, or "
        "the pictures.",
    ),
    write=write,
    recognizes=recognizes,
    read=read,
)
