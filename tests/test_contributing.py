"""What CONTRIBUTING.md adds, added as it says to a copy of the source."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import yaml
from PIL import Image

from napari_cliper import ClassList, load_labels, save_labels

TOP = Path(__file__).parents[1]
# A block's place is the last that the lines before it name: a file, and maybe a line of it.
BLOCK = re.compile(
    r"`(?P<file>src/[\w./]+)`(?:, (?P<side>above|below) `(?P<line>\S+)`)?:?\n\n"
    r"```\w+\n(?P<text>.+?)^```$",
    re.DOTALL | re.MULTILINE,
)
MAIN = "from napari_cliper.cli import main; main()"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source with all additions."""
    top = tmp_path_factory.mktemp("copy")
    passed = shutil.ignore_patterns("__pycache__")
    for name in ("src", "tools"):
        shutil.copytree(TOP / name, top / name, ignore=passed)
    (top / "docs").mkdir()
    shutil.copy(TOP / "docs" / "formats.md", top / "docs")
    blocks = list(BLOCK.finditer((TOP / "CONTRIBUTING.md").read_text("utf-8")))
    assert len(blocks) == 6
    for block in blocks:
        add(block, top)
    return top


def add(block: re.Match[str], top: Path) -> None:
    """Put a block above or below a line, at a file's end, or into a new file."""
    file, text = top / block["file"], block["text"]
    if block["line"] is None:
        with file.open("a", encoding="utf-8") as end:
            end.write(f"\n{text}" if end.tell() else text)
        return
    line = re.compile(rf"^( *{re.escape(block['line'])}\n)", re.MULTILINE)
    before, found, after = line.split(file.read_text("utf-8"))
    parts = [text, "\n", found] if block["side"] == "above" else [found, text]
    file.write_text("".join([before, *parts, after]), "utf-8")


def run(copy: Path, *arguments: object, cwd: Path = TOP) -> str:
    """What Python prints for whom the copy is the installed source."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(copy / "src")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def test_the_format_is_written_and_read(copy: Path, tmp_path: Path) -> None:
    labels = np.zeros((6, 8), np.uint16)
    labels[1:4, 2:5] = 1
    save_labels(tmp_path / "cat_labels.png", labels, ClassList.parse("cat"))
    run(copy, "-c", MAIN, "convert", "cat_labels.png", "--to", "pgm", "--output", "a", cwd=tmp_path)
    with Image.open(tmp_path / "a" / "cat_labels.pgm") as picture:  # as others read it
        assert np.array_equal(np.asarray(picture), labels)
    run(copy, "-c", MAIN, "convert", "a", "--to", "png", "--output", "b", cwd=tmp_path)
    assert np.array_equal(load_labels(tmp_path / "b" / "cat_labels.png")[0], labels)


def test_the_format_passes_the_tests_of_all_formats(copy: Path) -> None:
    tests = [TOP / "tests" / name for name in ("files/formats/test_round_trips.py", "fuzz")]
    out = run(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "pgm", *tests)
    assert int(re.search(r"(\d+) passed", out)[1]) > 12, out


def test_the_manifest_has_all_formats(copy: Path) -> None:
    manifest = yaml.safe_load((copy / "src/napari_cliper/napari.yaml").read_text("utf-8"))
    writers = {one["command"] for one in manifest["contributions"]["writers"]}
    code = "from napari_cliper.files.formats import formats; print(*formats())"
    keys = run(copy, "-c", code).split()
    assert "pgm" in keys
    assert writers == {f"napari-cliper.write_{key.replace('-', '_')}" for key in keys}
    run(copy, "-m", "npe2", "validate", "--imports", copy / "src/napari_cliper/napari.yaml")


def test_the_table_of_formats_is_drawn_anew(copy: Path) -> None:
    run(copy, copy / "tools/formats_table.py")
    before, after = ((top / "docs/formats.md").read_text("utf-8") for top in (TOP, copy))
    added = [line for line in after.splitlines() if line not in before.splitlines()]
    assert [line.split("`")[1] for line in added if line.startswith("|")] == ["pgm"]


def test_the_preset_and_the_method_segment(copy: Path, tmp_path: Path) -> None:
    Image.fromarray(skimage.data.cat()).save(tmp_path / "cat.png")
    choice = ["--preset", "small-quick", "--method", "key-key", "--device", "cpu"]
    words = ["--classes", "cat; sofa", "--present", "all"]
    run(copy, "-c", MAIN, "segment", "cat.png", *words, *choice, "--output", "out", cwd=tmp_path)
    labels, _ = load_labels(tmp_path / "out" / "cat_labels.png")
    assert labels.shape == (300, 451)
    assert set(np.unique(labels)) <= {0, 1, 2}
    assert labels.any()
