"""open_clip models from safetensors files, and tokenizers that can count."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MethodType
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from napari_cliper.cliper import ImageEncoder, TextEncoder
from napari_cliper.errors import NapariCliperError
from napari_cliper.models.dual_encoder import TOWERS
from napari_cliper.models.open_clip_names import suitable_config
from napari_cliper.models.schema import ARCHITECTURES, ClipEncoder, DualEncoder
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
    encoder: ClipEncoder,
    weights: Path,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> tuple[ImageEncoder, TextEncoder]:
    """Both towers of a model in open_clip's format.

    Parameters
    ----------
    encoder : ClipEncoder
    weights : Path
        One safetensors file; of any floating type.
    device : torch.device
    dtype : torch.dtype
        What the towers compute in, so what pictures must be given in.

    Raises
    ------
    NapariCliperError
        If open_clip has no such architecture, the method cannot use it, or the weights are others.
    """
    config = suitable_config(encoder.architecture)
    model = build(config, encoder.architecture, read_tensors(weights), dtype)
    return towers_of(model.to(device), encoder, device)


def towers_of(
    model: Any, encoder: ClipEncoder, device: torch.device
) -> tuple[ImageEncoder, TextEncoder]:
    """Both towers of an open_clip model that is on a device already."""
    import open_clip

    tokenizer = open_clip.get_tokenizer(encoder.architecture)
    causal = is_causal(model)
    text_encoder = TextEncoder(
        MethodType(_encode_causal, model) if causal else model.encode_text,
        tokenizer,
        lambda words: len(tokenizer.encode(words)) + 2,  # beginning and end
        tokenizer.context_length,
        device,
        causal,
    )
    return ImageEncoder(model.visual, encoder.mean, encoder.std), text_encoder


def is_causal(model: Any) -> bool:
    """Whether padding after a sentence's end makes no difference to its embedding.

    CLIP's tokens see only what is before them, and the one at the sentence's end is taken, whose
    number is the highest.
    """
    masked = getattr(model, "attn_mask", None) is not None
    return masked and getattr(model, "text_pool_type", None) == "argmax"


def _encode_causal(model: Any, tokens: Tensor) -> Tensor:
    """(B, L) tokens to (B, D) embeddings, as open_clip's `CLIP.encode_text` does where L is 77."""
    length = tokens.shape[1]
    embedded = model.token_embedding(tokens) + model.positional_embedding[:length]
    embedded = embedded.to(model.transformer.get_cast_dtype())
    encoded = model.transformer(embedded, attn_mask=model.attn_mask[:length, :length])
    rows = torch.arange(len(tokens), device=tokens.device)
    pooled: Tensor = model.ln_final(encoded[rows, tokens.argmax(dim=-1)])
    projection = model.text_projection
    if projection is None:
        return pooled
    linear = isinstance(projection, torch.nn.Linear)
    return projection(pooled) if linear else pooled @ projection  # type: ignore[no-any-return]


def load_dual(
    encoder: DualEncoder,
    folder: Path,
    device: torch.device,
    heads: Mapping[str, Tensor] | None = None,
    dtype: torch.dtype = torch.float32,
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
    dtype : torch.dtype
        What the towers compute in.

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
        config | {"text_cfg": text, "embed_dim": embed_dim}, encoder.architecture, weights, dtype
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


def build(
    config: Mapping[str, Any],
    architecture: str,
    weights: dict[str, Tensor],
    dtype: torch.dtype = torch.float32,
) -> Any:
    """An open_clip model with these weights, in evaluation mode.

    Parameters
    ----------
    config : mapping
        As in open_clip's JSON files.
    architecture : str
        Its name, for messages.
    weights : dict of name to tensor
    dtype : torch.dtype
        Of its weights; the image tower's norms are float32 in any case.

    Raises
    ------
    NapariCliperError
        If the weights are not this architecture's.
    """
    from open_clip.model import CLIP, CustomTextCLIP

    custom = config.get("custom_text") or config["text_cfg"].get("hf_model_name")
    arguments = {name: value for name, value in config.items() if name != "custom_text"}
    with NoInitialisation():
        model = (CustomTextCLIP if custom else CLIP)(**arguments)
    norms = _image_norms(model)
    tensors = {
        name: tensor.to(torch.float32 if name in norms else dtype)
        for name, tensor in weights.items()
    }
    try:
        model.load_state_dict(tensors, strict=True, assign=True)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise NapariCliperError(
            f"These weights are not those of {architecture} ({_shortened(reason)}): take the file "
            "that belongs to it."
        ) from error
    for name, buffer in model.named_buffers():
        if buffer.is_floating_point():  # the text's mask, which is no weight
            parent, _, last = name.rpartition(".")
            model.get_submodule(parent).register_buffer(last, buffer.to(dtype), persistent=False)
    return model.eval().requires_grad_(False)


def _image_norms(model: Any) -> set[str]:
    """The parameters of the image tower's norms, which stay float32: see `ImageEncoder`."""
    return {
        f"visual.{module}.{parameter}"
        for module, norm in model.visual.named_modules()
        if isinstance(norm, torch.nn.LayerNorm)
        for parameter in ("weight", "bias")
    }


def _shortened(reason: str, length: int = 120) -> str:
    return reason if len(reason) <= length else reason[: length - 1] + "…"
