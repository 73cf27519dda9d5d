import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import Tensor

from napari_cliper.cliper import Compensation, Encoding, Scores, Settings
from napari_cliper.cliper.compact_maps import CompactMaps
from napari_cliper.cliper.labelling import Labeller, Thresholds
from napari_cliper.cliper.scribbles import Scribbles, scribbles

# A strip of six places, four pixels wide each; attention joins the first three, and the last three.
GRID, SIZE = (1, 6), (4, 24)
BLOCKS = torch.block_diag(torch.full((3, 3), 1 / 3), torch.full((3, 3), 1 / 3))
USUAL = Thresholds(0.3, 0.3)
# The first class is everywhere on the left, the second on the right; the third is hardly there.
MAPS = torch.tensor([[0.8, 0.8, 0.7, 0.1, 0, 0], [0, 0, 0.1, 0.6, 0.7, 0.8], [0, 0, 0, 0, 0, 0.1]])
PRESENCE = torch.tensor([0.8, 0.8, 0.1])


def strokes(*marks: tuple[int, int]) -> Tensor:
    """One pixel a mark: (column, label)."""
    drawn = torch.full(SIZE, -1)
    for column, label in marks:
        drawn[1, column] = label
    return drawn


def carried(drawn: Tensor, maps: Tensor = BLOCKS[None], classes: int = 3) -> Scribbles:
    return scribbles(drawn, classes, BLOCKS, GRID, Compensation(CompactMaps.of(maps), GRID))


def labeller(given: Scribbles | None, order: list[int] | None = None) -> Labeller:
    chosen = order or [0, 1, 2]
    maps = MAPS[:, None]
    return Labeller(maps[chosen], PRESENCE[chosen], SIZE, normalise=False, scribbles=given)


def labels(given: Scribbles | None, thresholds: Thresholds = USUAL) -> Tensor:
    return labeller(given).labels(thresholds)


@pytest.mark.parametrize("background", [0.3, 0.0])
def test_no_strokes_change_nothing(background: float) -> None:
    thresholds = Thresholds(0.3, background)
    plain, empty = labeller(None), labeller(carried(strokes()))
    assert_array_equal(empty.labels(thresholds), plain.labels(thresholds))
    assert_array_equal(empty.uncertainty(thresholds), plain.uncertainty(thresholds))
    assert_array_equal(empty.scores(), plain.scores())
    assert_array_equal(empty.present(thresholds), plain.present(thresholds))


@pytest.mark.parametrize("background", [0.3, 0.0])
def test_strokes_go_where_attention_goes_and_no_further(background: float) -> None:
    thresholds = Thresholds(0.3, background)
    before, after = labels(None, thresholds), labels(carried(strokes((2, 2))), thresholds)
    assert (before[:, :10] == 1).all()
    assert (after[:, :10] == 2).all()
    # Between the two middle places scores are interpolated.
    assert_array_equal(after[:, 14:], before[:, 14:])


def test_a_stroke_of_the_background_removes() -> None:
    before, after = labels(None), labels(carried(strokes((2, 0))))
    assert (after[:, :10] == 0).all()
    assert_array_equal(after[:, 14:], before[:, 14:])


def test_a_stroke_brings_in_a_class_as_far_as_it_reaches() -> None:
    low = Thresholds(0.3, 0.05)  # below what the third class has at the right end
    assert 3 not in labels(None, low)
    one = labeller(carried(strokes((2, 3))))
    assert one.present(low).tolist() == [True, True, True]
    # It joins those that are said to be there, too.
    for known in (None, torch.tensor([True, False, False])):
        after = one.labels(low, known)
        assert (after[:, :10] == 3).all()
        assert 3 not in after[:, 14:]
    whole = one.labels(low, torch.tensor([True, False, True]))
    assert 3 in whole[:, 14:]


@pytest.mark.parametrize("background", [0.0, 0.3, 1.0])
def test_stroked_pixels_have_their_label(background: float) -> None:
    # Three labels side by side: none can win all of the places they share.
    drawn = strokes((2, 0), (3, 3), (4, 2), (20, 1), (21, 0))
    one = labeller(carried(drawn))
    where = drawn >= 0
    thresholds = Thresholds(0.9, background)
    assert_array_equal(one.labels(thresholds)[where], drawn[where])
    assert (one.uncertainty(thresholds)[where] == 0).all()
    assert one.uncertainty(thresholds).max() > 0


def test_the_order_of_classes_does_not_matter() -> None:
    order = [2, 0, 1]
    drawn = strokes((2, 3), (9, 0), (21, 1), (23, 2))
    position = torch.tensor([0, *(1 + order.index(index) for index in range(3))])
    moved = torch.where(drawn >= 0, position[drawn], -1)
    expected = position[labels(carried(drawn)).long()]
    assert_array_equal(labeller(carried(moved), order).labels(USUAL), expected)
    assert len(expected.unique()) == 4


def test_a_stroke_counts_the_same_beside_another() -> None:
    alone = carried(strokes((2, 2))).reach
    both = carried(strokes((2, 2), (20, 0))).reach
    assert_array_equal(both[2], alone[2])
    assert_array_equal(alone[[0, 1, 3]], torch.zeros(3, *GRID))


def test_maps_are_applied_from_the_right() -> None:
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(3, 6, 6, generator=generator)
    attention = torch.rand(6, 6, generator=generator)
    drawn = strokes((2, 1), (3, 1), (9, 1), (20, 2))
    given = scribbles(drawn, 3, attention, GRID, Compensation(CompactMaps.of(maps), GRID))
    kept = CompactMaps.of(maps)
    product = kept[0] @ kept[1] @ kept[2]
    for label, seeds in ((1, [1, 0, 0.5, 0, 0, 0]), (2, [0, 0, 0, 0, 0, 1.0])):
        column = torch.tensor(seeds)
        expected = (product @ column) * (column @ attention)
        assert_allclose(given.reach[label, 0], expected / expected.max(), rtol=1e-5)
    assert given.reach.max() == 1
    without = scribbles(drawn, 3, attention, GRID, None)
    assert_allclose(without.reach[2, 0], attention[5] / attention[5].max(), rtol=1e-5)


def test_other_grids_and_tiny_pictures() -> None:
    attention, maps = torch.rand(4, 4), torch.rand(2, 30, 30)
    drawn = torch.tensor([[1, -1, -1], [-1, -1, 0]])
    given = scribbles(drawn, 2, attention, (2, 2), Compensation(CompactMaps.of(maps), (5, 6)))
    assert given.reach.shape == (3, 5, 6)
    assert_allclose(given.reach.amax(dim=(1, 2)), [1, 1, 0])
    assert given.pixels.tolist() == [0, 5]


def test_faint_attention_carries_as_far() -> None:
    faint = carried(strokes((2, 2)), maps=BLOCKS.expand(10, 6, 6) * 1e-3)
    assert_allclose(faint.reach, carried(strokes((2, 2))).reach, rtol=1e-4)


def test_coarse_labels_hear_the_strokes_too() -> None:
    attention, maps = BLOCKS, torch.rand(2, 24, 24)
    encoding = Encoding(
        SIZE,
        GRID,
        torch.zeros(1, 6, 2),
        attention,
        Settings(),
        Compensation(CompactMaps.of(maps), (2, 12)),
    )
    drawn = strokes((2, 2), (22, 0))
    coarse, refined = MAPS[:, None], torch.rand(3, 2, 12)
    given = encoding.scribbles(drawn, classes=3)
    scores = Scores(SIZE, coarse, refined, PRESENCE, given)
    for refinement in (0, 0.5, 1):
        found = scores.labeller(Settings(), refinement).labels(USUAL)
        assert_array_equal(found[drawn >= 0], drawn[drawn >= 0])
    heard = scores.coarse_labeller(Settings()).labels(USUAL)
    deaf = Scores(SIZE, coarse, refined, PRESENCE).coarse_labeller(Settings()).labels(USUAL)
    assert (heard != deaf).sum() > (drawn >= 0).sum()
