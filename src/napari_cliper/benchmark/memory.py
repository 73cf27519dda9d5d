"""The most memory that some work holds, as torch's allocator counts it."""

import os
from collections.abc import Callable

import torch
from torch import nn
from torch.autograd.profiler import profile

from napari_cliper.cliper import CLIPer


def peak_bytes(work: Callable[[], object], device: torch.device) -> int | None:
    """Bytes that some work holds at most, above what is held when it begins.

    What it keeps counts; the models and what earlier work has kept do not. Each tensor and each
    buffer that torch's operations and oneDNN ask the allocator for counts, to the byte. What MKL
    takes for a product's own use, and memory that the process does not give back, do not.

    Parameters
    ----------
    work : callable
    device : torch.device

    Returns
    -------
    int or None
        None where torch counts nothing: on GPUs other than NVIDIA's and AMD's.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return torch.cuda.max_memory_allocated(device) - before
    if device.type != "cpu":
        work()
        return None
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it reports its own beginning and end
    with profile(profile_memory=True) as profiled:
        work()
    held = most = 0
    for event in sorted(profiled.kineto_results.events(), key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most


def model_bytes(engine: CLIPer) -> int:
    """Bytes of the engine's models: both towers, and what its compensation runs."""
    source = engine.attention_source
    parts = [
        engine.image_encoder.visual,
        getattr(engine.text_encoder.encode, "__self__", None),  # the model whose method it is
        *(getattr(source, name, None) for name in ("vae", "unet")),
        getattr(getattr(source, "model", None), "model", None),
    ]
    modules = [part for part in parts if isinstance(part, nn.Module)]
    tensors = {id(t): t for each in modules for t in (*each.parameters(), *each.buffers())}
    return sum(tensor.nbytes for tensor in tensors.values())
