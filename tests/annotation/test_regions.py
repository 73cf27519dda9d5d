from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.measure import label
from skimage.morphology import disk

from napari_cliper.annotation.regions import FIXES, Size, box_around, instances, region
from napari_cliper.errors import NapariCliperError

FILL, DROP, SMOOTH, GROW, SHRINK = FIXES

often = settings(max_examples=50, derandomize=True, deadline=None)
maps = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda shape: arrays(np.uint16, shape, elements=st.sampled_from([0, 0, 1, 1, 1, 2]))
)


def drawn(text, dtype=np.uint16):
    """A map from lines of digits; a point is 0."""
    lines = text.replace(".", "0").split()
    return np.array([list(line) for line in lines]).astype(dtype)


def same(labels, text):
    np.testing.assert_array_equal(labels, drawn(text))


def distances(mask):
    """From each pixel to the nearest one of the mask and the way there, one by one."""
    there = np.argwhere(mask)
    here = np.indices(mask.shape).reshape(2, -1).T
    return np.hypot(*(here[:, None] - there[None]).transpose(2, 0, 1))


def in_a_larger_map(labels, value=0):
    larger = np.full((60, 70), value, labels.dtype)
    larger[20 : 20 + labels.shape[0], 30 : 30 + labels.shape[1]] = labels
    return larger


def test_region_is_what_the_bucket_fills():
    labels = drawn("""
        11.2
        1.11
        1122""")
    same(region(labels, (0, 0)), "11.. 1... 11..")
    same(region(labels, (1, 2)), ".... ..11 ....")
    same(region(labels, (0, 2)), "..1. .... ....")
    same(region(labels, (1, 1)), ".... .1.. ....")
    found = region(np.asfortranarray(labels)[:, ::-1], (0, 3))
    assert found.dtype == bool
    same(found, "..11 ...1 ..11")


@often
@given(maps, st.data())
def test_region_is_one_component(labels, data):
    place = tuple(data.draw(st.integers(0, size - 1)) for size in labels.shape)
    components = label(labels == labels[place], connectivity=1)
    np.testing.assert_array_equal(region(labels, place), components == components[place])


def test_the_fixes_are_a_table():
    assert [fix.name for fix in FIXES] == ["fill-holes", "drop-specks", "smooth", "grow", "shrink"]
    assert len({fix.title for fix in FIXES}) == len({fix.help_text for fix in FIXES}) == 5
    for fix in FIXES:
        assert 1 <= fix.size.least < fix.size.default < fix.size.most
        assert "\n" not in fix.help_text
    assert FILL.size == Size("Up to (pixels)", default=500, least=1, most=1_000_000)


@pytest.mark.parametrize("fix", FIXES, ids=lambda fix: fix.name)
class TestEveryFix:
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.int64])
    def test_leaves_what_it_is_given_and_keeps_its_type(self, fix, dtype):
        labels = drawn(".111.2 1.1.1. 111112 .....1 1.....", dtype)
        labels.flags.writeable = False
        size = {"drop-specks": 2}.get(fix.name, 1)
        changed = fix.apply(labels, 1, size)
        assert changed.dtype == dtype
        assert (changed != labels).any()
        assert not np.shares_memory(changed, labels)
        np.testing.assert_array_equal(changed, fix.apply(labels.astype(np.uint16), 1, size))

    @pytest.mark.parametrize("id_", [2, 700])
    def test_does_nothing_for_a_class_that_is_not_there(self, fix, id_):
        labels = drawn("..1.. .11.. .1.1. .11.. .....", np.uint8)
        np.testing.assert_array_equal(fix.apply(labels, id_, 50), labels)

    def test_does_nothing_if_the_class_is_everywhere(self, fix):
        labels = np.ones((4, 3), np.uint16)
        changed = fix.apply(labels, 1, 50)
        np.testing.assert_array_equal(changed, labels)
        assert changed is not labels

    @often
    @given(labels=maps, size=st.integers(1, 4), beyond=st.sampled_from([0, 2]))
    def test_works_on_a_part_as_on_the_whole(self, fix, labels, size, beyond):
        labels = in_a_larger_map(labels, beyond)
        changed = fix.apply(labels, 1, size)
        if not (labels == 1).any():
            np.testing.assert_array_equal(changed, labels)
            return
        whole = fix.change(labels, 1, size)
        # Of several others that are equally near, either may be taken.
        np.testing.assert_array_equal(changed == 1, whole == 1)
        if fix not in (SMOOTH, SHRINK):
            np.testing.assert_array_equal(changed, whole)

    def test_works_on_the_part_of_a_large_map_that_holds_the_class(self, fix):
        labels = np.zeros((500, 600), np.uint16)
        labels[100:120, 200:230] = 3
        seen = []

        def change(part, id_, size):
            seen.append(part.shape)
            return fix.change(part, id_, size)

        replace(fix, change=change).apply(labels, 3, 2)
        margin = 2 * (1 + 2 * fix.reach)
        assert seen == [(20 + margin, 30 + margin)]


@often
@given(maps, st.integers(1, 4))
def test_lost_pixels_go_to_a_nearest_other(labels, size):
    for fix in (SMOOTH, SHRINK):
        changed = fix.apply(labels, 1, size)
        lost = (labels == 1) & (changed != 1)
        # Other labels change only into the class.
        others = (labels != 1) & (changed != 1)
        np.testing.assert_array_equal(changed[others], labels[others])
        if not lost.any():
            continue
        apart = distances(labels != 1)
        values = labels[labels != 1]
        for pixel in np.flatnonzero(lost):
            nearest = values[apart[pixel] == apart[pixel].min()]
            assert changed.flat[pixel] in nearest


def test_fill_holes():
    labels = drawn("""
        .......
        .11111.
        .1.1.1.
        .1.111.
        .11111.""")
    same(FILL.apply(labels, 1, 2), "....... .11111. .11111. .11111. .11111.")
    same(FILL.apply(labels, 1, 1), "....... .11111. .1.111. .1.111. .11111.")


def test_an_outline_is_closed_also_where_only_corners_meet():
    same(FILL.apply(drawn("..1.. .1.1. ..1.."), 1, 9), "..1.. .111. ..1..")


@pytest.mark.parametrize(
    "text",
    [
        "11111 1...1 1.2.1 1...1 11111",  # holds another class
        "11111 1...2 1...1 1...1 11111",  # has another beside it
        "11.11 1...1 1...1 1...1 11111",  # is open to the picture's edge
        "1...1 1...1 11111 ..... .....",  # is at the picture's edge
        "..... 111.. ..1.. 111.. .....",  # is open
    ],
)
def test_what_is_no_hole(text):
    same(FILL.apply(drawn(text), 1, 100), text)


def test_holes_beside_those_that_are_none_are_filled():
    labels = drawn("1111111 1.121.1 11111.1 1.11111")
    same(FILL.apply(labels, 1, 9), "1111111 1112111 1111111 1.11111")
    # An island of the class itself is no other class.
    same(FILL.apply(drawn("11111 1...1 1.1.1 1...1 11111"), 1, 8), " ".join(["11111"] * 5))
    # The corner of another class is not beside it.
    same(FILL.apply(drawn("1112 1.11 1111"), 1, 1), "1112 1111 1111")
    same(FILL.apply(drawn("2111 1.11 1111"), 1, 1), "2111 1111 1111")


def test_drop_specks():
    labels = drawn("""
        1122222
        ....122
        .11..22
        .11...1""")
    same(DROP.apply(labels, 1, 2), "1122222 .....22 .11..22 .11....")
    same(DROP.apply(labels, 1, 3), "..22222 .....22 .11..22 .11....")
    same(DROP.apply(labels, 1, 5), "..22222 .....22 .....22 .......")
    same(DROP.apply(labels, 2, 100), "11..... ....1.. .11.... .11...1")


def test_a_speck_goes_to_the_label_with_the_longest_border_to_it():
    same(DROP.apply(drawn("3322 3112 .22."), 1, 9), "3322 3222 .22.")
    # Corners do not count.
    same(DROP.apply(drawn("393 918 393"), 1, 2), "393 998 393")
    # Of equally long ones the smaller label's.
    same(DROP.apply(drawn("332 312 .2."), 1, 9), "332 322 .2.")
    same(DROP.apply(drawn("999 313 999"), 1, 2), "999 333 999")
    same(DROP.apply(drawn("999 .1. 999"), 1, 2), "999 ... 999")


def test_a_thin_slanting_line_is_one_piece():
    text = "1.... .1... ..1.. ...1. ....1"
    same(DROP.apply(drawn(text), 1, 5), text)
    assert not DROP.apply(drawn(text), 1, 6).any()


@often
@given(maps, st.integers(2, 9))
def test_after_dropping_specks_the_pieces_are_as_they_were_or_gone(labels, size):
    changed = DROP.apply(labels, 1, size)
    components = label(labels == 1, connectivity=2)
    for number in range(1, components.max() + 1):
        piece = components == number
        if piece.sum() >= size or piece.all():
            assert (changed[piece] == 1).all()
            continue
        framed = np.pad(piece, 1)
        borders = np.zeros(3, int)
        for row, column in np.argwhere(piece):
            for down, right in ((0, 1), (1, 0), (0, -1), (-1, 0)):
                at = row + down, column + right
                in_map = 0 <= at[0] < labels.shape[0] and 0 <= at[1] < labels.shape[1]
                if in_map and not framed[at[0] + 1, at[1] + 1]:
                    borders[labels[at]] += 1
        assert (changed[piece] == borders.argmax()).all()
    others = labels != 1
    np.testing.assert_array_equal(changed[others], labels[others])


def test_smooth_takes_teeth_and_fills_notches():
    labels = drawn("""
        .........
        ....1....
        .1111111.
        .1111111.
        .1112111.
        2222.2222""")
    same(
        SMOOTH.apply(labels, 1, 1),
        "......... ......... .1111111. .1111111. .1111111. 2222.2222",
    )


@often
@given(maps, st.integers(1, 5))
def test_smooth_is_the_majority_of_the_disk_around_each_pixel(labels, size):
    around = disk(size).astype(bool)
    framed = np.pad(labels == 1, size, mode="symmetric")
    windows = np.lib.stride_tricks.sliding_window_view(framed, around.shape)
    majority = windows[..., around].mean(-1) > 0.5
    np.testing.assert_array_equal(SMOOTH.apply(labels, 1, size) == 1, majority)


@pytest.mark.parametrize("radius", [1, 3, 7])
def test_smooth_keeps_the_size_of_a_ragged_region(radius):
    random = np.random.default_rng(0)
    y, x = np.mgrid[-128:128, -128:128]
    ragged = (np.hypot(y, x) + 5 * random.normal(size=y.shape) < 80).astype(np.uint16)
    smooth = SMOOTH.apply(ragged, 1, radius)
    assert abs(smooth.sum() / ragged.sum() - 1) < 0.02
    assert label(smooth).max() < label(ragged).max() / 5  # the rags are gone


def test_smooth_leaves_a_straight_outline_at_the_picture_s_edge():
    labels = np.zeros((20, 20), np.uint16)
    labels[:, 8:] = 1
    np.testing.assert_array_equal(SMOOTH.apply(labels, 1, 5), labels)


def test_grow_and_shrink():
    dot = drawn("..... ..2.. ..1.. ..... .....")
    same(GROW.apply(dot, 1, 1), "..... ..1.. .111. ..1.. .....")
    same(GROW.apply(dot, 1, 2), "..1.. .111. 11111 .111. ..1..")
    square = drawn("2222222 2111112 2111112 2111112 2111112 2111113 .....33")
    shrunk = SHRINK.apply(square, 1, 1)
    assert (shrunk == 1).sum() == 9
    assert (shrunk[2:5, 2:5] == 1).all()
    assert shrunk[1:5, 1].tolist() == [2, 2, 2, 2]
    assert shrunk[5, 2:6].tolist() == [0, 0, 0, 3]
    assert (SHRINK.apply(square, 1, 2) == 1).sum() == 1
    assert (SHRINK.apply(square, 1, 3) == 1).sum() == 0


def test_nothing_is_lost_at_the_picture_s_edge():
    labels = drawn("11112 11112 11112")
    same(SHRINK.apply(labels, 1, 2), "11222 11222 11222")
    same(SHRINK.apply(drawn("111. 1111 1111"), 1, 1), "11.. 111. 1111")


@often
@given(maps, st.integers(1, 5))
def test_grow_and_shrink_go_by_distance(labels, size):
    inside = labels == 1
    if not inside.any() or inside.all():
        return
    grown = (distances(inside).min(1) <= size).reshape(labels.shape)
    np.testing.assert_array_equal(GROW.apply(labels, 1, size), np.where(grown, 1, labels))
    kept = (distances(~inside).min(1) > size).reshape(labels.shape)
    np.testing.assert_array_equal(SHRINK.apply(labels, 1, size) == 1, kept)


def test_what_has_no_class_can_be_put_right_too():
    same(DROP.apply(drawn("11.1 1111 ...."), 0, 2), "1111 1111 ....")
    same(SHRINK.apply(drawn("1.... 1...."), 0, 1), "11... 11...")


def test_box_around():
    mask = np.zeros((9, 12), bool)
    mask[3, 5] = mask[6, 2] = True
    assert box_around(mask) == (slice(3, 7), slice(2, 6))
    assert mask[box_around(mask, 2)].shape == (8, 8)
    assert mask[box_around(mask, 50)].shape == mask.shape


def test_instances_are_numbered_from_top_to_bottom():
    labels = drawn("""
        ...5.2
        55....
        .5.5..
        5.5..5""")
    numbered = instances(labels, 5)
    assert numbered.dtype == np.uint16
    same(numbered, "...1.. 22.... .2.2.. 2.2..3")


def two_discs(apart, shape=(60, 90)):
    y, x = np.mgrid[: shape[0], : shape[1]]
    discs = np.hypot(y - 30, x - 30) < 15.5, np.hypot(y - 25, x - 30 - apart) < 15.5
    return np.where(discs[0] | discs[1], 4, 0).astype(np.uint16), discs


def test_watershed_parts_what_touches():
    labels, (left, right) = two_discs(apart=26)
    assert instances(labels, 4).max() == 1
    numbered = instances(labels, 4, "watershed", distance=10)
    assert numbered.max() == 2
    # The right one begins further up.
    assert (numbered[right & ~left] == 1).all()
    assert (numbered[left & ~right] == 2).all()
    # Not where their middles are nearer than asked for.
    assert instances(labels, 4, "watershed", distance=40).max() == 1


@pytest.mark.parametrize("thickness", [1, 2, 9, 10])
def test_watershed_leaves_a_long_strip_whole(thickness):
    labels = np.zeros((30, 120), np.uint8)
    labels[5 : 5 + thickness, 4:110] = 1
    np.testing.assert_array_equal(instances(labels, 1, "watershed", distance=5), labels)


def test_a_class_that_fills_the_picture_is_one_instance():
    labels = np.full((30, 40), 7, np.uint16)
    for method in ("components", "watershed"):
        np.testing.assert_array_equal(instances(labels, 7, method), labels // 7)


@often
@given(maps, st.integers(1, 3))
def test_watershed_cuts_components_and_loses_nothing(labels, distance):
    if not (labels == 1).any():
        return
    pieces = instances(labels, 1)
    components = label(labels == 1, connectivity=2)
    assert pieces.max() == components.max()
    cut = instances(labels, 1, "watershed", distance)
    for numbered in (pieces, cut):
        np.testing.assert_array_equal(numbered > 0, labels == 1)
        values, first = np.unique(numbered, return_index=True)
        first = first[values > 0]
        np.testing.assert_array_equal(values[values > 0], np.arange(1, numbered.max() + 1))
        assert (np.diff(first) > 0).all()
    # Each thing lies in one component.
    pairs = set(zip(cut.ravel().tolist(), components.ravel().tolist(), strict=True))
    assert len(pairs) == len({thing for thing, _ in pairs})


def test_no_instances():
    with pytest.raises(NapariCliperError, match="id 3 has no pixel: paint some"):
        instances(drawn("12"), 3)


def test_too_many_instances():
    labels = np.zeros((512, 514), np.uint8)
    labels[::2, ::2] = 1
    assert instances(labels[:-2], 1).max() == 255 * 257
    with pytest.raises(NapariCliperError, match="into 65792 instances, and 65535 are the most"):
        instances(labels, 1)
