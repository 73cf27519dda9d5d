"""One black and white PNG per class, as many training scripts want them.

The masks of a picture lie in a folder called like it: ``{name}/001_cat.png``, where the number is
the class's id and white is the class. Each file carries its class (id, name, synonyms, colour) in a
text chunk, so that a file alone tells what it is of.
"""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydantic_core import from_json

from napari_cliper.annotation.annotation import Annotation, foreign_classes
from napari_cliper.annotation.class_list import MAX_CLASSES, ClassList
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.formats.format import Format, Keeps, Options
from napari_cliper.files.names import plain
from napari_cliper.files.nearby import classes_near, picture_near
from napari_cliper.files.objects import assemble, overlap_remark, without_void
from napari_cliper.files.pictures import explained

KEY = "napari-cliper class"  # of the text chunk: one class, unlike indexed PNG's, a class list
_NUMBERED = re.compile(r"0*([0-9]{1,5})[_ -](.+)")


def write(annotations: Iterable[Annotation], folder: Path, options: Options) -> None:
    """Write a folder `{name}` of each, with a mask of every class, also where it is empty."""
    for annotation in annotations:
        place = folder / annotation.name
        place.mkdir()
        annotation = without_void(annotation, options)
        for entry in annotation.classes:
            text = PngInfo()
            text.add_itxt(KEY, entry.model_dump_json())
            mask = np.where(annotation.labels == entry.id, 255, 0).astype(np.uint8)
            file = place / f"{entry.id:03d}_{plain(entry.name)}.png"
            Image.fromarray(mask).save(file, pnginfo=text)


def recognizes(path: Path) -> bool:
    """Whether a folder, or one in it, surely holds such masks."""
    try:
        files = _masks(path)
        if not files:
            return any(_are_ours(_masks(folder)) for folder in _folders(path))
        return _are_ours(files) or _fit_list(files, path)
    except (OSError, ValueError, NapariCliperError):
        return False


def read(path: Path, pictures: Path | None) -> Iterator[Annotation]:
    """Read one picture's folder, a folder of such folders, or a single mask."""
    if path.is_file():
        yield _joined(path.stem, [path], path, pictures)
        return
    with explained(path):
        files = _masks(path)
        within = {} if files else {place: _masks(place) for place in _folders(path)}
    if files:
        yield _joined(path.resolve().name, files, path, pictures)
        return
    found = {place: masks for place, masks in within.items() if masks}
    # What else lies there is no concern of ours, if anything is surely of this format.
    sure = {place: masks for place, masks in found.items() if any(map(_chunk, masks))}
    if not found:
        raise NapariCliperError(
            f"“{path}” holds no masks: give a folder with one black and white PNG per class."
        )
    for place, masks in (sure or found).items():
        yield _joined(place.name, masks, place, pictures)


def _masks(folder: Path) -> list[Path]:
    """The PNG files in a folder, by name; hidden ones are another program's."""
    return sorted(
        file
        for file in folder.iterdir()
        if file.suffix.lower() == ".png" and not file.name.startswith(".") and file.is_file()
    )


def _folders(folder: Path) -> list[Path]:
    return sorted(
        place for place in folder.iterdir() if not place.name.startswith(".") and place.is_dir()
    )


def _joined(name: str, files: list[Path], place: Path, pictures: Path | None) -> Annotation:
    """The masks of one picture as labels."""
    classes, ids = _classes(files, place)
    first = _mask(files[0])

    def parts() -> Iterator[tuple[int, int, int, NDArray[np.bool_]]]:
        for id_, file in zip(ids, files, strict=True):
            mask = _mask(file)
            if mask.shape != first.shape:
                raise NapariCliperError(
                    f"“{file}” is {mask.shape[1]} by {mask.shape[0]} pixels, and "
                    f"“{files[0].name}” {first.shape[1]} by {first.shape[0]}: "
                    "give masks of the same size."
                )
            yield id_, 0, 0, mask

    labels, _, hidden = assemble(first.shape, parts())
    picture = picture_near(name, place, pictures)
    return Annotation(
        name,
        labels,
        classes,
        picture=None if picture in files else picture,
        remarks=overlap_remark(hidden),
    )


def _mask(file: Path) -> NDArray[np.bool_]:
    """The pixels of a class, (H, W)."""
    pixels = _pixels(file)
    # White may be 1 as well, or 65535.
    if pixels.ndim != 2 or np.any((pixels != 0) & (pixels != pixels.max())):
        raise NapariCliperError(
            f"“{file}” is not black and white: give masks with two values, or take it away."
        )
    mask: NDArray[np.bool_] = pixels != 0
    return mask


def _pixels(file: Path) -> NDArray[Any]:
    with explained(file), Image.open(file, formats=["PNG"]) as picture:
        return np.array(picture.convert("L") if picture.mode in ("1", "P") else picture)


def _chunk(file: Path) -> str | None:
    """The class inside a file, as JSON."""
    try:
        with explained(file), Image.open(file, formats=["PNG"]) as picture:
            text = picture.info.get(KEY)
    except NapariCliperError:
        return None  # what is wrong with it is told when its pixels are read
    return None if text is None else str(text)


def _are_ours(files: list[Path]) -> bool:
    """Whether there are masks, each with its class inside."""
    return bool(files) and all(map(_chunk, files))


def _fit_list(files: list[Path], folder: Path) -> bool:
    """Whether masks are called after the ids of a list near them, and are black and white."""
    near = classes_near(folder)
    numbered = _numbers(files)
    if near is None or not numbered or not set(numbered) <= set(near.ids):
        return False
    # Of other whites nobody can be sure: they may be labels.
    return all(np.isin(_pixels(file), (0, 255)).all() for file in files)


def _classes(files: list[Path], place: Path) -> tuple[ClassList, list[int]]:
    """The class list of masks, and the id of each: from their insides, else from their names."""
    near = classes_near(place)
    chunks = [_chunk(file) for file in files]
    if None in chunks:
        return _named_by_files(files, near)
    classes = _from_chunks(chunks, place)
    if near is not None and set(classes) <= set(near):
        # It has them in order, and what else belongs to a list.
        return near, list(classes.ids)
    return classes, list(classes.ids)


def _from_chunks(chunks: list[str | None], place: Path) -> ClassList:
    try:
        entries = [from_json(str(chunk)) for chunk in chunks]
        return ClassList.from_json(json.dumps({"classes": entries}))
    except ValueError as error:
        raise NapariCliperError(
            f"A mask in “{place}” carries a damaged class: write these masks again."
        ) from error
    except NapariCliperError as error:
        raise NapariCliperError(f"In the masks of “{place}”: {error}") from error


def _named_by_files(files: list[Path], near: ClassList | None) -> tuple[ClassList, list[int]]:
    """Classes by ``{id}_{name}`` if all files are called so, else numbered from 1."""
    names = _numbers(files) or {number: file.stem for number, file in enumerate(files, 1)}
    ids = list(names)
    if near is None:
        return foreign_classes(names), ids
    if _numbers(files) and set(ids) <= set(near.ids):
        return near, ids
    known = {plain(entry.name).casefold(): entry.id for entry in near}
    if all(name.casefold() in known for name in names.values()):
        return near, [known[name.casefold()] for name in names.values()]
    return foreign_classes(names), ids


def _numbers(files: list[Path]) -> dict[int, str]:
    """Of each id at the beginning of a file name, the rest; {} unless all have one of their own."""
    found = [_NUMBERED.fullmatch(file.stem) for file in files]
    names = {int(match[1]): match[2] for match in found if match is not None}
    valid = len(names) == len(files) and all(1 <= id_ <= MAX_CLASSES for id_ in names)
    return names if valid else {}


FORMAT = Format(
    key="binary",
    title="Binary PNG per class",
    rank=5,
    suffix="",
    keeps=Keeps(
        note="A folder for each picture, with a black and white PNG for each class, called by its "
        "id and name; the class is inside the file too. Where masks overlap, the one whose file "
        "name comes last wins. The class called void is left out."
    ),
    write=write,
    recognizes=recognizes,
    read=read,
    one_thing=True,
)
