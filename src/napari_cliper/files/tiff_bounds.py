"""TIFF files that cost more than they look: tifffile itself has no bound there."""

import lzma
import struct
import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffFrame, TiffPage

HARMLESS = 2**28  # bytes that a part of a picture may always unpack to
DENSEST = 1032  # how many bytes deflate makes of one, at most
_DEFLATED, _LZMA = (8, 32946), 34925  # how TIFF numbers ways to pack


def check_chain(tiff: "TiffFile") -> None:
    """Refuse a file whose pages lead back to one before: it would never end.

    Raises
    ------
    ValueError
    """
    form, file = tiff.tiff, tiff.filehandle
    seen: set[int] = set()
    page = tiff.pages.first.offset
    while page:
        if page in seen:
            raise ValueError("its pages lead in a circle")
        seen.add(page)
        try:
            file.seek(page)
            (tags,) = struct.unpack(form.tagnoformat, file.read(form.tagnosize))
            file.seek(page + form.tagnosize + tags * form.tagsize)
            (page,) = struct.unpack(form.offsetformat, file.read(form.offsetsize))
        except (struct.error, OSError):  # cut short: so many pages there are, and tifffile says so
            return


def check_unpacked(page: "TiffPage | TiffFrame") -> None:
    """Refuse a page of which a part unpacks to more than the whole page.

    Raises
    ------
    ValueError
    """
    if page.compression not in (*_DEFLATED, _LZMA):
        return
    most = max(2 * page.nbytes, HARMLESS)  # a tile may reach over the page's border
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False):
        if page.compression in _DEFLATED and count * DENSEST <= HARMLESS:
            continue
        handle = page.parent.filehandle
        handle.seek(offset)
        packed: Any = lzma.LZMADecompressor() if page.compression == _LZMA else zlib.decompressobj()
        if len(packed.decompress(handle.read(count), most + 1)) > most:
            raise ValueError("a part of it unpacks to more than the whole picture")
