"""Looking into the encodings of the small preset's real weights."""

from dataclasses import replace

import numpy as np
import pytest
import skimage.data
import torch
from skimage.transform import resize

import napari_cliper as nc
from napari_cliper.cliper.inspection import layer_colors, layer_similarity
from napari_cliper.inspector import Inspector
from napari_cliper.models.choices import Choices
from napari_cliper.segmenter import Segmenter, drain, load_steps

QUICK = ["settings.shorter_side=224"]  # a quarter of the patches
FOREHEAD, DARK = (100.0, 250.0), (150.0, 440.0)


@pytest.fixture(scope="module")
def model() -> Segmenter:
    return nc.load("small", device="cpu", changes=[*QUICK, "settings.early_layers=all"])


@pytest.fixture(scope="module")
def cat() -> np.ndarray:
    return skimage.data.cat()


@pytest.fixture(scope="module")
def inspector(model: Segmenter, cat: np.ndarray) -> Inspector:
    return Inspector(model.encode(cat, inspect=True))


def share(attention: np.ndarray, mask: np.ndarray) -> tuple[float, float]:
    """Of the attention, and of the picture, that lies on the mask."""
    covered = resize(mask.astype(float), attention.shape, order=1, anti_aliasing=True)
    return float((attention * covered).sum() / attention.sum()), float(covered.mean())


def test_the_cat_attends_to_the_cat(
    model: Segmenter, inspector: Inspector, cat: np.ndarray
) -> None:
    labels = model.segment(inspector.encoding, "cat").labels
    mask = labels == 1
    assert 0.3 < mask.mean() < 0.83
    for view in ("Compensation, fused", "Encoder, fused (Ā)"):
        attention = inspector.at(FOREHEAD, view)
        assert attention.dtype == np.float32
        assert attention.shape == inspector.encoding.grid
        assert attention.sum() == pytest.approx(1, abs=0.01)
        on_cat, chance = share(attention, mask)
        assert on_cat > chance + 0.15
        on_cat, _ = share(inspector.at(DARK, view), mask)
        assert on_cat < chance - 0.4
    # Where attention goes is where it is looked from, and not mirrored or turned.
    row, column = np.unravel_index(attention.argmax(), attention.shape)
    high, wide = inspector.stretch(attention.shape)
    assert abs((row + 0.5) * high - FOREHEAD[0]) < 60
    assert abs((column + 0.5) * wide - FOREHEAD[1]) < 60


def test_a_segmentation_is_the_same_bit_by_bit(
    model: Segmenter, inspector: Inspector, cat: np.ndarray
) -> None:
    model.encodings.clear()  # or what can be looked into would be taken
    usual = model.encode(cat)
    assert usual.inspection is None
    assert torch.equal(usual.embeddings, inspector.encoding.embeddings)
    expected = model.segment(usual, "cat; sofa")
    found = model.segment(inspector.encoding, "cat; sofa")
    np.testing.assert_array_equal(found.scores, expected.scores)
    np.testing.assert_array_equal(found.labels, expected.labels)


def test_groups_are_the_stacked_views(inspector: Inspector) -> None:
    groups = {view.group for view in inspector.views}
    assert {"Compensation, each head, raw", "Encoder, each layer, normalised"} < groups
    for group in groups:
        names = [view.name for view in inspector.views if view.group == group]
        stack = inspector.stack_at(FOREHEAD, group)
        assert stack.dtype == np.float32
        assert len(stack) == len(names)
        assert (stack >= 0).all()
        for name, attention in zip(names, stack, strict=True):
            np.testing.assert_array_equal(attention, inspector.at(FOREHEAD, name))
    assert len(inspector.stack_at(FOREHEAD, "Encoder, each layer")) == 11
    assert len(inspector.stack_at(FOREHEAD, "Compensation, each head, prepared")) == 6


def test_what_is_returned_may_be_written_to(inspector: Inspector) -> None:
    for view in inspector.views:
        before = inspector.at(DARK, view.name).copy()
        inspector.at(DARK, view.name)[:] = 7
        np.testing.assert_array_equal(inspector.at(DARK, view.name), before)


def test_colours_and_likeness(inspector: Inspector) -> None:
    encoding = inspector.encoding
    colors = inspector.colors()
    assert colors.shape == (12, *encoding.grid, 3)
    np.testing.assert_array_equal(colors, layer_colors(encoding))
    forehead, dark = (colors[-1][place(inspector, at)] for at in (FOREHEAD, DARK))
    assert np.abs(forehead - dark).max() > 0.3
    likeness = inspector.similarity(FOREHEAD)
    row, column = place(inspector, FOREHEAD)
    expected = layer_similarity(encoding, row * encoding.grid[1] + column)
    np.testing.assert_array_equal(likeness, expected)
    assert likeness[-1][row, column] == pytest.approx(1, abs=1e-5)
    assert likeness[-1][place(inspector, DARK)] < 0.8


def place(inspector: Inspector, point: tuple[float, float]) -> tuple[int, int]:
    high, wide = inspector.stretch(inspector.encoding.grid)
    return int((point[0] + 0.5) / high), int((point[1] + 0.5) / wide)


def test_maps_cover_the_picture(inspector: Inspector, cat: np.ndarray) -> None:
    rows, columns = inspector.encoding.grid
    high, wide = inspector.stretch((rows, columns))
    assert (rows * high, columns * wide) == pytest.approx(cat.shape[:2])


def test_points_outside_lie_on_the_border(inspector: Inspector) -> None:
    view = "Encoder, layer 3"
    outside = inspector.at((-40, 10_000), view)
    np.testing.assert_array_equal(outside, inspector.at((0, 450), view))
    assert not np.array_equal(outside, inspector.at((299, 0), view))


@pytest.mark.parametrize("point", [(np.nan, 3), (3, np.inf), (1, 2, 3), 4, None, ("left", "right")])
def test_no_point(inspector: Inspector, point: object) -> None:
    for look in (
        lambda: inspector.at(point, "Compensation, fused"),
        lambda: inspector.stack_at(point, "Encoder, each layer"),
        lambda: inspector.similarity(point),
    ):
        with pytest.raises(nc.NapariCliperError, match=r"no point .*: give two finite numbers"):
            look()


def test_no_such_view(inspector: Inspector) -> None:
    for name in ("layer 3", "", "Encoder, each layer"):
        with pytest.raises(nc.NapariCliperError, match=f"no attention “{name}” here: choose"):
            inspector.at(FOREHEAD, name)
    with pytest.raises(nc.NapariCliperError, match="here: choose a name or a group"):
        inspector.stack_at(FOREHEAD, "Encoder, layer 3")
    blind = Inspector(replace(inspector.encoding, inspection=None))
    assert [view.name for view in blind.views] == ["Compensation, fused", "Encoder, fused (Ā)"]
    with pytest.raises(nc.NapariCliperError, match=r"here: encode .* with inspect=True"):
        blind.at(FOREHEAD, "Encoder, layer 3")


@pytest.mark.parametrize(
    ("method", "name"), [("cliper-star", "fused"), ("clip", "vanilla"), ("maskclip", "identity")]
)
def test_methods_without_compensation(
    model: Segmenter, cat: np.ndarray, method: str, name: str
) -> None:
    other = drain(load_steps("small", "cpu", choices=Choices(method, changes=QUICK), before=model))
    inspector = Inspector(other.encode(cat, inspect=True))
    names = [view.name for view in inspector.views]
    assert names[0] == f"Encoder, {name} (Ā)"
    assert not any(name.startswith("Compensation") for name in names)
    assert len(inspector.encoding.embeddings) == 1
    assert inspector.colors().shape == (12, *inspector.encoding.grid, 3)
    assert inspector.similarity(DARK).shape == (12, *inspector.encoding.grid)
    blind = Inspector(replace(inspector.encoding, inspection=None))
    assert blind.colors().shape == (1, *inspector.encoding.grid, 3)
    assert blind.similarity(DARK).shape == (1, *inspector.encoding.grid)
    assert len(inspector.stack_at(DARK, "Encoder, each layer")) == 11
