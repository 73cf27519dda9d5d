"""What the first run needs and takes seconds to import, done in the background beforehand."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
import threading
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path

from napari_cliper._triton import load_before_mesa


@cache
def start() -> threading.Thread:
    """Begin to warm up, once in a process; `wait` for it before any heavy import.

    The thread is no daemon: ending the interpreter under half an import may crash.
    """
    thread = threading.Thread(target=_warm_up, name="napari-cliper warm-up", daemon=False)
    thread.start()
    return thread


def wait() -> None:
    """Wait until all is warm. Two threads that import torch and its kin at once may fail."""
    start().join()


def _warm_up() -> None:
    for part in (_import_labels_needs, _map_torch, _import_torch, _import_open_clip, _import_rest):
        if not threading.main_thread().is_alive():
            return  # the program ends, and waits for this thread
        # What fails here fails again, and is told, when someone asks for a segmentation.
        with suppress(Exception):
            part()


def _import_labels_needs() -> None:
    """Import pandas and numba, which napari's first Labels layer with features needs.

    A layer itself is not made: its units come from a registry that pint fills when it is first
    asked, and the window may ask for it at the same time.
    """
    import numpy as np

    import_module("pandas")
    from napari.utils.colormaps import DirectLabelColormap

    colors = {None: "white", 0: "transparent", 1: "red"}
    colormap = DirectLabelColormap(color_dict=colors)
    # Wide labels have numba compile a dictionary; napari looks for the chosen label in such a one.
    for dtype in (np.uint8, np.uint16, np.int64):
        colormap.map(np.zeros((2, 2), dtype))


def _map_torch() -> None:
    """Let the dynamic linker map torch's libraries without the interpreter's lock.

    `import torch`, and ctypes.CDLL too, hold it for a quarter of a second, or for seconds when they
    come from a cold disk, and the window freezes. A call through ctypes releases it, dlopen too.
    Libraries that use Python themselves are left to the import.
    """
    load_before_mesa()
    spec = importlib.util.find_spec("torch")
    if sys.platform == "win32" or spec is None or spec.origin is None:
        return
    dlopen = ctypes.CDLL(None).dlopen
    dlopen.argtypes, dlopen.restype = (ctypes.c_char_p, ctypes.c_int), ctypes.c_void_p
    folder = Path(spec.origin).parent / "lib"
    # The first as torch itself does it, for all to see.
    for name, flags in (("libtorch_global_deps", os.RTLD_GLOBAL), ("libtorch", 0)):
        for library in folder.glob(f"{name}.*"):
            dlopen(os.fsencode(library), os.RTLD_NOW | flags)


def _import_torch() -> None:
    import torch  # noqa: F401


def _import_open_clip() -> None:
    """Import what every preset needs, and the models import late."""
    import open_clip  # noqa: F401


def _import_rest() -> None:
    """Import the engine, and have the first class list make its table of colours."""
    import napari_cliper.segmenter  # noqa: F401
    from napari_cliper.annotation.class_list import ClassList

    ClassList.parse("cat")
