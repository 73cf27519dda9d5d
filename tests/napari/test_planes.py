"""Stacks in a real window: the plane that is shown, a range of planes, or all of them."""

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
from dask import delayed
from napari import Viewer
from napari.components import ViewerModel
from napari.layers import Image, Labels
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QLineEdit, QPushButton
from skimage.data import cat

from napari_cliper.errors import NapariCliperError
from napari_cliper.files.session import load_session
from napari_cliper.widgets import masks, segmentation, workspace
from napari_cliper.widgets.export_sources import sources
from napari_cliper.widgets.planes import Plane, chosen_planes, shown_plane

GREY = cat()[::4, ::4].mean(axis=2).astype(np.uint8)
STACK = np.stack([GREY, GREY[::-1], GREY[:, ::-1], 255 - GREY])


@pytest.fixture
def shown() -> Plane:
    viewer = ViewerModel()
    layer = viewer.add_image(np.zeros((3, 5, 20, 30)), scale=(1, 4, 1, 1), name="deep")
    viewer.dims.set_point((0, 1), (2, 4))
    return shown_plane(viewer, layer)


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("", [(2, 1)]),
        ("  ", [(2, 1)]),
        ("all", [(t, z) for t in range(3) for z in range(5)]),
        ("3", [(2, 3)]),
        ("1-3", [(2, 1), (2, 2), (2, 3)]),
        (":", [(t, z) for t in range(3) for z in range(5)]),
        ("ALL, 4", [(0, 4), (1, 4), (2, 4)]),
        ("0 , 0-1", [(0, 0), (0, 1)]),
    ],
)
def test_planes_by_their_numbers(shown: Plane, text: str, places: list[tuple[int, ...]]) -> None:
    found = chosen_planes(text, shown)
    assert [plane.place for plane in found] == places
    assert [plane.point for plane in found] == [(float(t), 4.0 * z) for t, z in places]
    assert all(plane.picture == shown.picture for plane in found)


@pytest.mark.parametrize("text", ["5", "-1", "3-2", "x", "1,2,3", "0-9", "1.5", "0,5", ","])
def test_planes_that_are_none(shown: Plane, text: str) -> None:
    with pytest.raises(NapariCliperError, match=r"0 to 2 and 0 to 4: write all"):
        chosen_planes(text, shown)


def test_a_single_picture_has_no_others() -> None:
    viewer = ViewerModel()
    plane = shown_plane(viewer, viewer.add_image(np.zeros((20, 30))))
    assert chosen_planes("all", plane) == [plane]


class Stacks:
    """The dock with a stack in the viewer."""

    def __init__(self, dock: Any) -> None:
        self.dock = dock
        self.planes: QLineEdit = dock.part(QLineEdit, "planes")

    def run(self, planes: str, words: str | None = None) -> None:
        self.planes.setText(planes)
        self.dock.run(words)

    def labels(self, role: str = "refined") -> Labels:
        (layer,) = self.dock.labels(role)
        return layer  # type: ignore[no-any-return]


@pytest.fixture
def stacks(dock: Any) -> Stacks:
    return Stacks(dock)


@pytest.fixture
def stack(viewer: Viewer) -> Image:
    layer = viewer.add_image(STACK, name="stack", scale=(5, 1, 2), translate=(10, 20, 30))
    viewer.dims.set_point(0, 10)
    return layer


def test_all_planes_of_a_stack(
    viewer: Viewer, stack: Image, stacks: Stacks, told: list[str]
) -> None:
    names: list[str] = []
    stacks.dock.widget._job.stepped.connect(lambda step: names.append(step.name))
    assert stacks.planes.isVisible()
    stacks.run("all", "cat")
    assert told == []
    assert stacks.dock.status.text() == "4 planes segmented."
    assert any(name.startswith("Plane 3 of 4: ") for name in names)
    refined, coarse = stacks.labels(), stacks.labels("coarse")
    for layer in (refined, coarse):
        assert layer.data.shape == STACK.shape
        np.testing.assert_allclose(layer.data_to_world((2, 7, 9)), stack.data_to_world((2, 7, 9)))
    # Each is what its picture alone gives.
    for number in (1, 3):
        alone_picture = viewer.add_image(STACK[number], name=f"alone {number}")
        stacks.dock.widget.show_picture(alone_picture)
        stacks.dock.run()
        alone = viewer.layers[f"alone {number} [refined]"].data
        assert alone.any()
        assert np.array_equal(refined.data[number], alone)
    assert not stacks.planes.isVisible()


def test_a_range_and_what_was_painted_there(viewer: Viewer, stack: Image, stacks: Stacks) -> None:
    stacks.run("1-2", "cat")
    refined = stacks.labels()
    assert [bool(plane.any()) for plane in refined.data] == [False, True, True, False]
    viewer.dims.set_point(0, 10 + 2 * 5)
    refined.paint((2, 30, 40), 7)
    painted = refined.data == 7
    stacks.run("all", "cat\ndog")
    assert np.array_equal(refined.data == 7, painted)
    assert stacks.dock.status.text() == "4 planes segmented."


def test_the_plane_that_is_shown(viewer: Viewer, stack: Image, stacks: Stacks) -> None:
    viewer.dims.set_point(0, 10 + 3 * 5)
    stacks.run("", "cat")
    refined = stacks.labels()
    assert [bool(plane.any()) for plane in refined.data] == [False, False, False, True]
    assert masks.of(refined).plane.place == (3,)
    # The sliders of the dock move the plane that is shown, and no other.
    stacks.run("0")
    before = refined.data.copy()
    viewer.dims.set_point(0, 10)
    stacks.dock.all_present.click()
    stacks.dock.settle()
    assert np.array_equal(refined.data[1:], before[1:])


def test_planes_that_are_done_stay_when_the_rest_is_cancelled(
    viewer: Viewer, stack: Image, stacks: Stacks
) -> None:
    dock = stacks.dock
    dock.type("cat")
    stacks.planes.setText("all")
    dock.widget._job.arrived.connect(lambda _: dock.click(dock.cancel))
    dock.qtbot.keyClick(stacks.planes, Qt.Key.Key_Return)
    dock.wait()
    assert [bool(plane.any()) for plane in stacks.labels().data] == [True, False, False, False]
    assert dock.status.text() == "Cancelled: 1 of 4 planes is segmented."
    dock.widget._job.arrived.disconnect()
    dock.widget._job.arrived.connect(dock.widget.show_segmented)
    stacks.run("all")
    assert all(plane.any() for plane in stacks.labels().data)
    assert dock.status.text() == "4 planes segmented."


def test_a_chunk_that_fails_keeps_no_other_from_it(
    viewer: Viewer, stacks: Stacks, told: list[str]
) -> None:
    broken = [False]

    def chunk(block_info: Any = None) -> Any:
        number = block_info[None]["chunk-location"][0]
        if number == 1 and broken[0]:
            raise OSError("the server is gone")
        return STACK[number : number + 1]

    lazy = da.map_blocks(chunk, chunks=((1,) * 4, *((n,) for n in GREY.shape)), dtype=np.uint8)
    viewer.add_image(lazy, name="lazy", contrast_limits=(0, 255))
    viewer.dims.set_point(0, 0)
    broken[0] = True
    stacks.run("all", "cat")
    refined = stacks.labels()
    assert isinstance(refined.data, np.ndarray)
    assert [bool(plane.any()) for plane in refined.data] == [True, False, True, True]
    said = stacks.dock.status.text()
    assert said.startswith("3 planes segmented.\nPlane 1 of “lazy” cannot be read (OSError: the")
    broken[0] = False
    stacks.run("1")
    assert all(plane.any() for plane in refined.data)


def test_planes_that_are_none_are_told(
    viewer: Viewer, stack: Image, stacks: Stacks, told: list[str]
) -> None:
    stacks.run("2-9", "cat")
    assert "names no planes of “stack”, which go from 0 to 3" in stacks.dock.status.text()
    assert len(viewer.layers) == 1
    assert len(told) == 1


def test_time_and_depth(viewer: Viewer, stacks: Stacks) -> None:
    deep = np.stack([STACK[:2], STACK[2:]])
    viewer.add_image(deep, name="deep", axis_labels=("t", "z", "y", "x"))
    viewer.dims.set_point((0, 1), (1, 0))
    stacks.run("all, 1", "cat")
    refined = stacks.labels()
    assert refined.data.shape == deep.shape
    assert np.array_equal(np.argwhere(refined.data.any(axis=(2, 3))), [[0, 1], [1, 1]])
    assert refined.axis_labels == ("t", "z", "y", "x")


def test_colours_in_a_stack(viewer: Viewer, stacks: Stacks) -> None:
    colours = np.stack([np.stack([plane] * 3, axis=-1) for plane in STACK[:2]])
    viewer.add_image(colours, name="film", rgb=True)
    stacks.run("all", "cat")
    assert stacks.labels().data.shape == colours.shape[:3]
    assert all(plane.any() for plane in stacks.labels().data)


def test_a_file_that_is_gone_is_told_and_the_window_goes_on(
    viewer: Viewer, stacks: Stacks, tmp_path: Path, told: list[str]
) -> None:
    import zarr

    stored = zarr.create_array(
        store=str(tmp_path / "stack.zarr"), data=STACK, chunks=(1, *GREY.shape)
    )
    viewer.add_image(da.from_zarr(stored), name="stored", contrast_limits=(0, 255))
    viewer.dims.set_point(0, 0)
    stacks.run("", "cat")
    for file in (tmp_path / "stack.zarr").rglob("*"):
        if file.is_file():
            file.write_bytes(b"damaged")
    before = stacks.labels().data.copy()
    stacks.run("2")
    assert "Plane 2 of “stored” cannot be read" in stacks.dock.status.text()
    assert np.array_equal(stacks.labels().data, before)
    assert stacks.dock.segment.isEnabled()


@pytest.fixture
def pyramid(viewer: Viewer) -> Image:
    finest = np.kron(cat(), np.ones((6, 6, 1), np.uint8))
    return viewer.add_image(
        [finest, finest[::4, ::4], finest[::12, ::12]], name="pyramid", rgb=True
    )


def test_a_pyramid_is_read_and_labelled_at_levels_that_fit(
    viewer: Viewer, pyramid: Image, stacks: Stacks, told: list[str]
) -> None:
    dock = stacks.dock
    level = dock.part(QComboBox, "level")
    assert level.isVisible()
    assert not stacks.planes.isVisible()
    sizes = [(1800, 2706), (450, 677), (150, 226)]
    said = [level.itemText(at) for at in range(level.count())]
    assert said == [f"Masks of {width:,} × {height:,} pixels" for height, width in sizes]
    assert level.currentIndex() == 0
    for at in (2, 1, 0):
        level.setCurrentIndex(at)
        dock.run("cat")
        mask = viewer.layers.selection.active
        assert isinstance(mask, Labels)
        assert mask.data.shape == sizes[at]
        corner = np.array(mask.data.shape) - 0.5
        np.testing.assert_allclose(
            mask.data_to_world(corner), pyramid.data_to_world((1799.5, 2705.5))
        )
        assert 0.1 < mask.data.astype(bool).mean() < 0.9
    assert told == []
    assert len(dock.labels("refined")) == 1  # nobody has painted on the others
    viewer.layers.remove(pyramid)
    assert not level.isVisible()


def test_the_coarsest_level_that_is_fine_enough_is_read() -> None:
    viewer = ViewerModel()
    sizes = [(8000, 6000), (4000, 3000), (2000, 1500), (1000, 750)]
    read: list[tuple[int, int]] = []

    def lazy(size: tuple[int, int]) -> Any:
        def chunk() -> Any:
            read.append(size)
            return np.zeros(size, np.uint8)

        return da.from_delayed(delayed(chunk)(), size, np.uint8)

    layer = viewer.add_image([lazy(size) for size in sizes], contrast_limits=(0, 255))
    plane = shown_plane(viewer, layer)
    assert plane.full == sizes[0]
    assert plane.size == sizes[1]  # 48 million labels are too many to begin with
    assert shown_plane(viewer, layer, level=0).size == sizes[0]
    read.clear()
    assert plane.pixels().shape == (*sizes[2], 3)
    assert set(read) == {sizes[2]}


def test_a_pyramid_of_planes_has_fewer_planes_in_its_levels(viewer: Viewer, stacks: Stacks) -> None:
    viewer.add_image([STACK, STACK[::2, ::2, ::2]], name="deep pyramid", contrast_limits=(0, 255))
    viewer.dims.set_point(0, 3)
    dock = stacks.dock
    dock.part(QComboBox, "level").setCurrentIndex(1)
    stacks.run("2-3", "cat")
    refined = stacks.labels()
    assert refined.data.shape == (4, *STACK[:, ::2, ::2].shape[1:])
    assert [bool(plane.any()) for plane in refined.data] == [False, False, True, True]


def test_attention_of_a_pyramid_covers_it(viewer: Viewer, pyramid: Image, stacks: Stacks) -> None:
    stacks.dock.part(QComboBox, "level").setCurrentIndex(2)
    stacks.dock.run("cat")
    _, inspector = viewer.window.add_plugin_dock_widget("napari-cliper", "Inspect attention")
    inspector.findChild(QPushButton, "cliper-look").click()
    stacks.dock.qtbot.waitUntil(lambda: inspector.idle, timeout=60_000)
    inspector._live._show((900.0, 1300.0))
    stacks.dock.qtbot.waitUntil(lambda: inspector.idle, timeout=60_000)
    attention = viewer.layers["pyramid [attention]"]
    edge = np.array(attention.data.shape) - 0.5
    np.testing.assert_allclose(
        attention.data_to_world(edge), pyramid.data_to_world((1799.5, 2705.5))
    )


def test_scribbles_on_a_coarse_mask_of_a_pyramid(
    viewer: Viewer, pyramid: Image, stacks: Stacks
) -> None:
    dock = stacks.dock
    dock.part(QComboBox, "level").setCurrentIndex(2)
    dock.run("cat\nsofa")
    mask = viewer.layers.selection.active
    _, correct = viewer.window.add_plugin_dock_widget("napari-cliper", "Correct masks")
    correct.findChild(QPushButton, "cliper-scribble").click()
    strokes = viewer.layers["pyramid [scribbles]"]
    assert strokes.data.shape == mask.data.shape
    strokes.selected_label = 2
    strokes.paint((20, 30), 2)
    change = workspace.of(viewer).corrections
    dock.qtbot.waitUntil(lambda: correct.idle and change.change is not None, timeout=60_000)
    change.accept()
    assert mask.data[20, 30] == 2


def as_dask(folder: Path) -> Any:
    return da.from_array(STACK, chunks=(1, -1, -1))


def as_zarr(folder: Path) -> Any:
    import zarr

    return zarr.create_array(store=str(folder / "a.zarr"), data=STACK, chunks=(1, *GREY.shape))


def as_tensorstore(folder: Path) -> Any:
    import tensorstore

    as_zarr(folder)
    place = {"driver": "file", "path": str(folder / "a.zarr")}
    return tensorstore.open({"driver": "zarr3", "kvstore": place}).result()


@pytest.mark.parametrize("kind", [as_dask, as_zarr, as_tensorstore])
def test_lazy_arrays_of_all_kinds(
    viewer: Viewer, stacks: Stacks, tmp_path: Path, told: list[str], kind: Any
) -> None:
    viewer.add_image(kind(tmp_path), name="lazy", contrast_limits=(0, 255))
    viewer.dims.set_point(0, 2)
    stacks.run("2-3", "cat")
    assert told == []
    refined = stacks.labels()
    assert type(refined.data) is np.ndarray
    assert refined.data.shape == STACK.shape
    assert [bool(plane.any()) for plane in refined.data] == [False, False, True, True]


def test_strokes_of_another_level_are_not_left_behind(
    viewer: Viewer, pyramid: Image, stacks: Stacks, told: list[str]
) -> None:
    dock = stacks.dock
    level = dock.part(QComboBox, "level")
    level.setCurrentIndex(2)
    dock.run("cat")
    mask = stacks.labels()
    mask.paint((20, 30), 1)
    before = mask.data.copy()
    level.setCurrentIndex(1)
    dock.run()
    assert "holds strokes of yours in masks of 226 × 150 pixels" in dock.status.text()
    assert stacks.labels() is mask
    assert np.array_equal(mask.data, before)
    dock.widget.sessions.save_at_once()
    assert len(told) == 1  # and not one about sessions
    level.setCurrentIndex(2)
    dock.run("cat\ndog")
    assert dock.status.text().startswith("small on cpu")


def test_strokes_on_another_level_during_the_run_stay(
    viewer: Viewer, pyramid: Image, stacks: Stacks
) -> None:
    dock = stacks.dock
    level = dock.part(QComboBox, "level")
    level.setCurrentIndex(2)
    dock.run("cat")
    mask = stacks.labels()
    level.setCurrentIndex(1)
    dock.widget._job.stepped.connect(lambda _: mask.paint((20, 30), 1))
    segmentation.encodings.clear()
    dock.run()
    assert mask in viewer.layers
    assert {layer.data.shape for layer in dock.labels("refined")} == {(150, 226), (450, 677)}


def test_a_changed_word_is_looked_for_in_the_shown_plane_alone(
    viewer: Viewer, stack: Image, stacks: Stacks
) -> None:
    dock = stacks.dock
    stacks.run("1", "cat")
    viewer.dims.set_point(0, 15)
    stacks.planes.setText("all")
    dock.qtbot.waitUntil(lambda: dock.encoded.text() == "encoded", timeout=10_000)
    dock.type("cat\ndog")
    dock.widget.window().activateWindow()
    dock.classes.setFocus()
    dock.qtbot.waitUntil(dock.classes.hasFocus)
    dock.qtbot.keyClick(dock.classes, Qt.Key.Key_Tab)
    dock.qtbot.waitUntil(
        lambda: list(stacks.labels().features["name"]) == ["background", "cat", "dog"],
        timeout=10_000,
    )
    dock.wait()
    assert [bool(plane.any()) for plane in stacks.labels().data] == [False, True, False, False]


def test_scribbles_end_when_another_plane_is_shown(
    viewer: Viewer, stack: Image, stacks: Stacks
) -> None:
    stacks.run("1-2", "cat\nsofa")
    refined = stacks.labels()
    viewer.dims.set_point(0, 15)
    viewer.layers.selection.active = refined
    _, correct = viewer.window.add_plugin_dock_widget("napari-cliper", "Correct masks")
    correct.findChild(QPushButton, "cliper-scribble").click()
    strokes = viewer.layers["stack [scribbles]"]
    strokes.selected_label = 2
    strokes.paint((20, 30), 2)
    change = workspace.of(viewer).corrections
    stacks.dock.qtbot.waitUntil(lambda: change.change is not None, timeout=60_000)
    before = refined.data.copy()
    viewer.dims.set_point(0, 20)
    assert change.change is None
    assert "stack [scribbles]" not in viewer.layers
    assert np.array_equal(refined.data, before)


def test_sessions_of_a_stack_are_of_their_planes(
    viewer: Viewer, stack: Image, stacks: Stacks, tmp_path: Path
) -> None:
    stacks.run("1-2", "cat")
    refined = stacks.labels()
    for place in (1, 2):
        viewer.dims.set_point(0, 10 + 5 * place)
        refined.paint((place, 20, 30), 1)
    sessions = stacks.dock.widget.sessions
    sessions.save_at_once()
    folders = {key[1]: folder for key, folder in sessions._kept.folders.items()}
    assert sorted(folders) == ["1", "2"]
    for place, folder in folders.items():
        assert folder.name.startswith(f"stack_{place} ")
        loaded = load_session(folder)
        assert loaded.session.picture.place == (int(place),)
        assert np.array_equal(loaded.maps[-1].labels, refined.data[int(place)])
    # Opened into a stack whose other plane has strokes: these stay as they are.
    saved = refined.data.copy()
    second = next(m for m in masks.masks(viewer) if m.layer is refined and m.plane.place == (2,))
    theirs = second.painted.mask.copy()
    second.release(np.ones(GREY.shape, bool))
    refined.data[2] = 0
    sessions.open(folders["2"])
    stacks.dock.settle()
    assert np.array_equal(refined.data, saved)
    assert np.array_equal(second.painted.mask, theirs)
    refined.undo()
    assert np.array_equal(refined.data, saved)
    assert np.array_equal(second.painted.mask, theirs)


def test_planes_are_exported_by_themselves(viewer: Viewer, stack: Image, stacks: Stacks) -> None:
    stacks.run("1", "cat")
    viewer.dims.set_point(0, 15)
    plane = shown_plane(viewer, stack)
    found = sources(viewer, plane)[0].annotation(plane, None, "{name}", False, False)
    assert found.labels.shape == GREY.shape
    assert found.classes.names == ("cat",)
    assert found.scale == (1.0, 2.0)
    assert np.array_equal(found.labels, stacks.labels().data[1])
