"""Reading safetensors files."""

from pathlib import Path
from typing import TYPE_CHECKING

from napari_cliper.errors import NapariCliperError

if TYPE_CHECKING:
    from torch import Tensor


def read_tensors(
    path: Path, remedy: str = "delete the file and fetch it again"
) -> "dict[str, Tensor]":
    """All tensors of a safetensors file.

    Parameters
    ----------
    path : Path
    remedy : str
        What to do if it is damaged.

    Raises
    ------
    NapariCliperError
        If it is not there or not one.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise NapariCliperError(f"The weights {path} cannot be read: {remedy}.") from error
