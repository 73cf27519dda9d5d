"""File names that every system takes, made of any text."""

import re
import unicodedata
from collections.abc import Iterable

from napari_cliper.annotation.validation import TAKEN_BY_WINDOWS
from napari_cliper.errors import NapariCliperError

STORED_LABELS = "_labels.zarr"  # after a large picture's name: the folder of its labels
LONGEST = 180  # bytes: with an ending they fit into the 255 bytes of a name
_FIELD = re.compile(r"\{name\}|\{picture\}")
_REFUSED = re.compile(r'[/\\:*?"<>|\x00-\x1f\x7f]')


def plain(text: str) -> str:
    """A name like a text, that stays in its folder and that no system refuses.

    What cannot be in a name becomes "_"; different texts may get the same name.

    Examples
    --------
    >>> plain("../cat: a “very” good one?"), plain("CON"), plain("")
    ('_cat_ a “very” good one_', '_CON', '_')
    """
    text = unicodedata.normalize("NFC", text)
    text = "".join(letter if _is_shown(letter) else "_" for letter in text)
    text = _REFUSED.sub("_", text).encode()[:LONGEST].decode(errors="ignore").strip(" .")
    return f"_{text}" if not text or TAKEN_BY_WINDOWS.fullmatch(text) else text


def _is_shown(letter: str) -> bool:
    """Whether a letter can be in a name: no control, no mark of direction, no half of a pair."""
    return unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def by_pattern(pattern: str, name: str, picture: str) -> str:
    """A name after a pattern.

    Parameters
    ----------
    pattern : str
        ``{name}`` stands for what it is called, ``{picture}`` for its picture.
    name, picture : str

    Raises
    ------
    NapariCliperError
        Something else is in braces.
    """
    fields = {"{name}": name, "{picture}": picture}
    made = _FIELD.sub(lambda found: fields[found[0]], pattern)
    left = _FIELD.sub("", pattern)
    if "{" in left or "}" in left or not pattern.strip():
        raise NapariCliperError(
            f"“{pattern}” is no pattern for file names: use {{name}} and {{picture}}, for example "
            "{picture}_labels."
        )
    return made


def different(names: Iterable[str]) -> list[str]:
    """Names like these for files that do not overwrite each other."""
    found: list[str] = []
    times: dict[str, int] = {}
    for name in map(plain, names):
        unique, number = name, times.get(name.casefold(), 0)
        while unique.casefold() in times:
            number += 1
            unique = plain(f"{name[:70]} ({number})")
        times[name.casefold()] = number
        times.setdefault(unique.casefold(), 0)
        found.append(unique)
    return found
