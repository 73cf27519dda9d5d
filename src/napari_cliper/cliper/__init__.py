"""The method: torch in, torch out. No napari, no Qt, no files, no downloads."""

from napari_cliper._triton import load_before_mesa

load_before_mesa()

from napari_cliper.cliper.compensation import (  # noqa: E402
    AttentionSource,
    Compensation,
    CompensationSource,
    SharedSelfAttention,
    TransformerSelfAttention,
)
from napari_cliper.cliper.diffusion import DiffusionSelfAttention  # noqa: E402
from napari_cliper.cliper.image_tower import ImageEncoder  # noqa: E402
from napari_cliper.cliper.pipeline import CLIPer, Encoding, Scores, Segmentation  # noqa: E402
from napari_cliper.cliper.scribbles import Scribbles  # noqa: E402
from napari_cliper.cliper.settings import Settings  # noqa: E402
from napari_cliper.cliper.steps import Step, drain  # noqa: E402
from napari_cliper.cliper.text import TextEncoder  # noqa: E402

__all__ = [
    "AttentionSource",
    "CLIPer",
    "Compensation",
    "CompensationSource",
    "DiffusionSelfAttention",
    "Encoding",
    "ImageEncoder",
    "Scores",
    "Scribbles",
    "Segmentation",
    "Settings",
    "SharedSelfAttention",
    "Step",
    "TextEncoder",
    "TransformerSelfAttention",
    "drain",
]
