"""The whole benchmark: models in, report out."""

import numpy as np
import torch

from napari_cliper.benchmark import machine
from napari_cliper.benchmark.measure import measure, rate
from napari_cliper.benchmark.memory import model_bytes
from napari_cliper.benchmark.report import Report
from napari_cliper.benchmark.steps import pairs
from napari_cliper.cliper.steps import Steps
from napari_cliper.models.precision import resolve_precision
from napari_cliper.segmenter import Segmenter

SIZE = 336, 504  # of the picture


def run(
    ours: Segmenter, plain: Segmenter, random_weights: bool = False, repeat: int = 1
) -> Steps[Report]:
    """Measure every step for a picture of noise and twenty words.

    Parameters
    ----------
    ours : Segmenter
    plain : Segmenter
        The same in float32: the same object, if ours is float32.
    random_weights : bool
        Whether the models have these; the report tells.
    repeat : int
        How often each step is timed at least.

    Yields
    ------
    Step, before each

    Raises
    ------
    NapariCliperError
        If there is no plain way to do what the preset's settings ask for.
    """
    device = torch.device(ours.device)
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3)).astype(np.uint8)
    with torch.inference_mode():
        steps = yield from measure(pairs(ours, plain, image), device, repeat)
    return Report(
        preset=ours.preset_name,
        device=ours.device,
        precision=ours.precision,
        random_weights=random_weights,
        machine=machine.name(device),
        units=machine.units(device),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        rate=rate(device, resolve_precision(ours.precision, device)),
        weights=model_bytes(ours.engine),
        plain_weights=model_bytes(plain.engine),
        steps=steps,
    )
