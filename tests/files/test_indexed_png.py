import os
import struct
import subprocess
import sys
import zlib
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from napari_cliper.annotation.class_list import ClassEntry, ClassList
from napari_cliper.annotation.palette import voc_palette
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.indexed_png import load_labels, save_labels

CLASSES = ClassList(
    classes=(
        ClassEntry(id=1, name="Katze", synonyms=("猫", "chat"), color=(250, 1, 2)),
        ClassEntry(id=2, name="sofa", color=(250, 1, 2)),  # the same colour: still another index
        ClassEntry(id=255, name="élan", color=(3, 4, 5)),
    ),
    background=("sky",),
    templates=("a photo of a {}.",),
)
LABELS = np.random.default_rng(0).choice([0, 1, 2, 255], (30, 41)).astype(np.uint16)


@dataclass(frozen=True)
class Labelling:
    """What the segmenter returns, as far as it is looked at here."""

    labels: np.ndarray
    classes: ClassList


def everything_in(folder):
    return sorted(path.name for path in folder.iterdir())


def kind_of(path):
    """Bit depth and colour type, from the file's header."""
    header = path.read_bytes()[:26]
    return header[24], header[25]


def test_labels_and_classes_come_back_exactly(tmp_path):
    path = tmp_path / "new" / "cat.png"
    save_labels(path, Labelling(LABELS, CLASSES))
    assert everything_in(path.parent) == ["cat.png", "classes.json"]
    labels, classes = load_labels(path)
    assert labels.dtype == np.uint16
    np.testing.assert_array_equal(labels, LABELS)
    assert classes == CLASSES
    assert ClassList.from_json((path.parent / "classes.json").read_text("utf-8")) == CLASSES


def test_other_programs_see_an_indexed_picture_in_the_classes_colours(tmp_path):
    save_labels(tmp_path / "cat.png", LABELS, CLASSES)
    assert kind_of(tmp_path / "cat.png") == (8, 3)
    with Image.open(tmp_path / "cat.png") as picture:
        assert picture.mode == "P"
        np.testing.assert_array_equal(np.array(picture), LABELS)
        seen = np.array(picture.convert("RGB"))
        palette = np.array(picture.getpalette()).reshape(-1, 3)
    colors = np.zeros((256, 3), np.uint8)
    colors[[1, 2, 255]] = [250, 1, 2], [250, 1, 2], [3, 4, 5]
    np.testing.assert_array_equal(seen, colors[LABELS])
    np.testing.assert_array_equal(palette[3:255], voc_palette()[3:255])


def test_more_classes_than_a_palette_holds(tmp_path):
    classes = ClassList.parse("\n".join(f"class {i}" for i in range(1, 257)))
    labels = np.arange(257).repeat(4).reshape(4, 257).astype(np.uint16)
    save_labels(tmp_path / "cat.png", labels, classes)
    assert kind_of(tmp_path / "cat.png") == (16, 0)
    loaded = load_labels(tmp_path / "cat.png")
    np.testing.assert_array_equal(loaded[0], labels)
    assert loaded[1] == classes


def test_the_largest_class_list(tmp_path):
    classes = ClassList.parse("\n".join(f"class {i}" for i in range(1, 65536)))
    labels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    save_labels(tmp_path / "cat.png", labels, classes)
    loaded = load_labels(tmp_path / "cat.png")
    np.testing.assert_array_equal(loaded[0], labels)
    assert loaded[1] == classes


@pytest.mark.parametrize("highest", [255, 256])
def test_labels_without_classes(tmp_path, highest):
    labels = np.array([[0, 3], [7, highest]])
    save_labels(tmp_path / "cat.png", labels)
    assert everything_in(tmp_path) == ["cat.png"]
    assert kind_of(tmp_path / "cat.png") == ((8, 3) if highest == 255 else (16, 0))
    loaded, classes = load_labels(tmp_path / "cat.png")
    np.testing.assert_array_equal(loaded, labels)
    assert classes is None


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int32, np.uint32, np.int64, ">u2"])
def test_labels_of_any_integer_type(tmp_path, dtype):
    labels = (LABELS == 1).astype(dtype)
    save_labels(tmp_path / "cat.png", labels, "cat = kitty")
    loaded, classes = load_labels(tmp_path / "cat.png")
    np.testing.assert_array_equal(loaded, labels)
    assert classes == ClassList.parse("cat = kitty")


def test_classes_given_beside_a_result_win(tmp_path):
    result = Labelling((LABELS == 1).astype(np.uint16), CLASSES)
    save_labels(tmp_path / "cat.png", result, "lion")
    assert load_labels(tmp_path / "cat.png")[1] == ClassList.parse("lion")


def test_classes_beside_the_picture_serve_where_it_has_none(tmp_path):
    save_labels(tmp_path / "a.png", LABELS, CLASSES)
    Image.fromarray(LABELS.astype(np.uint8)).save(tmp_path / "b.png")  # another program's
    labels, classes = load_labels(tmp_path / "b.png")
    np.testing.assert_array_equal(labels, LABELS)
    assert classes == CLASSES
    (tmp_path / "classes.json").unlink()
    assert load_labels(tmp_path / "a.png")[1] == CLASSES
    assert load_labels(tmp_path / "b.png")[1] is None


def chunk(kind, content):
    """A part of a PNG file."""
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


@pytest.mark.parametrize("color_type", [0, 3])  # grey, indexed
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_values_are_read_as_stored_at_any_depth(tmp_path, bits, color_type):
    """Pillow would spread grey values of 2 and 4 bits over 0 to 255."""
    stored = (np.arange(8 * 8).reshape(8, 8) * 5 % 2**bits).astype(np.uint8)
    rows = np.unpackbits(stored[..., None], axis=-1)[..., 8 - bits :].reshape(8, -1)
    lines = b"".join(b"\0" + line.tobytes() for line in np.packbits(rows, axis=-1))
    header = struct.pack(">IIBBBBB", 8, 8, bits, color_type, 0, 0, 0)
    palette = chunk(b"PLTE", bytes(3 * 2**bits)) if color_type else b""
    (tmp_path / "b.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + palette
        + chunk(b"IDAT", zlib.compress(lines))
        + chunk(b"IEND", b"")
    )
    np.testing.assert_array_equal(load_labels(tmp_path / "b.png")[0], stored)


def test_a_picture_is_overwritten_only_if_asked(tmp_path):
    path = tmp_path / "cat.png"
    save_labels(path, LABELS, CLASSES)
    before = path.read_bytes()
    for classes in (CLASSES, None):
        with pytest.raises(NapariCliperError, match=r"cat\.png” exists already: .* overwriting"):
            save_labels(path, LABELS * 0, classes)
    assert path.read_bytes() == before
    save_labels(path, LABELS * 0, CLASSES, overwrite=True)
    assert load_labels(path)[0].max() == 0


def test_pictures_of_the_same_classes_share_a_folder(tmp_path):
    save_labels(tmp_path / "a.png", LABELS, CLASSES)
    save_labels(tmp_path / "b.png", LABELS, CLASSES)
    assert everything_in(tmp_path) == ["a.png", "b.png", "classes.json"]


@pytest.mark.parametrize("there", [CLASSES.to_json(), "a shopping list"])
def test_other_classes_are_overwritten_only_if_asked(tmp_path, there):
    beside = tmp_path / "classes.json"
    beside.write_text(there, "utf-8")
    with pytest.raises(
        NapariCliperError, match=r"classes\.json” holds other classes: .*overwriting"
    ):
        save_labels(tmp_path / "b.png", LABELS == 1, "cat")
    assert everything_in(tmp_path) == ["classes.json"]
    assert beside.read_text("utf-8") == there
    save_labels(tmp_path / "b.png", LABELS == 1, "cat", overwrite=True)
    assert ClassList.from_json(beside.read_bytes()).names == ("cat",)


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        (np.zeros((3, 3, 3), int), None, "one plane of integers"),
        (np.zeros((0, 3), int), None, "one plane of integers"),
        (np.zeros((3, 3)), None, "one plane of integers"),
        (np.array([[-1, 0]]), None, "from -1 to 0: keep them from 0 to 65535"),
        (np.array([[0, 65536]]), None, "from 0 to 65536"),
        (np.array([[1, 4, 3]]), "cat; dog", "No class has the id 3"),
        (np.array([[1]]), "# nothing", "There are no classes"),
        (np.array([[1]]), "cat; cat", "more than once"),
    ],
)
def test_what_are_no_labels(tmp_path, labels, classes, message):
    with pytest.raises(NapariCliperError, match=message):
        save_labels(tmp_path / "cat.png", labels, classes)
    assert everything_in(tmp_path) == []


@pytest.mark.parametrize("name", ["cat", "cat.tif"])
def test_the_name_must_say_png(tmp_path, name):
    with pytest.raises(NapariCliperError, match=r"let it end in “\.png”"):
        save_labels(tmp_path / name, LABELS, CLASSES)


def test_an_output_folder_that_is_a_file(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(NapariCliperError, match="cannot be written"):
        save_labels(tmp_path / "out" / "cat.png", LABELS, CLASSES)
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit to set on files")
@pytest.mark.parametrize("limit", [100, 20_000])
def test_a_full_disk_leaves_both_files_as_they_were(tmp_path, limit):
    """The limit falls in the midst of the class list, or of the picture, which is larger."""
    code = """
import resource, sys
import numpy as np
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.indexed_png import save_labels

labels = np.random.default_rng(0).integers(0, 3, (500, 500))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    save_labels(sys.argv[1], labels, "cat; dog", overwrite=True)
except NapariCliperError as error:
    print(error)
"""
    save_labels(tmp_path / "cat.png", LABELS, CLASSES)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    command = [sys.executable, "-c", code, tmp_path / "cat.png", str(limit)]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    assert "cannot be written" in done.stdout
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_loading_what_is_no_label_picture(tmp_path):
    with pytest.raises(NapariCliperError, match="There is no file"):
        load_labels(tmp_path / "cat.png")
    (tmp_path / "cat.png").write_bytes(b"words")
    with pytest.raises(NapariCliperError, match="is no picture"):
        load_labels(tmp_path / "cat.png")
    Image.new("RGB", (20, 20)).save(tmp_path / "cat.png")
    with pytest.raises(NapariCliperError, match="holds colours, not labels"):
        load_labels(tmp_path / "cat.png")
    save_labels(tmp_path / "cat.png", np.random.default_rng(0).integers(0, 9, (99, 99)), None, True)
    (tmp_path / "cat.png").write_bytes((tmp_path / "cat.png").read_bytes()[:2000])
    with pytest.raises(NapariCliperError, match="damaged or cut short"):
        load_labels(tmp_path / "cat.png")


def test_classes_that_someone_has_broken(tmp_path):
    save_labels(tmp_path / "cat.png", LABELS)
    (tmp_path / "classes.json").write_text("{")
    with pytest.raises(
        NapariCliperError, match=r"In “.*classes\.json”: The class list is not valid"
    ):
        load_labels(tmp_path / "cat.png")
