"""OME-Zarr 0.5: labels of stacks as a folder, for napari-ome-zarr, ome-zarr, Fiji and OMERO.

The standard knows labels only as part of an image, in its group ``labels``. We have no image here,
so the labels are their own: ``{name}.ome.zarr`` is an image group whose levels are the arrays of
its label image ``labels/classes``. So every reader opens the folder, those that know labels show
them with colours and names, and ``labels/classes`` can be moved into the group of a real image as
it is. A label image alone at the top is read too, but not written: it is beside the standard, and
napari-ome-zarr 0.10 looks for the image two folders above it, and makes a Zarr group there.

Beside the standard's colours and names lies our class list, under a key of its own.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_cliper.annotation.annotation import (
    Annotation,
    checked_labels,
    foreign_classes,
    with_all,
)
from napari_cliper.annotation.class_list import MAX_CLASSES, ClassList
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.formats.format import Format, Keeps, Options
from napari_cliper.files.formats.ome_tiff import check_total, prepared
from napari_cliper.files.indexed_png import KEY
from napari_cliper.files.names import plain
from napari_cliper.files.nearby import classes_near, picture_near
from napari_cliper.files.pictures import explained
from napari_cliper.files.zarr_bounds import check_chunks

if TYPE_CHECKING:
    from zarr import Array, Group  # loaded only when such a folder is met

VERSION = "0.5"
ENDINGS = (".ome.zarr", ".zarr")
LARGEST = 1024  # pixels along a side, of chunks and of the smallest level
IMAGE = "classes"  # our label image in the group "labels"
_TYPES = {"T": "time", "C": "channel", "Z": "space", "Y": "space", "X": "space"}
_NAMES = ("name", "class", "label")  # what programs call the name among a label's properties


def write(annotations: Iterable[Annotation], folder: Path, options: Options) -> None:
    """Write `{name}.ome.zarr` of each."""
    import zarr
    from zarr.storage import LocalStore

    for annotation in annotations:
        axes, labels, classes = prepared(annotation, options)
        levels = list(_levels(labels))
        parts = ("labels", IMAGE)
        image = {"version": VERSION, "multiscales": [_multiscale(annotation, axes, levels, parts)]}
        store = LocalStore(folder / f"{annotation.name}.ome.zarr")
        root = zarr.create_group(store, zarr_format=3, attributes={"ome": image})
        listed = {"version": VERSION, "labels": [IMAGE]}
        within = root.create_group(parts[0], attributes={"ome": listed})
        named = {
            "version": VERSION,
            "multiscales": [_multiscale(annotation, axes, levels)],
            "image-label": _image_label(classes),
        }
        ours = {"ome": named, KEY: classes.model_dump(mode="json")}
        group = within.create_group(parts[1], attributes=ours)
        for number, level in enumerate(levels):
            group.create_array(
                str(number),
                data=level,
                chunks=tuple(min(side, LARGEST) for side in _flat(level.shape)),
                dimension_names=list(axes.lower()),
            )


def recognizes(path: Path) -> bool:
    """Whether a folder is a label image, or has some."""
    try:
        return _is_zarr(path) and bool(_label_images(path))
    except (OSError, NapariCliperError):
        return False


def read(path: Path, pictures: Path | None) -> Iterator[Annotation]:
    """Read all label images of a folder, in full resolution."""
    if not _is_zarr(path):
        raise NapariCliperError(
            f"“{path}” is no OME-Zarr folder: give one with “zarr.json” or “.zgroup” in it."
        )
    images = _label_images(path)
    if not images:
        raise NapariCliperError(f"“{path}” holds no labels: give an OME-Zarr with a label image.")
    stem = path.resolve().name
    ending = next((end for end in ENDINGS if stem.lower().endswith(end)), "")
    stem = stem[: len(stem) - len(ending)]
    for name, group in images.items():
        called = stem if len(images) == 1 else plain(f"{stem}_{name}")
        yield _read(called, group, path, pictures)


def _levels(labels: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """The labels, and every second pixel of the level before while there are many."""
    yield labels
    while max(labels.shape[-2:]) > LARGEST:
        labels = labels[..., ::2, ::2]
        yield labels


def _flat(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of one plane, with as many axes."""
    return (*(1,) * (len(shape) - 2), *shape[-2:])


def _multiscale(
    annotation: Annotation, axes: str, levels: list[NDArray[Any]], parts: Iterable[str] = ()
) -> dict[str, Any]:
    """How the levels lie in space, and below which groups."""
    units = annotation.units or ("",) * len(axes)
    scale = annotation.scale or (1.0,) * len(axes)
    datasets = []
    for number in range(len(levels)):
        # The pixels that are left stay where they were: no shift.
        sizes = [float(size) for size in scale]
        sizes[-2:] = [size * 2**number for size in sizes[-2:]]
        known = [{"type": "scale", "scale": sizes}]
        path = "/".join((*parts, str(number)))
        datasets.append({"path": path, "coordinateTransformations": known})
    described = [
        {"name": axis.lower(), "type": _TYPES[axis]}
        | ({"unit": unit} if unit not in ("", "pixel") else {})
        for axis, unit in zip(axes, units, strict=True)
    ]
    return {"name": annotation.name, "axes": described, "datasets": datasets}


def _image_label(classes: ClassList) -> dict[str, Any]:
    return {
        "colors": [{"label-value": entry.id, "rgba": [*entry.color, 255]} for entry in classes],
        "properties": [{"label-value": entry.id, "name": entry.name} for entry in classes],
        "source": {"image": "../../"},
    }


def _is_zarr(path: Path) -> bool:
    return (path / "zarr.json").is_file() or (path / ".zgroup").is_file()


def _label_images(path: Path) -> "dict[str, Group]":
    """The label images at a folder, or in its group of labels, by their names."""
    import zarr
    from zarr.storage import LocalStore

    with explained(path):
        # Of a store on disk, whatever the path looks like: nothing is fetched.
        store = LocalStore(path, read_only=True)
        root = zarr.open_group(store, mode="r", use_consolidated=False)
        if "image-label" in _ome(root):
            return {"": root}
        within = root if "labels" in _ome(root) else root.get("labels")
        if not isinstance(within, zarr.Group):
            return {}
        names = [str(name) for name in _ome(within).get("labels", ())]
        found = {name: within[name] for name in names}
        return {
            name: group
            for name, group in found.items()
            if isinstance(group, zarr.Group) and "multiscales" in _ome(group)
        }


def _ome(group: "Group") -> Mapping[str, Any]:
    """What a group tells in the standard's words: in 0.4 at its top, since then under a key."""
    attributes = group.attrs.asdict()
    known = attributes.get("ome", attributes)
    return known if isinstance(known, Mapping) else {}


def _read(name: str, group: "Group", path: Path, pictures: Path | None) -> Annotation:
    with explained(path):
        multiscale = _ome(group)["multiscales"][0]
        dataset = multiscale["datasets"][0]
        pixels = _pixels(group[dataset["path"]], path)
        axes = _axes(multiscale, pixels.ndim)
        scale, shift = _placement(multiscale, dataset, pixels.ndim)
        # Others' labels may have a channel as their picture has: it means nothing.
        kept = [
            i
            for i, axis in enumerate(axes)
            if KEY in group.attrs or axis["type"] != "channel" or pixels.shape[i] != 1
        ]
        labels = checked_labels(pixels.reshape([pixels.shape[i] for i in kept]))
        classes = _classes(group, path)
    units = [str(axes[i].get("unit") or "pixel") for i in kept]
    real = any(unit != "pixel" for unit in units)
    known = real or any(size != 1 for size in scale)
    remarks = [] if classes else [f"“{name}” tells no class names: they are its labels."]
    if any(shift):
        remarks.append(f"“{name}” does not lie at the origin, but at {shift}: that is lost.")
    return Annotation(
        name,
        labels,
        with_all(classes, labels),
        picture=picture_near(name, path, pictures),
        scale=tuple(scale[i] for i in kept) if known else (),
        units=tuple(units) if real else (),
        remarks=tuple(remarks),
    )


def _axes(multiscale: Mapping[str, Any], ndim: int) -> list[dict[str, Any]]:
    """What is told of each axis; up to 0.3 that is its name, or nothing."""
    told = multiscale.get("axes") or "tczyx"[-ndim:]
    axes = [dict(one) if isinstance(one, Mapping) else {"name": one} for one in told]
    if len(axes) != ndim:
        raise ValueError(f"{len(axes)} axes are named, and it has {ndim}")
    for axis in axes:
        axis.setdefault("type", _TYPES.get(str(axis.get("name")).upper(), ""))
    return axes


def _pixels(array: "Array[Any] | Group", path: Path) -> NDArray[Any]:
    """All of an array, if it is of whole numbers: zarr has no unsafe codecs for those."""
    import zarr

    if not isinstance(array, zarr.Array):
        raise ValueError("its first level is no array")
    if array.dtype.kind not in "bui":
        raise NapariCliperError(
            f"“{path}” holds {array.dtype} values, not labels: give an OME-Zarr of whole numbers."
        )
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and array.shape[-1] * array.shape[-2] > 2 * limit:
        raise Image.DecompressionBombError
    check_total(path, array.shape)
    check_chunks(array, path)
    return np.asarray(array[...])


def _placement(
    multiscale: Mapping[str, Any], dataset: Mapping[str, Any], ndim: int
) -> tuple[list[float], list[float]]:
    """The size of a pixel, and where the first one lies, along each axis."""
    scale, shift = np.ones(ndim), np.zeros(ndim)
    for known in (dataset, multiscale):  # the latter goes for all levels, on top
        for transformation in known.get("coordinateTransformations") or ():
            if "scale" in transformation:
                factors = _numbers(transformation["scale"], ndim)
                scale, shift = scale * factors, shift * factors
            if "translation" in transformation:
                shift = shift + _numbers(transformation["translation"], ndim)
    if not np.all((scale > 0) & (scale < np.inf)):
        raise ValueError(f"pixels of the size {scale.tolist()}")
    return scale.tolist(), shift.tolist()


def _numbers(told: Any, ndim: int) -> NDArray[np.float64]:
    """One number for each axis."""
    numbers = np.array(told, np.float64)
    if numbers.shape != (ndim,):
        raise ValueError(f"{told} is not a number for each of {ndim} axes")
    return numbers


def _classes(group: "Group", path: Path) -> ClassList | None:
    """Our class list; else one of the standard's names and colours; else the one near."""
    if KEY in group.attrs:
        try:
            return ClassList.from_json(json.dumps(group.attrs[KEY]))
        except NapariCliperError as error:
            raise NapariCliperError(f"In “{path}”: {error}") from error
    label = _ome(group).get("image-label") or {}
    properties, shown = label.get("properties") or (), label.get("colors") or ()
    names = {_id(entry): "" for entry in (*properties, *shown)}
    names |= {_id(entry): _name(entry) for entry in properties}
    names.pop(0, None)
    if near := None if any(names.values()) else classes_near(path):
        return near
    colors = {_id(entry): entry["rgba"][:3] for entry in shown if entry.get("rgba")}
    return foreign_classes(names, colors) if names else None


def _id(entry: Mapping[str, Any]) -> int:
    """The label of an entry; 0 for one that we cannot have."""
    value = entry["label-value"]
    return int(value) if isinstance(value, int) and 1 <= value <= MAX_CLASSES else 0


def _name(entry: Mapping[str, Any]) -> str:
    return next((str(entry[key]) for key in _NAMES if entry.get(key)), "")


FORMAT = Format(
    key="ome-zarr",
    title="OME-Zarr labels",
    rank=51,
    suffix=".ome.zarr",
    keeps=Keeps(
        note="OME-Zarr 0.5 with up to five axes, compressed without loss, in chunks and levels; "
        "0.4 is read too. The labels are the group “labels/classes” of an image group, with "
        "names, colours and sizes of pixels. The class called void is left out."
    ),
    write=write,
    recognizes=recognizes,
    read=read,
    stacks=True,
    one_thing=True,
)
