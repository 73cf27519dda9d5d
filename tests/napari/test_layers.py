"""Result layers in napari's model of a viewer, which needs no window."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_cliper.annotation.class_list import ClassEntry, ClassList
from napari_cliper.errors import NapariCliperError
from napari_cliper.widgets.layers import (
    attention_layer,
    fitting_classes,
    is_ours,
    labels_layer,
    show,
    shown_plane,
)

CLASSES = ClassList.parse("cat; sofa = couch")
PLACED: dict[str, Any] = {
    "scale": (2.0, 0.5),
    "translate": (10.0, -7.0),
    "rotate": 30.0,
    "shear": [0.3],
    "affine": [[1.0, 0.2, 4.0], [0.0, 1.5, -3.0], [0.0, 0.0, 1.0]],
    "units": ("mm", "um"),
    "axis_labels": ("y", "x"),
}
CORNERS = [(0, 0), (0, 59), (39, 0), (39, 59), (12.5, 30.25)]


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def picture(viewer: ViewerModel) -> Image:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    return viewer.add_image(pixels, name="photo", **PLACED)


@pytest.fixture
def segment(viewer: ViewerModel, picture: Image) -> Callable[..., Labels]:
    """Show a refined mask of `picture`, or of another, filled with one value."""

    def segment(
        value: int = 1, of: Image | None = None, role: str = "refined", classes: ClassList = CLASSES
    ) -> Labels:
        plane = shown_plane(viewer, of or picture)
        labels = np.full(plane.pixels().shape[:2], value, np.uint16)
        return show(viewer, plane, labels_layer(role, labels, classes))

    return segment


def test_masks_lie_where_the_picture_lies(picture: Image, segment: Callable[..., Labels]) -> None:
    mask = segment()
    for corner in CORNERS:
        np.testing.assert_allclose(mask.data_to_world(corner), picture.data_to_world(corner))
    for name in PLACED:
        assert np.array_equal(np.asarray(getattr(mask, name)), np.asarray(getattr(picture, name)))


def test_masks_move_with_a_picture_that_was_moved(
    picture: Image, segment: Callable[..., Labels]
) -> None:
    mask = segment()
    picture.scale, picture.rotate, picture.units = (1.0, 3.0), 45.0, ("um", "um")
    assert segment() is mask
    for corner in CORNERS:
        np.testing.assert_allclose(mask.data_to_world(corner), picture.data_to_world(corner))
    assert mask.units == picture.units


def test_a_stack_gives_the_plane_that_is_shown(viewer: ViewerModel) -> None:
    pixels = np.arange(2 * 5 * 40 * 60, dtype=np.float32).reshape(2, 5, 40, 60)
    stack = viewer.add_image(
        pixels,
        scale=(1, 4, 2, 3),
        translate=(0, 100, 5, 6),
        units=("second", "um", "mm", "mm"),
        axis_labels=("t", "z", "y", "x"),
        contrast_limits=(pixels[1, 3].min(), pixels[1, 3].mean()),
    )
    viewer.dims.set_point((0, 1), (1, 100 + 3 * 4))
    plane = shown_plane(viewer, stack)
    assert plane.index[:2] == (1, 3)
    shown = plane.pixels()
    assert shown.shape == (40, 60, 3)
    assert (shown == 255).mean() > 0.49  # by the layer's contrast limits

    mask = show(viewer, plane, labels_layer("refined", np.ones((40, 60), np.uint16), CLASSES))
    assert mask.ndim == 2
    assert tuple(mask.scale) == (2, 3)
    assert tuple(mask.translate) == (5, 6)
    assert mask.units == stack.units[-2:]
    assert mask.axis_labels == ("y", "x")


def test_a_picture_below_a_taller_stack_is_read_whole(viewer: ViewerModel, picture: Image) -> None:
    viewer.add_image(np.zeros((7, 40, 60)))
    assert shown_plane(viewer, picture).pixels().shape == (40, 60, 3)


def test_a_volume_shown_in_3d_gives_the_plane_of_its_slider(viewer: ViewerModel) -> None:
    volume = viewer.add_image(np.zeros((7, 40, 60)))
    viewer.dims.set_point(0, 4)
    viewer.dims.ndisplay = 3
    assert shown_plane(viewer, volume).index[0] == 4


def test_the_full_resolution_of_a_pyramid_is_read(viewer: ViewerModel) -> None:
    pyramid = viewer.add_image([np.zeros((64, 96, 3)), np.zeros((32, 48, 3))], rgb=True)
    assert shown_plane(viewer, pyramid).pixels().shape == (64, 96, 3)


def test_other_axes_than_the_last_two_are_refused(viewer: ViewerModel) -> None:
    stack = viewer.add_image(np.zeros((20, 40, 60)))
    viewer.dims.order = (1, 0, 2)
    with pytest.raises(NapariCliperError, match="last two"):
        shown_plane(viewer, stack)
    viewer.dims.order = (0, 2, 1)  # the same plane, mirrored
    assert shown_plane(viewer, stack).pixels().shape == (40, 60, 3)


def test_a_slider_outside_the_picture_is_refused(viewer: ViewerModel) -> None:
    viewer.add_image(np.zeros((20, 40, 60)))
    stack = viewer.add_image(np.zeros((5, 40, 60)))
    viewer.dims.set_point(0, 12)
    with pytest.raises(NapariCliperError, match="sliders"):
        shown_plane(viewer, stack)


def test_names_and_colours_are_attached(segment: Callable[..., Labels]) -> None:
    mask = segment(2)
    assert list(mask.features["name"]) == ["background", "cat", "sofa"]
    assert "sofa" in mask.get_status((20.0, 15.0), world=False)["value"]
    np.testing.assert_allclose(mask.get_color(2), (*np.array(CLASSES[1].color) / 255, 1))
    assert mask.get_color(0) is None or mask.get_color(0)[3] == 0
    assert mask.get_color(77)[3] == 1  # a stroke with a label of no class is seen
    assert mask.editable


def test_ids_decide_on_the_width_of_labels(segment: Callable[..., Labels]) -> None:
    assert segment().data.dtype == np.uint8
    far = ClassList(classes=(ClassEntry(id=255, name="a"), ClassEntry(id=40000, name="b")))
    mask = segment(40000, classes=far)
    assert mask.data.dtype == np.uint16
    assert "name: b" in mask.get_status((3.0, 3.0), world=False)["value"]
    assert segment(1) is mask  # and back again
    assert mask.data.dtype == np.uint8


def test_an_update_shows_the_new_words(segment: Callable[..., Labels]) -> None:
    mask = segment(1)
    mask.name, mask.opacity, mask.mode = "my mask", 0.3, "paint"
    again = segment(1, classes=ClassList.parse("dog"))
    assert again is mask  # ours, whatever its name
    assert (mask.name, mask.opacity, mask.mode) == ("my mask", 0.3, "paint")
    assert list(mask.features["name"]) == ["background", "dog"]


def paint(mask: Labels) -> None:
    mask.paint((20, 30), 2)


def fill(mask: Labels) -> None:
    mask.fill((20, 30), 2)


def draw_polygon(mask: Labels) -> None:
    mask.paint_polygon([(5, 5), (5, 30), (30, 30)], 2)


def set_pixels(mask: Labels) -> None:
    mask.data_setitem((np.array([3]), np.array([4])), 2)


def replace(mask: Labels) -> None:
    mask.data = np.full_like(mask.data, 2)


def write_in_place(mask: Labels) -> None:
    mask.data[7, 8] = 2


@pytest.mark.parametrize("touch", [paint, fill, draw_polygon, set_pixels, replace, write_in_place])
def test_a_mask_that_was_touched_is_left_alone(
    viewer: ViewerModel, segment: Callable[..., Labels], touch: Callable[[Labels], None]
) -> None:
    touched = segment(1)
    touch(touched)
    kept = touched.data.copy()
    fresh = segment(1)
    assert fresh is not touched
    assert np.array_equal(touched.data, kept)
    assert segment(2) is fresh  # from now on this one is ours
    assert len(viewer.layers) == 3


def test_a_stroke_undone_is_no_stroke(segment: Callable[..., Labels]) -> None:
    mask = segment(1)
    mask.paint((20, 30), 2)
    mask.undo()
    assert segment(2) is mask


def test_old_strokes_do_not_replay_on_new_masks(segment: Callable[..., Labels]) -> None:
    mask = segment(1)
    mask.mode = "erase"
    mask.paint((20, 30), 2)
    mask.undo()
    segment(2)
    mask.redo()
    mask.undo()
    assert np.all(mask.data == 2)
    mask.paint((20, 30), 1)
    assert np.any(mask.data == 1)
    mask.undo()
    assert np.all(mask.data == 2)  # later strokes are undone as ever
    assert mask.mode == "erase"


def test_a_copy_is_the_persons(viewer: ViewerModel, segment: Callable[..., Labels]) -> None:
    mask = segment(1)
    viewer.layers.selection = {mask}
    from napari.layers._layer_actions import _duplicate_layer  # what the menu calls

    _duplicate_layer(viewer.layers)
    copy = next(layer for layer in viewer.layers if layer.name.endswith("copy"))
    assert segment(2) is mask
    assert np.all(copy.data == 1)
    viewer.layers.remove(mask)
    assert segment(2) is not copy
    assert np.all(copy.data == 1)


def test_masks_of_another_picture_are_not_touched(
    viewer: ViewerModel, picture: Image, segment: Callable[..., Labels]
) -> None:
    # The other has the same pixels and the same name before napari makes it different.
    other = viewer.add_image(picture.data, name="photo")
    first, second = segment(1), segment(2, of=other)
    assert first is not second
    assert segment(2) is first
    assert segment(1, of=other) is second


def test_roles_do_not_mix(viewer: ViewerModel, segment: Callable[..., Labels]) -> None:
    coarse, refined = segment(1, role="coarse"), segment(1, role="refined")
    assert [coarse.name, refined.name] == ["photo [coarse]", "photo [refined]"]
    assert segment(2, role="coarse") is coarse
    assert np.all(refined.data == 1)


def test_a_picture_of_another_size_gets_another_mask(
    picture: Image, segment: Callable[..., Labels]
) -> None:
    before = segment(1)
    picture.data = np.zeros((50, 70, 3), np.uint8)
    after = segment(1)
    assert after is not before
    assert before.data.shape == (40, 60)


def test_the_attention_covers_the_picture(viewer: ViewerModel, picture: Image) -> None:
    attention = np.random.default_rng(0).random((8, 20), np.float32)
    item = attention_layer(attention, (40, 60))
    layer = show(viewer, shown_plane(viewer, picture), item)
    assert isinstance(layer, Image)
    # Outer edges meet: half a pixel beyond the centres of the corner pixels.
    for ours, theirs in [((-0.5, -0.5), (-0.5, -0.5)), ((7.5, 19.5), (39.5, 59.5))]:
        np.testing.assert_allclose(layer.data_to_world(ours), picture.data_to_world(theirs))
    assert is_ours(layer)
    assert not is_ours(picture)
    assert show(viewer, shown_plane(viewer, picture), item) is layer


def test_even_attention_can_be_shown(viewer: ViewerModel, picture: Image) -> None:
    item = attention_layer(np.ones((8, 12), np.float32), (40, 60))
    show(viewer, shown_plane(viewer, picture), item)


def test_fitting_classes_come_from_the_picture(viewer: ViewerModel, picture: Image) -> None:
    assert fitting_classes(picture) == ""
    picture.metadata["napari-cliper"] = {"classes": "cat"}
    assert fitting_classes(picture) == "cat"
    assert not is_ours(picture)
