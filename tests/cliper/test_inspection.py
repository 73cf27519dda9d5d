"""What there is to look at, against the same formed explicitly; towers and U-Net in miniature."""

from dataclasses import replace
from functools import cache, reduce
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor
from torch.nn import functional as F

from napari_cliper.benchmark import plain
from napari_cliper.cliper import Encoding, SharedSelfAttention, drain
from napari_cliper.cliper.compensation import HeadMaps
from napari_cliper.cliper.inspection import (
    AttentionView,
    attention_views,
    layer_colors,
    layer_similarity,
    place_of,
)
from napari_cliper.cliper.preprocessing import to_pixels
from reference_cases import Case

HEADS = [f"layer {layer}, head {head}" for layer in (1, 2) for head in range(1, 6)]
LAYERS = [f"Encoder, layer {layer}" for layer in range(1, 6)]
PLACES = [0, 37, 83]  # of the portrait's 12 × 7 patches; its compensation has 16 × 16
HALF = {"rtol": 2e-3, "atol": 1e-5}


@cache
def case(name: str = "portrait") -> Case:
    return Case(name)


@cache
def encode(name: str = "portrait", inspect: bool = True, **settings: object) -> Encoding:
    changed = replace(case(name).settings, **settings)
    engine = replace(case(name).engine, settings=changed)
    return drain(engine.encode(case(name).image, inspect))


@pytest.fixture(scope="module")
def encoding() -> Encoding:
    return encode()


def views_of(encoding: Encoding) -> dict[str, AttentionView]:
    views = attention_views(encoding)
    named = {view.name: view for view in views}
    assert len(named) == len(views)
    return named


def raw_maps(encoding: Encoding) -> Tensor:
    """Every head's softmax, formed in one piece."""
    assert encoding.inspection is not None
    maps = encoding.inspection.maps
    assert isinstance(maps, HeadMaps)
    layers = zip(maps.queries, maps.keys, strict=True)
    return torch.cat([(q @ k.mT / q.shape[-1] ** 0.5).softmax(dim=-1) for q, k in layers])


def prepared_maps(encoding: Encoding) -> Tensor:
    raw = raw_maps(encoding)
    relative = raw / (raw.amax(dim=1, keepdim=True) + 1e-5)
    kept = relative.where(relative >= encoding.settings.activation_threshold, 0)
    return kept / (kept.sum(dim=2, keepdim=True) + 1e-5)


def assert_mostly_close(found: Tensor, expected: Tensor) -> None:
    """Rounding may move an entry over the threshold."""
    assert np.isclose(found, expected, rtol=1e-3, atol=1e-6).mean() > 0.998


# Compensation


@pytest.mark.parametrize("fusion", ["product", "mean", 3])
@pytest.mark.parametrize("variant", ["reference", "paper"])
def test_the_fused_row_is_that_of_the_fused_matrix(fusion: str | int, variant: str) -> None:
    encoding = encode(head_fusion=fusion, variant=variant)
    maps = raw_maps(encoding) if variant == "paper" else prepared_maps(encoding)
    if fusion == "product":
        matrix = reduce(torch.matmul, maps)
    else:
        matrix = maps.mean(dim=0) if fusion == "mean" else maps[3]
    view = views_of(encoding)["Compensation, fused"]
    assert view.grid == (16, 16)
    for place in (0, 100, 255):
        row = view.row(place)
        assert row.dtype == torch.float32
        assert_allclose(row.sum(), 1, atol=2e-3)  # eq. 9's small constants take a little
        assert_mostly_close(row, matrix[place])
        assert not np.isclose(row, matrix[:, place], rtol=1e-3, atol=1e-6).all()


def test_rows_are_what_refines_the_coarse_map(encoding: Encoding) -> None:
    classes = case().text[0]
    scores = case().engine.score(encoding, *case().text)
    assert len(scores.refined) == len(classes)
    coarse = F.interpolate(scores.coarse[None], (16, 16), mode="bilinear")[0].flatten(1)
    row = views_of(encoding)["Compensation, fused"].row(49)
    assert_allclose(scores.refined.flatten(1)[:, 49], coarse @ row, rtol=1e-4)


@pytest.mark.parametrize("fusion", ["product", "mean", 3])
def test_every_head_before_and_after_preparation(fusion: str | int) -> None:
    encoding = encode(head_fusion=fusion)
    views = views_of(encoding)
    states = {"raw": raw_maps(encoding), "prepared": prepared_maps(encoding)}
    for state, maps in states.items():
        for name, map_ in zip(HEADS, maps, strict=True):
            view = views[f"Compensation, {name}, {state}"]
            assert view.group == f"Compensation, each head, {state}"
            assert view.grid == (16, 16)
            for place in (0, 100, 255):
                assert_allclose(view.row(place).sum(), 1, atol=1e-4)
                assert_mostly_close(view.row(place), map_[place])
    fused = views["Compensation, fused"].row(7)
    rows = torch.stack([views[f"Compensation, {name}, prepared"].row(7) for name in HEADS])
    if fusion == "mean":
        assert_mostly_close(rows.mean(dim=0), fused)
    elif fusion == 3:
        assert_mostly_close(rows[3], fused)


def test_a_raw_row_forms_no_map(encoding: Encoding, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = raw_maps(encoding)
    real = HeadMaps.rows

    def watched(self: HeadMaps, index: int, rows: slice) -> Tensor:
        found = real(self, index, rows)
        assert len(found) == 1, "a map was formed"
        return found

    monkeypatch.setattr(HeadMaps, "rows", watched)
    views = views_of(encoding)
    for name, map_ in zip(HEADS, expected, strict=True):
        row = views[f"Compensation, {name}, raw"].row(100)
        assert_allclose(row, map_[100], rtol=1e-4, atol=1e-8)


def test_preparing_a_fused_head_looks_at_its_map_once(monkeypatch: pytest.MonkeyPatch) -> None:
    view = views_of(encode(head_fusion="mean"))["Compensation, layer 2, head 1, prepared"]
    formed = []
    real = HeadMaps.rows

    def watched(self: HeadMaps, index: int, rows: slice) -> Tensor:
        found = real(self, index, rows)
        if len(found) > 1:
            formed.append(index)
        return found

    monkeypatch.setattr(HeadMaps, "rows", watched)
    for place in range(5):
        view.row(place)
    assert formed == [5]


def test_attention_shared_with_the_tower() -> None:
    """Dense maps, all of one layer; the class token keeps its share."""
    engine = replace(case().engine, attention_source=SharedSelfAttention(2))
    encoding = drain(engine.encode(case().image, inspect=True))
    views = views_of(encoding)
    heads = attentions()[2]
    assert len(heads) == 2
    for name, map_ in zip(("head 1", "head 2"), heads[:, 1:, 1:], strict=True):
        row = views[f"Compensation, {name}, raw"].row(37)
        assert views[f"Compensation, {name}, raw"].grid == encoding.grid == (12, 7)
        assert_allclose(row, map_[37], rtol=1e-3, atol=1e-6)
        assert 0.5 < row.sum() < 1


# Encoder


def pixels() -> Tensor:
    encoder = case().engine.image_encoder
    return to_pixels(case().image, (12, 7), encoder.patch_size, encoder.mean, encoder.std)


@cache
def attentions() -> list[Tensor]:
    """Self-attention of all blocks but the last, by torch's own module, (heads, T, T) each."""
    visual = case().clip.visual
    tokens, found = plain.tokens_of(visual, pixels()), []
    with torch.no_grad():
        for block in visual.transformer.resblocks[:-1]:
            weights, tokens = plain.attend(block, tokens)
            found.append(weights)
    return found


def test_every_layer_is_the_mean_over_its_heads(encoding: Encoding) -> None:
    views = views_of(encoding)
    means = [heads.mean(dim=0) for heads in attentions()]
    for first, second in pairwise(means):  # else an order would not show
        assert not np.allclose(first, second, **HALF)
    for place in PLACES:
        for name, mean in zip(LAYERS, means, strict=True):
            row = views[name].row(place)
            assert views[name].group == "Encoder, each layer"
            assert views[name].grid == (12, 7)
            assert row.dtype == torch.float32
            assert_allclose(row, mean[1 + place, 1:], **HALF)
            assert_allclose(row.sum(), 1 - mean[1 + place, 0], rtol=1e-3)
        row = views["Encoder, all layers, before normalisation"].row(place)
        assert_allclose(row, sum(means)[1 + place, 1:] / 5, **HALF)


def test_every_layer_normalised_by_itself(encoding: Encoding) -> None:
    views = views_of(encoding)
    for name, heads in zip(LAYERS, attentions(), strict=True):
        expected = plain.symmetric(plain.balanced(heads.mean(dim=0)))
        view = views[f"{name}, normalised"]
        assert view.group == "Encoder, each layer, normalised"
        for place in PLACES:
            row = view.row(place)
            assert_allclose(row, expected[1 + place, 1:], rtol=2e-2, atol=2e-4)
            assert_allclose(row.sum(), 1 - expected[1 + place, 0], atol=2e-3)
            assert (row == 0).any()  # what is not above the mean has gone


def test_normalising_happens_once_and_only_where_asked_for(
    encoding: Encoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_cliper.cliper.last_block import BalancedAttention

    rounds = []
    real = BalancedAttention.next_round
    monkeypatch.setattr(
        BalancedAttention, "next_round", lambda self: (rounds.append(1), real(self))[1]
    )
    views = views_of(encoding)
    views["Encoder, layer 1"].row(0)
    assert not rounds
    for place in PLACES:
        views["Encoder, layer 1, normalised"].row(place)
    assert len(rounds) == 1


def test_attention_that_is_even_or_nothing_gives_no_nan(encoding: Encoding) -> None:
    even = torch.full((85, 85), 1 / 85).half()
    unseen = torch.eye(85).half()
    unseen[3] = torch.eye(85)[2].half()  # nobody looks at token 3
    assert encoding.inspection is not None
    inspection = replace(encoding.inspection, layers=(even, unseen))
    views = views_of(replace(encoding, inspection=inspection))
    for layer in (1, 2):
        rows = torch.stack([views[f"Encoder, layer {layer}, normalised"].row(p) for p in PLACES])
        assert rows.isfinite().all()
    assert (rows[range(3), PLACES] > 0.9).all()  # one that nobody looks at spoils no other


@pytest.mark.parametrize(("name", "early"), [("portrait", 0), ("sliding", "all")])
def test_fused_attention_is_the_encodings_own(name: str, early: int | str) -> None:
    encoding = encode(name, early_layers=early)
    row = views_of(encoding)["Encoder, fused (Ā)"].row(5)
    assert_allclose(row, encoding.attention[5], rtol=0)


# Which views there are


def test_all_that_can_be_looked_at(encoding: Encoding) -> None:
    assert list(views_of(encoding)) == [
        "Compensation, fused",
        *(f"Compensation, {head}, prepared" for head in HEADS),
        *(f"Compensation, {head}, raw" for head in HEADS),
        "Encoder, fused (Ā)",
        "Encoder, all layers, before normalisation",
        *LAYERS,
        *(f"{layer}, normalised" for layer in LAYERS),
    ]
    grids: dict[str, set[tuple[int, int]]] = {}
    for view in attention_views(encoding):
        grids.setdefault(view.group, set()).add(view.grid)
        assert view.row(0).shape == (view.grid[0] * view.grid[1],)
    assert all(len(found) == 1 for found in grids.values())


@pytest.mark.parametrize(
    ("settings", "more"),
    [
        ({}, [f"Compensation, {head}, prepared" for head in HEADS]),
        (
            {"variant": "paper", "early_layers": "all"},
            [f"Compensation, {head}, raw" for head in HEADS],
        ),
        ({"head_fusion": "mean"}, []),
        ({"head_fusion": 3}, []),
    ],
)
def test_without_inspection_there_is_what_the_encoding_has(
    settings: dict[str, object], more: list[str]
) -> None:
    encoding = encode(inspect=False, **settings)
    assert encoding.inspection is None
    assert list(views_of(encoding)) == ["Compensation, fused", *more, "Encoder, fused (Ā)"]
    inspected = views_of(encode(**settings))
    for name, view in views_of(encoding).items():
        assert torch.equal(view.row(3), inspected[name].row(3))


def test_the_papers_equations_prepare_and_normalise_nothing() -> None:
    encoding = encode(variant="paper", early_layers="all")
    views = views_of(encoding)
    assert list(views) == [
        "Compensation, fused",
        *(f"Compensation, {head}, raw" for head in HEADS),
        "Encoder, fused (Ā)",
        *LAYERS,
    ]
    layers = torch.stack([views[name].row(37) for name in LAYERS])
    assert_allclose(views["Encoder, fused (Ā)"].row(37), layers.sum(dim=0) / 6, **HALF)
    for head, map_ in zip(HEADS, raw_maps(encoding), strict=True):
        row = views[f"Compensation, {head}, raw"].row(100)
        assert_allclose(row, map_[100], rtol=1e-3, atol=1e-6)  # applied as it is kept


def test_the_fused_attention_is_named_after_what_it_is() -> None:
    encoding = encode(attention="query-query", compensate=False)
    assert encoding.inspection is not None
    assert encoding.inspection.maps is None
    views = views_of(encoding)
    assert next(iter(views)) == "Encoder, query-query (Ā)"
    assert not any(name.startswith("Compensation") for name in views)
    bare = encode(inspect=False, attention="vanilla", compensate=False, early_layers=0)
    assert list(views_of(bare)) == ["Encoder, vanilla (Ā)"]


def test_an_affinity_is_one_map_that_nothing_prepares() -> None:
    views = views_of(encode("affinity"))
    assert [name for name in views if name.startswith("Comp")] == ["Compensation, fused"]
    assert_allclose(views["Compensation, fused"].row(9).sum(), 1, rtol=1e-5)


# What it costs


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("portrait", {}),
        ("portrait", {"variant": "paper"}),
        ("portrait", {"compensate": False, "attention": "identity"}),
        ("portrait", {"compensate": False, "attention": "vanilla", "early_layers": 0}),
        ("portrait", {"compensate": False, "early_layers": 2}),
        ("portrait", {"head_fusion": "mean"}),
        ("affinity", {}),
        ("sliding", {"early_layers": "all"}),
    ],
)
def test_segmenting_does_not_notice(name: str, settings: dict[str, object]) -> None:
    plain_, looked_at = (encode(name, inspect, **settings) for inspect in (False, True))
    assert plain_.inspection is None
    assert looked_at.inspection is not None
    # Where no attention is looked at, a fused kernel makes it, and rounds otherwise.
    seen = plain_.settings.attention == "fused"
    rounding = {"rtol": 0, "atol": 0} if seen else {"rtol": 1e-3, "atol": 1e-5}
    torch.testing.assert_close(plain_.embeddings, looked_at.embeddings, **rounding)
    torch.testing.assert_close(plain_.attention, looked_at.attention, **rounding)
    if plain_.compensation is not None:
        assert looked_at.compensation is not None
        kept, again = plain_.compensation.maps, looked_at.compensation.maps
        assert torch.equal(kept.shares, again.shares)
        assert torch.equal(kept.scale, again.scale)
    if plain_.sliding is not None:
        assert looked_at.sliding is not None
        assert torch.equal(plain_.sliding.embeddings, looked_at.sliding.embeddings)
    engine = case(name).engine
    scores = [engine.score(each, *case(name).text) for each in (plain_, looked_at)]
    torch.testing.assert_close(scores[0].refined, scores[1].refined, **rounding)
    labels = [engine.label(each) for each in scores]
    assert torch.equal(labels[0].labels, labels[1].labels)


def test_what_is_kept(encoding: Encoding) -> None:
    """One half-precision matrix a layer, and queries and keys, not maps, of the U-Net's heads."""
    assert encoding.inspection is not None
    assert len(encoding.inspection.layers) == 5
    assert encoding.inspection.embeddings.shape == (6, 84, 64)
    for layer in encoding.inspection.layers:
        assert layer.shape == (85, 85)
        assert layer.untyped_storage().nbytes() == 2 * 85**2
    maps = encoding.inspection.maps
    assert isinstance(maps, HeadMaps)
    for part in (*maps.queries, *maps.keys):
        assert part.untyped_storage().nbytes() == 4 * part.numel() < 4 * 5 * 256**2 / 10
    sliding = encode("sliding", early_layers="all").inspection
    assert sliding is not None
    assert len(sliding.layers) == 5  # the whole picture's, not the crops'


# Places, colours, likeness


@pytest.mark.parametrize(
    ("point", "place"),
    [
        ((0, 0), 0),
        ((-0.5, -0.5), 0),
        ((29, 49), 23),
        ((29.49, 49.49), 23),
        ((9.49, 0), 0),
        ((9.5, 0), 8),
        ((0, 6.25), 1),  # pixels 0 to 5, and a quarter of the sixth
        ((0, 5.74), 0),
        ((0, 5.76), 1),
        ((-100, 1e300), 7),
        ((1e9, -3), 16),
        ((15.2, 30), 8 + 4),
    ],
)
def test_place_of(point: tuple[float, float], place: int) -> None:
    assert place_of(point, (30, 50), (3, 8)) == place


def test_every_pixel_lies_in_its_own_place() -> None:
    """Pixel centres at (i + 0.5) / H of the height, as the maps are resized."""
    found = [[place_of((y, x), (6, 8), (3, 4)) for x in range(8)] for y in range(6)]
    assert_allclose(found, np.kron(np.arange(12).reshape(3, 4), np.ones((2, 2))))


@pytest.mark.parametrize(("early", "inspect"), [("all", True), (0, True), (3, True), (3, False)])
def test_similarity_with_the_last_layer(early: str | int, inspect: bool) -> None:
    """Of all layers, whatever the settings make use of, where they were kept for it."""
    encoding = encode(inspect=inspect, early_layers=early, compensate=False)
    with torch.no_grad():
        tower = plain.tower(case().clip.visual, pixels(), "fused", "reference", whole=False)
    layers = tower.embeddings if inspect else tower.embeddings[-3:]
    found = layer_similarity(encoding, 37)
    assert found.shape == (len(layers), 12, 7)
    for likeness, layer in zip(found, layers, strict=True):
        expected = [F.cosine_similarity(layer[37], last, dim=0) for last in layers[-1]]
        assert_allclose(likeness.flatten(), expected, atol=1e-4)
    assert found[-1].flatten().argmax() == 37


def with_embeddings(encoding: Encoding, embeddings: Tensor) -> Encoding:
    return replace(encoding, embeddings=embeddings, inspection=None)


def test_colours_are_the_principal_components(encoding: Encoding) -> None:
    colors = layer_colors(encoding)
    assert colors.shape == (6, 12, 7, 3)
    assert colors.dtype == torch.float32
    assert colors.min() == 0
    assert colors.max() == 1
    last = encoding.embeddings[-1]
    left, sizes, _ = np.linalg.svd((last - last.mean(dim=0)).double().numpy())
    scores = left[:, :3] * sizes[:3]
    low, high = np.quantile(scores, [0.01, 0.99], axis=0)
    expected = np.clip((scores - low) / (high - low), 0, 1)
    for found, component in zip(colors[-1].flatten(0, 1).T, expected.T, strict=True):
        same, mirrored = (abs(found.numpy() - c).max() for c in (component, 1 - component))
        assert min(same, mirrored) < 1e-3


def test_layers_that_differ_by_a_turn_have_the_same_colours(encoding: Encoding) -> None:
    """So neither signs nor the order of components change from layer to layer."""
    random = torch.Generator().manual_seed(3)
    last = encoding.embeddings[-1]
    turns = torch.linalg.qr(torch.randn(3, 64, 64, generator=random)).Q
    layers = torch.stack([*(last @ turn for turn in turns), last])
    colors = layer_colors(with_embeddings(encoding, layers))
    for layer in colors[:-1]:
        assert_allclose(layer, colors[-1], atol=1e-3)


def test_colours_do_not_depend_on_how_many_layers_there_are(encoding: Encoding) -> None:
    fewer = layer_colors(with_embeddings(encoding, encoding.embeddings[-2:]))
    assert_allclose(fewer, layer_colors(encoding)[-2:], atol=1e-4)
    assert torch.equal(fewer, layer_colors(with_embeddings(encoding, encoding.embeddings[-2:])))


def test_colours_do_not_depend_on_the_sign_that_a_processor_finds(
    encoding: Encoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = layer_colors(encoding)
    real = torch.linalg.eigh
    flips = torch.tensor([1.0, -1.0]).repeat(8)
    monkeypatch.setattr(
        torch.linalg, "eigh", lambda matrix: (None, real(matrix).eigenvectors * flips)
    )
    assert_allclose(layer_colors(encoding), expected, atol=1e-4)


def test_alike_places_have_like_colours(encoding: Encoding) -> None:
    random = torch.Generator().manual_seed(3)
    kinds = F.normalize(torch.randn(4, 64, generator=random), dim=1)
    which = torch.arange(84) % 4
    noise = 0.01 * torch.randn(2, 84, 64, generator=random)
    colors = layer_colors(
        with_embeddings(encoding, F.normalize(kinds[which] + noise, dim=-1))
    ).flatten(1, 2)
    for layer in colors:
        middles = torch.stack([layer[which == kind].mean(dim=0) for kind in range(4)])
        assert (layer - middles[which]).abs().max() < 0.1
        assert torch.pdist(middles).min() > 0.3


@pytest.mark.parametrize("noise", [0, 1e-7])
def test_a_picture_that_is_even_is_grey(encoding: Encoding, noise: float) -> None:
    random = torch.Generator().manual_seed(3)
    even = F.normalize(torch.ones(2, 84, 64), dim=-1)
    even = even + noise * torch.randn(2, 84, 64, generator=random)
    assert_allclose(layer_colors(with_embeddings(encoding, even)), 0.5, atol=0.01)
