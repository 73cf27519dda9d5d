"""`napari-cliper info` and `--version`: what a report of a fault says."""

from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from napari_cliper.cli import app
from napari_cliper.models.presets import load_presets


def output(*arguments: str) -> str:
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_the_version() -> None:
    assert output("--version") == f"napari-cliper {version('napari-cliper')}\n"


def test_what_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAPARI_CLIPER_WEIGHTS", str(tmp_path))
    text = output("info")
    told = {line[:16].strip(): line[17:] for line in text.splitlines()}
    for package in ("napari-cliper", "napari", "torch"):
        assert told[package] == version(package)
    assert "threads" in told["device cpu"]
    assert told["preset small"].startswith("here")
    assert {f"preset {name}" for name in load_presets()} <= told.keys()
    assert str(tmp_path) not in text  # folders are a person's
