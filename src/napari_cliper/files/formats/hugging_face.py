"""A folder that Hugging Face's datasets load as pictures and masks.

::

    README.md  id2label.json  train/metadata.jsonl  train/{name}.jpg  train/labels/{name}.png

``load_dataset("imagefolder", data_dir=…)`` makes columns ``image`` and ``label`` of it. Masks are
indexed PNGs with the class list inside. A picture that is at hand, and as large as its mask, is
copied; without it the mask is written alone.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from pydantic_core import from_json

from napari_cliper.annotation.annotation import VOID, Annotation, merged_classes, with_all
from napari_cliper.annotation.class_list import MAX_CLASSES, ClassList
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.bounded import LARGEST_TEXT, read_bounded
from napari_cliper.files.formats.format import Format, Keeps, Options
from napari_cliper.files.indexed_png import encode_labels, load_labels, present_ids
from napari_cliper.files.nearby import classes_for, picture_near
from napari_cliper.files.objects import is_void
from napari_cliper.files.pictures import FORMATS, explained
from napari_cliper.files.review import SUFFIXES

TABLE, NAMES = "metadata.jsonl", "id2label.json"
SPLIT = "train"
PICTURE, LABELS = "file_name", "label_file_name"  # become the columns image and label
BACKGROUND = "background"
_CARD = """\
---
task_categories:
- image-segmentation
configs:
- config_name: default
  data_files:
  - split: train
    path: train/**
dataset_info:
  features:
{features}
---

# Pictures with a class for each pixel

The column `label` holds masks of the same size as the pictures: a pixel's value is the id of its
class, 0 is the background{void}. The names of the ids, also in `{names}`:

```json
{classes}
```

Load this folder with:

```python
from datasets import load_dataset

dataset = load_dataset("imagefolder", data_dir="this folder", split="train")
```
"""


def write(annotations: Iterable[Annotation], folder: Path, options: Options) -> None:
    """Write pictures, masks, the table of both, and what says how to read them."""
    place = folder / SPLIT
    (place / "labels").mkdir(parents=True)
    lists: dict[ClassList, None] = {}
    rows: list[dict[str, str]] = []
    for annotation in annotations:
        lists.setdefault(annotation.classes)
        mask = f"labels/{annotation.name}.png"
        (place / mask).write_bytes(encode_labels(annotation.labels, annotation.classes))
        picture = _picture(annotation)
        row = {}
        if picture is not None:
            row[PICTURE] = annotation.name + picture.suffix.lower()
            with explained(picture):
                content = picture.read_bytes()
            (place / row[PICTURE]).write_bytes(content)
        rows.append(row | {LABELS: mask})
    # The columns are taken from the first rows.
    rows.sort(key=lambda row: PICTURE not in row)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (place / TABLE).write_bytes(text.encode())
    _describe(folder, merged_classes(lists), options, with_pictures=PICTURE in rows[0])


def recognizes(path: Path) -> bool:
    """Whether a folder or table surely is of masks: their names or class lists are there."""
    try:
        for table in _tables(path):
            with explained(table), table.open(encoding="utf-8") as file:
                row = from_json(file.readline(LARGEST_TEXT))
            mask = _inside(table, row[_column(table, row)])
            return _names_file(table) is not None or load_labels(mask)[1] is not None
    except (OSError, ValueError, LookupError, TypeError, NapariCliperError):
        return False
    return False


def read(path: Path, pictures: Path | None) -> Iterator[Annotation]:
    """Read the masks of all tables."""
    tables = _tables(path)
    if not tables:
        raise NapariCliperError(f"“{path}” holds no “{TABLE}”: give the folder that has it.")
    for table in tables:
        with explained(table):
            lines = read_bounded(table).decode().split("\n")
            rows = [from_json(line) for line in lines if line.strip()]
            columns = [_column(table, row) for row in rows]
        for row, column in zip(rows, columns, strict=True):
            if row[column] is not None:
                yield _read(table, row, column, pictures)


def _picture(annotation: Annotation) -> Path | None:
    """The picture, if it is at hand and as large as the labels."""
    picture = annotation.picture
    if picture is None or picture.suffix.lower() not in SUFFIXES:
        return None
    try:
        with explained(picture), Image.open(picture, formats=FORMATS) as image:
            # datasets turn it upright too, as its orientation tag says.
            turned = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
            size = image.size if turned else image.size[::-1]
    except NapariCliperError:
        return None
    return picture if size == annotation.labels.shape else None


def _describe(folder: Path, classes: ClassList, options: Options, with_pictures: bool) -> None:
    """Write the names of the ids, and the card of the dataset."""
    named = {entry.id: entry.name for entry in classes if not is_void(entry, options)}
    names = json.dumps({0: BACKGROUND} | named, ensure_ascii=False, indent=2)
    (folder / NAMES).write_bytes((names + "\n").encode())
    columns = ("image", "label") if with_pictures else ("label",)
    card = _CARD.format(
        features="\n".join(f"  - name: {column}\n    dtype: image" for column in columns),
        void=f", {VOID} is left undecided" if len(named) < len(classes) else "",
        names=NAMES,
        classes=names,
    )
    (folder / "README.md").write_bytes(card.encode())


def _tables(path: Path) -> list[Path]:
    """The tables of a dataset: the one given, those of its splits, or the one at its top."""
    if path.is_file():
        return [path] if path.name == TABLE else []
    return sorted(path.glob(f"*/{TABLE}")) or sorted(path.glob(TABLE))


def _column(table: Path, row: Any) -> str:
    """The column that names the mask: the only one of files beside the picture's."""
    keys = [*row] if isinstance(row, dict) else []
    found = [key for key in keys if key.endswith("_file_name") and key != "image_file_name"]
    if len(found) != 1:
        raise NapariCliperError(
            f"“{table}” does not tell which file is the mask: name it in each line "
            f"as “{LABELS}”, beside the picture as “{PICTURE}”."
        )
    return str(found[0])


def _read(table: Path, row: Mapping[str, Any], column: str, pictures: Path | None) -> Annotation:
    file = _inside(table, row[column])
    labels, classes = load_labels(file)
    remarks: tuple[str, ...] = ()
    if classes is None:
        labels, classes, remarks = _named(table, labels)
    shown = row.get(PICTURE) or row.get("image_file_name")
    beside = _inside(table, shown) if shown else None
    if beside is not None and pictures is None and _is_file(beside):
        picture: Path | None = beside
    else:
        picture = picture_near(str(shown or file.stem), table, pictures)
    return Annotation(
        file.stem, labels, with_all(classes, labels), picture=picture, remarks=remarks
    )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name too long, a folder that may not be read
        return False


def _inside(table: Path, name: Any) -> Path:
    """The file that a table names, which may not lie outside the table's folder."""
    place = PureWindowsPath(str(name))  # it knows both kinds of slashes
    if not isinstance(name, str) or place.drive or place.root or ".." in place.parts:
        raise NapariCliperError(
            f"“{table}” names “{name}”, which is no file below its folder: correct that line."
        )
    return table.parent.joinpath(*place.parts)


def _names_file(table: Path) -> Path | None:
    places = (table.parent / NAMES, table.parent.parent / NAMES)
    return next((place for place in places if place.is_file()), None)


def _named(
    table: Path, labels: NDArray[np.uint16]
) -> tuple[NDArray[np.uint16], ClassList | None, tuple[str, ...]]:
    """Foreign labels, named by `id2label.json`; where 0 is a class, all are numbered anew."""
    file = _names_file(table)
    names: dict[int, str] = {}
    if file is not None:
        with explained(file):
            names = {int(key): str(name) for key, name in from_json(read_bounded(file)).items()}
    if names.get(0, "").casefold() == BACKGROUND:
        del names[0]
    if not names:
        return labels, None, (f"“{table}” comes without “{NAMES}”: classes are their labels.",)
    classes, ours = classes_for(names, table)
    unknown = set(present_ids(labels)) - set(ours) - {VOID}
    if all(number == label for number, label in ours.items()):
        return labels, classes, ()
    becomes = np.zeros(MAX_CLASSES + 1, np.uint16)
    becomes[VOID] = VOID if VOID not in ours.values() else 0
    for number, label in ours.items():
        if 0 <= number <= MAX_CLASSES:
            becomes[number] = label
    remark = f"“{NAMES}” does not name the labels {sorted(unknown)}: they became background."
    return becomes[labels], classes, (remark,) if unknown else ()


FORMAT = Format(
    key="hugging-face",
    title="Hugging Face image folder",
    rank=60,
    suffix="",
    keeps=Keeps(
        note="For datasets.load_dataset(“imagefolder”, data_dir=…). A picture that is at hand, and "
        "as large as its mask, is copied beside it; else the mask is written alone. Masks are "
        "indexed PNGs with the class list inside. With the option void, that class is 255."
    ),
    write=write,
    recognizes=recognizes,
    read=read,
    void_label=True,
)
