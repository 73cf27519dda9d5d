import io
import os
import warnings

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from napari_cliper.errors import NapariCliperError
from napari_cliper.files.pictures import read_picture
from napari_cliper.images import to_rgb

RANDOM = np.random.default_rng(0)
RGB = RANDOM.integers(0, 256, (40, 50, 3), dtype=np.uint8)
DEEP = RANDOM.integers(0, 65536, (40, 50), dtype=np.uint16)
DEEP_RGB = RANDOM.integers(0, 65536, (40, 50, 3), dtype=np.uint16)
SMOOTH = np.dstack(np.broadcast_arrays(*np.ogrid[0:200:40j, 30:230:50j], 90)).astype(np.uint8)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp", "a.webp"])
def test_colours_come_back_exactly(tmp_path, name):
    Image.fromarray(RGB).save(tmp_path / name, lossless=True)
    picture = read_picture(tmp_path / name)
    np.testing.assert_array_equal(picture, RGB)
    assert picture.flags.writeable


@pytest.mark.parametrize("name", ["a.jpg", "a.webp"])
def test_colours_come_back_nearly(tmp_path, name):
    Image.fromarray(SMOOTH).save(tmp_path / name, quality=95)
    np.testing.assert_allclose(read_picture(str(tmp_path / name)), SMOOTH, atol=8)


def test_the_content_counts_not_the_name(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.jpg", "PNG")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.jpg"), RGB)


def test_the_first_frame_of_a_gif(tmp_path):
    frames = [
        Image.fromarray(np.full((30, 40, 3), colour, np.uint8)) for colour in ([200, 0, 0], 9)
    ]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    picture = read_picture(tmp_path / "a.gif")
    np.testing.assert_array_equal(picture, np.full((30, 40, 3), [200, 0, 0]))


def test_a_palette_becomes_colours(tmp_path):
    indexed = Image.fromarray(RGB).quantize(16)
    indexed.save(tmp_path / "a.png")
    np.testing.assert_array_equal(
        read_picture(tmp_path / "a.png"), np.array(indexed.convert("RGB"))
    )


def test_a_transparent_palette_becomes_colours_with_opacity(tmp_path):
    indexed = Image.fromarray(np.tile(np.arange(8, dtype=np.uint8), (20, 5)))
    indexed.putpalette(RGB[0, :8].tobytes())
    indexed.save(tmp_path / "a.png", transparency=3)
    picture = read_picture(tmp_path / "a.png")
    assert picture.shape == (20, 40, 4)
    np.testing.assert_array_equal(picture[0, :8, :3], RGB[0, :8])
    np.testing.assert_array_equal(picture[0, :8, 3], [255, 255, 255, 0, 255, 255, 255, 255])


@pytest.mark.parametrize(
    ("mode", "shape", "dtype"),
    [
        ("1", (40, 50), np.bool_),
        ("L", (40, 50), np.uint8),
        ("LA", (40, 50, 4), np.uint8),
        ("RGBA", (40, 50, 4), np.uint8),
    ],
)
def test_other_modes_of_png(tmp_path, mode, shape, dtype):
    image = Image.fromarray(RGB).convert(mode)
    image.save(tmp_path / "a.png")
    picture = read_picture(tmp_path / "a.png")
    assert (picture.shape, picture.dtype) == (shape, dtype)
    np.testing.assert_array_equal(to_rgb(picture), np.array(image.convert("RGB")))


def test_cmyk_becomes_rgb(tmp_path):
    image = Image.fromarray(SMOOTH).convert("CMYK")
    image.save(tmp_path / "a.jpg", quality=95)
    np.testing.assert_allclose(read_picture(tmp_path / "a.jpg"), SMOOTH, atol=8)


def test_16_bit_png(tmp_path):
    Image.fromarray(DEEP).save(tmp_path / "a.png")
    picture = read_picture(tmp_path / "a.png")
    assert picture.dtype == np.uint16
    np.testing.assert_array_equal(picture, DEEP)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_are_turned_upright(tmp_path, orientation):
    """A JPEG through Pillow; a deep TIFF by our own turning, which has to agree with Pillow's."""
    image = Image.fromarray(SMOOTH)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "a.jpg", exif=exif, quality=95)
    lossless = io.BytesIO()
    image.save(lossless, "PNG", exif=exif)
    upright = np.array(ImageOps.exif_transpose(Image.open(lossless)))
    np.testing.assert_allclose(read_picture(tmp_path / "a.jpg"), upright, atol=8)

    tifffile.imwrite(
        tmp_path / "a.tif",
        SMOOTH.astype(np.uint16) * 257,
        photometric="rgb",
        extratags=[(274, "H", 1, orientation, True)],
    )
    deep = read_picture(tmp_path / "a.tif")
    assert deep.flags.c_contiguous
    np.testing.assert_array_equal(deep, upright.astype(np.uint16) * 257)


@pytest.mark.parametrize("dtype", ["u2", ">u2", "i2", "u4", "i4", "f2", "f4", "f8", ">f4", "i1"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_deep_tiffs_come_back_exactly(tmp_path, dtype, compression):
    values = (DEEP.astype(float) - 30000).astype(dtype) if dtype[-2] != "u" else DEEP.astype(dtype)
    byteorder = ">" if dtype.startswith(">") else "<"
    tifffile.imwrite(tmp_path / "a.tif", values, compression=compression, byteorder=byteorder)
    picture = read_picture(tmp_path / "a.tif")
    assert (picture.dtype.kind, picture.dtype.itemsize) == (
        values.dtype.kind,
        values.dtype.itemsize,
    )
    np.testing.assert_array_equal(picture, values)


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_deep_colours_of_a_tiff(tmp_path, planar):
    stored = DEEP_RGB if planar == "contig" else np.moveaxis(DEEP_RGB, -1, 0)
    tifffile.imwrite(
        tmp_path / "a.tif", stored, photometric="rgb", planarconfig=planar, bigtiff=True
    )
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif"), DEEP_RGB)


def test_a_deep_tiff_whose_compression_only_pillow_knows(tmp_path):
    Image.fromarray(DEEP).save(tmp_path / "a.tif", compression="tiff_lzw")
    picture = read_picture(tmp_path / "a.tif")
    assert picture.dtype == np.uint16
    np.testing.assert_array_equal(picture, DEEP)


def test_the_first_page_of_a_stack(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.stack([DEEP, DEEP + 1]), photometric="minisblack")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif"), DEEP)


def encoded(name):
    if name == "deep.tif":
        stream = io.BytesIO()
        tifffile.imwrite(stream, DEEP)
    else:
        stream = io.BytesIO()
        Image.fromarray(RGB).save(stream, {"jpg": "JPEG", "tif": "TIFF"}.get(name, name))
    return stream.getvalue()


@pytest.mark.parametrize("name", ["png", "jpg", "tif", "deep.tif", "bmp", "webp", "gif"])
@pytest.mark.parametrize("part", [0.25, 0.5, 0.95])
def test_truncated_files(tmp_path, name, part, capfd):
    content = encoded(name)
    path = tmp_path / f"a.{name}"
    path.write_bytes(content[: int(len(content) * part)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about tags
        with pytest.raises(NapariCliperError, match=r"is damaged or cut short .*: copy") as raised:
            read_picture(path)
    assert path.name in str(raised.value)
    assert capfd.readouterr() == ("", "")  # no decoder has written its own account


@pytest.mark.parametrize("name", ["png", "jpg", "tif", "deep.tif", "bmp", "webp", "gif"])
def test_damaged_files_raise_nothing_else(tmp_path, name):
    """Bytes changed at random: a picture or one sentence, whatever the decoders make of it."""
    content = np.frombuffer(encoded(name), np.uint8)
    random = np.random.default_rng(1)
    outcomes = set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(60):
            damaged = content.copy()
            where = random.integers(0, min(len(damaged), 400), 6)
            damaged[where] = random.integers(0, 256, 6)
            (tmp_path / "a").write_bytes(damaged.tobytes())
            try:
                outcomes.add(read_picture(tmp_path / "a").ndim in (2, 3))
            except NapariCliperError as error:
                outcomes.add(str(error).count("\n"))
    assert outcomes <= {True, 0}
    assert 0 in outcomes


def test_what_is_not_there(tmp_path):
    with pytest.raises(NapariCliperError, match=r"There is no file “.*a.png”: check its name"):
        read_picture(tmp_path / "a.png")


def test_a_folder(tmp_path):
    with pytest.raises(NapariCliperError, match="is a folder: give a file in it"):
        read_picture(tmp_path)


@pytest.mark.parametrize("content", [b"", b"words", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\x89PNG\r\n"])
def test_what_is_not_a_picture(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(NapariCliperError, match="is no picture, or a damaged one: give a PNG"):
        read_picture(tmp_path / "a.png")


def test_a_name_the_system_refuses(tmp_path):
    with pytest.raises(NapariCliperError, match=r"cannot be read .*: check its name"):
        read_picture(tmp_path / ("x" * 300))


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(RGB).save(path)
    path.chmod(0)
    with pytest.raises(NapariCliperError, match="may not be read: change its permissions"):
        read_picture(path)


def test_a_decompression_bomb(tmp_path):
    """200 megapixels in a few kilobytes: refused before anything is unpacked."""
    Image.new("1", (20_000, 10_000)).save(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size < 100_000
    with pytest.raises(NapariCliperError, match="too many pixels: make it smaller"):
        read_picture(tmp_path / "a.png")


def test_a_deep_tiff_that_claims_to_be_huge(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", DEEP)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as tiff:
        for name in ("ImageWidth", "ImageLength"):
            tiff.pages.first.tags[name].overwrite(60_000)
    with pytest.raises(NapariCliperError, match="too many pixels"):
        read_picture(tmp_path / "a.tif")
