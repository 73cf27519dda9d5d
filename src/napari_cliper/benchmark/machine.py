"""What a report says of the machine it was made on."""

import platform
from pathlib import Path

import torch

# What makes products of matrices fast, by torch's names of it.
UNITS = {
    "avx2": "AVX2",
    "avx512_f": "AVX-512",
    "avx512_bf16": "AVX-512 BF16",
    "amx_bf16": "AMX BF16",
    "amx_fp16": "AMX FP16",
    "neon": "NEON",
    "bf16": "BF16",
    "sve": "SVE",
    "sme": "SME",
}
CPU_INFO = Path("/proc/cpuinfo")


def name(device: torch.device) -> str:
    """The GPU's name, or the CPU's."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return _linux_name() or str(torch.cpu.get_capabilities().get("cpu_name", platform.machine()))


def units(device: torch.device) -> tuple[str, ...]:
    """The CPU's units that multiply matrices, the oldest first; () of a GPU."""
    if device.type != "cpu":
        return ()
    capabilities = torch.cpu.get_capabilities()
    return tuple(title for key, title in UNITS.items() if capabilities.get(key))


def _linux_name() -> str | None:
    """Longer than torch's: with the model's number, where the machine tells it."""
    try:
        lines = CPU_INFO.read_text("utf-8").splitlines()
    except OSError:
        return None
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, None)
