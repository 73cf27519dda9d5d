"""The dock “Review pictures” in a real window, driven by keys."""

import json
import os
import shutil
import threading
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
from qtpy.QtWidgets import QCheckBox, QDockWidget, QFileDialog, QLabel, QPushButton, QWidget
from skimage.data import cat

from napari_cliper.annotation.class_list import ClassList
from napari_cliper.annotation.review import Review, State
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.indexed_png import save_labels
from napari_cliper.files.review import save_review
from napari_cliper.files.session import load_session
from napari_cliper.widgets import ReviewWidget, proposing, review_opening, sessions
from napari_cliper.widgets.layers import ResultLayer, dress
from napari_cliper.widgets.masks import of
from napari_cliper.widgets.review_table import Column, ReviewTable, duration
from napari_cliper.widgets.segmentation import encodings
from napari_cliper.widgets.session_layers import add_instances

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


def floated(widget: QWidget, qtbot: QtBot) -> Any:
    """Let a widget's dock float, as by its title bar; returns the dock."""
    place = widget.parentWidget()
    while not isinstance(place, QDockWidget):
        assert place is not None
        place = place.parentWidget()
    place.setFloating(True)
    qtbot.waitUntil(lambda: place.isWindow() and widget.isVisible())
    return place


@pytest.mark.parametrize("floats", [False, True])
def test_closing_the_dock_saves_the_review(
    reviewer: Reviewer, folder: Path, monkeypatch: pytest.MonkeyPatch, floats: bool
) -> None:
    reviewer.dock.type("cat")
    reviewer.open(folder, monkeypatch)
    if floats:
        floated(reviewer.widget, reviewer.qtbot).title.close_button.click()
    else:
        reviewer.viewer.window.remove_dock_widget(reviewer.widget)
    saved = json.loads((folder / "cliper-review" / "review.json").read_text())
    assert saved["entries"][0]["seconds"] > 0
    reviewer.mask().paint((20, 20), 1)
    reviewer.dock.settle()
    assert reviewer.state("img1.png") is State.PROPOSED  # nobody listens any more
    reviewer.dock.clear()


def test_closing_a_floating_first_dock_saves_strokes(
    reviewer: Reviewer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reviewer.dock.type("cat")
    reviewer.open(folder, monkeypatch)
    mask = reviewer.mask()
    mask.paint((20, 20), 1)
    floated(reviewer.dock.widget, reviewer.qtbot).title.close_button.click()
    assert reviewer.dock.widget.closed
    loaded = load_session(folder / "cliper-review" / "img1.png.session")
    assert np.array_equal(loaded.maps[-1].labels, mask.data)
    reviewer.qtbot.waitUntil(lambda: reviewer.widget.idle, timeout=60_000)
    reviewer.closed = True


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


def masks_for(place: Path, *names: str) -> np.ndarray[Any, Any]:
    """Write masks as the command line does, of the first picture's size; returns what they hold."""
    labels = np.zeros(SMALL.shape[:2], np.uint16)
    labels[10:30, 10:30] = 1
    for name in names:
        save_labels(place / f"{name}_labels.png", labels, ClassList.parse("cat"))
    return labels


def test_the_folder_with_masks_is_used_again_on_another_day(
    reviewer: Reviewer, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = masks_for(tmp_path / "masks", "img1")
    reviewer.open(folder, monkeypatch)
    reviewer.open(tmp_path / "masks", monkeypatch, "masks-from")
    saved = json.loads((folder / "cliper-review" / "review.json").read_text())
    assert saved["masks_from"] == (tmp_path / "masks").as_posix()
    masks_for(tmp_path / "masks", "img10")
    reviewer.open(folder, monkeypatch)
    assert reviewer.state("img10.png") is State.PROPOSED
    reviewer.desk.show("img10.png")
    reviewer.settle()
    assert np.array_equal(reviewer.mask().data, labels)


def test_a_folder_with_masks_that_is_gone_is_told_and_nothing_fails(
    reviewer: Reviewer,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    told: list[str],
) -> None:
    masks_for(tmp_path / "masks", "img1")
    reviewer.open(folder, monkeypatch)
    reviewer.open(tmp_path / "masks", monkeypatch, "masks-from")
    shutil.move(tmp_path / "masks", tmp_path / "away")
    reviewer.open(folder, monkeypatch)
    assert f"“{tmp_path / 'masks'}”, which masks were taken from, is gone" in reviewer.said
    assert told == []
    assert reviewer.shown == "img1.png"
    reviewer.key(Qt.Key.Key_A)  # the review goes on, and is saved
    shutil.move(tmp_path / "away", tmp_path / "masks")
    masks_for(tmp_path / "masks", "img10")
    reviewer.open(folder, monkeypatch)  # the disk is back
    assert reviewer.state("img10.png") is State.PROPOSED


def test_masks_that_lie_with_the_pictures_move_with_them(folder: Path, tmp_path: Path) -> None:
    masks_for(folder / "made before", "img1")
    opened = review_opening.open_folder(folder, masks=folder / "made before")
    assert opened.review.masks_from == "made before"
    save_review(opened.folder, opened.review)
    moved = Path(shutil.move(folder, tmp_path / "elsewhere"))
    again = review_opening.open_folder(moved)
    assert again.remark == ""
    assert again.folder.proposals == moved / "made before"
    assert again.review.entry("img1.png").state is State.PROPOSED


@pytest.mark.parametrize("path", ["x" * 5000, "\0", "img1.png", "/no/such place"])
def test_any_path_of_masks_that_is_no_folder_is_told(folder: Path, path: str) -> None:
    (folder / "cliper-review").mkdir()
    text = Review(entries=(), masks_from=path).to_json()
    (folder / "cliper-review" / "review.json").write_text(text)
    opened = review_opening.open_folder(folder)
    assert "is gone" in opened.remark
    assert opened.folder.proposals is None
    assert len(opened.review.entries) == 3


def test_a_folder_of_masks_whose_name_is_no_text_is_refused(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "\udcff"
    place.mkdir()
    with pytest.raises(NapariCliperError, match="is no valid text: rename it"):
        review_opening.open_folder(folder, masks=place)


def test_a_picture_that_was_read_ahead_gets_its_mask_too(
    reviewer: Reviewer, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = masks_for(tmp_path / "masks", "img1")
    reviewer.open(folder, monkeypatch)
    reviewer.desk.show("img10.png")  # after the last one comes the first one
    reviewer.settle()
    reviewer.open(tmp_path / "masks", monkeypatch, "masks-from")
    assert reviewer.shown == "img1.png"
    assert np.array_equal(reviewer.mask().data, labels)


@pytest.mark.parametrize("role", ["refined", "coarse", "instances of cat"])
def test_a_stroke_on_any_mask_corrects_the_picture(
    reviewer: Reviewer, folder: Path, monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    for name in ("img2.png", "img10.png"):
        (folder / name).unlink()
    reviewer.dock.type("cat")
    reviewer.open(folder, monkeypatch)
    refined = of(reviewer.mask())
    if role.startswith("instances"):
        data = refined.layer.data.astype(np.uint16)
        item = ResultLayer(role, data, dress(ClassList.parse("cat 1")))
        layer = add_instances(reviewer.viewer, refined.plane, item, refined.classes[0])
    else:
        layer = reviewer.viewer.layers[f"img1.png [{role}]"]
    reviewer.settle()
    assert reviewer.state("img1.png") is State.PROPOSED
    layer.visible = True
    layer.paint((20, 20), 3)
    reviewer.settle()
    assert reviewer.state("img1.png") is State.CORRECTED
    reviewer.viewer.layers.selection.active = refined.layer  # which has the keys
    reviewer.key(Qt.Key.Key_A)
    assert reviewer.state("img1.png") is State.ACCEPTED
    reviewer.key(Qt.Key.Key_A)  # open again, and the stroke is not forgotten
    assert reviewer.state("img1.png") is State.CORRECTED
    reviewer.key(Qt.Key.Key_A)
    layer.paint((40, 40), 3)  # who paints is at work on it again
    reviewer.settle()
    assert reviewer.state("img1.png") is State.CORRECTED


def test_runs_and_sliders_are_no_strokes(
    reviewer: Reviewer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reviewer.dock.type("cat")
    reviewer.open(folder, monkeypatch)
    reviewer.dock.run("cat\ndog")
    reviewer.dock.all_present.setChecked(True)
    reviewer.settle()
    assert reviewer.state("img1.png") is State.PROPOSED


@pytest.mark.parametrize("unsure_first", [False, True])
def test_a_proposal_leaves_the_table_where_it_is_scrolled(
    reviewer: Reviewer, folder: Path, monkeypatch: pytest.MonkeyPatch, unsure_first: bool
) -> None:
    for number in range(20, 80):
        Image.fromarray(SMALL[:20, :20]).save(folder / f"img{number}.png")
    reviewer.open(folder, monkeypatch)
    reviewer.part(QCheckBox, "unsure-first").setChecked(unsure_first)
    bar, desk = reviewer.table.verticalScrollBar(), reviewer.desk
    assert bar.maximum() > 20
    bar.setValue(bar.maximum() - 5)
    desk._note_proposed(desk.folder, "img79.png", 0.9)  # the one that comes first then
    reviewer.settle()
    assert reviewer.state("img79.png") is State.PROPOSED
    assert bar.value() == bar.maximum() - 5
    chosen = reviewer.table.selectionModel().selectedRows()
    assert [index.row() for index in chosen] == [1 if unsure_first else 0]  # img1.png, still
    desk.show_after()
    reviewer.settle()
    assert reviewer.shown == "img2.png"
    assert bar.value() < 5


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


def test_another_folder_ends_the_proposals_for_the_one_before(
    reviewer: Reviewer,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    told: list[str],
) -> None:
    other = tmp_path / "other"
    shutil.copytree(folder, other)  # pictures of the same names
    reviewer.part(QCheckBox, "segments-new").setChecked(False)
    reviewer.dock.type("cat")
    reviewer.open(folder, monkeypatch)
    saving, go_on, save = threading.Event(), threading.Event(), proposing._save

    def slow(*what: Any) -> None:
        saving.set()
        assert go_on.wait(60)
        save(*what)

    monkeypatch.setattr(proposing, "_save", slow)
    propose(reviewer)
    reviewer.qtbot.waitUntil(saving.is_set, timeout=60_000)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(other))
    reviewer.part(QPushButton, "open-folder").click()
    reviewer.qtbot.waitUntil(lambda: reviewer.desk.folder.pictures == other, timeout=60_000)
    go_on.set()
    reviewer.settle()
    assert reviewer.part(QPushButton, "propose-all").text() == "Propose for all new"
    made = [path.name for path in (folder / "cliper-review").glob("*.session")]
    assert made == ["img2.png.session"]  # what was being saved is, where it belongs
    assert list(other.rglob("*.session")) == []
    assert {entry.state for entry in reviewer.desk.review.entries} == {State.NEW}
    assert told == []
    propose(reviewer)  # and the new folder has its turn
    reviewer.settle()
    assert reviewer.state("img2.png") is State.PROPOSED
    assert (other / "cliper-review" / "img10.png.session").is_dir()
    assert not (folder / "cliper-review" / "img10.png.session").exists()


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


@pytest.mark.parametrize("way", ["autosave", "window", "window of floating docks"])
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
        if "floating" in way:
            floated(reviewer.widget, reviewer.qtbot)
            floated(reviewer.dock.widget, reviewer.qtbot)
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
