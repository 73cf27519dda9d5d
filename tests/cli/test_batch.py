"""`napari-cliper batch` as a person uses it: status, sentences, files."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import skimage.data
from PIL import Image

from napari_cliper.cli import main

Run = Callable[..., SimpleNamespace]
SMALL = ("--preset", "small", "--device", "cpu", "--set", "settings.shorter_side=70")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, step in (("one", 4), ("two", 5)):
        Image.fromarray(np.ascontiguousarray(skimage.data.cat()[::step, ::step])).save(
            folder / f"{name}.png"
        )
    return folder


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run the command in this process, writing to `tmp_path / "out"`."""

    def run(*arguments: object) -> SimpleNamespace:
        line = ["napari-cliper", "batch", *map(str, arguments), *SMALL]
        monkeypatch.setattr(sys, "argv", [*line, "--output", str(tmp_path / "out")])
        with pytest.raises(SystemExit) as stop:
            main()
        return SimpleNamespace(status=stop.value.code, **capsys.readouterr()._asdict())

    return run


def test_percentiles(run: Run, pictures: Path, tmp_path: Path) -> None:
    assert run(pictures, "--classes", "cat").status == 0
    refused = run(pictures, "--classes", "cat", "--percentiles", "1,99")
    assert refused.status == 2
    assert "--overwrite" in refused.err or "overwriting" in refused.err
    assert run(pictures, "--classes", "cat", "--percentiles", "1,99", "--overwrite").status == 0
    assert "2 pictures done before" in run(
        pictures, "--classes", "cat", "--percentiles", "1,99"
    ).out.replace("\n", " ")
    mistaken = run(pictures, "--classes", "cat", "--percentiles", "99")
    assert mistaken.status == 2
    assert "not two percentiles" in mistaken.err


def test_masks_an_export_and_where_to_go_on(run: Run, pictures: Path, tmp_path: Path) -> None:
    done = run(pictures, "--classes", "cat", "--format", "coco", "--format", "grey-png")
    assert done.status == 0, done.err
    assert "2 pictures to segment" in done.out
    assert "2 segmented in" in done.out
    assert f"open the folder {tmp_path / 'out'} in the dock Review pictures" in done.out
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.suffix) == [
        "batch.jsonl",
        "classes.json",
        "one_labels.png",
        "review.json",
        "two_labels.png",
    ]
    assert (tmp_path / "out" / "coco").is_dir()
    assert len(list((tmp_path / "out" / "grey-png").glob("*.png"))) == 2
    again = run(pictures, "--classes", "cat", "--format", "coco")
    assert again.status == 0
    assert "2 pictures done before" in again.out


def test_a_dry_run_writes_nothing(run: Run, pictures: Path, tmp_path: Path) -> None:
    done = run(pictures, "--classes", "cat", "--dry-run")
    assert done.status == 0
    assert done.out == "2 pictures to segment\n"
    assert not (tmp_path / "out").exists()


def test_classes_may_lie_in_a_file(run: Run, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("cat = kitten\n# no class\ndog\n", "utf-8")
    done = run(pictures / "one.png", "--classes-file", tmp_path / "classes.txt")
    assert done.status == 0, done.err
    assert '"dog"' in (tmp_path / "out" / "classes.json").read_text("utf-8")


def test_a_picture_that_fails_is_told_at_the_end(run: Run, pictures: Path, tmp_path: Path) -> None:
    (pictures / "bad.png").write_bytes(b"no picture")
    done = run(pictures, "--classes", "cat")
    assert done.status == 1
    assert "2 segmented in" in done.out
    assert "1 failed: run again" in done.out
    assert done.err.rstrip().splitlines()[-1].startswith("bad.png: ")
    assert len(list((tmp_path / "out").glob("*_labels.png"))) == 2


def test_workers_do_the_same(run: Run, pictures: Path, tmp_path: Path) -> None:
    assert run(pictures, "--classes", "cat").status == 0
    alone = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.png")}
    (tmp_path / "out").rename(tmp_path / "alone")
    done = run(pictures, "--classes", "cat", "--workers", "1")
    assert done.status == 0, done.err
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").glob("*.png")} == alone


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "Say what to look for"),
        (("--classes", "cat", "--classes-file", "x.json"), "Say what to look for"),
        (("--classes-file", "x.json"), "There is no file “x.json”"),
        (("--classes", "cat", "--format", "nonsense"), "“nonsense” is no format"),
        (("--classes", "cat", "--present", "dog"), "“dog” is said to be in the picture"),
        (
            ("--classes", "cat", "--workers", "1", "--scheduler", "tcp://127.0.0.1:9"),
            "give one of both",
        ),
        (("--classes", "cat", "--method", "nonsense"), "nonsense"),
    ],
)
def test_a_mistake_is_told_before_the_work(
    run: Run, pictures: Path, tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    done = run(pictures, *arguments)
    assert done.status == 2
    assert told in done.err
    assert done.err.startswith("napari-cliper: ")
    assert not (tmp_path / "out").exists()


def test_an_empty_folder_and_one_that_is_not_there(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for given, told in (("empty", "There are no pictures in"), ("absent", "There is no")):
        done = run(tmp_path / given, "--classes", "cat")
        assert (done.status, told in done.err) == (2, True)


def test_other_classes_beside_masks_are_not_written_over(
    run: Run, pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    theirs = tmp_path / "out" / "classes.json"
    theirs.write_text('{"classes": [{"id": 1, "name": "dog"}]}', "utf-8")
    before = theirs.read_bytes()
    done = run(pictures, "--classes", "cat")
    assert done.status == 2
    assert "holds other classes" in done.err
    assert theirs.read_bytes() == before
