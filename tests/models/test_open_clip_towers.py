"""Which open_clip models are taken, by what name, and whether they compute what open_clip does."""

import collections
import gc
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import open_clip
import pytest
import torch
from open_clip.factory import _MODEL_CONFIGS
from open_clip.model import CLIP as OpenClip
from open_clip.pretrained import _PRETRAINED
from open_clip.transformer import QuickGELU, ResidualAttentionBlock, VisionTransformer
from safetensors.torch import load_file, save_file

from napari_cliper.cliper import ImageEncoder, Settings, TextEncoder, drain
from napari_cliper.cliper.early_layer_fusion import fuse_early_layers
from napari_cliper.cliper.text import encode_prompts
from napari_cliper.errors import NapariCliperError
from napari_cliper.models import open_clip_names, open_clip_towers
from napari_cliper.models.choices import Choices
from napari_cliper.models.open_clip_names import clip_encoder, suitable_config
from napari_cliper.models.open_clip_towers import load_clip
from napari_cliper.models.presets import get_preset, load_presets
from napari_cliper.models.schema import ClipEncoder
from napari_cliper.models.sources import sha256
from napari_cliper.models.tensors import read_tensors
from open_clip_weights import parameters, random_parameters

CPU, META = torch.device("cpu"), torch.device("meta")
CLIP = ClipEncoder.model_validate(get_preset("base").encoder)
FILE = "open_clip_model.safetensors"
QUICK_OPENAI = ("ViT-B-32", "ViT-B-16", "ViT-L-14", "ViT-L-14-336")

SUITABLE = {
    "ViT-B-16",
    "ViT-B-16-plus",
    "ViT-B-16-plus-240",
    "ViT-B-16-quickgelu",
    "ViT-B-32",
    "ViT-B-32-256",
    "ViT-B-32-plus-256",
    "ViT-B-32-quickgelu",
    "ViT-H-14",
    "ViT-H-14-378",
    "ViT-H-14-378-quickgelu",
    "ViT-H-14-quickgelu",
    "ViT-H-16",
    "ViT-L-14",
    "ViT-L-14-280",
    "ViT-L-14-336",
    "ViT-L-14-336-quickgelu",
    "ViT-L-14-quickgelu",
    "ViT-L-16",
    "ViT-L-16-320",
    "ViT-M-16",
    "ViT-M-16-alt",
    "ViT-M-32",
    "ViT-M-32-alt",
    "ViT-S-16",
    "ViT-S-16-alt",
    "ViT-S-32",
    "ViT-S-32-alt",
    "ViT-bigG-14",
    "ViT-bigG-14-quickgelu",
    "ViT-e-14",
    "ViT-g-14",
}
# What the others are refused for, how many of them, and some that a person may well try.
REFUSED = {
    "pools its patches by attention, as SigLIP does": (
        33,
        {"ViT-B-16-SigLIP", "ViT-SO400M-16-SigLIP2-512", "PE-Core-L-14-336"}
        | {"nllb-clip-base-siglip"},
    ),
    "its image tower is timm's": (
        45,
        {"convnext_base_w", "EVA02-L-14-336", "ViTamin-L", "MobileCLIP-B", "MobileCLIP2-S0"}
        | {"swin_base_patch4_window7_224"},
    ),
    "its image tower is a ResNet": (10, {"RN50", "RN50x64-quickgelu"}),
    "it is a CoCa": (4, {"coca_base", "coca_ViT-L-14", "coca_roberta-ViT-B-32"}),
    "not taken from a class token": (6, {"ViT-H-14-CLIPA-336"}),
    "its text tower is the Hugging Face model": (
        7,
        {"roberta-ViT-B-32", "xlm-roberta-large-ViT-H-14", "mt5-base-ViT-B-32", "nllb-clip-large"},
    ),
    "split by the Hugging Face tokenizer": (
        7,
        {"ViT-L-14-worldwide-quickgelu", "ViT-bigG-14-worldwide-378"},
    ),
}


def encoder_of(architecture: str, **fields: Any) -> ClipEncoder:
    return CLIP.model_copy(update={"architecture": architecture, **fields})


def load_without_file(
    encoder: ClipEncoder,
    tensors: dict[str, torch.Tensor],
    monkeypatch: pytest.MonkeyPatch,
    device: torch.device = CPU,
    dtype: torch.dtype = torch.float32,
) -> tuple[ImageEncoder, TextEncoder]:
    monkeypatch.setattr(open_clip_towers, "read_tensors", lambda path: tensors)
    with device:
        return load_clip(encoder, Path(FILE), device, dtype)


def tower_blocks(towers: tuple[ImageEncoder, TextEncoder]) -> list[ResidualAttentionBlock]:
    image_encoder, text_encoder = towers
    model = text_encoder.encode.__self__  # type: ignore[attr-defined]
    assert model.visual is image_encoder.visual
    return [*model.visual.transformer.resblocks, *model.transformer.resblocks]


def save_small(folder: Path, name: str = FILE, architecture: str = "ViT-S-32") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {key: value.half() for key, value in random_parameters(architecture).items()}
    save_file(tensors, folder / name)
    return folder / name


# What open_clip computes


def test_clip_gives_what_open_clip_gives(clip, clip_folder):
    image_encoder, text_encoder = clip
    stored = load_file(clip_folder / FILE)
    reference = open_clip.create_model("ViT-B-16-quickgelu", load_weights=False)
    tensors = {name: tensor.float() for name, tensor in stored.items()}
    reference.load_state_dict(tensors, assign=True)
    reference.eval()
    pixels = torch.randn(1, 3, 224, 224)
    words = ["a photo of a cat.", "sofa"]
    with torch.no_grad():
        torch.testing.assert_close(image_encoder.visual(pixels), reference.visual(pixels))
        tokens = open_clip.tokenize(words)
        torch.testing.assert_close(text_encoder.tokenize(words), tokens)
        torch.testing.assert_close(text_encoder.encode(tokens), reference.encode_text(tokens))


def test_clip_counts_tokens(clip):
    _, text_encoder = clip
    assert text_encoder.context_length == 77
    for words in ("cat", "person with clothes, people, human", " Two  spaces\n"):
        filled = text_encoder.tokenize([words])[0].nonzero().numel()
        assert text_encoder.count_tokens(words) == filled
    assert text_encoder.count_tokens("cat " * 100) == 102


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@torch.no_grad()
def test_half_precision(monkeypatch, dtype):
    """All but the image tower's norms; and the result is about the same."""
    encoder, tensors = encoder_of("ViT-S-32"), random_parameters("ViT-S-32")
    pixels = torch.randn(1, 3, 4 * 32, 6 * 32)
    embeddings, words = [], []
    for precision in (torch.float32, dtype):
        image, text = load_without_file(encoder, tensors, monkeypatch, dtype=precision)
        model = text.encode.__self__
        is_norm = {
            id(parameter)
            for module in model.visual.modules()
            if isinstance(module, torch.nn.LayerNorm)
            for parameter in module.parameters()
        }
        for tensor in (*model.parameters(), *model.buffers()):
            assert tensor.dtype == (torch.float32 if id(tensor) in is_norm else precision)
        embeddings.append(
            drain(fuse_early_layers(image, pixels.to(precision), Settings())).embeddings
        )
        words.append(text.encode(text.tokenize(["a photo of a cat."])).float())
    for exact, near in (embeddings, words):
        assert torch.cosine_similarity(exact, near, dim=-1).min() > 0.99


# Layer scale, another patch size, another activation.
@pytest.mark.parametrize("architecture", ["ViT-M-16-alt", "ViT-S-32", "ViT-B-32-quickgelu"])
@torch.no_grad()
def test_embeddings_end_in_the_tower_s_own_head(architecture, monkeypatch):
    """With nothing left out of the last block, the class token's is open_clip's own embedding."""
    image_encoder, _ = load_without_file(
        encoder_of(architecture), random_parameters(architecture), monkeypatch
    )
    pixels = torch.randn(1, 3, 224, 224)
    settings = Settings(attention="vanilla", whole_last_block=True, early_layers=1)
    features = drain(fuse_early_layers(image_encoder, pixels, settings))
    expected = image_encoder.visual(pixels)
    torch.testing.assert_close(features.embeddings[-1][:1], expected, atol=1e-4, rtol=1e-4)


# Which architectures


def test_every_architecture_of_open_clip():
    """All 143 of open_clip 3.3: when there are new ones, find out on which side they belong."""
    reasons = collections.defaultdict(set)
    for architecture in open_clip.list_models():
        try:
            suitable_config(architecture)
        except NapariCliperError as error:
            said = str(error)
            assert said.startswith(f"The method cannot use “{architecture}”, since it")
            (reason,) = (reason for reason in REFUSED if reason in said)
            reasons[reason].add(architecture)
        else:
            reasons["suitable"].add(architecture)
    assert reasons.pop("suitable") == SUITABLE
    assert {reason: len(names) for reason, names in reasons.items()} == {
        reason: count for reason, (count, _) in REFUSED.items()
    }
    for reason, (_, some) in REFUSED.items():
        assert some <= reasons[reason]


# The "-quickgelu" ones differ in their activation alone.
@pytest.mark.parametrize(
    "architecture", sorted(name for name in SUITABLE if not name.endswith("-quickgelu"))
)
@torch.no_grad()
def test_suitable_architectures_run(architecture, monkeypatch):
    """Every tower is what the method takes it for, and its shapes fit; no numbers are computed."""
    towers = load_without_file(
        encoder_of(architecture), parameters(architecture), monkeypatch, META
    )
    image_encoder, text_encoder = towers
    visual = image_encoder.visual
    assert type(visual) is VisionTransformer
    assert visual.attn_pool is None
    assert visual.pool_type == "tok"
    assert visual.patch_size[0] == visual.patch_size[1]
    assert {type(block) for block in tower_blocks(towers)} == {ResidualAttentionBlock}
    patch = image_encoder.patch_size
    pixels = torch.empty(1, 3, 2 * patch, 3 * patch, device=META)
    features = drain(fuse_early_layers(image_encoder, pixels, Settings()))
    blocks = len(visual.transformer.resblocks)
    words = text_encoder.encode(text_encoder.tokenize(["cat"]).to(META))
    assert features.embeddings.shape == (blocks, 1 + 2 * 3, words.shape[1])


@pytest.mark.parametrize(
    ("architecture", "said"),
    [
        ("ViT-Z-99", "open_clip has no architecture “ViT-Z-99”"),
        ("hf-hub:timm/vit_base_patch16_clip_224.openai", "open_clip has no architecture “hf-hub:"),
        ("ViT-B-16-SigLIP", "pools its patches by attention"),
        ("RN50-quickgelu", "is a ResNet"),
    ],
)
def test_refused_before_the_weights_are_read(architecture, said):
    with pytest.raises(NapariCliperError, match=said):
        load_clip(encoder_of(architecture), Path("nowhere"), CPU)


@pytest.mark.parametrize(
    ("tower", "field", "value", "said"),
    [
        ("vision_cfg", "attentional_pool", True, "pools its patches by attention"),
        ("vision_cfg", "pool_type", "none", "not taken from a class token"),
        ("vision_cfg", "qk_norm", True, "computes? attention in another way"),
        ("vision_cfg", "scale_fc", True, "computes? attention in another way"),
        ("vision_cfg", "block_type", "custom", "computes? attention in another way"),
        ("text_cfg", "vocab_size", 64000, "64000 tokens, where CLIP's tokenizer has 49408"),
    ],
)
def test_architectures_that_open_clip_can_describe(monkeypatch, tower, field, value, said):
    config = open_clip.get_model_config("ViT-S-32")
    config[tower][field] = value
    monkeypatch.setitem(_MODEL_CONFIGS, "mine", config)
    with pytest.raises(NapariCliperError, match=said):
        suitable_config("mine")


@torch.no_grad()
def test_what_the_text_tower_may_be(monkeypatch):
    """Another length, another way to clean words, no causal mask."""
    config = open_clip.get_model_config("ViT-S-32")
    cleaning = {"context_length": 16, "tokenizer_kwargs": {"clean": "canonicalize"}}
    config["text_cfg"] |= cleaning | {"no_causal_mask": True}
    monkeypatch.setitem(_MODEL_CONFIGS, "mine", config)
    _, text = load_without_file(encoder_of("mine"), random_parameters("mine"), monkeypatch)
    assert text.context_length == 16
    assert text.tokenize(["A (cat)!"]).shape == (1, 16)
    torch.testing.assert_close(text.tokenize(["A (cat)!"]), text.tokenize(["a cat"]))
    assert text.count_tokens("A (cat)!") == 4
    assert text.encode(text.tokenize(["cat", "dog"])).isfinite().all()


# Tags


@pytest.mark.parametrize("architecture", QUICK_OPENAI)
def test_openai_s_weights_get_quick_gelu(architecture, monkeypatch):
    openai_s_own = f"{architecture[:5]}/{architecture[6:]}"  # ViT-B/16
    spellings = (architecture, f"{architecture}-quickgelu", openai_s_own)
    tables = [clip_encoder(f"{typed}:{tag}") for typed in spellings for tag in ("openai", "OpenAI")]
    assert all(table == tables[0] for table in tables)
    encoder = ClipEncoder.model_validate(tables[0])
    shapes = parameters(encoder.architecture)
    blocks = tower_blocks(load_without_file(encoder, shapes, monkeypatch, META))
    assert {type(block.mlp.gelu) for block in blocks} == {QuickGELU}


@pytest.mark.parametrize("typed", ["ViT-B-16", "ViT-B-16-quickgelu"])
def test_laion_s_weights_get_gelu(typed, monkeypatch):
    encoder = ClipEncoder.model_validate(clip_encoder(f"{typed}:laion2b-s34b-b88k"))
    shapes = parameters(encoder.architecture)
    blocks = tower_blocks(load_without_file(encoder, shapes, monkeypatch, META))
    assert {type(block.mlp.gelu) for block in blocks} == {torch.nn.GELU}


def test_every_tag_of_open_clip():
    """Taken with the activation and the colours it was trained with, or refused as a whole."""
    taken = 0
    for architecture, tag in open_clip.list_pretrained():
        plain = architecture.removesuffix("-quickgelu")
        entry = open_clip.get_pretrained_cfg(architecture, tag)
        if plain not in SUITABLE:
            with pytest.raises(NapariCliperError, match="The method cannot use"):
                clip_encoder(f"{architecture}:{tag}")
            continue
        encoder = ClipEncoder.model_validate(clip_encoder(f"{architecture}:{tag}"))
        config = open_clip.get_model_config(encoder.architecture)
        assert encoder.architecture.removesuffix("-quickgelu") == plain
        assert config.get("quick_gelu", False) == entry.get("quick_gelu", False)
        assert (encoder.mean, encoder.std) == (entry["mean"], entry["std"])
        assert encoder.weights.repo == entry["hf_hub"].removesuffix("/")
        assert encoder.weights.files == {FILE: ""}
        assert encoder.weights.revision is None
        taken += 1
    assert taken == 80


@pytest.mark.parametrize("name", ["base", "large"])
def test_presets_have_the_tags_own_values(name):
    preset = get_preset(name).encoder
    plain = preset.architecture.removesuffix("-quickgelu")
    encoder = ClipEncoder.model_validate(clip_encoder(f"{plain}:openai"))
    assert encoder.architecture == preset.architecture
    assert (encoder.mean, encoder.std) == (preset.mean, preset.std)
    assert encoder.weights.repo == preset.weights.repo
    assert encoder.weights.files.keys() == preset.weights.files.keys()


@pytest.mark.parametrize(
    ("hub", "expected"),
    [
        ("owner/name/", FILE),
        ("owner/name/open_clip_pytorch_model.bin", FILE),
        ("owner/name/other.bin", "other.safetensors"),
        ("owner/name/other.safetensors", "other.safetensors"),
    ],
)
def test_file_of_a_tag(monkeypatch, hub, expected):
    entry = open_clip.get_pretrained_cfg("ViT-B-16", "openai") | {"hf_hub": hub}
    monkeypatch.setitem(_PRETRAINED["ViT-B-16"], "mine", entry)
    assert clip_encoder("ViT-B-16:mine")["weights"] == {
        "repo": "owner/name",
        "files": {expected: ""},
    }


def test_tag_that_is_pickled_only(monkeypatch):
    entry = open_clip.get_pretrained_cfg("ViT-B-16", "openai") | {"hf_hub": ""}
    monkeypatch.setitem(_PRETRAINED["ViT-B-16"], "mine", entry)
    with pytest.raises(NapariCliperError, match=r"a pickled file only.*ViT-B-16:/path/to/"):
        clip_encoder("ViT-B-16:mine")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nonsense", "“nonsense” is no encoder: write ARCHITECTURE:TAG, such as ViT-B-16:openai"),
        (":openai", "is no encoder"),
        ("", "is no encoder"),
        ("ViT-B-16", "“ViT-B-16” lacks the weights: write ViT-B-16:openai or ViT-B-16:laion400m"),
        ("ViT-L-14-quickgelu:", "lacks the weights: write ViT-L-14:openai or"),
        ("ViT-S-32", "lacks the weights: write ViT-S-32:/path/to/weights.safetensors"),
        ("ViT-B-16-SigLIP", "pools its patches by attention"),
        ("ViT-B-16-SigLIP:openai", "pools its patches by attention"),
        ("vit-b-16:openai", "no architecture “vit-b-16”: take ViT-B-16,"),
        ("ViT-L/14@336px:openai", "no architecture “ViT-L-14@336px”: take ViT-L-14-336,"),
        ("zzz:openai", "take ViT-B-16, ViT-L-14, ViT-L-14-336, ViT-H-14"),
        ("ViT-B-16:opena", "no weights “opena” of ViT-B-16: write ViT-B-16:openai or ViT-B-16:/"),
        ("ViT-H-14:openai", "no weights “openai” of ViT-H-14: write ViT-H-14:laion2b_s32b_b79k or"),
        ("ViT-S-32:openai", "of ViT-S-32: write ViT-S-32:/path/to/weights.safetensors"),
    ],
)
def test_names_that_are_none(name, said):
    with pytest.raises(NapariCliperError) as caught:
        clip_encoder(name)
    assert said in str(caught.value)
    assert str(caught.value).count("ViT-") <= 8  # at most five suggestions


# Weights on this machine


@torch.no_grad()
def test_local_checkpoint(tmp_path, monkeypatch):
    path = save_small(tmp_path / "own weights", "mine.safetensors")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    spellings = [path, path.parent, "~/own weights", "./own weights/mine.safetensors"]
    tables = [
        clip_encoder(f"ViT-S-32:{where}") for where in (*spellings, "own weights/../own weights")
    ]
    assert {str(Path(table["weights"]["repo"]).resolve()) for table in tables} == {
        str(path.parent.resolve())
    }
    encoder = ClipEncoder.model_validate(tables[0])
    assert encoder.architecture == "ViT-S-32"
    assert encoder.mean == open_clip.OPENAI_DATASET_MEAN
    assert encoder.std == open_clip.OPENAI_DATASET_STD
    assert encoder.weights.files == {"mine.safetensors": ""}

    _, text_encoder = load_clip(encoder, Path(encoder.weights.repo) / "mine.safetensors", CPU)
    expected = OpenClip(**open_clip.get_model_config("ViT-S-32")).eval()
    expected.load_state_dict(load_file(path))
    tokens = text_encoder.tokenize(["cat"])
    torch.testing.assert_close(text_encoder.encode(tokens), expected.encode_text(tokens))


def test_activation_of_a_local_checkpoint_is_as_typed(tmp_path):
    path = save_small(tmp_path, architecture="ViT-B-32")
    for architecture in ("ViT-B-32", "ViT-B-32-quickgelu"):
        assert clip_encoder(f"{architecture}:{path}")["architecture"] == architecture


@pytest.mark.parametrize("typed", ["ViT-B-32", "ViT-B-32-quickgelu"])
@pytest.mark.parametrize("quick_gelu", [True, False])
def test_unless_open_clip_s_description_lies_beside_it(tmp_path, typed, quick_gelu):
    """As in a repository that was copied from the hub."""
    (tmp_path / FILE).touch()
    description = {
        "model_cfg": {"embed_dim": 512, "quick_gelu": quick_gelu},
        "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "interpolation": "bicubic"},
    }
    (tmp_path / "open_clip_config.json").write_text(json.dumps(description))
    table = clip_encoder(f"{typed}:{tmp_path}")
    assert table["architecture"] == ("ViT-B-32-quickgelu" if quick_gelu else "ViT-B-32")
    assert table["mean"] == (0.5, 0.5, 0.5)
    assert table["std"] == open_clip.OPENAI_DATASET_STD


def test_activation_that_open_clip_lacks_for_the_architecture(tmp_path):
    (tmp_path / FILE).touch()
    (tmp_path / "open_clip_config.json").write_text('{"model_cfg": {"quick_gelu": true}}')
    with pytest.raises(NapariCliperError, match="no architecture “ViT-S-32-quickgelu”"):
        clip_encoder(f"ViT-S-32:{tmp_path}")


@pytest.mark.parametrize("content", ["{", "[]", '{"preprocess_cfg": {"mean": 3}}'])
def test_damaged_description(tmp_path, content):
    (tmp_path / FILE).touch()
    (tmp_path / "open_clip_config.json").write_text(content)
    with pytest.raises(NapariCliperError, match=r"open_clip_config\.json, which lies beside"):
        clip_encoder(f"ViT-B-16:{tmp_path}")


@pytest.mark.parametrize(
    ("files", "where", "said"),
    [
        ([], "nowhere.safetensors", r"There are no weights .*nowhere\.safetensors: check the path"),
        ([], "nowhere.pt", "There are no weights"),
        ([], "", "holds no safetensors file"),
        (["open_clip_pytorch_model.bin"], "", "holds no safetensors file, and no others are read"),
        (["model.pt"], "model.pt", r"model\.pt is not a safetensors file: only safetensors"),
        (["a.safetensors", "b.safetensors"], "", "holds 2 safetensors files: name the one"),
    ],
)
def test_local_files_that_are_no_weights(tmp_path, files, where, said):
    for name in files:
        (tmp_path / name).touch()
    with pytest.raises(NapariCliperError, match=said):
        clip_encoder(f"ViT-B-16:{tmp_path / where}")


def test_open_clip_s_own_name_goes_first(tmp_path):
    for name in ("a.safetensors", FILE, "z.safetensors"):
        (tmp_path / name).touch()
    assert clip_encoder(f"ViT-B-16:{tmp_path}")["weights"]["files"] == {FILE: ""}


def test_weights_of_another_architecture(clip_folder):
    other = encoder_of("ViT-B-32-quickgelu")
    with pytest.raises(NapariCliperError, match="not those of ViT-B-32-quickgelu"):
        load_clip(other, clip_folder / FILE, CPU)


def test_damaged_weights(tmp_path):
    (tmp_path / "broken.safetensors").write_bytes(b"no header")
    with pytest.raises(NapariCliperError, match="cannot be read"):
        read_tensors(tmp_path / "broken.safetensors")


# At full size


@pytest.fixture
def _afterwards_freed() -> Iterator[None]:
    yield
    gc.collect()


@pytest.mark.usefixtures("_afterwards_freed")
@pytest.mark.parametrize(
    ("architecture", "millions", "blocks", "width"),
    [
        ("ViT-B-16-quickgelu", 149.6, 12, 512),
        ("ViT-L-14-quickgelu", 427.6, 24, 768),
        ("ViT-L-14-336-quickgelu", 427.9, 24, 768),
        pytest.param("ViT-H-14", 986.1, 32, 1024, marks=pytest.mark.slow),
    ],
)
@torch.no_grad()
def test_at_full_size(architecture, millions, blocks, width, monkeypatch):
    tensors = random_parameters(architecture)
    image_encoder, text_encoder = load_without_file(encoder_of(architecture), tensors, monkeypatch)
    model = text_encoder.encode.__self__
    count = sum(parameter.numel() for parameter in model.parameters())
    assert round(count / 1e6, 1) == millions
    patch = image_encoder.patch_size
    features = drain(
        fuse_early_layers(image_encoder, torch.randn(1, 3, 4 * patch, 6 * patch), Settings())
    )
    assert features.embeddings.shape == (blocks, 1 + 4 * 6, width)
    assert features.attention.shape == (4 * 6, 4 * 6)
    words = text_encoder.encode(text_encoder.tokenize(["a photo of a cat.", "a photo of a dog."]))
    assert words.shape == (2, width)
    for embeddings in (features.embeddings, words):
        assert embeddings.isfinite().all()
        assert (embeddings.std(dim=-2) > 1e-3).any()  # patches and words differ


def test_openai_s_own_file_is_known_by_its_sum(tmp_path, monkeypatch):
    """Copied without open_clip's description, and typed as if it had the usual activation."""
    path = tmp_path / "clip.safetensors"
    path.write_bytes(b"as if it were OpenAI's")
    assert clip_encoder(f"ViT-B-16:{path}")["architecture"] == "ViT-B-16"
    monkeypatch.setattr(open_clip_names, "OPENAI_SUMS", (sha256(path),))
    assert clip_encoder(f"ViT-B-16:{path}")["architecture"] == "ViT-B-16-quickgelu"


def test_the_sums_of_openai_s_files_are_the_presets_own():
    pinned = {
        sum_
        for preset in load_presets().values()
        if preset.encoder.architecture.endswith("-quickgelu")
        for sum_ in preset.encoder.weights.files.values()
    }
    assert len(pinned) == 2
    assert pinned < set(open_clip_names.OPENAI_SUMS)


def test_weights_of_a_built_in_preset_are_pinned_as_there():
    (encoder, _) = Choices(encoder="ViT-L-14:openai").as_changes()
    preset = get_preset("base", [encoder])
    assert preset.encoder == get_preset("large").encoder
    (encoder, _) = Choices(encoder="ViT-B-16:laion2b_s34b_b88k").as_changes()
    assert encoder["encoder"]["weights"]["files"] == {"open_clip_model.safetensors": ""}


@torch.no_grad()
def test_sentences_are_read_without_their_padding(clip):
    _, text_encoder = clip
    assert text_encoder.causal
    model, seen = text_encoder.encode.__self__, []
    model.transformer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[1]))
    words, templates = ["a cat", "small dogs", "x"], ["{}", "a photo of two {}."]
    found = encode_prompts(text_encoder, words, templates)
    assert seen == [9]
    whole = replace(text_encoder, encode=model.encode_text, causal=False)
    wanted = encode_prompts(whole, words, templates)
    assert seen == [9, 77]
    torch.testing.assert_close(found, wanted)
    for word, row in zip(words, found, strict=True):  # in the order they were asked for
        torch.testing.assert_close(encode_prompts(whole, [word], templates)[0], row)


def test_towers_whose_tokens_see_each_other_read_the_padding() -> None:
    siglip = SimpleNamespace(attn_mask=None, text_pool_type="last")
    assert not open_clip_towers.is_causal(siglip)
    assert not open_clip_towers.is_causal(SimpleNamespace())
