"""Stable Diffusion's parts from a folder laid out as on the hub."""

import importlib.util
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from napari_cliper.cliper import DiffusionSelfAttention, Step
from napari_cliper.cliper.steps import Steps
from napari_cliper.errors import NapariCliperError
from napari_cliper.models.open_clip_towers import NoInitialisation

STEP = "Loading Stable Diffusion"
BEGIN, END = 49406, 49407  # CLIP's tokens
PAD = {"!": 0, "<|endoftext|>": END}
LENGTH = 77


def load_stable_diffusion(folder: Path, device: torch.device) -> Steps[DiffusionSelfAttention]:
    """The autoencoder, the U-Net, the scheduler and the empty prompt's embedding.

    Parameters
    ----------
    folder : Path
        With `presets.STABLE_DIFFUSION` in it.
    device : torch.device

    Yields
    ------
    Step

    Raises
    ------
    NapariCliperError
        If a part is missing, is not safetensors, or is not what its configuration says.
    """
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel

    yield Step(STEP, 0, 3)
    vae = _load(AutoencoderKL, folder / "vae").to(device)
    yield Step(STEP, 1, 3)
    unet = _load(UNet2DConditionModel, folder / "unet").to(device)
    yield Step(STEP, 2, 3)
    scheduler = load_scheduler(folder / "scheduler")
    text_encoder = _load(CLIPTextModel, folder / "text_encoder")
    prompt = empty_prompt_embedding(text_encoder, pad_token(folder / "tokenizer"))
    return DiffusionSelfAttention(vae, unet, scheduler, prompt)


def load_scheduler(folder: Path) -> Any:
    """The scheduler that the model was published with, from its configuration."""
    import diffusers

    try:
        config = json.loads((folder / "scheduler_config.json").read_text(encoding="utf-8"))
        kind = getattr(diffusers, config["_class_name"])
        if not issubclass(kind, diffusers.SchedulerMixin):
            raise TypeError(f"{config['_class_name']} is no scheduler")
        return kind.from_config(config)
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise _damaged(folder, error) from error


def pad_token(folder: Path) -> int:
    """The token that fills up prompts: the end token in Stable Diffusion 1, "!" in 2.

    Of the tokenizer's files `special_tokens_map.json` has the say; `tokenizer_config.json` may name
    another one.
    """
    try:
        known = json.loads((folder / "special_tokens_map.json").read_text(encoding="utf-8"))
        token = known["pad_token"]
        return PAD[token["content"] if isinstance(token, dict) else token]
    except KeyError as error:
        reason = f"its padding is not one of {', '.join(PAD)}"
        raise _damaged(folder, reason) from error
    except (OSError, ValueError, TypeError) as error:
        raise _damaged(folder, error) from error


@torch.no_grad()
def empty_prompt_embedding(text_encoder: Any, pad: int) -> Tensor:
    """What the text encoder makes of nothing: (1, 77, width) float32."""
    tokens = torch.tensor([[BEGIN, END] + [pad] * (LENGTH - 2)])
    embedding: Tensor = text_encoder(tokens).last_hidden_state
    return embedding


def _load(kind: Any, folder: Path) -> Any:
    """A model of diffusers or transformers in float32, from safetensors only, nothing left out."""
    options: dict[str, Any] = {"use_safetensors": True, "local_files_only": True}
    if kind.__module__.startswith("diffusers"):
        # Without accelerate diffusers would turn this off by itself, but warn.
        options["low_cpu_mem_usage"] = importlib.util.find_spec("accelerate") is not None
    try:
        with NoInitialisation(), _no_progress_bars():
            model, report = kind.from_pretrained(folder, output_loading_info=True, **options)
    except (OSError, ValueError, RuntimeError, TypeError) as error:
        raise _damaged(folder, error) from error
    wrong = [*report["missing_keys"], *(str(key) for key in report["mismatched_keys"])]
    if wrong:
        raise _damaged(folder, f"the weights lack {sorted(wrong)[0]}")
    return model.float().eval().requires_grad_(False)


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
