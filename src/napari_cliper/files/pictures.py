"""Pictures from disk, through Pillow, or tifffile for what is deeper than 8 bits."""

import io
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import filterfalse, islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from napari_cliper.errors import NapariCliperError
from napari_cliper.files.tiff_bounds import check_chain, check_unpacked

# Not Pillow's whole list: some of its formats start other programs.
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF")
_TIFF_BEGINNINGS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# What a damaged file is about is told by our own error; an application may still listen.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


def read_picture(path: str | Path, content: bytes | None = None) -> NDArray[Any]:
    """Read a PNG, JPEG, TIFF, BMP, WebP or GIF file.

    Parameters
    ----------
    path : str or Path
        Which of the formats it is decides the content, not the name.
    content : bytes, optional
        What is in the file, if it is at hand; then the file itself is not needed.

    Returns
    -------
    (H, W), (H, W, 3) or (H, W, 4) array
        Grey, RGB or RGBA as stored, of a TIFF file's first page: booleans, integers or floats
        (colours deeper than 8 bits only from TIFF files). Palettes and other colour spaces have
        become RGB or RGBA, and the picture is turned upright as its orientation tag says.
        `napari_cliper.images.to_rgb` makes 8-bit colours of it.

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
        if is_tiff:
            return next(_pages(file, all_of_them=True))
        with Image.open(file, formats=FORMATS) as image:
            return _decoded(image)


def read_pages(path: Path) -> Iterator[NDArray[Any]]:
    """The pages of a TIFF file one by one, each as `read_picture` gives it.

    Smaller copies of a page are none.

    Raises
    ------
    NapariCliperError
        The file is missing, no TIFF, or damaged; before it, the pages that are whole come.
    """
    with explained(path), path.open("rb") as file:
        yield from _pages(file)


def has_pages(path: Path) -> bool:
    """Whether a TIFF file has several pages, as `read_pages` counts them.

    Raises
    ------
    NapariCliperError
        The file is missing, no TIFF, or damaged.
    """
    import tifffile

    with explained(path), tifffile.TiffFile(path) as tiff:
        check_chain(tiff)
        return len(list(islice(filterfalse(_is_reduced, tiff.pages), 2))) == 2


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


def _decoded(image: Image.Image) -> NDArray[Any]:
    """What Pillow has opened, or its page that was sought."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode in ("P", "PA", "LA", "La", "RGBa"):
        upright = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
    elif upright.mode in ("CMYK", "YCbCr", "LAB", "HSV", "RGBX"):
        upright = upright.convert("RGB")
    return np.array(upright)  # a copy: Pillow's own memory is read-only


def _pages(file: BinaryIO, all_of_them: bool = False) -> Iterator[NDArray[Any]]:
    """A TIFF file's pages, the smaller copies too if all of them are wanted."""
    import tifffile  # here, because most pictures do without it

    with tifffile.TiffFile(file) as tiff, ExitStack() as opened:
        check_chain(tiff)
        image: Image.Image | None = None
        for number, page in enumerate(tiff.pages):
            if _is_reduced(page) and not all_of_them:
                continue
            deep = _deep_page(page)
            if deep is None:
                if image is None:
                    file.seek(0)
                    image = opened.enter_context(Image.open(file, formats=FORMATS))
                image.seek(number)
                deep = _decoded(image)
            yield deep


def _is_reduced(page: Any) -> bool:
    subfile = page.tags.get("NewSubfileType")
    return bool(subfile is not None and subfile.value & 1)


def _deep_page(page: Any) -> NDArray[Any] | None:
    """A page, if Pillow would reduce it to 8 bits or refuse it; else None."""
    import tifffile

    if page.dtype is None or page.dtype in (np.bool_, np.uint8):
        return None
    if page.compression not in tifffile.TIFF.DECOMPRESSORS:
        return None  # LZW and others without imagecodecs: libtiff, in Pillow, knows them
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and page.imagewidth * page.imagelength > 2 * limit:
        raise Image.DecompressionBombError
    check_unpacked(page)
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
