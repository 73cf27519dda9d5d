"""Long work is named in the dock and in napari's activity dock, short work only in the dock."""

from typing import Any

import pytest
from napari import Viewer
from napari.layers import Image
from napari.utils import progress
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QApplication
from skimage.data import cat

from napari_cliper.widgets import progress as ours
from napari_cliper.widgets.progress import Activity, ProgressBar, Shown


@pytest.fixture(autouse=True)
def _soon(_quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "LONG", 200)


def entries() -> list[progress]:
    return list(progress._all_instances)


def test_a_step_is_shown_at_once_and_its_parts_now_and_then(qtbot: QtBot) -> None:
    bar = ProgressBar()
    qtbot.addWidget(bar)
    bar.step(Shown("Looking", 0, 12))
    assert (bar.format(), bar.value(), bar.maximum()) == ("Looking", 0, 12)
    bar.step(Shown("Looking", 1, 12))
    assert bar.value() == 0
    qtbot.wait(int(1000 * ours.PAUSE) + 20)
    bar.step(Shown("Looking", 2, 12))
    assert bar.value() == 2
    bar.rest()
    assert (bar.format(), bar.value()) == ("", 0)
    qtbot.waitUntil(lambda: entries() == [])


def test_long_work_has_an_entry_in_the_activity_dock(qtbot: QtBot) -> None:
    activity = Activity()
    activity.show(Shown("Looking", 0, 12))
    assert entries() == []
    qtbot.waitUntil(lambda: len(entries()) == 1)
    (entry,) = entries()
    activity.show(Shown("Reading", 3, 4))
    qtbot.waitUntil(lambda: entry.desc == "Reading: ")
    assert (entry.n, entry.total) == (3, 4)
    activity.show(None)
    qtbot.waitUntil(lambda: entries() == [])


def test_short_work_has_none(qtbot: QtBot) -> None:
    activity = Activity()
    activity.show(Shown("Looking"))
    qtbot.wait(50)
    activity.show(None)
    qtbot.wait(ours.LONG + 50)
    assert entries() == []


def test_events_that_napari_handles_meanwhile_do_no_harm(qtbot: QtBot, monkeypatch: Any) -> None:
    """napari's bar handles waiting events whenever it is told something; here, the job ends."""
    activity = Activity()
    real = progress.set_description

    def told(self: progress, text: str) -> None:
        real(self, text)
        activity.show(None)
        QApplication.processEvents()

    activity.show(Shown("Looking"))
    qtbot.waitUntil(lambda: len(entries()) == 1)
    monkeypatch.setattr(progress, "set_description", told)
    activity.show(Shown("Reading"))
    qtbot.waitUntil(lambda: entries() == [])


def test_a_run_is_told_in_both_places(viewer: Viewer, dock: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(ours, "LONG", 0)
    viewer.add_image(cat()[::-2, ::2], name="photo")
    assert isinstance(viewer.layers[0], Image)
    dock.type("cat")
    dock.click(dock.segment)
    said = set()

    def ended() -> bool:
        said.update(entry.desc.removesuffix(": ") for entry in entries())
        return dock.segment.isEnabled()

    dock.qtbot.waitUntil(ended, timeout=60_000)
    assert said & {"Looking at the picture", "Loading the libraries", "Reading the words"}
    dock.qtbot.waitUntil(lambda: entries() == [])
