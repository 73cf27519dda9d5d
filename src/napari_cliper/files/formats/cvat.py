"""CVAT's "Segmentation mask 1.1": a zip archive laid out like Pascal VOC.

`labelmap.txt` has a colour for each class, `SegmentationClass` a picture of these colours and
`SegmentationObject` one with a colour of Pascal VOC's palette for each object. Archives are read in
memory and never unpacked; an unpacked one is read as a folder.
"""

import io
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_cliper.annotation.annotation import (
    VOID,
    VOID_COLOR,
    VOID_NAME,
    Annotation,
    default_color,
    merged_classes,
    with_all,
)
from napari_cliper.annotation.class_list import MAX_CLASSES, ClassList
from napari_cliper.annotation.palette import voc_palette
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.bounded import check_size, read_bounded
from napari_cliper.files.foreign import picture_size
from napari_cliper.files.formats.format import Format, Keeps, Options
from napari_cliper.files.formats.panoptic import id2rgb, rgb2id
from napari_cliper.files.indexed_png import CLASSES_FILE
from napari_cliper.files.names import different
from napari_cliper.files.nearby import classes_for, classes_near, picture_near
from napari_cliper.files.objects import Object, assemble, is_void, objects_of
from napari_cliper.files.pictures import explained

LABEL_MAP, PICTURES = "labelmap.txt", "JPEGImages"
CLASSES, OBJECTS, LISTS = "SegmentationClass/", "SegmentationObject/", "ImageSets/Segmentation/"
BACKGROUND = "background"
BLACK = (0, 0, 0)
# What is meant where there is no `labelmap.txt`.
VOC = (
    f"{BACKGROUND} aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse "
    "motorbike person pottedplant sheep sofa train tvmonitor"
).split()

MOST = 200_000  # files in an archive
LONGEST_TEXT, LARGEST_PICTURE = 2**24, 2**28  # bytes of a file, unpacked
MOST_OBJECTS = 255  # CVAT reads no colours beyond the first 256 of Pascal VOC's

Color: TypeAlias = tuple[int, int, int]
ReadMost: TypeAlias = Callable[[int], bytes]  # a file, refused if it has more bytes than that


@dataclass(frozen=True)
class _Meaning:
    """What the values in pictures of classes mean.

    Attributes
    ----------
    classes : ClassList or None
        None if the archive has none.
    colors : mapping
        Of a colour, the label.
    indices : mapping
        Of a grey value, the label.
    """

    classes: ClassList | None
    colors: Mapping[Color, int]
    indices: Mapping[int, int]

    @property
    def numbers(self) -> dict[int, int]:
        """Of what `rgb2id` makes of a colour, the label."""
        ids = rgb2id(np.array(list(self.colors), np.uint8)).tolist()
        return dict(zip(ids, self.colors.values(), strict=True))


def write(annotations: Iterable[Annotation], folder: Path, options: Options) -> None:
    """Write `{name}.zip` of one annotation, `annotations.zip` of several."""
    several = folder / "annotations.zip"
    lists: dict[ClassList, None] = {}
    names: list[str] = []
    colors: dict[int, Color] = {}
    with zipfile.ZipFile(several, "w") as archive:
        for annotation in annotations:
            names.append(annotation.name)
            lists.setdefault(annotation.classes)
            _choose_colors(annotation.classes, colors)
            labels, numbers = _numbered(annotation, options)
            for place, picture in (
                (CLASSES, _painted(labels, colors)),
                (OBJECTS, voc_palette(MOST_OBJECTS + 1)[numbers]),
            ):
                _add(archive, f"{place}{annotation.name}.png", _png(picture))
        classes = merged_classes(lists)
        _add(archive, f"{LISTS}default.txt", "".join(f"{name}\n" for name in names).encode())
        _add(archive, LABEL_MAP, _label_map(classes, colors, options).encode())
        _add(archive, CLASSES_FILE, classes.to_json().encode())
    if len(names) == 1:
        several.rename(folder / f"{names[0]}.zip")


def read(path: Path, pictures: Path | None) -> Iterator[Annotation]:
    """Read the pictures that the archive lists, or all if it has no list."""
    unpacked = path.is_dir()
    if unpacked and pictures is None and (path / PICTURES).is_dir():
        pictures = path / PICTURES
    with _opened(path) as files:
        meaning = _read_classes(files, path)
        listed = _listed(files, path)
        for item, name in zip(listed, different(listed), strict=True):
            picture = picture_near(item, path / LABEL_MAP if unpacked else path, pictures)
            place = f"{CLASSES}{item}.png"
            if place in files:
                values = _read_labels(files[place], path / place, meaning)
                instances = _read_objects(files, item, path, values)
            elif picture is not None:  # CVAT makes no masks for a picture without objects
                values = np.zeros(picture_size(path, picture), np.uint16)
                instances = None
            else:
                continue
            yield Annotation(name, values, with_all(meaning.classes, values), instances, picture)


def recognizes(path: Path) -> bool:
    """Whether it is such an archive, or a folder that was one. Never raises."""
    try:
        if path.is_dir():
            return (path / CLASSES).is_dir() and (
                (path / LABEL_MAP).is_file() or (path / LISTS).is_dir()
            )
        if path.suffix.lower() != ".zip" or not path.is_file():
            return False
        with _opened(path) as files:
            return any(name.startswith(CLASSES) for name in files) and (
                LABEL_MAP in files or any(name.startswith(LISTS) for name in files)
            )
    except (OSError, ValueError, NapariCliperError):
        return False


def _choose_colors(classes: ClassList, colors: dict[int, Color]) -> None:
    """Add a colour for each class that has none yet: its own, or one that is free."""
    taken = {BLACK, *colors.values()}
    new = [entry for entry in classes if entry.id not in colors]
    for entry in new:
        if entry.color not in taken:
            colors[entry.id] = entry.color
            taken.add(entry.color)
    left = [entry for entry in new if entry.id not in colors]
    palette = map(tuple, voc_palette(len(taken) + len(left)).tolist() if left else ())
    free = (color for color in palette if color not in taken)
    colors.update((entry.id, color) for entry, color in zip(left, free, strict=False))


def _numbered(
    annotation: Annotation, options: Options
) -> tuple[NDArray[np.uint16], NDArray[np.uint32]]:
    """The labels without void, and which object each pixel belongs to, from 1; both (H, W)."""
    things = list(objects_of(annotation, options))
    labels, numbers, _ = assemble(
        annotation.labels.shape, ((t.entry.id, t.top, t.left, t.mask) for t in things)
    )
    if len(things) > MOST_OBJECTS:
        numbers = _of_classes(things)[labels]
    return labels, numbers


def _of_classes(things: list[Object]) -> NDArray[np.uint32]:
    """Of each label, a number for its class."""
    ids = list(dict.fromkeys(thing.entry.id for thing in things))
    numbers = np.zeros(max(ids) + 1, np.uint32)
    # More classes than that in one picture get no number, and CVAT no object of them.
    kept = ids[:MOST_OBJECTS]
    numbers[kept] = range(1, len(kept) + 1)
    return numbers


def _painted(labels: NDArray[np.uint16], colors: Mapping[int, Color]) -> NDArray[np.uint8]:
    """The classes' colours, (H, W, 3)."""
    palette = np.zeros((max(colors) + 1, 3), np.uint8)
    for id_, color in colors.items():
        palette[id_] = color
    return palette[labels]


def _label_map(classes: ClassList, colors: Mapping[int, Color], options: Options) -> str:
    lines = ["# label:color_rgb:parts:actions", f"{BACKGROUND}:0,0,0::"]
    names = _names(classes)
    for entry in classes:
        if not is_void(entry, options):
            red, green, blue = colors[entry.id]
            lines.append(f"{names[entry.id]}:{red},{green},{blue}::")
    return "".join(f"{line}\n" for line in lines)


def _names(classes: ClassList) -> dict[int, str]:
    """Of each class's id, its name in `labelmap.txt`: without ":", and none is the background."""
    names: dict[int, str] = {}
    taken = {BACKGROUND}
    for entry in classes:
        name = entry.name.replace(":", "：")  # noqa: RUF001  # the full-width letter
        while name.casefold() in taken:
            name = f"{name} ({entry.id})"
        taken.add(name.casefold())
        names[entry.id] = name
    return names


def _png(picture: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    """Add a file: the same bytes whenever and wherever that is."""
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    info.create_system = 3  # Unix's permissions follow
    info.external_attr = 0o644 << 16
    info.compress_type = zipfile.ZIP_STORED if name.endswith(".png") else zipfile.ZIP_DEFLATED
    archive.writestr(info, content)


@contextmanager
def _opened(path: Path) -> Iterator[dict[str, ReadMost]]:
    """The files of an archive or a folder, by their names from where `SegmentationClass` is."""
    if path.is_dir():
        with explained(path):
            files = dict(_files_of_folder(path))
        yield files
        return
    with explained(path):
        archive = zipfile.ZipFile(path)
    with archive:
        found = [info for info in archive.infolist() if not info.is_dir()]
        if len(found) > MOST:
            raise NapariCliperError(
                f"“{path}” holds more than {MOST} files: unpack it and give the folder."
            )
        names = {info.filename.replace("\\", "/"): info for info in found}
        # All of it may be in a folder of the archive.
        tops = (name.partition(CLASSES)[0] for name in names if CLASSES in name)
        top = min(tops, key=len, default="")
        yield {
            name.removeprefix(top): partial(_unpacked, archive, info, path)
            for name, info in names.items()
            if name.startswith(top)
        }


def _files_of_folder(folder: Path) -> Iterator[tuple[str, ReadMost]]:
    for name in (LABEL_MAP, CLASSES_FILE):
        if (folder / name).is_file():
            yield name, partial(read_bounded, folder / name)
    for place in (CLASSES, OBJECTS, LISTS):
        for file in sorted((folder / place).rglob("*")):
            if file.is_file():
                yield file.relative_to(folder).as_posix(), partial(read_bounded, file)


def _unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, most: int) -> bytes:
    """One file of an archive, of which no more is unpacked than may be."""
    place = path / info.filename
    # The other ways to pack may unpack to any size at once.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise NapariCliperError(f"“{place}” is packed in an unusual way: pack it with “deflate”.")
    if info.flag_bits & 1:
        raise NapariCliperError(f"“{place}” is locked by a password: pack it without one.")
    with explained(place):
        with archive.open(info) as file:
            content = file.read(most + 1)
        check_size(content, most, place)
    return content


def _text(files: Mapping[str, ReadMost], name: str, path: Path) -> str:
    content = files[name](LONGEST_TEXT)
    with explained(path / name):
        return content.decode("utf-8-sig")


def _listed(files: Mapping[str, ReadMost], path: Path) -> list[str]:
    """The pictures' names without ending, each once."""
    lists = [name for name in files if name.startswith(LISTS) and name.endswith(".txt")]
    if not lists:
        masks = (name for name in files if name.startswith(CLASSES))
        return [name[len(CLASSES) : -4] for name in masks if name.lower().endswith(".png")]
    lines = (line.strip() for name in lists for line in _text(files, name, path).split("\n"))
    return [*dict.fromkeys(line for line in lines if line)]


def _read_classes(files: Mapping[str, ReadMost], path: Path) -> _Meaning:
    lines = _read_label_map(files, path)
    names = {index: name for index, (name, _) in lines.items() if name != BACKGROUND}
    own = {index: color for index, (_, color) in lines.items()}
    classes, labels = _named(names, own, files, path)
    indices = {0: 0, **{index: labels.get(index, 0) for index in lines}}
    colors: dict[Color, int] = {}
    for index, color in own.items():
        label = indices[index]
        other = colors.setdefault(color, label)
        if other != label and 0 in (other, label):
            colors[color] = 0  # it cannot be told from the background
        elif other != label:
            raise NapariCliperError(
                f"In “{path / LABEL_MAP}”, “{names[index]}” has the colour of another class: "
                "give each its own."
            )
    return _Meaning(classes, {BLACK: 0, **colors}, indices)


def _read_label_map(files: Mapping[str, ReadMost], path: Path) -> dict[int, tuple[str, Color]]:
    """Of each line's number, name and colour; or Pascal VOC's."""
    if LABEL_MAP not in files:
        known = {index: (name, default_color(index)) for index, name in enumerate(VOC)}
        return {**known, VOID: (VOID_NAME, VOID_COLOR)}
    found: dict[int, tuple[str, Color]] = {}
    for line in map(str.strip, _text(files, LABEL_MAP, path).split("\n")):
        if line and not line.startswith("#"):
            if len(found) > MAX_CLASSES:
                raise NapariCliperError(
                    f"“{path / LABEL_MAP}” names more than {MAX_CLASSES} classes: leave some out."
                )
            name, color = f"{line}:".split(":")[:2]
            try:
                found[len(found)] = name, _color(color) if color else default_color(len(found))
            except ValueError:
                raise NapariCliperError(
                    f"In “{path / LABEL_MAP}”, the line “{line}” has no colour: "
                    "write it as name:red,green,blue:: with numbers from 0 to 255."
                ) from None
    return found


def _color(text: str) -> Color:
    red, green, blue = map(int, text.split(","))
    if min(red, green, blue) < 0 or max(red, green, blue) > 255:
        raise ValueError
    return red, green, blue


def _named(
    names: Mapping[int, str], colors: Mapping[int, Color], files: Mapping[str, ReadMost], path: Path
) -> tuple[ClassList | None, dict[int, int]]:
    """The classes, None if there are none, and of each line's number the label.

    They are the archive's own list or the one beside it, if it has all these names.
    """
    lists = [classes_near(path)]
    if CLASSES_FILE in files:
        try:
            lists.insert(0, ClassList.from_json(files[CLASSES_FILE](LONGEST_TEXT)))
        except NapariCliperError as error:
            raise NapariCliperError(f"In “{path / CLASSES_FILE}”: {error}") from error
    for classes in lists:
        known = {name: id_ for id_, name in _names(classes).items()} if classes else {}
        if classes and all(name in known for name in names.values()):
            return classes, {number: known[name] for number, name in names.items()}
    return classes_for(names, path, colors, own=()) if names else (None, {})


def _read_labels(file: ReadMost, place: Path, meaning: _Meaning) -> NDArray[np.uint16]:
    """The labels of a picture of colours, or of indices."""
    values, are_colors = _read_values(file(LARGEST_PICTURE), place)
    known = np.full(int(values.max()) + 1, -1, np.int32)
    for value, label in (meaning.numbers if are_colors else meaning.indices).items():
        if value < len(known):
            known[value] = label
    labels = known[values]
    if (labels < 0).any():
        first = values[labels < 0][:1]
        shown = ",".join(map(str, id2rgb(first)[0])) if are_colors else str(first[0])
        raise NapariCliperError(
            f"“{place}” holds the colour {shown}, which {LABEL_MAP} does not have: add it there."
        )
    return labels.astype(np.uint16)


def _read_objects(
    files: Mapping[str, ReadMost], item: str, path: Path, labels: NDArray[np.uint16]
) -> NDArray[np.uint32] | None:
    """Numbers of the objects, None if there is no picture of them."""
    place = f"{OBJECTS}{item}.png"
    if place not in files:
        return None
    numbers, _ = _read_values(files[place](LARGEST_PICTURE), path / place)
    if numbers.shape != labels.shape:
        raise NapariCliperError(
            f"“{path / place}” has another size than the picture of the same name in {CLASSES}: "
            "export both again."
        )
    # What is of a class but of no object: a number that no colour has.
    numbers = np.where(numbers == 0, np.uint32(2**24), numbers)
    return np.where(labels == 0, np.uint32(0), numbers)


def _read_values(content: bytes, place: Path) -> tuple[NDArray[np.uint32], bool]:
    """Colours as numbers, or grey values, (H, W); and which of both."""
    with explained(place), Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
        if picture.mode in ("1", "L", "I;16"):
            return np.array(picture).astype(np.uint32), False
        return rgb2id(np.array(picture.convert("RGB"))), True


FORMAT = Format(
    key="cvat",
    title="CVAT segmentation mask 1.1",
    rank=40,
    suffix=".zip",
    keeps=Keeps(
        instances=True,
        note="A class that is black, or has another's colour, gets a free one in the archive, and "
        "a name's “:” becomes “：”; what they were is in our own file classes.json, which CVAT "  # noqa: RUF001
        "passes over. CVAT holds 255 objects a picture: where there are more, all objects of a "
        "class become one.",
    ),
    write=write,
    recognizes=recognizes,
    read=read,
)
