"""Pictures sent to the workers of a dask cluster, an existing one or one of this machine.

A picture's file goes out, its label map's file comes back: workers need the package and the
weights, and see no folder of ours. Only the process that was started writes.
"""

import logging
import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from napari_cliper.batch.plan import Plan
from napari_cliper.batch.run import Crew, Outcome, Work, unexpected
from napari_cliper.batch.work import Content, Made, Recipe, forget, identify, load, make_with, turn
from napari_cliper.errors import NapariCliperError

if TYPE_CHECKING:
    from napari_cliper.cliper.steps import Step

PATIENCE = 10  # seconds until a scheduler, or its workers, count as absent
LONGER = 600  # seconds without any worker in the midst of a run
AHEAD = 2  # pictures a worker has in hand, so that it never waits for the next
PAUSE = 0.2  # seconds between two looks at whether something came back
TRIES = 2  # of a picture whose worker died or failed
PACKAGE = "napari-cliper"
GONE = (
    "The cluster’s scheduler is gone: start it again, and then this command; what is done is kept."
)


@contextmanager
def cluster(scheduler: str | None = None, workers: int | None = None) -> Iterator[Crew]:
    """A cluster's workers.

    Parameters
    ----------
    scheduler : str or None
        The address of an existing cluster's, for example "tcp://10.0.0.1:8786".
    workers : int or None
        How many processes of this machine make a cluster, if there is no scheduler.

    Raises
    ------
    NapariCliperError
        dask.distributed is not installed, nobody answers, there are no workers, or they have
        another version of this program.
    """
    try:
        import dask
        import distributed
    except ImportError as error:
        raise NapariCliperError(
            "Workers need dask.distributed: install it with pip install “napari-cliper[batch]”."
        ) from error
    quiet = dask.config.set({"distributed.admin.large-graph-warning-threshold": "1GB"})
    with quiet, _started(distributed, scheduler, workers) as client:
        try:
            _check_workers(client)
            _pin_workers(client)
            yield Crew(
                lambda recipe: _agreed(client, recipe),
                lambda recipe, plan, pictures: _Sender(distributed, client, recipe).send(
                    plan, pictures
                ),
            )
        finally:
            with suppress(Exception):  # the cluster may be gone, and then so are its models
                client.run(forget)


@contextmanager
def _started(distributed: Any, scheduler: str | None, workers: int | None) -> Iterator[Any]:
    """A client, which is closed in the end, as is the cluster if it was started here."""
    if scheduler is None:
        with _local_cluster(distributed, workers) as local, distributed.Client(local) as client:
            yield client
        return
    try:
        client = distributed.Client(scheduler, timeout=PATIENCE, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise NapariCliperError(
            f"No scheduler answers at “{scheduler}”: check the address, for example "
            "tcp://10.0.0.1:8786, and that “dask scheduler” runs there."
        ) from error
    with client:
        yield client


def _local_cluster(distributed: Any, workers: int | None) -> Any:
    """Processes of this machine, which share its cores fairly."""
    import dask

    threads = str(max(1, (os.cpu_count() or 1) // (workers or 1)))
    # In place of dask's own settings, of which one (MALLOC_TRIM_THRESHOLD_) has the C library ask
    # the system for memory anew each time: a picture then takes nearly twice as long.
    environ = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    with dask.config.set({"distributed.nanny.pre-spawn-environ": environ}):
        return distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            memory_limit=0,  # dask would pause a worker for its models
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.ERROR,
        )


def _check_workers(client: Any) -> None:
    """Refuse a cluster without workers, and workers with another version."""
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except TimeoutError as error:
        raise NapariCliperError(
            "The cluster has no workers: start some with “dask worker ADDRESS”."
        ) from error
    ours = version(PACKAGE)
    for address, found in sorted(client.run(version, PACKAGE, on_error="return").items()):
        if found != ours:
            have = f"napari-cliper {found}" if isinstance(found, str) else "no napari-cliper"
            raise NapariCliperError(
                f"The worker {address} has {have}, and this is {ours}: install the same on all "
                "workers."
            )


def _agreed(client: Any, recipe: Recipe) -> str:
    """The identity of the recipe, which all workers take in the same way.

    Raises
    ------
    NapariCliperError
        They do not, or one cannot follow it.
    """
    found = client.run(identify, recipe, on_error="return")
    for address, one in found.items():
        if isinstance(one, Exception):
            raise NapariCliperError(f"The worker {address} cannot begin: {one}")
    if len(set(found.values())) > 1:
        raise NapariCliperError(
            "The workers would take different models or precisions: name them, for example with "
            "--preset large --precision float32."
        )
    return str(next(iter(found.values())))


def _pin_workers(client: Any) -> None:
    """Let the workers of each machine take turns at its GPUs."""
    found = client.run(_sees)
    hosts: dict[str, list[str]] = defaultdict(list)
    for address, (host, _) in sorted(found.items()):
        hosts[host].append(address)
    for addresses in hosts.values():
        # Where each sees GPUs of its own, as dask-cuda arranges it, the first one is its own.
        apart = len({found[address][1] for address in addresses}) > 1
        for number, address in enumerate(addresses):
            client.run(_keep_to, 0 if apart else number, workers=[address])


def _sees() -> tuple[str, str]:
    """A worker's machine, and which GPUs it is shown."""
    import socket

    return socket.gethostname(), os.environ.get("CUDA_VISIBLE_DEVICES", "")


_own = 0  # in a worker: its number among those of its machine


def _keep_to(number: int) -> None:
    global _own
    _own = number


def own_device(device: str) -> str:
    """In a worker: the GPU that it keeps to, where there are several and none was named."""
    import torch

    if device not in ("auto", "cuda") or not torch.cuda.is_available():
        return device
    return f"cuda:{_own % torch.cuda.device_count()}"


def on_worker(
    recipe: Recipe, package: str, name: str, content: Content
) -> Made | NapariCliperError:
    """In a worker: segment one picture.

    A picture's own fault is a result: of an exception all pictures are told.

    Raises
    ------
    NapariCliperError
        The worker has another version, or cannot load the models.
    """
    from napari_cliper.cliper.steps import drain

    if version(PACKAGE) != package:
        raise NapariCliperError(f"it has napari-cliper {version(PACKAGE)}, and this is {package}.")
    notices: list[str] = []

    def note(step: "Step") -> None:
        if step.notice:
            notices.append(step.name)

    with turn:  # a worker may have several threads
        model = drain(load(replace(recipe, device=own_device(recipe.device))), note)
        try:
            made = drain(make_with(model, recipe, name, content), note)
        except NapariCliperError as error:
            return error
    return replace(made, notices=tuple(notices))


class _Sender:
    """Sends out pictures, a few for each worker at a time, and passes on what comes back."""

    def __init__(self, distributed: Any, client: Any, recipe: Recipe) -> None:
        self._distributed, self._client, self._recipe = distributed, client, recipe
        self._at_work: dict[Any, str] = {}
        self._tries: Counter[str] = Counter()

    def send(self, plan: Plan, pictures: Sequence[str]) -> Work:
        """All pictures, and again those whose worker was lost.

        Raises
        ------
        NapariCliperError
            The scheduler is gone, no worker comes back, or one cannot load the models.
        """
        from napari_cliper.cliper.steps import Step

        waiting = iter(pictures)
        alone_since: float | None = None
        try:
            while True:
                count = len(self._client.scheduler_info(n_workers=-1)["workers"])
                if count == 0 and alone_since is None:
                    alone_since = time.monotonic()
                    yield Step("The cluster has no workers: waiting for some", notice=True)
                elif count == 0 and time.monotonic() - (alone_since or 0) > LONGER:
                    raise NapariCliperError("The cluster has no workers any more: start some.")
                elif count:
                    alone_since = None
                while len(self._at_work) < AHEAD * max(1, count):
                    picture = next(waiting, None)
                    if picture is None:
                        break
                    try:
                        self._submit(plan, picture)
                    except NapariCliperError as error:
                        yield picture, error
                if not self._at_work:
                    return
                for future in self._finished():
                    picture = self._at_work.pop(future)
                    yield from self._taken_in(plan, picture, future)
                yield None
        except (CancelledError, OSError, RuntimeError) as error:
            raise NapariCliperError(GONE) from error
        finally:
            with suppress(Exception):
                self._client.cancel(list(self._at_work), force=True)

    def _submit(self, plan: Plan, picture: str) -> None:
        file = plan.file(picture)
        self._tries[picture] += 1
        future = self._client.submit(
            on_worker, self._recipe, version(PACKAGE), str(file), Content.of(file), pure=False
        )
        self._at_work[future] = picture

    def _finished(self) -> list[Any]:
        """Those that have come back, after a moment at most."""
        with self._client.as_current(), suppress(TimeoutError):
            self._distributed.wait(
                list(self._at_work), timeout=PAUSE, return_when="FIRST_COMPLETED"
            )
        return [future for future in self._at_work if future.done()]

    def _taken_in(self, plan: Plan, picture: str, future: Any) -> "Iterator[Outcome | Step]":
        """What a worker has made, or why not; after a lost worker the picture is sent again."""
        from napari_cliper.cliper.steps import Step

        if future.status == "finished":
            found: Made | NapariCliperError = future.result()
            if isinstance(found, Made):
                yield from (Step(notice, notice=True) for notice in found.notices)
            yield picture, found
            return
        if future.cancelled() or future.status == "lost":
            raise CancelledError
        error = future.exception()
        if isinstance(error, NapariCliperError):
            raise NapariCliperError(f"A worker cannot begin: {error}")
        if self._tries[picture] < TRIES:
            self._submit(plan, picture)
        elif isinstance(error, self._distributed.KilledWorker):
            where = getattr(error.last_worker, "address", "unknown")
            yield (
                picture,
                NapariCliperError(
                    f"workers died while they had it in hand, {where} last: look into their logs."
                ),
            )
        else:
            yield picture, unexpected(error)
