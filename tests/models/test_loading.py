"""From a preset to a working CLIPer, with models small enough to write here."""

import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import skimage.data
import torch
from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

from napari_cliper.cliper import (
    CLIPer,
    DiffusionSelfAttention,
    TransformerSelfAttention,
    drain,
)
from napari_cliper.errors import NapariCliperError
from napari_cliper.models import hub, loading, weights
from napari_cliper.models.loading import load_cliper, make_settings, resolve_device
from napari_cliper.models.open_clip_towers import load_clip, load_dual
from napari_cliper.models.presets import STABLE_DIFFUSION, ClipEncoder, Repository, get_preset
from napari_cliper.models.stable_diffusion import load_stable_diffusion, pad_token
from napari_cliper.models.tensors import read_tensors

CPU = torch.device("cpu")
END = 49407
CLIP = ClipEncoder.model_validate(get_preset("base").encoder)


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory) -> Path:
    """The real architecture with random weights, in half precision to be quick."""
    torch.manual_seed(0)
    model = open_clip.create_model("ViT-B-16-quickgelu", load_weights=False)
    folder = tmp_path_factory.mktemp("clip")
    tensors = {name: tensor.half().contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, folder / "open_clip_model.safetensors")
    return folder


@pytest.fixture(scope="module")
def sd_folder(tmp_path_factory) -> Path:
    """A tiny Stable Diffusion, laid out and named as the published ones are."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("sd") / "stable-diffusion-2-1-base"
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
        attention_head_dim=2,  # diffusers means the number of heads
        norm_num_groups=4,
        use_linear_projection=True,
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
    )
    CLIPTextModel(config).save_pretrained(folder / "text_encoder")
    rename(
        folder / "vae" / "diffusion_pytorch_model.safetensors",
        [
            (".to_q.", ".query."),
            (".to_k.", ".key."),
            (".to_v.", ".value."),
            (".to_out.0.", ".proj_attn."),
        ],
    )
    rename(folder / "text_encoder" / "model.safetensors", [("", "text_model.")])
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer" / "special_tokens_map.json").write_text('{"pad_token": "!"}')
    return folder


def rename(path: Path, replacements: list[tuple[str, str]]) -> None:
    """The names that files published years ago have."""
    tensors = load_file(path)
    for old, new in replacements:
        prefixed = {} if old else {new + name.removeprefix(new): t for name, t in tensors.items()}
        tensors = prefixed or {name.replace(old, new): t for name, t in tensors.items()}
    save_file(tensors, path, metadata={"format": "pt"})


@pytest.fixture(scope="module")
def clip(clip_folder):
    return load_clip(CLIP, clip_folder / "open_clip_model.safetensors", CPU)


def test_clip_gives_what_open_clip_gives(clip, clip_folder):
    image_encoder, text_encoder = clip
    stored = load_file(clip_folder / "open_clip_model.safetensors")
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


def test_weights_of_another_architecture(clip_folder):
    other = CLIP.model_copy(update={"architecture": "ViT-B-32-quickgelu"})
    with pytest.raises(NapariCliperError, match="not those of ViT-B-32-quickgelu"):
        load_clip(other, clip_folder / "open_clip_model.safetensors", CPU)


@pytest.mark.parametrize(
    ("architecture", "said"),
    [
        ("ViT-Z-99", "open_clip has no architecture “ViT-Z-99”"),
        ("roberta-ViT-B-32", "needs a CLIP with a plain vision transformer"),
        ("RN50-quickgelu", "needs a CLIP with a plain vision transformer"),
    ],
)
def test_unsuitable_architectures(clip_folder, architecture, said):
    other = CLIP.model_copy(update={"architecture": architecture})
    with pytest.raises(NapariCliperError, match=said):
        load_clip(other, clip_folder / "open_clip_model.safetensors", CPU)


def test_damaged_weights(tmp_path):
    (tmp_path / "broken.safetensors").write_bytes(b"no header")
    with pytest.raises(NapariCliperError, match="cannot be read"):
        read_tensors(tmp_path / "broken.safetensors")


def test_stable_diffusion(sd_folder):
    source = drain(load_stable_diffusion(sd_folder, CPU))
    assert isinstance(source.scheduler, PNDMScheduler)
    source.scheduler.set_timesteps(50)
    assert source.scheduler.timesteps[45] == 101
    assert source.prompt_embedding.shape == (1, 77, 32)
    # Every weight is the file's.
    stored = load_file(sd_folder / "vae" / "diffusion_pytorch_model.safetensors")
    query = "encoder.mid_block.attentions.0"
    torch.testing.assert_close(
        source.vae.state_dict()[f"{query}.to_q.weight"], stored[f"{query}.query.weight"]
    )
    text_encoder = CLIPTextModel.from_pretrained(sd_folder / "text_encoder").eval()
    tokens = torch.tensor([[49406, 49407] + [0] * 75])
    with torch.no_grad():
        expected = text_encoder(tokens).last_hidden_state
    torch.testing.assert_close(source.prompt_embedding, expected)
    stored = load_file(sd_folder / "text_encoder" / "model.safetensors")
    embedding = text_encoder.get_input_embeddings().weight
    torch.testing.assert_close(embedding, stored["text_model.embeddings.token_embedding.weight"])
    maps, grid = drain(source.attention_maps(skimage.data.chelsea()))
    assert grid == (8, 8)
    assert maps.shape == (4, 64, 64)
    assert np.allclose(maps.sum(dim=-1), 1, atol=1e-4)


@pytest.mark.parametrize(
    ("token", "expected"),
    [("!", 0), ({"content": "!"}, 0), ("<|endoftext|>", END), ({"content": "<|endoftext|>"}, END)],
)
def test_pad_token(tmp_path, token, expected):
    """As special_tokens_map.json has it: Stable Diffusion 2's other file says otherwise."""
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"pad_token": token}))
    (tmp_path / "tokenizer_config.json").write_text('{"pad_token": "<|endoftext|>"}')
    assert pad_token(tmp_path) == expected


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        ("{", "cannot be loaded"),
        ("[]", "cannot be loaded"),
        ("{}", r"its padding is not one of !, <\|endoftext\|>"),
        ('{"pad_token": "[PAD]"}', "its padding is not one of"),
        ('{"pad_token": {"id": 3}}', "its padding is not one of"),
        ('{"pad_token": ["!"]}', "cannot be loaded"),
    ],
)
def test_unknown_pad_token(tmp_path, content, said):
    if content is not None:
        (tmp_path / "special_tokens_map.json").write_text(content)
    with pytest.raises(NapariCliperError, match=said):
        pad_token(tmp_path)


def copied(sd_folder: Path, target: Path) -> Path:
    for path in sd_folder.rglob("*"):
        if path.is_file():
            place = target / path.relative_to(sd_folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(path.read_bytes())
    return target


@pytest.mark.parametrize("part", ["vae", "unet", "text_encoder"])
def test_part_without_one_of_its_weights(sd_folder, tmp_path, part):
    folder = copied(sd_folder, tmp_path / "sd")
    path = next((folder / part).glob("*.safetensors"))
    tensors = load_file(path)
    del tensors[sorted(tensors)[0]]
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(NapariCliperError, match=f"cannot be loaded from .*{part}"):
        drain(load_stable_diffusion(folder, CPU))


def test_pickled_part_is_not_read(sd_folder, tmp_path):
    folder = copied(sd_folder, tmp_path / "sd")
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(NapariCliperError, match="must hold safetensors weights"):
        drain(load_stable_diffusion(folder, CPU))


def test_broken_scheduler(sd_folder, tmp_path):
    folder = copied(sd_folder, tmp_path / "sd")
    (folder / "scheduler" / "scheduler_config.json").write_text('{"_class_name": "AutoencoderKL"}')
    with pytest.raises(NapariCliperError, match=r"cannot be loaded from .*scheduler"):
        drain(load_stable_diffusion(folder, CPU))


@pytest.fixture(scope="module")
def folder(clip_folder, sd_folder) -> Path:
    """Both, laid out as on the hub."""
    preset = get_preset("base")
    folder = clip_folder.parent / "both"
    for repository, source in (
        (preset.encoder.weights, clip_folder),
        (preset.compensation.weights, sd_folder),
    ):
        place = folder / repository.repo
        place.parent.mkdir(parents=True)
        place.symlink_to(source)
    return folder


def test_whole_preset_from_a_folder(folder):
    steps = []
    cliper = drain(load_cliper(get_preset("base"), CPU, folder), steps.append)
    assert isinstance(cliper, CLIPer)
    assert isinstance(cliper.attention_source, DiffusionSelfAttention)
    assert cliper.settings.logit_scale == 100
    names = list(dict.fromkeys(step.name for step in steps))
    assert names == ["Finding weights", "Loading the encoder", "Loading Stable Diffusion"]
    assert not any(p.requires_grad for p in cliper.image_encoder.visual.parameters())


def base_with(tmp_path: Path, more: str):
    path = tmp_path / "mine.toml"
    path.write_text(f'extends = "base"\n{more}\n')
    return get_preset(path)


def test_stable_diffusion_from_elsewhere(clip_folder, sd_folder, folder, tmp_path, hub_cache):
    given = tmp_path / "given" / get_preset("base").encoder.weights.repo
    given.parent.mkdir(parents=True)
    given.symlink_to(clip_folder)
    # A folder of its own,
    local = base_with(tmp_path, f'[compensation.weights]\nrepo = "{sd_folder}"')
    cliper = drain(load_cliper(local, CPU, tmp_path / "given"))
    assert cliper.attention_source.prompt_embedding.shape == (1, 77, 32)
    # or another name on the hub.
    other = base_with(tmp_path, '[compensation.weights]\nrepo = "someone/else"')
    with pytest.raises(NapariCliperError, match="weights someone/else of the preset mine are not"):
        drain(load_cliper(other, CPU, folder))
    snapshots = hub_cache / "models--someone--else" / "snapshots"
    snapshots.mkdir(parents=True)
    (snapshots / ("f" * 40)).symlink_to(sd_folder)
    (snapshots.parent / "refs").mkdir()
    (snapshots.parent / "refs" / "main").write_text("f" * 40)
    assert weights.locate(other.compensation.weights).files.keys() == set(STABLE_DIFFUSION)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("selected_layer = -13", "selected_layer must be from -12 to -1 with 12 blocks"),
        ("early_layers = 13", "early_layers must be at most 12"),
        ("sliding_crop = 225", "sliding_crop must be a whole multiple of the patch, 16 pixels"),
        ("sliding_crop = 224\nsliding_stride = 100", "sliding_stride must be a whole multiple"),
    ],
)
def test_settings_that_the_tower_cannot_follow(clip, tmp_path, setting, said):
    preset = base_with(tmp_path, f"[settings]\n{setting}")
    with pytest.raises(NapariCliperError, match=said):
        loading._check_tower(preset, make_settings(preset), clip[0])


def test_such_settings_are_refused_before_stable_diffusion_is_read(clip_folder, tmp_path):
    preset = base_with(
        tmp_path, f'[encoder.weights]\nrepo = "{clip_folder}"\n[settings]\nearly_layers = 13'
    )
    with pytest.raises(NapariCliperError, match="early_layers must be at most 12"):
        drain(load_cliper(preset, CPU))


def test_map_of_stable_diffusion_that_is_not_there(folder, tmp_path):
    preset = base_with(tmp_path, "[settings]\nhead_fusion = 4")
    with pytest.raises(NapariCliperError, match="product, mean or a number from 0 to 3"):
        drain(load_cliper(preset, CPU, folder))


def test_downloads_name_file_and_size(monkeypatch, tmp_path):
    sizes = {"a.safetensors": 3_460_000_000, "b.json": 460, "c.json": None}
    repository = Repository(repo="owner/model", files=dict.fromkeys(sizes, ""))
    monkeypatch.setattr(hub, "download_size", lambda repository, name: sizes[name])
    monkeypatch.setattr(hub, "download", lambda repository, name: tmp_path / name)
    steps = []
    source = drain(loading._obtain(get_preset("base"), repository, None, True), steps.append)
    assert source.files == {name: tmp_path / name for name in sizes}
    assert [step.name for step in steps] == [
        "Fetching a.safetensors (3,460 MB)",
        "Fetching b.json (0 kB)",
        "Fetching c.json",
    ]
    assert [(step.done, step.total) for step in steps] == [(0, 3), (1, 3), (2, 3)]


def test_absent_weights_are_not_fetched_unasked():
    with pytest.raises(NapariCliperError, match="not on this machine"):
        drain(load_cliper(get_preset("base"), CPU))
    with pytest.raises(NapariCliperError, match="HF_HUB_OFFLINE forbids"):
        drain(load_cliper(get_preset("base"), CPU, download=True))


def test_cancelled_before_the_work(clip_folder):
    steps = load_cliper(get_preset("base"), CPU, clip_folder)
    assert next(steps).name == "Finding weights"
    steps.close()


def test_small_encodes_a_picture(towers):
    preset = get_preset("small")
    image_encoder, _ = load_dual(preset.encoder, towers, CPU)
    source = TransformerSelfAttention(image_encoder, 8, (16, 16))
    maps, grid = drain(source.attention_maps(skimage.data.chelsea()))
    assert grid == (16, 16)
    assert maps.shape == (6, 256, 256)


def small_with(tmp_path: Path, more: str):
    """The small preset with heads that need no training."""
    heads = {"visual.proj": torch.eye(384), "text.proj.weight": torch.eye(384)}
    save_file(heads, tmp_path / "heads.safetensors")
    path = tmp_path / "mine.toml"
    path.write_text(f'extends = "small"\n[encoder]\nheads = "heads.safetensors"\n{more}\n')
    return get_preset(path)


def test_block_that_is_not_there(towers, tmp_path):
    preset = small_with(tmp_path, "[compensation]\nblock = 11")
    with pytest.raises(NapariCliperError, match="choose one from 0 to 10"):
        drain(load_cliper(preset, CPU, towers))


def test_head_that_is_not_there(towers, tmp_path):
    preset = small_with(tmp_path, "[settings]\nhead_fusion = 6")
    with pytest.raises(NapariCliperError, match="product, mean or a number from 0 to 5"):
        drain(load_cliper(preset, CPU, towers))


def test_damaged_heads(towers, tmp_path):
    preset = small_with(tmp_path, "")
    preset.encoder.heads.write_bytes(b"no header")
    with pytest.raises(NapariCliperError, match=r"heads\.safetensors cannot be read: check the"):
        drain(load_cliper(preset, CPU, towers))


def test_devices():
    assert resolve_device("cpu") == CPU
    assert resolve_device("auto").type in ("cpu", "cuda", "mps")
    for name in ("gpu", "cuda:99", ""):
        with pytest.raises(NapariCliperError, match="choose auto or cpu"):
            resolve_device(name)
