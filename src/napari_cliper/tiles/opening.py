"""Large pictures in files: Zarr folders and TIFF files are read window by window."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_cliper.errors import NapariCliperError
from napari_cliper.files.pictures import explained, read_picture
from napari_cliper.files.tiff_bounds import check_chain
from napari_cliper.files.zarr_bounds import check_chunks
from napari_cliper.tiles.picture import Lazy

COLORS = (3, 4)


@contextmanager
def open_picture(path: Path) -> Iterator[Sequence[Lazy]]:
    """A file's picture and its smaller copies, as `segment_tiled` takes them.

    Parameters
    ----------
    path : Path
        A Zarr folder (an array, or OME-Zarr), a TIFF file (OME-TIFF and pyramids too), or a picture
        as `read_picture` reads it, which must fit into memory.

    Yields
    ------
    sequence of arrays
        (H, W) or (H, W, C), the largest first; to be read inside the `with` block.

    Raises
    ------
    NapariCliperError
        It cannot be opened, or holds several planes.
    """
    if path.is_dir():
        with explained(path):
            levels = _zarr_levels(path)
        yield [_one_plane(level, path) for level in levels]
    elif path.suffix.lower() in (".tif", ".tiff"):
        with _tiff_levels(path) as levels:
            yield [_one_plane(level, path) for level in levels]
    else:
        yield [read_picture(path)]


def _zarr_levels(path: Path) -> list[Lazy]:
    import zarr

    if not any((path / name).is_file() for name in ("zarr.json", ".zgroup", ".zarray")):
        raise NapariCliperError(f"“{path}” is no Zarr folder: give one, or a picture's file.")
    root = zarr.open(path, mode="r")
    if isinstance(root, zarr.Array):
        check_chunks(root, path)
        return [root]
    described: Any = root.attrs.get("ome", root.attrs)
    scales = described.get("multiscales")
    if not scales:
        raise NapariCliperError(f"“{path}” holds no picture that OME-Zarr knows: give its array.")
    levels: list[Any] = [root[entry["path"]] for entry in scales[0]["datasets"]]
    for level in levels:
        check_chunks(level, path)
    return levels


@contextmanager
def _tiff_levels(path: Path) -> Iterator[list[Lazy]]:
    import tifffile
    import zarr

    with explained(path):
        tiff = tifffile.TiffFile(path)
    with tiff:
        with explained(path):
            check_chain(tiff)
            first = tiff.series[0]
            levels: list[Any]
            if len(first.levels) == 1 and first.dataoffset is not None:
                # Often one strip, which a store would read as a whole.
                levels = [tifffile.memmap(path, series=0, mode="r")]
            else:
                levels = [
                    zarr.open(first.aszarr(level=number), mode="r")
                    for number in range(len(first.levels))
                ]
            # Its decoder may be missing, or the file cut short: that shows in a corner.
            np.asarray(levels[-1][(slice(0, 1),) * len(levels[-1].shape)])
        yield levels


def _one_plane(level: Lazy, path: Path) -> Lazy:
    """The array with rows and columns first."""
    shape = tuple(level.shape)
    # What lies before the plane: OME's files have axes for time, channel and depth.
    ends = 3 if shape[-1] in (1, *COLORS) and len(shape) > 2 else 2
    before = shape[: len(shape) - ends]
    channels = before and before[-1] in COLORS and ends == 2
    if any(side != 1 for side in (before[:-1] if channels else before)):
        raise NapariCliperError(
            f"“{path}” has {' × '.join(map(str, shape))} values, which is more than one plane: "
            "save the plane that is meant by itself."
        )
    return _Plane(level, len(before), bool(channels)) if before else level


@dataclass(frozen=True, eq=False)
class _Plane:
    """An array's last two or three axes.

    Attributes
    ----------
    array : Lazy
    before : int
        How many axes come before the rows.
    channels : bool
        Whether the last of these are the colours.
    """

    array: Lazy
    before: int
    channels: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W) or (H, W, C)."""
        own = tuple(self.array.shape)
        return own[self.before :] + (own[self.before - 1 : self.before] if self.channels else ())

    @property
    def dtype(self) -> Any:
        """Of the array."""
        return self.array.dtype

    def __getitem__(self, part: tuple[slice, slice]) -> Any:
        if not self.channels:
            return self.array[(0,) * self.before + part]
        colors = self.array[(0,) * (self.before - 1) + (slice(None), *part)]
        return np.moveaxis(np.asarray(colors), 0, -1)
