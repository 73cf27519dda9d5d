"""Window by window, with the small preset's real weights."""

from pathlib import Path

import numpy as np
import pytest
import skimage.data

import napari_cliper as nc
from lazy_arrays import Watched
from napari_cliper.annotation.class_list import ClassList
from napari_cliper.cliper.steps import drain
from napari_cliper.cliper.windows import Layout
from napari_cliper.errors import NapariCliperError
from napari_cliper.segmenter import Segmenter
from napari_cliper.tiles import segmenting
from napari_cliper.tiles.segmenting import Tiling, score_tiled_steps, store_tiled_steps
from napari_cliper.tiles.stored import StoredResult

CLASSES = ClassList.parse("person; rocket; flag; helmet")
WINDOW = 256


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    return skimage.data.astronaut()


@pytest.fixture(scope="module")
def tiled(quick: Segmenter, astronaut: np.ndarray) -> np.ndarray:
    result = nc.segment_tiled(quick, astronaut, CLASSES, window=WINDOW, present="all")
    return np.asarray(result.labels)


def test_one_window_is_the_whole_picture(quick: Segmenter, astronaut: np.ndarray) -> None:
    once = quick.segment(astronaut, CLASSES)
    tiled = nc.segment_tiled(quick, astronaut, CLASSES, window=512)
    # Rounding may move a patch over a threshold from one pass of the tower to the next.
    assert (tiled.labels == once.labels).mean() > 0.99
    assert (tiled.coarse_labels == once.coarse_labels).mean() > 0.99
    np.testing.assert_allclose(tiled.presence, once.presence, rtol=1e-3)
    np.testing.assert_array_equal(tiled.present, once.present)


def test_windows_see_what_the_whole_picture_sees(
    quick: Segmenter, astronaut: np.ndarray, tiled: np.ndarray
) -> None:
    once = quick.segment(astronaut, CLASSES, present="all")
    assert (tiled == once.labels).mean() > 0.7
    assert (tiled[70:160, 190:250] == 1).mean() > 0.9


def changes(labels: np.ndarray, axis: int) -> np.ndarray:
    """Between each two lines, the share of pixels whose label changes."""
    return (np.diff(labels.astype(int), axis=axis) != 0).mean(axis=1 - axis)


def test_no_borders_of_windows_show(
    quick: Segmenter, astronaut: np.ndarray, tiled: np.ndarray
) -> None:
    """Labels change no more often along borders of windows than elsewhere.

    Windows side by side, each labelled by itself, show what this would see.
    """
    layout = Layout.of((512, 512), WINDOW, Tiling().overlap)
    starts = layout.down.starts
    assert len(starts) > 2
    ends = {*starts, *(start + WINDOW for start in starts)} - {0, 512}
    borders = np.array(sorted(ends)) - 1
    separate = np.block(
        [
            [
                quick.segment(
                    astronaut[top : top + WINDOW, left : left + WINDOW], CLASSES, present="all"
                ).labels
                for left in (0, WINDOW)
            ]
            for top in (0, WINDOW)
        ]
    )
    for axis in (0, 1):
        change = changes(tiled, axis)
        assert change[borders].mean() < 1.5 * np.delete(change, borders).mean() + 0.002
        hard = changes(separate, axis)
        assert hard[WINDOW - 1] > 5 * np.delete(hard, WINDOW - 1).mean()


def test_the_picture_is_read_window_by_window(quick: Segmenter, astronaut: np.ndarray) -> None:
    watched = Watched(np.tile(astronaut, (2, 2, 1)))
    drain(score_tiled_steps(quick, watched, CLASSES, Tiling(512, context=0)))
    assert watched.largest == 512


def test_labels_go_to_disk_and_are_the_same(
    quick: Segmenter, astronaut: np.ndarray, tiled: np.ndarray, tmp_path: Path
) -> None:
    stored = nc.segment_tiled(
        quick, astronaut, CLASSES, window=WINDOW, present="all", output=tmp_path / "labels.zarr"
    )
    assert isinstance(stored, StoredResult)
    assert (stored.labels[:] == tiled).mean() > 0.99
    assert stored.present.all()


def test_windows_are_told_by_name(quick: Segmenter, astronaut: np.ndarray) -> None:
    names: list[str] = []
    tiling = Tiling(400)
    drain(
        score_tiled_steps(quick, astronaut, CLASSES, tiling), lambda step: names.append(step.name)
    )
    told = list(dict.fromkeys(names))
    assert told[-5:] == [*(f"Window {n} of 4" for n in (1, 2, 3, 4)), "Whole picture 1 of 1"]


def test_leaving_early_leaves_nothing(
    quick: Segmenter, astronaut: np.ndarray, tmp_path: Path
) -> None:
    steps = store_tiled_steps(quick, astronaut, CLASSES, tmp_path / "labels.zarr", Tiling(400))
    while next(steps).name != "Window 2 of 4":
        pass
    steps.close()
    assert list(tmp_path.iterdir()) == []


def test_a_window_that_cannot_be_read_is_named(
    quick: Segmenter, astronaut: np.ndarray, tmp_path: Path
) -> None:
    broken = Watched(astronaut, lambda rows, columns: min(rows.start, columns.start) > 100)
    with pytest.raises(NapariCliperError) as error:
        nc.segment_tiled(quick, broken, CLASSES, window=400, output=tmp_path / "labels.zarr")
    assert "row 112, column 112 of 400 × 400 pixels" in str(error.value)
    assert "Input/output error" in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_mistakes_show_before_anything_is_read(quick: Segmenter, tmp_path: Path) -> None:
    def nothing(*_: slice) -> bool:
        raise AssertionError("read")

    unread = Watched(np.zeros((300, 300), np.uint16), nothing)
    (tmp_path / "taken.zarr").mkdir()
    for wrong, says in [
        ({"window": 5}, "at least 16"),
        ({"overlap": 0}, "0.05 to 0.75"),
        ({"context": 1.0}, "less than 1"),
        ({"present": "dog"}, "“dog”"),
        ({"presence_threshold": 2.0}, "give 0 to 1"),
        ({"output": tmp_path / "taken.zarr"}, "exists already"),
        ({"output": tmp_path / "labels.png"}, ".zarr"),
        ({"contrast_limits": (3, 1)}, "Contrast limits"),
    ]:
        with pytest.raises(NapariCliperError, match=says):
            nc.segment_tiled(quick, unread, CLASSES, **wrong)


def test_maps_that_would_be_too_large(
    quick: Segmenter, astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segmenting, "LARGEST", 1000)
    with pytest.raises(NapariCliperError, match="larger windows"):
        nc.segment_tiled(quick, astronaut, CLASSES, window=400)


def test_windows_are_not_kept(quick: Segmenter, astronaut: np.ndarray) -> None:
    quick.encodings.clear()
    nc.segment_tiled(quick, astronaut, CLASSES, window=400)
    assert len(quick.encodings) == 0


@pytest.mark.parametrize(
    ("size", "window", "context"),
    [((20000, 20000), 1024, 0.0512), ((480, 640), 320, 0.577), ((20, 5000), 16, 0.566)],
)
def test_what_is_usual(size: tuple[int, int], window: int, context: float) -> None:
    (fine, share, _), (_, rest, _) = Tiling().layouts(size)
    assert fine.down.window == fine.across.window == window
    assert rest == pytest.approx(context, abs=1e-3)
    assert share + rest == 1
