"""Each head of the compensation's self-attention alone (Table 7)."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal, TypeAlias

from napari_cliper.cliper.compensation import AttentionSource, Compensation, prepare
from napari_cliper.cliper.labelling import Thresholds
from napari_cliper.cliper.pipeline import Encoding
from napari_cliper.cliper.settings import Settings
from napari_cliper.cliper.steps import Step, Steps
from napari_cliper.errors import NapariCliperError
from napari_cliper.evaluation.datasets.dataset import Dataset
from napari_cliper.evaluation.metrics import Confusion
from napari_cliper.evaluation.report import Head
from napari_cliper.evaluation.runner import read_pair
from napari_cliper.models.schema import OtherModel, Preset
from napari_cliper.segmenter import Segmenter

Fusion: TypeAlias = int | Literal["mean", "product"]

WHOLE: tuple[Fusion, ...] = ("mean", "product")


def has_heads(preset: Preset) -> bool:
    """Whether it compensates by self-attention: only that has heads, others have one map."""
    source = preset.compensation
    by_affinity = isinstance(source, OtherModel) and source.maps == "affinity"
    return source is not None and not by_affinity and preset.settings.get("compensate") is not False


def check_heads(presets: Iterable[Preset]) -> None:
    """Refuse to try heads where none of the presets has any.

    Raises
    ------
    NapariCliperError
    """
    if not any(map(has_heads, presets)):
        raise NapariCliperError(
            "No method here compensates by self-attention, so that there are no heads to try: "
            "choose cliper, or --compensation preset."
        )


def sweep(
    model: Segmenter, dataset: Dataset, title: str, thresholds: Thresholds | None = None
) -> Steps[tuple[Head, ...]]:
    """The refined masks' mIoU with each head alone, with the heads' mean and with their product.

    A picture is encoded once for all of them.

    Parameters
    ----------
    model : Segmenter
        With compensation by several maps.
    dataset : Dataset
    title : str
    thresholds : Thresholds or None
        In place of the model's own.

    Yields
    ------
    Step

    Raises
    ------
    NapariCliperError
        Nothing is compensated, or by one map alone, or a picture cannot be read.
    """
    settings, count = model.engine.settings, len(dataset.classes)
    tallies: dict[str, Confusion] = {}
    for done, sample in enumerate(dataset.samples):
        yield Step(f"{title}: heads of {sample.name}", done, len(dataset.samples))
        picture, truth = read_pair(sample)
        encoding = yield from model.encode_steps(picture, inspect=True)
        for fusion in _fusions(encoding, model):
            compensation = _fused(encoding, model, replace(settings, head_fusion=fusion))
            other = replace(encoding, compensation=compensation, inspection=None)
            scored = yield from model.score_steps(other, dataset.classes)
            tally = tallies.setdefault(str(fusion), Confusion.empty(count))
            chosen = thresholds or scored.thresholds
            labels = scored.label(chosen.presence, chosen.background).labels
            tally.add(Confusion.of(truth, labels, count))
    return tuple(
        Head(fusion=fusion, miou=tally.figures(dataset.names, dataset.background).miou)
        for fusion, tally in tallies.items()
    )


def _fusions(encoding: Encoding, model: Segmenter) -> list[Fusion]:
    maps = encoding.inspection.maps if encoding.inspection is not None else None
    if maps is None or len(maps) < 2:
        raise NapariCliperError(
            f"The method {model.preset.method} of {model.preset_name} compensates with no heads to "
            "choose from: sweep over those of another one, for example --method cliper."
        )
    return [*range(len(maps)), *WHOLE]


def _fused(encoding: Encoding, model: Segmenter, settings: Settings) -> Compensation:
    """The compensation that the encoding's maps make with other settings."""
    assert encoding.inspection is not None
    assert encoding.inspection.maps is not None
    assert encoding.compensation is not None
    maps, grid = encoding.inspection.maps, encoding.compensation.grid
    source = model.engine.attention_source
    if isinstance(source, AttentionSource):
        return source.prepare(maps, grid, settings)
    return prepare(maps, grid, settings)
