"""Keep triton's library and Mesa's apart."""

import ctypes
import importlib.util
import os
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path


@cache
def load_before_mesa() -> None:
    """Load triton's shared library with its own symbols first. Call before the first heavy import.

    Importing open_clip pulls in torchvision, torch._dynamo and with them triton's library, which
    carries a copy of LLVM. Once an OpenGL window exists, Mesa has mapped another LLVM, and the
    dynamic linker hands triton the wrong one: the process ends with a segmentation fault.
    RTLD_DEEPBIND makes the library prefer its own symbols; later imports find it already loaded.
    Nothing happens outside Linux or where triton is not installed.
    """
    if not sys.platform.startswith("linux"):
        return
    spec = importlib.util.find_spec("triton")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        library = Path(folder) / "_C" / "libtriton.so"
        with suppress(OSError):  # no triton, or a broken one: then none is loaded later either
            ctypes.CDLL(str(library), mode=os.RTLD_NOW | os.RTLD_DEEPBIND)
