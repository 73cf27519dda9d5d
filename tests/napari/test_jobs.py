"""Jobs run off the GUI thread, and end once, whatever happens."""

import gc
import threading
from collections.abc import Generator
from types import SimpleNamespace
from typing import Any

import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QObject, QThreadPool

from napari_cliper.errors import NapariCliperError
from napari_cliper.widgets import jobs
from napari_cliper.widgets.jobs import Job


class Heard:
    """What a job's signals said, in order, and that they said it on the GUI thread."""

    def __init__(self, job: Job) -> None:
        self.said: list[Any] = []
        job.stepped.connect(lambda step: self._hear(step.name))
        job.succeeded.connect(lambda result: self._hear(("succeeded", result)))
        job.failed.connect(lambda error: self._hear(("failed", error)))
        job.ended.connect(lambda: self._hear("ended"))

    def _hear(self, what: Any) -> None:
        assert threading.current_thread() is threading.main_thread()
        self.said.append(what)


@pytest.fixture
def job(qtbot: QtBot) -> Job:
    return Job()


def step(name: str) -> Any:
    return SimpleNamespace(name=name, notice=False)


def test_steps_and_result_are_told(job: Job, qtbot: QtBot) -> None:
    threads = []

    def work() -> Generator[Any, None, int]:
        threads.append(threading.current_thread())
        yield step("one")
        yield step("two")
        return 3

    heard = Heard(job)
    with qtbot.waitSignal(job.ended):
        job.start(work())
        assert job.running
    assert heard.said == ["one", "two", ("succeeded", 3), "ended"]
    assert threads != [threading.main_thread()]
    assert not job.running


@pytest.mark.parametrize(
    "error", [NapariCliperError("do this"), RuntimeError("out of memory"), KeyError("x")], ids=repr
)
def test_errors_are_told_and_end_the_job(job: Job, qtbot: QtBot, error: Exception) -> None:
    def work() -> Generator[Any, None, None]:
        yield step("one")
        raise error

    heard = Heard(job)
    with qtbot.waitSignal(job.ended):
        job.start(work())
    assert heard.said == ["one", ("failed", error), "ended"]
    with qtbot.waitSignal(job.succeeded):  # ready for the next
        job.start(finish_at_once())


def finish_at_once() -> Generator[Any, None, str]:
    yield step("one")
    return "done"


def test_a_cancelled_job_stops_before_its_next_step(job: Job, qtbot: QtBot) -> None:
    reached, go_on = threading.Event(), threading.Event()
    went_on = []

    def work() -> Generator[Any, None, int]:
        yield step("one")
        reached.set()
        go_on.wait(10)
        yield step("two")
        went_on.append("two")
        return 3

    heard = Heard(job)
    job.start(work())
    qtbot.waitUntil(lambda: reached.is_set() and heard.said == ["one"])
    job.cancel()
    assert job.running
    with qtbot.waitSignal(job.ended):
        go_on.set()
    assert heard.said == ["one", "ended"]
    assert went_on == []


def test_a_cancelled_job_lets_go_of_what_it_holds(job: Job, qtbot: QtBot) -> None:
    reached, go_on = threading.Event(), threading.Event()
    let_go = []

    def work() -> Generator[Any, None, None]:
        held_by = threading.get_ident()
        try:
            reached.set()
            go_on.wait(10)
            yield step("one")
        finally:
            let_go.append(threading.get_ident() == held_by)

    steps = work()  # as long as this reference lives, no garbage is collected
    job.start(steps)
    qtbot.waitUntil(reached.is_set)
    with qtbot.waitSignal(job.ended):
        job.cancel()
        go_on.set()
    assert let_go == [True]


def test_a_job_cancelled_after_its_work_brings_nothing(job: Job, qtbot: QtBot) -> None:
    heard = Heard(job)
    job.start(finish_at_once())
    # The work is done, but no event has been handled: nobody has heard of it.
    assert QThreadPool.globalInstance().waitForDone(5000)
    job.cancel()
    qtbot.waitUntil(lambda: not job.running)
    assert heard.said == ["ended"]


def test_only_one_job_at_a_time(job: Job, qtbot: QtBot) -> None:
    go_on = threading.Event()

    def work() -> Generator[Any, None, None]:
        yield step("one")
        go_on.wait(10)

    job.start(work())
    with pytest.raises(RuntimeError, match="not ended"):
        job.start(finish_at_once())
    with qtbot.waitSignal(job.ended):
        go_on.set()


def test_a_deleted_job_stops_and_calls_nobody(qtbot: QtBot) -> None:
    parent = QObject()
    job = Job(parent)
    heard = Heard(job)
    reached, go_on = threading.Event(), threading.Event()
    went_on: list[str] = []

    def work() -> Generator[Any, None, int]:
        reached.set()
        go_on.wait(10)
        yield step("one")
        went_on.append("one")
        return 3

    job.start(work())
    qtbot.waitUntil(reached.is_set)
    with qtbot.waitSignal(parent.destroyed):
        parent.deleteLater()
    go_on.set()
    assert QThreadPool.globalInstance().waitForDone(5000)
    qtbot.wait(50)
    gc.collect()
    assert heard.said == []
    assert went_on == []


def test_a_notice_is_shown_as_one(job: Job, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(jobs, "show_warning", shown.append)

    def work() -> Generator[Any, None, None]:
        yield step("one")
        yield SimpleNamespace(name="on the CPU", notice=True)

    with qtbot.waitSignal(job.ended):
        job.start(work())
    assert shown == ["on the CPU"]
