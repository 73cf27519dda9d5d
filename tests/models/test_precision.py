"""What “auto” takes, on processors that are made up."""

import os
import subprocess
import sys
from typing import Any

import pytest
import torch

from napari_cliper.errors import NapariCliperError
from napari_cliper.models import precision
from napari_cliper.models.precision import PRECISIONS, resolve_precision

CPU = torch.device("cpu")


@pytest.fixture
def left_to_us(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Nobody has said what “auto” means here."""
    monkeypatch.delenv("NAPARI_CLIPER_PRECISION")
    monkeypatch.setattr(precision, "bfloat16_gain", lambda: pytest.fail("not to be measured"))
    return monkeypatch


@pytest.mark.parametrize("name", PRECISIONS)
def test_a_name_is_taken_at_its_word(left_to_us: pytest.MonkeyPatch, name: str) -> None:
    assert resolve_precision(name, CPU) == PRECISIONS[name]
    assert str(PRECISIONS[name]) == f"torch.{name}"


@pytest.mark.parametrize(
    ("units", "gain", "expected"),
    [
        ({"architecture": "x86_64", "amx_bf16": True, "avx512_bf16": True}, None, torch.bfloat16),
        ({"amx_bf16": False, "avx512_bf16": True}, 1.6, torch.bfloat16),
        ({"amx_bf16": False, "avx512_bf16": True}, 0.6, torch.float32),
        ({"amx_bf16": False, "avx512_bf16": False, "avx2": True}, None, torch.float32),
        ({"architecture": "arm64", "neon": True, "bf16": True}, None, torch.float32),
    ],
)
def test_a_processor(
    left_to_us: pytest.MonkeyPatch,
    units: dict[str, Any],
    gain: float | None,
    expected: torch.dtype,
) -> None:
    left_to_us.setattr(torch.cpu, "get_capabilities", lambda: units)
    if gain is not None:
        left_to_us.setattr(precision, "bfloat16_gain", lambda: gain)
    assert resolve_precision("auto", CPU) == expected
    assert resolve_precision("auto", torch.device("mps")) == torch.float32


@pytest.mark.parametrize(
    ("capability", "expected"),
    [((6, 1), torch.float32), ((7, 0), torch.float16), ((9, 0), torch.float16)],
)
def test_a_gpu(
    left_to_us: pytest.MonkeyPatch, capability: tuple[int, int], expected: torch.dtype
) -> None:
    left_to_us.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert resolve_precision("auto", torch.device("cuda:1")) == expected


def test_the_environment_says_what_auto_means(left_to_us: pytest.MonkeyPatch) -> None:
    left_to_us.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    left_to_us.setenv("NAPARI_CLIPER_PRECISION", "float16")
    assert resolve_precision("auto", CPU) == torch.float16
    assert resolve_precision("float32", CPU) == torch.float32
    for unsaid in ("", "auto"):
        left_to_us.setenv("NAPARI_CLIPER_PRECISION", unsaid)
        assert resolve_precision("auto", CPU) == torch.bfloat16
    left_to_us.setenv("NAPARI_CLIPER_PRECISION", "half")
    with pytest.raises(NapariCliperError, match="no precision “half”: choose auto, float32, bfl"):
        resolve_precision("auto", CPU)


def test_the_gain_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    precision.bfloat16_gain.cache_clear()
    gain = precision.bfloat16_gain()
    assert gain > 0
    monkeypatch.setattr(precision, "_least_seconds", lambda *_: pytest.fail("measured again"))
    assert precision.bfloat16_gain() == gain


def test_this_machine() -> None:
    """Whatever it has; in a process of its own, where nothing is made up."""
    environment = {k: v for k, v in os.environ.items() if k != "NAPARI_CLIPER_PRECISION"}
    code = (
        "from napari_cliper.models.loading import resolve_device\n"
        "from napari_cliper.models.precision import resolve_precision\n"
        "print(resolve_precision('auto', resolve_device()))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    )
    assert told.stdout.strip().removeprefix("torch.") in PRECISIONS
