"""What the readers of pictures that people use make of our indexed and grey PNG."""

import json

import cv2
import imageio.v3 as imageio
import numpy as np
import pytest
from PIL import Image
from torchvision.io import ImageReadMode, decode_image

from annotations import ours
from napari_cliper.annotation.annotation import Annotation
from napari_cliper.annotation.palette import voc_palette
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.exporting import export
from napari_cliper.files.formats import Options, format_of
from napari_cliper.files.importing import read_annotations, recognized


def mode(path):
    with Image.open(path) as picture:
        return picture.mode


def pillow(path):
    with Image.open(path) as picture:
        return np.array(picture)


READERS = {
    "pillow": pillow,
    "imageio": lambda path: imageio.imread(path, mode=mode(path)),
    "torchvision": lambda path: decode_image(str(path), ImageReadMode.UNCHANGED)[0].numpy(),
}


@pytest.fixture
def labels():
    return np.random.default_rng(0).choice([0, 1, 2, 255], (20, 30)).astype(np.uint16)


def written(tmp_path, labels, key="png", **options):
    annotation = Annotation.of("cat_labels", labels, ours("cat", "dog"))
    export([annotation], format_of(key), tmp_path, Options(**options))
    return tmp_path / "cat_labels.png"


# torchvision goes on to torchcodec.
pytestmark = pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")


@pytest.mark.parametrize("key", ["png", "grey-png"])
@pytest.mark.parametrize("reader", READERS)
def test_indices_are_the_labels(tmp_path, labels, reader, key):
    assert np.array_equal(READERS[reader](written(tmp_path, labels, key)), labels)


@pytest.mark.parametrize("reader", READERS)
def test_more_than_255_classes(tmp_path, labels, reader):
    labels = labels.astype(np.uint16) * 257
    assert np.array_equal(READERS[reader](written(tmp_path, labels)), labels)


def test_opencv_reads_grey_and_sees_the_colours_of_a_palette(tmp_path, labels):
    grey = cv2.imread(str(written(tmp_path, labels, "grey-png")), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(grey, labels)
    shown = cv2.imread(str(written(tmp_path / "p", labels)), cv2.IMREAD_UNCHANGED)[..., ::-1]
    palette = voc_palette()
    palette[255] = 224, 224, 192  # void's
    assert np.array_equal(shown, palette[labels])


def test_as_pascal_voc_writes_them(tmp_path):
    """Their palette, 255 around objects, and no word about classes."""
    labels = np.zeros((6, 8), np.uint8)
    labels[1:5, 1:5], labels[2:4, 2:4] = 255, 15
    picture = Image.fromarray(labels)
    picture.putpalette(voc_palette().tobytes())
    path = tmp_path / "2007_000032.png"
    picture.save(path)
    assert recognized(path) is None
    (found,) = read_annotations(path, format_of("png"))
    assert np.array_equal(found.labels, labels)
    assert {e.id: e.name for e in found.classes} == {15: "label 15", 255: "void"}
    assert found.remarks
    classes = {"classes": [{"id": 15, "name": "person"}]}
    (tmp_path / "classes.json").write_text(json.dumps(classes))
    assert recognized(path) is format_of("png")
    (found,) = read_annotations(path)
    assert {e.id: e.name for e in found.classes} == {15: "person", 255: "void"}
    assert [remark[:35] for remark in found.remarks] == ["Its label 255 is taken for a class "]


def test_a_grey_photograph_beside_a_class_list_is_none_of_ours(tmp_path):
    (tmp_path / "classes.json").write_text('{"classes": [{"id": 1, "name": "cat"}]}')
    photo = np.random.default_rng(0).integers(0, 256, (20, 30)).astype(np.uint8)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    assert recognized(tmp_path / "photo.png") is None


def test_the_class_list_inside_is_enough(tmp_path, labels):
    path = written(tmp_path, labels)
    (tmp_path / "classes.json").unlink()
    (found,) = read_annotations(path)
    assert found.classes.names == ("cat", "dog", "void")


def test_void_takes_no_place_that_is_taken(tmp_path):
    labels = np.array([[1, 255]], np.uint16)
    classes = ours("cat").model_copy(
        update={"classes": (*ours("cat").classes, ours("dog")[0].model_copy(update={"id": 255}))}
    )
    annotation = Annotation("a", labels, classes)
    with pytest.raises(NapariCliperError, match="another class has the label 255"):
        export([annotation], format_of("png"), tmp_path, Options(void="cat"))
    assert not list(tmp_path.iterdir())
