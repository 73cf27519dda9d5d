import json
import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import zarr
from PIL import Image

from napari_cliper.annotation.annotation import Annotation
from napari_cliper.annotation.class_list import ClassEntry, ClassList
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.exporting import export
from napari_cliper.files.formats import Options, format_of, ome_tiff
from napari_cliper.files.importing import read_annotations, recognized

OME = format_of("ome-zarr")
CLASSES = ClassList(
    classes=(
        ClassEntry(id=7, name="dog/cat 😀", synonyms=("pet",), color=(1, 2, 3)),
        ClassEntry(id=2, name="\x01", color=(4, 5, 6)),
    )
)
LABELS = np.zeros((4, 6), np.uint16)
LABELS[1:, :2], LABELS[0] = 7, 2
IMAGE_LABEL = {
    "colors": [
        {"label-value": 0, "rgba": [0, 0, 0, 0]},
        {"label-value": 2, "rgba": [9, 8, 7, 255]},
        {"label-value": 7},
    ],
    "properties": [{"label-value": 7, "class": "cell", "area": 3}, {"label-value": 100_000}],
}


def told(path):
    return json.loads((path / "zarr.json").read_text("utf-8"))["attributes"]


def multiscale(axes="yx", scale=None, **more):
    kinds = {"t": "time", "c": "channel"}
    transformations = [{"type": "scale", "scale": scale or [1.0] * len(axes)}]
    return {
        "axes": [{"name": axis, "type": kinds.get(axis, "space")} for axis in axes],
        "datasets": [{"path": "s0", "coordinateTransformations": transformations}],
        **more,
    }


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def foreign(path, label=IMAGE_LABEL, labels=LABELS, **more):
    """A label image of OME-Zarr 0.4, file by file as the standard tells."""
    write_json(path / ".zgroup", {"zarr_format": 2})
    image = {"image-label": {"version": "0.4", **label}} if label is not None else {}
    multiscales = [{"version": "0.4", **multiscale(**more)}]
    write_json(path / ".zattrs", {"multiscales": multiscales, **image})
    array = {
        "zarr_format": 2,
        "shape": labels.shape,
        "chunks": labels.shape,
        "dtype": labels.dtype.str,
        "compressor": None,
        "filters": None,
        "fill_value": 0,
        "order": "C",
        "dimension_separator": "/",
    }
    write_json(path / "s0" / ".zarray", array)
    chunk = path.joinpath("s0", *"0" * labels.ndim)
    chunk.parent.mkdir(parents=True, exist_ok=True)
    chunk.write_bytes(labels.tobytes())
    return path


def modern(path, multiscales, label=IMAGE_LABEL, labels=LABELS):
    """A label image of OME-Zarr 0.5."""
    attributes = {"ome": {"version": "0.5", "multiscales": multiscales, "image-label": label}}
    group = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    write_json(path / "zarr.json", group)
    array = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": labels.shape,
        "data_type": labels.dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": labels.shape}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
    }
    write_json(path / "s0" / "zarr.json", array)
    chunk = path.joinpath("s0", "c", *"0" * labels.ndim)
    chunk.parent.mkdir(parents=True, exist_ok=True)
    chunk.write_bytes(labels.tobytes())
    return path


@dataclass
class Harmful:
    """What does something when it is unpickled."""

    path: Path

    def __reduce__(self):
        return self.path.touch, ()


def read(path):
    (found,) = read_annotations(path, OME)
    return found


def seen(annotation):
    return {entry.id: (entry.name, entry.color) for entry in annotation.classes}


def test_the_labels_lie_in_an_image_as_the_standard_wants(tmp_path):
    units = ("second", "micrometer", "micrometer")
    wanted = Annotation("a b", LABELS[None], CLASSES, scale=(60.0, 0.5, 0.25), units=units)
    (path, _) = export([wanted], OME, tmp_path)
    assert path == tmp_path / "a b.ome.zarr"
    image = told(path)["ome"]
    assert image["multiscales"][0]["datasets"][0]["path"] == "labels/classes/0"
    assert told(path / "labels") == {"ome": {"version": "0.5", "labels": ["classes"]}}
    label = told(path / "labels" / "classes")["ome"]
    assert label["multiscales"][0]["axes"] == [
        {"name": "z", "type": "space", "unit": "second"},
        {"name": "y", "type": "space", "unit": "micrometer"},
        {"name": "x", "type": "space", "unit": "micrometer"},
    ]
    assert label["image-label"] == {
        "colors": [
            {"label-value": 7, "rgba": [1, 2, 3, 255]},
            {"label-value": 2, "rgba": [4, 5, 6, 255]},
        ],
        "properties": [
            {"label-value": 7, "name": "dog/cat 😀"},
            {"label-value": 2, "name": "\x01"},
        ],
        "source": {"image": "../../"},
    }
    array = zarr.open_array(path / image["multiscales"][0]["datasets"][0]["path"], mode="r")
    assert (array.shape, array.dtype, array.shards) == ((1, 4, 6), np.uint8, None)
    np.testing.assert_array_equal(array[...], LABELS[None])
    found = read(path)
    assert (found.name, found.classes) == ("a b", CLASSES)
    assert (found.scale, found.units) == (wanted.scale, units)


def test_every_group_of_ours_can_be_opened(tmp_path):
    export([Annotation("photo", LABELS, CLASSES)], OME, tmp_path)
    path = tmp_path / "photo.ome.zarr"
    for place, name in ((path, "photo"), (path / "labels", "labels")):
        assert recognized(place) is OME
        assert read(place).name == name
    assert read(path / "labels" / "classes").name == "classes"
    assert not OME.recognizes(path / "labels" / "classes" / "0")
    assert not OME.recognizes(tmp_path)


def test_large_ones_have_levels(tmp_path):
    labels = np.random.default_rng(0).choice([0, 2, 7], (2, 30, 2050)).astype(np.uint16)
    export([Annotation("photo", labels, CLASSES, scale=(3.0, 2.0, 0.5))], OME, tmp_path)
    group = zarr.open_group(tmp_path / "photo.ome.zarr" / "labels" / "classes", mode="r")
    assert sorted(group.array_keys()) == ["0", "1", "2"]
    assert group["0"].chunks == (1, 30, 1024)
    np.testing.assert_array_equal(group["2"][...], labels[:, ::4, ::4])
    datasets = group.attrs["ome"]["multiscales"][0]["datasets"]
    assert [one["path"] for one in datasets] == ["0", "1", "2"]
    assert datasets[2]["coordinateTransformations"] == [{"type": "scale", "scale": [3.0, 8.0, 2.0]}]
    np.testing.assert_array_equal(read(tmp_path / "photo.ome.zarr").labels, labels)


def test_the_void_is_left_out(tmp_path):
    annotation = Annotation("photo", LABELS, CLASSES)
    export([annotation], OME, tmp_path, Options(void="dog/cat 😀"))
    found = read(tmp_path / "photo.ome.zarr")
    assert found.classes.ids == (2,)
    np.testing.assert_array_equal(found.labels, np.where(LABELS == 2, 2, 0))


def test_six_axes_are_refused(tmp_path):
    with pytest.raises(NapariCliperError, match="has 6 axes, and OME holds 2 to 5: export fewer"):
        export([Annotation("x", LABELS[None, None, None, None], CLASSES)], OME, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_label_image_of_an_older_version(tmp_path):
    path = foreign(tmp_path / "cells.zarr", scale=[0.5, 0.25])
    assert recognized(path) is OME
    found = read(path)
    assert found.name == "cells"
    np.testing.assert_array_equal(found.labels, LABELS)
    assert seen(found) == {2: ("label 2", (9, 8, 7)), 7: ("cell", (128, 128, 128))}
    assert (found.scale, found.units, found.remarks) == ((0.5, 0.25), (), ())


def test_a_label_image_alone(tmp_path):
    shifted = multiscale("tcyx", [2.0, 1.0, 1.0, 1.0])
    shift = {"type": "translation", "translation": [0, 0, 1.5, 0]}
    shifted["datasets"][0]["coordinateTransformations"].append(shift)
    shifted["coordinateTransformations"] = [{"type": "scale", "scale": [1, 1, 3.0, 3.0]}]
    for axis in shifted["axes"][2:]:
        axis["unit"] = "micrometer"
    path = modern(tmp_path / "cells.ome.zarr", [shifted], labels=LABELS[None, None])
    assert recognized(path) is OME
    found = read(path)
    # The channel of its picture means nothing; time stays.
    np.testing.assert_array_equal(found.labels, LABELS[None])
    assert found.scale == (2.0, 3.0, 3.0)
    assert found.units == ("pixel", "micrometer", "micrometer")
    assert found.remarks == (
        "“cells” does not lie at the origin, but at [0.0, 0.0, 4.5, 0.0]: that is lost.",
    )


def test_all_labels_of_an_image(tmp_path):
    path = foreign(tmp_path / "cells.zarr", label=None)
    write_json(path / "labels" / ".zgroup", {"zarr_format": 2})
    write_json(path / "labels" / ".zattrs", {"labels": ["cell", "more/nuclei"]})
    foreign(path / "labels" / "cell")
    write_json(path / "labels" / "more" / ".zgroup", {"zarr_format": 2})
    foreign(path / "labels" / "more" / "nuclei")
    assert recognized(path) is OME
    found = list(read_annotations(path))
    assert [annotation.name for annotation in found] == ["cells_cell", "cells_more_nuclei"]


def test_labels_without_names(tmp_path):
    path = foreign(tmp_path / "cells.zarr", label={})
    assert read(path).remarks == ("“cells” tells no class names: they are its labels.",)
    assert seen(read(path))[7] == ("label 7", (128, 128, 128))
    (tmp_path / "classes.json").write_text(CLASSES.to_json())
    assert read(path).classes == CLASSES


def test_an_image_is_not_recognized(tmp_path):
    path = foreign(tmp_path / "picture.zarr", label=None)
    assert recognized(path) is None
    with pytest.raises(NapariCliperError, match="holds no labels: give an OME-Zarr with"):
        read(path)
    with pytest.raises(NapariCliperError, match="is no OME-Zarr folder: give one with"):
        read(tmp_path)
    with pytest.raises(NapariCliperError, match="is no OME-Zarr folder: give one with"):
        read(path / ".zgroup")


@pytest.mark.parametrize("place", ["../cells.zarr/s0", "/etc", "http://localhost/s0", "", 7])
def test_it_never_leaves_the_folder(tmp_path, place):
    path = foreign(tmp_path / "cells.zarr")
    attributes = json.loads((path / ".zattrs").read_text())
    attributes["multiscales"][0]["datasets"][0]["path"] = place
    write_json(path / ".zattrs", attributes)
    with pytest.raises(NapariCliperError, match="is damaged or cut short"):
        read(path)


@pytest.mark.parametrize("dtype", ["<u2", "|O"])
@pytest.mark.parametrize("place", ["filters", "compressor"])
def test_pickled_objects_are_not_opened(tmp_path, dtype, place):
    path = foreign(tmp_path / "cells.zarr")
    array = json.loads((path / "s0" / ".zarray").read_text())
    codec = {"id": "pickle", "protocol": 5}
    array |= {"dtype": dtype, place: codec if place == "compressor" else [codec]}
    write_json(path / "s0" / ".zarray", array)
    (path / "s0" / "0" / "0").write_bytes(pickle.dumps(Harmful(tmp_path / "harm")))
    with pytest.raises(NapariCliperError):
        read(path)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS.astype(np.float32), "holds float32 values, not labels: give"),
        (np.full((4, 6), 70000, np.uint32), "labels go from 70000 to 70000: keep them"),
        (LABELS[0], "is damaged or cut short"),
    ],
)
def test_what_is_no_labels_is_refused(tmp_path, labels, message):
    with pytest.raises(NapariCliperError, match=message):
        read(foreign(tmp_path / "cells.zarr", labels=labels))


def test_more_labels_than_fit_are_refused(tmp_path, monkeypatch):
    path = foreign(tmp_path / "cells.zarr")
    monkeypatch.setattr(ome_tiff, "MOST", 23)
    with pytest.raises(NapariCliperError, match="holds 24 labels, and at most 23 are read"):
        read(path)


def test_absurd_sizes_are_refused(tmp_path, monkeypatch):
    path = foreign(tmp_path / "cells.zarr")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 11)
    with pytest.raises(NapariCliperError, match="has too many pixels: make it smaller"):
        read(path)


def test_what_is_damaged_is_refused(tmp_path, subtests):
    export([Annotation("photo", LABELS, CLASSES)], OME, tmp_path)
    path = tmp_path / "photo.ome.zarr"
    files = sorted(file for file in path.rglob("*") if file.is_file())
    assert [file.relative_to(path).as_posix() for file in files] == [
        "labels/classes/0/c/0/0",
        "labels/classes/0/zarr.json",
        "labels/classes/zarr.json",
        "labels/zarr.json",
        "zarr.json",
    ]
    for file in files:
        content = file.read_bytes()
        for cut in (0, len(content) // 2, len(content) - 3):
            with subtests.test(file.name, cut=cut):
                file.write_bytes(content[:cut])
                OME.recognizes(path)
                with pytest.raises(NapariCliperError):
                    read(path)
        file.write_bytes(content)
    for name in ("labels/classes/0/zarr.json", "labels/classes/zarr.json"):
        with subtests.test("missing", name=name):
            content = (path / name).read_bytes()
            (path / name).unlink()
            with pytest.raises(NapariCliperError):
                read(path)
            (path / name).write_bytes(content)


def test_a_damaged_class_list_is_refused(tmp_path):
    export([Annotation("photo", LABELS, CLASSES)], OME, tmp_path)
    file = tmp_path / "photo.ome.zarr" / "labels" / "classes" / "zarr.json"
    known = json.loads(file.read_text("utf-8"))
    known["attributes"]["napari-cliper"]["classes"][0]["id"] = 0
    write_json(file, known)
    with pytest.raises(NapariCliperError, match=r"In “.*”: The class list is not valid at classes"):
        read(tmp_path / "photo.ome.zarr")


@pytest.mark.parametrize(
    "scale", [[0.0, 1.0], [float("nan"), 1.0], [-1.0, 1.0], [[1, 2], [3, 4]], [2]]
)
def test_sizes_that_no_pixel_can_have_are_refused(tmp_path, scale):
    path = tmp_path / "a.zarr"
    foreign(path, scale=scale)
    with pytest.raises(NapariCliperError, match="damaged"):
        read(path)
