"""Models that are small, or real."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import napari_cliper as nc
from napari_cliper.benchmark import measure, random_weights
from napari_cliper.benchmark.random_weights import random_segmenter
from napari_cliper.models.presets import get_preset
from napari_cliper.models.schema import Preset
from napari_cliper.segmenter import Segmenter

CPU = torch.device("cpu")


TINY = """
extends = "base"
templates = ["a photo of a {}.", "{}"]
encoder.architecture = "ViT-S-32-alt"
settings.shorter_side = 128
"""


@pytest.fixture(scope="module")
def preset_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The preset `base`, but everything is small, the attention maps being the largest."""
    repository = get_preset("base").compensation.weights.repo
    unet = {"sample_size": 32, "attention_head_dim": 2, "cross_attention_dim": 32}
    unet |= {"block_out_channels": (32, 64, 64, 64)}
    vae = {"block_out_channels": (32, 64)}
    vae |= {name: random_weights.VAE[name][:2] for name in ("down_block_types", "up_block_types")}
    file = tmp_path_factory.mktemp("preset") / "tiny.toml"
    file.write_text(TINY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(random_weights, "VAE", random_weights.VAE | vae)
        patch.setitem(random_weights.UNETS, repository, unet)
        patch.setitem(measure.SIDE, "cpu", 64)
        patch.setattr(measure, "LEAST", 0)
        yield file


@pytest.fixture(scope="module")
def preset(preset_file: Path) -> Preset:
    return get_preset(preset_file)


@pytest.fixture(scope="module")
def tiny(preset: Preset) -> Segmenter:
    return random_segmenter(preset, CPU, torch.float32)


@pytest.fixture(scope="session")
def small() -> Segmenter:
    """The preset `small` with its weights, and a quarter of its patches."""
    return nc.load("small", device="cpu", precision="float32", changes="settings.shorter_side=224")
