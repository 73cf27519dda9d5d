"""The reference cases: tensors of CLIPer's reference implementation on rebuildable weights.

A case is NAME.json (how it was made) beside NAME.npz (its tensors); the folder is
`tests/data/reference` or the one named by CLIPER_REFERENCE_DIR.
"""

import json
import os
import zlib
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import skimage.data
import torch
from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from torch import Tensor, nn

from napari_cliper.cliper import (
    CLIPer,
    DiffusionSelfAttention,
    Encoding,
    ImageEncoder,
    Settings,
    TextEncoder,
    drain,
)
from napari_cliper.cliper.compensation import (
    AttentionSource,
    Compensation,
    FeatureAffinity,
    Maps,
    WholeMaps,
    prepare_maps,
)

HERE = Path(__file__).parent
FOLDER = Path(os.environ.get("CLIPER_REFERENCE_DIR", HERE / "data" / "reference"))

ATTENTION = {
    "fused-attn": "fused",
    "q-q": "query-query",
    "k-k": "key-key",
    "v-v": "value-value",
    "vanilla": "vanilla",
    "identity": "identity",
    "proxy": "proxy",
}
FUSION = {"SFSA": "product", "mean": "mean"}


def fill_by_name(module: nn.Module, seed: int) -> None:
    """Draw every parameter from a generator seeded by its own name, as the cases' makers did."""
    for name, parameter in module.named_parameters():
        shape = tuple(parameter.shape)
        random = np.random.RandomState((zlib.crc32(name.encode()) + seed) % 2**32)
        values = random.standard_normal(shape).astype(np.float32)
        if len(shape) > 1:
            values *= 1.0 / np.sqrt(int(np.prod(shape[1:])))
        else:
            values = 0.1 * values + (1 if name.endswith("weight") else 0)
        if name.endswith(("to_q.weight", "to_k.weight")):
            values *= 4.0
        parameter.data.copy_(torch.from_numpy(np.asarray(values, dtype=np.float32)))


def case_names() -> list[str]:
    """Every case in the folder."""
    return sorted(path.stem for path in FOLDER.glob("*.npz"))


@dataclass(frozen=True)
class Case:
    """One reference case, with the engine rebuilt to match."""

    name: str

    @cached_property
    def made(self) -> dict[str, Any]:
        return json.loads((FOLDER / f"{self.name}.json").read_text())  # type: ignore[no-any-return]

    @cached_property
    def tensors(self) -> dict[str, np.ndarray]:
        with np.load(FOLDER / f"{self.name}.npz") as archive:
            return dict(archive)

    @cached_property
    def image(self) -> np.ndarray:
        picture = getattr(skimage.data, self.made["image"])()
        top, bottom, left, right = self.made["crop"] or (0, picture.shape[0], 0, picture.shape[1])
        return picture[top:bottom, left:right]

    @cached_property
    def settings(self) -> Settings:
        config, post = self.made["config"], self.made["post"]
        refinement = config["refinement"]
        return Settings(
            shorter_side=config["size"],
            attention=ATTENTION[config["attn_type"]],  # type: ignore[arg-type]
            selected_layer=config["select_layer"],
            early_layers="all" if config["fuse_feature"] else 0,
            logit_scale=config["logit_scale"],
            activation_threshold=config["attention_thr"],
            sliding_crop=config["sliding_crop_size"],
            head_fusion=config["attention_idx"]  # type: ignore[arg-type]
            if refinement == "selection"
            else FUSION.get(refinement, "product"),
            presence_threshold=post["cls"],
            background_threshold=post["bkg"],
            normalise_each_class=post["norm"],
        )

    @cached_property
    def clip(self) -> CLIP:
        sizes = self.made["clip"]
        vision = CLIPVisionCfg(
            layers=sizes["layers"],
            width=sizes["width"],
            patch_size=sizes["patch"],
            image_size=sizes["res"],
            head_width=64,
        )
        text = CLIPTextCfg(width=64, heads=1, layers=2)
        clip = CLIP(sizes["embed"], vision, text, quick_gelu=True).eval()
        fill_by_name(clip, seed=0)
        return clip

    @property
    def source(self) -> AttentionSource:
        if self.made["config"]["refinement"] == "dino-b8":
            return FeatureAffinity(lambda _: self.features_of_other_model("affinity_features"))
        return self.diffusion

    @cached_property
    def diffusion(self) -> DiffusionSelfAttention:
        unet = UNet2DConditionModel(**self.made["unet"]).eval()
        fill_by_name(unet, seed=1)
        vae = AutoencoderKL(**self.made["vae"]).eval()
        fill_by_name(vae, seed=2)
        scheduler = PNDMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            num_train_timesteps=1000,
            skip_prk_steps=True,
            steps_offset=1,
            prediction_type="epsilon",
        )
        grid = self.made["latent_grid"]
        width = self.made["unet"]["cross_attention_dim"]
        prompt = np.random.RandomState(self.made["prompt_embeds_seed"])
        noise = np.random.RandomState(self.made["noise_seed"])
        return DiffusionSelfAttention(
            vae,
            unet,
            scheduler,
            torch.from_numpy(prompt.standard_normal((1, 77, width)).astype(np.float32)),
            # The cases count self- and cross-attention in turn, from the end of the U-Net.
            layers=[index // 2 for index in self.made["sd_layers"]],
            time_index=self.made["time_step"],
            noise=torch.from_numpy(noise.standard_normal((1, 4, grid, grid)).astype(np.float32)),
        )

    def features_of_other_model(self, name: str) -> Tensor:
        """The case's given patch features; the plain name serves both uses where it is alone."""
        return torch.from_numpy(self.tensors.get(name, self.tensors.get("vit_features")))

    @cached_property
    def engine(self) -> CLIPer:
        tokenizer = open_clip.SimpleTokenizer()
        return CLIPer(
            ImageEncoder(
                self.clip.visual, open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
            ),
            TextEncoder(
                self.clip.encode_text,
                tokenizer,
                lambda text: len(tokenizer.encode(text)) + 2,
                tokenizer.context_length,
                torch.device("cpu"),
            ),
            self.source,
            self.settings,
            GivenFeatures(self),
        )

    @cached_property
    def encoding(self) -> Encoding:
        return drain(self.engine.encode(self.image))

    @property
    def text(self) -> tuple[Tensor, Tensor]:
        """The text rows of classes and background words that the case was scored with."""
        classes, background = (self.tensors[name] for name in ("fg_text", "bg_text"))
        return torch.from_numpy(classes), torch.from_numpy(background)

    def raw_maps(
        self, shaken_by: int | None = None, source: DiffusionSelfAttention | None = None
    ) -> Tensor:
        """The U-Net's probabilities; with a seed, of a latent changed by rounding noise."""
        source = source or self.diffusion
        latent = source.encode_latent(self.image)
        if shaken_by is not None:
            random = torch.Generator().manual_seed(shaken_by)
            latent = latent + 1e-6 * torch.randn(latent.shape, generator=random)
        return stacked(source.attention_of_latent(latent))

    def refine(self, raw: Tensor, coarse: Tensor | None = None) -> Tensor:
        """The refined map from raw maps; of our own coarse map where none is given."""
        settings = self.settings
        maps = prepare_maps(WholeMaps(raw), settings.activation_threshold, settings.head_fusion)
        if coarse is None:
            coarse = self.engine.score(self.encoding, *self.text).coarse
        return Compensation(maps, (self.made["latent_grid"],) * 2).refine(coarse)


def stacked(maps: Maps) -> Tensor:
    """All of some raw maps, (n, P, P)."""
    return torch.stack([maps.rows(index, slice(None)) for index in range(len(maps))])


@dataclass(frozen=True)
class GivenFeatures:
    """A case's given features, whatever it is asked."""

    case: Case
    patch_size: int = 8

    def patch_features(self, image: np.ndarray, grid: tuple[int, int]) -> Tensor:
        return self.case.features_of_other_model("vit_features")


@cache
def cases_with_maps() -> list[Case]:
    """The cases that hold the U-Net's raw maps."""
    cases = [Case(name) for name in case_names()]
    return [case for case in cases if "sd_attention" in case.tensors]


def reference_maps(case: Case) -> Tensor | None:
    """The reference's raw maps of a case: its own, or those of a case with the same U-Net pass."""
    same = ("unet", "vae", "sd_layers", "time_step", "noise_seed", "prompt_embeds_seed")
    for other in cases_with_maps():
        if (
            "latent" in case.tensors
            and np.array_equal(case.tensors["latent"], other.tensors["latent"])
            and all(case.made[name] == other.made[name] for name in same)
        ):
            return torch.from_numpy(other.tensors["sd_attention"]).float()
    return None
