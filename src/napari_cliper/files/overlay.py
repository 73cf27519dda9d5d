"""A picture to look at: the photograph, its regions tinted and outlined, and a legend."""

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from napari_cliper.annotation.class_list import ClassEntry, ClassList
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.atomic import atomic_write
from napari_cliper.files.indexed_png import as_labels, present_ids
from napari_cliper.images import to_rgb

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
TINT = 0.45  # how much of a region's colour is the class's
SYSTEM_FONTS = (
    "NotoSans-Regular.ttf",
    "DejaVuSans.ttf",
    "NotoSansCJK-Regular.ttc",
    "segoeui.ttf",
    "msyh.ttc",
    "Arial Unicode.ttf",
)
PAPER, INK = (255, 255, 255), (32, 32, 32)


def save_overlay(
    path: str | Path,
    image: ArrayLike,
    labels: ArrayLike,
    classes: ClassList | str,
    overwrite: bool = False,
) -> None:
    """Write what `draw_overlay` draws.

    Parameters
    ----------
    path : str or Path
        Ends in ``.png``, ``.jpg`` or ``.webp``. Missing folders are made.
    image, labels, classes
        As for `draw_overlay`.
    overwrite : bool
        Whether a file that is there may be replaced.

    Raises
    ------
    NapariCliperError
        The file exists or cannot be written, or what `draw_overlay` raises.
    """
    path = Path(path)
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise NapariCliperError(
            f"“{path}” is no name for an overlay: let it end in {', '.join(FORMATS)}."
        )
    drawn = Image.fromarray(draw_overlay(image, labels, classes))
    with atomic_write(path, overwrite) as file:
        drawn.save(file, kind, quality=92)


def draw_overlay(
    image: ArrayLike, labels: ArrayLike, classes: ClassList | str
) -> NDArray[np.uint8]:
    """The image with tinted regions and contour lines, above a legend of the classes present.

    Parameters
    ----------
    image : (H, W) or (H, W, 1 to 4) array
        Anything `napari_cliper.images.to_rgb` takes.
    labels : (H, W) array of integers
        0 background, which stays as it is, else the id of a class.
    classes : ClassList or str

    Returns
    -------
    (H + L, max(W, M), 3) uint8 array
        The image in its own resolution; L rows of legend, at least M columns wide.

    Raises
    ------
    NapariCliperError
        The image, the labels or the classes are not valid, or do not fit each other.
    """
    classes = ClassList.parse(classes)
    rgb = to_rgb(image)
    values = as_labels(labels, classes)
    if values.shape != rgb.shape[:2]:
        raise NapariCliperError(
            f"Labels of {values.shape} do not fit a picture of {rgb.shape[:2]}: "
            "give the labels of this picture."
        )
    present = set(present_ids(values))
    size = round(min(max(min(values.shape) / 20, 14), 64))
    legend = _legend([entry for entry in classes if entry.id in present], values.shape[1], size)
    tinted = _tint(rgb, values, classes)
    canvas = Image.new("RGB", (legend.width, values.shape[0] + legend.height), PAPER)
    canvas.paste(Image.fromarray(tinted), ((legend.width - values.shape[1]) // 2, 0))
    canvas.paste(legend, (0, values.shape[0]))
    return np.array(canvas)


def _tint(
    rgb: NDArray[np.uint8], labels: NDArray[np.uint16], classes: ClassList
) -> NDArray[np.uint8]:
    """Regions mixed with their class's colour, a line in the full colour and a light one around."""
    from skimage.morphology import dilation, footprint_rectangle
    from skimage.segmentation import find_boundaries

    colors = np.zeros((max(classes.ids) + 1, 3), np.uint8)
    colors[list(classes.ids)] = [entry.color for entry in classes]
    tinted = rgb.copy()
    inside = labels > 0
    mixed = (1 - TINT) * rgb[inside] + TINT * colors[labels[inside]]
    tinted[inside] = np.rint(mixed).astype(np.uint8)

    side = 1 + 2 * round(min(labels.shape) / 700)  # odd, for a line as thick on each side
    thick = footprint_rectangle((side, side))
    halo = dilation(find_boundaries(labels, mode="outer"), thick)
    line = dilation(find_boundaries(labels, mode="inner"), thick) & inside
    tinted[halo] = PAPER
    tinted[line] = colors[labels[line]]
    return tinted


def _legend(entries: list[ClassEntry], width: int, size: int) -> Image.Image:
    """A strip of a swatch and the name of each class, in as many rows as they need."""
    font = _font("".join(entry.name for entry in entries), size)
    gap = size // 2
    # A picture narrower than a few words gets margins; a name longer than the strip is cut.
    width = max(width, 12 * size)
    names = [_fitting(entry.name, font, width - 3 * gap - size) for entry in entries]
    places: list[tuple[int, int]] = []
    x, y = gap, gap
    for name in names:
        length = size + gap + round(font.getlength(name))
        if x > gap and x + length > width - gap:
            x, y = gap, y + size + gap
        places.append((x, y))
        x += length + 2 * gap

    strip = Image.new("RGB", (width, y + size + gap if names else 0), PAPER)
    draw = ImageDraw.Draw(strip)
    for entry, name, (x, y) in zip(entries, names, places, strict=True):
        box = (x, y, x + size - 1, y + size - 1)
        draw.rounded_rectangle(box, radius=size // 5, fill=entry.color, outline=INK)
        draw.text((x + size + gap, y + size / 2), name, fill=INK, font=font, anchor="lm")
    return strip


def _fitting(name: str, font: ImageFont.FreeTypeFont, room: int) -> str:
    """The name, cut so that it is at most `room` pixels long."""
    if font.getlength(name) <= room:
        return name
    while name and font.getlength(name + "…") > room:
        name = name[:-1]
    return name + "…"


def _font(letters: str, size: int) -> ImageFont.FreeTypeFont:
    """Pillow's own font, or one of the system's for letters that it does not have."""
    own = ImageFont.load_default(size)
    assert isinstance(own, ImageFont.FreeTypeFont)
    if letters.isascii():
        return own
    for name in SYSTEM_FONTS:
        try:
            font = ImageFont.truetype(name, size)
        except OSError:  # not on this machine
            continue
        if _has(font, letters):
            return font
    return own


def _has(font: ImageFont.FreeTypeFont, letters: str) -> bool:
    """Whether the font draws none of these letters as it draws what no font has."""
    unknown = bytes(font.getmask("\uffff"))
    return all(bytes(font.getmask(letter)) != unknown for letter in set(letters))
