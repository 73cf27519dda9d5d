"""Pictures from disk, through Pillow, or tifffile for what is deeper than 8 bits."""

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from napari_cliper.errors import NapariCliperError

# Not Pillow's whole list: some of its formats start other programs.
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF")
_TIFF_BEGINNINGS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# What a damaged file is about is told by our own error; an application may still listen.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


def read_picture(path: str | Path, content: bytes | None = None, page: int = 0) -> NDArray[Any]:
    """Read a PNG, JPEG, TIFF, BMP, WebP or GIF file.

    Parameters
    ----------
    path : str or Path
        Which of the formats it is decides the content, not the name.
    content : bytes, optional
        What is in the file, if it is at hand; then the file itself is not needed.
    page : int
        Of a TIFF file with several pages, which one is read, as `pages_of` counts them.

    Returns
    -------
    (H, W), (H, W, 3) or (H, W, 4) array
        Grey, RGB or RGBA as stored: booleans, integers or floats (colours deeper than 8 bits only
        from TIFF files). Palettes and other colour spaces have become RGB or RGBA, and the picture
        is turned upright as its orientation tag says. `napari_cliper.images.to_rgb` makes 8-bit
        colours of it.

    Raises
    ------
    NapariCliperError
        The file is missing, may not be read, is a folder, not a picture, damaged, cut short
        or larger than Pillow's limit (about 179 million pixels).
    """
    path = Path(path)
    with explained(path), path.open("rb") if content is None else io.BytesIO(content) as file:
        is_tiff = file.read(4) in _TIFF_BEGINNINGS
        file.seek(0)
        deep = _read_deep_tiff(file, page) if is_tiff else None
        file.seek(0)
        return _read_with_pillow(file, page) if deep is None else deep


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what opening and decoding a file may raise into one sentence.

    Raises
    ------
    NapariCliperError
    """
    try:
        yield
    except NapariCliperError:
        raise
    except FileNotFoundError as error:
        raise NapariCliperError(f"There is no file “{path}”: check its name and folder.") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError) as error:
        raise NapariCliperError(
            f"“{path}” has too many pixels: make it smaller or crop it."
        ) from error
    except UnidentifiedImageError as error:
        raise NapariCliperError(
            f"“{path}” is no picture, or a damaged one: give a PNG, JPEG, TIFF, BMP, WebP or GIF."
        ) from error
    except (IsADirectoryError, PermissionError) as error:  # the latter on Windows for folders too
        if path.is_dir():
            raise NapariCliperError(f"“{path}” is a folder: give a file in it.") from error
        raise NapariCliperError(f"“{path}” may not be read: change its permissions.") from error
    except Exception as error:  # decoders of damaged files raise nearly everything there is
        if isinstance(error, OSError) and error.errno is not None:
            raise NapariCliperError(
                f"“{path}” cannot be read ({error.strerror}): check its name and its disk."
            ) from error
        raise NapariCliperError(
            f"“{path}” is damaged or cut short ({error}): copy or download it again."
        ) from error


def _read_with_pillow(file: BinaryIO, page: int) -> NDArray[Any]:
    with Image.open(file, formats=FORMATS) as image:
        if page:
            image.seek(page)
        upright = ImageOps.exif_transpose(image)
    if upright.mode in ("P", "PA", "LA", "La", "RGBa"):
        upright = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
    elif upright.mode in ("CMYK", "YCbCr", "LAB", "HSV", "RGBX"):
        upright = upright.convert("RGB")
    return np.array(upright)  # a copy: Pillow's own memory is read-only


def pages_of(path: Path) -> list[int]:
    """The pages of a TIFF file, as `read_picture` counts them: smaller copies of one are none.

    Raises
    ------
    NapariCliperError
        The file is missing, no TIFF, or damaged.
    """
    import tifffile

    with explained(path), tifffile.TiffFile(path) as tiff:
        return [number for number, page in enumerate(tiff.pages) if not _is_reduced(page)]


def _is_reduced(page: Any) -> bool:
    subfile = page.tags.get("NewSubfileType")
    return bool(subfile is not None and subfile.value & 1)


def _read_deep_tiff(file: BinaryIO, number: int) -> NDArray[Any] | None:
    """A page, if Pillow would reduce it to 8 bits or refuse it; else None."""
    import tifffile  # here, because most pictures do without it

    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages[number]
        assert isinstance(page, tifffile.TiffPage)
        if page.dtype is None or page.dtype in (np.bool_, np.uint8):
            return None
        if page.compression not in tifffile.TIFF.DECOMPRESSORS:
            return None  # LZW and others without imagecodecs: libtiff, in Pillow, knows them
        limit = Image.MAX_IMAGE_PIXELS
        if limit is not None and page.imagewidth * page.imagelength > 2 * limit:
            raise Image.DecompressionBombError
        pixels = page.asarray()
        if page.axes == "SYX":  # one plane a colour
            pixels = np.moveaxis(pixels, 0, -1)
        tag = page.tags.get("Orientation")
    return np.ascontiguousarray(_upright(pixels, int(tag.value) if tag else 1))


def _upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Undo one of TIFF's eight orientations, 1 being upright."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels
