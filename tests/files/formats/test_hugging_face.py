import json

import numpy as np
import pytest
from PIL import Image

from annotations import ours
from napari_cliper.annotation.annotation import Annotation
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.exporting import export
from napari_cliper.files.formats import Options, format_of
from napari_cliper.files.importing import read_annotations, recognized

HF = format_of("hugging-face")
LABELS = np.zeros((4, 6), np.uint16)
LABELS[1:, :2], LABELS[0] = 1, 2


def picture(path, size=(6, 4), **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "red").save(path, **more)
    return path


def foreign(folder, rows, names=None, labels=LABELS):
    """A dataset as a person writes it by hand."""
    (folder / "masks").mkdir(parents=True)
    Image.fromarray(labels.astype(np.uint8)).save(folder / "masks" / "a.png")
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    if names is not None:
        (folder / "id2label.json").write_text(json.dumps(names), encoding="utf-8")
    return folder


def rows_of(folder):
    text = (folder / "train" / "metadata.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


def read(path):
    (found,) = read_annotations(path, HF)
    return found


def names(annotation):
    return {entry.id: entry.name for entry in annotation.classes}


def test_pictures_that_fit_are_copied_and_come_first(tmp_path):
    there = picture(tmp_path / "pictures" / "Some.JPG")
    turned = Image.Exif()
    turned[0x0112] = 6
    upright = picture(tmp_path / "pictures" / "upright.jpg", (4, 6), exif=turned)
    other = picture(tmp_path / "pictures" / "other.png", (5, 4))
    before = there.read_bytes()
    wanted = [
        Annotation("missing", LABELS, ours("cat", "dog"), picture=tmp_path / "missing.png"),
        Annotation("other", LABELS, ours("cat", "dog"), picture=other),
        Annotation("labels", LABELS, ours("cat", "dog"), picture=there),
        Annotation("upright", LABELS, ours("cat", "dog"), picture=upright),
    ]
    out = tmp_path / "out"
    export(wanted, HF, out)
    # datasets takes the columns, and their order, from the first rows.
    assert rows_of(out) == [
        {"file_name": "labels.jpg", "label_file_name": "labels/labels.png"},
        {"file_name": "upright.jpg", "label_file_name": "labels/upright.png"},
        {"label_file_name": "labels/missing.png"},
        {"label_file_name": "labels/other.png"},
    ]
    assert (out / "train" / "labels.jpg").read_bytes() == there.read_bytes() == before
    assert recognized(out) is HF
    found = {annotation.name: annotation for annotation in read_annotations(out, HF)}
    assert found["labels"].picture == out / "train" / "labels.jpg"
    assert found["other"].picture is None


def test_the_card_and_the_names(tmp_path):
    classes = ours("größer", "void")
    export([Annotation("a", LABELS, classes)], HF, tmp_path, Options(void="void"))
    assert json.loads((tmp_path / "id2label.json").read_text("utf-8")) == {
        "0": "background",
        "1": "größer",
    }
    card = (tmp_path / "README.md").read_text("utf-8")
    assert card.startswith("---\ntask_categories:\n- image-segmentation\n")
    assert "  features:\n  - name: label\n    dtype: image\n---\n" in card
    assert '"1": "größer"' in card
    assert "255 is left undecided" in card


def test_a_table_or_a_folder_can_be_read(tmp_path):
    export([Annotation("a", LABELS, ours("cat", "dog"))], HF, tmp_path)
    (tmp_path / "id2label.json").unlink()
    for path in (tmp_path, tmp_path / "train", tmp_path / "train" / "metadata.jsonl"):
        assert recognized(path) is HF
        assert read(path).classes == ours("cat", "dog")


def test_all_splits_are_read(tmp_path):
    for split in ("test", "train"):
        foreign(tmp_path / split, [{"file_name": "a.png", "mask_file_name": "masks/a.png"}])
    picture(tmp_path / "train" / "a.png")
    (tmp_path / "id2label.json").write_text('{"0": "background", "1": "cat", "2": "dog"}')
    assert recognized(tmp_path) is HF
    test, train = read_annotations(tmp_path)
    assert (test.picture, train.picture) == (None, tmp_path / "train" / "a.png")
    assert names(train) == {1: "cat", 2: "dog"}
    np.testing.assert_array_equal(train.labels, LABELS)
    assert not train.remarks


def test_where_zero_is_a_class_labels_are_numbered_anew(tmp_path):
    labels = np.array([[0, 1, 255, 9]])
    rows = [{"file_name": "a.jpg", "label_file_name": "masks/a.png"}]
    found = read(foreign(tmp_path / "set", rows, {"0": "wall", "1": "floor"}, labels))
    assert names(found) == {1: "wall", 2: "floor", 255: "void"}
    assert found.labels.tolist() == [[1, 2, 255, 0]]
    assert found.remarks == (
        "“id2label.json” does not name the labels [9]: they became background.",
    )


def test_without_names_classes_are_labels(tmp_path):
    folder = foreign(tmp_path / "set", [{"file_name": "b.png", "label_file_name": "masks/a.png"}])
    assert recognized(folder) is None
    found = read(folder)
    assert names(found) == {1: "label 1", 2: "label 2"}
    assert "comes without “id2label.json”" in found.remarks[0]


def test_pictures_without_masks_are_passed_over(tmp_path):
    rows = [
        {"file_name": "a.png", "label_file_name": None},
        {"file_name": "b.png", "label_file_name": "masks/a.png"},
    ]
    assert read(foreign(tmp_path / "set", rows)).name == "a"


def test_other_tables_are_not_recognized(tmp_path):
    captions = foreign(tmp_path / "captions", [{"file_name": "a.png", "text": "a cat"}], {"1": "x"})
    assert not HF.recognizes(captions)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"file_name": "a.png", "label_file_name"', "is damaged or cut short"),
        ("[" * 100_000, "is damaged or cut short"),
        ("7", "does not tell which file is the mask: name it"),
        ({"file_name": "a.png"}, "does not tell which file is the mask: name it"),
        ({"a_file_name": "masks/a.png", "b_file_name": "b"}, "does not tell which file"),
        ({"label_file_name": "../out.png"}, "is no file below its folder: correct"),
        ({"label_file_name": "masks\\..\\..\\out.png"}, "is no file below its folder: correct"),
        ({"label_file_name": "/etc/passwd"}, "is no file below its folder: correct"),
        ({"label_file_name": "C:\\out.png"}, "is no file below its folder: correct"),
        ({"label_file_name": 7}, "is no file below its folder: correct"),
        ({"file_name": "../x", "label_file_name": "masks/a.png"}, "is no file below its folder"),
        ({"label_file_name": "masks/b.png"}, "There is no file"),
        ({"label_file_name": "metadata.jsonl"}, "is no picture"),
    ],
)
def test_damaged_tables_are_refused(tmp_path, row, message):
    folder = foreign(tmp_path / "set", [row])
    assert not HF.recognizes(folder)
    with pytest.raises(NapariCliperError, match=message):
        list(read_annotations(folder, HF))


def test_damaged_names_are_refused(tmp_path):
    row = {"label_file_name": "masks/a.png"}
    for number, content in enumerate(({"one": "cat"}, ["cat"], "cat")):
        folder = foreign(tmp_path / str(number), [row], content)
        with pytest.raises(NapariCliperError, match=r"id2label.json” is damaged"):
            read(folder)


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(NapariCliperError, match=r"holds no “metadata.jsonl”: give the folder"):
        read(tmp_path)


def test_a_picture_with_an_absurd_name_is_not_there(tmp_path):
    row = {"label_file_name": "masks/a.png", "file_name": "a" * 300}
    assert read(foreign(tmp_path / "set", [row])).picture is None
