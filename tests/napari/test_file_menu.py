"""What napari's File menu offers: our formats when saving, our files when opening."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari import Viewer
from napari.layers import Labels
from napari.plugins import _npe2
from npe2 import PluginManager
from PIL import Image

from napari_cliper import ClassList, load_labels
from napari_cliper.annotation.annotation import Annotation
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.exporting import export
from napari_cliper.files.formats import format_of, formats
from napari_cliper.files.importing import read_annotations
from napari_cliper.files.napari_io import get_reader
from napari_cliper.widgets import masks
from napari_cliper.widgets.fix_panel import instance_classes
from napari_cliper.widgets.layers import ResultLayer, dress, labels_layer
from napari_cliper.widgets.planes import shown_plane
from napari_cliper.widgets.session_layers import add_instances

PLUGIN = "napari-cliper"
CLASSES = ClassList.parse("cat; dog = hound")


@pytest.fixture
def labels() -> Any:
    labels = np.zeros((20, 30), np.uint16)
    labels[2:10, 3:9], labels[12:, 20:] = 1, 2
    return labels


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "cat.png"
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def mask(viewer: Viewer, labels: Any) -> Any:
    picture = viewer.add_image(np.zeros((20, 30), np.uint8), name="photo")
    plane = shown_plane(viewer, picture)
    return masks.show_mask(viewer, plane, labels_layer("refined", labels, CLASSES), CLASSES)


def writer(key: str) -> Any:
    """The writer of a format, as the dialog's filter would choose it."""
    _, writers = _npe2.file_extensions_string_for_layers([Labels(np.zeros((2, 2), int))])
    command = f"napari-cliper.write_{key.replace('-', '_')}"
    (found,) = [known for known in writers if known.command == command]
    return found


def test_each_format_is_offered(viewer: Viewer) -> None:
    text, _ = _npe2.file_extensions_string_for_layers([Labels(np.zeros((2, 2), int))])
    for known in formats().values():
        ending = f"*{known.suffix}" if known.suffix else "*.*"
        assert f"CLIPer {known.title} ({ending})" in text


@pytest.mark.parametrize("key", formats())
def test_saving_a_mask(viewer: Viewer, mask: Any, tmp_path: Path, key: str, labels: Any) -> None:
    mask.layer.name = "photo_mask"
    path = tmp_path / f"saved{formats()[key].suffix}"
    viewer.layers.selection = {mask.layer}
    written = viewer.layers.save(str(path), selected=True, _writer=writer(key))
    assert written
    assert all(Path(file).exists() for file in written)
    known = formats()[key]
    places = [Path(file) for file in written]
    places += [tmp_path, path, tmp_path / "saved" / "photo_mask"]
    place = next(place for place in places if known.recognizes(place))
    (found,) = read_annotations(place, known)
    assert np.array_equal(found.labels, labels)
    assert found.classes.names == CLASSES.names
    assert found.classes == CLASSES  # the synonyms too, from classes.json if not from the file


def test_only_what_was_typed_is_replaced(viewer: Viewer, tmp_path: Path, photo: Path) -> None:
    """The dialog proposes the layer's bare name, and asks about nothing else."""
    before = photo.read_bytes()
    viewer.add_labels(np.ones((20, 30), int), name="cat")
    for typed in ("cat", "cat.PNG"):
        with pytest.raises(NapariCliperError, match=r"cat.png” exists already"):
            viewer.layers.save(str(tmp_path / typed), _writer=writer("png"))
    assert photo.read_bytes() == before
    viewer.layers.save(str(tmp_path / "cat.png"), _writer=writer("png"))
    assert photo.read_bytes() != before


@pytest.mark.parametrize("key", ["png", "coco", "coco-panoptic", "ome-zarr", "labelme"])
def test_saving_again(viewer: Viewer, tmp_path: Path, key: str) -> None:
    known = formats()[key]
    path = tmp_path / f"a{known.suffix}"
    layer = viewer.add_labels(np.ones((20, 30), int))
    viewer.layers.save(str(path), _writer=writer(key))
    layer.data = np.eye(20, 30, dtype=int)
    viewer.layers.save(str(path), _writer=writer(key))
    (found,) = read_annotations(path, known)
    assert np.array_equal(found.labels, np.eye(20, 30))
    if known.keeps.ids:
        layer.data = 2 * layer.data  # another class
        viewer.layers.save(str(path), _writer=writer(key))
        (found,) = read_annotations(path, known)
        assert np.array_equal(found.labels, 2 * np.eye(20, 30))


def test_saving_any_labels_layer(viewer: Viewer, tmp_path: Path) -> None:
    layer = viewer.add_labels(np.array([[0, 1], [7, 1]]), name="mine")
    (tmp_path / "mine.png").write_bytes(b"the dialog has asked about it")
    viewer.layers.selection = {layer}
    viewer.layers.save(str(tmp_path / "mine.png"), selected=True, _writer=writer("png"))
    labels, classes = load_labels(tmp_path / "mine.png")
    assert labels.tolist() == [[0, 1], [7, 1]]
    assert classes is not None
    assert classes.names == ("label 1", "label 7")
    shown = layer.colormap.map(np.array([1, 7]))[:, :3]
    assert np.allclose(np.array([entry.color for entry in classes]) / 255, shown, atol=1 / 255)


def test_saving_several(viewer: Viewer, mask: Any, tmp_path: Path) -> None:
    viewer.add_labels(mask.layer.data * 0 + 1, name="other")
    viewer.layers.selection = {viewer.layers["other"], mask.layer}
    viewer.layers.save(str(tmp_path / "all.png"), selected=True, _writer=writer("grey-png"))
    assert {path.name for path in tmp_path.glob("*.png")} == {"other.png", "photo [refined].png"}


@pytest.mark.parametrize("data", [np.array([[-1, 2]]), np.array([[70000, 2]])])
def test_labels_out_of_bounds_are_refused(viewer: Viewer, tmp_path: Path, data: Any) -> None:
    viewer.add_labels(data)
    with pytest.raises(Exception, match="keep them from 0 to 65535"):
        viewer.layers.save(str(tmp_path / "a.png"), _writer=writer("png"))
    assert not list(tmp_path.iterdir())


def test_objects_of_an_instance_layer(viewer: Viewer, mask: Any, tmp_path: Path) -> None:
    numbers = np.zeros((20, 30), np.uint16)
    numbers[:10, :5], numbers[:10, 5:10] = 1, 2
    item = ResultLayer("instances of dog", numbers, dress(instance_classes(CLASSES[1], 2)))
    layer = add_instances(viewer, mask.plane, item, CLASSES[1])
    viewer.layers.selection = {layer}
    viewer.layers.save(str(tmp_path / "a.json"), selected=True, _writer=writer("coco"))
    (found,) = read_annotations(tmp_path / "a.json")
    assert np.array_equal(found.labels, np.where(numbers, 2, 0))
    viewer.layers.save(str(tmp_path / "b" / "a.png"), selected=True, _writer=writer("png"))
    (found,) = read_annotations(tmp_path / "b" / "a.png")
    assert np.array_equal(found.labels, numbers)
    assert found.classes.names == ("dog 1", "dog 2")


def test_dropping_a_label_picture_over_its_photograph(
    viewer: Viewer, tmp_path: Path, labels: Any, photo: Path
) -> None:
    export([Annotation("cat_labels", labels, CLASSES)], format_of("png"), tmp_path)
    image, layer = viewer.open(tmp_path / "cat_labels.png", plugin=PLUGIN)
    assert image.name == "cat"
    assert image.rgb
    assert isinstance(layer, Labels)
    assert np.array_equal(layer.data, labels)
    assert list(layer.features["name"]) == ["background", "cat", "dog"]
    shown = layer.colormap.map(np.array([1, 2]))[:, :3] * 255
    assert np.allclose(shown, [entry.color for entry in CLASSES])
    # And saved again, it is the same.
    viewer.layers.selection = {layer}
    viewer.layers.save(str(tmp_path / "b" / "x.png"), selected=True, _writer=writer("png"))
    assert load_labels(tmp_path / "b" / "x.png")[1] == CLASSES


def test_dropping_a_coco_file_beside_its_pictures(
    viewer: Viewer, tmp_path: Path, labels: Any, photo: Path
) -> None:
    second = tmp_path / "b.png"
    Image.fromarray(np.zeros((10, 40), np.uint8)).save(second)
    export(
        [
            Annotation("cat", labels, CLASSES, picture=photo),
            Annotation("b", np.ones((10, 40), np.uint16), CLASSES, picture=second),
        ],
        format_of("coco"),
        tmp_path,
    )
    layers = viewer.open(tmp_path / "annotations.json", plugin=None)
    assert [type(layer).__name__ for layer in layers] == ["Image", "Labels"] * 2
    assert np.array_equal(layers[1].data, labels)
    for image, over in (layers[:2], layers[2:]):
        assert np.array_equal(image.translate, over.translate)
    assert list(layers[2].translate) == [0, 30]


def test_dropping_a_session_folder(viewer: Viewer, tmp_path: Path, labels: Any) -> None:
    from napari_cliper.annotation.session import MaskNotes, Model, Notes, Picture
    from napari_cliper.files.session import MaskMaps, save_session

    notes = MaskNotes(role="refined", name="cat [refined]", classes=CLASSES)
    save_session(
        tmp_path / "saved",
        Notes(
            saved=datetime.now(UTC),
            picture=Picture(name="cat", sha256="0", size=(20, 30)),
            model=Model(preset="small", device="cpu", method="cliper", precision="float32"),
        ),
        [(notes, MaskMaps(labels))],
    )
    (layer,) = viewer.open(tmp_path / "saved", plugin=PLUGIN)
    assert np.array_equal(layer.data, labels)
    (again,) = viewer.open(tmp_path / "saved" / "session.json", plugin=None)
    assert list(again.features["name"]) == ["background", "cat", "dog"]


def test_a_picture_of_another_size_is_said(
    viewer: Viewer, tmp_path: Path, photo: Path, labels: Any
) -> None:
    wrong = Annotation("cat_labels", labels[:10], CLASSES)
    export([wrong], format_of("png"), tmp_path)
    with pytest.warns(UserWarning, match="has another size than its mask"):
        layers = viewer.open(tmp_path / "cat_labels.png", plugin=PLUGIN)
    assert len(layers) == 1


def test_other_files_are_left_to_others(viewer: Viewer, tmp_path: Path, photo: Path) -> None:
    (layer,) = viewer.open(photo)  # without a question
    assert layer.name == "cat"
    (tmp_path / "package.json").write_text(json.dumps({"name": "x"}))
    strange = tmp_path / "strange_labels.png"
    Image.fromarray(np.zeros((4, 5, 3), np.uint8)).save(strange)
    for path in (photo, tmp_path, tmp_path / "package.json", strange, tmp_path / "missing.json"):
        assert get_reader(str(path)) is None
        assert get_reader([str(path)]) is None
    assert get_reader([]) is None


def test_objects_that_touch_get_a_layer_of_their_own(viewer: Viewer, tmp_path: Path) -> None:
    labels = np.zeros((20, 30), np.uint16)
    labels[:10, :10] = 2
    objects = np.zeros((20, 30), np.uint32)
    objects[:10, :5], objects[:10, 5:10] = 1, 2
    export([Annotation("a", labels, CLASSES, objects)], format_of("coco"), tmp_path)
    _, layer = viewer.open(tmp_path / "a.json", plugin=None)
    assert np.array_equal(layer.data, objects)
    assert not layer.visible
    assert list(layer.features["name"]) == ["background", "dog 1", "dog 2"]
    apart = Annotation("b", labels, CLASSES, (labels != 0).astype(np.uint32))
    export([apart], format_of("coco"), tmp_path)
    assert len(viewer.open(tmp_path / "b.json", plugin=None)) == 1


@pytest.mark.parametrize("key", formats())
def test_what_the_dialog_writes_is_offered_to_our_reader(
    tmp_path: Path, key: str, labels: Any, viewer: Viewer
) -> None:
    known = formats()[key]
    written = export([Annotation("cat_labels", labels, CLASSES)], known, tmp_path)
    places = [path for path in (*written, tmp_path) if known.recognizes(path)]
    assert any(PLUGIN in _npe2.get_readers(place) for place in places), places


def test_saving_without_a_word_about_the_format_is_as_before(
    tmp_path: Path, viewer: Viewer
) -> None:
    """The writer that napari takes by itself for pictures is not ours."""
    manager = PluginManager.instance()
    for kinds, name in (
        (["image"], "a.png"),
        (["labels"], "a.tif"),
        (["labels"], "a.csv"),
        (["labels"], "a"),
        (["labels", "labels"], "a"),
        (["image", "labels"], "a"),
    ):
        found, _ = manager.get_writer(str(tmp_path / name), kinds)
        assert found is None or not found.command.startswith(PLUGIN)


def test_our_entry_points_are_in_the_manifest() -> None:
    manifest = PluginManager.instance().get_manifest(PLUGIN)
    commands = {writer.command for writer in manifest.contributions.writers or ()}
    assert commands == {f"{PLUGIN}.write_{key.replace('-', '_')}" for key in formats()}
