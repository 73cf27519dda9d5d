"""What a format is: how to write it, how to know it, how to read it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeAlias

from napari_cliper.annotation.annotation import Annotation


@dataclass(frozen=True)
class Options:
    """What can be chosen when masks are written; a format heeds what it knows.

    Attributes
    ----------
    void : str or None
        The name of a class whose pixels are no objects: 255 in an indexed PNG, left out elsewhere.
    masks : bool
        Bitmaps also where polygons are usual.
    """

    void: str | None = None
    masks: bool = False


@dataclass(frozen=True)
class Keeps:
    """What is the same after writing and reading, for people (docs/formats.md) and for tests.

    Attributes
    ----------
    pixels, names, colors, ids : bool
        With the files alone that the format itself consists of.
    instances : bool
        Which object each pixel belongs to.
    empty : bool
        Also a picture without any labelled pixel.
    note : str
        What else there is to know, in a sentence or two.
    """

    pixels: bool = True
    names: bool = True
    colors: bool = True
    ids: bool = True
    instances: bool = False
    empty: bool = True
    note: str = ""

    @property
    def kept(self) -> list[str]:
        """What of pixels, names, colours, ids, objects and empty pictures comes back."""
        words = {"instances": "objects", "empty": "empty pictures"}
        names = [field.name for field in fields(self) if getattr(self, field.name) is True]
        return [words.get(name, name) for name in names]


Write: TypeAlias = Callable[[Iterable[Annotation], Path, Options], None]
Recognizes: TypeAlias = Callable[[Path], bool]
Read: TypeAlias = Callable[[Path, Path | None], Iterator[Annotation]]


@dataclass(frozen=True)
class Format:
    """One language of masks.

    Attributes
    ----------
    key : str
        Its name on the command line.
    title : str
        Its name in windows.
    rank : int
        Its place in lists; also the order in which readers are asked.
    suffix : str
        How each file of it ends, for example ".png"; "" if it is a folder.
    keeps : Keeps
    write : callable
        Takes annotations (asked for once, one by one), an empty folder and `Options`, and writes
        ordinary files there, named after the annotations' names. These are plain file names and
        different; labels are as the format can hold them by `stacks` and `max_label`.
    recognizes : callable
        Takes a path and says whether it surely is of this format. Never raises; changes nothing.
    read : callable
        Takes a path that was recognized, or that a person says is of this format, and a folder of
        pictures or None; yields annotations. Raises NapariCliperError if it is damaged.
    stacks : bool
        Whether it holds more than two axes.
    max_label : int
    one_thing : bool
        Whether each folder it writes is one thing, replaced as a whole, such as a Zarr store.
    void_label : bool
        Whether void is a label in its files, 255; else it is left out.
    """

    key: str
    title: str
    rank: int
    suffix: str
    keeps: Keeps
    write: Write
    recognizes: Recognizes
    read: Read
    stacks: bool = False
    max_label: int = 65535
    one_thing: bool = False
    void_label: bool = False
