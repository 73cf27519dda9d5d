"""Labels of a large picture, block by block on disk.

The folder is OME-Zarr 0.5 and lies as `files.formats.ome_zarr` writes it: the label images
`labels/classes` and `labels/coarse`, each with smaller copies, so that napari shows it at once and
reads only what is in view.
"""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_cliper.annotation.class_list import ClassList
from napari_cliper.cliper.steps import Step, Steps
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.atomic import check_writable
from napari_cliper.files.formats.ome_zarr import IMAGE as REFINED
from napari_cliper.files.formats.ome_zarr import LARGEST as BLOCK
from napari_cliper.files.formats.ome_zarr import VERSION
from napari_cliper.files.indexed_png import KEY
from napari_cliper.files.pictures import explained
from napari_cliper.result import Result
from napari_cliper.tiles.picture import blocks

if TYPE_CHECKING:
    from zarr import Array, Group  # loaded only where labels are stored

COARSE = "coarse"  # the label image beside the refined one
STORED = "labels that a run has stored"  # marks a folder that another run may replace


@dataclass(frozen=True, eq=False)
class StoredResult:
    """What was found in a large picture; its labels are on disk, and read when they are asked for.

    Attributes
    ----------
    classes : ClassList
        The C classes asked for.
    presence : (C,) float32
        How sure the maps are that each class is in the picture; larger is surer.
    present : (C,) bool
        Whether each class is labelled.
    path : Path
        The OME-Zarr folder.
    """

    classes: ClassList
    presence: NDArray[np.float32]
    present: NDArray[np.bool_]
    path: Path

    @property
    def labels(self) -> "Array[Any]":
        """(H, W) uint8, or uint16 if ids need it: 0 background, else a class's id."""
        return self.levels[0]

    @property
    def coarse_labels(self) -> "Array[Any]":
        """The same before fine-grained compensation."""
        return self.coarse_levels[0]

    @cached_property
    def levels(self) -> "list[Array[Any]]":
        """The labels and smaller copies of them, as napari's `add_labels` takes them."""
        return _levels(self.path, REFINED)

    @cached_property
    def coarse_levels(self) -> "list[Array[Any]]":
        """The same before fine-grained compensation."""
        return _levels(self.path, COARSE)


def _levels(path: Path, name: str) -> "list[Array[Any]]":
    import zarr

    group = zarr.open_group(path / "labels" / name, mode="r")
    return [group[str(number)] for number in range(len(list(group.array_keys())))]  # type: ignore[misc]


def check_output(path: Path, size: tuple[int, int], classes: ClassList, overwrite: bool) -> None:
    """Refuse a place where labels of a picture cannot be stored, before the long work.

    Raises
    ------
    NapariCliperError
        Something is there already, and is no Zarr folder or may not be replaced; the folder above
        it cannot be written; or there might not be enough room.
    """
    if path.suffix.lower() != ".zarr":
        raise NapariCliperError(f"“{path}” is no name for such labels: let it end in “.zarr”.")
    _check_free(path, overwrite)
    check_writable(path.parent)
    nearest = next(above for above in path.absolute().parents if above.exists())
    # Two label images, and the smaller copies a third on top. Compressed they take far less, but
    # how much nobody knows.
    most = size[0] * size[1] * _dtype(classes).itemsize * 2 * 4 // 3
    free = shutil.disk_usage(nearest).free
    if free < most:
        raise NapariCliperError(
            f"“{path}” may take {most / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free: make room, "
            "or choose another disk."
        )


def _check_free(path: Path, overwrite: bool) -> None:
    """Refuse a place that is taken, but for labels that may be replaced.

    Raises
    ------
    NapariCliperError
    """
    if not path.exists():
        return
    if not overwrite:
        raise NapariCliperError(
            f"“{path}” exists already: choose another name, or allow overwriting."
        )
    if not (path / "zarr.json").is_file():
        raise NapariCliperError(
            f"“{path}” is no Zarr folder, and not replaced: choose another name."
        )
    if not _is_ours_alone(path):
        raise NapariCliperError(
            f"“{path}” holds more than labels that a run has stored, and is not replaced: choose "
            "another name."
        )


def _is_ours_alone(path: Path) -> bool:
    """Whether a Zarr folder is as `store_steps` makes it: pictures and a person's masks are not."""
    import zarr

    with explained(path):
        marked = zarr.open(path, mode="r").attrs.get(KEY) == STORED
        return marked and all(
            {file.name for file in (path / folder).iterdir()} == names
            for folder, names in (
                ("", {"zarr.json", "labels"}),
                ("labels", {"zarr.json", REFINED, COARSE}),
            )
        )


def store_steps(result: Result, path: Path, overwrite: bool = False) -> Steps[StoredResult]:
    """Write a result's labels block by block; no whole map is ever in memory.

    Parameters
    ----------
    result : Result
    path : Path
        Ends in ``.zarr``. Missing folders are made.
    overwrite : bool
        Whether a Zarr folder that is there may be replaced.

    Yields
    ------
    Step

    Returns
    -------
    StoredResult

    Raises
    ------
    NapariCliperError
        See `check_output`; or writing failed. Then, and if the steps are not asked for to their
        end, nothing of it is left, and what was at `path` is as it was.
    """
    import zarr

    check_output(path, result.size, result.classes, overwrite)
    with _in_place(path, overwrite) as folder:
        root = zarr.create_group(folder, zarr_format=3)
        within = root.create_group("labels", attributes=_ome({"labels": [REFINED, COARSE]}))
        for name, title in ((REFINED, "Writing the labels"), (COARSE, "Writing the coarse labels")):
            yield from _write(within, name, title, result)
        scales = _multiscales(path.stem, result.size, f"labels/{REFINED}/")
        root.attrs.update(_ome({"multiscales": scales}) | {KEY: STORED})
    return StoredResult(result.classes, result.presence, result.present, path)


def _write(within: "Group", name: str, title: str, result: Result) -> Steps[None]:
    """One label image: its pixels, then each smaller copy from the one before."""
    classes, size = result.classes, result.size
    colors = [{"label-value": entry.id, "rgba": [*entry.color, 255]} for entry in classes]
    names = [{"label-value": entry.id, "name": entry.name} for entry in classes]
    described = {
        "multiscales": _multiscales(name, size),
        "image-label": {"version": VERSION, "colors": colors, "properties": names},
    }
    ours = {KEY: classes.model_dump(mode="json")}
    group = within.create_group(name, attributes=_ome(described) | ours)

    def level(number: int, size: tuple[int, int]) -> "Array[Any]":
        return group.create_array(
            str(number),
            shape=size,
            chunks=(min(BLOCK, size[0]), min(BLOCK, size[1])),
            dtype=_dtype(classes),
            dimension_names=["y", "x"],
        )

    sizes = list(_sizes(size))
    parts = _parts(size)
    labels = result.labels_by_part(parts, coarse=name == COARSE)
    array = level(0, size)
    for done, part in enumerate(parts):
        yield Step(title, done, len(parts))
        array[part] = next(labels).astype(array.dtype)
    for number, smaller in enumerate(sizes[1:], 1):
        yield Step("Writing smaller copies", number - 1, len(sizes) - 1)
        larger, array = array, level(number, smaller)
        for rows, columns in _parts(smaller):
            # Every second pixel: a mean of labels is no label.
            array[rows, columns] = larger[_doubled(rows), _doubled(columns)]


def _parts(size: tuple[int, int]) -> list[tuple[slice, slice]]:
    return list(blocks((slice(0, size[0]), slice(0, size[1])), BLOCK))


def _doubled(side: slice) -> slice:
    return slice(2 * side.start, 2 * side.stop - 1, 2)


def _sizes(size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """The sides of the labels and of their smaller copies."""
    yield size
    while max(size) > BLOCK:
        size = -(-size[0] // 2), -(-size[1] // 2)
        yield size


def _dtype(classes: ClassList) -> np.dtype[Any]:
    return np.dtype(np.uint8 if max(classes.ids) < 256 else np.uint16)


def _ome(described: dict[str, Any]) -> dict[str, Any]:
    return {"ome": {"version": VERSION} | described}


def _multiscales(name: str, size: tuple[int, int], below: str = "") -> list[dict[str, Any]]:
    """How the levels lie over each other: the pixels that are left stay where they were."""
    datasets = [
        {
            "path": f"{below}{number}",
            "coordinateTransformations": [{"type": "scale", "scale": [2.0**number] * 2}],
        }
        for number, _ in enumerate(_sizes(size))
    ]
    axes = [{"name": axis, "type": "space"} for axis in "yx"]
    return [{"name": name, "axes": axes, "datasets": datasets}]


@contextmanager
def _in_place(path: Path, overwrite: bool) -> Iterator[Path]:
    """A folder beside a path, moved there when all went well, and else removed.

    Raises
    ------
    NapariCliperError
        For an `OSError` of the body, or if something has come there meanwhile.
    """
    token = secrets.token_hex(8)
    folder, before = (path.with_name(f".{token}.{ending}") for ending in ("part", "old"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield folder
        _check_free(path, overwrite)
        if path.exists():
            path.rename(before)
        folder.rename(path)
    except OSError as error:
        if before.exists():
            before.rename(path)
        raise NapariCliperError(
            f"“{path}” cannot be written ({error.strerror or error}): "
            "choose another folder, or make room and check its permissions."
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(before, ignore_errors=True)
