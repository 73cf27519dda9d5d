"""Another vision model says what timm's own module computes."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from timm.layers import RmsNorm
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from napari_cliper.cliper.compensation import AttentionSource, FeatureAffinity
from napari_cliper.cliper.preprocessing import to_pixels
from napari_cliper.cliper.steps import Step, drain
from napari_cliper.cliper.vision_model import VisionModel, VisionSelfAttention
from napari_cliper.errors import NapariCliperError
from reference_cases import stacked

PATCH = 14
NATIVE = (4, 4)
GRID = (3, 5)
PLACES = GRID[0] * GRID[1]
HEADS, BLOCKS = 3, 4
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
IMAGE = skimage.data.chelsea()
KINDS = {
    "plain": {},
    "layer scale": {"init_values": 1.0},
    "registers": {"reg_tokens": 4, "no_embed_class": True, "init_values": 1.0},
    "query and key norms": {"qk_norm": True},
    "RMS norms of queries and keys": {"qk_norm": True, "norm_layer": RmsNorm},
    "norm before the blocks": {"pre_norm": True},
    "no class token": {"class_token": False, "global_pool": "avg", "fc_norm": False},
}


def make_module(**more: Any) -> Any:
    """A transformer whose random weights are large enough for attention to be uneven."""
    torch.manual_seed(0)
    module = VisionTransformer(
        img_size=NATIVE[0] * PATCH,
        patch_size=PATCH,
        embed_dim=48,
        depth=BLOCKS,
        num_heads=HEADS,
        num_classes=0,
        **({"dynamic_img_size": True} | more),
    )
    for parameter in module.parameters():
        parameter.data.add_(torch.randn_like(parameter), alpha=0.4)
    return module.eval().requires_grad_(False)


@pytest.fixture(params=KINDS)
def module(request: pytest.FixtureRequest) -> Any:
    return make_module(**KINDS[request.param])


@pytest.fixture
def plain() -> VisionModel:
    return VisionModel(make_module(), MEAN, STD)


def pixels(grid: tuple[int, int]) -> Tensor:
    return to_pixels(IMAGE, grid, PATCH, MEAN, STD)


def attention_of(module: Any, grid: tuple[int, int], block: int) -> Tensor:
    """What timm's own attention computes on its unfused path, all tokens with all."""
    attention = module.blocks[block].attn
    seen: list[Tensor] = []
    hook = attention.attn_drop.register_forward_hook(lambda _, inputs, output: seen.append(output))
    attention.fused_attn = False
    module.forward_features(pixels(grid))
    attention.fused_attn = True
    hook.remove()
    return seen[0][0]


def test_what_it_is(plain: VisionModel) -> None:
    assert (plain.patch_size, plain.blocks, plain.heads) == (PATCH, BLOCKS, HEADS)
    assert (plain.device, plain.dtype) == (torch.device("cpu"), torch.float32)
    plain.model.bfloat16()
    assert plain.dtype == torch.bfloat16


@pytest.mark.parametrize("grid", [GRID, NATIVE])
def test_features_are_timms(module: Any, grid: tuple[int, int]) -> None:
    features = VisionModel(module, MEAN, STD).patch_features(IMAGE, grid)
    assert features.shape == (*grid, 48)
    assert features.dtype == torch.float32
    (expected,) = module.get_intermediate_layers(pixels(grid), norm=True, reshape=True)
    torch.testing.assert_close(features, expected[0].permute(1, 2, 0))
    (raw,) = module.get_intermediate_layers(pixels(grid), norm=False, reshape=True)
    assert (features - raw[0].permute(1, 2, 0)).abs().max() > 0.1


@pytest.mark.parametrize("block", [0, 2, -1])
def test_attention_is_timms(module: Any, block: int) -> None:
    maps = drain(VisionModel(module, MEAN, STD).attention_maps(IMAGE, GRID, block))
    assert maps.shape == (HEADS, PLACES, PLACES)
    assert maps.dtype == torch.float32
    expected = attention_of(module, GRID, block)
    prefix = expected.shape[-1] - PLACES
    torch.testing.assert_close(maps, expected[:, prefix:, prefix:], rtol=1e-4, atol=1e-6)
    # It is neither even nor without what the patches give to class and registers.
    assert maps.amax() > 2 / PLACES
    assert bool((maps.sum(dim=-1) < 0.999).any()) == bool(prefix)


def test_own_grid_has_the_positions_as_they_were_trained() -> None:
    """Both models are of one seed; the one that takes no other grid resizes nothing."""
    resizing, fixed = (
        VisionModel(make_module(dynamic_img_size=dynamic), MEAN, STD) for dynamic in (True, False)
    )
    torch.testing.assert_close(
        resizing.patch_features(IMAGE, NATIVE), fixed.patch_features(IMAGE, NATIVE)
    )
    maps = (drain(model.attention_maps(IMAGE, NATIVE, 1)) for model in (resizing, fixed))
    torch.testing.assert_close(*maps)


def test_negative_blocks_count_from_the_end(plain: VisionModel) -> None:
    first, last = (drain(plain.attention_maps(IMAGE, GRID, block)) for block in (0, BLOCKS - 1))
    assert torch.equal(drain(plain.attention_maps(IMAGE, GRID, -1)), last)
    assert torch.equal(drain(plain.attention_maps(IMAGE, GRID, -BLOCKS)), first)
    assert not torch.allclose(first, last, atol=1e-3)


@pytest.mark.parametrize("block", [BLOCKS, -BLOCKS - 1])
def test_block_that_is_not_there(plain: VisionModel, block: int) -> None:
    with pytest.raises(NapariCliperError, match=rf"no block {block}: choose one from 0 to 3"):
        drain(plain.attention_maps(IMAGE, GRID, block))


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float16, 5e-3), (torch.bfloat16, 5e-2)], ids=str
)
def test_half_precision(module: Any, dtype: torch.dtype, tolerance: float) -> None:
    model = VisionModel(module, MEAN, STD)
    features, maps = model.patch_features(IMAGE, GRID), drain(model.attention_maps(IMAGE, GRID, 1))
    module.to(dtype)
    half_features = model.patch_features(IMAGE, GRID)
    half_maps = drain(model.attention_maps(IMAGE, GRID, 1))
    assert half_features.dtype == half_maps.dtype == torch.float32
    assert (half_features - features).norm() <= 2 * tolerance * features.norm()
    assert (half_maps - maps).norm() <= 2 * tolerance * maps.norm()
    if not module.num_prefix_tokens:
        # A softmax in half precision would not sum to 1 so closely.
        torch.testing.assert_close(
            half_maps.sum(dim=-1), torch.ones(HEADS, PLACES), atol=1e-5, rtol=0
        )


def watched(module: nn.Module) -> list[int]:
    """The blocks that run from now on, in turn."""
    ran: list[int] = []
    for index, block in enumerate(module.blocks):
        block.register_forward_hook(lambda *_, index=index: ran.append(index))
    return ran


def test_one_step_a_block_and_none_after_the_wanted_one(plain: VisionModel) -> None:
    ran = watched(plain.model)
    steps: list[Step] = []
    drain(plain.attention_maps(IMAGE, GRID, 2), steps.append)
    assert [(step.done, step.total) for step in steps] == [(0, 3), (1, 3), (2, 3)]
    assert ran == [0, 1]  # of the wanted block, its queries and keys are enough


def test_cancelled_in_the_middle(plain: VisionModel) -> None:
    ran = watched(plain.model)
    work = plain.attention_maps(IMAGE, GRID, -1)
    next(work)
    assert ran == []
    next(work)
    work.close()
    assert ran == [0]


def test_no_gradients(plain: VisionModel) -> None:
    plain.model.requires_grad_(True)
    assert not plain.patch_features(IMAGE, GRID).requires_grad
    assert not drain(plain.attention_maps(IMAGE, GRID, 1)).requires_grad


def test_sources_of_compensation(plain: VisionModel) -> None:
    source: AttentionSource = VisionSelfAttention(plain, -2, GRID)
    maps, grid = drain(source.attention_maps(IMAGE))
    assert grid == GRID
    assert torch.equal(stacked(maps), drain(plain.attention_maps(IMAGE, GRID, BLOCKS - 2)))
    plain.model.norm.bias.zero_()  # or random features are all alike
    affinity = FeatureAffinity(partial(plain.patch_features, grid=GRID))
    noise = np.random.default_rng(0).integers(0, 256, (42, 70, 3), dtype=np.uint8)
    alike, grid = drain(affinity.attention_maps(noise))
    (only,) = stacked(alike)
    assert grid == GRID
    torch.testing.assert_close(only.sum(dim=-1), torch.ones(PLACES))
