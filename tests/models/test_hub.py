"""Downloads from a hub on this machine: what comes, what goes wrong, and going on after it."""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from huggingface_hub import close_session, constants, scan_cache_dir, try_to_load_from_cache

from models.fake_hub import COMMIT, FakeHub, safetensors, serve, sha256
from napari_cliper.cliper import Step, drain
from napari_cliper.errors import NapariCliperError
from napari_cliper.models import hub, loading
from napari_cliper.models.presets import get_preset
from napari_cliper.models.schema import Repository
from napari_cliper.models.sources import Place

REPO = "owner/model"
BIG = safetensors(1_500_000)
SMALL = b'{"a": 1}'
NAMES = ("unet/model.safetensors", "unet/config.json")
REPOSITORY = Repository(
    repo=REPO, revision=COMMIT, files={NAMES[0]: sha256(BIG), NAMES[1]: ""}, licence="MIT"
)
UNKNOWN = REPOSITORY.model_copy(update={"files": dict.fromkeys(NAMES, "")})


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, hub_cache: Path) -> Iterator[FakeHub]:
    with serve(monkeypatch, hub_cache) as server:
        server.files = {(REPO, NAMES[0]): BIG, (REPO, NAMES[1]): SMALL}
        yield server


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert not [it for it in threading.enumerate() if it.name == "napari-cliper download"]


def fetch(repository: Repository = REPOSITORY, steps: list[Step] | None = None) -> dict[str, Path]:
    on_step = None if steps is None else steps.append
    return drain(hub.download(repository, repository.files), on_step)


def refusal(repository: Repository = REPOSITORY) -> str:
    with pytest.raises(NapariCliperError) as caught:
        fetch(repository)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    return sentence


def complete(files: dict[str, Path]) -> bool:
    return [files[name].read_bytes() for name in NAMES] == [BIG, SMALL]


def partial(cache: Path) -> Path:
    (found,) = cache.glob("*/blobs/*.incomplete")
    return found


def test_files_come_into_the_hubs_own_cache(fake, hub_cache):
    assert hub.in_cache(REPOSITORY) is None
    steps: list[Step] = []
    files = fetch(steps=steps)
    assert complete(files)
    source = hub.in_cache(REPOSITORY)
    assert source is not None
    assert (source.files, source.place) == (files, Place.HUB)
    assert steps[0].name == "Asking the hub for owner/model"
    assert not list(hub_cache.rglob("*.incomplete"))
    # The hub's own client finds the same files, without asking, and sees nothing odd.
    found = try_to_load_from_cache(REPO, NAMES[0], hub_cache, COMMIT)
    assert found == str(files[NAMES[0]])
    scanned = scan_cache_dir(hub_cache)
    assert not scanned.warnings
    assert [repo.size_on_disk for repo in scanned.repos] == [len(BIG) + len(SMALL)]


def test_loading_says_size_and_licence_before_it_fetches(fake):
    steps = loading.Loader(get_preset("base"), torch.device("cpu"), download=True)._obtain(
        REPOSITORY
    )
    assert next(steps).name == (
        "About to fetch owner/model: size not known, licence MIT, https://huggingface.co/owner/model"
    )
    assert not fake.asked
    source = drain(steps)
    assert complete(source.files)
    assert source == hub.in_cache(REPOSITORY)


def test_what_is_here_is_not_asked_for_again(fake):
    files = fetch()
    fake.asked.clear()
    assert fetch() == files
    assert not fake.asked
    files[NAMES[1]].unlink()
    fetch()
    assert {asked.path.rpartition("/")[2] for asked in fake.asked} == {"config.json"}


def test_steps_tell_bytes_of_all_files(fake):
    fake.delay = 0.01
    steps: list[Step] = []
    fetch(steps=steps)
    named = [step for step in steps if step.name.startswith(f"Fetching {NAMES[0]} (")]
    assert len(named) >= 2
    assert named[-1].name.endswith(" of 1.5 MB)")
    assert {step.total for step in named} == {(len(BIG) + len(SMALL)) // 1000}
    assert [step.done for step in named] == sorted(step.done for step in named)
    assert named[-1].done > 500


def test_nothing_but_the_request_is_sent(fake, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("AI_AGENT", "somebody")
    fetch()
    for asked in fake.asked:
        assert asked.headers.keys() <= {
            *("host", "accept", "accept-encoding", "connection", "user-agent", "range"),
            *("authorization", "x-amzn-trace-id"),
        }
        assert asked.headers["user-agent"] == "napari-cliper"
        assert "resolve" in asked.path or "content" in asked.path
        # The token is for the hub alone.
        own = not asked.path.startswith("/content/")
        assert asked.headers.get("authorization") == ("Bearer hf_secret" if own else None)
    assert fake.contents()
    fake.asked.clear()
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    fetch(Repository(repo=REPO, files={NAMES[1]: ""}))
    assert fake.asked
    assert not any("authorization" in asked.headers for asked in fake.asked)


def test_the_newest_revision_where_none_is_pinned(fake):
    repository = UNKNOWN.model_copy(update={"revision": None})
    assert complete(fetch(repository))
    fake.commit = "f" * 40
    fake.files[REPO, NAMES[1]] = b"{}"
    source = hub.in_cache(repository)
    assert source is not None
    assert complete(source.files)
    fake.asked.clear()
    files = fetch(repository)
    assert files[NAMES[1]].read_bytes() == b"{}"
    assert not fake.contents()  # its content is the same and here already
    assert hub.in_cache(repository).files == files


def test_a_broken_connection_is_taken_up_again(fake):
    fake.drops = [400_000, 300_000]
    fake.failures = [503]
    assert complete(fetch())
    assert [asked.range for asked in fake.contents()] == [
        *(None, None, "bytes=400000-", "bytes=700000-")
    ]
    assert fake.sent() == len(BIG)


def test_a_connection_that_stays_broken(fake, hub_cache):
    fake.drops = [400_000, 0, 0, 0]
    sentence = refusal()
    assert f"The connection broke off while {NAMES[0]} was fetched from owner/model" in sentence
    assert "the next try goes on from there" in sentence
    assert partial(hub_cache).read_bytes() == BIG[:400_000]
    assert hub.in_cache(REPOSITORY) is None
    assert hub.bytes_in_cache(REPOSITORY) == 400_000
    assert not scan_cache_dir(hub_cache).warnings
    fake.asked.clear()
    steps: list[Step] = []
    fake.delay = 0.01
    assert complete(fetch(steps=steps))
    assert [asked.range for asked in fake.contents()] == ["bytes=400000-"]
    assert all(step.done >= 400 for step in steps if "(" in step.name)


def cancel_in_the_middle(fake: FakeHub, cache: Path) -> int:
    steps = hub.download(REPOSITORY, NAMES)
    deadline = time.monotonic() + 10
    for step in steps:
        assert time.monotonic() < deadline
        if step.done > 100:
            break
    start = time.monotonic()
    steps.close()
    assert time.monotonic() - start < 1
    fake.delay, fake.stall = 0, None
    size = partial(cache).stat().st_size
    assert 100_000 < size < len(BIG)
    return size


@pytest.mark.parametrize("stalled", [False, True])
def test_cancelled_in_the_middle_then_taken_up_again(fake, hub_cache, stalled):
    if stalled:
        fake.stall = 400_000  # nothing comes, and nothing ends
    else:
        fake.delay = 0.02
    size = cancel_in_the_middle(fake, hub_cache)
    fake.asked.clear()
    assert complete(fetch())
    assert [asked.range for asked in fake.contents()] == [f"bytes={size}-"]


def test_cancelled_before_it_began(fake, hub_cache):
    steps = hub.download(REPOSITORY, NAMES)
    steps.close()
    assert not fake.asked
    assert not hub_cache.exists()


def test_a_server_that_knows_no_parts(fake):
    fake.drops, fake.ranges = [400_000], False
    assert complete(fetch())
    assert fake.sent() == 400_000 + len(BIG)


@pytest.mark.parametrize("known", [True, False])
def test_wrong_bytes_are_removed_and_fetched_anew(fake, hub_cache, known):
    """The hub tells the sum of large files, so that it need not be in the preset."""
    fake.instead = safetensors(1_500_000, seed=1)
    repository = REPOSITORY if known else UNKNOWN
    assert refusal(repository) == (
        f"{NAMES[0]} came from owner/model with a wrong checksum and was removed: try again."
    )
    assert not any(path.is_file() for path in hub_cache.glob("*/blobs/*"))
    assert not any(path.is_file() for path in hub_cache.glob("*/snapshots/**/*"))
    fake.instead = None
    fake.asked.clear()
    assert complete(fetch(repository))
    assert [asked.range for asked in fake.contents()] == [None]


@pytest.mark.parametrize("instead", [BIG + b"more", BIG[:1000]])
def test_another_size_than_announced(fake, hub_cache, instead):
    fake.instead = instead
    assert "with a wrong size and was removed" in refusal()
    assert not list(hub_cache.rglob("*.incomplete"))
    fake.instead = None
    assert complete(fetch())


def test_a_partial_file_that_is_too_long_is_begun_anew(fake):
    blobs = hub.store(REPOSITORY) / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{sha256(BIG)}.incomplete").write_bytes(BIG + b"more")
    assert complete(fetch())
    assert [asked.range for asked in fake.contents()] == [None]


def test_a_sum_that_the_hub_does_not_have_is_refused_before_the_download(fake):
    wrong = REPOSITORY.model_copy(update={"files": {NAMES[0]: "0" * 64}})
    assert "has another checksum on the hub than the preset says" in refusal(wrong)
    assert not fake.contents()


@pytest.mark.parametrize("damage", ["cut", "empty", "other"])
def test_damage_in_the_cache_is_mended(fake, hub_cache, damage):
    """As after a crash or a power cut: the name is there, the bytes are not."""
    files = fetch()
    blob = files[NAMES[0]].resolve()
    blob.write_bytes({"cut": BIG[:-100], "empty": b"", "other": safetensors(1_500_000, 1)}[damage])
    if damage == "other":  # to find this, gigabytes would have to be read at every start
        assert hub.in_cache(REPOSITORY) is not None
    else:
        assert hub.in_cache(REPOSITORY) is None
    fake.asked.clear()
    assert complete(fetch())
    assert [asked.range for asked in fake.contents()] == [None]
    assert hub.in_cache(REPOSITORY) is not None


def test_damage_outside_the_cache_is_left_alone(fake, hub_cache, tmp_path):
    mine = tmp_path / "mine" / NAMES[0]
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    snapshot = hub_cache / "models--owner--model" / "snapshots" / COMMIT
    snapshot.parent.mkdir(parents=True)
    snapshot.symlink_to(tmp_path / "mine")
    assert "lies outside the hub's cache" in refusal()
    assert mine.read_bytes() == b"mine"


def test_a_pickle_where_safetensors_is_due(fake, hub_cache):
    fake.files[REPO, NAMES[0]] = b"PK\x03\x04" + bytes(1000)
    assert "is not a whole safetensors file" in refusal(UNKNOWN)
    assert not list(hub_cache.rglob("*.incomplete"))
    assert hub.in_cache(UNKNOWN) is None


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (401, "GatedRepo", "The repository owner/model is gated: accept its licence at "),
        (403, "GatedRepo", "log in with “hf auth login”"),
        (401, "RepoNotFound", "There is no repository owner/model on the hub, or it is private"),
        (404, "RepoNotFound", "if it has vanished, name a folder with the weights"),
        (404, "RevisionNotFound", f"owner/model has no revision {COMMIT}"),
        (404, "EntryNotFound", f"owner/model has no file {NAMES[0]}: only safetensors"),
        (401, "", "The hub does not know your token"),
        (403, "", "Your token may not read the repository owner/model"),
        (429, "", "The hub has been asked too often (429)"),
        (503, "", "The hub has trouble of its own (503): try again later"),
        (418, "", "the hub says 418"),
        (200, "", "is not the hub: check HF_ENDPOINT, and whether a proxy or a login page"),
    ],
)
def test_what_the_hub_refuses(fake, monkeypatch, hub_cache, status, code, said):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fake.refused[REPO] = (status, code)
    sentence = refusal()
    assert said in sentence
    assert "hf_secret" not in sentence
    assert len(fake.asked) == (3 if status in (429, 503) else 1)
    fake.refused.clear()
    assert complete(fetch())


def test_what_the_hub_does_not_have(fake):
    assert "There is no repository other/model" in refusal(
        REPOSITORY.model_copy(update={"repo": "other/model"})
    )
    assert "has no revision " + "f" * 40 in refusal(
        REPOSITORY.model_copy(update={"revision": "f" * 40})
    )
    assert "has no file b.safetensors" in refusal(
        REPOSITORY.model_copy(update={"files": {"b.safetensors": ""}})
    )


def test_trouble_that_passes(fake):
    fake.failures = [500, 429]
    assert complete(fetch())
    fake.failures = [502] * 3
    shutil.rmtree(hub.store(REPOSITORY))
    assert "trouble of its own (502)" in refusal()


def test_no_network(fake, monkeypatch):
    monkeypatch.setattr(
        constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        "https://huggingface.co/{repo_id}/resolve/{revision}/{filename}",
    )
    start = time.monotonic()
    assert "cannot be reached (" in refusal()
    assert time.monotonic() - start < 1


def test_a_proxy_that_does_not_let_through(fake, monkeypatch):
    monkeypatch.setenv("https_proxy", fake.url.replace("//", "//me:password@"))
    for name in ("no_proxy", "NO_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    template = "https://hub.invalid/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    close_session()
    sentence = refusal()
    assert "The proxy does not let this through: check HTTPS_PROXY" in sentence
    assert "password" not in sentence


def test_offline_asks_nothing(fake, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "owner/model is not on this machine and HF_HUB_OFFLINE forbids" in refusal()
    assert not fake.asked


def test_too_little_disk_space(fake, hub_cache, monkeypatch):
    usage = shutil.disk_usage("/")
    free = len(BIG) + len(SMALL) + hub.RESERVE - 1
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=free))
    sentence = refusal()
    assert sentence == (
        f"Fetching owner/model takes 202 MB of disk space, and {hub_cache} has 202 MB free: make "
        "room there, or set HF_HUB_CACHE to a folder on a larger disk."
    )
    assert not fake.contents()
    # What is there in part needs no room any more.
    blobs = hub.store(REPOSITORY) / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{sha256(BIG)}.incomplete").write_bytes(BIG[:1000])
    assert complete(fetch())
    assert [asked.range for asked in fake.contents()] == ["bytes=1000-"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is full")
def test_the_disk_fills_up(fake, hub_cache):
    blobs = hub.store(REPOSITORY) / "blobs"
    blobs.mkdir(parents=True)
    target = blobs / f"{sha256(BIG)}.incomplete"
    target.symlink_to("/dev/full")
    sentence = refusal()
    assert sentence.startswith(f"The disk is full at {hub_cache}: make room there, or set")
    target.unlink()
    assert complete(fetch())


def test_a_cache_that_cannot_be_written(fake, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "file" / "hub"))
    sentence = refusal()
    assert "cannot be written into the hub's cache" in sentence
    assert "(Not a directory): make it writable, or set HF_HUB_CACHE" in sentence


def test_two_threads_fetch_once(fake):
    fake.delay = 0.005
    results: list[dict[str, Path]] = []
    threads = [threading.Thread(target=lambda: results.append(fetch())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [complete(files) for files in results] == [True, True]
    assert fake.sent() == len(BIG)


def test_two_processes_fetch_once(fake, hub_cache):
    fake.delay = 0.01
    script = (
        "from napari_cliper.cliper import drain\n"
        "from napari_cliper.models import hub\n"
        "from napari_cliper.models.schema import Repository\n"
        f"repository = Repository(repo={REPO!r}, revision={COMMIT!r}, files={REPOSITORY.files!r})\n"
        "input()\n"
        "drain(hub.download(repository, repository.files))\n"
    )
    environment = os.environ | {"HF_ENDPOINT": fake.url, "HF_HUB_CACHE": str(hub_cache)}
    processes = [
        subprocess.Popen([sys.executable, "-c", script], env=environment, stdin=subprocess.PIPE)
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
    assert [process.wait(30) for process in processes] == [0, 0]
    assert complete(hub.in_cache(REPOSITORY).files)
    assert fake.sent() == len(BIG)


def test_waiting_for_another_program_can_be_cancelled(fake, hub_cache):
    from filelock import FileLock

    lock = hub_cache / ".locks" / "models--owner--model" / f"{sha256(BIG)}.lock"
    lock.parent.mkdir(parents=True)
    with FileLock(lock):
        steps = hub.download(REPOSITORY, NAMES)
        for step in steps:
            if step.name.startswith("Fetching"):
                break
        start = time.monotonic()
        steps.close()
        assert time.monotonic() - start < 1
    assert not fake.contents()
    assert complete(fetch())


def test_disks_without_links(fake, hub_cache, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_SYMLINKS", True)
    files = fetch()
    assert complete(files)
    assert not any(path.is_symlink() for path in files.values())
    assert hub.bytes_in_cache(REPOSITORY) == len(BIG) + len(SMALL)
