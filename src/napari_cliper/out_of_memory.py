"""What is done when a device's memory runs out: smaller pieces, then another device."""

import math
from collections.abc import Callable

import torch

from napari_cliper.cliper.pieces import largest, limit, shrink
from napari_cliper.cliper.steps import Step, Steps, T
from napari_cliper.errors import NapariCliperError

# What torch says where it has no exception of its own: on CPUs, on Apple's GPUs, and in NVIDIA's
# libraries, which ask for memory themselves.
SAID = ("can't allocate memory", "out of memory", "ALLOC_FAILED")


def is_out_of_memory(error: Exception) -> bool:
    """Whether an exception means that memory ran out."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(said in str(error) for said in SAID)


def within_memory(
    work: Callable[[], Steps[T]],
    device: torch.device,
    needed: Callable[[], int],
    elsewhere: Callable[[], Steps[T]] | None = None,
) -> Steps[T]:
    """Do some work, in pieces that will fit; where memory runs out, in smaller ones, or elsewhere.

    Parameters
    ----------
    work : callable
        Begins the work.
    device : torch.device
        Whose memory it needs.
    needed : callable
        About how many bytes it takes, in pieces as large as they are now.
    elsewhere : callable or None
        Begins the same work where there is more memory.

    Yields
    ------
    Step, of the work; with a notice of what is done otherwise than was asked for

    Raises
    ------
    NapariCliperError
        If there is not enough memory anywhere.
    """
    usual = largest(device)
    while needed() > free_bytes(device) and shrink(device):
        pass
    if needed() > free_bytes(device):  # an estimate: it may fit all the same
        limit(device, usual)
    while True:
        try:
            return (yield from work())
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        # Here and not above: an exception holds what was at work, and its tensors.
        give_back(device)
        if shrink(device):
            yield Step(f"The memory of {device} ran out: going on in smaller pieces", notice=True)
        elif elsewhere is not None:
            yield Step(f"The memory of {device} is too small: going on on the CPU", notice=True)
            return (yield from within_memory(elsewhere, torch.device("cpu"), needed))
        else:
            raise NapariCliperError(
                f"The memory is too small for about {needed() / 1e9:.1f} GB beside the models: "
                "close other programs, or choose a smaller preset, such as “small”."
            )


def free_bytes(device: torch.device) -> float:
    """What can still be had of a GPU's memory; of others nobody knows."""
    if device.type != "cuda":
        return math.inf
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + kept


def give_back(device: torch.device | str) -> None:
    """Return what torch keeps of a device's memory for later."""
    kind = torch.device(device).type
    if kind == "cuda":
        torch.cuda.empty_cache()
    elif kind == "mps":
        torch.mps.empty_cache()
