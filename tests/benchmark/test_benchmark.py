"""The benchmark measures what it says: both ways do the same step, and ours does less."""

import json

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from typer.testing import CliRunner

from napari_cliper.benchmark import random_weights
from napari_cliper.benchmark.measure import Figures, Measured, measure, rate, summed
from napari_cliper.benchmark.random_weights import random_segmenter
from napari_cliper.benchmark.steps import WORDS, Step, _Work, steps
from napari_cliper.cli import app
from napari_cliper.errors import NapariCliperError
from napari_cliper.models.presets import get_preset, load_presets

CPU = torch.device("cpu")
IMAGE = np.random.default_rng(0).integers(0, 256, (64, 96, 3)).astype(np.uint8)
TEMPLATES = ["a photo of a {}.", "{}"]


@pytest.fixture
def small(monkeypatch):
    """The preset `base`, but everything is small."""
    blocks = {"block_out_channels": (32, 64, 64, 64)}
    monkeypatch.setattr(random_weights, "VAE", random_weights.VAE | blocks)
    unet = blocks | {"sample_size": 16, "attention_head_dim": 2, "cross_attention_dim": 32}
    monkeypatch.setattr(random_weights, "UNET", unet)
    preset = get_preset("base")
    encoder = preset.encoder.model_copy(update={"architecture": "ViT-S-32-alt"})
    settings = dict(preset.settings) | {"shorter_side": 128}
    preset = preset.model_copy(update={"encoder": encoder, "settings": settings})
    monkeypatch.setitem(load_presets(), "base", preset)
    return preset


@pytest.fixture
def model(small):
    return random_segmenter(small, CPU, torch.float32)


@torch.inference_mode()
def test_both_ways_compute_the_same(model):
    work = _Work(model, IMAGE, TEMPLATES)
    for step in ("tower", "latent_of", "unet", "maps", "words"):
        getattr(work, step)()
    work.plain_tower()
    work.plain_maps()
    work.plain_words()
    for found, wanted in zip(
        F.normalize(work.features.embeddings[:, 1:], dim=-1),
        work.plain_features.embeddings,
        strict=True,
    ):
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(work.features.attention, work.plain_features.attention)
    torch.testing.assert_close(work.rows, work.plain_rows, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(work.compensation.row(5), work.product[5], atol=1e-6, rtol=1e-3)


@torch.inference_mode()
def test_ours_counts_fewer_operations(model):
    measured = {step.name: measure(step, CPU) for step in steps(model, IMAGE, TEMPLATES)}
    counted = {
        name: one.plain.multiply_adds / max(1, one.ours.multiply_adds)
        for name, one in measured.items()
    }
    assert counted["VAE encoder"] == 1
    assert counted["image tower"] > 0.8  # balancing is a product in ours, and sums in the other
    assert counted["U-Net"] > 1.05
    assert counted["attention maps"] > 5
    assert counted["20 new words"] > 4
    assert counted["one word changed"] > 50
    assert counted["point inspection"] > 50
    assert all(one.ours.seconds > 0 for one in measured.values())


def test_steps_are_measured():
    done = []
    step = Step("x", lambda: done.append("ours"), lambda: torch.ones(20, 30) @ torch.ones(30, 7))
    found = measure(step, CPU, repeat=3)
    assert done == ["ours"] * 4  # the first is not timed
    assert (found.ours.multiply_adds, found.plain.multiply_adds) == (0, 20 * 30 * 7)
    both = summed("both", [found, found])
    assert both.plain.multiply_adds == 2 * 20 * 30 * 7
    assert both.ours.seconds == 2 * found.ours.seconds
    assert rate(CPU, torch.float32, 64) > 0


def test_ratio():
    ours, plain = (Figures(seconds=s, multiply_adds=1, peak=1) for s in (0.5, 2))
    assert Measured(name="x", ours=ours, plain=plain).ratio == 4


def test_presets_of_other_models_are_refused():
    with pytest.raises(NapariCliperError, match="leave out --random-weights"):
        random_segmenter(get_preset("small"), CPU, torch.float32)


def test_the_command(small, tmp_path):
    file = tmp_path / "figures.json"
    arguments = ["benchmark", "--preset", "base", "--random-weights", "--json", str(file)]
    done = CliRunner().invoke(app, [*arguments, "--device", "cpu"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    names = [step["name"] for step in json.loads(file.read_text())["steps"]]
    assert names[4] == "encode a picture"
    for name in names:
        assert name in done.output
    with pytest.raises(NapariCliperError, match="exists already"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert len(WORDS) == 20
