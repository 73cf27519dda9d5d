"""TIFF files that would fill the memory, or never end."""

import struct
import zlib

import numpy as np
import pytest
import tifffile

from napari_cliper.errors import NapariCliperError
from napari_cliper.files import tiff_bounds
from napari_cliper.files.formats import formats
from napari_cliper.files.importing import read_annotations, recognized
from napari_cliper.files.pictures import has_pages, read_pages, read_picture
from napari_cliper.files.tiff_bounds import check_chain, check_unpacked


def packed_bomb(path, compression):
    """A TIFF file of 16 x 16 pixels that says to hold 512 MiB of zeros."""
    tifffile.imwrite(path, np.zeros((16, 16), np.uint16), compression=compression)
    with tifffile.TiffFile(path) as tiff:
        tags = tiff.pages[0].tags
        places = [tags[name].valueoffset for name in ("StripOffsets", "StripByteCounts")]
    packer = zlib.compressobj()
    bomb = b"".join(packer.compress(bytes(2**24)) for _ in range(32)) + packer.flush()
    content = bytearray(path.read_bytes())
    for place, value in zip(places, (len(content), len(bomb)), strict=True):
        content[place : place + 4] = struct.pack("<I", value)
    path.write_bytes(content + bomb)


def test_a_tiff_that_unpacks_to_more_than_it_is_is_refused(tmp_path):
    path = tmp_path / "bomb.tif"
    packed_bomb(path, "zlib")
    with pytest.raises(NapariCliperError, match="unpacks to more than the whole picture"):
        list(read_annotations(path, formats()["ome-tiff"]))
    with pytest.raises(NapariCliperError, match="unpacks to more than the whole picture"):
        read_picture(path)


@pytest.mark.parametrize("compression", ["zlib", "lzma"])
def test_dense_labels_are_none(tmp_path, monkeypatch, compression):
    path = tmp_path / "dense.tif"
    tifffile.imwrite(path, np.zeros((300, 500), np.uint16), compression=compression, tile=(64, 64))
    monkeypatch.setattr(tiff_bounds, "HARMLESS", 1)  # each tile is looked at
    with tifffile.TiffFile(path) as tiff:
        check_unpacked(tiff.pages[0])


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize(("pages", "back"), [(1, 0), (3, 0), (3, 1), (150, 120)])
def test_pages_that_lead_in_a_circle_are_refused(tmp_path, bigtiff, pages, back):
    path = tmp_path / "circle.tif"
    with tifffile.TiffWriter(path, bigtiff=bigtiff) as writer:
        for _ in range(pages):
            writer.write(np.zeros((16, 16), np.uint16), metadata=None)
    with tifffile.TiffFile(path) as tiff:
        check_chain(tiff)
        form, offsets = tiff.tiff, [page.offset for page in tiff.pages]
    content = bytearray(path.read_bytes())
    (tags,) = struct.unpack_from(form.tagnoformat, content, offsets[-1])
    end = offsets[-1] + form.tagnosize + tags * form.tagsize
    struct.pack_into(form.offsetformat, content, end, offsets[back])
    path.write_bytes(content)
    assert recognized(path) is None
    for read in (
        read_picture,
        has_pages,
        lambda path: list(read_pages(path)),
        lambda path: list(read_annotations(path, formats()["ome-tiff"])),
    ):
        with pytest.raises(NapariCliperError, match="lead in a circle"):
            read(path)
