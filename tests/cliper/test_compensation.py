import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from napari_cliper.cliper.compensation import Compensation, affinity_map, prepare_maps

MAPS = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(0))


def by_hand(attention: np.ndarray, threshold: float) -> np.ndarray:
    attention = attention / (attention.max(axis=0) + 1e-5)
    attention = np.where(attention < threshold, 0, attention)
    return attention / (attention.sum(axis=1, keepdims=True) + 1e-5)


def test_maps_are_prepared_one_by_one() -> None:
    before = MAPS.clone()
    expected = [by_hand(attention.numpy(), 0.3) for attention in MAPS]
    assert_allclose(prepare_maps(MAPS, 0.3, "product"), expected, rtol=1e-5)
    assert_allclose(prepare_maps(MAPS, 0.3, "mean"), [np.mean(expected, axis=0)], rtol=1e-5)
    assert_allclose(prepare_maps(MAPS, 0.3, 1), expected[1:2], rtol=1e-5)
    assert_allclose(MAPS, before)


def test_refining_is_the_product_of_all_maps() -> None:
    compensation = Compensation(MAPS, (2, 3))
    coarse = torch.rand(4, 2, 3)
    product = MAPS[0] @ MAPS[1] @ MAPS[2]
    expected = (product @ coarse.flatten(1).T).T.reshape(4, 2, 3)
    assert_allclose(compensation.refine(coarse), expected, rtol=1e-5)
    assert_allclose(compensation.received().flatten(), product.sum(dim=0), rtol=1e-5)


def test_the_coarse_map_may_have_another_grid() -> None:
    same = Compensation(torch.eye(24)[None], (4, 6))
    refined = same.refine(torch.ones(2, 3, 3))
    assert refined.shape == (2, 4, 6)
    assert_allclose(refined, 1)


def test_affinity_keeps_to_what_is_alike() -> None:
    features = torch.zeros(1, 4, 2)
    features[0, :2, 0] = 1
    features[0, 2:, 1] = 1
    affinity = affinity_map(features)[0]
    assert_allclose(affinity.sum(dim=1), 1, rtol=1e-6)
    assert affinity[0, 1] == pytest.approx(0.5)
    assert affinity[0, 2] == 0
