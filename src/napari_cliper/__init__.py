"""Segment pictures by the words you type, and correct the masks in napari.

The scripting interface; importing it costs nothing, since each name is loaded when first used.

>>> import napari_cliper as nc
>>> sorted(nc.__all__)[3:]
['load', 'load_labels', 'save_labels', 'segment_tiled']
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_cliper.annotation.class_list import ClassList
    from napari_cliper.errors import NapariCliperError
    from napari_cliper.files.indexed_png import load_labels, save_labels
    from napari_cliper.segmenter import Segmenter, load
    from napari_cliper.tiles.segmenting import segment_tiled

__all__ = [
    "ClassList",
    "NapariCliperError",
    "Segmenter",
    "load",
    "load_labels",
    "save_labels",
    "segment_tiled",
]

_HOMES = {
    "ClassList": "annotation.class_list",
    "NapariCliperError": "errors",
    "Segmenter": "segmenter",
    "load": "segmenter",
    "load_labels": "files.indexed_png",
    "save_labels": "files.indexed_png",
    "segment_tiled": "tiles.segmenting",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("napari-cliper")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
