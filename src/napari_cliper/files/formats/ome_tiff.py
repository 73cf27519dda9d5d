"""OME-TIFF: labels of stacks with the size of a pixel, for Fiji, QuPath, bioio and OMERO.

The class list lies in the OME-XML as a map annotation, which other readers show or pass over. It is
ASCII JSON there: XML cannot hold every letter that a class name can.
"""

import hashlib
import json
import math
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_cliper.annotation.annotation import VOID, Annotation, checked_labels, with_all
from napari_cliper.annotation.class_list import ClassList
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.formats.format import Format, Keeps, Options
from napari_cliper.files.indexed_png import KEY
from napari_cliper.files.nearby import classes_near, picture_near
from napari_cliper.files.objects import without_void
from napari_cliper.files.pictures import explained
from napari_cliper.files.tiff_bounds import check_chain, check_unpacked

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPageSeries  # loaded only when such a file is met

AXES = {2: "YX", 3: "ZYX", 4: "TZYX", 5: "TCZYX"}
ENDINGS = (".ome.tif", ".ome.tiff", ".tif", ".tiff")
MOST = 4_000_000_000  # labels that are read from a file
LABELS = "_labels"  # what names of label pictures end in
_SIZES = {
    "X": ("PhysicalSizeX", "PhysicalSizeXUnit", "µm"),
    "Y": ("PhysicalSizeY", "PhysicalSizeYUnit", "µm"),
    "Z": ("PhysicalSizeZ", "PhysicalSizeZUnit", "µm"),
    "T": ("TimeIncrement", "TimeIncrementUnit", "s"),
}  # of each axis: the attribute of its size, that of the unit, and the unit where none is written
_PREFIXES = {
    "pico": "p",
    "nano": "n",
    "micro": "µ",
    "milli": "m",
    "centi": "c",
    "": "",
    "kilo": "k",
}
_SYMBOLS = {
    prefix + unit: mark + symbol
    for unit, symbol in (("meter", "m"), ("second", "s"))
    for prefix, mark in _PREFIXES.items()
} | {
    "angstrom": "Å", "inch": "in", "foot": "ft", "yard": "yd", "mile": "mi",
    "minute": "min", "hour": "h", "day": "d", "pixel": "pixel",
}  # fmt: skip
_UNITS = {symbol: unit for unit, symbol in _SYMBOLS.items()}


def write(annotations: Iterable[Annotation], folder: Path, options: Options) -> None:
    """Write `{name}.ome.tif` of each."""
    import tifffile

    for annotation in annotations:
        axes, labels, classes = prepared(annotation, options)
        channels = labels.shape[axes.index("C")] if "C" in axes else 1
        text = json.dumps(classes.model_dump(mode="json"))  # \u for what is not ASCII
        metadata = {
            "axes": axes,
            "Name": annotation.name,
            "Channel": {"Name": ["labels"] * channels},
            "MapAnnotation": {"Namespace": KEY, KEY: text, "axes": axes},
            # The same file for the same labels; tifffile's own would hold the computer's address.
            "UUID": _uuid(annotation.name, labels, text),
            **_sizes(annotation, axes),
        }
        tifffile.imwrite(
            folder / f"{annotation.name}.ome.tif",
            labels,
            ome=True,
            photometric="minisblack",
            compression="zlib",
            metadata=metadata,
        )


def prepared(
    annotation: Annotation, options: Options
) -> tuple[str, NDArray[np.unsignedinteger[Any]], ClassList]:
    """What OME can hold of an annotation.

    Returns
    -------
    axes : str
        A letter for each axis, of TCZYX.
    labels : (..., H, W) uint8 or uint16
    classes : ClassList

    Raises
    ------
    NapariCliperError
        It has more than five axes.
    """
    ndim = annotation.labels.ndim
    if ndim not in AXES:
        raise NapariCliperError(
            f"“{annotation.name}” has {ndim} axes, and OME holds 2 to {max(AXES)}: "
            "export fewer planes."
        )
    annotation = without_void(annotation, options)
    classes = annotation.classes
    narrow = max(classes.ids) <= 255
    return AXES[ndim], annotation.labels.astype(np.uint8 if narrow else np.uint16), classes


def check_total(path: Path, shape: Iterable[int]) -> None:
    """Refuse more labels, of all planes together, than anybody has memory for.

    Raises
    ------
    NapariCliperError
    """
    if (total := math.prod(shape)) > MOST:
        raise NapariCliperError(
            f"“{path}” holds {total} labels, and at most {MOST} are read: crop it or split it."
        )


def recognizes(path: Path) -> bool:
    """Whether a file has our classes inside, or is called labels and fits a list near it."""
    import tifffile

    name = path.name.lower()
    if not name.endswith(ENDINGS) or not path.is_file():
        return False
    try:
        with explained(path), tifffile.TiffFile(path) as tiff:
            if KEY in _notes(tiff):
                return True
        near = classes_near(path) if _stem(name).endswith(LABELS) else None
        if near is None:
            return False
        (found,) = read(path, None)
        return set(found.classes.ids) <= {*near.ids, VOID}
    except NapariCliperError:
        return False


def read(path: Path, pictures: Path | None) -> Iterator[Annotation]:
    """Read the first series of a file, ours or any of whole numbers."""
    import tifffile

    with explained(path), tifffile.TiffFile(path) as tiff:
        check_chain(tiff)
        notes = _notes(tiff)
        series = tiff.series[0]
        labels, axes = _labels(path, series, notes.get("axes", ""))
        scale, units = _placement(tiff, axes)
        more = len(tiff.series) - 1
    text = notes.get(KEY)
    try:
        classes = classes_near(path) if text is None else ClassList.from_json(text)
    except NapariCliperError as error:
        raise NapariCliperError(f"In “{path}”: {error}") from error
    remarks = [] if classes else [f"“{path.name}” tells no class names: they are its labels."]
    if more:
        remarks.append(f"“{path.name}” holds {more + 1} pictures: the first was read.")
    name = _stem(path.name)
    picture = picture_near(name.removesuffix(LABELS), path, pictures)
    yield Annotation(
        name,
        labels,
        with_all(classes, labels),
        picture=picture if picture != path else None,
        scale=scale,
        units=units,
        remarks=tuple(remarks),
    )


def _stem(name: str) -> str:
    ending = next((end for end in ENDINGS if name.lower().endswith(end)), "")
    return name[: len(name) - len(ending)]


def _xml(tiff: "TiffFile") -> ElementTree.Element | None:
    """What OME-TIFF tells about itself; None in another TIFF."""
    text = tiff.ome_metadata if tiff.is_ome else None
    # tifffile has to parse it too, and expat itself stops entities that blow up.
    return None if text is None else ElementTree.fromstring(text)  # noqa: S314  # nosec B314


def _notes(tiff: "TiffFile") -> dict[str, str]:
    """Our map annotation; {} in others' files."""
    # Others' may be long.
    root = _xml(tiff) if KEY in (tiff.ome_metadata or "") else None
    path = f".//{{*}}MapAnnotation[@Namespace='{KEY}']/{{*}}Value/{{*}}M"
    found = [] if root is None else root.findall(path)
    return {item.get("K", ""): item.text or "" for item in found}


def _labels(path: Path, series: "TiffPageSeries", wanted: str) -> tuple[NDArray[np.uint16], str]:
    """The labels, and a letter for each axis: those wanted if the others are of length 1."""
    sizes = dict(zip(series.get_axes(False), series.get_shape(False), strict=True))
    if sizes.get("S", 1) != 1 or series.dtype is None or series.dtype.kind not in "bui":
        raise NapariCliperError(
            f"“{path}” holds colours or fractions, not labels: give a TIFF of whole numbers."
        )
    _check_whole(path, series)
    axes, shape = series.get_axes(True), series.get_shape(True)
    others = {axis for axis, size in sizes.items() if size != 1}
    if wanted and others <= set(wanted) <= set(sizes):
        axes, shape = wanted, tuple(sizes[axis] for axis in wanted)
    return checked_labels(_pixels(path, series).reshape(shape)), axes


def _check_whole(path: Path, series: "TiffPageSeries") -> None:
    """Refuse absurd sizes, and a file that lacks planes: tifffile would make them zeros."""
    page = series.keyframe
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and page.imagewidth * page.imagelength > 2 * limit:
        raise Image.DecompressionBombError
    check_total(path, series.get_shape(False))
    for part in series.pages:
        if part is not None:
            check_unpacked(part)
    there = sum(one is not None for one in series.pages)
    if series.dataoffset is None and there * page.size < math.prod(series.get_shape(False)):
        raise NapariCliperError(
            f"“{path}” lacks some of its planes: copy or download it again, with all its files."
        )


def _pixels(path: Path, series: "TiffPageSeries") -> NDArray[Any]:
    import tifffile

    known = series.keyframe.compression in tifffile.TIFF.DECOMPRESSORS
    if known or series.is_multifile:
        return np.asarray(series.asarray(squeeze=False))
    # LZW and others without imagecodecs: libtiff, in Pillow, knows them.
    planes = []
    with Image.open(path, formats=["TIFF"]) as picture:
        for index in (page.index for page in series.pages if page is not None):
            picture.seek(index)
            planes.append(np.array(picture))
    return np.stack(planes)


def _uuid(name: str, labels: NDArray[Any], text: str) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(labels).data)
    digest.update(f"{name}\0{labels.shape}\0{text}".encode())
    return str(uuid.uuid5(uuid.NAMESPACE_OID, digest.hexdigest()))


def _sizes(annotation: Annotation, axes: str) -> dict[str, Any]:
    """The size of a pixel and the time between pictures, as attributes of OME's."""
    if not annotation.scale and not annotation.units:
        return {}
    scale = annotation.scale or (1.0,) * len(axes)
    units = annotation.units or ("pixel",) * len(axes)
    found: dict[str, Any] = {}
    for axis, size, unit in zip(axes, scale, units, strict=True):
        # OME wants sizes above 0, and has none for channels.
        if axis in _SIZES and 0 < size < math.inf:
            attribute, of_unit, _ = _SIZES[axis]
            symbol = _SYMBOLS.get(unit or "pixel", unit)
            found[attribute] = float(size)
            found[of_unit] = symbol if symbol in _UNITS else "reference frame"
    return found


def _placement(tiff: "TiffFile", axes: str) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """Scale and units along each axis; () where they say no more than pixels."""
    root = _xml(tiff)
    pixels = None if root is None else root.find(".//{*}Pixels")
    scale, units = [], []
    for axis in axes:
        attribute, of_unit, default = _SIZES.get(axis, ("", "", ""))
        size = None if pixels is None else pixels.get(attribute)
        known = size is not None and 0 < float(size) < math.inf
        scale.append(float(size) if size is not None and known else 1.0)
        symbol = pixels.get(of_unit, default) if pixels is not None and known else ""
        units.append(_UNITS.get(symbol, "pixel"))
    real = any(unit != "pixel" for unit in units)
    known = real or any(size != 1 for size in scale)
    return tuple(scale) if known else (), tuple(units) if real else ()


FORMAT = Format(
    key="ome-tiff",
    title="OME-TIFF labels",
    rank=50,
    suffix=".ome.tif",
    keeps=Keeps(
        note="8-bit, or 16-bit beyond label 255, with up to five axes, compressed without loss. "
        "The class list is inside the file, as a map annotation, and so are the sizes of pixels. "
        "The class called void is left out."
    ),
    write=write,
    recognizes=recognizes,
    read=read,
    stacks=True,
)
