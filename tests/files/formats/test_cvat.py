"""CVAT's archives, as CVAT writes and reads them."""

import io
import sys
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from annotations import ours
from napari_cliper.annotation.annotation import Annotation, foreign_classes
from napari_cliper.annotation.palette import voc_palette
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.exporting import export
from napari_cliper.files.formats import Options, format_of
from napari_cliper.files.importing import read_annotations, recognized

FORMAT = format_of("cvat")
LABEL_MAP = """# label:color_rgb:parts:actions
background:0,0,0::
fence:51,221,255::
tree:250,50,83::
"""
CLASSES = np.array([[[0, 0, 0], [51, 221, 255], [250, 50, 83]]], np.uint8)
OBJECTS = np.array([[[0, 0, 0], [128, 0, 0], [0, 128, 0]]], np.uint8)


def png(pixels, mode=None) -> bytes:
    file = io.BytesIO()
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels, mode)
    picture.save(file, "PNG")
    return file.getvalue()


GARDEN = {
    "labelmap.txt": LABEL_MAP.encode(),
    "ImageSets/Segmentation/default.txt": b"east\n",
    "SegmentationClass/east.png": png(CLASSES),
    "SegmentationObject/east.png": png(OBJECTS),
}


def garden(folder: Path, compression=zipfile.ZIP_DEFLATED, **changes) -> Path:
    path = folder / "garden.zip"
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in {**GARDEN, **changes}.items():
            if content is not None:
                archive.writestr(name, content)
    return path


def with_file(folder: Path, name: str, content: bytes | None) -> Path:
    return garden(folder, **{name: content})


def datumaro_reads(path: Path) -> dict[str, list]:
    """Names and masks of the objects of each picture, by the rules of CVAT's own reader."""
    with zipfile.ZipFile(path) as archive:
        lines = archive.read("labelmap.txt").decode().split("\n")
        parts = [line.strip().split(":") for line in lines if line.strip() and line[0] != "#"]
        names = [part[0] for part in parts]
        assert len(set(names)) == len(names)
        colors = {tuple(map(int, part[1].split(","))): i for i, part in enumerate(parts)}
        assert len(colors) == len(names)
        instances = {tuple(color): i for i, color in enumerate(voc_palette(256).tolist())}
        found = {}
        for item in archive.read("ImageSets/Segmentation/default.txt").decode().split():
            classes, objects = (
                np.array(
                    [
                        [known[tuple(color)] for color in row]
                        for row in np.asarray(
                            Image.open(archive.open(f"{folder}/{item}.png"))
                        ).tolist()
                    ]
                )
                for folder, known in (
                    ("SegmentationClass", colors),
                    ("SegmentationObject", instances),
                )
            )
            found[item] = [
                (names[classes[objects == number][0]], objects == number)
                for number in np.unique(objects[objects > 0])
            ]
        return found


def test_cvat_sees_the_same_objects(tmp_path):
    labels = np.array([[1, 1, 0, 2], [0, 1, 0, 2], [1, 0, 0, 0]], np.uint16)
    numbers = np.array([[1, 1, 0, 1], [0, 1, 0, 1], [2, 0, 0, 0]], np.uint32)
    wanted = Annotation("one", labels, foreign_classes({1: "a:b", 2: "Background"}), numbers)
    export([wanted], FORMAT, tmp_path)
    objects = datumaro_reads(tmp_path / "one.zip")["one"]
    assert [name for name, _ in objects] == ["a：b", "a：b", "Background (2)"]  # noqa: RUF001
    assert [int(mask.sum()) for _, mask in objects] == [3, 1, 2]


def test_colours_are_different_and_none_is_black(tmp_path):
    same = {1: (0, 0, 0), 2: (5, 5, 5), 3: (5, 5, 5), 4: (128, 0, 0)}
    classes = foreign_classes({i: f"class {i}" for i in same}, same)
    labels = np.array([[1, 2, 3, 4, 0]], np.uint16)
    export([Annotation("one", labels, classes)], FORMAT, tmp_path)
    assert len(datumaro_reads(tmp_path / "one.zip")["one"]) == 4
    (tmp_path / "classes.json").unlink()
    (found,) = read_annotations(tmp_path / "one.zip")
    assert found.classes == classes
    assert np.array_equal(found.labels, labels)


def test_more_than_255_objects_become_one_for_each_class(tmp_path):
    labels = np.zeros((40, 40), np.uint16)
    labels[::2, ::2], labels[::4, ::4] = 1, 2
    export([Annotation("many", labels, ours("a", "b"))], FORMAT, tmp_path)
    assert [name for name, _ in datumaro_reads(tmp_path / "many.zip")["many"]] == ["b", "a"][::-1]
    (found,) = read_annotations(tmp_path / "many.zip")
    assert np.array_equal(found.labels, labels)


def test_more_than_255_classes_in_one_picture(tmp_path):
    labels = np.arange(300, dtype=np.uint16).reshape(20, 15)
    classes = foreign_classes({i: f"class {i}" for i in range(1, 300)})
    export([Annotation("many", labels, classes)], FORMAT, tmp_path)
    (found,) = read_annotations(tmp_path / "many.zip")
    assert np.array_equal(found.labels, labels)


def test_classes_that_come_later_get_free_colours(tmp_path):
    first = foreign_classes({1: "cat"}, {1: (7, 7, 7)})
    later = foreign_classes({1: "cat", 2: "dog", 3: "cow"}, {1: (1, 1, 1), 2: (7, 7, 7)})
    labels = np.array([[1, 2, 3]], np.uint16)
    wanted = [
        Annotation("one", np.minimum(labels, 1), first), Annotation("two", labels, later)
    ]  # fmt: skip
    export(wanted, FORMAT, tmp_path)
    objects = datumaro_reads(tmp_path / "annotations.zip")
    assert [name for name, _ in objects["two"]] == ["cat", "dog", "cow"]


def test_the_void_is_not_there(tmp_path):
    labels = np.array([[1, 2]], np.uint16)
    export([Annotation("one", labels, ours("cat", "void"))], FORMAT, tmp_path, Options(void="void"))
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        assert b"void" not in archive.read("labelmap.txt")
    assert [name for name, _ in datumaro_reads(tmp_path / "one.zip")["one"]] == ["cat"]


def test_the_same_masks_give_the_same_archive(tmp_path):
    wanted = Annotation("one", np.eye(9, dtype=np.uint16), ours("cat"))
    for folder in ("a", "b"):
        export([wanted], FORMAT, tmp_path / folder)
    assert (tmp_path / "a/one.zip").read_bytes() == (tmp_path / "b/one.zip").read_bytes()


@pytest.mark.parametrize("unpacked", [False, True])
@pytest.mark.parametrize("top", ["", "task 5/"])
def test_an_archive_of_cvat(tmp_path, top, unpacked):
    path = tmp_path / "garden.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("__MACOSX/task 5/SegmentationClass/._east.png", b"?")
        for name, content in GARDEN.items():
            archive.writestr(top + name, content)
        if unpacked:
            archive.extractall(tmp_path / "there")
            path = tmp_path / "there" / top
    assert recognized(path) is FORMAT
    (found,) = read_annotations(path)
    assert (found.name, found.classes.names) == ("east", ("fence", "tree"))
    assert found.labels.tolist() == [[0, 1, 2]]
    assert [entry.color for entry in found.classes] == [(51, 221, 255), (250, 50, 83)]
    assert found.instances[0, 0] == 0
    assert len(np.unique(found.instances)) == 3


def test_classes_beside_it_come_back_from_cvat(tmp_path):
    classes = foreign_classes({9: "tree", 4: "fence", 1: "c:d"}, {9: (1, 2, 3)})
    (tmp_path / "classes.json").write_text(classes.to_json())
    (found,) = read_annotations(
        with_file(tmp_path, "labelmap.txt", (LABEL_MAP + "c：d:1,1,1::\n").encode())  # noqa: RUF001
    )
    assert found.classes == classes
    assert found.labels.tolist() == [[0, 4, 9]]


def test_a_palette_or_indices_in_place_of_colours(tmp_path):
    indices = np.array([[0, 1, 2]], np.uint8)
    (grey,) = read_annotations(with_file(tmp_path, "SegmentationClass/east.png", png(indices)))
    assert grey.labels.tolist() == [[0, 1, 2]]
    palette = Image.fromarray(255 - indices)
    colors = np.zeros((256, 3), np.uint8)
    colors[255:252:-1] = CLASSES[0]
    palette.putpalette(colors.tobytes())
    (found,) = read_annotations(with_file(tmp_path, "SegmentationClass/east.png", png(palette)))
    assert found.labels.tolist() == [[0, 1, 2]]


def test_pascal_vocs_own_files_need_no_label_map(tmp_path):
    palette = voc_palette()
    picture = Image.fromarray(np.array([[0, 15, 255]], np.uint8))
    picture.putpalette(palette.tobytes())
    path = garden(
        tmp_path,
        **{"labelmap.txt": None, "SegmentationClass/east.png": png(picture)},
    )
    assert recognized(path) is FORMAT
    (found,) = read_annotations(path)
    assert found.labels.tolist() == [[0, 15, 255]]
    names = {entry.id: entry.name for entry in found.classes}
    assert (names[15], names[255]) == ("person", "void")


def test_pixels_of_no_object_are_of_an_object_of_their_own(tmp_path):
    (found,) = read_annotations(
        with_file(tmp_path, "SegmentationObject/east.png", png(np.zeros_like(OBJECTS)))
    )
    assert found.instances[0, 0] == 0
    assert found.instances[0, 1:].all()
    (found,) = read_annotations(with_file(tmp_path, "SegmentationObject/east.png", None))
    assert found.instances is None


def test_pictures_without_objects_have_no_masks(tmp_path):
    path = with_file(
        tmp_path, "ImageSets/Segmentation/default.txt", b"west\r\n\neast\nnorth\neast\n"
    )
    Image.new("RGB", (5, 4)).save(tmp_path / "west.jpg")
    west, east = read_annotations(path)
    assert (west.name, west.labels.shape, east.name) == ("west", (4, 5), "east")
    assert west.picture == tmp_path / "west.jpg"


def test_without_lists_all_masks_are_read(tmp_path):
    path = garden(
        tmp_path,
        **{
            "ImageSets/Segmentation/default.txt": None,
            "SegmentationClass/far/west.png": png(CLASSES),
        },
    )
    assert [found.name for found in read_annotations(path)] == ["east", "far_west"]


def test_names_lead_nowhere_else(tmp_path):
    lines = b"../hidden/secret\n/etc/x\neast"
    path = with_file(tmp_path, "ImageSets/Segmentation/default.txt", lines)
    assert [found.name for found in read_annotations(path)] == ["east"]
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "there")
    (tmp_path / "there" / "hidden").mkdir()
    Image.fromarray(CLASSES).save(tmp_path / "there" / "hidden" / "secret.png")
    assert [found.name for found in read_annotations(tmp_path / "there")] == ["east"]


def test_an_unpacked_archive_has_its_pictures(tmp_path):
    with zipfile.ZipFile(garden(tmp_path)) as archive:
        archive.extractall(tmp_path / "there")
    for name in ("images", "JPEGImages"):
        (tmp_path / "there" / name).mkdir()
        Image.new("L", (3, 1)).save(tmp_path / "there" / name / "east.jpg")
        (found,) = read_annotations(tmp_path / "there")
        assert found.picture == tmp_path / "there" / name / "east.jpg"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("SegmentationClass/east.png", png(CLASSES + 1), "holds the colour 1,1,1, which labelmap"),
        ("SegmentationClass/east.png", png(np.full((1, 3), 9, np.uint8)), "holds the colour 9,"),
        ("SegmentationClass/east.png", png(CLASSES)[:48], "damaged or cut short"),
        ("SegmentationClass/east.png", b"GIF89a", "is no picture"),
        ("SegmentationObject/east.png", png(OBJECTS[:, :2]), "has another size"),
        ("labelmap.txt", b"tree:1,2::", "the line “tree:1,2::” has no colour"),
        ("labelmap.txt", b"tree:1,2,999::", "has no colour"),
        ("labelmap.txt", b"tree:red::", "has no colour"),
        ("labelmap.txt", b"\xff\xfe", "damaged"),
        (
            "labelmap.txt",
            LABEL_MAP.encode() + b"oak:250,50,83::",
            "“oak” has the colour of another",
        ),
        ("classes.json", b"{}", "classes.json”: "),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, name, content, message):
    with pytest.raises(NapariCliperError, match=message):
        list(read_annotations(with_file(tmp_path, name, content), FORMAT))


def test_a_class_of_the_backgrounds_colour_is_background(tmp_path):
    text = "IGNORE:0,0,0::\n" + LABEL_MAP + "plain\n"
    (found,) = read_annotations(with_file(tmp_path, "labelmap.txt", text.encode()))
    labels = found.labels[0].tolist()
    assert labels[0] == 0
    names = {entry.id: entry.name for entry in found.classes}
    assert [names[label] for label in labels[1:]] == ["fence", "tree"]


@pytest.mark.parametrize("limit", ["LARGEST_PICTURE", "LONGEST_TEXT", "MOST"])
def test_bombs_do_not_go_off(tmp_path, monkeypatch, limit):
    path = garden(tmp_path)
    monkeypatch.setattr(sys.modules[FORMAT.read.__module__], limit, 3)
    with pytest.raises(NapariCliperError, match=r"has more than|holds more than"):
        list(read_annotations(path, FORMAT))


def test_other_ways_to_pack_are_refused(tmp_path):
    with pytest.raises(NapariCliperError, match="pack it with “deflate”"):
        list(read_annotations(garden(tmp_path, compression=zipfile.ZIP_LZMA)))


def test_locked_archives_are_refused(tmp_path):
    path = garden(tmp_path, compression=zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    start = -1
    while (start := content.find(b"PK\x01\x02", start + 1)) >= 0:
        content[start + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(NapariCliperError, match="locked by a password"):
        list(read_annotations(path))


@pytest.mark.parametrize("at", range(0, 900, 7))
def test_damage_anywhere_is_refused_or_harmless(tmp_path, at):
    path = garden(tmp_path, compression=zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    content[at % len(content)] ^= 0x55
    path.write_bytes(content)
    assert FORMAT.recognizes(path) in (True, False)
    with suppress(NapariCliperError):
        list(read_annotations(path, FORMAT))


def test_other_archives_are_not_recognized(tmp_path):
    for left_out in ({"SegmentationClass/east.png"}, {*GARDEN} - {"SegmentationClass/east.png"}):
        path = garden(tmp_path, **dict.fromkeys(left_out))
        assert not FORMAT.recognizes(path)


def test_more_classes_than_labels_are_refused(tmp_path):
    # Without colours: each has its own looked up.
    path = with_file(tmp_path, "labelmap.txt", b"a:\n" * 500_000)
    with pytest.raises(NapariCliperError, match="more than 65535 classes"):
        list(read_annotations(path, FORMAT))
