"""The dock “Segment a folder” in a real window."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari import Viewer
from PIL import Image
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QComboBox, QFileDialog, QLabel, QLineEdit, QPushButton
from skimage.data import cat

from napari_cliper.annotation.review import State
from napari_cliper.batch import cluster
from napari_cliper.files.indexed_png import load_labels
from napari_cliper.files.review import open_review
from napari_cliper.widgets import BatchWidget, ReviewWidget
from napari_cliper.widgets.batch_widget import usual_results

SMALL = np.ascontiguousarray(cat()[::4, ::4])


class Batch:
    """The dock as a person meets it."""

    def __init__(self, viewer: Viewer, dock: Any, qtbot: QtBot) -> None:
        self.viewer, self.dock, self.qtbot = viewer, dock, qtbot
        _, widget = viewer.window.add_plugin_dock_widget("napari-cliper", "Segment a folder")
        assert isinstance(widget, BatchWidget)
        self.widget = widget
        self.pictures = self.part(QLineEdit, "batch-pictures")
        self.results = self.part(QLineEdit, "batch-results")
        self.start = self.part(QPushButton, "batch-start")
        self.review = self.part(QPushButton, "batch-review")

    def part(self, kind: type[Any], name: str) -> Any:
        found = self.widget.findChild(kind, f"cliper-{name}")
        assert found is not None, name
        return found

    @property
    def said(self) -> str:
        return str(self.part(QLabel, "batch-status").text())

    def click(self, button: Any) -> None:
        self.qtbot.mouseClick(button, Qt.MouseButton.LeftButton)

    def wait(self) -> None:
        self.qtbot.waitUntil(lambda: not self.widget._job.running, timeout=120_000)

    def run(self) -> None:
        self.click(self.start)
        self.wait()


@pytest.fixture
def batch(viewer: Viewer, dock: Any, qtbot: QtBot) -> Batch:
    return Batch(viewer, dock, qtbot)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, pixels in (("cat2", SMALL), ("cat10", SMALL[::-1]), ("cat1", SMALL[:, ::-1])):
        Image.fromarray(np.ascontiguousarray(pixels)).save(folder / f"{name}.png")
    return folder


def test_a_folder_gets_masks_that_are_reviewed(
    batch: Batch, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "out"
    batch.dock.type("cat")
    folders = iter((pictures, results))
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(next(folders)))
    batch.click(batch.part(QPushButton, "batch-browse"))
    batch.click(batch.part(QPushButton, "batch-browse-results"))
    formats = batch.part(QComboBox, "batch-format")
    formats.setCurrentIndex(formats.findData("coco"))
    assert not batch.review.isEnabled()

    batch.click(batch.part(QPushButton, "batch-preview"))
    batch.wait()
    assert batch.said == "3 pictures to segment"
    assert batch.start.isVisible()  # not behind the first dock, which was asked
    assert not results.exists()

    batch.click(batch.start)
    assert batch.start.text() == "Cancel"
    batch.wait()
    assert batch.start.text() == "Start"
    assert "3 segmented" in batch.said
    assert (results / "coco").is_dir()
    # What pressing Segment brings.
    labels, _ = load_labels(results / "cat2_labels.png")
    batch.viewer.add_image(SMALL, name="cat2")
    batch.dock.run()
    assert np.array_equal(batch.dock.labels("refined")[0].data, labels)

    batch.click(batch.review)
    _, review = batch.viewer.window.add_plugin_dock_widget("napari-cliper", "Review pictures")
    assert isinstance(review, ReviewWidget)
    batch.qtbot.waitUntil(lambda: review.desk.entry is not None, timeout=60_000)
    batch.qtbot.waitUntil(lambda: review.idle, timeout=60_000)
    assert review.desk.entry is not None
    # The most uncertain one first.
    values = {
        entry.picture: entry.uncertainty for entry in open_review(pictures, results)[1].entries
    }
    first = max(values, key=lambda picture: values[picture] or 0)
    assert review.desk.entry.picture == first
    mask = batch.viewer.layers[f"{first} [refined]"]
    made = results / f"{first.removesuffix('.png')}_labels.png"
    assert np.array_equal(mask.data, load_labels(made)[0])

    batch.run()
    assert batch.said.startswith(("2 pictures done before", "3 pictures done before"))


def test_a_run_that_is_cancelled_goes_on(batch: Batch, pictures: Path) -> None:
    batch.dock.type("cat")
    batch.pictures.setText(f"{pictures}/*.png")
    results = pictures / "cliper-review"
    batch.click(batch.start)
    batch.qtbot.waitUntil(lambda: any(results.glob("*_labels.png")), timeout=60_000)
    batch.click(batch.start)
    batch.wait()
    there = len(list(results.glob("*_labels.png")))
    assert 1 <= there < 3
    assert batch.said.startswith("Stopped")
    assert batch.review.isEnabled()
    states = [entry.state for entry in open_review(pictures)[1].entries]
    assert states.count(State.PROPOSED) == there
    batch.run()
    assert f"{3 - there} segmented" in batch.said


def test_workers_do_what_the_window_would(batch: Batch, pictures: Path, tmp_path: Path) -> None:
    batch.dock.type("cat")
    batch.pictures.setText(str(pictures))
    workers = batch.part(QLineEdit, "batch-workers")
    workers.setText("2")
    batch.results.setText(str(tmp_path / "workers"))
    batch.run()
    assert "3 segmented" in batch.said
    workers.clear()
    batch.results.setText(str(tmp_path / "window"))
    batch.run()
    made = {file.name: file.read_bytes() for file in (tmp_path / "workers").glob("*.png")}
    assert len(made) == 3
    assert made == {file.name: file.read_bytes() for file in (tmp_path / "window").glob("*.png")}


def test_a_scheduler_that_does_not_answer_is_told(
    batch: Batch, pictures: Path, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    monkeypatch.setattr(cluster, "PATIENCE", 0.5)
    batch.dock.type("cat")
    batch.pictures.setText(str(pictures))
    batch.part(QLineEdit, "batch-workers").setText("tcp://127.0.0.1:9")
    batch.run()
    assert batch.said.startswith("No scheduler answers at “tcp://127.0.0.1:9”")
    assert len(told) == 1
    assert not (pictures / "cliper-review").exists()


def test_a_picture_that_fails_is_told(batch: Batch, pictures: Path) -> None:
    (pictures / "bad.png").write_bytes(b"no picture")
    batch.dock.type("cat")
    batch.pictures.setText(str(pictures))
    batch.run()
    assert "3 segmented" in batch.said
    assert "bad.png: " in batch.said


def test_what_is_missing_is_asked_for(batch: Batch, pictures: Path, told: list[str]) -> None:
    batch.run()
    assert batch.said.startswith("Say which pictures")
    batch.pictures.setText(str(pictures))
    batch.dock.type("")
    batch.run()
    assert batch.said
    batch.dock.type("cat")
    batch.pictures.setText(str(pictures / "nothing*.png"))
    batch.run()
    assert "There are no pictures in" in batch.said
    assert not batch.review.isEnabled()
    assert len(told) == 3
    assert not (pictures / "cliper-review").exists()


def test_made_anew_only_if_that_is_wanted(batch: Batch, pictures: Path) -> None:
    batch.pictures.setText(str(pictures))
    batch.dock.type("cat")
    batch.run()
    batch.dock.type("dog")
    batch.run()
    assert "other classes, models or settings" in batch.said
    batch.part(QCheckBox, "batch-overwrite").setChecked(True)
    batch.run()
    assert "3 segmented" in batch.said


@pytest.mark.parametrize(
    ("given", "folder"),
    [("a/b/*.png", "a/b"), ("a/**/c?.png", "a"), ("a/b.png", "a"), ("film.mp4", ".")],
)
def test_masks_lie_beside_the_pictures(given: str, folder: str) -> None:
    assert usual_results((given,)) == Path(folder) / "cliper-review"
