"""What the paper and the reference implementation got (`published.toml`); per cent."""

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from napari_cliper.evaluation.report import Run
from napari_cliper.models.schema import CLIPER

FILE = Path(__file__).with_name("published.toml")
STAR = "cliper-star"


@dataclass(frozen=True)
class Published:
    """What others got with a run's method, encoder and benchmark; None where it is not known.

    Attributes
    ----------
    paper : float or None
        mIoU of the paper's Table 1.
    coarse, refined : float or None
        mIoU of the reference implementation, without and with compensation.
    coarse_milliseconds, refined_milliseconds : float or None
        The paper's Table 4, on an RTX 3090.
    """

    paper: float | None = None
    coarse: float | None = None
    refined: float | None = None
    coarse_milliseconds: float | None = None
    refined_milliseconds: float | None = None


@cache
def _file() -> dict[str, Any]:
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


def published_for(run: Run, benchmark: str | None) -> Published:
    """The figures to hold against a run; with sliding crops, those with sliding crops."""
    if run.method not in (CLIPER, STAR) or benchmark is None:
        return Published()
    whole, sliding = run.method == CLIPER, bool(run.settings["sliding_crop"])

    def of(table: str, key: str) -> Any:
        return _file()[table].get(run.architecture, {}).get(key)

    coarse, refined = of("sliding" if sliding else "reference", benchmark) or (None, None)
    faster, slower = of("seconds", "milliseconds") or (None, None)
    return Published(
        paper=of("paper", benchmark) if whole and not sliding else None,
        coarse=coarse,
        refined=refined if whole else None,
        coarse_milliseconds=None if whole or sliding else faster,
        refined_milliseconds=slower if whole and not sliding else None,
    )
