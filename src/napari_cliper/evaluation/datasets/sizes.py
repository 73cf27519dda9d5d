"""The size of a picture by its header alone: nothing is decoded."""

from pathlib import Path

from PIL import Image

from napari_cliper.files.pictures import FORMATS

Size = tuple[int, int]  # height and width

ORIENTATION = 0x0112  # EXIF's tag, and of its values those that turn a picture on its side
ON_ITS_SIDE = (5, 6, 7, 8)
_UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


def stored_size(path: Path) -> Size | None:
    """Height and width as stored, as masks are taken; None if the header does not tell."""
    try:
        with Image.open(path, formats=FORMATS) as picture:
            return picture.height, picture.width
    except _UNREADABLE:
        return None


def upright_size(path: Path) -> Size | None:
    """Height and width as `read_picture` turns it; None if the header does not tell."""
    try:
        with Image.open(path, formats=FORMATS) as picture:
            # Pillow would decode a PNG to look for what is not in its header, and has turned the
            # size of a TIFF itself.
            told = picture.format != "TIFF" and (picture.format != "PNG" or "exif" in picture.info)
            turned = told and picture.getexif().get(ORIENTATION) in ON_ITS_SIDE
            size = picture.height, picture.width
            return size[::-1] if turned else size
    except _UNREADABLE:
        return None
