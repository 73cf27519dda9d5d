"""Pictures sent to the workers of a dask cluster, an existing one or one of this machine.

A picture's file goes out, its label map's file comes back: workers need the package and the
weights, and see no folder of ours. Only the process that was started writes.
"""

import logging
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.metadata import version
from typing import Any

from napari_cliper.batch.plan import Plan
from napari_cliper.batch.run import Outcome, Workers, content
from napari_cliper.batch.work import Made, Recipe, load, make
from napari_cliper.errors import NapariCliperError

PATIENCE = 10  # seconds until a scheduler counts as unreachable
AHEAD = 2  # pictures a worker has in hand, so that it never waits for the next
PAUSE = 0.2  # seconds between two looks at whether something came back
PACKAGE = "napari-cliper"


@contextmanager
def cluster(scheduler: str | None = None, workers: int | None = None) -> Iterator[Workers]:
    """Whoever segments: a cluster's workers.

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
        import distributed
    except ImportError as error:
        raise NapariCliperError(
            "Workers need dask.distributed: install it with pip install “napari-cliper[batch]”."
        ) from error
    with _started(distributed, scheduler, workers) as client:
        _check_workers(client)

        def work(
            recipe: Recipe, plan: Plan, pictures: Sequence[str]
        ) -> Generator[Outcome | None, None, None]:
            return _sent(distributed, client, recipe, plan, pictures)

        yield work


@contextmanager
def _started(distributed: Any, scheduler: str | None, workers: int | None) -> Iterator[Any]:
    """A client, which is closed in the end, as is the cluster if it was started here."""
    if scheduler is None:
        # Each worker is a process that shares the cores fairly with the others.
        threads = max(1, (os.cpu_count() or 1) // (workers or 1))
        local = distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.ERROR,
            env={"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)},
        )
        with local, distributed.Client(local) as client:
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


def _check_workers(client: Any) -> None:
    """Refuse a cluster without workers, and workers with another version."""
    ours = version(PACKAGE)
    theirs = client.run(version, PACKAGE, on_error="return")
    if not theirs:
        raise NapariCliperError(
            "The cluster has no workers: start some with “dask worker ADDRESS”."
        )
    other = {address: found for address, found in theirs.items() if found != ours}
    if other:
        address, found = sorted(other.items(), key=lambda item: item[0])[0]
        have = f"napari-cliper {found}" if isinstance(found, str) else "no napari-cliper"
        raise NapariCliperError(
            f"The worker {address} has {have}, and this is {ours}: install the same on all workers."
        )


def _sent(
    distributed: Any, client: Any, recipe: Recipe, plan: Plan, pictures: Sequence[str]
) -> Generator[Outcome | None, None, None]:
    """Send out pictures, a few for each worker at a time, and pass on what comes back."""
    waiting = iter(pictures)
    at_work: dict[Any, str] = {}
    try:
        while True:
            room = AHEAD * max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
            while len(at_work) < room and (picture := next(waiting, None)) is not None:
                try:
                    sent = content(plan.file(picture))
                except NapariCliperError as error:
                    yield picture, error
                    continue
                future = client.submit(on_worker, recipe, str(plan.file(picture)), sent, pure=False)
                at_work[future] = picture
            if not at_work:
                return
            for future in _finished(distributed, client, at_work):
                yield at_work.pop(future), _outcome(distributed, future)
            yield None
    finally:
        client.cancel(list(at_work), force=True)


def _finished(distributed: Any, client: Any, at_work: dict[Any, str]) -> list[Any]:
    """Those that have come back, after a moment at most."""
    with client.as_current(), suppress(TimeoutError):
        distributed.wait(list(at_work), timeout=PAUSE, return_when="FIRST_COMPLETED")
    return [future for future in at_work if future.done()]


def _outcome(distributed: Any, future: Any) -> Made | NapariCliperError:
    """What a worker has made, or why not.

    Raises
    ------
    NapariCliperError
        The scheduler is gone, or a worker cannot load the models.
    """
    if future.status == "finished":
        found: Made | NapariCliperError = future.result()
        return found
    if future.cancelled() or future.status == "lost":
        raise NapariCliperError(
            "The cluster’s scheduler is gone: start it again, and then this command; what is done "
            "is kept."
        )
    error = future.exception()
    if isinstance(error, NapariCliperError):
        raise NapariCliperError(f"A worker cannot begin: {error}")
    if isinstance(error, distributed.KilledWorker):
        return NapariCliperError("every worker that took it died: look into the workers’ logs.")
    return NapariCliperError(f"a worker failed ({type(error).__name__}: {error}).")


def on_worker(recipe: Recipe, name: str, content: bytes) -> Made | NapariCliperError:
    """Segment one picture, in a worker's process.

    A picture's own fault is a result: of an exception all pictures are told.

    Raises
    ------
    NapariCliperError
        The models cannot be loaded.
    """
    from napari_cliper.cliper.steps import drain

    recipe = replace(recipe, device=own_device(recipe.device))
    drain(load(recipe))
    try:
        return drain(make(recipe, name, content))
    except NapariCliperError as error:
        return error


def own_device(device: str) -> str:
    """The GPU that a worker keeps to, where there are several and none was named.

    Workers that are numbered, as a cluster of one machine's are, take turns; of others each takes
    the one with the most free memory when its first picture comes.
    """
    import torch

    if device not in ("auto", "cuda") or not torch.cuda.is_available():
        return device
    count = torch.cuda.device_count()
    from distributed import get_worker

    worker: Any = get_worker()
    if not hasattr(worker, "cliper_device"):
        name = worker.name
        free = [torch.cuda.mem_get_info(index)[0] for index in range(count)]
        index = name % count if isinstance(name, int) else free.index(max(free))
        worker.cliper_device = f"cuda:{index}"
    return str(worker.cliper_device)
