"""From a preset to a working CLIPer, with models small enough to write here."""

import os
import shutil
from pathlib import Path

import pytest
import skimage.data
import torch
from safetensors.torch import load_file, save_file

from napari_cliper.cliper import (
    CLIPer,
    DiffusionSelfAttention,
    TransformerSelfAttention,
    drain,
)
from napari_cliper.errors import NapariCliperError
from napari_cliper.models import loading, weights
from napari_cliper.models.loading import Built, Loader, make_settings, resolve_device
from napari_cliper.models.open_clip_towers import load_dual
from napari_cliper.models.presets import compensation_changes, get_preset, parse_change
from napari_cliper.models.schema import STABLE_DIFFUSION

CPU = torch.device("cpu")


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
    cliper = drain(Loader(get_preset("base"), CPU, folder=folder).load(), steps.append)
    assert isinstance(cliper, CLIPer)
    assert isinstance(cliper.attention_source, DiffusionSelfAttention)
    assert cliper.settings.logit_scale == 100
    names = list(dict.fromkeys(step.name for step in steps))
    assert names == ["Finding weights", "Loading the encoder", "Loading Stable Diffusion"]
    assert not any(p.requires_grad for p in cliper.image_encoder.visual.parameters())


def origins(preset, folder: Path | None = None, before: Built | None = None) -> dict[str, str]:
    loader = Loader(preset, CPU, folder=folder, before=before)
    drain(loader.load())
    return loader.origins


def test_what_tells_weights_from_others(folder, clip_folder, sd_folder, towers, tmp_path):
    base = get_preset("base")
    known = origins(base, folder)
    assert known.keys() == {"encoder", "compensation"}
    assert f"{clip_folder / 'open_clip_model.safetensors'} " in known["encoder"]
    for part in ("unet/diffusion_pytorch_model.safetensors", "text_encoder/config.json"):
        assert f"{part}={sd_folder / part} " in known["compensation"]
    assert origins(base, folder) == known
    # Another file in the same place.
    copy = tmp_path / "unet"
    shutil.copytree(sd_folder, copy)
    local = base_with(tmp_path, f'[compensation.weights]\nrepo = "{copy}"')
    before = origins(local, folder)
    assert before["encoder"] == known["encoder"]
    assert before["compensation"] != known["compensation"]
    path = copy / "unet" / "diffusion_pytorch_model.safetensors"
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    assert origins(local, folder)["compensation"] != before["compensation"]
    # Heads count as well as towers.
    small = small_with(tmp_path, "")
    towers_alone = origins(small, towers)
    assert towers_alone.keys() == {"encoder"}
    assert str(towers) in towers_alone["encoder"]
    os.utime(small.encoder.heads, ns=(0, 1))
    assert origins(small, towers)["encoder"] != towers_alone["encoder"]


def test_pinned_weights_are_known_by_their_pins(clip_folder, tmp_path, hub_cache):
    preset = base_with(
        tmp_path,
        f'[encoder.weights]\nrepo = "someone/clip"\nrevision = "{"f" * 40}"\n'
        '[encoder.weights.files]\n"open_clip_model.safetensors" = ""\n'
        "[settings]\ncompensate = false",
    )
    snapshots = hub_cache / "models--someone--clip" / "snapshots"
    snapshots.mkdir(parents=True)
    (snapshots / ("f" * 40)).symlink_to(clip_folder)
    assert origins(preset) == {"encoder": f"open_clip_model.safetensors={'f' * 40}"}


def test_what_is_taken_again_is_still_known(towers, tmp_path):
    affine = [compensation_changes("dinov2-small"), parse_change("compensation.grid=[8, 8]")]
    preset = get_preset("small", affine)
    loader = Loader(preset, CPU, folder=towers)
    engine = drain(loader.load())
    assert loader.origins.keys() == {"encoder", "compensation"}
    built = Built(preset, engine, {"encoder": "the towers", "compensation": "the model"})
    again = Loader(preset, CPU, folder=towers, before=built)
    assert drain(again.load()).image_encoder is engine.image_encoder
    assert again.origins == built.origins
    other = Loader(get_preset("small"), CPU, folder=towers, before=built)
    drain(other.load())
    assert other.origins == {"encoder": "the towers"}


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
    cliper = drain(Loader(local, CPU, folder=tmp_path / "given").load())
    assert cliper.attention_source.prompt_embedding.shape == (1, 77, 32)
    # or another name on the hub.
    other = base_with(tmp_path, '[compensation.weights]\nrepo = "someone/else"')
    with pytest.raises(NapariCliperError, match="weights someone/else of the preset mine are not"):
        drain(Loader(other, CPU, folder=folder).load())
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
        drain(Loader(preset, CPU).load())


def test_map_of_stable_diffusion_that_is_not_there(folder, tmp_path):
    preset = base_with(tmp_path, "[settings]\nhead_fusion = 4")
    with pytest.raises(NapariCliperError, match="product, mean or a number from 0 to 3"):
        drain(Loader(preset, CPU, folder=folder).load())


def test_absent_weights_are_not_fetched_unasked():
    with pytest.raises(NapariCliperError, match="not on this machine"):
        drain(Loader(get_preset("base"), CPU).load())
    with pytest.raises(NapariCliperError, match="HF_HUB_OFFLINE forbids"):
        drain(Loader(get_preset("base"), CPU, download=True).load())


def test_cancelled_before_the_work(clip_folder):
    steps = Loader(get_preset("base"), CPU, folder=clip_folder).load()
    assert next(steps).name == "Finding weights"
    steps.close()


def test_small_encodes_a_picture(towers):
    preset = get_preset("small")
    image_encoder, _ = load_dual(preset.encoder, towers, CPU)
    source = TransformerSelfAttention(image_encoder, 8, (16, 16))
    maps, grid = drain(source.attention_maps(skimage.data.chelsea()))
    assert grid == (16, 16)
    assert (len(maps), maps.places) == (6, 256)


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
        drain(Loader(preset, CPU, folder=towers).load())


def test_head_that_is_not_there(towers, tmp_path):
    preset = small_with(tmp_path, "[settings]\nhead_fusion = 6")
    with pytest.raises(NapariCliperError, match="product, mean or a number from 0 to 5"):
        drain(Loader(preset, CPU, folder=towers).load())


def test_damaged_heads(towers, tmp_path):
    preset = small_with(tmp_path, "")
    preset.encoder.heads.write_bytes(b"no header")
    with pytest.raises(NapariCliperError, match=r"heads\.safetensors cannot be read: check the"):
        drain(Loader(preset, CPU, folder=towers).load())


def test_devices():
    assert resolve_device("cpu") == CPU
    assert resolve_device("auto").type in ("cpu", "cuda", "mps")
    for name in ("gpu", "cuda:99", ""):
        with pytest.raises(NapariCliperError, match="choose auto or cpu"):
            resolve_device(name)


def in_half_precision(folder: Path, target: Path) -> Path:
    """As `save_pretrained(…, variant="fp16")` lays a model out: no plain file of weights."""
    shutil.copytree(folder, target)
    for path in target.rglob("*.safetensors"):
        tensors = {name: tensor.half() for name, tensor in load_file(path).items()}
        save_file(tensors, path.with_suffix(".fp16.safetensors"), metadata={"format": "pt"})
        path.unlink()
    return target


@pytest.mark.parametrize("half", [False, True])
def test_any_folder_of_stable_diffusion_compensates_any_preset(towers, sd1_folder, tmp_path, half):
    folder = in_half_precision(sd1_folder, tmp_path / "half") if half else sd1_folder
    changes = [
        compensation_changes(str(folder)),
        parse_change("compensation.layers=[-1]"),
        parse_change("compensation.time_index=30"),
        parse_change("compensation.seed=3"),
    ]
    cliper = drain(Loader(get_preset("small", changes), CPU, folder=towers).load())
    source = cliper.attention_source
    assert isinstance(source, DiffusionSelfAttention)
    assert (source.layers, source.time_index, source.seed) == ((-1,), 30, 3)
    encoding = drain(cliper.encode(skimage.data.chelsea()[::2, ::2]))
    assert encoding.compensation.maps.shares.shape == (8, 64, 64)
    elsewhere = [*changes, parse_change("compensation.time_index=51")]
    with pytest.raises(NapariCliperError, match=r"compensation.*less than or equal to 50"):
        get_preset("small", elsewhere)


def test_folder_without_a_unet(towers, sd1_folder, tmp_path):
    shutil.copytree(sd1_folder, tmp_path / "sd", ignore=shutil.ignore_patterns("unet"))
    preset = get_preset("small", [compensation_changes(str(tmp_path / "sd"))])
    with pytest.raises(NapariCliperError, match=r"it has no folder unet"):
        drain(Loader(preset, CPU, folder=towers).load())
