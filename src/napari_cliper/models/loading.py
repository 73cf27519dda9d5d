"""From a preset to a working CLIPer. Import this only where torch may be imported."""

from pathlib import Path
from typing import get_type_hints

import torch
from pydantic import TypeAdapter, ValidationError

from napari_cliper.cliper import (
    CLIPer,
    CompensationSource,
    DiffusionSelfAttention,
    ImageEncoder,
    Settings,
    SharedSelfAttention,
    Step,
    TextEncoder,
    TransformerSelfAttention,
)
from napari_cliper.cliper.compensation import self_attention_layers
from napari_cliper.cliper.steps import Steps
from napari_cliper.errors import NapariCliperError
from napari_cliper.models import dual_encoder, hub, weights
from napari_cliper.models.open_clip_towers import load_clip, load_dual
from napari_cliper.models.presets import (
    BUILT_IN,
    ClipEncoder,
    DualEncoder,
    Preset,
    Repository,
    SelfAttention,
)
from napari_cliper.models.sources import Source, pins
from napari_cliper.models.stable_diffusion import load_stable_diffusion
from napari_cliper.models.tensors import read_tensors


def resolve_device(name: str = "auto") -> torch.device:
    """The device a person means.

    Parameters
    ----------
    name : str
        "auto" takes a GPU if there is one; else "cpu", "cuda", "cuda:1", "mps".

    Raises
    ------
    NapariCliperError
        If there is no such device here.
    """
    present = ["cpu"]
    if torch.cuda.is_available():
        present += ["cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        present.append("mps")
    if name == "auto":
        name = next((gpu for gpu in ("cuda", "mps") if gpu in present), "cpu")
    if name not in present:
        raise NapariCliperError(
            f"There is no device “{name}” here: choose auto or {', '.join(present)}."
        )
    return torch.device(name)


def load_cliper(
    preset: Preset,
    device: torch.device,
    folder: Path | None = None,
    download: bool = False,
) -> Steps[CLIPer]:
    """Find a preset's weights and build the method's models from them.

    Parameters
    ----------
    preset : Preset
    device : torch.device
    folder : Path or None
        Where to look for weights first, as of `weights.user_folder`.
    download : bool
        Whether what is not on this machine may be fetched from the hub.

    Yields
    ------
    Step, before the work it names

    Returns
    -------
    CLIPer

    Raises
    ------
    NapariCliperError
        If weights are absent or are not what they should be, or a setting is wrong.
    """
    settings = make_settings(preset)
    yield Step("Finding weights")
    image_encoder, text_encoder = yield from _load_encoder(preset, device, folder, download)
    _check_tower(preset, settings, image_encoder)
    source: CompensationSource | None = None
    if isinstance(preset.compensation, SelfAttention):
        compensation = preset.compensation
        blocks = len(image_encoder.visual.transformer.resblocks)
        if not 0 <= compensation.block < blocks - 1:
            raise NapariCliperError(
                f"The preset {preset.name} takes self-attention from block {compensation.block}: "
                f"choose one from 0 to {blocks - 2}."
            )
        if compensation.grid is None:
            source = SharedSelfAttention(compensation.block)
        else:
            source = TransformerSelfAttention(image_encoder, compensation.block, compensation.grid)
    elif preset.compensation is not None:
        found = yield from _obtain(preset, preset.compensation.weights, folder, download)
        top = found.files["unet/config.json"].parents[1]
        source = yield from load_stable_diffusion(top, device)
    _check_fusion(preset, settings, image_encoder, source)
    return CLIPer(image_encoder, text_encoder, source, settings)


def make_settings(preset: Preset) -> Settings:
    """The preset's settings on top of the defaults.

    Raises
    ------
    NapariCliperError
        If one is unknown, of another type or outside its range.
    """
    types = get_type_hints(Settings)
    for name, value in preset.settings.items():
        if name not in types:
            raise NapariCliperError(
                f"The preset {preset.name} has an unknown setting “{name}”: choose from "
                f"{', '.join(types)}."
            )
        try:
            TypeAdapter(types[name]).validate_python(value, strict=True)
        except ValidationError as error:
            said = ", or ".join(problem["msg"] for problem in error.errors())
            raise _wrong(preset, f"{name} is {value!r}: {said}") from error
    if preset.settings.get("attention") == "proxy":
        raise _wrong(preset, "attention is 'proxy', and no preset has another vision model for it")
    try:
        return Settings(**preset.settings)  # type: ignore[arg-type]
    except ValueError as error:
        raise _wrong(preset, str(error)) from error


def _check_tower(preset: Preset, settings: Settings, encoder: ImageEncoder) -> None:
    """Refuse settings that this image tower cannot follow."""
    blocks = len(encoder.visual.transformer.resblocks)
    if -settings.selected_layer > blocks:
        raise _wrong(preset, f"selected_layer must be from -{blocks} to -1 with {blocks} blocks")
    if (settings.early_layers or 0) > blocks:
        raise _wrong(preset, f"early_layers must be at most {blocks}, the number of blocks")
    patch = encoder.patch_size
    for name in ("sliding_crop", "sliding_stride") if settings.sliding_crop else ():
        if getattr(settings, name) % patch:
            raise _wrong(preset, f"{name} must be a whole multiple of the patch, {patch} pixels")


def _check_fusion(
    preset: Preset, settings: Settings, encoder: ImageEncoder, source: CompensationSource | None
) -> None:
    """Refuse the index of a self-attention map that there is not."""
    if isinstance(source, TransformerSelfAttention | SharedSelfAttention):
        count = encoder.visual.transformer.resblocks[source.block].attn.num_heads
    elif isinstance(source, DiffusionSelfAttention):
        layers = self_attention_layers(source.unet)
        count = sum(layers[index].heads for index in source.layers)
    else:
        return
    if isinstance(settings.head_fusion, int) and not 0 <= settings.head_fusion < count:
        raise _wrong(preset, f"head_fusion must be product, mean or a number from 0 to {count - 1}")


def _wrong(preset: Preset, reason: str) -> NapariCliperError:
    return NapariCliperError(f"A setting of the preset {preset.name} is wrong: {reason}.")


def _load_encoder(
    preset: Preset, device: torch.device, folder: Path | None, download: bool
) -> Steps[tuple[ImageEncoder, TextEncoder]]:
    encoder = preset.encoder
    if isinstance(encoder, ClipEncoder):
        found = yield from _obtain(preset, encoder.weights, folder, download)
        yield Step("Loading the encoder")
        return load_clip(encoder, found.model, device)
    towers = yield from convert_towers(preset, folder, download)
    yield Step("Loading the encoder")
    shipped = encoder.heads.parent == BUILT_IN.parent
    remedy = "reinstall napari-cliper" if shipped else "check the preset’s “heads”"
    return load_dual(encoder, towers, device, read_tensors(encoder.heads, remedy))


def convert_towers(
    preset: Preset, folder: Path | None = None, download: bool = False
) -> Steps[Path]:
    """The folder of a dual encoder's towers, converted into the cache where that is still to do.

    Parameters, steps and errors as of `load_cliper`.
    """
    encoder = preset.encoder
    assert isinstance(encoder, DualEncoder)
    known = weights.converted_folder(encoder, folder)
    if known is not None:
        return known
    image = yield from _obtain(preset, encoder.image, folder, download)
    text = yield from _obtain(preset, encoder.text, folder, download)
    name = weights.towers_name(encoder, image.identity(), text.identity())
    target = weights.cache_folder() / name
    if not dual_encoder.is_complete(target):
        yield Step("Converting weights, once")
        dual_encoder.convert(image.model, text.files, target)
    return target


def _obtain(
    preset: Preset, repository: Repository, folder: Path | None, download: bool
) -> Steps[Source]:
    """A repository's files, from this machine or, if that is allowed, from the hub."""
    found = weights.locate(repository, folder)
    if found is not None:
        return found
    if not download:
        raise weights.absent(preset, repository)
    files = {}
    for index, name in enumerate(repository.files):
        size = hub.download_size(repository, name)
        yield Step(f"Fetching {name}{_amount(size)}", index, len(repository.files))
        files[name] = hub.download(repository, name)
    return Source(files, pins(repository))


def _amount(size: int | None) -> str:
    if size is None:
        return ""
    return f" ({size / 1e6:,.0f} MB)" if size >= 1e6 else f" ({size / 1e3:,.0f} kB)"
