"""Real worker processes, one of which is killed."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from napari_cliper.batch import cluster as clusters
from napari_cliper.batch.cluster import cluster, own_device
from napari_cliper.batch.plan import Plan, plan
from napari_cliper.batch.run import run
from napari_cliper.batch.sources import find_sources
from napari_cliper.batch.work import Recipe
from napari_cliper.cliper.steps import drain
from napari_cliper.errors import NapariCliperError
from napari_cliper.models.choices import Choices

IDENTITY = "a recipe"


def planned(pictures: Path, results: Path) -> Plan:
    found = find_sources([pictures], results)
    return plan(found.top, found.pictures, results, IDENTITY)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.png")
    }


def test_a_killed_worker_loses_no_picture(pictures: Path, tmp_path: Path, recipe: Recipe) -> None:
    import distributed

    (pictures / "broken.png").write_bytes(b"no picture")
    alone, together = tmp_path / "alone", tmp_path / "together"
    drain(run(planned(pictures, alone), recipe))
    with cluster(workers=2) as workers:
        client = distributed.default_client()
        pids = client.run(os.getpid)
        assert len(set(pids.values())) == 2
        steps = run(planned(pictures, together), recipe, workers)
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


def test_an_existing_cluster_is_asked(pictures: Path, tmp_path: Path, recipe: Recipe) -> None:
    import distributed

    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0"
        ) as own,
        cluster(own.scheduler_address) as workers,
    ):
        summary = drain(run(planned(pictures, tmp_path / "out"), recipe, workers))
        assert (summary.made, summary.failed) == (5, [])
        absent = replace(recipe, preset="large", choices=Choices())
        with pytest.raises(NapariCliperError, match=r"A worker cannot begin: .*on this machine"):
            drain(run(planned(pictures, tmp_path / "none"), absent, workers))
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

        def run(self, *_: Any, **__: Any) -> dict[str, Any]:
            return self._found

    ours = clusters.version("napari-cliper")
    clusters._check_workers(Client({"tcp://a": ours}))
    for found, told in (
        ({}, "no workers"),
        ({"tcp://a": ours, "tcp://b": "0.0.1"}, "tcp://b has napari-cliper 0.0.1"),
        ({"tcp://a": ModuleNotFoundError("x")}, "tcp://a has no napari-cliper"),
    ):
        with pytest.raises(NapariCliperError, match=told):
            clusters._check_workers(Client(found))


class Worker:
    def __init__(self, name: int | str) -> None:
        self.name = name


@pytest.mark.parametrize(
    ("name", "free", "device"),
    [(0, [9, 9, 9], "cuda:0"), (4, [9, 9, 9], "cuda:1"), ("tcp://a", [3, 7, 5], "cuda:1")],
)
def test_workers_share_the_gpus(
    monkeypatch: pytest.MonkeyPatch, name: int | str, free: list[int], device: str
) -> None:
    import distributed
    import torch

    worker = Worker(name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(free))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (free[index], 10))
    monkeypatch.setattr(distributed, "get_worker", lambda: worker)
    assert own_device("auto") == device
    free.reverse()
    assert own_device("auto") == device  # it stays where its model is
    assert own_device("cuda:2") == "cuda:2"
    assert own_device("cpu") == "cpu"
