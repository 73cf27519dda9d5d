"""From a preset to a working CLIPer. Import this only where torch may be imported."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, get_type_hints

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
from napari_cliper.cliper.compensation import FeatureAffinity
from napari_cliper.cliper.diffusion import self_attention_layers
from napari_cliper.cliper.steps import Steps
from napari_cliper.cliper.vision_model import VisionModel, VisionSelfAttention
from napari_cliper.errors import NapariCliperError
from napari_cliper.models import dual_encoder, hub, inventory, schema, weights
from napari_cliper.models.kept_files import stamp
from napari_cliper.models.open_clip_towers import load_clip, load_dual
from napari_cliper.models.presets import BUILT_IN
from napari_cliper.models.schema import (
    ClipEncoder,
    DualEncoder,
    OtherModel,
    Preset,
    Repository,
    SelfAttention,
    StableDiffusion,
)
from napari_cliper.models.sources import Files, Place, Source, identity, pins
from napari_cliper.models.stable_diffusion import load_stable_diffusion
from napari_cliper.models.tensors import read_tensors
from napari_cliper.models.timm_towers import load_vision_model

FETCHING = "About to fetch"


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
    present = _present_devices()
    if name == "auto":
        name = next((gpu for gpu in ("cuda", "mps") if gpu in present), "cpu")
    if name not in present:
        raise NapariCliperError(
            f"There is no device “{name}” here: choose auto or {', '.join(present)}."
        )
    return torch.device(name)


def _present_devices() -> list[str]:
    present = ["cpu"]
    if torch.cuda.is_available():
        present += ["cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        present.append("mps")
    return present


def devices() -> dict[str, str]:
    """What can be chosen here: torch's name of a device, and what a person reads.

    Asks each GPU for its free memory, which takes a second the first time.
    """
    titles = {"auto": "auto", "cpu": "CPU", "mps": "Apple GPU (MPS)"}
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        free, total = (bytes_ / 1e9 for bytes_ in torch.cuda.mem_get_info(index))
        name = torch.cuda.get_device_name(index)
        titles[f"cuda:{index}"] = f"{name} ({free:.0f} of {total:.0f} GB free)"
    present = ["auto", *_present_devices()]
    return {name: titles[name] for name in present if name in titles}


@dataclass(frozen=True)
class Built:
    """What was built before, for the same device, type and folder.

    Attributes
    ----------
    preset : Preset
    engine : CLIPer
    origins : mapping of str to str
        As of `Loader`.
    """

    preset: Preset
    engine: CLIPer
    origins: Mapping[str, str]


@dataclass(frozen=True)
class Loader:
    """Finds weights and builds models from them; what was built before is taken again.

    Attributes
    ----------
    preset : Preset
    device : torch.device
    dtype : torch.dtype
        Of the models' weights.
    folder : Path or None
        Where to look for weights first, as of `weights.user_folder`.
    download : bool
        Whether what is not on this machine may be fetched from the hub.
    before : Built or None
        Another method on the same models loads no weights again.
    origins : dict of str to str
        By part ("encoder", "compensation", "proxy"): what tells the files of its weights from
        others. Known when `load` has ended.
    """

    preset: Preset
    device: torch.device
    dtype: torch.dtype = torch.float32
    folder: Path | None = None
    download: bool = False
    before: Built | None = None
    origins: dict[str, str] = field(default_factory=dict, init=False, compare=False)

    def load(self) -> Steps[CLIPer]:
        """Build the method's models, and no others than the settings need.

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
        preset = self.preset
        settings = make_settings(preset)
        yield Step("Finding weights")
        image_encoder, text_encoder = yield from self._encoder()
        _check_tower(preset, settings, image_encoder)
        source = self._built("compensation", "attention_source")
        if settings.compensate and isinstance(preset.compensation, SelfAttention):
            source = _own_attention(preset, preset.compensation, image_encoder)
        elif settings.compensate and source is None:
            source = yield from self._compensation()
        proxy = self._built("proxy", "proxy_model")
        if settings.attention == "proxy" and proxy is None:
            proxy = yield from self._proxy()
        _check_fusion(preset, settings, image_encoder, source)
        return CLIPer(image_encoder, text_encoder, source, settings, proxy)

    def _built(self, part: str, name: str) -> Any:
        """What was built of a part before, if the preset says the same of it; else None."""
        before = self.before
        if before is None or getattr(before.preset, part) != getattr(self.preset, part):
            return None
        if part in before.origins:
            self.origins[part] = before.origins[part]
        return getattr(before.engine, name)

    def _note(self, part: str, files: Files, known: Mapping[str, str]) -> None:
        """Note what the weights of a part are read from: files with pins, or their stamps."""
        named = {name: known.get(name) or stamp(path) for name, path in files.items()}
        self.origins[part] = identity(named)

    def _encoder(self) -> Steps[tuple[ImageEncoder, TextEncoder]]:
        image_encoder = self._built("encoder", "image_encoder")
        if image_encoder is not None:
            return image_encoder, self._built("encoder", "text_encoder")
        encoder = self.preset.encoder
        if isinstance(encoder, ClipEncoder):
            found = yield from self._obtain(encoder.weights)
            self._note("encoder", found.files, found.pins)
            yield Step("Loading the encoder")
            return load_clip(encoder, found.model, self.device, self.dtype)
        towers = yield from self.convert_towers()
        yield Step("Loading the encoder")
        shipped = encoder.heads.parent == BUILT_IN.parent
        remedy = "reinstall napari-cliper" if shipped else "check the preset’s “heads”"
        heads = read_tensors(encoder.heads, remedy)
        files = {name: towers / name for name in (dual_encoder.TOWERS, *dual_encoder.TEXT_FILES)}
        self._note("encoder", files | {"heads": encoder.heads}, {})
        return load_dual(encoder, towers, self.device, heads, self.dtype)

    def convert_towers(self) -> Steps[Path]:
        """The folder of a dual encoder's towers, converted into the cache where still to do.

        Steps and errors as of `load`.
        """
        encoder = self.preset.encoder
        assert isinstance(encoder, DualEncoder)
        known = weights.converted_folder(encoder, self.folder)
        if known is not None:
            return known
        image = yield from self._obtain(encoder.image)
        text = yield from self._obtain(encoder.text)
        name = weights.towers_name(encoder, image.identity(), text.identity())
        target = weights.cache_folder() / name
        if not dual_encoder.is_complete(target):
            yield Step("Converting weights, once")
            dual_encoder.convert(image.model, text.files, target)
        return target

    def _compensation(self) -> Steps[CompensationSource | None]:
        compensation = self.preset.compensation
        if isinstance(compensation, StableDiffusion):
            folder = yield from self._diffusion_folder(compensation.weights)
            return (
                yield from load_stable_diffusion(
                    folder,
                    self.device,
                    self.dtype,
                    compensation.layers,
                    compensation.time_index,
                    compensation.seed,
                )
            )
        if not isinstance(compensation, OtherModel):
            return None
        model = yield from self._vision_model("compensation", compensation.model)
        if compensation.maps == "affinity":
            return FeatureAffinity(partial(model.patch_features, grid=compensation.grid))
        _check_block(self.preset, compensation.block, model.blocks)
        return VisionSelfAttention(model, compensation.block, compensation.grid)

    def _diffusion_folder(self, repository: Repository) -> Steps[Path]:
        if weights.is_taken_as_it_is(repository):
            folder = Path(repository.repo).expanduser()
            files = (path for path in folder.rglob("*") if path.is_file())
            self._note("compensation", {path.as_posix(): path for path in files}, {})
            return folder
        found = yield from self._obtain(repository)
        self._note("compensation", found.files, found.pins)
        return found.files["unet/config.json"].parents[1]

    def _proxy(self) -> Steps[VisionModel]:
        if self.preset.proxy is None:
            raise _wrong(
                self.preset, "attention is 'proxy', and the preset names no vision model as “proxy”"
            )
        return (yield from self._vision_model("proxy", self.preset.proxy))

    def _vision_model(self, part: str, vision: schema.VisionModel) -> Steps[VisionModel]:
        found = yield from self._obtain(vision.weights)
        self._note(part, found.files, found.pins)
        yield Step(f"Loading {vision.architecture}")
        return load_vision_model(vision, found.model, self.device, self.dtype)

    def _obtain(self, repository: Repository) -> Steps[Source]:
        """A repository's files, from this machine or, if that is allowed, from the hub."""
        found = weights.locate(repository, self.folder)
        if found is not None:
            return found
        if not self.download:
            raise weights.absent(self.preset, repository)
        yield Step(f"{FETCHING} {inventory.describe([repository])}")
        files = yield from hub.download(repository, repository.files)
        return Source(files, pins(repository), Place.HUB)


def _own_attention(
    preset: Preset, compensation: SelfAttention, encoder: ImageEncoder
) -> CompensationSource:
    _check_block(preset, compensation.block, len(encoder.visual.transformer.resblocks) - 1)
    if compensation.grid is None:
        return SharedSelfAttention(compensation.block)
    return TransformerSelfAttention(encoder, compensation.block, compensation.grid)


def _check_block(preset: Preset, block: int, count: int) -> None:
    """Refuse a block that there is not; negative ones count from the end."""
    if not -count <= block < count:
        raise NapariCliperError(
            f"The preset {preset.name} takes self-attention from block {block}: "
            f"choose one from 0 to {count - 1}."
        )


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
    try:
        return Settings(**preset.settings)  # type: ignore[arg-type]
    except ValueError as error:
        raise _wrong(preset, str(error)) from error


def _check_tower(preset: Preset, settings: Settings, encoder: ImageEncoder) -> None:
    """Refuse settings that this image tower cannot follow."""
    blocks = len(encoder.visual.transformer.resblocks)
    layers = blocks - 1 if settings.variant == "paper" else blocks
    if -settings.selected_layer > layers:
        raise _wrong(preset, f"selected_layer must be from -{layers} to -1 with {blocks} blocks")
    if settings.early_layers != "all" and settings.early_layers > layers:
        raise _wrong(preset, f"early_layers must be at most {layers} with {blocks} blocks")
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
    elif isinstance(source, VisionSelfAttention):
        count = source.model.heads
    elif isinstance(source, DiffusionSelfAttention):
        layers = self_attention_layers(source.unet)
        count = sum(layers[index].heads for index in source.layers)
    else:
        return
    if isinstance(settings.head_fusion, int) and not 0 <= settings.head_fusion < count:
        raise _wrong(preset, f"head_fusion must be product, mean or a number from 0 to {count - 1}")


def _wrong(preset: Preset, reason: str) -> NapariCliperError:
    return NapariCliperError(f"A setting of the preset {preset.name} is wrong: {reason}.")
