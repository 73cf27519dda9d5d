"""Sessions in a real window: saved, saved by themselves, reopened."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari import Viewer
from PIL import Image
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QFileDialog, QPushButton
from skimage.data import cat
from superqt import QLabeledDoubleSlider

from napari_cliper.annotation.class_list import ClassList
from napari_cliper.files.session import load_session
from napari_cliper.widgets import sessions
from napari_cliper.widgets.masks import of


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "pictures" / "katze ä.png"
    path.parent.mkdir()
    Image.fromarray(cat()[::2, ::2]).save(path)
    return path


@pytest.fixture(autouse=True)
def usual(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "usual"
    monkeypatch.setattr(sessions, "usual_folder", lambda: folder)
    return folder


@pytest.fixture(autouse=True)
def _undrawn(viewer: Viewer) -> None:
    """Under Mesa, napari alone may crash after an Image layer went: nothing is drawn."""
    viewer.window._qt_viewer.canvas.native.setUpdatesEnabled(False)


def mask_of(viewer: Viewer, name: str = "katze ä") -> Any:
    return viewer.layers[f"{name} [refined]"]


def worked_on(viewer: Viewer, dock: Any, photo: Path) -> Any:
    """A session's worth of work on a picture."""
    viewer.open(str(photo), plugin="napari")
    dock.run("cat = kitty\nblanket\ndog")
    mask = mask_of(viewer)
    mask.brush_size = 12
    mask.paint((30, 40), 2)
    mask.paint((100, 60), 9)  # a label of no class
    known = of(mask)
    known.touch((slice(0, 5), slice(0, 5)), np.ones((5, 5), bool), int(mask.data[0, 0]))
    dock.part(QLabeledDoubleSlider, "background").setValue(0.62)
    dock.settle()
    dock.widget._classes._recolor(1, (10, 200, 30))
    dock.widget._classes.hide_classes({3})
    mask.name = "my mask"
    mask.opacity = 0.3
    mask.contour = 1
    mask.selected_label = 2
    return mask


def snapshot(mask: Any) -> dict[str, Any]:
    known = of(mask)
    return {
        "data": mask.data.copy(),
        "dtype": mask.data.dtype,
        "protected": known.painted.mask.copy(),
        "proposal": known.proposal.astype(np.uint16),
        "looks": (mask.name, mask.opacity, mask.contour, mask.visible, mask.selected_label),
        "colors": {k: tuple(np.round(v, 3)) for k, v in mask.colormap.color_dict.items()},
        "names": list(mask.features["name"]),
    }


def same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert np.array_equal(value, other[name]), name


def save(dock: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(folder))
    dock.click(dock.part(QPushButton, "save-session"))
    dock.settle()


def reopen(dock: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(folder))
    dock.click(dock.part(QPushButton, "open-session"))
    dock.settle()


def test_reopening_brings_everything_back_and_the_run_can_be_replayed(
    viewer: Viewer,
    dock: Any,
    photo: Path,
    tmp_path: Path,
    told: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mask = worked_on(viewer, dock, photo)
    before, text = snapshot(mask), dock.classes.toPlainText()
    classes, adjustment = dock.widget._classes.classes, dock.widget._adjustment.adjustment
    folder = tmp_path / "my session"
    save(dock, folder, monkeypatch)
    assert "Saved" in dock.status.text()
    del mask
    dock.clear()
    dock.widget._classes.take(None)
    dock.reset.click()
    dock.method.setCurrentIndex(dock.method.findData("clip"))
    dock.settle()

    reopen(dock, folder, monkeypatch)
    assert next(layer.name for layer in viewer.layers) == "katze ä"
    again = viewer.layers["my mask"]
    same(before, snapshot(again))
    assert dock.classes.toPlainText() == text
    assert dock.widget._classes.classes == classes
    assert dock.widget._classes.hidden == {3}
    assert dock.widget._adjustment.adjustment == adjustment
    assert dock.method.currentData() == "cliper"

    proposal, protected = before["proposal"], before["protected"]
    dock.run()  # replayed on the same picture
    known = of(again)
    assert np.array_equal(known.proposal, proposal)
    assert np.array_equal(again.data[protected], before["data"][protected])
    assert told == []


def test_models_that_are_not_offered_leave_what_is_chosen(
    viewer: Viewer, dock: Any, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worked_on(viewer, dock, photo)
    save(dock, tmp_path / "s", monkeypatch)
    file = tmp_path / "s" / "session.json"
    data = json.loads(file.read_text())
    data["model"] |= {"preset": "of-a-friend", "method": "of-tomorrow"}
    file.write_text(json.dumps(data))
    dock.clear()
    dock.method.setCurrentIndex(dock.method.findData("clip"))
    reopen(dock, tmp_path / "s", monkeypatch)
    assert "Opened" in dock.status.text()
    assert dock.preset.currentData() == "small"
    assert dock.method.currentData() == "clip"


def test_a_chosen_folder_is_kept_up_to_date_and_the_undone_too(
    viewer: Viewer, dock: Any, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = worked_on(viewer, dock, photo)
    folder = tmp_path / "kept"
    save(dock, folder, monkeypatch)
    mask.paint((120, 120), 3)
    dock.widget.sessions.autosave()
    dock.settle()
    assert np.array_equal(load_session(folder).maps[-1].labels, mask.data)
    moment = (folder / "session.json").stat().st_mtime_ns
    dock.widget.sessions.autosave()  # nothing has changed
    dock.settle()
    assert (folder / "session.json").stat().st_mtime_ns == moment
    mask.undo()
    dock.qtbot.wait(100)
    dock.widget.sessions.autosave()
    dock.settle()
    assert np.array_equal(load_session(folder).maps[-1].labels, mask.data)


def test_painted_masks_are_saved_without_being_asked(
    viewer: Viewer, dock: Any, photo: Path, usual: Path
) -> None:
    viewer.open(str(photo), plugin="napari")
    dock.run("cat")
    dock.widget.sessions.autosave()
    dock.settle()
    assert not usual.exists()  # nobody painted: a run brings it again
    mask = mask_of(viewer)
    mask.paint((50, 50), 1)
    dock.widget.sessions.autosave()
    dock.settle()
    (folder,) = usual.iterdir()
    loaded = load_session(folder)
    assert np.array_equal(loaded.maps[-1].labels, mask.data)
    assert loaded.session.picture.path == photo.as_posix()
    versions = json.loads((folder / "session.json").read_text())["versions"]
    assert set(versions) >= {"napari-cliper", "napari", "torch"}


def test_the_interval_is_that_of_the_preferences(viewer: Viewer, dock: Any) -> None:
    assert dock.widget.sessions._timer.interval() == 30_000
    assert dock.widget.sessions._timer.isActive()
    silent = sessions.Sessions(viewer, dock.widget._workspace, lambda: None, 0)  # type: ignore
    assert not silent._timer.isActive()


@pytest.mark.parametrize("way", ["dock", "window"])
def test_closing_saves(
    viewer: Viewer, dock: Any, photo: Path, usual: Path, way: str, qtbot: QtBot
) -> None:
    viewer.open(str(photo), plugin="napari")
    dock.run("cat")
    mask = mask_of(viewer)
    mask.paint((50, 50), 1)
    data = mask.data.copy()
    if way == "dock":
        viewer.window.remove_dock_widget(dock.widget)
    else:
        viewer.close()
    (folder,) = usual.iterdir()
    assert np.array_equal(load_session(folder).maps[-1].labels, data)


def test_earlier_sessions_of_a_picture_stay(
    viewer: Viewer, dock: Any, photo: Path, usual: Path
) -> None:
    for number in range(2):
        viewer.open(str(photo), plugin="napari")
        dock.run("cat")
        mask_of(viewer).paint((50 + number, 50), 1)
        dock.widget.sessions.autosave()
        dock.settle()
        dock.clear()
    assert len(list(usual.iterdir())) == 2


def test_instances_and_samples_come_back(
    viewer: Viewer, dock: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot
) -> None:
    viewer.open_sample("napari-cliper", "cat")
    dock.run("cat")
    _, corrector = viewer.window.add_plugin_dock_widget("napari-cliper", "Correct masks")
    mask = mask_of(viewer, "cat")
    viewer.layers.selection.active = mask
    mask.selected_label = 1
    corrector._fixes._make_instances()
    qtbot.waitUntil(lambda: "cat [instances of cat]" in viewer.layers, timeout=10_000)
    layer = viewer.layers["cat [instances of cat]"]
    layer.data[:9, :9] = 77  # by somebody's script
    layer.refresh()
    data = layer.data.copy()
    folder = tmp_path / "s"
    save(dock, folder, monkeypatch)
    del layer, mask
    dock.clear()
    reopen(dock, folder, monkeypatch)
    again = viewer.layers["cat [instances of cat]"]
    assert np.array_equal(again.data, data)
    assert "label 77" in list(again.features["name"])
    assert viewer.layers[0].source.sample == ("napari-cliper", "cat")


def test_an_open_picture_is_found_by_its_pixels(
    viewer: Viewer, dock: Any, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worked_on(viewer, dock, photo)
    save(dock, tmp_path / "s", monkeypatch)
    dock.clear()
    photo.unlink()
    viewer.add_image(cat()[::2, ::2], name="the same under another name")
    reopen(dock, tmp_path / "s", monkeypatch)
    assert of(viewer.layers["my mask"]).plane.name == "the same under another name"
    assert len([layer for layer in viewer.layers if "katze" in layer.name]) == 1  # the coarse mask


def test_a_missing_picture_is_said_and_the_masks_come(
    viewer: Viewer, dock: Any, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(worked_on(viewer, dock, photo))
    save(dock, tmp_path / "s", monkeypatch)
    dock.clear()
    photo.unlink()
    reopen(dock, tmp_path / "s", monkeypatch)
    same(before, snapshot(viewer.layers["my mask"]))
    assert "is not there" in dock.status.text()


def test_a_changed_picture_is_said(
    viewer: Viewer, dock: Any, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(worked_on(viewer, dock, photo))
    save(dock, tmp_path / "s", monkeypatch)
    dock.clear()
    Image.fromarray(cat()[::2, ::2][::-1]).save(photo)
    reopen(dock, tmp_path / "s", monkeypatch)
    same(before, snapshot(viewer.layers["my mask"]))
    assert "has changed" in dock.status.text()
    dock.clear()
    Image.fromarray(cat()).save(photo)
    reopen(dock, tmp_path / "s", monkeypatch)
    assert "another size" in dock.status.text()


def test_strokes_in_the_window_are_not_replaced(
    viewer: Viewer,
    dock: Any,
    photo: Path,
    tmp_path: Path,
    told: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mask = worked_on(viewer, dock, photo)
    save(dock, tmp_path / "s", monkeypatch)
    mask.paint((5, 100), 1)
    data = mask.data.copy()
    reopen(dock, tmp_path / "s", monkeypatch)
    assert len(told) == 1
    assert "holds strokes of yours" in told[0]
    assert np.array_equal(viewer.layers["my mask"].data, data)


@pytest.mark.parametrize("fault", ["nothing", "json", "newer", "png", "size"])
def test_a_bad_session_is_told_and_changes_nothing(
    viewer: Viewer,
    dock: Any,
    photo: Path,
    tmp_path: Path,
    told: list[str],
    fault: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worked_on(viewer, dock, photo)
    folder = tmp_path / "s"
    save(dock, folder, monkeypatch)
    dock.clear()
    file = folder / "session.json"
    png = next(folder.glob("refined-labels*.png"))
    if fault == "nothing":
        folder = tmp_path
    elif fault == "json":
        file.write_text(file.read_text()[:-40])
    elif fault == "newer":
        file.write_text(file.read_text().replace('"format": 1', '"format": 2'))
    elif fault == "png":
        png.write_bytes(png.read_bytes()[:-30])
    else:
        Image.open(png).resize((10, 10), 0).save(png)
    reopen(dock, folder, monkeypatch)
    assert len(told) == 1
    assert len(viewer.layers) == 0


def test_a_full_disk_is_told_once_and_the_last_good_state_stays(
    viewer: Viewer,
    dock: Any,
    photo: Path,
    tmp_path: Path,
    told: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mask = worked_on(viewer, dock, photo)
    folder = tmp_path / "s"
    save(dock, folder, monkeypatch)
    good = mask.data.copy()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        dock.wait()
        patch.setattr(os, "fsync", full)
        for row in (5, 15):
            mask.paint((row, 100), 1)
            dock.widget.sessions.autosave()
            dock.settle()
    assert len(told) == 1
    assert "No space left" in told[0]
    assert np.array_equal(load_session(folder).maps[-1].labels, good)
    dock.widget.sessions.autosave()
    dock.settle()
    assert np.array_equal(load_session(folder).maps[-1].labels, mask.data)


def test_there_is_nothing_to_save_before_a_run(viewer: Viewer, dock: Any, told: list[str]) -> None:
    dock.click(dock.part(QPushButton, "save-session"))
    assert "press Segment" in dock.status.text()
    assert len(told) == 1


def test_a_plane_of_a_stack_comes_back_to_its_place(
    viewer: Viewer, dock: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tifffile

    path = tmp_path / "stack.tif"
    grey = cat()[::3, ::3, 0].astype(np.uint16) * 100
    tifffile.imwrite(path, np.stack([grey, grey[::-1], grey[:, ::-1]]))
    viewer.open(str(path), plugin="napari")
    viewer.dims.set_point(0, 2)
    dock.run("cat")
    mask = mask_of(viewer, "stack")
    mask.paint((2, 20, 20), 1)
    data = mask.data.copy()
    save(dock, tmp_path / "s", monkeypatch)
    del mask
    dock.clear()
    reopen(dock, tmp_path / "s", monkeypatch)  # the sliders stand elsewhere now
    again = mask_of(viewer, "stack")
    assert np.array_equal(again.data, data)
    assert of(again) is None  # of the plane that is shown nothing is known
    viewer.dims.set_point(0, 2)
    assert of(again).plane.place == (2,)
    assert of(again).painted.count() > 0
    assert "Opened" in dock.status.text()


def test_strokes_are_saved_when_the_picture_cannot_be_read_any_more(
    viewer: Viewer, dock: Any, photo: Path, usual: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_cliper.widgets.planes import Plane

    viewer.open(str(photo), plugin="napari")
    dock.run("cat")
    mask = mask_of(viewer)
    mask.paint((50, 50), 1)

    def gone(_: Plane) -> None:
        raise OSError("the disk was pulled out")

    monkeypatch.setattr(Plane, "read", gone)
    dock.widget.sessions.autosave()
    dock.settle()
    (folder,) = usual.iterdir()
    assert np.array_equal(load_session(folder).maps[-1].labels, mask.data)


def test_a_folder_of_another_picture_is_refused(
    viewer: Viewer,
    dock: Any,
    photo: Path,
    tmp_path: Path,
    told: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mask = worked_on(viewer, dock, photo)
    data = mask.data.copy()
    save(dock, tmp_path / "s", monkeypatch)
    viewer.add_image(cat()[::3, ::3], name="other")
    dock.image.setCurrentText("other")
    dock.run()
    save(dock, tmp_path / "s", monkeypatch)
    assert len(told) == 1
    assert "choose another folder" in told[0]
    assert np.array_equal(load_session(tmp_path / "s").maps[-1].labels, data)


@pytest.mark.parametrize("chosen", [True, False])
def test_strokes_on_a_deleted_mask_are_kept_on_disk(
    viewer: Viewer,
    dock: Any,
    photo: Path,
    tmp_path: Path,
    usual: Path,
    monkeypatch: pytest.MonkeyPatch,
    chosen: bool,
) -> None:
    mask = worked_on(viewer, dock, photo)
    if chosen:
        save(dock, tmp_path / "s", monkeypatch)
    mask.paint((60, 60), 1)
    data = mask.data.copy()
    viewer.layers.remove(mask)
    del mask
    dock.run()
    viewer.layers["katze ä [refined]"].paint((5, 5), 1)
    dock.widget.sessions.autosave()
    dock.settle()
    places = [*usual.iterdir(), *([tmp_path / "s"] if chosen else [])]
    found = [load_session(place).maps[-1].labels for place in places]
    assert len(found) == 2
    assert any(np.array_equal(labels, data) for labels in found)


def test_opening_a_session_renames_no_classes_of_other_pictures(
    viewer: Viewer, dock: Any, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worked_on(viewer, dock, photo)
    save(dock, tmp_path / "s", monkeypatch)
    dock.clear()
    viewer.add_image(cat()[::3, ::3], name="other")
    dock.widget._classes.take(None)
    dock.run("tree\nriver")
    other = viewer.layers["other [refined]"]
    other.paint((20, 20), 1)
    reopen(dock, tmp_path / "s", monkeypatch)
    names = {entry.id: entry.name for entry in of(other).classes}
    assert (names[1], names[2]) == ("tree", "river")
    assert dock.image.currentText() == "katze ä"


def test_a_run_gives_no_stroke_another_meaning(
    viewer: Viewer, dock: Any, photo: Path, told: list[str]
) -> None:
    viewer.open(str(photo), plugin="napari")
    dock.run("cat\ndog")
    mask = mask_of(viewer)
    mask.paint((20, 20), 2)
    of(mask).classes = ClassList.parse("sofa\nhorse")  # as it was with another list
    dock.run("cat\ndog\nbird")
    assert len(told) == 1
    assert "painted as “horse”" in told[0]


def test_one_bad_folder_keeps_no_other_from_being_saved(
    viewer: Viewer,
    dock: Any,
    photo: Path,
    tmp_path: Path,
    told: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mask = worked_on(viewer, dock, photo)
    save(dock, tmp_path / "s", monkeypatch)
    (tmp_path / "s" / "session.json").write_text("{")
    mask.paint((60, 60), 1)
    viewer.add_image(cat()[::3, ::3], name="other")
    dock.image.setCurrentText("other")
    dock.run()
    viewer.layers["other [refined]"].paint((5, 5), 1)
    for _ in range(2):
        dock.widget.sessions.autosave()
        dock.settle()
    assert len(told) == 1
    (folder,) = (tmp_path / "usual").iterdir()
    assert load_session(folder).session.picture.name == "other"


def test_the_picture_is_remembered_when_it_is_gone(
    viewer: Viewer, dock: Any, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = worked_on(viewer, dock, photo)
    save(dock, tmp_path / "s", monkeypatch)
    before = load_session(tmp_path / "s").session.picture
    viewer.layers.remove(viewer.layers["katze ä"])
    dock.qtbot.wait(100)
    mask.paint((60, 60), 1)
    dock.widget.sessions.autosave()
    dock.settle()
    loaded = load_session(tmp_path / "s")
    assert np.array_equal(loaded.maps[-1].labels, mask.data)
    assert loaded.session.picture == before


def test_folders_outlive_the_dock(
    viewer: Viewer, dock: Any, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = worked_on(viewer, dock, photo)
    save(dock, tmp_path / "s", monkeypatch)
    viewer.window.remove_dock_widget(dock.widget)
    _, again = viewer.window.add_plugin_dock_widget("napari-cliper", "Segment with text")
    mask.paint((60, 60), 1)
    again.sessions.autosave()
    dock.qtbot.waitUntil(lambda: again.sessions.idle, timeout=10_000)
    assert np.array_equal(load_session(tmp_path / "s").maps[-1].labels, mask.data)
    assert not (tmp_path / "usual").exists()


def test_an_older_state_never_follows_a_newer_one(
    viewer: Viewer, dock: Any, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = worked_on(viewer, dock, photo)
    save(dock, tmp_path / "s", monkeypatch)
    mask.paint((60, 60), 1)
    (older,) = dock.widget.sessions._due()
    mask.paint((80, 60), 1)
    (newer,) = dock.widget.sessions._due()
    newer.write()
    older.write()  # as a thread does that was slow
    assert np.array_equal(load_session(tmp_path / "s").maps[-1].labels, mask.data)


def test_a_converted_mask_is_saved(
    viewer: Viewer, dock: Any, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = worked_on(viewer, dock, photo)
    mask.data = mask.data.astype(np.int32)
    save(dock, tmp_path / "s", monkeypatch)
    assert np.array_equal(load_session(tmp_path / "s").maps[-1].labels, mask.data)
