import numpy as np
import pytest
from PIL import Image, ImageFont
from skimage import data

from napari_cliper.annotation.class_list import ClassList
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.overlay import SYSTEM_FONTS, draw_overlay, save_overlay

CLASSES = ClassList.parse("cat; sofa = couch; tree")  # dark red, dark green, olive
CAT, SOFA, TREE = (np.array(entry.color) for entry in CLASSES)


@pytest.fixture
def photograph():
    return data.cat()


@pytest.fixture
def labels():
    labels = np.zeros((300, 451), np.uint16)
    labels[50:150, 100:300] = 1
    labels[150:250, 100:300] = 2
    return labels


def has_color(picture, color):
    return bool((picture == color).all(axis=-1).any())


def test_regions_are_tinted_and_the_background_is_not(photograph, labels):
    drawn = draw_overlay(photograph, labels, CLASSES)
    assert drawn.shape[1] == 451
    inside = np.s_[60:140, 110:290]
    expected = 0.55 * photograph[inside] + 0.45 * CAT
    np.testing.assert_allclose(drawn[inside], expected, atol=0.51)
    np.testing.assert_allclose(
        drawn[160:240, 110:290], 0.55 * photograph[160:240, 110:290] + 0.45 * SOFA, atol=0.51
    )
    np.testing.assert_array_equal(drawn[:300, 310:], photograph[:, 310:])
    np.testing.assert_array_equal(drawn[:40], photograph[:40])


def test_regions_are_outlined_in_their_colour(photograph, labels):
    drawn = draw_overlay(photograph, labels, CLASSES)
    np.testing.assert_array_equal(drawn[50, 100:300], np.broadcast_to(CAT, (200, 3)))
    np.testing.assert_array_equal(drawn[249, 100:300], np.broadcast_to(SOFA, (200, 3)))
    assert (drawn[149, 110:290] == CAT).all()  # between two classes: each its own
    assert (drawn[150, 110:290] == SOFA).all()
    assert (drawn[49, 100:300] == 255).all()  # white around, to be seen on any photograph


def test_the_legend_names_what_is_there(photograph, labels):
    legend = draw_overlay(photograph, labels, CLASSES)[300:]
    assert has_color(legend, CAT)
    assert has_color(legend, SOFA)
    assert not has_color(legend, TREE)
    other = ClassList.parse("cat; couch; tree")
    assert not np.array_equal(legend, draw_overlay(photograph, labels, other)[300:])


def test_without_any_class_the_photograph_stays_what_it_was(photograph, labels):
    np.testing.assert_array_equal(draw_overlay(photograph, labels * 0, CLASSES), photograph)


def test_many_classes_take_more_rows(photograph):
    names = ClassList.parse("; ".join(f"thing {i}" for i in range(40)))
    labels = np.arange(300 * 451).reshape(300, 451) % 41
    drawn = draw_overlay(photograph, labels, names)
    few = draw_overlay(photograph, labels.clip(0, 2), names)
    assert drawn.shape[1] == few.shape[1] == 451
    assert drawn.shape[0] > few.shape[0] + 100
    assert all(has_color(drawn[300:], entry.color) for entry in names)


def test_a_long_name_is_cut_at_the_edge(photograph, labels):
    drawn = draw_overlay(photograph, labels, ClassList.parse("x" * 500 + "; sofa"))
    assert drawn.shape[1] == 451
    assert (drawn[300:, -5:] == 255).all()
    assert (drawn[300:, 300:-20] < 100).any()  # and fills its row


def test_a_narrow_picture_gets_margins():
    image = np.full((40, 16), 77, np.uint8)
    drawn = draw_overlay(image, np.eye(40, 16, dtype=int), CLASSES)
    height, width = drawn.shape[:2]
    assert width > 100
    start = (width - 16) // 2
    np.testing.assert_array_equal(drawn[30:40, start : start + 16], np.full((10, 16, 3), 77))
    assert (drawn[:40, : start - 1] == 255).all()
    assert has_color(drawn[40:height], CAT)


def test_any_picture_napari_shows(photograph, labels):
    deep = photograph[..., 0].astype(np.uint16) * 200
    drawn = draw_overlay(deep, labels, "cat; sofa")
    assert (drawn[:40] == drawn[:40, :, :1]).all()


def has_system_font():
    for name in SYSTEM_FONTS:
        try:
            ImageFont.truetype(name, 12)
        except OSError:
            continue
        return True
    return False


@pytest.mark.skipif(not has_system_font(), reason="no font with more letters on this machine")
def test_letters_that_pillows_own_font_lacks(photograph, labels):
    """Else two words of the same length would look the same, a row of boxes."""
    one, other = (
        draw_overlay(photograph, labels, ClassList.parse(name + "; sofa"))[300:]
        for name in ("été", "éâé")
    )
    assert not np.array_equal(one, other)


def test_letters_that_no_font_has_are_boxes(photograph, labels):
    drawn = draw_overlay(photograph, labels, ClassList.parse("\U0010fffd; sofa"))
    assert has_color(drawn[300:], CAT)


@pytest.mark.parametrize("name", ["a.png", "a.JPG", "a.webp"])
def test_saving(tmp_path, photograph, labels, name):
    path = tmp_path / "new" / name
    save_overlay(path, photograph, labels, CLASSES)
    expected = draw_overlay(photograph, labels, CLASSES)
    with Image.open(path) as saved:
        assert saved.mode == "RGB"
        difference = np.abs(np.array(saved).astype(int) - expected).mean()
    assert difference == 0 if name.endswith("png") else difference < 8
    with pytest.raises(NapariCliperError, match="exists already"):
        save_overlay(path, photograph, labels, CLASSES)
    save_overlay(path, photograph, labels, CLASSES, overwrite=True)
    assert [file.name for file in path.parent.iterdir()] == [name]


@pytest.mark.parametrize(
    ("name", "shape", "value", "message"),
    [
        ("a.gif", (300, 451), 1, "let it end in .png, .jpg"),
        ("a.png", (300, 450), 1, r"\(300, 450\) do not fit a picture of \(300, 451\)"),
        ("a.png", (300, 451), 4, "No class has the id 4"),
        ("a.png", (300, 451), 0.5, "one plane of integers"),
    ],
)
def test_what_does_not_fit(tmp_path, photograph, name, shape, value, message):
    with pytest.raises(NapariCliperError, match=message):
        save_overlay(tmp_path / name, photograph, np.full(shape, value), CLASSES)
    assert list(tmp_path.iterdir()) == []
