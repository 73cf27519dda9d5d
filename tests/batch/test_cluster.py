"""Real worker processes, one of which is killed."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from batch_runs import contents, planned
from napari_cliper.batch import cluster as clusters
from napari_cliper.batch.cluster import cluster, own_device
from napari_cliper.batch.run import run
from napari_cliper.batch.work import Recipe
from napari_cliper.cliper.steps import Step, drain
from napari_cliper.errors import NapariCliperError
from napari_cliper.models.choices import Choices


class Deadly:
    """For workers: one picture kills whoever takes it in hand."""

    name = "deadly"

    def __init__(self, picture: str) -> None:
        self._picture = picture

    def setup(self, worker: Any) -> None:
        make_with = clusters.make_with

        def die(model: Any, recipe: Any, name: str, content: Any) -> Any:
            if name.endswith(self._picture):
                os.kill(os.getpid(), signal.SIGKILL)
            return make_with(model, recipe, name, content)

        clusters.make_with = die


def test_a_killed_worker_loses_no_picture(pictures: Path, tmp_path: Path, recipe: Recipe) -> None:
    import distributed

    (pictures / "broken.png").write_bytes(b"no picture")
    alone, together = tmp_path / "alone", tmp_path / "together"
    drain(run(planned(pictures, alone), recipe))
    with cluster(workers=2) as crew:
        client = distributed.default_client()
        pids = client.run(os.getpid)
        assert len(set(pids.values())) == 2
        steps = run(planned(pictures, together), recipe, crew.work)
        killed = False
        try:
            while True:
                step = next(steps)
                if step.done >= 1 and not killed:
                    os.kill(next(iter(pids.values())), signal.SIGKILL)
                    killed = True
        except StopIteration as stop:
            summary = stop.value
    assert killed
    assert summary.made == 5
    assert [sentence.partition(":")[0] for sentence in summary.failed] == ["broken.png"]
    assert contents(together) == contents(alone)
    assert not list(together.rglob("*.part"))


def test_a_picture_that_kills_its_workers_keeps_no_other_from_it(
    pictures: Path, tmp_path: Path, recipe: Recipe
) -> None:
    import dask
    import distributed

    class DeadlyPlugin(Deadly, distributed.WorkerPlugin):  # type: ignore[misc]
        pass

    # Of itself, dask blames a picture for the fourth worker only.
    with dask.config.set({"distributed.scheduler.allowed-failures": 1}), cluster(workers=2) as crew:
        distributed.default_client().register_plugin(DeadlyPlugin("noise.png"))
        summary = drain(run(planned(pictures, tmp_path / "out"), recipe, crew.work))
    assert (summary.made, summary.lost) == (4, 1)
    (why,) = summary.failed
    assert why.startswith("noise.png: workers died while they had it in hand")
    assert len(contents(tmp_path / "out")) == 4


def test_a_cluster_that_all_workers_left_is_waited_for_and_then_told(
    pictures: Path, tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    import distributed

    monkeypatch.setattr(clusters, "LONGER", 1)
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0"
        ) as own,
        cluster(own.scheduler_address) as crew,
    ):
        told: list[str] = []

        def leave(step: Step) -> None:
            if step.notice:
                told.append(step.name)
            elif step.done == 1:
                own.scale(0)

        summary = drain(run(planned(pictures, tmp_path / "out"), recipe, crew.work), leave)
    assert told == ["The cluster has no workers: waiting for some"]
    assert "no workers any more" in summary.failed[-1]
    assert 1 <= summary.made < 5


def test_an_existing_cluster_is_asked(pictures: Path, tmp_path: Path, recipe: Recipe) -> None:
    import distributed

    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=True, dashboard_address="127.0.0.1:0"
        ) as own,
        cluster(own.scheduler_address) as crew,
    ):
        summary = drain(run(planned(pictures, tmp_path / "out"), recipe, crew.work))
        assert (summary.made, summary.failed) == (5, [])
        absent = replace(recipe, preset="large", choices=Choices())
        with pytest.raises(NapariCliperError, match=r"A worker cannot begin: .*on this machine"):
            drain(run(planned(pictures, tmp_path / "none"), absent, crew.work))
        assert not (tmp_path / "none").exists()


def test_a_scheduler_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "PATIENCE", 0.5)
    with (
        pytest.raises(NapariCliperError, match="No scheduler answers"),
        cluster("tcp://127.0.0.1:9"),
    ):
        pass


@pytest.mark.parametrize("address", ["nonsense", "ftp://127.0.0.1:8786"])
def test_an_address_that_is_none(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "PATIENCE", 0.5)
    with pytest.raises(NapariCliperError, match="No scheduler answers"), cluster(address):
        pass


def test_workers_of_another_version_are_refused() -> None:
    class Client:
        def __init__(self, found: dict[str, Any]) -> None:
            self._found = found

        def wait_for_workers(self, count: int, timeout: float) -> None:
            if not self._found:
                raise TimeoutError

        def run(self, *_: Any, **__: Any) -> dict[str, Any]:
            return self._found

    ours = clusters.version("napari-cliper")
    clusters._check_workers(Client({"tcp://a": ours}))
    for found, told in (
        ({}, "no workers"),
        ({"tcp://a": ours, "tcp://b": "0.0.1"}, r"tcp://b has napari-cliper 0\.0\.1"),
        ({"tcp://a": ModuleNotFoundError("x")}, "tcp://a has no napari-cliper"),
    ):
        with pytest.raises(NapariCliperError, match=told):
            clusters._check_workers(Client(found))
    with pytest.raises(NapariCliperError, match="different models or precisions"):
        clusters._agreed(Client({"tcp://a": "one", "tcp://b": "other"}), None)  # type: ignore[arg-type]


class Pinned:
    """Remembers which worker keeps to which number."""

    def __init__(self, found: dict[str, tuple[str, str]]) -> None:
        self._found, self.numbers = found, dict.fromkeys(found, -1)

    def run(self, function: Any, *given: Any, workers: Any = None) -> Any:
        if workers is None:
            return self._found
        self.numbers[workers[0]] = given[0]
        return {}


@pytest.mark.parametrize(
    ("shown", "numbers"),
    [(("", "", ""), [0, 1, 0]), (("0,1", "1,0", "0,1"), [0, 0, 0])],
    ids=["all see the same", "dask-cuda"],
)
def test_workers_share_the_gpus_of_their_machine(
    shown: tuple[str, ...], numbers: list[int]
) -> None:
    hosts = ("first", "first", "second")
    names = ("tcp://a", "tcp://b", "tcp://c")
    client = Pinned(dict(zip(names, zip(hosts, shown, strict=True), strict=True)))
    clusters._pin_workers(client)
    assert list(client.numbers.values()) == numbers


@pytest.mark.parametrize(("number", "device"), [(0, "cuda:0"), (4, "cuda:1")])
def test_a_worker_keeps_to_its_gpu(
    monkeypatch: pytest.MonkeyPatch, number: int, device: str
) -> None:
    import torch

    assert own_device("auto") == "auto"  # no GPU here
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(clusters, "_own", number)
    assert own_device("auto") == own_device("cuda") == device
    assert own_device("cuda:2") == "cuda:2"
    assert own_device("cpu") == "cpu"


def test_a_scheduler_that_goes_is_told_and_what_is_done_stays(
    pictures: Path, tmp_path: Path, recipe: Recipe
) -> None:
    import distributed

    own = distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0"
    )
    try:
        with cluster(own.scheduler_address) as crew:
            told = []
            steps = run(planned(pictures, tmp_path / "out"), recipe, crew.work)
            try:
                while True:
                    step = next(steps)
                    if step.done == 1 and not told:
                        told.append("closed")
                        own.close()
            except StopIteration as stop:
                summary = stop.value
    finally:
        own.close()
    assert 1 <= summary.made < 5
    assert "scheduler is gone" in summary.failed[-1]
    assert len(contents(tmp_path / "out")) == summary.made
