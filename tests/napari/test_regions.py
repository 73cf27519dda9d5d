"""Part of a picture: what the window shows, inside shapes, outside labels."""

from typing import Any

import numpy as np
import pytest
from napari import Viewer
from napari.components import ViewerModel
from napari.layers import Image, Labels
from qtpy.QtWidgets import QComboBox, QLineEdit
from skimage.data import cat
from skimage.draw import disk
from superqt import QLabeledDoubleSlider

from napari_cliper.errors import NapariCliperError
from napari_cliper.widgets import masks, regions
from napari_cliper.widgets.mask import STROKE_PAUSE
from napari_cliper.widgets.picture_panel import PicturePanel
from napari_cliper.widgets.planes import chosen_planes, shown_plane

CAT = np.ascontiguousarray(cat()[::2, ::2])  # 150 rows, 226 columns


@pytest.fixture
def model() -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def moved(model: ViewerModel) -> Image:
    return model.add_image(CAT, name="photo", scale=(2, 3), translate=(10, 20), rotate=30)


def test_shapes_lie_where_they_are_drawn(model: ViewerModel, moved: Image) -> None:
    corners = [(30, 40), (30, 90), (70, 90), (70, 40)]
    drawn = [moved.data_to_world(corner) for corner in corners]
    shapes = model.add_shapes([drawn], shape_type="polygon", name="here")
    region = regions.inside(shapes, moved)(shown_plane(model, moved))
    rows, columns = region.box
    # A pixel on the edge itself may fall on either side.
    found, expected = (rows.start, rows.stop, columns.start, columns.stop), (30, 71, 40, 91)
    np.testing.assert_allclose(found, expected, atol=1)
    assert region.inside.mean() > 0.95


def test_ellipses_are_round_and_lines_have_no_inside(model: ViewerModel) -> None:
    picture = model.add_image(CAT)
    plane = shown_plane(model, picture)
    shapes = model.add_shapes()
    shapes.add_ellipses([[(20, 30), (20, 70), (60, 70), (60, 30)]])
    shapes.add_lines([[(0, 0), (149, 225)]])
    found = np.zeros(CAT.shape[:2], bool)
    region = regions.inside(shapes, picture)(plane)
    found[region.box] = region.inside
    expected = np.zeros_like(found)
    expected[disk((40, 50), 20)] = True
    assert (found != expected).sum() < 150  # of 1257, along the rim
    only = model.add_shapes([[(0, 0), (100, 100)]], shape_type="line", name="line")
    with pytest.raises(NapariCliperError, match="“line” leaves nothing"):
        regions.inside(only, picture)(plane)


def test_shapes_of_a_stack_count_on_their_plane(model: ViewerModel) -> None:
    stack = model.add_image(np.stack([CAT[..., 0]] * 3), scale=(5, 1, 1))
    box = [(30, 40), (30, 90), (70, 90), (70, 40)]
    everywhere = model.add_shapes([box], shape_type="rectangle")
    there = [[(2, *corner) for corner in box]]
    shapes = model.add_shapes(there, shape_type="rectangle", scale=(5, 1, 1), name="there")
    for place in range(3):
        model.dims.set_point(0, 5 * place)
        plane = shown_plane(model, stack)
        assert regions.inside(everywhere, stack)(plane).top == 30
        if place == 2:
            assert regions.inside(shapes, stack)(plane).top == 30
        else:
            with pytest.raises(NapariCliperError, match="“there” leaves nothing"):
                regions.inside(shapes, stack)(plane)


def test_a_region_in_pixels_of_a_coarser_mask(model: ViewerModel) -> None:
    finest = np.kron(CAT, np.ones((4, 4, 1), np.uint8))
    picture = model.add_image([finest, CAT], rgb=True)
    shapes = model.add_shapes([[(120, 160), (120, 360), (280, 360), (280, 160)]])
    plane = shown_plane(model, picture, level=1)
    region = regions.inside(shapes, picture)(plane)
    assert region.box == (slice(30, 70), slice(40, 90))


def test_outside_labels(model: ViewerModel) -> None:
    picture = model.add_image(CAT)
    plane = shown_plane(model, picture)
    data = np.zeros(CAT.shape[:2], np.uint8)
    data[:100] = 3

    def outside(labels: Labels) -> regions.Region:
        return regions.outside(labels, picture, [plane])(plane)

    region = outside(model.add_labels(data))
    assert region.box == (slice(100, 150), slice(0, 226))
    assert region.inside.all()
    with pytest.raises(NapariCliperError, match="leaves nothing"):
        outside(model.add_labels(np.ones_like(data)))
    half = model.add_labels(data[::2, ::2], scale=(2, 2), translate=(0.5, 0.5))
    with pytest.raises(NapariCliperError, match="226 × 150 pixels of the masks"):
        outside(half)
    with pytest.raises(NapariCliperError, match="does not lie where"):
        outside(model.add_labels(data, translate=(20, 20)))
    pyramid = model.add_labels([data, data[::2, ::2]], multiscale=True)
    assert outside(pyramid).box == region.box


def test_what_the_layers_say_is_noted_before_the_work(model: ViewerModel) -> None:
    stack = model.add_image(np.stack([CAT[..., 0]] * 3))
    planes = chosen_planes("all", shown_plane(model, stack))
    shapes = model.add_shapes([[(30, 40), (30, 90), (70, 90), (70, 40)]], shape_type="rectangle")
    data = np.zeros(stack.data.shape, np.uint8)
    data[1, :100] = 3
    labels = model.add_labels(data)
    flat = model.add_labels(data[1].copy())
    wheres = [
        regions.inside(shapes, stack),
        regions.outside(labels, stack, planes),
        regions.outside(flat, stack, planes),
    ]
    shapes.data = []
    for layer in (labels, flat):
        layer.data[:] = 1
    boxes = [[where(plane).box for plane in planes] for where in wheres]
    lower = slice(100, 150), slice(0, 226)
    assert boxes[0] == [(slice(30, 71), slice(40, 91))] * 3
    assert boxes[1] == [(slice(0, 150), slice(0, 226)), lower, (slice(0, 150), slice(0, 226))]
    assert boxes[2] == [lower] * 3


def test_only_the_planes_that_are_wanted_are_copied(model: ViewerModel) -> None:
    stack = model.add_image(np.stack([CAT[..., 0]] * 3))
    plane = shown_plane(model, stack).at((1,))
    labels = model.add_labels(np.zeros(stack.data.shape, np.uint8))
    where = regions.outside(labels, stack, [plane])
    assert where(plane).inside.all()
    with pytest.raises(KeyError):
        where(plane.at((2,)))


def test_lazy_labels_are_read_when_a_plane_s_turn_comes(model: ViewerModel) -> None:
    asked: list[tuple[int, ...]] = []

    class Lazy:
        shape, dtype, ndim = (3, *CAT.shape[:2]), np.dtype(np.uint8), 3

        def __getitem__(self, index: Any) -> np.ndarray:
            asked.append(index)
            return np.zeros(self.shape, self.dtype)[index]

    stack = model.add_image(np.stack([CAT[..., 0]] * 3))
    planes = chosen_planes("all", shown_plane(model, stack))
    where = regions.outside(model.add_labels(Lazy()), stack, planes)
    asked.clear()
    assert where(planes[2]).inside.all()
    assert asked == [(2,)]


@pytest.mark.parametrize("moved", [{"translate": (1, 0, 0)}, {"scale": (2, 1, 1)}, {}])
def test_labels_of_other_planes_exclude_nothing(model: ViewerModel, moved: dict[str, Any]) -> None:
    stack = model.add_image(np.stack([CAT[..., 0]] * 3))
    planes = chosen_planes("all", shown_plane(model, stack))
    data = np.zeros(stack.data.shape, np.uint8)
    data[1, :40] = 1
    labels = model.add_labels(data, **moved)
    if moved:
        with pytest.raises(NapariCliperError, match="does not lie where"):
            regions.outside(labels, stack, planes)
    else:
        where = regions.outside(labels, stack, planes)
        assert [where(plane).top for plane in planes] == [0, 40, 0]


class BrokenLabels:
    """Of three planes the second cannot be read."""

    shape, dtype, ndim = (3, *CAT.shape[:2]), np.dtype(np.uint8), 3

    def __getitem__(self, index: Any) -> np.ndarray:
        if (index if isinstance(index, int) else index[0]) == 1:
            raise OSError(5, "Input/output error")
        return np.zeros(self.shape, self.dtype)[index]


class Part:
    """The dock with its list of parts."""

    def __init__(self, dock: Any) -> None:
        self.dock = dock
        self.where = dock.part(QComboBox, "where")

    def run(self, where: str) -> None:
        self.where.setCurrentText(where)
        assert self.where.currentText() == where
        self.dock.run()

    def data(self, role: str = "refined") -> np.ndarray:
        (layer,) = self.dock.labels(role)
        return layer.data  # type: ignore[no-any-return]


@pytest.fixture
def part(dock: Any) -> Part:
    dock.type("cat")
    return Part(dock)


def test_only_what_the_shapes_hold_is_segmented(
    viewer: Viewer, part: Part, told: list[str]
) -> None:
    picture = viewer.add_image(CAT, name="photo")
    box = [(20, 40), (20, 180), (120, 180), (120, 40)]
    shapes = viewer.add_shapes([box], shape_type="rectangle", name="box")
    part.run("Inside “box”")
    assert told == []
    found = part.data().copy()
    assert found[21:120, 41:180].any()
    outside = np.ones(found.shape, bool)
    outside[20:121, 40:181] = False
    assert not found[outside].any()
    # The same as the picture cut out.
    cut = regions.inside(shapes, picture)(shown_plane(viewer, picture)).box
    alone = viewer.add_image(CAT[cut], name="alone")
    part.dock.widget.show_picture(alone)
    part.run("All of the picture")
    assert np.array_equal(viewer.layers["alone [refined]"].data, found[cut])
    # Then all of it: the rest is filled, and what was painted stays.
    part.dock.widget.show_picture(picture)
    mask = viewer.layers["photo [refined]"]
    mask.paint((5, 5), 7)
    mask.paint((60, 90), 7)
    painted = mask.data == 7
    part.run("Inside “box”")
    assert np.array_equal(mask.data == 7, painted)
    assert not (masks.of(mask).proposal == 7).any()
    part.run("All of the picture")
    assert (mask.data[outside] == 1).any()
    assert np.array_equal(mask.data == 7, painted)
    # Labels that the words do not have stay what they are outside the part.
    masks.of(mask).make_room(300)
    mask.data_setitem((np.array([3]), np.array([3])), 300)
    part.run("Inside “box”")
    assert mask.data[3, 3] == 300


def test_strokes_while_a_part_waits_for_the_brush_are_not_proposed(
    viewer: Viewer, part: Part
) -> None:
    viewer.add_image(CAT, name="photo")
    part.run("All of the picture")
    viewer.add_shapes([[(20, 40), (20, 180), (120, 180), (120, 40)]], name="box")
    (mask,) = part.dock.labels("refined")
    known = masks.of(mask)
    assert known is not None
    mask.paint((140, 200), 7)
    with mask.block_history():  # as napari does from pressing the button to letting it go
        mask.paint((5, 5), 7)
        part.run("Inside “box”")
        mask.paint((60, 90), 7)
        mask.paint((5, 200), 7)
        painted = mask.data == 7
        waiting = known.proposal.copy()
        part.dock.part(QLabeledDoubleSlider, "background").setValue(0.95)
        part.dock.settle()
    part.dock.qtbot.wait(2 * STROKE_PAUSE)
    part.dock.settle()
    assert np.array_equal(mask.data == 7, painted)
    assert not (known.proposal == 7).any()
    assert (known.proposal != waiting).any()  # the slider's move waited, too, and is written
    free = ~painted
    assert np.array_equal(mask.data[free], known.proposal[free])


def test_sliders_go_on_in_the_region(viewer: Viewer, part: Part) -> None:
    viewer.add_image(CAT, name="photo")
    part.run("All of the picture")
    before = part.data().copy()
    box = [(20, 40), (20, 180), (120, 180), (120, 40)]
    viewer.add_shapes([box], shape_type="rectangle", name="box")
    part.run("Inside “box”")
    part.dock.qtbot.waitUntil(lambda: part.dock.encoded.text() == "encoded", timeout=10_000)
    found = part.data().copy()
    part.dock.part(QLabeledDoubleSlider, "background").setValue(0.95)
    part.dock.settle()
    changed = part.data() != found
    assert changed[20:121, 40:181].any()
    outside = np.ones(found.shape, bool)
    outside[20:121, 40:181] = False
    assert np.array_equal(part.data()[outside], before[outside])


def test_scores_of_a_region_lie_on_it(viewer: Viewer, part: Part) -> None:
    from qtpy.QtWidgets import QPushButton

    picture = viewer.add_image(CAT, name="photo", scale=(2, 3))
    box = [(40, 120), (40, 540), (240, 540), (240, 120)]
    viewer.add_shapes([box], shape_type="rectangle", name="box")
    part.run("Inside “box”")
    _, inspector = viewer.window.add_plugin_dock_widget("napari-cliper", "Inspect attention")
    inspector._add_uncertainty()
    part.dock.qtbot.waitUntil(lambda: inspector.idle, timeout=60_000)
    layer = next(one for one in viewer.layers if "uncertainty" in one.name)
    np.testing.assert_allclose(
        layer.data_to_world((-0.5, -0.5)), picture.data_to_world((19.5, 39.5)), atol=1e-6
    )
    _, correct = viewer.window.add_plugin_dock_widget("napari-cliper", "Correct masks")
    correct.findChild(QPushButton, "cliper-scribble").click()
    assert "Only a part of the picture was looked at" in correct._status.text()


def test_what_the_window_shows(viewer: Viewer, part: Part) -> None:
    viewer.add_image(CAT, name="photo")
    viewer.scene.camera.center = (100.0, 150.0)
    viewer.scene.camera.zoom = min(np.array(viewer.canvas.size)) / 60
    part.run("What the window shows")
    found = part.data()
    for axis, middle in ((0, 100), (1, 150)):
        there = np.flatnonzero(found.any(axis=1 - axis))
        half = np.array(viewer.canvas.size)[axis] / viewer.scene.camera.zoom / 2
        assert middle - half - 1 <= there[0] < there[-1] <= middle + half + 1
    viewer.scene.camera.center = (5000.0, 150.0)
    part.dock.run()
    assert "What the window shows leaves nothing" in part.dock.status.text()


def test_shapes_on_some_planes_of_a_stack(viewer: Viewer, part: Part) -> None:
    grey = CAT[..., 0]
    viewer.add_image(np.stack([grey, grey[::-1], grey[:, ::-1]]), name="stack")
    box = [(2, 20, 40), (2, 20, 180), (2, 120, 180), (2, 120, 40)]
    viewer.add_shapes([box], shape_type="rectangle", name="box")
    planes = part.dock.part(QLineEdit, "planes")
    planes.setText("all")
    part.run("Inside “box”")
    assert [bool(plane.any()) for plane in part.data()] == [False, False, True]
    assert part.dock.status.text() == "1 plane segmented."
    panel = part.dock.widget.findChild(PicturePanel)
    assert [plane.region for plane in panel.planes()] == [None] * 3  # found in the worker
    planes.setText("0-1")
    part.dock.run()
    assert "“box” leaves nothing" in part.dock.status.text()


def test_labels_that_cannot_be_read_keep_no_other_plane_from_it(viewer: Viewer, part: Part) -> None:
    viewer.add_image(np.stack([CAT[..., 0]] * 3), name="stack")
    viewer.dims.set_current_step(0, 0)
    viewer.add_labels(BrokenLabels(), name="no")
    part.dock.part(QLineEdit, "planes").setText("all")
    part.run("Outside “no”")
    assert [bool(plane.any()) for plane in part.data()] == [True, False, True]
    assert "2 planes segmented" in part.dock.status.text()
    assert "“no” cannot be read (OSError" in part.dock.status.text()


def test_what_waits_for_the_brush_looks_now_and_then(
    viewer: Viewer, part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer.add_image(CAT, name="photo")
    part.run("All of the picture")
    (layer,) = part.dock.labels("refined")
    mask = masks.of(layer)
    assert mask is not None
    regions_of = [regions.Region(top, 0, np.ones((20, 30), bool)) for top in (0, 40, 80)]
    tried = []
    propose = mask.propose
    with layer.block_history():
        for number, region in enumerate(regions_of, 3):
            mask.propose(np.full(region.size, number), region)
        monkeypatch.setattr(mask, "propose", lambda *args: (tried.append(args), propose(*args)))
        part.dock.qtbot.wait(6 * STROKE_PAUSE)
        assert not tried
    part.dock.qtbot.waitUntil(lambda: len(tried) == 3)
    assert [layer.data[region.top, 0] for region in regions_of] == [3, 4, 5]


def test_a_part_of_a_pyramid_is_read_finely() -> None:
    model = ViewerModel()
    sizes = [(8192, 8192), (4096, 4096), (2048, 2048), (1024, 1024)]
    layer = model.add_image([np.zeros(size, np.uint8) for size in sizes], contrast_limits=(0, 255))
    plane = shown_plane(model, layer, level=1)
    assert plane.read().shape == (1024, 1024)
    where = np.zeros(plane.size, bool)
    where[1000:2000, 500:1500] = True
    assert plane.part(regions.Region.of(where, "it")).read().shape == (2000, 2000)
    where[:] = False
    where[100:200, 100:200] = True
    assert plane.part(regions.Region.of(where, "it")).read().shape == (200, 200)


def test_what_is_offered_follows_the_layers(viewer: Viewer, part: Part) -> None:
    viewer.add_image(CAT, name="photo")
    part.run("All of the picture")
    offered = [part.where.itemText(at) for at in range(part.where.count())]
    assert offered == ["All of the picture", "What the window shows"]  # our masks are no parts
    labels = viewer.add_labels(np.zeros(CAT.shape[:2], np.uint8), name="void")
    part.where.setCurrentText("Outside “void”")
    labels.name = "no"
    assert part.where.currentText() == "Outside “no”"
    viewer.layers.remove(labels)
    assert part.where.currentText() == "All of the picture"
