import weakref

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from napari_cliper.cliper import Settings
from napari_cliper.cliper.compensation import (
    Compensation,
    HeadMaps,
    affinity_map,
    prepare,
    prepare_maps,
)
from napari_cliper.errors import NapariCliperError

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


def test_affinity_of_a_picture_that_is_alike_all_over() -> None:
    """The mean likeness is above 1 / 1.2 there, so that nothing is alike enough."""
    features = torch.ones(2, 3, 4) + 0.01 * torch.rand(2, 3, 4)
    assert_allclose(affinity_map(features)[0], torch.eye(6))


def heads(count: int, places: int, seed: int) -> torch.Tensor:
    return torch.randn(count, places, 8, generator=torch.Generator().manual_seed(seed))


def test_maps_of_heads_are_made_when_asked_for() -> None:
    queries, keys = (heads(2, 9, 0), heads(3, 9, 1)), (heads(2, 9, 2), heads(3, 9, 3))
    maps = HeadMaps(queries, keys)
    assert len(maps) == 5
    expected = torch.cat(
        [(q @ k.mT / 8**0.5).softmax(dim=-1) for q, k in zip(queries, keys, strict=True)]
    )
    assert_allclose(maps.stacked(), expected, rtol=1e-5)
    assert_allclose(maps[-1], expected[4], rtol=1e-5)
    with pytest.raises(IndexError):
        maps[5]
    assert_allclose(
        prepare_maps(maps, 0.2, "product"), prepare_maps(expected, 0.2, "product"), rtol=1e-4
    )
    half = HeadMaps(tuple(q.half() for q in queries), tuple(k.half() for k in keys))
    assert half[0].dtype == torch.float32
    assert_allclose(half.stacked(), expected, atol=2e-3)


def test_few_maps_are_in_memory_at_a_time() -> None:
    """Of Stable Diffusion 1's sixteen maps of 64 MB each one is wanted: the others are not made."""
    alive: list[weakref.ref[torch.Tensor]] = []

    class Counted(HeadMaps):
        def __getitem__(self, index: int) -> torch.Tensor:
            assert sum(map_() is not None for map_ in alive) <= 1
            map_ = super().__getitem__(index)
            alive.append(weakref.ref(map_))
            return map_

    maps = Counted((heads(8, 9, 0), heads(8, 9, 1)), (heads(8, 9, 2), heads(8, 9, 3)))
    for fusion, made in (("product", 16), ("mean", 16), (3, 1)):
        alive.clear()
        prepare_maps(maps, 0.1, fusion)  # type: ignore[arg-type]
        assert len(alive) == made


def test_the_papers_maps_are_taken_as_they_are() -> None:
    raw = prepare(MAPS, (2, 3), Settings(variant="paper"))
    assert_allclose(raw.maps, MAPS)
    mean = prepare(MAPS, (2, 3), Settings(variant="paper", head_fusion="mean"))
    assert_allclose(mean.maps[0], MAPS.mean(dim=0))


def test_a_map_that_is_not_there() -> None:
    with pytest.raises(NapariCliperError, match=r"no attention map 3: .* from 0 to 2"):
        prepare(MAPS, (2, 3), Settings(head_fusion=3))
