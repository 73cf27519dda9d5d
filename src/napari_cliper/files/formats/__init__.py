"""Masks in other tools' languages: each module here is one format, found by its `FORMAT`."""

import pkgutil
from functools import cache
from importlib import import_module

from napari_cliper.errors import NapariCliperError
from napari_cliper.files.formats.format import Format, Keeps, Options

__all__ = ["Format", "Keeps", "Options", "format_of", "formats"]


@cache
def formats() -> dict[str, Format]:
    """All formats, by their keys. To add one, put a module with a `FORMAT` into this package."""
    modules = [import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__)]
    found = [module.FORMAT for module in modules if hasattr(module, "FORMAT")]
    return {known.key: known for known in sorted(found, key=lambda known: known.rank)}


def format_of(key: str) -> Format:
    """The format of a key.

    Raises
    ------
    NapariCliperError
    """
    try:
        return formats()[key]
    except KeyError:
        raise NapariCliperError(
            f"“{key}” is no format: choose one of {', '.join(formats())}."
        ) from None
