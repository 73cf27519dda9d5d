"""What lies near a file: the class list of an export, the picture of a mask."""

from collections.abc import Collection, Mapping
from pathlib import Path, PureWindowsPath

from napari_cliper.annotation.annotation import foreign_classes
from napari_cliper.annotation.class_list import MAX_CLASSES, ClassList
from napari_cliper.files.indexed_png import CLASSES_FILE, class_list_in
from napari_cliper.files.review import SUFFIXES


def classes_near(path: Path) -> ClassList | None:
    """The class list that `export` wrote beside a file, or a folder above it; None without one.

    Other tools call files so too: what has not the form of ours is passed over.

    Raises
    ------
    NapariCliperError
        The file is there and not valid.
    """
    folder = path if path.is_dir() else path.parent
    lists = (class_list_in(place / CLASSES_FILE) for place in (folder, folder.parent))
    return next((found for found in lists if found is not None), None)


def classes_for(
    names: Mapping[int, str],
    path: Path,
    colors: Mapping[int, tuple[int, int, int]] | None = None,
    own: Collection[int] | None = None,
) -> tuple[ClassList, dict[int, int]]:
    """The class list of a file that gives its classes numbers and names.

    The list beside the file, if it has all these names, and the file's own numbers for them where
    those can be labels; else one of these names, under their own numbers where those can be labels,
    else numbered from 1.

    Parameters
    ----------
    names : mapping
        Of each of the file's numbers, its name.
    path : Path
        That file.
    colors : mapping, optional
        Of a number: red, green and blue, 0 to 255.
    own : collection of int, optional
        The numbers that the file itself means as labels, all unless given. Others, such as places
        in a list, may become any label.

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
        kept = set(names if own is None else own) if fits else set()
        if all(
            name in known and (number not in kept or known[name] == number)
            for number, name in ours.items()
        ):
            return near, {number: known[name] for number, name in ours.items()}
    return classes, labels


def picture_near(name: str, path: Path, pictures: Path | None) -> Path | None:
    """The file of a picture that another file names, in the folder of pictures or near that file.

    Parameters
    ----------
    name : str
        As that file names it, perhaps with folders, which count if they are there; or without its
        ending. It never leads out of the folders that are looked into.
    path : Path
        That file.
    pictures : Path or None
    """
    above = path.parent
    near = (above, above / "images", above.parent / "images", above.parent)
    for place in _places(name):
        for folder in near if pictures is None else (pictures,):
            for suffix in ("", *SUFFIXES):
                try:
                    if (folder / (place + suffix)).is_file():
                        return folder / (place + suffix)
                except (OSError, ValueError):
                    continue
    return None


def _places(name: str) -> list[str]:
    """Where in a folder a picture may be, with ``/``: as it is named, then at its top."""
    bare = name.replace("\\", "/").rpartition("/")[2]
    if bare in ("", ".", "..") or Path(bare).name != bare:
        return []
    place = PureWindowsPath(name)  # it knows both kinds of slashes
    inside = not place.drive and not place.root and ".." not in place.parts
    return [place.as_posix(), bare] if inside and len(place.parts) > 1 else [bare]
