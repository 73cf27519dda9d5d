"""`napari-cliper benchmark`."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from napari_cliper.benchmark import run
from napari_cliper.benchmark.steps import WORDS
from napari_cliper.cli import app
from napari_cliper.errors import NapariCliperError

Words = tuple[str, ...]
RANDOM: Words = ("benchmark", "--random-weights", "--device", "cpu")


def invoke(*arguments: str | Path) -> str:
    done = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def nothing_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse the long work."""

    def begin(*_: object) -> None:
        raise AssertionError("the long work began")

    monkeypatch.setattr("napari_cliper.benchmark.random_weights.random_segmenter", begin)
    monkeypatch.setattr(run, "run", begin)


@pytest.fixture
def quick(preset_file: Path, monkeypatch: pytest.MonkeyPatch) -> Words:
    """What to type for a benchmark that takes seconds."""
    monkeypatch.setattr(run, "SIZE", (64, 96))
    monkeypatch.setattr("napari_cliper.benchmark.steps.MEGAPIXEL", (100, 100))
    return *RANDOM, "--preset", str(preset_file)


def test_the_table_and_the_file(quick: Words, tmp_path: Path) -> None:
    file = tmp_path / "new folder" / "figures.json"
    output = invoke(*quick, "--json", file, "--precision", "float32")
    found = json.loads(file.read_text())
    names = [step["name"] for step in found["steps"]]
    assert names == [
        *("image tower", "VAE encoder", "U-Net", "attention maps", "encode a picture"),
        *("20 new words", "one word changed", "slider, 1 megapixel", "point inspection"),
    ]
    for name in (*names, "peak memory", "the models", "floor"):
        assert name in output
    assert len(WORDS) == 20
    assert (found["precision"], found["random_weights"]) == ("float32", True)
    assert found["weights"] == found["plain_weights"]
    with pytest.raises(NapariCliperError, match="exists already"):
        invoke(*quick, "--json", file)


def test_the_plain_way_is_float32_beside_other_precisions(quick: Words, tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    invoke(*quick, "--json", file, "--precision", "bfloat16")
    found = json.loads(file.read_text())
    assert found["precision"] == "bfloat16"
    assert 0.45 < found["weights"] / found["plain_weights"] < 0.55


def test_how_often_each_step_is_done(quick: Words, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def watched(pairs: object, device: object, repeat: int) -> None:
        seen.append(repeat)
        raise NapariCliperError("enough")

    monkeypatch.setattr(run, "measure", watched)
    with pytest.raises(NapariCliperError, match="enough"):
        invoke(*quick, "--repeat", "7")
    assert seen == [7]
    assert CliRunner().invoke(app, [*RANDOM, "--repeat", "0"]).exit_code == 2


def test_a_file_that_cannot_be_written_shows_at_once(nothing_begins: None, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file" / "figures.json", Path("/proc/figures.json")):
        with pytest.raises(NapariCliperError, match="cannot be written"):
            invoke(*RANDOM, "--json", place)
    with pytest.raises(NapariCliperError, match="is a folder"):
        invoke(*RANDOM, "--json", tmp_path)


def test_absent_weights_are_no_obstacle(nothing_begins: None) -> None:
    with pytest.raises(NapariCliperError, match="add --random-weights"):
        invoke("benchmark", "--preset", "large", "--device", "cpu")


def test_interrupted(quick: Words, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends it at once, and leaves no file."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("napari_cliper.benchmark.our_way.OurWay.encode", interrupt)
    done = CliRunner().invoke(app, [*quick, "--json", str(tmp_path / "figures.json")])
    assert done.exit_code not in (0, 2)
    assert not list(tmp_path.iterdir())
