"""Sizes by headers, of pictures that lie on their side too; and the truth of such pictures."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_cliper.errors import NapariCliperError
from napari_cliper.evaluation.datasets.dataset import Sample, check_sizes
from napari_cliper.evaluation.datasets.sizes import stored_size, upright_size
from napari_cliper.files.pictures import read_picture

WIDE, TALL = (8, 16), (16, 8)  # height and width


def save(path: Path, orientation: int) -> Path:
    """A wide picture as stored, with EXIF's orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", WIDE[::-1]).save(path, exif=exif)
    return path


def sample(path: Path, size: tuple[int, int]) -> Sample:
    return Sample(path.stem, path, lambda: np.zeros(size, np.uint16), lambda: size)


def behind(path: Path) -> None:
    """Put what a PNG says of its orientation behind its pixels."""
    content = path.read_bytes()
    place = content.index(b"eXIf") - 4
    (length,) = struct.unpack(">I", content[place : place + 4])
    chunk = content[place : place + 12 + length]
    assert zlib.crc32(chunk[4:-4]) == struct.unpack(">I", chunk[-4:])[0]
    rest = content.replace(chunk, b"")
    end = rest.index(b"IEND") - 4
    path.write_bytes(rest[:end] + chunk + rest[end:])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp"])
def test_the_header_tells_the_size_that_is_read(
    ending: str, orientation: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / f"a.{ending}", orientation)
    shape = read_picture(path).shape[:2]
    assert shape == (TALL if orientation > 4 else WIDE)
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    assert upright_size(path) == shape
    assert stored_size(path) == (shape if ending == "tif" else WIDE)  # as Pillow decodes them


def test_a_picture_on_its_side_has_upright_truth(tmp_path: Path) -> None:
    turned = save(tmp_path / "turned.jpg", 6)
    check_sizes([sample(turned, TALL)])
    # Truth that somebody drew on the picture as it is stored does not fit.
    says = "The truth of “turned” has 8 × 16 pixels, its picture 16 × 8: export it again"
    with pytest.raises(NapariCliperError, match=says):
        check_sizes([sample(turned, WIDE)])


def test_what_a_png_says_behind_its_pixels_is_believed(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", 8)
    behind(path)
    assert read_picture(path).shape[:2] == TALL
    check_sizes([sample(path, TALL)])


def test_what_no_header_tells_is_left_for_later(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    for size in (stored_size, upright_size):
        assert size(tmp_path / "a.png") is None
        assert size(tmp_path / "b.png") is None
    check_sizes([sample(tmp_path / "a.png", WIDE)])
    plain = save(tmp_path / "plain.jpg", 1)
    check_sizes([Sample("plain", plain, lambda: np.zeros(TALL, np.uint16))])
