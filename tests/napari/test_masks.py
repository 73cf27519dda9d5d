"""Masks in napari's model of a viewer, which needs no window: strokes stay, undo works."""

from collections.abc import Callable

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels
from pytestqt.qtbot import QtBot

from napari_cliper.annotation.class_list import ClassEntry, ClassList
from napari_cliper.widgets import mask_keys, masks, workspace
from napari_cliper.widgets.corrections import Corrections
from napari_cliper.widgets.history import Sizes
from napari_cliper.widgets.layers import labels_layer
from napari_cliper.widgets.masks import Mask, show_mask
from napari_cliper.widgets.planes import shown_plane

CLASSES = ClassList.parse("cat; sofa = couch")
SHAPE = (40, 60)
Segment = Callable[..., Mask]


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def picture(viewer: ViewerModel) -> Image:
    pixels = np.random.default_rng(0).integers(0, 255, (*SHAPE, 3), np.uint8)
    return viewer.add_image(pixels, name="photo")


def plain(value: int) -> np.ndarray:
    return np.full(SHAPE, value, np.uint16)


@pytest.fixture
def segment(viewer: ViewerModel, picture: Image) -> Segment:
    """Show a mask of `picture`, or of another, filled with one value."""

    def segment(
        value: int = 1, of: Image | None = None, role: str = "refined", classes: ClassList = CLASSES
    ) -> Mask:
        plane = shown_plane(viewer, of or picture)
        item = labels_layer(role, plain(value), classes)
        return show_mask(viewer, plane, item, classes)

    return segment


def paint(layer: Labels) -> None:
    layer.paint((20, 30), 7)


def fill(layer: Labels) -> None:
    layer.fill((20, 30), 7)


def draw_polygon(layer: Labels) -> None:
    layer.paint_polygon([(5, 5), (5, 30), (30, 30)], 7)


def set_pixels(layer: Labels) -> None:
    layer.data_setitem((np.array([3]), np.array([4])), 7)


def replace(layer: Labels) -> None:
    layer.data = np.where(np.arange(60) < 30, layer.data, 7).astype(layer.data.dtype)


def write_in_place(layer: Labels) -> None:
    layer.data[7, 8] = 7
    layer.refresh()


def write_in_place_without_a_word(layer: Labels) -> None:
    layer.data[7, 8] = 7


def erase(layer: Labels) -> None:
    layer.mode = "erase"
    layer.paint((20, 30), 0)


TOUCHES = [
    paint, fill, draw_polygon, set_pixels, replace, write_in_place, write_in_place_without_a_word,
    erase,
]  # fmt: skip


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("touch", TOUCHES)
def test_what_a_person_did_is_never_written_over(
    segment: Segment, touch: Callable[[Labels], None], hidden: bool
) -> None:
    mask = segment(1)
    before = mask.layer.data.copy()
    touch(mask.layer)
    touched, theirs = mask.layer.data != before, mask.layer.data.copy()
    assert touched.any()
    mask.layer.visible = not hidden
    for value in (2, 0, 1, 2):
        mask.preview(plain(0))
        mask.propose(plain(value))
        assert np.array_equal(mask.layer.data[touched], theirs[touched])
        assert np.all(mask.layer.data[~touched] == value)


@pytest.mark.parametrize("touch", [paint, fill, draw_polygon, set_pixels, erase])
def test_a_stroke_undone_is_no_stroke_and_redone_is_one(
    segment: Segment, touch: Callable[[Labels], None]
) -> None:
    mask = segment(1)
    touch(mask.layer)
    theirs = mask.layer.data.copy()
    mask.layer.undo()
    assert mask.painted.count() == 0
    mask.layer.redo()
    assert np.array_equal(mask.layer.data, theirs)
    assert mask.painted.count() == (theirs != 1).sum()
    mask.layer.undo()
    mask.propose(plain(2))
    assert np.all(mask.layer.data == 2)


@pytest.mark.parametrize("visible", [True, False])
def test_an_update_is_one_step_of_napari_s_undo(segment: Segment, visible: bool) -> None:
    mask = segment(1)
    mask.layer.visible = visible
    paint(mask.layer)
    painted = mask.layer.data.copy()
    mask.propose(plain(2))
    updated = mask.layer.data.copy()
    mask.layer.undo()
    assert np.array_equal(mask.layer.data, painted)
    mask.layer.redo()
    assert np.array_equal(mask.layer.data, updated)
    mask.layer.undo()
    mask.layer.undo()
    assert np.all(mask.layer.data == 1)
    mask.layer.redo()
    assert np.array_equal(mask.layer.data, painted)


def test_a_drag_is_one_step_however_long(segment: Segment) -> None:
    mask = segment(1)
    paint(mask.layer)
    before = mask.layer.data.copy()
    half = np.where(np.arange(60) < 30, plain(1), plain(2))
    for labels in (plain(2), plain(0), half, plain(2), half):
        mask.preview(labels)
        assert (mask.layer.data == labels).mean() > 0.5
    mask.propose(half)
    after = mask.layer.data.copy()
    assert np.array_equal(after[before != 7], half[before != 7])
    mask.layer.undo()
    assert np.array_equal(mask.layer.data, before)
    mask.layer.redo()
    assert np.array_equal(mask.layer.data, after)
    mask.layer.undo()
    mask.layer.undo()
    assert np.all(mask.layer.data == 1)


def test_a_drag_that_comes_back_leaves_no_step(segment: Segment) -> None:
    mask = segment(1)
    mask.preview(plain(2))
    mask.propose(plain(1))
    assert np.all(mask.layer.data == 1)
    mask.layer.undo()
    assert np.all(mask.layer.data == 1)


def test_a_stroke_in_the_midst_of_a_drag_stays(segment: Segment) -> None:
    mask = segment(1)
    mask.preview(plain(2))
    paint(mask.layer)
    theirs = mask.layer.data == 7
    mask.preview(plain(0))
    mask.propose(plain(2))
    assert theirs.any()
    assert np.array_equal(mask.layer.data == 7, theirs)
    assert np.all(mask.layer.data[~theirs] == 2)


def test_an_update_waits_until_the_brush_is_lifted(segment: Segment, qtbot: QtBot) -> None:
    mask = segment(1)
    layer = mask.layer
    with layer.block_history():  # as napari does from pressing the button to letting it go
        layer.paint((20, 30), 7)
        mask.preview(plain(0))
        mask.propose(plain(0))
        mask.propose(plain(2))
        layer.paint((25, 35), 7)
        qtbot.wait(80)
        assert set(np.unique(layer.data)) == {1, 7}
    theirs = layer.data == 7
    qtbot.waitUntil(lambda: 2 in layer.data)
    assert np.array_equal(layer.data == 7, theirs)
    assert np.array_equal(mask.painted.mask, theirs)
    layer.undo()
    assert np.all(layer.data[~theirs] == 1)
    layer.undo()
    assert np.all(layer.data == 1)


def erase_background(layer: Labels) -> None:
    layer.mode = "erase"
    layer.paint((20, 30), layer.colormap.background_value)


@pytest.mark.parametrize(
    ("confirm", "least"),
    [
        (lambda layer: layer.paint((20, 30), 0), 80),
        (erase_background, 80),
        (lambda layer: layer.paint_polygon([(5, 5), (5, 30), (30, 30)], 0), 300),
    ],
)
@pytest.mark.parametrize("contour", [0, 1])
def test_what_a_person_goes_over_is_theirs_though_nothing_changes(
    segment: Segment, confirm: Callable[[Labels], None], least: int, contour: int
) -> None:
    mask = segment(0)
    layer = mask.layer
    layer.contour = contour
    confirm(layer)
    theirs = mask.painted.mask.copy()
    assert theirs.sum() >= least
    assert not theirs.all()
    assert np.all(layer.data == 0)
    for value in (1, 2, 1):
        mask.preview(plain(2))
        mask.propose(plain(value))
        assert np.all(layer.data[theirs] == 0)
        assert np.all(layer.data[~theirs] == value)
    for _ in range(3):
        layer.undo()
    assert np.all(layer.data == 0)
    assert np.array_equal(mask.painted.mask, theirs)  # to go over it was no step


def test_a_stroke_half_of_which_is_there_is_theirs_as_a_whole(segment: Segment) -> None:
    mask = segment(1)
    half = np.where(np.arange(60) < 30, plain(1), plain(2))
    mask.propose(half)
    mask.layer.paint((20, 30), 2)
    theirs = mask.painted.mask.copy()
    changed = (mask.layer.data != half).sum()
    assert 0 < changed < theirs.sum()
    assert np.all(mask.layer.data[theirs] == 2)
    mask.layer.undo()  # takes back what it changed
    assert mask.painted.count() == theirs.sum() - changed
    mask.layer.redo()
    mask.propose(plain(1))
    assert np.array_equal(mask.layer.data == 2, theirs)


def test_what_the_bucket_does_not_reach_is_not_theirs(segment: Segment) -> None:
    mask = segment(1)
    mask.propose(np.where(np.arange(60) < 30, plain(1), plain(2)))
    mask.layer.fill((20, 10), 1)  # napari's bucket does nothing to a label of its own
    assert mask.painted.count() == 0
    mask.layer.fill((20, 10), 2)
    theirs = np.broadcast_to(np.arange(60) < 30, SHAPE)
    assert np.array_equal(mask.painted.mask, theirs)
    mask.propose(plain(1))
    assert np.array_equal(mask.layer.data == 2, theirs)


def test_only_what_may_be_painted_over_is_gone_over(segment: Segment) -> None:
    mask = segment(1)
    mask.propose(np.where(np.arange(60) < 30, plain(1), plain(2)))
    mask.layer.preserve_labels = True
    mask.layer.paint((20, 30), 2)
    assert np.all(mask.layer.data[mask.painted.mask] == 2)
    assert 0 < mask.painted.count() < 60


@pytest.mark.parametrize("look", ["refresh", "update", "release"])
def test_a_stroke_that_was_looked_at_halfway_is_undone_as_a_whole(
    segment: Segment, look: str
) -> None:
    mask = segment(1)
    layer = mask.layer
    with layer.block_history():
        layer.paint((20, 30), 7)
        if look == "refresh":  # as a zoom, a colour or another contour makes napari do
            layer.refresh()
        elif look == "update":
            mask.preview(plain(2))
        else:
            mask.release(np.zeros(SHAPE, bool))
        layer.paint((23, 35), 7)
    theirs = layer.data == 7
    assert np.array_equal(mask.painted.mask, theirs)
    layer.undo()
    assert np.all(layer.data == 1)
    assert mask.painted.count() == 0
    layer.redo()
    assert np.array_equal(mask.painted.mask, theirs)


def corrected(mask: Mask, label: int = 5) -> np.ndarray:
    labels = mask.layer.data.astype(np.uint16)
    labels[10:20, 10:20] = label
    return labels


@pytest.mark.parametrize("visible", [True, False])
def test_a_correction_is_one_undo(segment: Segment, visible: bool) -> None:
    mask = segment(1)
    paint(mask.layer)
    before, painted = mask.layer.data.copy(), mask.painted.mask.copy()
    mask.layer.visible = visible
    theirs = np.zeros(SHAPE, bool)
    theirs[8:20, 10:22] = True
    mask.correct(corrected(mask), theirs)
    after = mask.layer.data.copy()
    assert np.array_equal(after == 5, corrected(mask) == 5)
    assert np.array_equal(mask.painted.mask, painted | theirs)
    mask.layer.visible = True
    mask.layer.undo()
    assert np.array_equal(mask.layer.data, before)
    assert np.array_equal(mask.painted.mask, painted | (theirs & (after != 5)))
    mask.layer.redo()
    mask.propose(plain(2))
    assert np.array_equal(mask.layer.data[theirs], after[theirs])
    mask.layer.undo()
    mask.layer.undo()
    mask.layer.undo()
    assert np.all(mask.layer.data == 1)


def test_a_correction_that_changes_nothing_is_no_step(segment: Segment) -> None:
    mask = segment(1)
    theirs = np.zeros(SHAPE, bool)
    theirs[3] = True
    mask.correct(plain(1), theirs)
    assert np.array_equal(mask.painted.mask, theirs)
    mask.propose(plain(2))
    assert np.array_equal(mask.layer.data == 1, theirs)
    mask.layer.undo()
    assert np.all(mask.layer.data == 1)
    assert not mask.layer._undo_history


def test_a_correction_writes_over_strokes(segment: Segment) -> None:
    mask = segment(1)
    paint(mask.layer)
    mask.correct(plain(1))
    assert np.all(mask.layer.data == 1)
    assert mask.painted.count() > 0


@pytest.mark.parametrize("visible", [True, False])
def test_a_large_label_widens_the_layer(segment: Segment, visible: bool) -> None:
    mask = segment(1)
    paint(mask.layer)
    mask.layer.visible = visible
    mask.correct(corrected(mask, 5))
    assert mask.layer.data.dtype == np.uint8  # room enough
    mask.correct(corrected(mask, 300))
    assert mask.layer.data.dtype == np.uint16
    assert np.all(mask.layer.data[10:20, 10:20] == 300)
    mask.layer.visible = True
    mask.layer.undo()
    assert np.all(mask.layer.data[10:20, 10:20] == 5)
    mask.layer.undo()
    assert set(np.unique(mask.layer.data)) == {1, 7}
    mask.layer.undo()
    assert mask.painted.count() == 0


def test_an_update_widens_a_hidden_layer(segment: Segment) -> None:
    mask = segment(1, role="coarse")
    assert not mask.layer.visible
    mask.propose(plain(40000))
    assert np.all(mask.layer.data == 40000)


def test_a_region_that_is_given_the_class_it_has_is_the_persons(
    viewer: ViewerModel, segment: Segment
) -> None:
    mask = segment(1)
    half = np.broadcast_to(np.arange(60) < 30, SHAPE)
    mask.propose(np.where(half, plain(1), plain(2)))
    corrections = Corrections(viewer)
    corrections.choose(mask, (3, 3))
    corrections.press_class(mask, 1)
    assert np.array_equal(mask.painted.mask, half)
    mask.propose(plain(0))
    assert np.array_equal(mask.layer.data == 1, half)


@pytest.mark.parametrize("region", [True, False])
def test_a_class_with_a_large_number_can_be_given(
    viewer: ViewerModel, segment: Segment, region: bool
) -> None:
    mask = segment(1)
    corrections = Corrections(viewer)
    mask.dress(ClassList(classes=(*CLASSES, ClassEntry(id=300, name="far"))))
    if region:
        corrections.choose(mask, (3, 3))
    corrections.press_class(mask, 300)
    if region:
        assert np.all(mask.layer.data == 300)
    else:
        mask.layer.paint((3, 3), mask.layer.selected_label)
        assert mask.layer.data[3, 3] == 300


# Whose pixels are


def test_what_is_given_back_is_written_over_and_undo_brings_it_back(segment: Segment) -> None:
    mask = segment(1)
    paint(mask.layer)
    theirs = mask.painted.mask.copy()
    left = np.broadcast_to(np.arange(60) < 30, SHAPE)
    mask.release(left)
    assert np.array_equal(mask.painted.mask, theirs & ~left)
    assert np.array_equal(mask.layer.data == 7, theirs)  # until the next update
    mask.propose(plain(2))
    assert np.array_equal(mask.layer.data == 7, theirs & ~left)
    mask.layer.undo()
    assert np.array_equal(mask.painted.mask, theirs)


def test_what_was_saved_is_taken_on(segment: Segment) -> None:
    mask = segment(1)
    paint(mask.layer)
    protected = np.zeros(SHAPE, bool)
    protected[5:9] = True
    mask.restore(plain(3), protected, plain(2))
    assert np.all(mask.data == 3)
    assert np.array_equal(mask.painted.mask, protected)
    assert mask.painted.mask is not protected
    assert np.array_equal(mask.proposal, plain(2))
    mask.propose(plain(0))
    assert np.array_equal(mask.layer.data != 0, protected)
    assert np.array_equal(mask.proposal, plain(0))


def test_the_latest_proposal_is_kept_whole(segment: Segment) -> None:
    mask = segment(1)
    assert np.array_equal(mask.proposal, plain(1))
    paint(mask.layer)
    assert np.array_equal(mask.proposal, plain(1))
    mask.preview(plain(0))
    assert np.array_equal(mask.proposal, plain(1))
    mask.propose(plain(2))
    assert np.array_equal(mask.proposal, plain(2))


@pytest.mark.parametrize(
    "act",
    [
        lambda mask: paint(mask.layer),
        lambda mask: mask.layer.paint((20, 30), 1),
        lambda mask: mask.propose(plain(2)),
        lambda mask: mask.correct(plain(2)),
        lambda mask: mask.correct(plain(1), np.ones(SHAPE, bool)),
        lambda mask: mask.release(np.ones(SHAPE, bool)),
        lambda mask: mask.restore(plain(1), np.ones(SHAPE, bool), plain(2)),
        lambda mask: mask.replace(1, 2),
        lambda mask: mask.layer.undo(),
    ],
)
def test_several_changes_in_a_row_are_told_once(
    segment: Segment, qtbot: QtBot, act: Callable[[Mask], None]
) -> None:
    mask = segment(1)
    paint(mask.layer)
    qtbot.wait(80)
    told = []
    mask.changed.connect(lambda: told.append(mask.revision))
    before = mask.revision
    act(mask)
    assert mask.revision > before
    act(mask)
    paint(mask.layer)
    assert told == []
    qtbot.wait(120)
    assert told == [mask.revision]
    mask.layer.paint((3, 3), 2)
    qtbot.waitUntil(lambda: len(told) == 2)
    qtbot.wait(80)
    assert len(told) == 2


# Memory


def sizes(mask: Mask) -> list[int]:
    return Sizes().of(mask.layer._undo_history)


def test_how_much_memory_napari_s_steps_take(segment: Segment) -> None:
    mask = segment(1)
    layer = mask.layer
    layer.brush_size = 5
    layer.paint((20, 30), 7)
    assert sizes(mask) == [25 + 21]  # which of its box, without the corners, and their values
    layer.paint_polygon([(2, 2), (2, 5), (5, 5), (5, 2)], 7)
    assert sizes(mask)[1] == 16  # all of its box: only values
    layer.data_setitem((np.array([30, 31]), np.array([4, 5])), [5, 6])
    assert sizes(mask)[2] == 2 * (8 + 8 + 1 + 1)
    layer.data_setitem((np.array([33, 34]), np.array([4, 5])), 5)
    assert sizes(mask)[3] == 2 * (8 + 8 + 1)
    with layer.block_history():
        layer.data_setitem((np.array([36]), np.array([4])), 5)
        layer.paint_polygon([(2, 12), (2, 15), (5, 15), (5, 12)], 7)
    assert sizes(mask)[4] == 17 + 16
    mask.propose(plain(2).astype(np.uint8))
    written = 2400 - mask.painted.count()
    assert sizes(mask)[5] == written * (8 + 8 + 1 + 1)


def test_a_step_is_measured_once_and_not_when_it_is_gone() -> None:
    class Step(list):  # type: ignore[type-arg]
        looks = 0

        def __iter__(self):  # type: ignore[no-untyped-def]
            self.looks += 1
            return super().__iter__()

    first, second = (
        Step([((np.zeros(n, np.int64), np.zeros(n, np.int64)), np.zeros(n, np.uint8), 1)])
        for n in (2, 3)
    )
    measured = Sizes()
    assert measured.of([first, second]) == [34, 51]
    assert measured.of([second]) == [51]
    assert (first.looks, second.looks) == (1, 1)
    assert measured.of([second, first]) == [51, 34]
    assert first.looks == 2


def memory(mask: Mask) -> int:
    return sum(sizes(mask)) + mask.painted.nbytes


def test_the_oldest_strokes_are_forgotten_when_they_take_too_much(segment: Segment) -> None:
    mask = segment(1)
    layer = mask.layer
    layer.brush_size = 9
    layer.paint((20, 30), 3)
    one = memory(mask)
    mask.history_limit = 4.5 * one
    before = []
    for number in range(12):
        before.append((layer.data.copy(), mask.painted.mask.copy()))
        layer.paint((10 + 2 * number, 10 + 4 * number), 2 + number % 2)
        assert memory(mask) <= mask.history_limit
    kept = len(layer._undo_history)
    assert 3 <= kept <= 6  # not fewer than there is room for
    assert layer._undo_history.maxlen == 100
    for data, theirs in before[: -kept - 1 : -1]:
        layer.undo()
        assert np.array_equal(layer.data, data)
        assert np.array_equal(mask.painted.mask, theirs)
    layer.undo()  # there is nothing left
    assert np.array_equal(layer.data, before[-kept][0])
    for _ in range(kept):
        layer.redo()
    theirs = layer.data.copy()
    painted = mask.painted.mask.copy()
    mask.propose(plain(5))
    assert np.array_equal(layer.data[painted], theirs[painted])


@pytest.mark.parametrize("visible", [True, False])
def test_an_update_counts_too_and_the_last_step_can_always_be_undone(
    segment: Segment, visible: bool
) -> None:
    mask = segment(1)
    layer = mask.layer
    layer.visible = visible
    mask.history_limit = 1
    for value in (2, 0, 2):
        before, theirs = layer.data.copy(), mask.painted.mask.copy()
        mask.propose(plain(value).astype(np.uint8))
        assert len(layer._undo_history) == 1
        assert mask.painted.nbytes == (layer.data != before).sum() * 8  # of one step
        layer.undo()
        mask.layer.visible = True  # what is hidden is looked at when it is shown
        assert np.array_equal(layer.data, before)
        assert np.array_equal(mask.painted.mask, theirs)
        layer.redo()
        layer.paint((20, 10 + 10 * value), 3)
        assert len(layer._undo_history) == 1
        layer.undo()
        assert np.array_equal(mask.painted.mask, theirs)
        layer.redo()
        layer.visible = visible
    mask.correct(plain(1))
    assert len(layer._undo_history) == 1
    layer.undo()
    assert set(np.unique(layer.data)) == {2, 3}


def test_the_limit_of_one_mask_is_not_another_s(segment: Segment) -> None:
    refined, coarse = segment(1), segment(1, role="coarse")
    coarse.history_limit = 1
    for mask in (refined, coarse):
        mask.propose(plain(2))
        mask.propose(plain(1))
    assert len(refined.layer._undo_history) == 2
    assert len(coarse.layer._undo_history) == 1
    assert Mask.history_limit > 1e6


def test_a_mask_without_its_layer_says_so(
    viewer: ViewerModel, segment: Segment, qtbot: QtBot
) -> None:
    import gc

    mask = segment(1)
    told = []
    mask.changed.connect(lambda: told.append(1))
    paint(mask.layer)
    assert not mask.gone
    viewer.layers.clear()
    viewer.add_points()  # napari holds on to the layer that was last chosen
    gc.collect()
    assert mask.gone
    with pytest.raises(RuntimeError, match="the layer is gone"):
        _ = mask.layer
    qtbot.wait(80)
    assert told == [1]  # what was on its way still comes


def test_labels_that_wait_for_a_brush_of_a_layer_that_is_deleted(
    viewer: ViewerModel, segment: Segment, qtbot: QtBot
) -> None:
    mask = segment(1)
    with mask.layer.block_history():
        paint(mask.layer)
        mask.propose(plain(2))
        viewer.layers.clear()
    qtbot.wait(80)
    assert masks.masks(viewer) == []


def test_what_an_undo_may_bring_back_keeps_its_id(segment: Segment) -> None:
    mask = segment(1)
    paint(mask.layer)
    mask.replace(7, 0, painted=False)
    assert 7 not in mask.painted.ids(mask.layer.data)
    assert 7 in mask.painted.ids_to_come_back()
    mask.layer.undo()
    assert 7 in mask.painted.ids(mask.layer.data)


def test_an_update_changes_what_is_drawn(viewer: ViewerModel, segment: Segment) -> None:
    mask = segment(1)
    drawn = mask.layer._slice.image.view
    before = np.array(drawn)
    mask.propose(plain(2))
    assert (np.array(mask.layer._slice.image.view) != before).all()
    mask.preview(plain(1))
    assert np.array_equal(np.array(mask.layer._slice.image.view), before)


def test_colours_and_names_follow_and_the_rest_stays(segment: Segment) -> None:
    mask = segment(1)
    layer = mask.layer
    layer.name, layer.opacity, layer.mode = "my mask", 0.3, "paint"
    again = segment(2, classes=ClassList.parse("dog; cow"))
    assert again is mask  # ours, whatever its name
    assert (layer.name, layer.opacity, layer.mode) == ("my mask", 0.3, "paint")
    assert list(layer.features["name"]) == ["background", "dog", "cow"]
    colored = ClassList(classes=(ClassEntry(id=1, name="dog", color=(1, 2, 3)),))
    mask.dress(colored)
    np.testing.assert_allclose(layer.get_color(1), (1 / 255, 2 / 255, 3 / 255, 1), atol=1e-6)
    mask.dress(colored, hidden={1})
    assert layer.get_color(1)[3] == 0


def test_names_and_colours_are_attached(segment: Segment) -> None:
    layer = segment(2).layer
    assert list(layer.features["name"]) == ["background", "cat", "sofa"]
    assert "sofa" in layer.get_status((20.0, 15.0), world=False)["value"]
    np.testing.assert_allclose(layer.get_color(2), (*np.array(CLASSES[1].color) / 255, 1))
    assert layer.get_color(0) is None or layer.get_color(0)[3] == 0
    assert layer.get_color(77)[3] == 1  # a stroke with a label of no class is seen
    assert layer.editable


def test_high_ids_widen_the_layer_and_keep_its_history(segment: Segment) -> None:
    mask = segment(1)
    assert mask.layer.data.dtype == np.uint8
    paint(mask.layer)
    theirs = mask.layer.data == 7
    far = ClassList(classes=(ClassEntry(id=255, name="a"), ClassEntry(id=40000, name="b")))
    assert segment(40000, classes=far) is mask
    assert mask.layer.data.dtype == np.uint16
    assert "name: b" in mask.layer.get_status((3.0, 3.0), world=False)["value"]
    assert np.array_equal(mask.layer.data == 7, theirs)
    mask.layer.undo()
    mask.layer.undo()
    assert np.all(mask.layer.data == 1)


def test_alt_and_a_number_choose_a_class(viewer: ViewerModel, picture: Image) -> None:
    classes = ClassList(classes=(ClassEntry(id=9, name="a"), CLASSES[1]))
    plane, shared = shown_plane(viewer, picture), workspace.of(viewer)
    mask, again = (
        shared.show_mask(viewer, plane, labels_layer("refined", plain(value), classes), classes)
        for value in (1, 2)
    )
    assert again is mask
    ours = [act for act in mask.layer.mouse_drag_callbacks if act.__module__ == mask_keys.__name__]
    assert len(ours) == 1  # bound once, however often it is shown
    keys = {str(key): act for key, act in mask.layer.keymap.items()}
    assert {f"Alt+{number}" for number in range(10)} <= keys.keys()
    for number, chosen in ((1, 9), (2, 2), (3, 2), (0, 0)):  # there is no third class
        keys[f"Alt+{number}"](mask.layer)
        assert mask.layer.selected_label == chosen
    assert not any(key.startswith("Alt+") for key in map(str, Labels.class_keymap))


def test_enter_and_escape_are_napari_s_where_nothing_is_shown(
    viewer: ViewerModel, picture: Image
) -> None:
    plane, shared = shown_plane(viewer, picture), workspace.of(viewer)
    item = labels_layer("refined", plain(1), CLASSES)
    mask = shared.show_mask(viewer, plane, item, CLASSES)
    layer, keys = mask.layer, {str(key): act for key, act in mask.layer.keymap.items()}
    layer.mode = "polygon"
    layer.selected_label = 2
    polygon = layer._overlays["polygon"]
    polygon.points = [[5, 5], [5, 30], [30, 30]]
    keys["Escape"](layer)
    assert polygon.points == []
    polygon.points = [[5, 5], [5, 30], [30, 30]]
    keys["Enter"](layer)
    assert (layer.data == 2).sum() > 200
    assert np.array_equal(mask.painted.mask, layer.data == 2)


def test_a_class_s_pixels_become_another_s_in_one_step(segment: Segment) -> None:
    mask = segment(1)
    paint(mask.layer)
    before = mask.layer.data.copy()
    mask.replace(7, 2)
    assert mask.painted.count() == (before == 7).sum()
    assert np.array_equal(mask.layer.data == 2, before == 7)
    mask.layer.undo()
    assert np.array_equal(mask.layer.data, before)
    mask.replace(7, 0, painted=False)
    assert mask.painted.count() == 0
    mask.propose(plain(2))
    assert np.all(mask.layer.data == 2)


def test_a_copy_is_the_persons(viewer: ViewerModel, segment: Segment) -> None:
    mask = segment(1)
    viewer.layers.selection = {mask.layer}
    from napari.layers._layer_actions import _duplicate_layer  # what the menu calls

    _duplicate_layer(viewer.layers)
    copy = next(layer for layer in viewer.layers if layer.name.endswith("copy"))
    assert masks.of(copy) is None
    assert segment(2) is mask
    assert np.all(copy.data == 1)
    viewer.layers.remove(mask.layer)
    assert segment(2).layer is not copy
    assert np.all(copy.data == 1)


def test_masks_of_another_picture_are_not_touched(
    viewer: ViewerModel, picture: Image, segment: Segment
) -> None:
    # The other has the same pixels and the same name before napari makes it different.
    other = viewer.add_image(picture.data, name="photo")
    first, second = segment(1), segment(2, of=other)
    assert first is not second
    assert segment(2) is first
    assert segment(1, of=other) is second


def test_the_planes_of_a_stack_are_one_layer(viewer: ViewerModel, segment: Segment) -> None:
    stack = viewer.add_image(np.zeros((3, *SHAPE)), scale=(4, 1, 1))
    first = segment(1, of=stack)
    layer = first.layer
    viewer.dims.set_point(0, 8)
    assert masks.of(layer) is None
    second = segment(2, of=stack)
    assert second.layer is layer
    assert second is not first
    assert masks.of(layer) is second
    assert [np.unique(plane).tolist() for plane in layer.data] == [[1], [0], [2]]
    assert tuple(layer.scale) == (4, 1, 1)
    assert len(layer._undo_history) == 0
    viewer.dims.set_point(0, 0)
    assert masks.of(layer) is first
    assert segment(2, of=stack) is first
    assert np.all(layer.data[0] == 2)


@pytest.fixture
def layer(viewer: ViewerModel, segment: Segment) -> Labels:
    """Of a stack of three, whose first and last plane were segmented; the last is shown."""
    stack = viewer.add_image(np.zeros((3, *SHAPE)), name="stack")
    viewer.dims.set_point(0, 0)
    layer = segment(1, of=stack).layer
    viewer.dims.set_point(0, 2)
    segment(2, of=stack)
    return layer


def planes(layer: Labels) -> list[Mask | None]:
    key = layer.metadata["napari-cliper"]["plane"]
    return [masks.on(layer, (*key, str(place))) for place in range(3)]


@pytest.mark.parametrize("way", ["paint", "fill", "polygon", "set"])
def test_a_stroke_belongs_to_its_plane(
    layer: Labels, segment: Segment, viewer: ViewerModel, way: str
) -> None:
    first, _, last = planes(layer)
    if way == "paint":
        layer.paint((2, 20, 30), 7)
    elif way == "fill":
        layer.fill((2, 20, 30), 7)
    elif way == "polygon":
        layer.paint_polygon([(2, 5, 5), (2, 5, 30), (2, 30, 30)], 7)
    else:
        layer.data_setitem((np.array([2]), np.array([3]), np.array([4])), 7)
    count = int((layer.data[2] == 7).sum())
    assert count >= 1
    assert (first.painted.count(), last.painted.count()) == (0, count)
    stack = viewer.layers["stack"]
    segment(1, of=stack)
    assert int((layer.data[2] == 7).sum()) == count
    assert last.painted.count() == count
    layer.undo()  # the update
    layer.undo()  # the stroke
    assert last.painted.count() == 0
    assert np.all(layer.data[2] == 2)
    layer.redo()
    assert last.painted.count() == count


def test_undo_of_another_plane_is_noticed(layer: Labels, viewer: ViewerModel) -> None:
    first, _, _ = planes(layer)
    viewer.dims.set_point(0, 0)
    layer.paint((0, 20, 30), 7)
    assert first.painted.count() > 0
    viewer.dims.set_point(0, 2)
    layer.undo()
    assert first.painted.count() == 0
    assert np.all(layer.data[0] == 1)


def test_a_plane_that_was_not_segmented_can_be_painted_first(
    layer: Labels, viewer: ViewerModel, segment: Segment
) -> None:
    viewer.dims.set_point(0, 1)
    layer.paint((1, 20, 30), 7)
    (_, middle, _), theirs = planes(layer), layer.data[1] == 7
    assert np.array_equal(middle.painted.mask, theirs)
    segment(1, of=viewer.layers["stack"])
    assert np.array_equal(layer.data[1] == 7, theirs)
    assert np.all(layer.data[1][~theirs] == 1)
    # Values that came without a word are a person's, too.
    assert planes(layer)[1] is middle


def test_values_that_came_without_a_word_are_the_persons(
    layer: Labels, viewer: ViewerModel, segment: Segment
) -> None:
    layer.data[1, 5:9, 5:9] = 2
    viewer.dims.set_point(0, 1)
    mask = segment(1, of=viewer.layers["stack"])
    assert np.all(mask.data[5:9, 5:9] == 2)
    assert mask.painted.count() == 16


def test_a_brush_that_goes_through_planes(layer: Labels) -> None:
    layer.n_edit_dimensions = 3
    layer.brush_size = 7
    layer.paint((2, 20, 30), 7)
    for mask, plane in zip(planes(layer), layer.data, strict=True):
        assert np.array_equal(mask.painted.mask, plane == 7)
        assert mask.painted.count() > 0
    layer.undo()
    assert [mask.painted.count() for mask in planes(layer)] == [0, 0, 0]


def test_painting_what_is_there_protects_it_in_its_plane(layer: Labels) -> None:
    layer.paint((2, 20, 30), 2)
    counts = [mask.painted.count() if mask else 0 for mask in planes(layer)]
    assert counts[0] == counts[1] == 0 < counts[2]


def test_a_correction_and_its_undo_stay_in_their_plane(layer: Labels) -> None:
    first, _, last = planes(layer)
    before = layer.data.copy()
    last.correct(np.full(SHAPE, 1, np.uint16), theirs=np.ones(SHAPE, bool))
    assert np.all(layer.data[2] == 1)
    assert np.array_equal(layer.data[:2], before[:2])
    layer.undo()
    assert np.array_equal(layer.data, before)
    assert first.painted.count() == 0


def test_the_history_of_a_stack_is_bounded_and_its_strokes_can_be_undone(
    layer: Labels, segment: Segment, viewer: ViewerModel
) -> None:
    first, _, last = planes(layer)
    for mask in (first, last):
        mask.history_limit = 400_000
    stack = viewer.layers["stack"]
    for value in (1, 2) * 10:
        for place in (0, 2):
            viewer.dims.set_point(0, place)
            segment(value, of=stack)
    held = sum(mask.painted.nbytes for mask in (first, last))
    assert sum(Sizes().of(layer._undo_history)) + held <= 400_000
    for column in range(5):
        layer.paint((2, 20, 10 * column), 7)
    assert len(layer._undo_history) > 5
    for _ in range(5):
        layer.undo()
    assert last.painted.count() == 0
    assert np.all(layer.data[2] == 2)


def test_choosing_the_mask_of_another_picture_corrects_no_other(
    viewer: ViewerModel, segment: Segment, picture: Image
) -> None:
    corrections = Corrections(viewer)
    other = segment(1)
    stack = viewer.add_image(np.zeros((3, *SHAPE)), name="stack")
    viewer.dims.set_point(0, 0)
    layer = segment(1, of=stack).layer
    viewer.layers.selection.active = other.layer
    assert corrections.mask is other
    viewer.dims.set_point(0, 1)
    viewer.layers.selection.active = layer
    assert corrections.mask is None


def test_a_large_label_widens_all_planes(
    layer: Labels, segment: Segment, viewer: ViewerModel
) -> None:
    before = layer.data.copy()
    far = ClassList(classes=(ClassEntry(id=300, name="far"),))
    segment(300, of=viewer.layers["stack"], classes=far)
    assert layer.data.dtype == np.uint16
    assert np.all(layer.data[2] == 300)
    assert np.array_equal(layer.data[:2], before[:2])


def test_roles_do_not_mix(segment: Segment) -> None:
    coarse, refined = segment(1, role="coarse"), segment(1, role="refined")
    assert [coarse.layer.name, refined.layer.name] == ["photo [coarse]", "photo [refined]"]
    assert segment(2, role="coarse") is coarse
    assert np.all(refined.layer.data == 1)
    assert not coarse.layer.visible


def test_a_map_that_somebody_s_code_reshaped_is_theirs(picture: Image, segment: Segment) -> None:
    mask = segment(1)
    mask.layer.data = np.ones((10, 10), np.uint8)
    other = segment(2)
    assert other is not mask
    assert np.all(mask.layer.data == 1)


def test_a_layer_that_is_gone_takes_its_mask_along(viewer: ViewerModel, segment: Segment) -> None:
    import gc
    import weakref

    gone = weakref.ref(segment(1))
    viewer.layers.clear()
    viewer.add_points()  # napari holds on to the layer that was last chosen
    gc.collect()
    assert gone() is None
