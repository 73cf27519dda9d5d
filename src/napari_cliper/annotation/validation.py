"""What is wrong with a file of ours, in one sentence that says what to do."""

import re

from pydantic import ValidationError

from napari_cliper.errors import NapariCliperError

# Names that mean devices there, whatever follows their first dot.
TAKEN_BY_WINDOWS = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³]) *(\..*)?", re.IGNORECASE | re.DOTALL
)
REMEDY = "correct it there, or move the file away to begin anew"


def told(error: ValidationError, what: str) -> NapariCliperError:
    """Word the first thing that pydantic found.

    Parameters
    ----------
    error : ValidationError
    what : str
        What the file holds: "session", "review".

    Returns
    -------
    NapariCliperError
        To be raised from `error`.
    """
    first = error.errors(include_url=False)[0]
    if first["type"] == "value_error":  # one of our own sentences
        return NapariCliperError(str(first["ctx"]["error"]))
    where = ".".join(map(str, first["loc"]))
    place = f" at {where}" if where else ""
    return NapariCliperError(f"The {what} is not valid{place} ({first['msg']}): {REMEDY}.")


def newer_format(what: str, found: int, known: int) -> str:
    """Say that a file's format is newer than the one that is known."""
    return (
        f"The {what} was saved by a newer napari-cliper (format {found}, this one reads {known}): "
        "update napari-cliper."
    )
