"""Annotations as napari hands layers to plugins: tuples of data, attributes and type."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from skimage.measure import label as connected

from napari_cliper.annotation.annotation import (
    Annotation,
    checked_labels,
    foreign_classes,
    with_all,
)
from napari_cliper.annotation.class_list import ClassEntry, ClassList
from napari_cliper.errors import NapariCliperError

LayerData: TypeAlias = tuple[Any, dict[str, Any], str]

KEY = "napari-cliper"  # under it our notes lie in a layer's metadata
CLASSES = "class list"  # among them: what the labels of a layer mean, as JSON
OBJECTS = "objects of"  # the class whose objects a layer numbers, as JSON
PIXEL = ("", "pixel")  # units that say nothing


def annotation_of(
    data: Any, attributes: Mapping[str, Any], name: str, objects: bool = False
) -> Annotation:
    """What a Labels layer holds.

    Parameters
    ----------
    data : array-like of integers
        Of several resolutions, the first is taken.
    attributes : mapping
        As a layer's `as_layer_data_tuple` tells them.
    name : str
        What its files are to be called.
    objects : bool
        Whether a layer that numbers the objects of one class becomes that class and `instances`.

    Raises
    ------
    NapariCliperError
        The labels are not between 0 and 65535.
    """
    labels = checked_labels(data[0] if attributes.get("multiscale") else data)
    notes = attributes.get("metadata", {}).get(KEY, {})
    more = _placement(attributes, labels.ndim)
    if objects and OBJECTS in notes:
        entry = ClassEntry.model_validate_json(notes[OBJECTS])
        one = np.where(labels != 0, entry.id, 0).astype(np.uint16)
        return Annotation(name, one, ClassList(classes=(entry,)), labels.astype(np.uint32), **more)
    text = notes.get(CLASSES)
    classes = ClassList.from_json(text) if text else _classes_shown(attributes, labels)
    return Annotation(name, labels, with_all(classes, labels), **more)


def layer_data_of(annotation: Annotation, translate: tuple[float, ...] = ()) -> LayerData:
    """An annotation as a Labels layer with names and colours.

    Parameters
    ----------
    annotation : Annotation
    translate : tuple of float
        Where it lies, along each axis.
    """
    colors: dict[int | None, Any] = {None: np.ones(4), 0: np.zeros(4)}
    for entry in annotation.classes:
        colors[entry.id] = np.array((*entry.color, 255)) / 255
    narrow = max(annotation.classes.ids) <= 255
    attributes: dict[str, Any] = {
        "name": annotation.name,
        "colormap": colors,
        "opacity": 0.5,
        "features": {
            "index": [0, *annotation.classes.ids],
            "name": ["background", *annotation.classes.names],
        },
        "metadata": {KEY: {CLASSES: annotation.classes.to_json()}},
    }
    attributes |= _placed(annotation, translate)
    return annotation.labels.astype(np.uint8 if narrow else np.uint16), attributes, "labels"


def objects_data_of(annotation: Annotation, translate: tuple[float, ...] = ()) -> LayerData | None:
    """The objects of an annotation as a Labels layer, or None if its labels tell them as well.

    That is so where each connected part is one object.
    """
    labels, objects = annotation.labels, annotation.instances
    if objects is None or labels.ndim != 2:
        return None
    parts = np.asarray(connected(labels, background=0, connectivity=2)).astype(np.uint64)
    inside = labels != 0
    pairs = np.unique(np.stack([parts[inside], objects[inside].astype(np.uint64)]), axis=1)
    if all(len(np.unique(side)) == pairs.shape[1] for side in pairs):
        return None
    numbers, first = np.unique(objects[inside], return_index=True)
    names = {entry.id: entry.name for entry in annotation.classes}
    attributes: dict[str, Any] = {
        "name": f"{annotation.name} objects",
        "visible": False,
        "features": {
            "index": [0, *numbers.tolist()],
            "name": ["background"]
            + [
                f"{names[label]} {number}"
                for number, label in zip(
                    numbers.tolist(), labels[inside][first].tolist(), strict=True
                )
            ],
        },
    }
    attributes |= _placed(annotation, translate)
    return objects.astype(np.uint16 if numbers.max() <= 65535 else np.uint32), attributes, "labels"


def picture_data_of(
    annotation: Annotation, picture: Path, translate: tuple[float, ...] = ()
) -> LayerData | None:
    """The picture of an annotation as an Image layer, or None if it is of another size.

    Raises
    ------
    NapariCliperError
        It cannot be read.
    """
    from napari_cliper.files.pictures import read_picture

    pixels = read_picture(picture)
    if pixels.shape[:2] != annotation.labels.shape:
        return None
    attributes: dict[str, Any] = {"name": picture.stem, "rgb": pixels.ndim == 3}
    attributes |= _placed(annotation, translate)
    return pixels, attributes, "image"


def _placed(annotation: Annotation, translate: tuple[float, ...]) -> dict[str, Any]:
    """Where a layer lies and how large its pixels are, as far as that is known."""
    known = {"scale": annotation.scale, "units": annotation.units, "translate": translate}
    return {name: value for name, value in known.items() if value}


def _classes_shown(attributes: Mapping[str, Any], labels: Any) -> ClassList | None:
    """The classes that a layer of anybody shows by its features and colours."""
    features = attributes.get("features")
    named: dict[int, str] = {}
    if features is not None and {"index", "name"} <= {*features}:
        pairs = zip(features["index"], features["name"], strict=True)
        named = dict(_valid(pairs))
    present = np.flatnonzero(np.bincount(labels.ravel())).tolist()
    names = {id_: named.get(id_, f"label {id_}") for id_ in sorted({*named, *present} - {0})}
    if not names:
        return None
    colormap: Any = attributes.get("colormap")
    colors: dict[int, list[int]] = {}
    if hasattr(colormap, "map"):
        if getattr(colormap, "use_selection", False):  # it would paint all but one label black
            colormap = colormap.model_copy(update={"use_selection": False})
        shown = colormap.map(np.array(list(names)))[:, :3]
        colors = dict(zip(names, np.rint(shown * 255).astype(int).tolist(), strict=True))
    return foreign_classes(names, colors)


def _valid(pairs: Any) -> Iterator[tuple[int, str]]:
    """Those with a label: features can hold anything."""
    for index, name in pairs:
        try:
            id_ = int(index)
        except (TypeError, ValueError):
            continue
        if 1 <= id_ <= 65535:
            yield id_, str(name)


def _placement(attributes: Mapping[str, Any], ndim: int) -> dict[str, Any]:
    """Scale and units, where they say more than pixels."""
    scale = tuple(map(float, attributes.get("scale", ())))
    units = tuple(map(str, attributes.get("units") or ()))
    known = len(scale) == ndim and any(size != 1 for size in scale)
    real = len(units) == ndim and not all(unit in PIXEL for unit in units)
    return {"scale": scale if known or real else (), "units": units if real else ()}


def refuse_others(kinds: list[str]) -> None:
    """Refuse layers that are no labels.

    Raises
    ------
    NapariCliperError
    """
    if any(kind != "labels" for kind in kinds):
        raise NapariCliperError("Only Labels layers can be saved as masks: select those alone.")
