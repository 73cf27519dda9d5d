"""The libraries of the extra `evaluation`, imported when they are needed."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from napari_cliper.errors import NapariCliperError

# What to install, by the name that is imported.
DISTRIBUTIONS = {"sklearn": "scikit-learn", "scipy": "scipy", "matplotlib": "matplotlib"}


def needed(module: str) -> Any:
    """A module of one of these libraries.

    Raises
    ------
    NapariCliperError
        The library is not installed.
    """
    check_installed(module.partition(".")[0])
    return import_module(module)


def check_installed(library: str) -> None:
    """Refuse to begin without a library, without importing it.

    Raises
    ------
    NapariCliperError
    """
    if find_spec(library) is None:
        raise NapariCliperError(
            f"Evaluating needs {DISTRIBUTIONS[library]}, which is not installed: "
            'pip install "napari-cliper[evaluation]".'
        )
