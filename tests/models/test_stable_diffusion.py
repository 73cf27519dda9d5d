"""Stable Diffusion from a folder: no more than is needed, and nothing that is something else."""

import gc
import json
import os
import shutil
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import skimage.data
import torch
from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPTextModel

from napari_cliper.cliper import DiffusionSelfAttention, drain
from napari_cliper.cliper.diffusion import self_attention_layers
from napari_cliper.errors import NapariCliperError
from napari_cliper.models import prompts, stable_diffusion
from napari_cliper.models.stable_diffusion import load_stable_diffusion, pad_token
from reference_cases import stacked

CPU = torch.device("cpu")
END = 49407
DIFFUSERS = "diffusion_pytorch_model.safetensors"
VAE, UNET, TEXT = f"vae/{DIFFUSERS}", f"unet/{DIFFUSERS}", "text_encoder/model.safetensors"


def load(folder: Path, *args: Any, **kwargs: Any) -> DiffusionSelfAttention:
    return drain(load_stable_diffusion(folder, CPU, *args, **kwargs))


def refused(folder: Path, said: str, **kwargs: Any) -> None:
    """Loading says this, in one sentence that tells which folder and what to do."""
    with pytest.raises(NapariCliperError, match=said) as caught:
        load(folder, **kwargs)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    assert ": " in message


@pytest.fixture
def copy(sd_folder: Path, tmp_path: Path) -> Path:
    """A Stable Diffusion that a test may spoil."""
    return shutil.copytree(sd_folder, tmp_path / "sd")


def edit(path: Path, change: Callable[[dict[str, Tensor]], Any]) -> None:
    """Change a file's tensors in place, or put what `change` returns instead of them."""
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    save_file(change(tensors) or tensors, path, metadata={"format": "pt"})


def configure(folder: Path, name: str = "config.json", /, **fields: Any) -> None:
    """Change a configuration's fields; None takes one out."""
    known = json.loads((folder / name).read_text()) | fields
    kept = {key: value for key, value in known.items() if value is not None}
    (folder / name).write_text(json.dumps(kept))


def cached() -> list[Path]:
    folder = Path(os.environ["NAPARI_CLIPER_CACHE"], "prompts")
    return sorted(folder.iterdir()) if folder.is_dir() else []


@torch.no_grad()
def empty_prompt(folder: Path, pad: int) -> Tensor:
    text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder").eval()
    tokens = torch.tensor([[49406, END] + [pad] * 75])
    return text_encoder(tokens).last_hidden_state


# What is loaded


@pytest.mark.parametrize(("name", "pad"), [("sd_folder", 0), ("sd1_folder", END)])
def test_the_prompt_is_what_the_text_encoder_makes_of_nothing(request, name, pad):
    folder = request.getfixturevalue(name)
    embedding = load(folder).prompt_embedding
    assert embedding.shape == (1, 77, 32)
    assert embedding.dtype == torch.float32
    torch.testing.assert_close(embedding, empty_prompt(folder, pad))
    assert not torch.allclose(embedding, empty_prompt(folder, END - pad), atol=1e-2)


@pytest.mark.parametrize(("name", "heads"), [("sd_folder", 2), ("sd1_folder", 8)])
def test_self_attention_is_that_of_the_models_diffusers_loads(request, name, heads):
    folder = request.getfixturevalue(name)
    source = load(folder)
    assert isinstance(source.scheduler, PNDMScheduler)
    source.scheduler.set_timesteps(50)
    assert source.scheduler.timesteps[45] == 101
    whole = DiffusionSelfAttention(
        AutoencoderKL.from_pretrained(folder / "vae", low_cpu_mem_usage=False).eval(),
        UNet2DConditionModel.from_pretrained(folder / "unet", low_cpu_mem_usage=False).eval(),
        source.scheduler,
        source.prompt_embedding,
    )
    loaded = source.unet.state_dict()
    for weight, tensor in whole.unet.state_dict().items():
        torch.testing.assert_close(loaded[weight], tensor, rtol=0, atol=0)
    image = skimage.data.chelsea()
    latent = source.encode_latent(image)
    torch.testing.assert_close(latent, whole.encode_latent(image))
    (maps, grid), (expected, _) = (drain(s.attention_maps(image)) for s in (source, whole))
    maps, expected = stacked(maps), stacked(expected)
    assert maps.shape == (2 * heads, 64, 64)
    torch.testing.assert_close(maps, expected)
    assert np.allclose(maps.sum(dim=-1), 1, atol=1e-4)
    assert grid == (8, 8)


def test_steps(sd_folder):
    steps = []
    drain(load_stable_diffusion(sd_folder, CPU), steps.append)
    assert [(step.name, step.done, step.total) for step in steps] == [
        ("Loading Stable Diffusion", done, 3) for done in range(3)
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_precision(sd_folder, dtype):
    source = load(sd_folder, dtype)
    for model in (source.vae, source.unet):
        assert model.dtype == dtype
        assert model.device == CPU
        assert not model.training
        parameters = list(model.parameters())
        assert {(p.dtype, p.device, p.requires_grad) for p in parameters} == {(dtype, CPU, False)}
        assert not any(buffer.is_meta for buffer in model.buffers())
    assert source.prompt_embedding.dtype == torch.float32
    assert source.prompt_embedding.device == CPU


def test_settings_are_passed_on(sd_folder):
    source = load(sd_folder, layers=[-1, -5], time_index=3, seed=7)
    assert (tuple(source.layers), source.time_index, source.seed) == ((-1, -5), 3, 7)
    assert source.noise is None
    source = load(sd_folder)
    assert (source.layers, source.time_index, source.seed) == ((-2, -3), 45, 0)


# No more than is needed


def test_only_what_is_needed_is_read(sd_folder, monkeypatch):
    read = []

    class Recorder:
        def __init__(self, path: Path, **kwargs: Any) -> None:
            self.path = path
            self.file = open_file(path, **kwargs)

        def __enter__(self):
            self.file.__enter__()
            return self

        def __exit__(self, *exception: object):
            return self.file.__exit__(*exception)

        def __getattr__(self, name: str):
            return getattr(self.file, name)

        def get_tensor(self, name: str):
            read.append(f"{self.path.parent.name}/{name}")
            return self.file.get_tensor(name)

    open_file = safetensors.safe_open
    monkeypatch.setattr(safetensors, "safe_open", Recorder)
    vae = load(sd_folder).vae
    assert not hasattr(vae, "decoder")
    assert not hasattr(vae, "post_quant_conv")
    stored = {
        f"{part.split('/')[0]}/{name}"
        for part in (VAE, UNET, TEXT)
        for name in load_file(sd_folder / part)
    }
    unneeded = {n for n in stored if n.startswith(("vae/decoder.", "vae/post_quant_conv."))}
    assert len(unneeded) > 20
    assert sorted(read) == sorted(stored - unneeded)  # each of them once


def without_decoder(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    kept = ("encoder.", "quant_conv.")
    return {name: tensor for name, tensor in tensors.items() if name.startswith(kept)}


def with_another_decoder(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    others = {name: torch.full((3, 5), torch.nan) for name in tensors}
    return others | without_decoder(tensors) | {"decoder.more": torch.ones(1)}


@pytest.mark.parametrize("change", [without_decoder, with_another_decoder])
def test_the_decoder_does_not_matter(sd_folder, copy, change):
    edit(copy / VAE, change)
    image = skimage.data.chelsea()
    latent = load(copy).encode_latent(image)
    torch.testing.assert_close(latent, load(sd_folder).encode_latent(image), rtol=0, atol=0)


def test_autoencoder_with_the_names_of_today(sd_folder, copy):
    AutoencoderKL.from_pretrained(sd_folder / "vae", low_cpu_mem_usage=False).save_pretrained(
        copy / "vae"
    )
    assert not any(".query." in name for name in load_file(copy / VAE))
    expected = load(sd_folder).vae.state_dict()
    for name, tensor in load(copy).vae.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=0)


def test_no_other_files_are_needed(sd_folder):
    """No tokenizer, no safety checker, no model index: these are all that the other tests have."""
    present = {str(path.relative_to(sd_folder)) for path in sd_folder.rglob("*.*")}
    assert present == {
        *(VAE, UNET, TEXT),
        *(f"{part}/config.json" for part in ("vae", "unet", "text_encoder")),
        "scheduler/scheduler_config.json",
    }


def half(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.half() for name, tensor in tensors.items()}


def test_half_precision_variants(sd_folder, copy):
    for part in (VAE, UNET, TEXT):
        edit(copy / part, half)
        (copy / part).rename((copy / part).with_suffix(".fp16.safetensors"))
    configure(copy / "text_encoder", dtype="float16")
    source, expected = load(copy), load(sd_folder)
    for model, other in ((source.vae, expected.vae), (source.unet, expected.unet)):
        assert model.dtype == torch.float32
        for name, tensor in other.state_dict().items():
            torch.testing.assert_close(model.state_dict()[name], tensor.half().float())
    assert source.prompt_embedding.dtype == torch.float32
    assert not torch.equal(source.prompt_embedding, expected.prompt_embedding)
    torch.testing.assert_close(
        source.prompt_embedding, expected.prompt_embedding, atol=0.05, rtol=0.05
    )


def test_full_precision_goes_before_the_variant(copy):
    edit(copy / UNET, lambda tensors: {n: torch.zeros_like(t) for n, t in tensors.items()})
    (copy / UNET).rename((copy / UNET).with_suffix(".fp16.safetensors"))
    assert not any(p.any() for p in load(copy).unet.parameters())
    UNet2DConditionModel.from_config(
        UNet2DConditionModel.load_config(copy / "unet")
    ).save_pretrained(copy / "unet")
    assert any(p.any() for p in load(copy).unet.parameters())


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_u_net_in_several_files(sd_folder, copy, variant):
    unet = UNet2DConditionModel.from_pretrained(sd_folder / "unet", low_cpu_mem_usage=False)
    (copy / UNET).unlink()
    unet.save_pretrained(copy / "unet", max_shard_size="100KB", variant=variant)
    assert len(list((copy / "unet").glob("*-of-*.safetensors"))) > 1
    loaded = load(copy).unet.state_dict()
    for name, tensor in unet.state_dict().items():
        torch.testing.assert_close(loaded[name], tensor, rtol=0, atol=0)


# The cached prompt


def test_the_text_encoder_is_dropped(sd_folder, monkeypatch):
    loaded = []
    original = CLIPTextModel.from_pretrained

    def from_pretrained(*args: Any, **kwargs: Any):
        result = original(*args, **kwargs)
        loaded.append(weakref.ref(result[0]))
        return result

    monkeypatch.setattr(CLIPTextModel, "from_pretrained", from_pretrained)
    source = load(sd_folder)
    gc.collect()
    assert [reference() for reference in loaded] == [None]
    assert source.prompt_embedding.grad_fn is None
    load(sd_folder)
    assert len(loaded) == 1


SECOND = """
import sys
from pathlib import Path
import torch
from napari_cliper.cliper import drain
from napari_cliper.models import stable_diffusion
prompt = drain(stable_diffusion.load_stable_diffusion(Path(sys.argv[1]), torch.device("cpu")))
print(prompt.prompt_embedding.double().sum().item())
print([name for name in sys.modules if name.startswith("transformers.models.clip")])
"""


def run(folder: Path) -> "subprocess.Popen[str]":
    """Load in another process."""
    command = [sys.executable, "-c", SECOND, str(folder)]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_a_second_time_needs_no_text_encoder(copy):
    embedding = load(copy).prompt_embedding
    (path,) = cached()
    assert path.suffix == ".safetensors"
    # Its weights' place, size and time stay, its content goes: whoever opens it fails.
    weights = copy / TEXT
    before = weights.stat()
    weights.write_bytes(bytes(before.st_size))
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    torch.testing.assert_close(load(copy).prompt_embedding, embedding, rtol=0, atol=0)
    process = run(copy)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    # diffusers imports much of transformers by itself, but not the text encoder.
    total, modules = output.splitlines()
    assert float(total) == embedding.double().sum().item()
    assert modules == "[]"


@pytest.mark.slow
def test_two_processes_at_once(sd_folder):
    processes = [run(sd_folder) for _ in range(2)]
    results = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], results
    first, second = (output.splitlines()[0] for output, _ in results)
    assert first == second
    (path,) = cached()  # and no temporary file
    assert load_file(path)["embedding"].double().sum().item() == float(first)


def test_both_encode_and_both_write(sd_folder, monkeypatch):
    """The race itself: neither finds a file, then both put one in place."""
    barrier = threading.Barrier(2, timeout=60)
    known = torch.randn(1, 77, 32)
    results = []

    def encode() -> Tensor:
        barrier.wait()
        return known

    def ask() -> None:
        config, weights = sd_folder / "text_encoder" / "config.json", [sd_folder / TEXT]
        results.append(prompts.cached_embedding(config, weights, encode))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [torch.equal(result, known) for result in results] == [True, True]
    (path,) = cached()
    assert torch.equal(load_file(path)["embedding"], known)


def change_the_weights(folder: Path) -> None:
    path = folder / TEXT
    edit(path, lambda tensors: {name: tensor * 2 for name, tensor in tensors.items()})
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))  # however coarse the clock is


def change_the_activation(folder: Path) -> None:
    configure(folder / "text_encoder", hidden_act="quick_gelu")


def move(folder: Path) -> None:
    """To where another encoder was, of the same size and time."""
    path = folder / TEXT
    other = path.with_name("other.safetensors")
    shutil.copy2(path, other)
    edit(other, lambda tensors: {name: tensor * 2 for name, tensor in tensors.items()})
    os.utime(other, ns=(0, path.stat().st_mtime_ns))
    path.unlink()
    path.symlink_to(other)


@pytest.mark.parametrize("change", [change_the_weights, change_the_activation, move])
def test_another_text_encoder_gets_its_own(copy, change):
    before = load(copy).prompt_embedding
    change(copy)
    after = load(copy).prompt_embedding
    pad = pad_token(copy / "text_encoder")
    torch.testing.assert_close(after, empty_prompt(copy, pad))
    assert not torch.allclose(before, after, atol=1e-2)
    assert len(cached()) == 2


def test_another_format_forgets(sd_folder, monkeypatch):
    load(sd_folder)
    monkeypatch.setattr(prompts, "FORMAT", prompts.FORMAT + 1)
    load(sd_folder)
    assert len(cached()) == 2


def test_no_cached_embedding_for_weights_that_are_gone(copy):
    load(copy)
    (copy / TEXT).unlink()
    refused(copy, r"text_encoder \(it lacks model\.safetensors\)")


def stored(embedding: Tensor, name: str = "embedding") -> Callable[[Path], None]:
    return lambda path: save_file({name: embedding}, path)


def infinite(shape: tuple[int, ...]) -> Tensor:
    return torch.full(shape, torch.inf)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"no header at all"),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        stored(torch.zeros(1, 77, 32), "other"),
        stored(torch.zeros(1, 76, 32)),
        stored(torch.zeros(77, 32)),
        stored(torch.zeros(1, 77, 32, dtype=torch.float64)),
        stored(infinite((1, 77, 32))),
    ],
)
def test_a_damaged_file_is_remade(sd_folder, damage):
    expected = load(sd_folder).prompt_embedding
    (path,) = cached()
    whole = path.read_bytes()
    damage(path)
    assert path.read_bytes() != whole
    torch.testing.assert_close(load(sd_folder).prompt_embedding, expected)
    assert cached() == [path]
    assert path.read_bytes() == whole


def test_a_damaged_file_is_dropped_even_if_it_cannot_be_remade(sd_folder, monkeypatch):
    load(sd_folder)
    (path,) = cached()
    path.write_bytes(b"no header at all")
    monkeypatch.setattr(prompts.KeptFiles, "put", lambda self, entries: None)
    load(sd_folder)
    assert cached() == []


def test_a_cache_that_cannot_be_written(sd_folder, tmp_path, monkeypatch):
    blocked = tmp_path / "a file"
    blocked.write_text("in the way")
    monkeypatch.setenv("NAPARI_CLIPER_CACHE", str(blocked))
    torch.testing.assert_close(load(sd_folder).prompt_embedding, empty_prompt(sd_folder, 0))
    assert blocked.read_text() == "in the way"


def test_the_file_appears_whole(sd_folder, monkeypatch):
    """Nothing is ever written under its name: it is moved there."""
    written = []

    def record(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
        written.append(path)
        save_file(tensors, path, metadata)

    monkeypatch.setattr(safetensors.torch, "save_file", record)
    load(sd_folder)
    (path,) = cached()
    assert len(written) == 1
    assert path not in written


def test_a_full_disk_leaves_nothing_behind(sd_folder, monkeypatch):

    def write_half(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(safetensors.torch, "save_file", write_half)
        expected = load(sd_folder).prompt_embedding
    assert cached() == []
    torch.testing.assert_close(load(sd_folder).prompt_embedding, expected)
    assert len(cached()) == 1


# What is refused


@pytest.mark.parametrize(("activation", "expected"), [("quick_gelu", END), ("gelu", 0)])
def test_padding_is_known_by_the_activation(tmp_path, activation, expected):
    config = {"model_type": "clip_text_model", "hidden_act": activation}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert pad_token(tmp_path) == expected


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"hidden_act": "gelu_new"}, "“clip_text_model” with the activation “gelu_new”"),
        ({"hidden_act": None}, "the activation “None”"),
        ({"hidden_act": ["gelu"]}, "the activation"),
        ({"model_type": "xlm-roberta"}, "the text encoder “xlm-roberta”"),
    ],
)
def test_other_text_encoders(copy, fields, said):
    configure(copy / "text_encoder", **fields)
    refused(copy, f"{said}.*take a text-to-image Stable Diffusion 1 or 2")


@pytest.mark.parametrize(
    ("part", "fields", "said"),
    [
        ("unet", {"addition_embed_type": "text_time"}, "holds Stable Diffusion XL"),
        ("unet", {"addition_embed_type": "image"}, "takes more than words .addition_embed_type"),
        ("unet", {"class_embed_type": "projection"}, "takes more than words .class_embed_type"),
        ("unet", {"num_class_embeds": 1000}, "takes more than words .num_class_embeds"),
        ("unet", {"encoder_hid_dim": 64}, "takes more than words .encoder_hid_dim"),
        ("unet", {"in_channels": 9}, "a U-Net for inpainting, with 9 input channels"),
        ("unet", {"in_channels": 8}, "a U-Net for another task, with 8 input channels"),
        ("unet", {"_class_name": "UNet3DConditionModel"}, "a U-Net of another kind"),
        ("unet", {"down_block_types": ["KDownBlock2D"] * 2}, "a U-Net of another kind"),
        ("vae", {"_class_name": "AutoencoderTiny"}, "an autoencoder of another kind"),
        ("vae", {"latent_channels": 16}, "an autoencoder of another kind"),
    ],
)
def test_other_models(copy, part, fields, said):
    configure(copy / part, **fields)
    refused(copy, f"{said}.*: take a text-to-image Stable Diffusion 1 or 2")


def test_stable_diffusion_xl_by_its_second_text_encoder(copy):
    (copy / "text_encoder_2").mkdir()
    refused(copy, "Stable Diffusion XL")


def test_diffusion_transformer(copy):
    (copy / "unet").rename(copy / "transformer")
    refused(copy, "a diffusion transformer, which has no U-Net: take a text-to-image")


def test_folder_without_a_u_net(copy):
    shutil.rmtree(copy / "unet")
    refused(copy, "it has no folder unet")


@pytest.mark.parametrize("part", [VAE, UNET, TEXT])
def test_part_without_weights(copy, part):
    (copy / part).unlink()
    folder, name = part.split("/")
    refused(copy, rf"{folder} \(it lacks {name}\): it must hold safetensors weights")


@pytest.mark.parametrize("part", [VAE, UNET, TEXT])
@pytest.mark.parametrize("pickled", ["{stem}.bin", "{stem}.fp16.bin", "pytorch_model.bin"])
def test_pickled_part_is_not_read(copy, part, pickled):
    path = copy / part
    place = path.with_name(pickled.format(stem=path.stem))
    path.rename(place)
    refused(copy, rf"{place.name} is pickled, so it could run code\): it must hold safetensors")


@pytest.mark.parametrize("part", [VAE, UNET, TEXT])
@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1"])
def test_damaged_weights(copy, part, content):
    (copy / part).write_bytes(content)
    refused(copy, f"cannot be loaded from .*{part.split('/')[0]} .*header")


@pytest.mark.parametrize("part", [VAE, UNET, TEXT])
def test_weight_that_is_missing(copy, part):
    gone = "mid_block.resnets.0.norm1.bias" if part != TEXT else "final_layer_norm.bias"

    def drop(tensors: dict[str, Tensor]) -> None:
        tensors.pop(next(name for name in tensors if name.endswith(gone) and "decoder" not in name))

    edit(copy / part, drop)
    refused(copy, f"{part.split('/')[0]} .the weights lack .*{gone}")


@pytest.mark.parametrize(
    ("part", "name"),
    [(VAE, "encoder.more.weight"), (VAE, "more.weight"), (UNET, "more.weight")],
)
def test_weight_too_many(copy, part, name):
    edit(copy / part, lambda tensors: tensors | {name: torch.ones(1)})
    refused(copy, f"the weights have {name}, and its configuration has not")


@pytest.mark.parametrize(
    ("part", "name"),
    [
        (VAE, "encoder.mid_block.attentions.0.query.weight"),
        (VAE, "quant_conv.weight"),
        (UNET, "conv_in.weight"),
    ],
)
def test_weight_of_another_shape(copy, part, name):
    edit(copy / part, lambda tensors: tensors | {name: torch.ones(3, 5)})
    present = name.replace("query", "to_q")
    refused(copy, rf"{present} has the shape \[3, 5\], not \[")


def test_text_encoder_of_another_shape(copy):
    name = "text_model.final_layer_norm.bias"
    edit(copy / TEXT, lambda tensors: tensors | {name: torch.ones(3)})
    refused(copy, "cannot be loaded from .*text_encoder")
    assert cached() == []


def test_text_encoder_of_another_model(copy):
    configure(copy / "unet", cross_attention_dim=64)
    refused(copy, "the text encoder and the U-Net are of two models")


@pytest.mark.parametrize("part", ["vae", "unet", "text_encoder"])
@pytest.mark.parametrize("content", [None, "{", "[]", b"\xff\xfe{}"])
def test_damaged_configuration(copy, part, content):
    path = copy / part / "config.json"
    path.unlink()
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(copy, f"cannot be loaded from .*{part} ")


@pytest.mark.parametrize(
    ("part", "fields"),
    [
        ("vae", {"block_out_channels": "many"}),
        ("unet", {"down_block_types": 3}),
        ("unet", {"norm_num_groups": 0}),
        ("unet", {"sample_size": None}),
        ("unet", {"sample_size": [8, 8]}),
        ("text_encoder", {"hidden_size": "wide"}),
        ("text_encoder", {"vocab_size": 100}),
        ("text_encoder", {"max_position_embeddings": 7}),
    ],
)
def test_configuration_that_makes_no_sense(copy, part, fields):
    configure(copy / part, **fields)
    refused(copy, f"cannot be loaded from .*{part} ")


@pytest.mark.parametrize(
    "fields",
    [
        {"_class_name": "AutoencoderKL"},
        {"_class_name": "NoSuchScheduler"},
        {"_class_name": "FlowMatchEulerDiscreteScheduler"},  # it adds no noise as the method does
        {"_class_name": None},
        {"beta_schedule": "unheard of"},
    ],
)
def test_broken_scheduler(copy, fields):
    configure(copy / "scheduler", "scheduler_config.json", **fields)
    refused(copy, r"cannot be loaded from .*scheduler")


@pytest.mark.parametrize("name", ["../vae/" + DIFFUSERS, "part-2.safetensors", ""])
def test_index_that_names_what_is_not_there(copy, name):
    index = copy / "unet" / f"{DIFFUSERS}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": {"conv_in.weight": name}}))
    (copy / UNET).unlink()
    refused(copy, rf"unet \(it lacks {name}, which {index.name} names\)")


@pytest.mark.parametrize("content", ["{", "{}", '{"weight_map": {}}', '{"weight_map": {"a": [3]}}'])
def test_damaged_index(copy, content):
    (copy / "unet" / f"{DIFFUSERS}.index.json").write_text(content)
    (copy / UNET).unlink()
    refused(copy, "cannot be loaded from .*unet ")


def test_layers_and_times_there_are(sd_folder):
    count = len(self_attention_layers(load(sd_folder).unet))
    last = len(load(sd_folder).scheduler.timesteps) - 1
    assert load(sd_folder, layers=[-count, -1], time_index=0).layers == (-count, -1)
    assert load(sd_folder, time_index=last).time_index == last
    for layers in ([-count - 1], [-1, 0], [2], []):
        refused(sd_folder, f"choose one or more from -{count} to -1, the last", layers=layers)
    for time_index in (-1, last + 1):
        refused(sd_folder, f"{time_index} is not in .* from 0 to {last}", time_index=time_index)


def test_refused_before_anything_is_read(sd_folder, monkeypatch):
    def fail(*args: object) -> None:
        raise AssertionError("weights are read")

    monkeypatch.setattr(stable_diffusion, "_open", fail)
    refused(sd_folder, "choose one or more from", layers=[-100])
    refused(sd_folder, "choose one from", time_index=100)
    with pytest.raises(AssertionError, match="weights are read"):
        load(sd_folder)
