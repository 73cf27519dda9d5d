"""What masks of one's own mean: a class list as a person gives it, or what lies near them."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from napari_cliper.annotation.annotation import foreign_classes
from napari_cliper.annotation.class_list import ClassList
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.bounded import read_bounded, read_yaml
from napari_cliper.files.foreign import invalid
from napari_cliper.files.formats.yolo import DATA, Data
from napari_cliper.files.indexed_png import CLASSES_FILE, class_list_in
from napari_cliper.files.pictures import explained


def read_classes(given: str) -> ClassList:
    """Classes as a person gives them: a text, or the path of a file with one, or classes.json.

    Raises
    ------
    NapariCliperError
    """
    path = Path(given)
    try:
        is_file = path.is_file()
    except OSError:  # a text too long for a name
        is_file = False
    if not is_file:
        return ClassList.parse(given)
    with explained(path):
        text = read_bounded(path).decode("utf-8-sig")
    return ClassList.from_json(text) if path.suffix.lower() == ".json" else ClassList.parse(text)


def classes_near(folder: Path) -> tuple[ClassList, Sequence[int]]:
    """The class list beside masks: ours, or YOLO's data.yaml.

    Returns
    -------
    classes : ClassList
    indices : sequence of int
        What each is called in text files of polygons: data.yaml says so, else its place.

    Raises
    ------
    NapariCliperError
        There is none, or it is not valid.
    """
    near = class_list_in(folder / CLASSES_FILE)
    if near is not None:
        return near, range(len(near))
    for above in (folder, *folder.parents[:2]):
        if (above / DATA).is_file():
            names = _names(above / DATA)
            # A name is taken as it is: our text form's marks mean nothing there.
            return foreign_classes({index + 1: names[index] for index in names}), tuple(names)
    raise NapariCliperError(
        f"Nothing near “{folder}” says what its masks mean: give --classes, a text or a file."
    )


def _names(path: Path) -> dict[int, str]:
    """The names in a data.yaml, by their indices, in the order of these."""
    with explained(path):
        told = read_yaml(read_bounded(path).decode("utf-8-sig"))
    try:
        names = Data.model_validate(told).names
    except ValidationError as error:
        raise invalid(path, "YOLO's names", error) from error
    listed = names if isinstance(names, dict) else dict(enumerate(names))
    if not listed:
        raise NapariCliperError(f"“{path}” names no classes: add them, or give --classes.")
    return dict(sorted(listed.items()))
