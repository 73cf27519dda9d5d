"""Paths as people write them."""

from pathlib import Path

from napari_cliper.errors import NapariCliperError


def path_of(text: str | Path) -> Path:
    """A path in which “~” is a person's home.

    Raises
    ------
    NapariCliperError
        Nobody has such a home.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise NapariCliperError(
            f"“{text}” lies in the home of somebody unknown: write the whole path."
        ) from error
