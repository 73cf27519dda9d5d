"""What readers of other tools' files share."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_cliper.annotation.class_list import ClassEntry, ClassList
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.foreign import boxed, drawn, named_classes, united
from napari_cliper.files.polygons import filled

FILE = Path("file.json")


def whole(part, size):
    top, left, mask = part
    found = np.zeros(size, bool)
    found[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
    return found


@st.composite
def inner_polygons(draw):
    """Corners within the picture, of which many lie where rounding is a tie."""
    size = draw(st.tuples(st.integers(1, 30), st.integers(1, 30)))
    step = draw(st.sampled_from([1, 2, 10]))
    corner = st.tuples(st.integers(0, size[1] * step), st.integers(0, size[0] * step))
    return np.array(draw(st.lists(corner, min_size=3, max_size=7))) / step, size


@settings(derandomize=True)  # for the tolerance's sake
@given(inner_polygons())
def test_in_its_box_a_polygon_covers_what_it_covers_in_the_picture(given_):
    polygon, size = given_
    found = whole(drawn(FILE, [polygon], size), size)
    # Where lines pass the middle of two places exactly, either is right.
    assert np.count_nonzero(found != filled([polygon], size)) <= 1


def test_what_leads_a_little_out_is_cut_off():
    part = drawn(FILE, [[(-3, -2), (4, -2), (4, 3), (-3, 3)]], (6, 8))
    wanted = np.zeros((6, 8), bool)
    wanted[:3, :4] = True
    assert np.array_equal(whole(part, (6, 8)), wanted)


@pytest.mark.parametrize("far", [1e300, np.nan, np.inf, -9])
def test_what_leads_far_out_is_refused(far):
    with pytest.raises(NapariCliperError, match="far out of the picture"):
        drawn(FILE, [[(0, 0), (far, 0), (3, 3)]], (6, 8))


def test_endless_outlines_are_refused():
    with pytest.raises(NapariCliperError, match="simplify it"):
        drawn(FILE, [[(0, 0), (5000, 5000)] * 3000], (5000, 5000))


@pytest.mark.parametrize("polygons", [[], [[]], [[(1, 1)]], [[(1, 1), (3, 4)]]])
def test_too_few_corners_cover_nothing(polygons):
    assert not whole(drawn(FILE, polygons, (6, 8)), (6, 8)).any()


def test_boxes():
    mask = np.zeros((6, 8), bool)
    assert not whole(boxed(mask), (6, 8)).any()
    mask[2:4, 3], mask[5, 6] = True, True
    top, left, found = boxed(mask)
    assert (top, left, found.shape) == (2, 3, (4, 4))
    assert np.array_equal(whole((top, left, found), (6, 8)), mask)
    assert np.array_equal(
        whole(united([(2, 3, found[:2, :1]), (5, 6, found[3:, 3:])]), (6, 8)), mask
    )


def test_classes_that_a_file_tells_more_of():
    known = [
        ClassEntry(id=7, name="cat", color=(1, 2, 3)),
        ClassEntry(id=7, name="dog"),
        ClassEntry(id=1, name="hen"),
    ]
    classes, labels = named_classes(["dog", "cow", "dog"], FILE, known)
    assert labels == {"cat": 7, "hen": 1, "dog": 2, "cow": 3}
    assert {entry.name: entry.id for entry in classes} == labels
    assert classes[0].color == (1, 2, 3)


def test_names_alone_get_the_numbers_of_the_list_near(tmp_path):
    near = ClassList.parse("hen; dog; cat")
    (tmp_path / "classes.json").write_text(near.to_json())
    file = tmp_path / "file.json"
    assert named_classes(["cat", "dog"], file) == (near, {"cat": 3, "dog": 2})
    known = [ClassEntry(id=3, name="cat")]
    assert named_classes(["dog"], file, known) == (near, {"cat": 3, "dog": 2})
    classes, labels = named_classes(["dog"], file, [ClassEntry(id=1, name="cat")])
    assert labels == {"cat": 1, "dog": 2}
    assert classes.names == ("cat", "dog")
