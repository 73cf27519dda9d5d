"""The examples of the documents do what their first lines promise, and write nowhere else."""

import json
import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image

import napari_cliper as nc

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))
NOTEBOOK = EXAMPLES / "from-words-to-masks.ipynb"
PAGE = EXAMPLES / "index.md"

Run = Callable[[str], list[str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a script as `python docs/examples/NAME.py` does, and gives the lines it prints."""
    monkeypatch.chdir(tmp_path)

    def run(name: str) -> list[str]:
        monkeypatch.setattr(sys, "argv", [name])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        assert [path.name for path in tmp_path.iterdir()] == ["example-output"]
        return capsys.readouterr().out.splitlines()

    return run


def written(folder: str = "example-output") -> set[str]:
    return {path.name for path in Path(folder).iterdir()}


def size(path: str) -> tuple[int, int]:
    with Image.open(Path("example-output", path)) as picture:
        return picture.size


def test_words_become_a_file(run: Run) -> None:
    lines = run("segment_and_save.py")
    assert [re.sub(r"\d+", "N", line) for line in lines] == [
        "cat: presence N.N, N% of the pixels",
        "eye: presence N.N, N% of the pixels",
    ]
    assert written() == {"cat_labels.png", "classes.json", "cat_overlay.png"}
    labels, classes = nc.load_labels("example-output/cat_labels.png")
    assert classes is not None
    assert classes.names == ("cat", "eye")
    assert labels[200, 230] == 1
    assert labels[110, 170] == 2  # an eye


def test_the_picture_is_looked_at_once(run: Run) -> None:
    lines = run("other_words.py")
    assert len(lines) == 4
    assert written() == {"words-1.png", "words-2.png", "words-3.png"}
    one, two, fewer = (int(re.findall(r"(\d+)%", line)[0]) for line in lines[1:])
    assert one < fewer < two  # the floor too; then less of both


def test_a_folder_is_reviewed(run: Run) -> None:
    first = run("review_a_folder.py")
    assert first[0].startswith("3 segmented")
    queue = [line.partition(": ")[2] for line in first[2:]]
    unsure = [float(line.split()[-1]) for line in queue]
    assert unsure == sorted(unsure, reverse=True)
    assert [line.split(",")[0] for line in queue] == ["proposed", "proposed", "accepted"]
    names = ("astronaut", "cat", "rocket")
    assert {f"{name}_labels.png" for name in names} < written("example-output/proposals")

    again = run("review_a_folder.py")
    assert again[0].startswith("0 segmented")
    assert again[2:] == first[2:]


def test_masks_become_coco(run: Run) -> None:
    lines = run("export_to_coco.py")
    assert lines[-2:] == ["cat: cat", "coffee: cup"]
    assert written("example-output/coco") == {"annotations.json", "classes.json"}
    coco = json.loads(Path("example-output/coco/annotations.json").read_text("utf-8"))
    assert f"{len(coco['annotations'])} objects" in lines
    assert {picture["file_name"] for picture in coco["images"]} == {"cat.png", "coffee.png"}


def test_attention_stays_on_the_cat(run: Run) -> None:
    lines = run("attention_of_a_point.py")
    shares = [int(re.findall(r": (\d+)%", line)[0]) for line in lines]
    assert len(shares) == 3
    assert min(shares) > 75  # which is what the mask takes of the picture
    assert size("attention.png") == (960, 240)


def test_a_mask_becomes_a_layer_and_a_file_again(run: Run) -> None:
    assert run("masks_in_napari.py") == ["cat", "cat_labels"]
    assert written() == {"cat.png", "cat_labels.png", "classes.json", "cat_painted.png"}
    before, classes = nc.load_labels("example-output/cat_labels.png")
    painted, again = nc.load_labels("example-output/cat_painted.png")
    assert again == classes
    assert before[200, 230] == 1
    changed = painted != before
    assert painted[changed].max() == 0
    assert 600 < np.count_nonzero(changed) < 800  # a disk of 30 pixels


def test_a_preset_of_ones_own(run: Run) -> None:
    lines = run("own_preset.py")
    assert lines[:2] == ["DINOv2-S + MiniLM: 32 × 47 patches", "Half the side: 16 × 24 patches"]
    assert 80 < int(re.findall(r"(\d+)%", lines[2])[0]) < 100
    assert written() == {"quick.toml"}


def test_the_notebook_runs(tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(notebook, timeout=100, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    nbformat.validate(notebook)
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    complaints = [out["text"] for out in outputs if out.get("name") == "stderr"]
    assert all("TqdmWarning" in text for text in complaints), complaints  # it lacks ipywidgets
    pictures = [out for out in outputs if "image/png" in out.get("data", {})]
    assert len(pictures) >= 5
    assert {path.name for path in tmp_path.iterdir()} == {"cat_labels.png", "classes.json"}
    labels, classes = nc.load_labels(tmp_path / "cat_labels.png")
    assert classes is not None
    assert set(np.unique(labels)) == {0, *classes.ids}


def test_the_notebook_is_stored_as_it_was_written() -> None:
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_each_example_is_in_the_gallery_and_tested(script: Path) -> None:
    assert f"literalinclude}} {script.name}\n" in PAGE.read_text("utf-8")
    assert f'run("{script.name}")' in Path(__file__).read_text("utf-8")


def test_the_notebook_is_in_the_gallery() -> None:
    assert f"({NOTEBOOK.name})" in PAGE.read_text("utf-8")
