"""From a preset to a working CLIPer. Import this only where torch may be imported."""

from dataclasses import fields
from pathlib import Path

import torch

from napari_cliper.cliper import (
    AttentionSource,
    CLIPer,
    ImageEncoder,
    Settings,
    Step,
    TextEncoder,
    TransformerSelfAttention,
)
from napari_cliper.cliper.steps import Steps
from napari_cliper.errors import NapariCliperError
from napari_cliper.models import dual_encoder, weights
from napari_cliper.models.open_clip_towers import load_clip, load_dual, read_tensors
from napari_cliper.models.presets import ClipEncoder, DualEncoder, Preset, Repository, SelfAttention
from napari_cliper.models.stable_diffusion import load_stable_diffusion


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
    source: AttentionSource | None = None
    if isinstance(preset.compensation, SelfAttention):
        compensation = preset.compensation
        blocks = len(image_encoder.visual.transformer.resblocks)
        if not 0 <= compensation.block < blocks - 1:
            raise NapariCliperError(
                f"The preset {preset.name} takes self-attention from block {compensation.block}: "
                f"choose one from 0 to {blocks - 2}."
            )
        source = TransformerSelfAttention(image_encoder, compensation.block, compensation.grid)
    elif preset.compensation is not None:
        files = yield from _obtain(preset, preset.compensation.weights, folder, download)
        top = files["unet/config.json"].parents[1]
        source = yield from load_stable_diffusion(preset.compensation, top, device)
    return CLIPer(image_encoder, text_encoder, source, settings)


def make_settings(preset: Preset) -> Settings:
    """The preset's settings on top of the defaults.

    Raises
    ------
    NapariCliperError
        If one is unknown or outside its range.
    """
    known = [field.name for field in fields(Settings)]
    unknown = sorted(set(preset.settings) - set(known))
    if unknown:
        raise NapariCliperError(
            f"The preset {preset.name} has an unknown setting “{unknown[0]}”: choose from "
            f"{', '.join(known)}."
        )
    try:
        return Settings(**preset.settings)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise NapariCliperError(
            f"A setting of the preset {preset.name} is wrong: {error}."
        ) from error


def _load_encoder(
    preset: Preset, device: torch.device, folder: Path | None, download: bool
) -> Steps[tuple[ImageEncoder, TextEncoder]]:
    encoder = preset.encoder
    if isinstance(encoder, ClipEncoder):
        files = yield from _obtain(preset, encoder.weights, folder, download)
        yield Step("Loading the encoder")
        return load_clip(encoder, next(iter(files.values())), device)
    towers = yield from convert_towers(preset, folder, download)
    yield Step("Loading the encoder")
    heads = read_tensors(Path(__file__).parent / encoder.heads)
    return load_dual(encoder, towers, device, heads)


def convert_towers(
    preset: Preset, folder: Path | None = None, download: bool = False
) -> Steps[Path]:
    """The folder of a dual encoder's towers, converted into the cache where that is still to do.

    Parameters, steps and errors as of `load_cliper`.
    """
    found = weights.converted_folder(preset, folder)
    if found is not None:
        return found
    encoder = preset.encoder
    assert isinstance(encoder, DualEncoder)
    image = yield from _obtain(preset, encoder.image, folder, download)
    text = yield from _obtain(preset, encoder.text, folder, download)
    yield Step("Converting weights, once")
    target = weights.cache_folder() / encoder.architecture
    dual_encoder.convert(next(iter(image.values())), text, target)
    return target


def _obtain(
    preset: Preset, repository: Repository, folder: Path | None, download: bool
) -> Steps[weights.Files]:
    """A repository's files, from this machine or, if that is allowed, from the hub."""
    found = weights.locate(repository, folder)
    if found is not None:
        return found
    if not download:
        raise weights.absent(preset, repository)
    files = {}
    for index, name in enumerate(repository.files):
        yield Step(f"Fetching {repository.repo}", index, len(repository.files))
        files[name] = weights.download(repository, name)
    return files
