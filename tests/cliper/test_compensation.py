import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from napari_cliper.cliper import Settings, pieces
from napari_cliper.cliper.compact_maps import CompactMaps
from napari_cliper.cliper.compensation import (
    Compensation,
    HeadMaps,
    WholeMaps,
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
    whole = WholeMaps(MAPS)
    assert_allclose(dense(prepare_maps(whole, 0.3, "product")), expected, rtol=1e-3)
    assert_allclose(dense(prepare_maps(whole, 0.3, "mean")), [np.mean(expected, axis=0)], rtol=1e-3)
    assert_allclose(dense(prepare_maps(whole, 0.3, 1)), expected[1:2], rtol=1e-3)
    assert_allclose(MAPS, before)


def test_refining_is_the_product_of_all_maps() -> None:
    compensation = Compensation(CompactMaps.of(MAPS), (2, 3))
    coarse = torch.rand(4, 2, 3)
    kept = dense(compensation.maps)
    assert_allclose(kept, MAPS, rtol=1e-3)
    product = kept[0] @ kept[1] @ kept[2]
    expected = (product @ coarse.flatten(1).T).T.reshape(4, 2, 3)
    assert_allclose(compensation.refine(coarse), expected, rtol=1e-5)
    assert_allclose(compensation.received().flatten(), product.sum(dim=0), rtol=1e-5)


def test_the_coarse_map_may_have_another_grid() -> None:
    same = Compensation(CompactMaps.of(torch.eye(24)[None]), (4, 6))
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


def dense(maps: CompactMaps) -> torch.Tensor:
    return torch.stack(list(maps))


def stacked(maps: HeadMaps) -> torch.Tensor:
    return torch.stack([maps.rows(index, slice(None)) for index in range(len(maps))])


def heads(count: int, places: int, seed: int) -> torch.Tensor:
    return torch.randn(count, places, 8, generator=torch.Generator().manual_seed(seed))


def test_maps_of_heads_are_made_when_asked_for() -> None:
    queries, keys = (heads(2, 9, 0), heads(3, 9, 1)), (heads(2, 9, 2), heads(3, 9, 3))
    maps = HeadMaps(queries, keys)
    assert len(maps) == 5
    expected = torch.cat(
        [(q @ k.mT / 8**0.5).softmax(dim=-1) for q, k in zip(queries, keys, strict=True)]
    )
    assert_allclose(stacked(maps), expected, rtol=1e-5)
    assert_allclose(maps.rows(-1, slice(3, 5)), expected[4, 3:5], rtol=1e-5)
    with pytest.raises(IndexError):
        maps.rows(5, slice(0, 1))
    found, wanted = (prepare_maps(each, 0.2, "product") for each in (maps, WholeMaps(expected)))
    assert_allclose(dense(found), dense(wanted), rtol=1e-3)
    half = HeadMaps(tuple(q.half() for q in queries), tuple(k.half() for k in keys))
    assert half.rows(0, slice(0, 2)).dtype == torch.float32
    assert_allclose(stacked(half), expected, atol=2e-3)


def test_only_maps_that_are_wanted_are_made() -> None:
    """Of Stable Diffusion 1's sixteen maps of 64 MB each, and some rows at a time."""
    made: set[int] = set()

    class Counted(HeadMaps):
        def rows(self, index: int, rows: slice) -> torch.Tensor:
            made.add(index)
            part = super().rows(index, rows)
            assert part.nbytes <= pieces.largest(part.device)
            return part

    maps = Counted((heads(8, 1100, 0),), (heads(8, 1100, 1),))
    assert pieces.largest(maps.device) < 4 * 1100**2
    for fusion, wanted in (("product", range(8)), ("mean", range(8)), (3, [3])):
        made.clear()
        prepare_maps(maps, 0.1, fusion)  # type: ignore[arg-type]
        assert made == {*wanted}


def test_the_papers_maps_are_taken_as_they_are() -> None:
    raw = prepare(WholeMaps(MAPS), (2, 3), Settings(variant="paper"))
    assert_allclose(dense(raw.maps), MAPS, rtol=1e-3)
    mean = prepare(WholeMaps(MAPS), (2, 3), Settings(variant="paper", head_fusion="mean"))
    assert_allclose(mean.maps[0], MAPS.mean(dim=0), rtol=1e-3)


def test_a_map_that_is_not_there() -> None:
    with pytest.raises(NapariCliperError, match=r"no attention map 3: .* from 0 to 2"):
        prepare(WholeMaps(MAPS), (2, 3), Settings(head_fusion=3))
