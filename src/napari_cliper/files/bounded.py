"""Bounds on what a file that anybody made may cost, checked before it is understood.

JSON is nested at most 200 deep where pydantic's reader takes it. Sessions, and the truth of
`evaluate` in COCO's form, go through Python's own, whose limit is about 1000.
"""

import os
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from napari_cliper.errors import NapariCliperError
from napari_cliper.files.pictures import explained

MORE = 2**20  # bytes read at a time of what does not say how long it is
LARGEST_TEXT = 2**27  # bytes of a text file of ours, or of a format that has one for each picture
DEEPEST_YAML = 20  # lists and mappings within each other; a data.yaml has three
# Every text stays text: a class may be called “no”, which YAML otherwise takes for false. It makes
# nothing but texts, lists and mappings.
_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_BEGIN = (yaml.SequenceStartEvent, yaml.MappingStartEvent)
_END = (yaml.SequenceEndEvent, yaml.MappingEndEvent)


def read_bounded(path: Path, most: int = LARGEST_TEXT) -> bytes:
    """What is in a file, if that is not too much.

    Parameters
    ----------
    path : Path
    most : int
        Bytes.

    Raises
    ------
    NapariCliperError
        There is no such file, it cannot be read, or it is larger.
    """
    with explained(path):
        with path.open("rb") as file:
            # No more room than the file takes: a read of so many bytes makes room for all of them.
            content = file.read(min(os.fstat(file.fileno()).st_size, most) + 1)
            while len(content) <= most and (more := file.read(MORE)):
                content += more
        check_size(content, most, path)
    return content


def check_size(content: bytes, most: int, place: Path) -> None:
    """Refuse what has more bytes than it may.

    Raises
    ------
    NapariCliperError
    """
    if len(content) > most:
        raise NapariCliperError(
            f"“{place}” has more than {most >> 20} MiB: "
            "split it into smaller files, or make it smaller."
        )


def read_yaml(text: str) -> Any:
    """The texts, lists and mappings of YAML.

    Raises
    ------
    ValueError
        It is no YAML, nests more than any data set's file, or has aliases: a few lines of those
        can stand for more than any memory holds.
    """
    depth = 0
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            if isinstance(event, yaml.AliasEvent):
                raise ValueError(f"an alias in line {event.start_mark.line + 1}")
            depth += isinstance(event, _BEGIN) - isinstance(event, _END)
            if depth > DEEPEST_YAML:
                raise ValueError(f"more than {DEEPEST_YAML} lists within each other")
        return yaml.load(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        line = error.problem_mark.line + 1 if getattr(error, "problem_mark", None) else 1
        raise ValueError(f"no YAML in line {line}") from error
