"""`napari-cliper convert` and `formats`."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from napari_cliper import load_labels, save_labels
from napari_cliper.cli import app
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.formats import formats
from napari_cliper.files.importing import read_annotations

LABELS = np.zeros((20, 30), np.uint16)
LABELS[2:10, 3:9], LABELS[12:, 20:] = 1, 2


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["convert", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    folder = tmp_path / "masks"
    save_labels(folder / "cat_labels.png", LABELS, "cat; dog = hound")
    save_labels(folder / "pet_labels.png", LABELS.T, "cat; dog = hound")
    return folder


@pytest.mark.parametrize("key", formats())
def test_there_and_back(masks: Path, tmp_path: Path, key: str) -> None:
    out, back = tmp_path / "out", tmp_path / "back"
    assert f"Written to {out}: " in run(masks, "--to", key, "--output", out)
    run(out, "--to", "png", "--output", back)
    for name, labels in (("cat_labels", LABELS), ("pet_labels", LABELS.T)):
        found, classes = load_labels(back / f"{name}.png")
        assert np.array_equal(found, labels)
        assert classes is not None
        assert classes.names == ("cat", "dog")
        assert classes[1].synonyms == ("hound",)


def test_dry_run_writes_nothing(masks: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    said = run(masks, "--to", "coco", "--output", out, "--dry-run")
    assert "annotations.json: " in said
    assert ", new\n" in said
    assert not out.exists()
    run(masks / "cat_labels.png", "--to", "png", "--output", out)
    said = run(masks / "cat_labels.png", "--to", "grey-png", "--output", out, "--dry-run")
    assert "cat_labels.png: " in said
    assert "replaces another" in said


def test_nothing_is_replaced_unasked(masks: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(masks / "cat_labels.png", "--to", "png", "--output", out)
    with pytest.raises(NapariCliperError, match="exists already"):
        run(masks / "cat_labels.png", "--to", "grey-png", "--output", out)
    run(masks / "cat_labels.png", "--to", "grey-png", "--output", out, "--overwrite")
    assert Image.open(out / "cat_labels.png").mode == "L"


def test_some_classes_void_and_names(masks: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(masks / "cat_labels.png", "--to", "png", "--output", out, "--only", "DOG")
    found, classes = load_labels(out / "cat_labels.png")
    assert np.array_equal(found, np.where(LABELS == 2, 2, 0))
    assert classes is not None
    assert classes.names == ("dog",)
    run(
        *(masks / "cat_labels.png", "--to", "png", "--output", out / "b"),
        *("--void", "dog", "--pattern", "{picture}-{name}"),
    )
    found, _ = load_labels(out / "b" / "cat_labels-cat_labels.png")
    assert np.array_equal(found, np.where(LABELS == 2, 255, LABELS))


def test_labels_without_names_get_them_from_a_file(tmp_path: Path) -> None:
    Image.fromarray(LABELS.astype(np.uint8)).save(tmp_path / "a.png")
    classes = {"classes": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]}
    (tmp_path / "meanings.json").write_text(json.dumps(classes))
    with pytest.raises(NapariCliperError, match="is of no format that is known surely"):
        run(tmp_path / "a.png", "--to", "coco")
    run(
        *(tmp_path / "a.png", "--from", "png", "--to", "coco", "--output", tmp_path / "out"),
        *("--classes-file", tmp_path / "meanings.json"),
    )
    (found,) = read_annotations(tmp_path / "out" / "a.json")
    assert found.classes.names == ("cat", "dog")


def test_remarks_are_told(tmp_path: Path) -> None:
    Image.fromarray(LABELS.astype(np.uint8)).save(tmp_path / "a.png")
    said = run(tmp_path / "a.png", "--from", "png", "--to", "png", "--output", tmp_path / "out")
    assert "a: “a.png” tells no class names: they are its labels." in said


def test_a_folder_of_files_that_somebody_names(tmp_path: Path) -> None:
    folder = tmp_path / "SegmentationClass"
    folder.mkdir()
    for name in ("a", "b"):
        Image.fromarray(LABELS.astype(np.uint8)).save(folder / f"{name}.png")
    (folder / "notes.txt").touch()
    run(folder, "--from", "png", "--to", "grey-png", "--output", tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {"a.png", "b.png"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.png", "--to", "png"], "There is no file “missing.png”"),
        ([".", "--to", "png"], "holds no masks of a known format"),
        ([".", "--to", "gif"], "“gif” is no format: choose one of png"),
        ([".", "--to", "png", "--from", "gif"], "“gif” is no format"),
        ([".", "--to", "png", "--pattern", "{0.__class__}"], "is no pattern for file names"),
        (["masks", "--to", "png", "--only", "bird"], "“bird” is none of the classes"),
        (["masks", "--to", "png", "--only", " "], "No class is left to write"),
        (["masks", "--to", "png", "--classes-file", "x.json"], "There is no file “x.json”"),
        (["masks", "--to", "png", "--pattern", "a"], "would be written to the same files"),
    ],
)
def test_mistakes_get_one_sentence(
    masks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NapariCliperError, match=message):
        run(*arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["masks"]


def test_formats_are_listed() -> None:
    done = CliRunner().invoke(app, ["formats"])
    assert done.exit_code == 0
    for known in formats().values():
        assert known.key in done.output
        assert known.title in done.output
