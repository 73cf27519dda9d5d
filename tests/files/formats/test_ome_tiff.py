import json
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile
from PIL import Image

from annotations import ours
from napari_cliper.annotation.annotation import Annotation, foreign_classes
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.exporting import export
from napari_cliper.files.formats import Options, format_of, ome_tiff
from napari_cliper.files.importing import read_annotations, recognized

OME = format_of("ome-tiff")
ODD = foreign_classes(
    {
        1: "control \x01 \x7f",
        2: '<tag attribute="x"> & ]]>',
        3: "😀 {braces}",
        4: "\ufffe",
        9: "a:b",
    }
)


def random(shape, classes=ODD):
    return np.random.default_rng(0).choice([0, *classes.ids], shape).astype(np.uint16)


def written(folder, shape=(5, 7), classes=ODD, options=Options(), **more):
    annotation = Annotation("photo", random(shape, classes), classes, **more)
    export([annotation], OME, folder, options)
    return folder / "photo.ome.tif"


def told(path):
    """What the file tells about itself, parsed as strictly as XML is."""
    with tifffile.TiffFile(path) as tiff:
        return ElementTree.fromstring(tiff.ome_metadata)  # noqa: S314  # our own


def read(path):
    (found,) = read_annotations(path, OME)
    return found


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((5, 7), "YX"),
        ((2, 5, 3), "ZYX"),  # three columns are no colours
        ((2, 3, 5, 4), "TZYX"),
        ((2, 3, 2, 5, 6), "TCZYX"),
    ],
)
def test_other_programs_see_the_axes(tmp_path, shape, axes):
    path = written(tmp_path, shape)
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_ome
        (series,) = tiff.series
        assert (series.axes, series.shape, series.dtype) == (axes, shape, np.uint8)
        np.testing.assert_array_equal(series.asarray(), random(shape))
    channels = told(path).findall(".//{*}Channel")
    assert [channel.get("Name") for channel in channels] == ["labels"] * (3 if "C" in axes else 1)


def test_more_than_8_bits_where_they_are_needed(tmp_path):
    path = written(tmp_path, classes=foreign_classes({1: "cat", 256: "dog"}))
    with tifffile.TiffFile(path) as tiff:
        assert tiff.pages.first.dtype == np.uint16


def test_axes_of_length_one_come_back(tmp_path):
    for number, shape in enumerate([(1, 1), (1, 1, 1), (1, 4, 1, 5), (2, 1, 1, 4, 4)]):
        assert read(written(tmp_path / str(number), shape)).labels.shape == shape


def test_the_size_of_a_pixel(tmp_path):
    scale = (60.0, 1.0, 2.5, 0.1 + 0.2, 0.5)
    units = ("second", "pixel", "nanometer", "micrometer", "micrometer")
    path = written(tmp_path, (2, 3, 2, 5, 6), scale=scale, units=units)
    pixels = told(path).find(".//{*}Pixels")
    assert pixels.get("PhysicalSizeY") == "0.30000000000000004"
    assert pixels.get("PhysicalSizeYUnit") == "µm"
    assert pixels.get("PhysicalSizeZUnit") == "nm"
    assert (pixels.get("TimeIncrement"), pixels.get("TimeIncrementUnit")) == ("60.0", "s")
    assert (read(path).scale, read(path).units) == (scale, units)


@pytest.mark.parametrize(
    ("scale", "units", "found"),
    [
        ((), (), ((), ())),
        ((2.0, 0.5), (), ((2.0, 0.5), ())),
        ((), ("micrometer", "micrometer"), ((1.0, 1.0), ("micrometer", "micrometer"))),
        ((2.0, 0.5), ("", "furlong"), ((2.0, 0.5), ())),  # OME has no such unit
        ((0.0, 0.5), ("meter", "meter"), ((1.0, 0.5), ("pixel", "meter"))),  # nor such a size
    ],
)
def test_sizes_that_are_not_known(tmp_path, scale, units, found):
    path = written(tmp_path, scale=scale, units=units)
    assert (read(path).scale, read(path).units) == found


def test_the_same_labels_make_the_same_file(tmp_path):
    one, two = (written(tmp_path / name).read_bytes() for name in "ab")
    assert one == two


def test_the_void_is_left_out(tmp_path):
    path = written(tmp_path, classes=ours("cat", "void"), options=Options(void="void"))
    assert read(path).classes == ours("cat")
    np.testing.assert_array_equal(tifffile.imread(path), random((5, 7), ours("cat", "void")) == 1)


def test_six_axes_are_refused(tmp_path):
    with pytest.raises(NapariCliperError, match="has 6 axes, and OME holds 2 to 5: export fewer"):
        written(tmp_path, (1, 1, 1, 1, 2, 2))


def test_fijis_labels_are_read_with_the_classes_near_them(tmp_path):
    path = tmp_path / "photo_labels.tif"
    labels = random((3, 5, 7), ours("cat", "dog"))
    tifffile.imwrite(path, labels, imagej=True, metadata={"axes": "ZYX"})
    Image.new("L", (7, 5)).save(tmp_path / "photo.png")
    assert recognized(path) is None
    assert read(path).remarks == ("“photo_labels.tif” tells no class names: they are its labels.",)
    (tmp_path / "classes.json").write_text(ours("cat", "dog").to_json())
    assert recognized(path) is OME
    found = read(path)
    assert (found.name, found.classes) == ("photo_labels", ours("cat", "dog"))
    assert found.picture == tmp_path / "photo.png"
    np.testing.assert_array_equal(found.labels, labels)
    (tmp_path / "classes.json").write_text(ours("cat").to_json())
    assert recognized(path) is None


def test_bioios_sizes_are_read(tmp_path):
    path = tmp_path / "cells.OME.TIFF"
    metadata = {"axes": "TZCYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 2}
    tifffile.imwrite(path, random((1, 2, 1, 5, 7)), ome=True, metadata=metadata)
    found = read(path)
    assert found.name == "cells"
    assert found.labels.shape == (2, 5, 7)
    # Where no unit is written, OME means micrometers.
    assert (found.scale, found.units) == ((2.0, 0.5, 0.5), ("micrometer",) * 3)


def test_compression_that_tifffile_lacks_is_left_to_pillow(tmp_path):
    path = tmp_path / "stack.tif"
    planes = random((3, 5, 7)).astype(np.uint8)
    first, *others = map(Image.fromarray, planes)
    first.save(path, save_all=True, append_images=others, compression="tiff_lzw")
    np.testing.assert_array_equal(read(path).labels, planes)


def test_of_several_pictures_the_first_is_read(tmp_path):
    path = tmp_path / "two.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as tiff:
        tiff.write(random((5, 7)), photometric="minisblack")
        tiff.write(random((8, 9)), photometric="minisblack")
    found = read(path)
    assert found.labels.shape == (5, 7)
    assert found.remarks[-1] == "“two.ome.tif” holds 2 pictures: the first was read."


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((5, 7, 3), np.uint8), "holds colours or fractions, not labels: give"),
        (np.zeros((5, 7), np.float32), "holds colours or fractions, not labels: give"),
        (np.full((5, 7), 70000, np.uint32), "labels go from 70000 to 70000: keep them"),
        (np.full((5, 7), -1, np.int16), "labels go from -1 to -1: keep them"),
    ],
)
def test_what_is_no_labels_is_refused(tmp_path, pixels, message):
    path = tmp_path / "photo_labels.ome.tif"
    (tmp_path / "classes.json").write_text(ours("cat", "dog").to_json())
    kind = "rgb" if pixels.ndim == 3 else "minisblack"
    tifffile.imwrite(path, pixels, ome=True, photometric=kind)
    assert not OME.recognizes(path)
    with pytest.raises(NapariCliperError, match=message):
        read(path)


def test_missing_planes_are_refused(tmp_path):
    path = written(tmp_path, (3, 5, 7))
    path.write_bytes(path.read_bytes().replace(b'SizeZ="3"', b'SizeZ="9"'))
    with pytest.raises(NapariCliperError, match="lacks some of its planes: copy"):
        read(path)


def test_more_labels_than_fit_are_refused(tmp_path, monkeypatch):
    path = written(tmp_path, (3, 5, 7))
    monkeypatch.setattr(ome_tiff, "MOST", 104)
    with pytest.raises(NapariCliperError, match="holds 105 labels, and at most 104 are read"):
        read(path)


def test_absurd_sizes_are_refused(tmp_path, monkeypatch):
    path = written(tmp_path, (3, 5, 7))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 17)
    with pytest.raises(NapariCliperError, match="has too many pixels: make it smaller"):
        read(path)


def test_a_damaged_class_list_is_refused(tmp_path):
    path = written(tmp_path, classes=ours("cat"))
    content = path.read_bytes()
    assert content.count(b"&quot;id&quot;") == 1
    path.write_bytes(content.replace(b"&quot;id&quot;", b"&quot;ix&quot;"))
    assert recognized(path) is OME
    with pytest.raises(NapariCliperError, match=r"In “.*photo.ome.tif”: The class list is not"):
        read(path)


def test_the_class_list_is_plain_json(tmp_path):
    text = told(written(tmp_path)).find(".//{*}M[@K='napari-cliper']").text
    assert text.isascii()
    assert [entry["name"] for entry in json.loads(text)["classes"]] == list(ODD.names)


@pytest.mark.parametrize("size", ["nan", "inf", "-1", "0", "1e400"])
def test_a_size_that_no_pixel_can_have_is_not_known(tmp_path, size):
    path = written(tmp_path, scale=(2.0, 2.0), units=("micrometer",) * 2)
    with tifffile.TiffFile(path) as tiff:
        text = tiff.ome_metadata
    tifffile.tiffcomment(path, text.replace('SizeX="2.0"', f'SizeX="{size}"').encode())
    found = read(path)
    assert found.scale == (2, 1)
    assert found.units == ("micrometer", "pixel")
