"""Stable Diffusion's parts from a folder laid out as on the hub, as far as they are needed.

That is the autoencoder's encoder, the U-Net, the scheduler, and of the text encoder what it makes
of the empty prompt. Models are built without memory and filled with the file's tensors one by one.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from napari_cliper.cliper import DiffusionSelfAttention, Step
from napari_cliper.cliper.diffusion import self_attention_layers
from napari_cliper.cliper.steps import Steps
from napari_cliper.errors import NapariCliperError
from napari_cliper.models.prompts import LENGTH, cached_embedding

STEP = "Loading Stable Diffusion"
# The parts with weights, and what diffusers and transformers call these.
WEIGHTS = {
    "vae": "diffusion_pytorch_model",
    "unet": "diffusion_pytorch_model",
    "text_encoder": "model",
}
BEGIN, END = 49406, 49407  # CLIP's tokens
# What fills up prompts, by the activation: version 1 has OpenAI's CLIP and fills with the end
# token, version 2 has OpenCLIP's and fills with "!".
PAD = {"quick_gelu": END, "gelu": 0}
LATENT_CHANNELS = 4
SCHEDULE = 50  # steps, of which one is taken
U_NET_BLOCKS = {"DownBlock2D", "CrossAttnDownBlock2D", "UpBlock2D", "CrossAttnUpBlock2D"}
# What else than words and a latent makes a U-Net work, and that the method does not have.
CONDITIONS = ("addition_embed_type", "class_embed_type", "num_class_embeds", "encoder_hid_dim")
# The names that attention has in autoencoders published years ago.
OLD_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}

Config = dict[str, Any]


def load_stable_diffusion(
    folder: Path,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    layers: Sequence[int] = (-2, -3),
    time_index: int = 45,
    seed: int = 0,
) -> Steps[DiffusionSelfAttention]:
    """The autoencoder's encoder, the U-Net, the scheduler and the empty prompt's embedding.

    Parameters
    ----------
    folder : Path
        A text-to-image Stable Diffusion 1 or 2 as diffusers lays it out: `vae`, `unet`,
        `scheduler`, `text_encoder`. Weights may be half-precision variants (`.fp16.safetensors`)
        and in several files. No tokenizer is needed.
    device : torch.device
        Of the autoencoder and the U-Net; the embedding stays on the CPU, in float32.
    dtype : torch.dtype
        What the autoencoder and the U-Net are to be in, whatever the files are in.
    layers : sequence of int
        Self-attention layers of the U-Net, counted from the last, which is -1.
    time_index : int
        Index into the 50-step schedule.
    seed : int
        Of the noise.

    Yields
    ------
    Step

    Raises
    ------
    NapariCliperError
        If this is another kind of model, a part is missing, is not safetensors or is not what its
        configuration says, or there is no such layer or time.
    """
    yield Step(STEP, 0, 3)
    # All that can be refused is refused before gigabytes are read.
    check_family(folder)
    weights = {part: find_weights(folder / part, stem) for part, stem in WEIGHTS.items()}
    text_encoder = folder / "text_encoder"
    pad = pad_token(text_encoder)
    scheduler = load_scheduler(folder / "scheduler")
    _check_time(scheduler, time_index)
    unet = build_unet(folder / "unet")
    _check_layers(unet, layers)
    # The text encoder comes first, so that it is gone when there is much else in memory.
    prompt = cached_embedding(
        text_encoder / "config.json",
        weights["text_encoder"],
        lambda: encode_empty_prompt(text_encoder, weights["text_encoder"], pad),
    )
    if prompt.shape[-1] != unet.config.cross_attention_dim:
        raise _damaged(folder, "the text encoder and the U-Net are of two models")
    yield Step(STEP, 1, 3)
    vae = load_encoder(folder / "vae", weights["vae"], device, dtype)
    yield Step(STEP, 2, 3)
    _fill(unet, weights["unet"], device, dtype)
    return DiffusionSelfAttention(
        vae, unet, scheduler, prompt, tuple(layers), time_index, seed=seed
    )


def check_family(folder: Path) -> None:
    """Refuse a folder that is no text-to-image Stable Diffusion 1 or 2, by its configurations."""
    if not (folder / "unet").is_dir():
        if (folder / "transformer").is_dir():
            raise _unsuitable(folder, "a diffusion transformer, which has no U-Net")
        raise _damaged(folder, "it has no folder unet")
    unet, vae = _read_config(folder / "unet"), _read_config(folder / "vae")
    two_encoders = (folder / "text_encoder_2").is_dir()
    if two_encoders or unet.get("addition_embed_type") == "text_time":
        raise _unsuitable(folder, "Stable Diffusion XL")
    with _explained(folder / "unet"):
        _check_unet(folder, unet)
    kind = vae.get("_class_name", "AutoencoderKL")
    if kind != "AutoencoderKL" or vae.get("latent_channels", 4) != LATENT_CHANNELS:
        raise _unsuitable(folder, "an autoencoder of another kind")


def _check_unet(folder: Path, config: Config) -> None:
    kind = config.get("_class_name", "UNet2DConditionModel")
    blocks = {*config.get("down_block_types", ()), *config.get("up_block_types", ())}
    if kind != "UNet2DConditionModel" or not blocks <= U_NET_BLOCKS:
        raise _unsuitable(folder, "a U-Net of another kind")
    channels = config.get("in_channels", LATENT_CHANNELS)
    if channels != LATENT_CHANNELS:
        task = "inpainting" if channels == 9 else "another task"
        raise _unsuitable(folder, f"a U-Net for {task}, with {channels} input channels")
    if more := [name for name in CONDITIONS if config.get(name) is not None]:
        raise _unsuitable(folder, f"a U-Net that takes more than words ({more[0]})")
    if not isinstance(config.get("sample_size"), int):
        raise ValueError("its configuration lacks sample_size, one number")


def load_encoder(
    folder: Path, weights: Sequence[Path], device: torch.device, dtype: torch.dtype
) -> Any:
    """The autoencoder without its decoder, whose weights are not read.

    Parameters
    ----------
    folder : Path
        With the whole autoencoder's configuration.
    weights : sequence of Path
        The whole autoencoder's safetensors files.
    device : torch.device
    dtype : torch.dtype

    Returns
    -------
    diffusers.AutoencoderKL
        That can `encode`, and nothing else.
    """
    from diffusers import AutoencoderKL

    vae = _build(AutoencoderKL, folder)
    del vae.decoder, vae.post_quant_conv

    def present_name(name: str) -> str | None:
        if name.startswith(("decoder.", "post_quant_conv.")):
            return None
        module, _, parameter = name.rpartition(".")
        parent, _, last = module.rpartition(".")
        return f"{parent}.{OLD_NAMES[last]}.{parameter}" if last in OLD_NAMES else name

    _fill(vae, weights, device, dtype, present_name)
    return vae


def build_unet(folder: Path) -> Any:
    """The U-Net that a configuration tells of, still without weights."""
    from diffusers import UNet2DConditionModel

    return _build(UNet2DConditionModel, folder)


def load_scheduler(folder: Path) -> Any:
    """The scheduler that the model was published with, its times set."""
    import diffusers

    config = _read_config(folder, "scheduler_config.json")
    with _explained(folder):
        kind = getattr(diffusers, config["_class_name"])
        if not (issubclass(kind, diffusers.SchedulerMixin) and hasattr(kind, "add_noise")):
            raise TypeError(f"{config['_class_name']} is no scheduler of Stable Diffusion")
        scheduler = kind.from_config(config)
        scheduler.set_timesteps(SCHEDULE)
    return scheduler


def pad_token(folder: Path) -> int:
    """The token that fills up prompts, by the text encoder's configuration."""
    config = _read_config(folder)
    kind, activation = config.get("model_type"), config.get("hidden_act")
    pad = PAD.get(str(activation))
    if kind != "clip_text_model" or pad is None:
        raise _unsuitable(folder, f"the text encoder “{kind}” with the activation “{activation}”")
    return pad


@torch.no_grad()
def encode_empty_prompt(folder: Path, weights: Sequence[Path], pad: int) -> Tensor:
    """What a text encoder makes of nothing.

    Parameters
    ----------
    folder : Path
        With its configuration.
    weights : sequence of Path
        Its safetensors files.
    pad : int
        As of `pad_token`.

    Returns
    -------
    (1, 77, width) float32, on the CPU
    """
    from transformers import CLIPTextConfig, CLIPTextModel

    tokens = torch.tensor([[BEGIN, END] + [pad] * (LENGTH - 2)])
    with ExitStack() as stack:
        stored = _open(weights, stack)
        tensors = {name: file.get_tensor(name) for name, file in stored.items()}
    # transformers knows under which names its versions have stored them.
    with _explained(folder), _no_progress_bars():
        loaded: Any = CLIPTextModel.from_pretrained(
            None,
            config=CLIPTextConfig.from_dict(_read_config(folder)),
            state_dict=tensors,
            dtype=torch.float32,
            output_loading_info=True,
        )
        text_encoder, report = loaded
        if missing := sorted(report["missing_keys"]):
            raise ValueError(f"the weights lack {missing[0]}")
        embedding: Tensor = text_encoder.eval()(tokens).last_hidden_state
    return embedding


def find_weights(folder: Path, stem: str) -> list[Path]:
    """The safetensors files of a part: one, or several that an index names.

    Parameters
    ----------
    folder : Path
    stem : str
        The name before ".safetensors", or before ".fp16.safetensors" where that is all there is.

    Raises
    ------
    NapariCliperError
        If there are none; pickled ones are not taken for them.
    """
    for variant in ("", ".fp16"):
        whole = folder / f"{stem}{variant}.safetensors"
        if whole.is_file():
            return [whole]
        index = folder / f"{stem}.safetensors.index{variant}.json"
        if index.is_file():
            return _shards(index)
    if pickled := sorted(folder.glob("*.bin")):
        raise _damaged(folder, f"{pickled[0].name} is pickled, so it could run code")
    raise _damaged(folder, f"it lacks {stem}.safetensors")


def _shards(index: Path) -> list[Path]:
    with _explained(index.parent):
        names = sorted(set(_read_config(index.parent, index.name)["weight_map"].values()))
        if not names:
            raise ValueError(f"{index.name} names no files")
    for name in names:
        # A name with folders in it could lead anywhere.
        if Path(name).name != name or not (index.parent / name).is_file():
            raise _damaged(index.parent, f"it lacks {name}, which {index.name} names")
    return [index.parent / name for name in names]


def _read_config(folder: Path, name: str = "config.json") -> Config:
    with _explained(folder):
        config = json.loads((folder / name).read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise TypeError(f"{name} is not a configuration")
    return config


def _build(kind: Any, folder: Path) -> Any:
    """A model of diffusers that takes no memory yet."""
    config = _read_config(folder)
    with _explained(folder), torch.device("meta"):
        return kind.from_config(config)


def _fill(
    model: Any,
    weights: Sequence[Path],
    device: torch.device,
    dtype: torch.dtype,
    present_name: Callable[[str], str | None] = lambda name: name,
) -> None:
    """Put the weights in these files into a model: all, no others, and none of another shape.

    `present_name` tells the model's name from the file's; what it gives None for is not read.
    """
    wanted = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    with ExitStack() as stack:
        stored = _open(weights, stack)
        names = {present: name for name in stored if (present := present_name(name)) is not None}
        shapes = {
            present: stored[name].get_slice(name).get_shape() for present, name in names.items()
        }
        if (wrong := _difference(wanted, shapes)) is not None:
            raise _damaged(weights[0].parent, wrong)
        tensors = {
            present: stored[name].get_tensor(name).to(device, dtype)
            for present, name in names.items()
        }
    model.load_state_dict(tensors, strict=True, assign=True)
    model.eval().requires_grad_(False)


def _open(paths: Sequence[Path], stack: ExitStack) -> dict[str, Any]:
    """Which open file has the tensor of each name; none is read yet."""
    from safetensors import safe_open

    with _explained(paths[0].parent):
        files = [stack.enter_context(safe_open(path, framework="pt")) for path in paths]
    return {name: file for file in files for name in file.keys()}  # noqa: SIM118  # no mapping


def _difference(wanted: Mapping[str, list[int]], found: Mapping[str, list[int]]) -> str | None:
    """What is wrong with the weights found, if something is."""
    if missing := sorted(wanted.keys() - found.keys()):
        return f"the weights lack {missing[0]}"
    if extra := sorted(found.keys() - wanted.keys()):
        return f"the weights have {extra[0]}, and its configuration has not"
    other = next((name for name in wanted if wanted[name] != found[name]), None)
    if other is None:
        return None
    return f"{other} has the shape {found[other]}, not {wanted[other]}"


def _check_time(scheduler: Any, time_index: int) -> None:
    last = len(scheduler.timesteps) - 1
    if not 0 <= time_index <= last:
        raise NapariCliperError(
            f"The time index {time_index} is not in Stable Diffusion's schedule: choose one from "
            f"0 to {last}."
        )


def _check_layers(unet: Any, layers: Sequence[int]) -> None:
    count = len(self_attention_layers(unet))
    if not layers or not all(-count <= layer <= -1 for layer in layers):
        raise NapariCliperError(
            f"The layers {list(layers)} are not all among Stable Diffusion's {count} with "
            f"self-attention: choose one or more from -{count} to -1, the last."
        )


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Say which folder is wrong, whatever is raised because of what is in it."""
    try:
        yield
    except (NapariCliperError, MemoryError):
        raise
    except Exception as error:  # a configuration can make diffusers and transformers raise any
        raise _damaged(folder, error) from error


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    """Progress is told as steps; transformers' own bars would write across them."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _damaged(folder: Path, reason: object) -> NapariCliperError:
    line = str(reason).strip().splitlines()[0] if str(reason).strip() else "unreadable"
    return NapariCliperError(
        f"Stable Diffusion cannot be loaded from {folder} ({line.rstrip('.')}): it must hold "
        "safetensors weights laid out as on the hub."
    )


def _unsuitable(folder: Path, found: str) -> NapariCliperError:
    return NapariCliperError(
        f"{folder} holds {found}: take a text-to-image Stable Diffusion 1 or 2, laid out as on "
        "the hub."
    )
