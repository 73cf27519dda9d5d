"""What lies near a file: the class list of an export, the picture of a mask."""

from collections.abc import Mapping
from pathlib import Path

from napari_cliper.annotation.annotation import foreign_classes
from napari_cliper.annotation.class_list import MAX_CLASSES, ClassList
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.indexed_png import CLASSES_FILE
from napari_cliper.files.pictures import explained
from napari_cliper.files.review import SUFFIXES


def classes_near(path: Path) -> ClassList | None:
    """The class list that `export` wrote beside a file, or a folder above it; None without one.

    Raises
    ------
    NapariCliperError
        The file is there and not valid.
    """
    folder = path if path.is_dir() else path.parent
    for place in (folder, folder.parent):
        beside = place / CLASSES_FILE
        if beside.is_file():
            with explained(beside):
                text = beside.read_bytes()
            try:
                return ClassList.from_json(text)
            except NapariCliperError as error:
                raise NapariCliperError(f"In “{beside}”: {error}") from error
    return None


def classes_for(
    names: Mapping[int, str], path: Path, colors: Mapping[int, tuple[int, int, int]] | None = None
) -> tuple[ClassList, dict[int, int]]:
    """The class list of a file that gives its classes numbers and names.

    The list beside the file, if it has all these names; else one of these names, under their own
    numbers where those can be labels, else numbered from 1.

    Parameters
    ----------
    names : mapping
        Of each of the file's numbers, its name.
    path : Path
        That file.
    colors : mapping, optional
        Of a number: red, green and blue, 0 to 255.

    Returns
    -------
    classes : ClassList
    labels : dict
        Of each of the file's numbers, the label.

    Raises
    ------
    NapariCliperError
        There are no names, or the list beside the file is not valid.
    """
    fits = all(1 <= number <= MAX_CLASSES for number in names)
    labels = {number: number if fits else place for place, number in enumerate(names, 1)}
    shown = {labels[number]: color for number, color in (colors or {}).items() if number in labels}
    classes = foreign_classes({labels[number]: name for number, name in names.items()}, shown)
    near = classes_near(path)
    if near is not None:
        known = {entry.name.casefold(): entry.id for entry in near}
        ours = dict(zip(names, (entry.name.casefold() for entry in classes), strict=True))
        if all(name in known for name in ours.values()):
            return near, {number: known[name] for number, name in ours.items()}
    return classes, labels


def picture_near(name: str, path: Path, pictures: Path | None) -> Path | None:
    """The file of a picture that another file names, in the folder of pictures or near that file.

    Parameters
    ----------
    name : str
        As that file names it, perhaps with folders; or without its ending. It never leads out of
        the folders that are looked into.
    path : Path
        That file.
    pictures : Path or None
    """
    bare = name.replace("\\", "/").rpartition("/")[2]
    if not bare or bare in (".", ".."):
        return None
    above = path.parent
    near = (above, above / "images", above.parent / "images", above.parent)
    names = (bare, *(bare + suffix for suffix in SUFFIXES))
    for folder in near if pictures is None else (pictures,):
        for known in names:
            try:
                if (folder / known).is_file():
                    return folder / known
            except (OSError, ValueError):
                continue
    return None
