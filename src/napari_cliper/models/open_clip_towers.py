"""open_clip models from safetensors files, and tokenizers that can count."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from napari_cliper.cliper import ImageEncoder, TextEncoder
from napari_cliper.errors import NapariCliperError
from napari_cliper.models.dual_encoder import TOWERS
from napari_cliper.models.presets import ARCHITECTURES, ClipEncoder, DualEncoder
from napari_cliper.models.tensors import read_tensors


class NoInitialisation(TorchFunctionMode):
    """While active, torch.nn.init leaves tensors as they are: they are about to be loaded."""

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(function, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return function(*args, **kwargs)


def load_clip(
    encoder: ClipEncoder, weights: Path, device: torch.device
) -> tuple[ImageEncoder, TextEncoder]:
    """Both towers of a model in open_clip's format.

    Parameters
    ----------
    encoder : ClipEncoder
    weights : Path
        One safetensors file.
    device : torch.device

    Raises
    ------
    NapariCliperError
        If open_clip has no such architecture, the method cannot use it, or the weights are others.
    """
    import open_clip

    config = open_clip.get_model_config(encoder.architecture)
    if config is None:
        raise NapariCliperError(
            f"open_clip has no architecture “{encoder.architecture}”: see open_clip.list_models()."
        )
    text = config["text_cfg"]
    if any(text.get(name) for name in ("hf_model_name", "hf_tokenizer_name")):
        raise _unsuitable(encoder.architecture)
    model = build(config, encoder.architecture, read_tensors(weights))
    tokenizer = open_clip.SimpleTokenizer(context_length=text["context_length"])
    text_encoder = TextEncoder(
        model.to(device).encode_text,
        tokenizer,
        lambda words: len(tokenizer.encode(words)) + 2,  # beginning and end
        text["context_length"],
        device,
    )
    return ImageEncoder(model.visual, encoder.mean, encoder.std), text_encoder


def load_dual(
    encoder: DualEncoder,
    folder: Path,
    device: torch.device,
    heads: Mapping[str, Tensor] | None = None,
) -> tuple[ImageEncoder, TextEncoder]:
    """Two converted towers and the heads that join them.

    Parameters
    ----------
    encoder : DualEncoder
    folder : Path
        Made by `dual_encoder.convert`.
    device : torch.device
    heads : mapping or None
        `visual.proj`, (width, D) float, and what `text.proj` needs, by name. None puts identities
        in their place, so that the towers' own embeddings come out, as one needs to train heads.

    Raises
    ------
    NapariCliperError
        If the folder or the heads do not fit the architecture.
    """
    config = json.loads((ARCHITECTURES / f"{encoder.architecture}.json").read_text("utf-8"))
    text = config["text_cfg"] | {"hf_model_name": str(folder)}
    width = config["vision_cfg"]["width"]
    if heads is None:
        text["hf_proj_type"] = None
        heads = {"visual.proj": torch.eye(width)}
    embed_dim = heads["visual.proj"].shape[1] if "visual.proj" in heads else config["embed_dim"]
    weights = read_tensors(folder / TOWERS, f"delete {folder} and try again") | dict(heads)
    # The settings' scale is used in its place.
    weights.setdefault("logit_scale", torch.zeros(()))
    model = build(
        config | {"text_cfg": text, "embed_dim": embed_dim}, encoder.architecture, weights
    )
    tokenizer = _sentence_tokenizer(folder)
    context_length = text["context_length"]

    def count_tokens(words: str) -> int:
        return len(tokenizer.tokenizer(tokenizer.clean_fn(words)).input_ids)

    def tokenize(sentences: Iterable[str]) -> Tensor:
        # Only as long as the longest one: padding is masked out, but costs time.
        sentences = list(sentences)
        longest = max(map(count_tokens, sentences))
        return tokenizer(sentences, context_length=min(longest, context_length))  # type: ignore[no-any-return]

    text_encoder = TextEncoder(
        model.to(device).encode_text, tokenize, count_tokens, context_length, device
    )
    return ImageEncoder(model.visual, encoder.mean, encoder.std), text_encoder


def _sentence_tokenizer(folder: Path) -> Any:
    from open_clip.tokenizer import HFTokenizer

    try:
        return HFTokenizer(str(folder), local_files_only=True)
    except (OSError, ValueError) as error:
        raise NapariCliperError(
            f"The tokenizer in {folder} is damaged: delete that folder and try again."
        ) from error


def build(config: Mapping[str, Any], architecture: str, weights: dict[str, Tensor]) -> Any:
    """An open_clip model with these weights in float32, in evaluation mode.

    Parameters
    ----------
    config : mapping
        As in open_clip's JSON files.
    architecture : str
        Its name, for messages.
    weights : dict of name to tensor

    Raises
    ------
    NapariCliperError
        If the weights are not this architecture's, or the method needs a plain vision transformer
        and this is none.
    """
    from open_clip.model import CLIP, CustomTextCLIP
    from open_clip.transformer import VisionTransformer

    custom = config.get("custom_text") or config["text_cfg"].get("hf_model_name")
    arguments = {name: value for name, value in config.items() if name != "custom_text"}
    with NoInitialisation():
        model = (CustomTextCLIP if custom else CLIP)(**arguments)
    if not isinstance(model.visual, VisionTransformer) or model.visual.attn_pool is not None:
        raise _unsuitable(architecture)
    tensors = {name: tensor.float() for name, tensor in weights.items()}
    try:
        model.load_state_dict(tensors, strict=True, assign=True)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise NapariCliperError(
            f"These weights are not those of {architecture} ({_shortened(reason)}): take the file "
            "that belongs to the preset."
        ) from error
    return model.eval().requires_grad_(False)


def _unsuitable(architecture: str) -> NapariCliperError:
    return NapariCliperError(
        f"The method needs a CLIP with a plain vision transformer, and “{architecture}” is none: "
        "take another architecture."
    )


def _shortened(reason: str, length: int = 120) -> str:
    return reason if len(reason) <= length else reason[: length - 1] + "…"
