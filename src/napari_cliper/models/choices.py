"""What a person may choose about a preset, and what it changes in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from napari_cliper.errors import NapariCliperError
from napari_cliper.models.presets import (
    AUTO,
    Changes,
    compensation_changes,
    load_presets,
    method_changes,
    parse_change,
)
from napari_cliper.models.schema import CLIPER, ClipEncoder


@dataclass(frozen=True)
class Choices:
    """How a preset is to be used; each choice is a change to its table.

    Attributes
    ----------
    method : str
        One of `presets.load_methods`.
    encoder : str or None
        Another CLIP, as `open_clip_names.clip_encoder` takes it: "ViT-B-16:openai", or
        "ViT-B-16-quickgelu:PATH" for a local checkpoint.
    compensation : str or None
        Another source of self-attention, as of `presets.compensation_changes`; None leaves it to
        the method.
    precision : str
        Of the models' weights: "float32", "bfloat16", "float16", or "auto" for what suits the
        device, as of `precision.resolve_precision`.
    changes : sequence of str or tables
        Single values, as "settings.logit_scale=70"; they have the last word.
    """

    method: str = CLIPER
    encoder: str | None = None
    compensation: str | None = None
    precision: str = AUTO
    changes: Sequence[str | Changes] = ()

    def __post_init__(self) -> None:
        """Let a single change stand for a list of one, and None for none."""
        given: Any = self.changes
        if isinstance(given, (str, Mapping)):
            given = (given,)
        object.__setattr__(self, "changes", tuple(given or ()))

    def as_changes(self) -> list[Changes]:
        """The tables to merge into the preset's, in turn.

        Raises
        ------
        NapariCliperError
            If a choice is none.
        """
        tables: list[Changes] = []
        if self.encoder is not None:
            tables.append({"encoder": _encoder(self.encoder)})
        tables.append(method_changes(self.method))
        if self.compensation is not None:
            tables.append(compensation_changes(self.compensation))
        tables += map(_change, self.changes)
        return tables


def _change(change: str | Changes) -> Changes:
    table = parse_change(change) if isinstance(change, str) else change
    for field in ("method", "name", "extends"):
        if field in table:
            raise NapariCliperError(
                f"“{field}” is no field to change: choose method and preset by their own options."
            )
    return table


def _encoder(name: str) -> dict[str, Any]:
    """The encoder's table; weights that a built-in preset has too are pinned as there."""
    from napari_cliper.models.open_clip_names import clip_encoder

    table = clip_encoder(name)
    for preset in load_presets().values():
        if isinstance(preset.encoder, ClipEncoder):
            known = preset.encoder.weights
            if known.repo == table["weights"]["repo"]:
                table["weights"] = known.model_dump()
    return table
