"""open_clip's names: which architectures the method can use, and where their weights are.

open_clip is imported where it is asked something, since that takes torch and a second or two.
"""

import difflib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from napari_cliper._triton import load_before_mesa
from napari_cliper.errors import NapariCliperError
from napari_cliper.models.paths import path_of
from napari_cliper.models.sources import sha256

QUICK_GELU = "-quickgelu"
SUFFIX = ".safetensors"
OWN_FILE = f"/path/to/weights{SUFFIX}"
SHOWN = 5
WELL_KNOWN = ("ViT-B-16", "ViT-L-14", "ViT-L-14-336", "ViT-H-14")
# OpenAI's weights of B/16, L/14 and L/14-336 as timm publishes them. They need QuickGELU, and a
# file of them that lies alone does not say so.
OPENAI_SUMS = (
    "4b8699299b1e8997753c64b052ba32031449d5d853f55a039148560ee02b820f",
    "9ce2e8a8ebfff3793d7d375ad6d3c35cb9aebf3de7ace0fc7308accab7cd207e",
    "fbc415c3d0d7b79faed8f5ccfb740c32b7c4f5ffe7283b851f89c6231c01a8e0",
)
# Fields of open_clip's vision_cfg, each of which replaces CLIP's blocks by others.
OTHER_BLOCKS = (
    "qk_norm",
    "scaled_cosine_attn",
    "scale_heads",
    "scale_attn_inner",
    "scale_attn",
    "scale_fc",
)

Colour = tuple[float, float, float]


class _Weights(NamedTuple):
    """Weights and what they were trained with; None where nothing says so."""

    repo: str
    file: str
    quick_gelu: bool | None
    mean: Colour
    std: Colour


class _Model(BaseModel):
    quick_gelu: bool | None = None


class _Pictures(BaseModel):
    mean: Colour | None = None
    std: Colour | None = None


class _Description(BaseModel):
    """What is used of an `open_clip_config.json`, the file that open_clip puts beside weights."""

    model_cfg: _Model = _Model()
    preprocess_cfg: _Pictures = _Pictures()


def clip_encoder(name: str) -> dict[str, Any]:
    """The encoder that a person means, as the fields of a preset's encoder.

    Parameters
    ----------
    name : str
        ARCHITECTURE:TAG as open_clip names them ("ViT-B-16:openai"), or ARCHITECTURE:PATH of a
        safetensors file or of a folder that holds one. A path begins with "/", "~" or "." or has
        a "/" or "." in it. ViT-B/16 is ViT-B-16.

        Whether the "-quickgelu" form of an architecture is meant is taken from what the weights
        were trained with, whatever was typed: open_clip knows that of its tags, an
        `open_clip_config.json` beside a local file may say so, and OpenAI's own files are known by
        their sums. Otherwise it is as typed.

    Returns
    -------
    dict with kind = "clip", architecture, mean, std, weights

    Raises
    ------
    NapariCliperError
        If there is no such architecture, tag or file, the method cannot use the architecture, or
        the weights are not safetensors.
    """
    load_before_mesa()
    typed, _, source = (part.strip() for part in name.partition(":"))
    architecture = typed.replace("/", "-")
    plain = architecture.removesuffix(QUICK_GELU)
    if not plain or not (source or _is_known(plain)):
        raise NapariCliperError(
            f"“{name}” is no encoder: write ARCHITECTURE:TAG, such as ViT-B-16:openai, or "
            f"ARCHITECTURE:{OWN_FILE}."
        )
    suitable_config(plain)
    if not source:
        raise NapariCliperError(f"“{name}” lacks the weights: write {_choices(plain)}.")
    is_path = any(mark in source for mark in "/\\.~")  # which no tag has
    weights = _local(Path(source)) if is_path else _tagged(plain, source)
    quick_gelu = weights.quick_gelu
    if quick_gelu is None:
        quick_gelu = architecture != plain
    architecture = plain + QUICK_GELU if quick_gelu else plain
    suitable_config(architecture)
    return {
        "kind": "clip",
        "architecture": architecture,
        "mean": weights.mean,
        "std": weights.std,
        "weights": {"repo": weights.repo, "files": {weights.file: ""}},
    }


def suitable_config(architecture: str) -> dict[str, Any]:
    """open_clip's configuration of an architecture that the method can use.

    Parameters
    ----------
    architecture : str
        open_clip's name.

    Raises
    ------
    NapariCliperError
        If there is none of this name, or its towers are of another kind.
    """
    import open_clip

    if not _is_known(architecture):
        raise NapariCliperError(
            f"open_clip has no architecture “{architecture}”: take {_similar(architecture)}."
        )
    config: dict[str, Any] = open_clip.get_model_config(architecture)
    reason = _obstacle(config)
    if reason is not None:
        raise NapariCliperError(
            f"The method cannot use “{architecture}”, since {reason}: take another architecture, "
            f"such as {', '.join(WELL_KNOWN)}."
        )
    return config


def _is_known(architecture: str) -> bool:
    """Whether open_clip brings it; get_model_config would ask the hub for some other names."""
    import open_clip

    return architecture in open_clip.list_models()


def _similar(architecture: str) -> str:
    """Architectures that the method can use and that may have been meant."""
    import open_clip

    suitable = {
        name.lower(): name
        for name in open_clip.list_models()
        if _obstacle(open_clip.get_model_config(name)) is None
    }
    close = difflib.get_close_matches(architecture.lower(), suitable, SHOWN)
    return ", ".join([suitable[name] for name in close] or WELL_KNOWN)


def _choices(architecture: str, tag: str = "") -> str:
    """What can be written for an architecture, weights of a similar tag first."""
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(architecture)
    close = difflib.get_close_matches(tag.lower(), tags, SHOWN) or tags[:SHOWN]
    return " or ".join(f"{architecture}:{source}" for source in (*close, OWN_FILE))


def _obstacle(config: Mapping[str, Any]) -> str | None:
    """Why the method cannot use a model, as a clause; None if it can.

    It runs the blocks of a plain vision transformer one by one, takes the last one's values for
    embeddings in the space of the words, and CLIP's tokenizer for the words.
    """
    vision, text = config["vision_cfg"], config["text_cfg"]
    if "multimodal_cfg" in config:
        return "it is a CoCa, whose towers end in what its caption decoder needs"
    return _image_obstacle(vision) or _text_obstacle(text)


def _image_obstacle(vision: Mapping[str, Any]) -> str | None:
    if vision.get("attentional_pool") or vision.get("timm_pool") == "map":
        return (
            "it pools its patches by attention, as SigLIP does, so that the values of its last "
            "block do not lie in the space of the words"
        )
    if vision.get("timm_model_name"):
        return (
            f"its image tower is timm's {vision['timm_model_name']} and not open_clip's own vision "
            "transformer, whose blocks can be run one by one"
        )
    if isinstance(vision.get("layers"), list):
        return "its image tower is a ResNet, which has no transformer blocks"
    if vision.get("block_type") == "custom" or any(vision.get(name) for name in OTHER_BLOCKS):
        return "its blocks compute attention in another way than CLIP's"
    if vision.get("pool_type", "tok") != "tok":
        # With a class token it does not matter whether the last norm comes before the pooling.
        return "its image embedding is not taken from a class token"
    return None


def _text_obstacle(text: Mapping[str, Any]) -> str | None:
    from open_clip.model import CLIPTextCfg

    if text.get("hf_model_name"):
        return f"its text tower is the Hugging Face model {text['hf_model_name']}"
    if text.get("hf_tokenizer_name"):
        return (
            f"its words are split by the Hugging Face tokenizer {text['hf_tokenizer_name']} and "
            "not by CLIP's"
        )
    words, expected = text.get("vocab_size", CLIPTextCfg.vocab_size), CLIPTextCfg.vocab_size
    if words != expected:
        return f"its vocabulary has {words} tokens, where CLIP's tokenizer has {expected}"
    return None


def _tagged(architecture: str, tag: str) -> _Weights:
    """The weights of a tag, found in its repository as open_clip itself does."""
    import open_clip
    from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME

    entry = open_clip.get_pretrained_cfg(architecture, tag)
    if not entry:
        raise NapariCliperError(
            f"open_clip knows no weights “{tag}” of {architecture}: write "
            f"{_choices(architecture, tag)}."
        )
    repo, _, file = entry["hf_hub"].rpartition("/")
    if not repo:
        raise NapariCliperError(
            f"{architecture}:{tag} is published as a pickled file only, and only safetensors "
            "weights are read, since others can run code: fetch and convert it, then write "
            f"{architecture}:{OWN_FILE}."
        )
    usual = file in ("", HF_WEIGHTS_NAME)
    return _Weights(
        repo,
        HF_SAFE_WEIGHTS_NAME if usual else PurePosixPath(file).with_suffix(SUFFIX).name,
        entry.get("quick_gelu", False),
        entry["mean"],
        entry["std"],
    )


def _local(path: Path) -> _Weights:
    """A file of weights on this machine, or the one in a folder."""
    from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

    path = path_of(path).absolute()
    if path.is_dir():
        path = _file_in(path)
    if not path.is_file():
        raise NapariCliperError(f"There are no weights {path}: check the path.")
    if path.suffix != SUFFIX:
        raise NapariCliperError(
            f"{path} is not a safetensors file: only safetensors weights are read, since others "
            "can run code; convert it first."
        )
    said = _description(path.parent)
    quick_gelu = True if sha256(path) in OPENAI_SUMS else said.model_cfg.quick_gelu
    return _Weights(
        str(path.parent),
        path.name,
        quick_gelu,
        said.preprocess_cfg.mean or OPENAI_DATASET_MEAN,
        said.preprocess_cfg.std or OPENAI_DATASET_STD,
    )


def _file_in(folder: Path) -> Path:
    """The weights in a folder: by the name that open_clip gives them, or the only ones there."""
    from open_clip.constants import HF_SAFE_WEIGHTS_NAME

    usual = folder / HF_SAFE_WEIGHTS_NAME
    files = sorted(folder.glob(f"*{SUFFIX}"))
    if usual in files or len(files) == 1:
        return usual if usual in files else files[0]
    if files:
        raise NapariCliperError(
            f"The folder {folder} holds {len(files)} safetensors files: name the one to take."
        )
    raise NapariCliperError(
        f"The folder {folder} holds no safetensors file, and no others are read, since they can "
        "run code: put one there, or name another folder."
    )


def _description(folder: Path) -> _Description:
    from open_clip.constants import HF_CONFIG_NAME

    path = folder / HF_CONFIG_NAME
    if not path.is_file():
        return _Description()
    try:
        return _Description.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise NapariCliperError(
            f"{path}, which lies beside the weights, is not open_clip's description of a model: "
            "correct it, or move it away."
        ) from error
