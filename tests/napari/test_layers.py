"""Where result layers lie, in napari's model of a viewer, which needs no window."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_cliper.annotation.class_list import ClassList
from napari_cliper.errors import NapariCliperError
from napari_cliper.widgets.layers import (
    ResultLayer,
    fitting_classes,
    is_ours,
    kept_selection,
    labels_layer,
    map_layer,
    show,
)
from napari_cliper.widgets.masks import show_mask
from napari_cliper.widgets.planes import shown_plane

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
        return show_mask(viewer, plane, labels_layer(role, labels, classes), classes).layer

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

    item = labels_layer("refined", np.ones((40, 60), np.uint16), CLASSES)
    mask = show_mask(viewer, plane, item, CLASSES).layer
    assert mask.data.shape == pixels.shape
    assert np.array_equal(np.argwhere(mask.data.any(axis=(2, 3))), [[1, 3]])
    for name in ("scale", "translate", "units", "axis_labels"):
        assert np.array_equal(getattr(mask, name), getattr(stack, name)), name


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


def test_maps_cover_the_picture(viewer: ViewerModel, picture: Image) -> None:
    attention = np.random.default_rng(0).random((8, 20), np.float32)
    item = map_layer("attention", attention)
    layer = show(viewer, shown_plane(viewer, picture), item)
    assert isinstance(layer, Image)
    # Outer edges meet: half a pixel beyond the centres of the corner pixels.
    for ours, theirs in [((-0.5, -0.5), (-0.5, -0.5)), ((7.5, 19.5), (39.5, 59.5))]:
        np.testing.assert_allclose(layer.data_to_world(ours), picture.data_to_world(theirs))
    assert is_ours(layer)
    assert not is_ours(picture)
    assert show(viewer, shown_plane(viewer, picture), item) is layer


def test_a_map_of_another_grid_takes_the_same_layer(viewer: ViewerModel, picture: Image) -> None:
    plane = shown_plane(viewer, picture)
    layer = show(viewer, plane, map_layer("attention", np.ones((8, 20), np.float32)))
    layer.colormap = "viridis"
    finer = map_layer("attention", np.full((10, 12), 2, np.float32))
    assert show(viewer, plane, finer) is layer
    assert layer.colormap.name == "viridis"  # what a person chose stays
    assert layer.contrast_limits[0] == 2
    np.testing.assert_allclose(
        layer.data_to_world((9.5, 11.5)), picture.data_to_world((39.5, 59.5))
    )


def test_many_maps_are_one_layer_to_scroll_through(viewer: ViewerModel, picture: Image) -> None:
    maps = np.random.default_rng(0).random((5, 8, 20), np.float32)
    layer = show(viewer, shown_plane(viewer, picture), map_layer("heads", maps))
    assert viewer.dims.ndim == 3
    for number in (0, 4):
        there = layer.data_to_world((number, 7.5, 19.5))
        np.testing.assert_allclose(there[1:], picture.data_to_world((39.5, 59.5)))
        assert there[0] == number
    assert layer.axis_labels == ("map", "y", "x")


def test_maps_of_a_stack_have_an_axis_of_their_own(viewer: ViewerModel) -> None:
    stack = viewer.add_image(np.zeros((7, 40, 60)), scale=(4, 1, 1), translate=(100, 0, 0))
    viewer.dims.set_point(0, 100 + 3 * 4)
    maps = np.random.default_rng(0).random((5, 8, 20), np.float32)
    layer = show(viewer, shown_plane(viewer, stack), map_layer("heads", maps))
    assert viewer.dims.ndim == 4
    assert layer.data.shape == (5, 1, 8, 20)
    assert tuple(layer.data_to_world((2, 0, 0, 0))[:2]) == (2, 112)  # on its plane
    assert tuple(viewer.dims.range[0])[:2] == (0, 4)


def test_coloured_maps_lie_there_too(viewer: ViewerModel, picture: Image) -> None:
    colors = np.random.default_rng(0).random((3, 8, 20, 3), np.float32)
    item = ResultLayer("colours", colors, {}, {"rgb": True}, axis_labels=("layer",))
    layer = show(viewer, shown_plane(viewer, picture), item)
    assert layer.rgb
    assert layer.ndim == 3
    there = layer.data_to_world((1, 7.5, 19.5))
    np.testing.assert_allclose(there[1:], picture.data_to_world((39.5, 59.5)))


def test_even_attention_can_be_shown(viewer: ViewerModel, picture: Image) -> None:
    item = map_layer("attention", np.ones((8, 12), np.float32))
    show(viewer, shown_plane(viewer, picture), item)


def test_the_chosen_layer_stays_chosen(viewer: ViewerModel, picture: Image) -> None:
    viewer.add_points()
    viewer.layers.selection.active = picture
    with kept_selection(viewer):
        viewer.add_labels(np.zeros((3, 3), np.uint8))
    assert viewer.layers.selection.active is picture
    assert set(viewer.layers.selection) == {picture}
    with kept_selection(viewer):
        viewer.layers.remove(picture)
    assert viewer.layers.selection.active is not picture


def test_fitting_classes_come_from_the_picture(picture: Image) -> None:
    assert fitting_classes(picture) == ""
    picture.metadata["napari-cliper"] = {"classes": "cat"}
    assert fitting_classes(picture) == "cat"
    assert not is_ours(picture)
