"""CLIP and Stable Diffusion at full size with random weights: shapes, memory and the whole way.

Their real weights are gigabytes and are not fetched by tests; what they compute is held by the
reference tensors (tests/cliper/test_parity.py).
"""

import numpy as np
import pytest
import skimage.data
import torch
from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel

from napari_cliper.benchmark.memory import peak_bytes
from napari_cliper.cliper import (
    CLIPer,
    Compensation,
    DiffusionSelfAttention,
    ImageEncoder,
    Settings,
    TextEncoder,
    drain,
)
from napari_cliper.cliper.compensation import HeadMaps, prepare
from napari_cliper.models.loading import make_settings
from napari_cliper.models.presets import get_preset

pytestmark = pytest.mark.slow

MIB = 2**20


@torch.no_grad()
def test_the_large_preset_with_random_weights() -> None:
    import open_clip

    preset = get_preset("large")
    torch.manual_seed(0)
    clip = open_clip.create_model(preset.encoder.architecture).eval()
    source = DiffusionSelfAttention(
        AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
        ).eval(),
        UNet2DConditionModel(
            sample_size=64,
            attention_head_dim=(5, 10, 20, 20),
            cross_attention_dim=1024,
            use_linear_projection=True,
        ).eval(),
        PNDMScheduler(skip_prk_steps=True, steps_offset=1, beta_schedule="scaled_linear"),
        torch.randn(1, 77, 1024),
    )
    tokenizer = open_clip.get_tokenizer(preset.encoder.architecture)
    engine = CLIPer(
        ImageEncoder(clip.visual, preset.encoder.mean, preset.encoder.std),
        TextEncoder(clip.encode_text, tokenizer, len, 77, torch.device("cpu")),
        source,
        make_settings(preset),
    )
    encoding = drain(engine.encode(skimage.data.cat()))
    assert encoding.grid == (24, 36)
    assert encoding.embeddings.shape == (24, 24 * 36, 768)
    assert encoding.compensation is not None
    assert encoding.compensation.grid == (64, 64)
    maps = encoding.compensation.maps
    assert maps.shares.shape == (10, 4096, 4096)
    for map_ in maps:
        np.testing.assert_allclose(map_.sum(dim=-1), 1, atol=1e-2)
    rows = drain(engine.encode_text(["cat", "sofa"], ["a photo of a {}."]))
    scores = engine.score(encoding, rows, rows[:0])
    assert scores.refined.isfinite().all()
    assert engine.label(scores).labels.shape == (300, 451)


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "heads", "width", "maps"),
    [("Stable Diffusion 2.1", 5, 64, 10), ("Stable Diffusion 1.5", 8, 40, 16)],
)
def test_memory_of_the_maps(name: str, heads: int, width: int, maps: int) -> None:
    """A finished map takes 32 MiB; besides these there is one at a time, of 64 MiB."""
    random = [torch.randn(heads, 4096, width) for _ in range(4)]
    made: list[Compensation] = []

    def make() -> None:
        made.append(prepare(HeadMaps(tuple(random[:2]), tuple(random[2:])), (64, 64), Settings()))

    cpu = torch.device("cpu")
    peak = peak_bytes(make, cpu)
    (operator,) = made
    used = peak_bytes(lambda: operator.refine(torch.rand(20, 24, 36)), cpu)
    assert peak is not None
    assert used is not None
    print(f"{name}: {maps} maps, {operator.maps.nbytes / MIB:.0f} MiB; peak {peak / MIB:.0f} MiB")
    assert len(operator.maps) == maps
    assert operator.maps.nbytes == maps * (2 * 4096**2 + 4 * 4096)
    assert operator.maps.nbytes < peak <= operator.maps.nbytes + 64 * MIB + 32 * MIB
    assert used <= 16 * MIB
