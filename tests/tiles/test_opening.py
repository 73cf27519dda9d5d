import struct
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import tifffile
import zarr
from PIL import Image

from napari_cliper.cliper.steps import drain
from napari_cliper.errors import NapariCliperError
from napari_cliper.tiles.opening import open_picture
from napari_cliper.tiles.picture import Picture

CAT = skimage.data.cat()
PART = slice(100, 200), slice(50, 300)


def window(path: Path) -> np.ndarray:
    with open_picture(path) as levels:
        return drain(Picture.of(levels)).read(PART)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tile": (64, 64)},
        {"rowsperstrip": 300},
        {"compression": "zlib", "tile": (64, 64)},
        {"bigtiff": True},
    ],
)
def test_tiff_files(tmp_path: Path, options: dict) -> None:
    tifffile.imwrite(tmp_path / "cat.tif", CAT, photometric="rgb", **options)
    np.testing.assert_array_equal(window(tmp_path / "cat.tif"), CAT[PART])


def test_colours_one_after_the_other(tmp_path: Path) -> None:
    planar = np.moveaxis(CAT, -1, 0)
    tifffile.imwrite(tmp_path / "cat.tif", planar, photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(window(tmp_path / "cat.tif"), CAT[PART])


def test_a_pyramid(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "cat.ome.tif") as tiff:
        tiff.write(CAT, photometric="rgb", tile=(64, 64), subifds=1)
        tiff.write(CAT[::2, ::2], photometric="rgb", tile=(64, 64), subfiletype=1)
    with open_picture(tmp_path / "cat.ome.tif") as levels:
        assert [level.shape for level in levels] == [(300, 451, 3), (150, 226, 3)]
        np.testing.assert_array_equal(np.asarray(levels[0][PART]), CAT[PART])


@pytest.mark.parametrize("version", [2, 3])
def test_a_zarr_array(tmp_path: Path, version: int) -> None:
    zarr.create_array(tmp_path / "cat.zarr", data=CAT, chunks=(64, 64, 3), zarr_format=version)
    np.testing.assert_array_equal(window(tmp_path / "cat.zarr"), CAT[PART])


@pytest.mark.parametrize("version", [2, 3])
def test_ome_zarr(tmp_path: Path, version: int) -> None:
    root = zarr.create_group(tmp_path / "cat.ome.zarr", zarr_format=version)
    first = np.moveaxis(CAT, -1, 0)[None, :, None]  # time, channel, depth
    root.create_array(
        "0", data=np.ascontiguousarray(first.swapaxes(1, 2)), chunks=(1, 1, 3, 64, 64)
    )
    scales = [{"datasets": [{"path": "0"}]}]
    root.attrs.update({"multiscales": scales} if version == 2 else {"ome": {"multiscales": scales}})
    np.testing.assert_array_equal(window(tmp_path / "cat.ome.zarr"), CAT[PART])


def test_other_pictures(tmp_path: Path) -> None:
    Image.fromarray(CAT).save(tmp_path / "cat.png")
    np.testing.assert_array_equal(window(tmp_path / "cat.png"), CAT[PART])


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "stack.tif", np.zeros((5, 300, 300), np.uint8))
    (tmp_path / "text.tif").write_text("no picture")
    (tmp_path / "empty").mkdir()
    zarr.create_group(tmp_path / "group.zarr")
    for name, says in {
        "stack.tif": "more than one plane",
        "text.tif": "damaged",
        "missing.tif": "no file",
        "missing.png": "no file",
        "empty": "no Zarr folder",
        "group.zarr": "holds no picture",
    }.items():
        with pytest.raises(NapariCliperError, match=says), open_picture(tmp_path / name):
            pass


def test_pages_that_lead_in_a_circle(tmp_path: Path) -> None:
    path = tmp_path / "circle.tif"
    tifffile.imwrite(path, CAT, photometric="rgb", tile=(64, 64))
    with tifffile.TiffFile(path) as tiff:
        form, page = tiff.tiff, tiff.pages.first.offset
    content = bytearray(path.read_bytes())
    (tags,) = struct.unpack_from(form.tagnoformat, content, page)
    end = page + form.tagnosize + tags * form.tagsize
    struct.pack_into(form.offsetformat, content, end, page)
    path.write_bytes(content)
    with pytest.raises(NapariCliperError, match="lead in a circle"), open_picture(path):
        pass


def test_chunks_larger_than_memory_are_not_unpacked(tmp_path: Path) -> None:
    huge = {"shape": (300, 300), "chunks": (2**16, 2**16), "dtype": np.uint8}
    zarr.create_array(tmp_path / "array.zarr", **huge)
    group = zarr.create_group(tmp_path / "levels.zarr")
    group.create_array("0", **huge)
    group.attrs["ome"] = {"multiscales": [{"datasets": [{"path": "0"}]}]}
    for name in ("array.zarr", "levels.zarr"):
        with (
            pytest.raises(NapariCliperError, match="smaller chunks"),
            open_picture(tmp_path / name),
        ):
            pass
