"""`napari-cliper convert` and `formats`."""

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic_core import to_json
from typer.testing import CliRunner

from napari_cliper import load_labels, save_labels
from napari_cliper.annotation.class_list import ClassList
from napari_cliper.annotation.session import MaskNotes, Model, Notes, Picture
from napari_cliper.cli import app
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.formats import formats
from napari_cliper.files.importing import read_annotations
from napari_cliper.files.session import MaskMaps, save_session

LABELS = np.zeros((20, 30), np.uint16)
LABELS[2:10, 3:9], LABELS[12:, 20:] = 1, 2


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["convert", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def labelme(path: Path, *names: str) -> None:
    """A file of labelme's with an object of two columns for each name."""
    shapes = [
        {
            "label": name,
            "points": [[2 * place, 0], [2 * place + 1, 9]],
            "shape_type": "rectangle",
        }
        for place, name in enumerate(names)
    ]
    path.parent.mkdir(exist_ok=True)
    size = {"imageHeight": 10, "imageWidth": 12}
    path.write_bytes(to_json({"shapes": shapes, "imagePath": f"{path.stem}.jpg", **size}))


def session(folder: Path, *roles: str, place: tuple[int, ...] = ()) -> None:
    """A session whose picture is called cat, with a mask of each role."""
    notes = Notes(
        saved=datetime(2026, 5, 17, tzinfo=UTC),
        picture=Picture(name="cat", sha256="0" * 64, size=LABELS.shape, place=place),
        model=Model(preset="small", device="auto", method="cliper", precision="float32"),
    )
    pets = ClassList.parse("hen; cat; dog")
    numbers = ClassList.parse("Dog 1; Dog 2")
    masks = [
        MaskNotes(role=role, name=role, classes=numbers if " " in role else pets) for role in roles
    ]
    save_session(folder, notes, [(mask, MaskMaps(LABELS)) for mask in masks])


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
    with Image.open(out / "cat_labels.png") as picture:
        assert picture.mode == "L"


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


def test_names_without_labels_get_those_of_a_given_list(tmp_path: Path) -> None:
    labelme(tmp_path / "a.json", "Dog", "cat")
    given = tmp_path / "given" / "classes.json"
    given.parent.mkdir()
    given.write_text(ClassList.parse("cat; dog = hound; hen").to_json())
    arguments = ["--to", "png", "--output", tmp_path / "out", "--classes-file", given]
    run(tmp_path / "a.json", *arguments)
    found, classes = load_labels(tmp_path / "out" / "a.png")
    assert found[0].tolist() == [2, 2, 1, 1] + 8 * [0]
    assert classes == ClassList.from_json(given.read_text())
    labelme(tmp_path / "b.json", "cat", "bird")
    with pytest.raises(NapariCliperError, match="“b” has the class “bird”, which is none of"):
        run(tmp_path / "b.json", *arguments)


@pytest.mark.parametrize("key", ["png", "coco"])
def test_a_name_has_one_label_in_a_whole_run(tmp_path: Path, key: str) -> None:
    labelme(tmp_path / "in" / "a.json", "dog")
    labelme(tmp_path / "in" / "b.json", "cat", "hen", "Dog")
    run(tmp_path / "in", "--to", key, "--output", tmp_path / "out")
    run(tmp_path / "out", "--to", "png", "--output", tmp_path / "png")
    a, _ = load_labels(tmp_path / "png" / "a.png")
    b, classes = load_labels(tmp_path / "png" / "b.png")
    assert a[0, :2].tolist() == [1, 1]
    assert b[0, :6].tolist() == [3, 3, 2, 2, 1, 1]
    assert classes is not None
    assert {entry.name.casefold(): entry.id for entry in classes} == {"dog": 1, "hen": 2, "cat": 3}


def test_the_list_near_has_its_say_where_it_lacks_a_name(tmp_path: Path) -> None:
    labelme(tmp_path / "in" / "a.json", "bird", "cat")
    labelme(tmp_path / "in" / "b.json", "cat")
    classes = ClassList.parse("hen; cat")
    (tmp_path / "in" / "classes.json").write_text(classes.to_json())
    run(tmp_path / "in", "--to", "coco", "--output", tmp_path / "out")
    (a, b) = read_annotations(tmp_path / "out" / "annotations.json")
    assert a.labels[0, :4].tolist() == [3, 3, 2, 2]
    assert b.labels[0, :2].tolist() == [2, 2]


def test_what_is_left_out_is_told(masks: Path, tmp_path: Path) -> None:
    Image.new("RGB", (30, 20)).save(masks / "cat.png")  # the picture of a mask
    Image.new("RGB", (30, 20)).save(masks / "cat_overlay.png")
    (masks / "notes.txt").touch()
    out = ["--to", "coco", "--output", tmp_path / "out", "--overwrite"]
    assert "left out" not in run(masks, *out)
    (masks / "broken.json").write_text('{"shapes": [')
    said = run(masks, *out)
    assert f"1 file in “{masks}” is of no format that is known surely, “broken.json”" in said
    (masks / "cat_labels.png").write_bytes((masks / "cat_labels.png").read_bytes()[:30])
    said = run(masks, *out)
    assert "3 files in “" in said
    assert "“broken.json” for one: they are left out." in said
    assert "left out" not in run(masks / "pet_labels.png", *out)


@pytest.mark.parametrize("key", ["coco", "coco-panoptic", "label-studio", "labelme", "png"])
def test_what_we_wrote_is_read_as_what_somebody_says(masks: Path, tmp_path: Path, key: str) -> None:
    run(masks, "--to", key, "--output", tmp_path / "out")
    Image.new("RGB", (30, 20)).save(tmp_path / "out" / "cat_overlay.png")
    run(tmp_path / "out", "--from", key, "--to", "png", "--output", tmp_path / "back")
    assert {path.name for path in (tmp_path / "back").glob("*.png")} == {
        "cat_labels.png",
        "pet_labels.png",
    }


def test_some_classes_that_not_all_pictures_have(tmp_path: Path) -> None:
    save_labels(tmp_path / "a" / "one.png", LABELS, "cat; dog")
    save_labels(tmp_path / "b" / "two.png", LABELS % 2, "hen")
    out = tmp_path / "out"
    run(tmp_path / "a", tmp_path / "b", "--to", "png", "--output", out, "--only", "dog")
    one, _ = load_labels(out / "one.png")
    two, classes = load_labels(out / "two.png")
    assert np.array_equal(one, np.where(LABELS == 2, 2, 0))
    assert not two.any()
    assert classes is not None
    assert classes.names == ("hen",)


@pytest.mark.parametrize(
    ("layer", "roles"),
    [
        (None, ["refined"]),
        ("coarse", ["coarse"]),
        ("instances", ["instances of dog"]),
        ("all", ["coarse", "instances of dog", "refined"]),
    ],
)
def test_the_layers_of_a_session(tmp_path: Path, layer: str | None, roles: list[str]) -> None:
    session(tmp_path / "one", "refined", "coarse", "instances of dog")
    more = ["--layer", layer] if layer else []
    run(tmp_path / "one", "--to", "png", "--output", tmp_path / "out", *more)
    found = sorted(path.name for path in (tmp_path / "out").glob("*.png"))
    assert found == [f"cat_{role}.png" for role in roles]


def test_a_session_without_a_refined_layer(tmp_path: Path) -> None:
    session(tmp_path / "all" / "one", "coarse", place=(0, 3))
    session(tmp_path / "all" / "two", "coarse", "instances of dog", place=(1, 3))
    out = tmp_path / "out"
    run(tmp_path / "all", "--to", "png", "--output", out)
    assert sorted(path.name for path in out.glob("*.png")) == [
        "cat_0_3_coarse.png",
        "cat_1_3_coarse.png",
        "cat_1_3_instances of dog.png",
    ]
    said = run(tmp_path / "all", "--to", "png", "--output", out / "b", "--layer", "instances")
    assert f"“{tmp_path / 'all' / 'one'}” holds no layer “instances”: it is left out." in said


def test_instances_of_a_session_become_objects(tmp_path: Path) -> None:
    session(tmp_path / "one", "refined", "instances of Dog", "instances of owl")
    run(tmp_path / "one", "--to", "coco", "--output", tmp_path / "out", "--layer", "all")
    _, dogs, owls = read_annotations(tmp_path / "out" / "annotations.json")
    assert np.array_equal(dogs.labels, np.where(LABELS, 3, 0))
    assert dogs.instances is not None
    assert len(np.unique(dogs.instances)) == 3
    assert np.array_equal(owls.labels, np.where(LABELS, 4, 0))
    assert owls.classes.names == ("hen", "cat", "dog", "owl")
    run(tmp_path / "one", "--to", "png", "--output", tmp_path / "png", "--layer", "instances")
    found, classes = load_labels(tmp_path / "png" / "cat_instances of Dog.png")
    assert np.array_equal(found, LABELS)
    assert classes is not None
    assert classes.names == ("Dog 1", "Dog 2")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.png", "--to", "png"], "There is no file “missing.png”"),
        (["masks", "--to", "png", "--void", "bird"], "“bird” is none of the classes"),
        (["masks", "--to", "png", "--only", "cat", "--void", "dog"], "“dog” is none of"),
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
