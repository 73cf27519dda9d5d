"""What can be chosen about the method, and nothing about pictures, words or weights."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

LastBlockAttention = Literal[
    "fused",
    "query-query",
    "key-key",
    "value-value",
    "query-query+key-key",
    "vanilla",
    "identity",
    "proxy",
]
Variant = Literal["reference", "paper"]


@dataclass(frozen=True)
class Settings:
    """Every choice CLIPer leaves open; the defaults are those of its plain ViT-L/14 row.

    Attributes
    ----------
    shorter_side : int
        Pixels of the resized picture's shorter side, before rounding to whole patches.
    variant : str
        "reference" computes what the reference implementation does, "paper" the paper's equations
        as they stand (eqs. 3-10): another fused attention and other early embeddings, the coarse
        map the mean of the cosines (so no thresholds and no spreading in it), and the product of
        the raw maps. docs/method.md has a table of where they part.
    attention : str
        How the last block mixes its tokens: "fused" is early-layer fusion (section 3.3),
        "query-query+key-key" is SCLIP's correlative self-attention (Wang et al., ECCV 2024), the
        others are the alternatives of Table 6. "proxy" needs another vision model.
    whole_last_block : bool
        Whether the last block keeps its residual connections and its feed-forward network. CLIPer
        drops both (section 3.3), as ClearCLIP does (Lan et al., ECCV 2024); CLIP (Radford et al.,
        ICML 2021) and SCLIP keep them.
    selected_layer : int
        The layer whose map is thresholded and spread by the attention, counted from the end:
        -1 is E_N, -2 is E_{N-1}.
    early_layers : "all" or int
        Of how many layers, counted from the end, the maps are averaged into the coarse map. 0: of
        none, so the coarse map is the selected layer's alone.
    spread : bool
        Whether the selected layer's map is thresholded and spread by the attention; without, it is
        taken as it is.
    logit_scale : float
        Factor on the cosine similarities before the softmax over words.
    activation_threshold : float
        In [0, 1]. Entries of the selected layer's map below this share of their class's maximum
        become 0; entries of the compensation maps below this share of their column's too.
    sliding_crop : int
        Side in pixels of the sliding crops that are averaged in; 0 for none.
    sliding_stride : int
        Pixels between two crops.
    compensate : bool
        Whether the coarse map is refined by fine-grained compensation (section 3.4).
    head_fusion : "product", "mean" or int
        How the compensation maps become one operator: chained (eq. 10), averaged, or the one with
        this index alone (Table 7).
    presence_threshold : float
        In [0, 1]. Classes that are not more present than this are dropped.
    background_threshold : float
        In [0, 1]. Scores below this are background; 0 uses the score (1 - maximum)² instead.
    normalise_each_class : bool
        Whether each class's map is stretched to [0, 1] before the thresholds.

    Raises
    ------
    ValueError
        If a value is outside its range.
    """

    shorter_side: int = 336
    variant: Variant = "reference"
    attention: LastBlockAttention = "fused"
    whole_last_block: bool = False
    selected_layer: int = -1
    early_layers: Literal["all"] | int = "all"
    spread: bool = True
    logit_scale: float = 100.0
    activation_threshold: float = 0.1
    sliding_crop: int = 0
    sliding_stride: int = 112
    compensate: bool = True
    head_fusion: Literal["product", "mean"] | int = "product"
    presence_threshold: float = 0.3
    background_threshold: float = 0.4
    normalise_each_class: bool = False

    def encodes_as(self, other: "Settings") -> bool:
        """Whether a picture that was encoded with the other's choices is encoded with these."""
        return self.of_encoding() == other.of_encoding()

    def of_encoding(self) -> dict[str, bool | int | float | str]:
        """What an encoding depends on; the rest matters when it is scored or labelled."""
        return {name: getattr(self, name) for name in _ENCODING}

    def __post_init__(self) -> None:
        for name in ("activation_threshold", "presence_threshold", "background_threshold"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie between 0 and 1, not {getattr(self, name)}")
        for name in ("shorter_side", "sliding_stride", "logit_scale"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be more than 0, not {getattr(self, name)}")
        if self.sliding_crop < 0:
            raise ValueError("sliding_crop must not be negative")
        reach = math.inf if self.early_layers == "all" else self.early_layers
        if isinstance(reach, str) or reach < 0:
            raise ValueError("early_layers must be all, or a number that is not negative")
        for name, choices in (("attention", LastBlockAttention), ("variant", Variant)):
            if getattr(self, name) not in get_args(choices):
                raise ValueError(f"{name} must be one of {', '.join(get_args(choices))}")
        if self.variant == "paper" and self.sliding_crop:
            raise ValueError("sliding_crop must be 0: the paper's equations have no sliding crops")
        if isinstance(self.head_fusion, str) and self.head_fusion not in ("product", "mean"):
            raise ValueError("head_fusion must be product, mean or the number of a map")
        if self.selected_layer >= 0:
            raise ValueError("selected_layer counts from the end: -1 is the last layer")
        if 0 < reach < -self.selected_layer:
            raise ValueError("early_layers must reach back to the selected layer")


_ENCODING = (
    "shorter_side",
    "variant",
    "attention",
    "whole_last_block",
    "selected_layer",
    "early_layers",
    "activation_threshold",
    "sliding_crop",
    "sliding_stride",
    "compensate",
    "head_fusion",
)
