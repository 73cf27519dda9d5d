"""How somebody exported last."""

from __future__ import annotations

from pathlib import Path

import platformdirs
from pydantic import BaseModel, ConfigDict, ValidationError

from napari_cliper.files.atomic import atomic_write


class ExportChoice(BaseModel):
    """What the export dialog asks. Frozen.

    Attributes
    ----------
    format : str
        The format's key.
    source : str
        Which labels: the `key` of a `Source`.
    visible : bool
        Whether only classes that are shown are written.
    pattern : str
        What files are called.
    void : str
        The class of pixels that nobody has decided; "" for none.
    masks : bool
        Bitmaps where polygons are usual.
    folder : str
        "" for the picture's.
    """

    model_config = ConfigDict(frozen=True)

    format: str = "png"
    source: str = "refined as corrected"
    visible: bool = False
    pattern: str = "{picture}_labels"
    void: str = ""
    masks: bool = False
    folder: str = ""


def remembered() -> ExportChoice:
    """The last choice; the usual one where there is none, or none that can be read."""
    try:
        return ExportChoice.model_validate_json(_file().read_bytes())
    except (OSError, ValidationError):
        return ExportChoice()


def remember(choice: ExportChoice) -> None:
    """Keep a choice for the next time.

    Raises
    ------
    NapariCliperError
        It cannot be written.
    """
    with atomic_write(_file(), overwrite=True) as file:
        file.write(choice.model_dump_json(indent=2).encode())


def _file() -> Path:
    return Path(platformdirs.user_data_dir("napari-cliper")) / "export.json"
