"""Masks in napari's model of a viewer, which needs no window: strokes stay, undo works."""

from collections.abc import Callable

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels
from pytestqt.qtbot import QtBot

from napari_cliper.annotation.class_list import ClassEntry, ClassList
from napari_cliper.widgets import masks
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


def test_alt_and_a_number_choose_a_class(segment: Segment) -> None:
    mask = segment(1, classes=ClassList(classes=(ClassEntry(id=9, name="a"), CLASSES[1])))
    keys = {str(key): act for key, act in mask.layer.keymap.items()}
    assert {f"Alt+{number}" for number in range(1, 10)} <= keys.keys()
    keys["Alt+1"](mask.layer)
    assert mask.layer.selected_label == 9
    keys["Alt+2"](mask.layer)
    assert mask.layer.selected_label == 2
    keys["Alt+3"](mask.layer)
    assert mask.layer.selected_label == 2  # there is no third class
    assert not any(key.startswith("Alt+") for key in map(str, Labels.class_keymap))


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


def test_each_plane_of_a_stack_has_its_own(viewer: ViewerModel, segment: Segment) -> None:
    stack = viewer.add_image(np.zeros((3, *SHAPE)))
    first = segment(1, of=stack)
    paint(first.layer)
    viewer.dims.set_point(0, 2)
    second = segment(2, of=stack)
    assert second is not first
    assert np.all(second.layer.data == 2)
    viewer.dims.set_point(0, 0)
    assert segment(2, of=stack) is not second


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
