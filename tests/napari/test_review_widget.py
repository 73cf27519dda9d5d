"""The dock “Review pictures” in a real window, driven by keys."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari import Viewer
from napari.layers import Labels
from PIL import Image
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QFileDialog, QLabel, QPushButton
from skimage.data import cat

from napari_cliper.annotation.class_list import ClassList
from napari_cliper.annotation.review import State
from napari_cliper.files.indexed_png import save_labels
from napari_cliper.files.session import load_session
from napari_cliper.widgets import ReviewWidget, sessions
from napari_cliper.widgets.masks import of
from napari_cliper.widgets.review_table import Column, ReviewTable, duration
from napari_cliper.widgets.segmentation import encodings

SMALL = cat()[::3, ::3]


class Reviewer:
    """The dock as a person meets it."""

    def __init__(self, viewer: Viewer, dock: Any, qtbot: QtBot) -> None:
        self.viewer, self.dock, self.qtbot = viewer, dock, qtbot
        _, widget = viewer.window.add_plugin_dock_widget("napari-cliper", "Review pictures")
        assert isinstance(widget, ReviewWidget)
        self.widget, self.desk = widget, widget.desk
        self.table = self.part(ReviewTable, "review-table")
        self.closed = False

    def part(self, kind: type[Any], name: str) -> Any:
        found = self.widget.findChild(kind, f"cliper-{name}")
        assert found is not None, name
        return found

    def settle(self) -> None:
        for _ in range(2):
            self.dock.wait()
            self.qtbot.waitUntil(lambda: self.widget.idle, timeout=60_000)

    def open(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, button: str = "open-folder"
    ) -> None:
        monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(folder))
        self.qtbot.mouseClick(self.part(QPushButton, button), Qt.MouseButton.LeftButton)
        self.settle()

    def key(self, key: Any) -> None:
        """Press a key on the canvas, where a person paints."""
        self.qtbot.keyClick(self.viewer.window._qt_viewer.canvas.native, key)
        self.settle()

    @property
    def shown(self) -> str | None:
        return self.desk.entry.picture if self.desk.entry is not None else None

    def state(self, picture: str) -> State:
        assert self.desk.review is not None
        return self.desk.review.entry(picture).state

    def mask(self) -> Any:
        return self.viewer.layers[f"{self.shown} [refined]"]

    @property
    def said(self) -> str:
        return str(self.part(QLabel, "review-status").text())


@pytest.fixture(autouse=True)
def _usual(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "usual_folder", lambda: tmp_path / "usual")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures of different sizes and kinds."""
    place = tmp_path / "pictures"
    place.mkdir()
    Image.fromarray(SMALL).save(place / "img1.png")
    Image.fromarray(SMALL[:, ::-1][:90]).save(place / "img2.png")
    Image.fromarray(SMALL[..., 0]).save(place / "img10.png")
    return place


@pytest.fixture
def reviewer(viewer: Viewer, dock: Any, qtbot: QtBot) -> Iterator[Reviewer]:
    # Nothing is drawn on the canvas: under Mesa, napari alone may crash after an Image layer went.
    viewer.window._qt_viewer.canvas.native.setUpdatesEnabled(False)
    reviewer = Reviewer(viewer, dock, qtbot)
    yield reviewer
    if not reviewer.closed:
        reviewer.settle()


def test_a_folder_is_reviewed_by_keys(
    reviewer: Reviewer, folder: Path, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    reviewer.dock.type("cat\ndog")
    reviewer.open(folder, monkeypatch)
    names = [entry.picture for entry in reviewer.table.queue.entries]
    assert names == ["img1.png", "img2.png", "img10.png"]
    assert reviewer.shown == "img1.png"  # opened, and segmented by the words
    assert (reviewer.mask().data == 1).any()
    assert reviewer.state("img1.png") is State.PROPOSED
    assert reviewer.desk.review.entry("img1.png").uncertainty > 0
    first = reviewer.mask().data.copy()
    kept = len(encodings)

    reviewer.key(Qt.Key.Key_A)
    assert reviewer.state("img1.png") is State.ACCEPTED
    assert reviewer.shown == "img2.png"
    assert len(encodings) == kept + 1  # it had been encoded ahead; now the third is, too
    assert {layer.name for layer in reviewer.viewer.layers} == {
        "img2.png", "img2.png [coarse]", "img2.png [refined]",
    }  # fmt: skip
    mask = reviewer.mask()
    mask.paint((20, 20), 2)
    reviewer.settle()
    assert reviewer.state("img2.png") is State.CORRECTED
    data = mask.data.copy()

    reviewer.key(Qt.Key.Key_PageUp)
    assert reviewer.shown == "img1.png"
    assert np.array_equal(reviewer.mask().data, first)
    assert reviewer.state("img1.png") is State.ACCEPTED  # looking at it changes nothing
    reviewer.key(Qt.Key.Key_PageDown)
    assert np.array_equal(reviewer.mask().data, data)
    assert of(reviewer.mask()).painted.mask[20, 20]
    reviewer.key(Qt.Key.Key_S)
    assert reviewer.state("img2.png") is State.SKIPPED
    assert reviewer.shown == "img10.png"
    reviewer.key(Qt.Key.Key_A)
    assert "Every picture" in reviewer.said
    assert "2 accepted, 1 skipped of 3" in reviewer.part(QLabel, "review-counts").text()
    reviewer.key(Qt.Key.Key_A)  # once more: open again
    assert reviewer.state("img10.png") is State.PROPOSED

    results = folder / "cliper-review"
    saved = json.loads((results / "review.json").read_text())
    assert [e["state"] for e in saved["entries"]] == ["accepted", "skipped", "proposed"]
    assert all(e["seconds"] > 0 for e in saved["entries"][:2])
    loaded = load_session(results / "img2.png.session")
    assert np.array_equal(loaded.maps[-1].labels, data)
    assert loaded.session.picture.path == (folder / "img2.png").as_posix()
    assert told == []


def test_progress_is_saved_and_gone_on_with(
    reviewer: Reviewer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reviewer.dock.type("cat")
    reviewer.open(folder, monkeypatch)
    reviewer.key(Qt.Key.Key_A)
    reviewer.mask().paint((20, 20), 1)
    reviewer.settle()
    data = reviewer.mask().data.copy()
    reviewer.open(folder, monkeypatch)  # as the next morning: what was open is saved first
    assert reviewer.shown == "img2.png"  # the first that is still open
    assert reviewer.state("img2.png") is State.CORRECTED
    assert np.array_equal(reviewer.mask().data, data)


def test_closing_the_dock_saves_the_review(
    reviewer: Reviewer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reviewer.dock.type("cat")
    reviewer.open(folder, monkeypatch)
    reviewer.viewer.window.remove_dock_widget(reviewer.widget)
    saved = json.loads((folder / "cliper-review" / "review.json").read_text())
    assert saved["entries"][0]["seconds"] > 0
    reviewer.dock.clear()  # nobody listens any more


def test_masks_made_before_are_shown_as_proposals(
    reviewer: Reviewer, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = np.zeros(SMALL.shape[:2], np.uint16)
    labels[10:30, 10:30] = 2
    masks = tmp_path / "masks"
    save_labels(masks / "img1_labels.png", labels, ClassList.parse("cat; sofa"))
    reviewer.open(folder, monkeypatch)
    assert reviewer.state("img1.png") is State.NEW
    assert len(reviewer.viewer.layers) == 1  # no words, no masks
    reviewer.open(masks, monkeypatch, "masks-from")
    assert reviewer.state("img1.png") is State.PROPOSED
    assert np.array_equal(reviewer.mask().data, labels)
    assert of(reviewer.mask()).painted.count() == 0
    assert reviewer.dock.classes.toPlainText() == "cat\nsofa"


def test_most_uncertain_pictures_first(
    reviewer: Reviewer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reviewer.dock.type("cat")
    reviewer.open(folder, monkeypatch)
    for _ in range(2):
        reviewer.key(Qt.Key.Key_PageDown)
    reviewer.part(QCheckBox, "unsure-first").setChecked(True)
    values = [entry.uncertainty for entry in reviewer.table.queue.entries]
    assert None not in values
    assert values == sorted(values, reverse=True)
    assert reviewer.table.queue.index(0, Column.UNSURE).data() == f"{values[0]:.2f}"


def test_new_pictures_are_segmented_only_if_wanted(
    reviewer: Reviewer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reviewer.dock.type("cat")
    reviewer.part(QCheckBox, "segments-new").setChecked(False)
    reviewer.open(folder, monkeypatch)
    assert [layer.name for layer in reviewer.viewer.layers] == ["img1.png"]
    assert reviewer.state("img1.png") is State.NEW


def test_a_class_added_on_the_way_stays(
    reviewer: Reviewer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reviewer.dock.type("cat")
    reviewer.open(folder, monkeypatch)
    reviewer.key(Qt.Key.Key_PageDown)
    reviewer.dock.run("cat\ndog")
    reviewer.key(Qt.Key.Key_PageUp)  # saved without dogs
    assert reviewer.dock.classes.toPlainText() == "cat\ndog"


def test_other_layers_of_the_person_stay(
    reviewer: Reviewer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reviewer.viewer.add_image(SMALL, name="mine")
    reviewer.viewer.add_labels(np.zeros(SMALL.shape[:2], np.uint8), name="notes")
    reviewer.open(folder, monkeypatch)
    reviewer.desk.show_after()
    reviewer.settle()
    assert [layer.name for layer in reviewer.viewer.layers] == ["mine", "notes", "img2.png"]


def test_going_on_during_a_run(
    reviewer: Reviewer, folder: Path, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    reviewer.dock.type("cat")
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(folder))
    reviewer.part(QPushButton, "open-folder").click()
    reviewer.qtbot.waitUntil(lambda: "img1.png" in reviewer.viewer.layers, timeout=60_000)
    reviewer.desk.show_after()
    reviewer.qtbot.waitUntil(lambda: "img2.png" in reviewer.viewer.layers, timeout=60_000)
    reviewer.desk.show_after()
    reviewer.qtbot.waitUntil(lambda: "img10.png" in reviewer.viewer.layers, timeout=60_000)
    reviewer.settle()
    names = {layer.name for layer in reviewer.viewer.layers}
    assert names == {"img10.png", "img10.png [coarse]", "img10.png [refined]"}
    assert told == []


@pytest.mark.parametrize("fault", ["picture", "session", "mask", "gone"])
def test_a_picture_that_cannot_be_shown_is_told_and_the_rest_goes_on(
    reviewer: Reviewer,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    told: list[str],
    fault: str,
) -> None:
    file = folder / "img2.png"
    if fault == "picture":
        file.write_bytes(file.read_bytes()[:200])
    elif fault == "mask":
        wrong = np.ones((5, 5), np.uint16)
        save_labels(folder / "cliper-review" / "img2_labels.png", wrong, "cat")
    elif fault == "session":
        (folder / "cliper-review" / "img2.png.session").mkdir(parents=True)
        (folder / "cliper-review" / "img2.png.session" / "session.json").write_text("{")
    reviewer.open(folder, monkeypatch)
    if fault == "gone":
        (folder / "img1.png").unlink()
        reviewer.desk.show("img2.png")
        reviewer.settle()
    reviewer.desk.show("img1.png" if fault == "gone" else "img2.png")
    reviewer.settle()
    assert len(told) == 1, told
    reviewer.desk.show("img10.png")
    reviewer.settle()
    assert reviewer.shown == "img10.png"


def test_a_picture_that_cannot_be_saved_stays_open(
    reviewer: Reviewer, folder: Path, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    reviewer.dock.type("cat")
    reviewer.open(folder, monkeypatch)
    mask = reviewer.mask()
    mask.paint((20, 20), 1)
    data = mask.data.copy()
    reviewer.settle()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        reviewer.key(Qt.Key.Key_PageDown)
    assert reviewer.shown == "img1.png"
    assert np.array_equal(reviewer.mask().data, data)
    assert any("No space left" in words for words in told)
    reviewer.key(Qt.Key.Key_PageDown)
    assert reviewer.shown == "img2.png"


@pytest.mark.parametrize("kind", ["empty", "damaged"])
def test_a_folder_that_cannot_be_reviewed_is_told(
    reviewer: Reviewer,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    told: list[str],
    kind: str,
) -> None:
    if kind == "empty":
        folder = tmp_path / "empty"
        folder.mkdir()
    else:
        (folder / "cliper-review").mkdir()
        (folder / "cliper-review" / "review.json").write_text("{")
    reviewer.open(folder, monkeypatch)
    assert len(told) == 1
    assert len(reviewer.viewer.layers) == 0


def test_times_are_said_as_people_say_them() -> None:
    assert [duration(s) for s in (5, 90, 5400)] == ["5 s", "2 min", "1.5 h"]


def propose(reviewer: Reviewer) -> None:
    button = reviewer.part(QPushButton, "propose-all")
    reviewer.qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def test_proposals_for_all_order_the_folder(
    reviewer: Reviewer, folder: Path, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    reviewer.dock.type("cat")
    Image.fromarray(SMALL[::-1]).save(folder / "img3.png")
    broken = folder / "img4.png"
    broken.write_bytes(b"no picture")
    reviewer.open(folder, monkeypatch)
    propose(reviewer)
    reviewer.settle()
    for name in ("img1.png", "img2.png", "img3.png", "img10.png"):
        assert reviewer.state(name) is State.PROPOSED
        assert reviewer.desk.review.entry(name).uncertainty > 0
    assert reviewer.state("img4.png") is State.NEW
    assert "img4.png" in reviewer.said
    assert reviewer.part(QPushButton, "propose-all").text() == "Propose for all new"
    proposed = load_session(folder / "cliper-review" / "img10.png.session").maps[-1]
    reviewer.desk.show("img10.png")  # grey
    reviewer.settle()
    assert np.array_equal(reviewer.mask().data, proposed.labels)
    assert of(reviewer.mask()).painted.count() == 0
    reviewer.dock.run()  # what was proposed is what pressing Segment brings
    assert np.array_equal(of(reviewer.mask()).proposal, proposed.proposal)
    assert told == []


def test_proposing_can_be_cancelled_and_keeps_what_there_is(
    reviewer: Reviewer, folder: Path, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    for number in range(20, 26):
        Image.fromarray(np.roll(SMALL, number, axis=1)).save(folder / f"img{number}.png")
    reviewer.dock.type("cat")
    reviewer.open(folder, monkeypatch)
    propose(reviewer)
    reviewer.qtbot.waitUntil(lambda: reviewer.state("img2.png") is State.PROPOSED, timeout=60_000)
    propose(reviewer)
    reviewer.settle()
    counts = reviewer.desk.review.counts()
    assert counts[State.NEW] > 0
    assert counts[State.PROPOSED] >= 2
    assert told == []


def test_proposing_needs_words(
    reviewer: Reviewer, folder: Path, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    propose(reviewer)
    assert "Open a folder" in reviewer.said
    reviewer.open(folder, monkeypatch)
    propose(reviewer)
    reviewer.settle()
    assert len(told) == 1
    assert "no classes" in told[0]


@pytest.mark.parametrize("way", ["autosave", "window"])
def test_strokes_on_a_fresh_picture_lie_with_the_review(
    reviewer: Reviewer, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    reviewer.dock.type("cat")
    reviewer.open(folder, monkeypatch)
    mask = reviewer.mask()
    mask.paint((20, 20), 1)
    data = mask.data.copy()
    reviewer.settle()
    if way == "autosave":
        reviewer.dock.widget.sessions.autosave()
        reviewer.settle()
    else:
        reviewer.viewer.close()
        reviewer.closed = True
        saved = json.loads((folder / "cliper-review" / "review.json").read_text())
        assert saved["entries"][0]["seconds"] > 0
        assert saved["entries"][0]["state"] == "corrected"
    loaded = load_session(folder / "cliper-review" / "img1.png.session")
    assert np.array_equal(loaded.maps[-1].labels, data)
    assert not (tmp_path / "usual").exists()


def test_the_last_accepted_picture_is_saved(
    reviewer: Reviewer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("img2.png", "img10.png"):
        (folder / name).unlink()
    reviewer.dock.type("cat")
    reviewer.open(folder, monkeypatch)
    reviewer.key(Qt.Key.Key_A)
    assert reviewer.shown == "img1.png"
    loaded = load_session(folder / "cliper-review" / "img1.png.session")
    assert np.array_equal(loaded.maps[-1].labels, reviewer.mask().data)


def test_quick_keys_decide_on_one_picture_only(
    reviewer: Reviewer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reviewer.dock.type("cat")
    reviewer.open(folder, monkeypatch)
    canvas = reviewer.viewer.window._qt_viewer.canvas.native
    for key in (Qt.Key.Key_A, Qt.Key.Key_A, Qt.Key.Key_PageDown):
        reviewer.qtbot.keyClick(canvas, key)
    reviewer.settle()
    assert reviewer.state("img1.png") is State.ACCEPTED
    assert reviewer.shown == "img2.png"
    assert reviewer.state("img2.png") is State.PROPOSED


def test_a_picture_that_cannot_be_saved_is_not_accepted(
    reviewer: Reviewer, folder: Path, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    reviewer.dock.type("cat")
    reviewer.open(folder, monkeypatch)
    reviewer.mask().paint((20, 20), 1)
    reviewer.settle()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        reviewer.key(Qt.Key.Key_A)
    assert reviewer.state("img1.png") is State.CORRECTED
    reviewer.key(Qt.Key.Key_A)
    assert reviewer.state("img1.png") is State.ACCEPTED


def test_a_copy_of_a_mask_is_its_makers(
    reviewer: Reviewer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reviewer.dock.type("cat")
    reviewer.open(folder, monkeypatch)
    mask = reviewer.mask()
    copy = Labels(mask.data.copy(), name="my copy", metadata=dict(mask.metadata))
    reviewer.viewer.add_layer(copy)
    reviewer.desk.show_after()
    reviewer.settle()
    assert "my copy" in reviewer.viewer.layers


def test_the_first_dock_is_opened_again_when_it_is_needed(
    reviewer: Reviewer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reviewer.dock.type("cat")
    reviewer.open(folder, monkeypatch)
    mask = reviewer.mask()
    mask.paint((20, 20), 1)
    data = mask.data.copy()
    reviewer.viewer.window.remove_dock_widget(reviewer.dock.widget)
    reviewer.desk.show_after()
    reviewer.qtbot.waitUntil(lambda: "img2.png" in reviewer.viewer.layers, timeout=60_000)
    reviewer.qtbot.waitUntil(lambda: reviewer.widget.idle, timeout=60_000)
    loaded = load_session(folder / "cliper-review" / "img1.png.session")
    assert np.array_equal(loaded.maps[-1].labels, data)
    reviewer.closed = True


def test_what_is_opened_while_proposals_are_made_is_left_alone(
    reviewer: Reviewer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reviewer.dock.type("cat")
    reviewer.open(folder, monkeypatch)
    propose(reviewer)
    reviewer.desk.show("img10.png")
    reviewer.qtbot.waitUntil(
        lambda: "img10.png [refined]" in reviewer.viewer.layers, timeout=60_000
    )
    mask = reviewer.mask()
    mask.paint((20, 20), 1)
    data = mask.data.copy()
    reviewer.settle()
    reviewer.desk.show("img1.png")
    reviewer.settle()
    loaded = load_session(folder / "cliper-review" / "img10.png.session")
    assert np.array_equal(loaded.maps[-1].labels, data)
    assert loaded.maps[-1].protected.any()


def test_a_damaged_picture_can_be_skipped(
    reviewer: Reviewer, folder: Path, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    (folder / "img2.png").write_bytes(b"no picture")
    reviewer.dock.type("cat")
    reviewer.open(folder, monkeypatch)
    reviewer.key(Qt.Key.Key_A)
    assert len(told) == 1
    reviewer.qtbot.mouseClick(reviewer.part(QPushButton, "skip"), Qt.MouseButton.LeftButton)
    reviewer.settle()
    assert reviewer.state("img2.png") is State.SKIPPED
    assert reviewer.shown == "img10.png"
    assert "img10.png" in reviewer.viewer.layers


def test_a_picture_that_has_changed_is_said(
    reviewer: Reviewer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reviewer.dock.type("cat")
    reviewer.open(folder, monkeypatch)
    reviewer.key(Qt.Key.Key_PageDown)
    Image.fromarray(SMALL[::-1]).save(folder / "img1.png")
    reviewer.key(Qt.Key.Key_PageUp)
    assert "has changed" in reviewer.said


def test_another_folder_is_opened_after_the_first(
    reviewer: Reviewer,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    told: list[str],
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    Image.fromarray(SMALL[::-1]).save(other / "else.png")
    reviewer.part(QCheckBox, "segments-new").setChecked(False)
    reviewer.open(folder, monkeypatch)
    reviewer.open(other, monkeypatch)
    assert reviewer.shown == "else.png"
    assert [layer.name for layer in reviewer.viewer.layers] == ["else.png"]
    assert told == []
