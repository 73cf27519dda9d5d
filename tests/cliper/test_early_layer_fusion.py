"""The image tower against the same written plainly, in sizes that no reference case has."""

import numpy as np
import open_clip
import pytest
import skimage.data
import torch
from numpy.testing import assert_allclose
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from torch import Tensor
from torch.nn import functional as F

from napari_cliper.benchmark import plain
from napari_cliper.cliper import CLIPer, ImageEncoder, Settings, TextEncoder, drain
from napari_cliper.cliper.early_layer_fusion import fuse_early_layers
from reference_cases import fill_by_name

CLOSE = {"atol": 2e-5, "rtol": 1e-4}


def encoder_of(patch: int, width: int, layers: int, embed: int = 48) -> ImageEncoder:
    vision = CLIPVisionCfg(
        layers=layers, width=width, patch_size=patch, image_size=4 * patch, head_width=64
    )
    text = CLIPTextCfg(width=64, heads=1, layers=1, vocab_size=64)
    clip = CLIP(embed, vision, text, quick_gelu=True).eval()
    fill_by_name(clip, seed=5)
    return ImageEncoder(clip.visual, open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)


@pytest.fixture(scope="module")
def encoder() -> ImageEncoder:
    return encoder_of(patch=14, width=192, layers=4)


def pixels_of(encoder: ImageEncoder, rows: int, columns: int) -> Tensor:
    random = torch.Generator().manual_seed(1)
    size = rows * encoder.patch_size, columns * encoder.patch_size
    return torch.randn(1, 3, *size, generator=random)


def embed(encoder: ImageEncoder, pixels: Tensor, **settings: object) -> tuple[Tensor, Tensor]:
    """Unit patch embeddings, and Ā."""
    features = drain(fuse_early_layers(encoder, pixels, Settings(**settings)))  # type: ignore[arg-type]
    return F.normalize(features.embeddings[:, 1:], dim=-1), features.attention


@torch.no_grad()
@pytest.mark.parametrize("variant", ["reference", "paper"])
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(
    "kind",
    [
        "fused",
        "query-query",
        "key-key",
        "value-value",
        "query-query+key-key",
        "vanilla",
        "identity",
    ],
)
def test_every_attention_is_what_it_says(
    encoder: ImageEncoder, kind: str, whole: bool, variant: str
) -> None:
    pixels = pixels_of(encoder, 5, 7)
    expected = plain.tower(encoder.visual, pixels, kind, variant, whole)
    units, attention = embed(
        encoder, pixels, attention=kind, variant=variant, whole_last_block=whole
    )
    assert len(units) == (3 if variant == "paper" else 4)
    assert_allclose(units, torch.stack(expected.embeddings), **CLOSE)
    assert_allclose(attention, expected.attention, **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("sizes", [(16, 128, 2), (32, 256, 3), (14, 64, 5)])
def test_other_sizes(sizes: tuple[int, int, int]) -> None:
    encoder = encoder_of(*sizes)
    pixels = pixels_of(encoder, 3, 4)
    expected = plain.tower(encoder.visual, pixels, "fused", "reference", whole=False)
    units, attention = embed(encoder, pixels)
    assert_allclose(units, torch.stack(expected.embeddings), **CLOSE)
    assert_allclose(attention, expected.attention, **CLOSE)


@torch.no_grad()
def test_vanilla_with_the_whole_last_block_is_clip_itself(encoder: ImageEncoder) -> None:
    """On the native grid, where open_clip can say what the tower gives."""
    pixels = pixels_of(encoder, 4, 4)
    features = drain(
        fuse_early_layers(
            encoder, pixels, Settings(attention="vanilla", whole_last_block=True, early_layers=0)
        )
    )
    assert_allclose(features.embeddings[0, :1], encoder.visual(pixels), **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("variant", ["reference", "paper"])
def test_fewer_layers_are_the_last_ones(encoder: ImageEncoder, variant: str) -> None:
    pixels = pixels_of(encoder, 4, 5)
    all_layers, _ = embed(encoder, pixels, variant=variant)
    two, _ = embed(encoder, pixels, variant=variant, early_layers=2)
    assert_allclose(two, all_layers[-2:], **CLOSE)
    last, _ = embed(encoder, pixels, variant=variant, early_layers=0)
    assert_allclose(last, all_layers[-1:], **CLOSE)


@torch.no_grad()
def test_the_papers_attention_is_not_balanced(encoder: ImageEncoder) -> None:
    """A = (1/N) Σ_{n<N} Aⁿ: the rows of all tokens sum to (N-1)/N, so those of patches to less."""
    _, attention = embed(encoder, pixels_of(encoder, 4, 4), variant="paper")
    assert attention.sum(dim=1).max() < 3 / 4


def engine_of(encoder: ImageEncoder, settings: Settings) -> CLIPer:
    text = TextEncoder(torch.Tensor.float, lambda _: torch.zeros(0), len, 77, torch.device("cpu"))
    return CLIPer(encoder, text, None, settings)


def rows_of(count: int, seed: int) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, 48, generator=random), dim=1)


@torch.no_grad()
@pytest.mark.parametrize("background", [0, 3])
@pytest.mark.parametrize(
    ("size", "crop", "stride"),
    [
        ((112, 112), 0, 112),
        ((112, 168), 56, 28),  # 8 × 12 patches, divides evenly
        ((112, 154), 56, 42),  # the last crops are shifted back
        ((140, 112), 84, 42),
        ((112, 112), 196, 98),  # crops larger than the picture
    ],
)
def test_coarse_map(
    encoder: ImageEncoder, size: tuple[int, int], crop: int, stride: int, background: int
) -> None:
    image = skimage.data.astronaut()[: size[0], 100 : 100 + size[1]]
    settings = Settings(
        shorter_side=112,
        selected_layer=-2,
        logit_scale=30.0,
        activation_threshold=0.2,
        sliding_crop=crop,
        sliding_stride=stride,
    )
    engine = engine_of(encoder, settings)
    encoding = drain(engine.encode(image))
    words = rows_of(4, 2), rows_of(background, 3)
    found = engine.score(encoding, *words).coarse
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (encoder.mean, encoder.std))
    pixels = (torch.from_numpy(image.copy()).permute(2, 0, 1) / 255 - mean) / std
    expected = plain.coarse(encoder.visual, pixels[None], *words, 30.0, 0.2, -2, crop, stride)
    assert_allclose(found.flatten(1), expected, atol=1e-4, rtol=1e-3)


@torch.no_grad()
def test_the_papers_coarse_map_is_the_mean_of_the_cosines(encoder: ImageEncoder) -> None:
    image = skimage.data.astronaut()[:112, :140]
    engine = engine_of(encoder, Settings(shorter_side=112, variant="paper"))
    encoding = drain(engine.encode(image))
    classes = rows_of(3, 2)
    scores = engine.score(encoding, classes, rows_of(2, 3))
    cosines = torch.stack([classes @ layer.T for layer in encoding.embeddings])
    assert len(cosines) == 3
    assert_allclose(scores.coarse.flatten(1), cosines.mean(dim=0), **CLOSE)


@torch.no_grad()
def test_a_map_that_is_not_spread_is_the_probability_itself(encoder: ImageEncoder) -> None:
    image = skimage.data.astronaut()[:112, :140]
    settings = Settings(shorter_side=112, early_layers=0, spread=False, attention="identity")
    engine = engine_of(encoder, settings)
    encoding = drain(engine.encode(image))
    classes = rows_of(3, 2)
    scores = engine.score(encoding, classes, rows_of(0, 3))
    logits = plain.logits_of(encoding.embeddings[0], classes, rows_of(0, 3), 100)
    assert_allclose(scores.coarse.flatten(1), logits.softmax(dim=0)[:3], **CLOSE)


class Features:
    """Another vision model that sees two halves."""

    patch_size = 28

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    def patch_features(self, image: np.ndarray, grid: tuple[int, int]) -> Tensor:
        self.asked.append(grid)
        features = torch.zeros(*grid, 2)
        half = grid[1] // 2
        features[:, :half, 0] = features[:, half:, 1] = 1
        return features


@torch.no_grad()
@pytest.mark.parametrize("crop", [0, 56])
def test_proxy_attention_keeps_to_what_the_other_model_finds_alike(
    encoder: ImageEncoder, crop: int
) -> None:
    model = Features()
    settings = Settings(
        shorter_side=112, attention="proxy", early_layers=0, sliding_crop=crop, sliding_stride=56
    )
    engine = engine_of(encoder, settings)
    engine = CLIPer(engine.image_encoder, engine.text_encoder, None, settings, model)
    encoding = drain(engine.encode(skimage.data.astronaut()[:112, :112]))
    assert model.asked == [(4, 4)]
    attention = encoding.attention.unflatten(1, encoding.grid).unflatten(0, encoding.grid)
    # Columns well inside a half attend to that half alone.
    assert_allclose(attention[:, 0, :, :3].sum(dim=(1, 2)) > 0, True)
    assert_allclose(attention[:, 0, :, 5:], 0)
    if crop:
        assert encoding.sliding is not None
        crops = encoding.sliding.attention.unflatten(1, encoding.grid).unflatten(0, encoding.grid)
        # The left crops lie in the left half, so all is alike there: their attention is even.
        assert_allclose(crops[0, 0, :4, :3], crops[0, 0, 0, 0], rtol=1e-4)
        assert_allclose(crops[0, 0, :, 4:], 0)
