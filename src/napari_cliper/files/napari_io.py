"""What napari's File menu calls: the reader and the writers of the manifest.

A writer is called ``write_`` and its format's key, with ``_`` for ``-``.
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari_cliper.annotation.annotation import Annotation
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.exporting import export
from napari_cliper.files.formats import Format, format_of
from napari_cliper.files.importing import read_annotations, recognized, session_annotations
from napari_cliper.files.layer_data import (
    LayerData,
    annotation_of,
    layer_data_of,
    objects_data_of,
    picture_data_of,
    refuse_others,
)
from napari_cliper.files.names import plain
from napari_cliper.files.session import is_session

MOST = 50  # pictures that one file may bring into a window

PREFIX = "write_"


def get_reader(path: str | list[str]) -> Callable[[Any], list[LayerData]] | None:
    """Napari's question whether we read something: only what surely is ours, or in our formats.

    Parameters
    ----------
    path : str or list of str
    """
    paths = [path] if isinstance(path, str) else path
    if not paths or not all(is_session(p) or recognized(p) is not None for p in paths):
        return None
    return read


def read(path: str | list[str]) -> list[LayerData]:
    """Pictures, as far as they are found, and over each its masks; pictures lie side by side.

    Raises
    ------
    NapariCliperError
        Something is damaged, or there are more pictures than a window should hold.
    """
    layers: list[LayerData] = []
    beside: dict[Any, float] = {}  # where each picture begins
    right = 0.0
    for one in [path] if isinstance(path, str) else path:
        annotations = session_annotations(one) if is_session(one) else read_annotations(one)
        for annotation in annotations:
            for remark in annotation.remarks:
                warnings.warn(remark, stacklevel=2)
            key = annotation.picture or annotation.name
            new = key not in beside
            if new and len(beside) == MOST:
                raise NapariCliperError(
                    f"“{one}” is about more than {MOST} pictures: take it apart with "
                    "“napari-cliper convert”, and review the folder."
                )
            begin = beside.setdefault(key, right)
            if new:
                right += annotation.labels.shape[-1] * (annotation.scale or (1,))[-1]
                layers += _picture(annotation, begin)
            layers.append(layer_data_of(annotation, _at(begin, annotation)))
            objects = objects_data_of(annotation, _at(begin, annotation))
            layers += [objects] if objects is not None else []
    return layers


def _picture(annotation: Annotation, begin: float) -> list[LayerData]:
    if annotation.picture is None or annotation.labels.ndim != 2:
        return []
    try:
        found = picture_data_of(annotation, annotation.picture, _at(begin, annotation))
    except NapariCliperError as error:
        warnings.warn(str(error), stacklevel=3)
        return []
    if found is None:
        warnings.warn(
            f"“{annotation.picture}” has another size than its mask “{annotation.name}”: "
            "only the mask is shown.",
            stacklevel=3,
        )
        return []
    return [found]


def _at(begin: float, annotation: Annotation) -> tuple[float, ...]:
    return (*(0.0,) * (annotation.labels.ndim - 1), begin) if begin else ()


def __getattr__(name: str) -> Any:
    if name.startswith(PREFIX):
        try:
            format_ = format_of(name.removeprefix(PREFIX).replace("_", "-"))
        except NapariCliperError as error:
            raise AttributeError(str(error)) from error
        return _writer(format_)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _writer(format_: Format) -> Callable[..., list[str]]:
    def write(path: str, layers: Any, attributes: dict[str, Any] | None = None) -> list[str]:
        """Write Labels layers; the file that the path names is replaced, and what is part of it."""
        if attributes is not None:  # a writer of one layer gets its data and attributes alone
            layers = [(layers, attributes, "labels")]
        refuse_others([kind for _, _, kind in layers])
        place = Path(path)
        if format_.suffix:
            folder, stem = place.parent, place.name
            if stem.lower().endswith(format_.suffix):
                stem = stem[: -len(format_.suffix)]
        else:
            folder, stem = place, ""
        names = [plain(known.get("name", "labels")) for _, known, _ in layers]
        if len(layers) == 1 and stem:
            names = [stem]
        annotations = (
            annotation_of(data, known, name, format_.keeps.instances)
            for name, (data, known, _) in zip(names, layers, strict=True)
        )
        # The file dialog has asked about what was typed, and about nothing else.
        asked = {place.name, f"{stem}/"} if stem + format_.suffix == place.name else set()
        written = export(annotations, format_, folder, overwrite=asked)
        return [str(path) for path in written]

    return write
