import torch
from numpy.testing import assert_allclose, assert_array_equal

from napari_cliper.cliper.labelling import label_map, presence, score_maps
from napari_cliper.cliper.settings import Settings

# Two classes on a 1 × 4 strip; the first is surer.
MAPS = torch.tensor([[[0.8, 0.4, 0.1, 0.0]], [[0.0, 0.1, 0.2, 0.4]]])
PRESENCE = torch.tensor([0.8, 0.4])
SIZE = (1, 4)


def labels(**settings: float) -> list[int]:
    thresholds = {"presence_threshold": 0.0, "background_threshold": 0.3} | settings
    return label_map(MAPS, PRESENCE, SIZE, Settings(**thresholds))[0].tolist()  # type: ignore[arg-type]


def test_the_best_score_above_the_threshold_wins() -> None:
    # Scores are map / maximum * presence: 0.8 0.4 0.1 0 and 0 0.1 0.2 0.4.
    assert labels() == [1, 1, 0, 2]
    assert labels(background_threshold=0.05) == [1, 1, 2, 2]
    assert labels(background_threshold=0.6) == [1, 0, 0, 0]


def test_a_class_that_is_not_present_enough_is_dropped() -> None:
    assert labels(presence_threshold=0.5) == [1, 1, 0, 0]
    assert labels(presence_threshold=0.5, background_threshold=0.05) == [1, 1, 1, 0]


def test_without_a_threshold_the_background_has_a_score() -> None:
    # (1 - 0.8)² < 0.8, (1 - 0.4)² < 0.4, (1 - 0.2)² > 0.2
    assert labels(background_threshold=0) == [1, 1, 0, 2]


def test_normalised_scores_span_zero_to_one() -> None:
    maps = torch.tensor([[[0.2, 0.3, 0.4]]])
    (score,) = score_maps(maps, torch.tensor([0.4]), (1, 3), normalise=True)
    assert_allclose(score, [[0, 0.5, 1]], atol=1e-3)


def test_labels_have_the_pictures_size() -> None:
    assert label_map(MAPS, PRESENCE, (30, 40), Settings()).shape == (30, 40)


def test_presence_is_the_mean_of_both_maxima() -> None:
    coarse, refined = torch.rand(3, 5, 5), torch.rand(3, 7, 7)
    expected = [(c.max() + r.max()) / 2 for c, r in zip(coarse, refined, strict=True)]
    assert_array_equal(presence(coarse, refined), expected)
