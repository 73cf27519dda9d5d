"""`segment --tiles` and `--detail`, as a person uses them."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import skimage.data
import tifffile
import zarr

from napari_cliper import load_labels
from napari_cliper.cli import main

Run = Callable[..., SimpleNamespace]


@pytest.fixture
def cat(tmp_path: Path) -> Path:
    tifffile.imwrite(tmp_path / "cat.tif", skimage.data.cat(), photometric="rgb")
    return tmp_path / "cat.tif"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    def run(*arguments: object) -> SimpleNamespace:
        line = ["napari-cliper", "segment", *map(str, arguments), "--preset", "small"]
        line += ["--set", "settings.shorter_side=224", "--output", str(tmp_path / "out")]
        monkeypatch.setattr(sys, "argv", [*line, "--classes", "cat; sofa"])
        with pytest.raises(SystemExit) as stop:
            main()
        return SimpleNamespace(status=stop.value.code, **capsys.readouterr()._asdict())

    return run


def test_tiles_are_written_to_a_folder(run: Run, cat: Path, tmp_path: Path) -> None:
    done = run(cat, "--tiles", "--window", 250)
    assert done.status == 0, done.err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["cat_labels.zarr"]
    labels = zarr.open(tmp_path / "out" / "cat_labels.zarr", mode="r")["labels/classes/0"][:]
    assert (labels[100:250, 150:350] == 1).mean() > 0.8
    for word in ("cat.tif", "presence", "share of pixels", "sofa"):
        assert word in done.out
    refused = run(cat, "--tiles")
    assert refused.status == 2
    assert "--overwrite" in refused.err
    assert run(cat, "--tiles", "--window", 300, "--overwrite").status == 0


def test_detail_gives_the_usual_files(run: Run, cat: Path, tmp_path: Path) -> None:
    done = run(cat, "--detail", "--window", 250)
    assert done.status == 0, done.err
    labels, _ = load_labels(tmp_path / "out" / "cat_labels.png")
    assert (labels[100:250, 150:350] == 1).mean() > 0.8
    assert (tmp_path / "out" / "cat_overlay.png").is_file()


@pytest.mark.parametrize("way", ["--tiles", "--detail"])
def test_a_hot_pixel_does_not_hide_the_rest(run: Run, tmp_path: Path, way: str) -> None:
    dark = skimage.data.cat().astype(np.uint16)
    dark[0, 0] = 65535
    tifffile.imwrite(tmp_path / "cat.tif", dark, photometric="rgb")
    shares = []
    for more in ((), ("--percentiles", "0.1,99.9", "--overwrite")):
        done = run(tmp_path / "cat.tif", way, "--window", 250, *more)
        assert done.status == 0, done.err
        if way == "--tiles":
            stored = zarr.open(tmp_path / "out" / "cat_labels.zarr", mode="r")
            labels = stored["labels/classes/0"][:]
        else:
            labels, _ = load_labels(tmp_path / "out" / "cat_labels.png")
        shares.append((labels[100:250, 150:350] == 1).mean())
    assert shares[0] < 0.3
    assert shares[1] > 0.8


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--tiles", "--detail"), "not both"),
        (("--window", 300), "--tiles or --detail"),
        (("--tiles", "--window", 3), "at least 16"),
        (("--tiles", "--percentiles", "99,1"), "from 0 to 100"),
    ],
)
def test_options_that_do_not_fit(
    run: Run, cat: Path, tmp_path: Path, arguments: tuple[object, ...], says: str
) -> None:
    done = run(cat, *arguments)
    assert done.status == 2
    assert says in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_file_cut_short(run: Run, cat: Path, tmp_path: Path) -> None:
    whole = cat.read_bytes()
    cat.write_bytes(whole[: len(whole) // 2])
    done = run(cat, "--tiles")
    assert done.status == 2, done.out
    assert "Traceback" not in done.err
    assert not (tmp_path / "out").exists()


def test_an_array_without_colours(run: Run, tmp_path: Path) -> None:
    grey = skimage.data.cat()[..., 0].astype(np.uint16) * 200
    zarr.create_array(tmp_path / "cat.zarr", data=grey, chunks=(100, 100))
    done = run(tmp_path / "cat.zarr", "--tiles", "--window", 300)
    assert done.status == 0, done.err
