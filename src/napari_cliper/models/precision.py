"""In which type models compute: a half type where the device is faster in it, else float32."""

import os
import time
from functools import cache

import torch
from torch.nn import functional as F

from napari_cliper.errors import NapariCliperError
from napari_cliper.models.presets import AUTO

PRECISIONS = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
TENSOR_CORES = (7, 0)  # the compute capability from which on a GPU has them
LEAST_GAIN = 1.3  # what a product must gain to be worth the bits


def resolve_precision(name: str, device: torch.device) -> torch.dtype:
    """The type of the models' weights; sums, softmaxes and scores are float32 in any case.

    Parameters
    ----------
    name : str
        One of `PRECISIONS`; or "auto": what the environment's NAPARI_CLIPER_PRECISION says, else
        float16 on a GPU with tensor cores; bfloat16 on a CPU with AMX, or with AVX512-BF16 if that
        is faster; float32 elsewhere.
    device : torch.device

    Raises
    ------
    NapariCliperError
        If it is neither.
    """
    if name == AUTO:
        name = os.environ.get("NAPARI_CLIPER_PRECISION") or AUTO
    if name == AUTO:
        name = _fitting(device)
    if name not in PRECISIONS:
        choices = ", ".join([AUTO, *PRECISIONS])
        raise NapariCliperError(f"There is no precision “{name}”: choose {choices}.")
    return PRECISIONS[name]


def _fitting(device: torch.device) -> str:
    # Tensor cores are as fast in either half type, and float16 has the longer mantissa.
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= TENSOR_CORES:
        return "float16"
    if device.type == "cpu" and _suits_bfloat16():
        return "bfloat16"
    return "float32"


def _suits_bfloat16() -> bool:
    units = torch.cpu.get_capabilities()  # another make of processor has other names in it
    # A layer's product gains several times with AMX. With AVX512-BF16 alone it took nearly twice as
    # long as in float32 where it was tried; other makes may gain, so that is measured.
    return bool(
        units.get("amx_bf16") or (units.get("avx512_bf16") and bfloat16_gain() >= LEAST_GAIN)
    )


@cache
def bfloat16_gain() -> float:
    """How many times faster this CPU makes a layer's product in bfloat16; measured once."""
    with torch.inference_mode():
        tokens, weights = torch.ones(512, 512), torch.ones(2048, 512)
        halves = tokens.bfloat16(), weights.bfloat16()
        return _least_seconds(tokens, weights) / _least_seconds(*halves)


def _least_seconds(tokens: torch.Tensor, weights: torch.Tensor) -> float:
    # The first time makes buffers; the least of some is what nobody else's work disturbed.
    seconds = []
    for _ in range(6):
        began = time.perf_counter()
        F.linear(tokens, weights)
        seconds.append(time.perf_counter() - began)
    return min(seconds[1:])
