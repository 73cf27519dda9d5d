import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch.nn import functional as F

from napari_cliper.cliper.labelling import (
    Labeller,
    Thresholds,
    presence,
    refined_in_part,
    resized_rows,
)
from napari_cliper.errors import NapariCliperError

# Two classes on a 1 × 4 strip; the first is surer.
MAPS = torch.tensor([[[0.8, 0.4, 0.1, 0.0]], [[0.0, 0.1, 0.2, 0.4]]])
PRESENCE = torch.tensor([0.8, 0.4])
SIZE = (1, 4)


def labeller(normalise: bool = False) -> Labeller:
    return Labeller(MAPS, PRESENCE, SIZE, normalise)


def labels(presence: float = 0.0, background: float = 0.3) -> list[int]:
    return labeller().labels(Thresholds(presence, background))[0].tolist()


def test_the_best_score_above_the_threshold_wins() -> None:
    # Scores are map / maximum * presence: 0.8 0.4 0.1 0 and 0 0.1 0.2 0.4.
    assert labels() == [1, 1, 0, 2]
    assert labels(background=0.05) == [1, 1, 2, 2]
    assert labels(background=0.6) == [1, 0, 0, 0]


def test_a_class_that_is_not_present_enough_is_dropped() -> None:
    assert labels(presence=0.5) == [1, 1, 0, 0]
    assert labels(presence=0.5, background=0.05) == [1, 1, 1, 0]
    assert labels(presence=0.9) == [0, 0, 0, 0]


def test_without_a_threshold_the_background_has_a_score() -> None:
    # (1 - 0.8)² < 0.8, (1 - 0.4)² < 0.4, (1 - 0.2)² > 0.2
    assert labels(background=0) == [1, 1, 0, 2]
    assert labels(presence=1, background=0) == [1, 1, 0, 2]


def test_known_classes_alone_are_labelled() -> None:
    known = torch.tensor([False, True])
    assert labeller().labels(Thresholds(0.9, 0.3), known)[0].tolist() == [0, 0, 0, 2]


def test_the_same_labeller_answers_at_other_thresholds() -> None:
    one = labeller()
    for presence_, background in [(0, 0.3), (0.5, 0.3), (0.5, 0.05), (0, 0.05), (0, 0), (0, 0.3)]:
        again = one.labels(Thresholds(presence_, background))
        assert again[0].tolist() == labels(presence_, background)


def test_normalised_scores_span_zero_to_one() -> None:
    maps = torch.tensor([[[0.2, 0.3, 0.4]]])
    score = Labeller(maps, torch.tensor([0.4]), (1, 3), normalise=True).scores()
    assert_allclose(score, [[[0, 0.5, 1]]], atol=1e-3)


def test_what_is_below_zero_is_background() -> None:
    maps = torch.tensor([[[-0.5, 0.5]], [[-0.2, -0.1]]])
    lowest = Labeller(maps, torch.tensor([0.5, -0.1]), (1, 2), normalise=False)
    assert lowest.labels(Thresholds(0, 0.001))[0].tolist() == [0, 1]


def test_the_more_alike_the_two_best_the_less_certain() -> None:
    uncertain = labeller().uncertainty(Thresholds(0, 0.3))
    # Against the background's 0.3: 0.8, 0.4, then 0.3 against 0.2, then 0.4.
    assert_allclose(uncertain[0], [0.5, 0.9, 0.9, 0.9], atol=1e-4)
    alone = labeller().uncertainty(Thresholds(0.5, 0.05))
    assert_allclose(alone[0], [0.25, 0.65, 0.95, 0.95], atol=1e-4)


@pytest.mark.parametrize("grid", [(64, 64), (24, 36), (5, 7)])
@pytest.mark.parametrize("size", [(300, 451), (20, 31), (5, 7), (65, 129)])
@pytest.mark.parametrize("normalise", [False, True])
def test_plain_interpolation_gives_the_same(
    grid: tuple[int, int], size: tuple[int, int], normalise: bool
) -> None:
    maps = torch.randn(6, *grid, generator=torch.manual_seed(0))
    sure = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5, 0.1])
    plain = F.interpolate(maps[None], size, mode="bilinear", align_corners=False)[0]
    plain = plain / (plain.amax(dim=(1, 2), keepdim=True) + 1e-5) * sure[:, None, None]
    if normalise:
        plain = plain - plain.amin(dim=(1, 2), keepdim=True)
        plain = plain / (plain.amax(dim=(1, 2), keepdim=True) + 1e-6)
    one = Labeller(maps, sure, size, normalise)
    assert_allclose(one.scores(), plain, atol=1e-5)
    best, winner = plain[:5].max(dim=0)
    expected = torch.where(best >= 0.3, winner + 1, 0)
    assert (one.labels(Thresholds(0.2, 0.3)) == expected).float().mean() > 0.9999


def test_many_rows_come_in_parts() -> None:
    maps = torch.rand(3, 4, 4)
    parts = list(resized_rows(maps, (1000, 900)))
    assert len(parts) > 1
    assert [rows.start for rows, _ in parts] == [0, *(rows.stop for rows, _ in parts[:-1])]
    assert parts[-1][0].stop == 1000
    assert sum(part.shape[1] for _, part in parts) == 1000


def test_presence_is_the_mean_of_both_maxima() -> None:
    coarse, refined = torch.rand(3, 5, 5), torch.rand(3, 7, 7)
    expected = [(c.max() + r.max()) / 2 for c, r in zip(coarse, refined, strict=True)]
    assert_array_equal(presence(coarse, refined), expected)


def test_refinement_goes_from_the_coarse_map_to_the_refined_one() -> None:
    coarse, refined = torch.rand(3, 5, 5), torch.rand(3, 7, 7)
    assert refined_in_part(coarse, refined, 0) is coarse
    assert refined_in_part(coarse, refined, 1) is refined
    half = refined_in_part(coarse, refined, 0.5)
    resized = F.interpolate(coarse[None], (7, 7), mode="bilinear", align_corners=False)[0]
    assert_allclose(half, (resized + refined) / 2, atol=1e-6)


@pytest.mark.parametrize("thresholds", [(-0.1, 0.5), (0.5, 1.1), (float("nan"), 0.5)])
def test_thresholds_lie_between_0_and_1(thresholds: tuple[float, float]) -> None:
    with pytest.raises(NapariCliperError, match="give 0 to 1"):
        Thresholds(*thresholds)


def test_parts_are_labelled_as_the_whole() -> None:
    maps = torch.randn(6, 13, 9, generator=torch.manual_seed(0))
    one = Labeller(maps, torch.linspace(0.1, 0.9, 6), (130, 97), normalise=True)
    thresholds = Thresholds(0.2, 0.5)
    parts = [(slice(top, top + 65), slice(left, 97)) for top in (0, 65) for left in (0, 50)]
    whole = one.labels(thresholds)
    for part, labels in zip(parts, one.labels_by_part(parts, thresholds), strict=True):
        assert (labels == whole[part]).float().mean() > 0.999
