"""Segment a picture of 20,000 × 20,000 pixels and draw the memory it takes: `demonstrate_large.py`.

The picture is a mosaic of scikit-image's photographs, written to a Zarr folder first, some of them
mirrored. It is read window by window, and its labels are written beside it block by block. Printed
are times, and the largest resident memory beyond what the process had when the model was loaded.
Needs the extras `evaluation` and `offline`.
"""

import argparse
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import psutil  # type: ignore[import-untyped]
import skimage.data
import zarr
from matplotlib import pyplot as plt
from numpy.typing import NDArray
from PIL import Image, ImageOps

import napari_cliper as nc
from napari_cliper.annotation.class_list import ClassList
from napari_cliper.cliper.steps import Step, drain
from napari_cliper.files.overlay import draw_overlay
from napari_cliper.images import to_rgb
from napari_cliper.tiles.segmenting import Tiling, store_tiled_steps

PHOTOGRAPHS: tuple[Callable[[], Any], ...] = (
    skimage.data.astronaut,
    skimage.data.cat,
    skimage.data.coffee,
    skimage.data.rocket,
)
CLASSES = ClassList.parse("person; cat = kitten; cup = coffee, mug; rocket")
CELL = 2500  # pixels of a photograph in the mosaic
TARGET = 3e9  # bytes beyond the model
SHOWN = 800  # pixels of the drawn result
EVERY = 0.2  # seconds between two looks at the memory


@dataclass
class Memory:
    """The process's resident memory over time, and what it was doing.

    Attributes
    ----------
    seconds, bytes_ : list of float
        When, and how much.
    phases : list of (float, str)
        When each kind of work began.
    """

    began: float = field(default_factory=time.perf_counter)
    seconds: list[float] = field(default_factory=list)
    bytes_: list[int] = field(default_factory=list)
    phases: list[tuple[float, str]] = field(default_factory=list)
    _shown: str = ""
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Memory":
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        process = psutil.Process()
        while not self._over.wait(EVERY):
            self.seconds.append(time.perf_counter() - self.began)
            self.bytes_.append(process.memory_info().rss)

    def on_step(self, step: Step) -> None:
        """Note a new kind of work, and say how far it is."""
        kind = step.name.split(" of ")[0].rstrip("0123456789 ")
        if not self.phases or self.phases[-1][1] != kind:
            self.phases.append((time.perf_counter() - self.began, kind))
        if step.name != self._shown:
            print(f"\r{step.name:60}", end="", flush=True)
            self._shown = step.name


def cells(side: int) -> Iterator[tuple[slice, slice, NDArray[np.uint8]]]:
    """Where each photograph lies, and its pixels."""
    number = 0
    for top in range(0, side, CELL):
        for left in range(0, side, CELL):
            # Shifted in each row, so that no column has the same ones.
            photograph = Image.fromarray(to_rgb(PHOTOGRAPHS[number % len(PHOTOGRAPHS)]()))
            fitted = ImageOps.fit(photograph, (CELL, CELL), Image.Resampling.BICUBIC)
            if number % 3 == 0:
                fitted = ImageOps.mirror(fitted)
            rows, columns = (slice(first, min(first + CELL, side)) for first in (top, left))
            yield rows, columns, np.array(fitted)[: side - top, : side - left]
            number += 1
        number += 1


def make(path: Path, side: int) -> None:
    """Write the mosaic."""
    mosaic = zarr.create_array(
        path, shape=(side, side, 3), chunks=(CELL // 2, CELL // 2, 3), dtype=np.uint8
    )
    for rows, columns, pixels in cells(side):
        mosaic[rows, columns] = pixels


def draw_memory(memory: Memory, model: int, side: int, path: Path) -> None:
    """The curve, with what was done meanwhile."""
    mpl.use("Agg")
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    axes.plot(memory.seconds, np.array(memory.bytes_) / 1e9, color="#1f4e79", linewidth=1)
    ends = [*(when for when, _ in memory.phases[1:]), memory.seconds[-1]]
    for height, name, side_of in (
        (model, "model loaded", "top"),
        (model + TARGET, "3 GB beyond the model", "bottom"),
    ):
        axes.axhline(height / 1e9, color="#999999", linestyle="--", linewidth=1)
        axes.text(0, height / 1e9, f" {name}", color="#555555", fontsize=9, va=side_of)
    for number, ((when, name), end) in enumerate(zip(memory.phases, ends, strict=True)):
        share = (end - when) / ends[-1]
        axes.axvspan(when, end, color="#1f4e79", alpha=0.04 + 0.08 * (number % 2), linewidth=0)
        if share > 0.2:
            axes.text(when, 0.05, f" {name}", fontsize=9)
        elif share > 0.03:  # upright, above the curve
            axes.text(when, max(memory.bytes_) / 1e9 + 0.1, name, fontsize=9, rotation=90)
    axes.set(
        xlabel="seconds",
        ylabel="resident memory, GB",
        ylim=(0, (model + TARGET) / 1e9 + 0.4),
        xlim=(0, ends[-1]),
        title=f"{side:,} × {side:,} pixels, window by window",
    )
    figure.savefig(path, dpi=100)


def main() -> None:
    """Make it, segment it, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=20_000, help="pixels")
    parser.add_argument("--window", type=int, default=3072, help="pixels")
    parser.add_argument("--overlap", type=float, default=0.5, help="share of a window")
    parser.add_argument("--images", type=Path, default=Path("docs/images"), help="where to draw")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        make(Path(folder) / "mosaic.zarr", given.side)
        print(f"made in {time.perf_counter() - began:.0f} s")
        mosaic: Any = zarr.open(Path(folder) / "mosaic.zarr", mode="r")
        segmenter = nc.load("small", device="cpu")
        model = psutil.Process().memory_info().rss
        began = time.perf_counter()
        with Memory() as memory:
            tiling = Tiling(given.window, given.overlap)
            steps = store_tiled_steps(
                segmenter, mosaic, CLASSES, Path(folder) / "labels.zarr", tiling
            )
            result = drain(steps, memory.on_step)
        seconds = time.perf_counter() - began
        peak = max(memory.bytes_)
        print(f"\nsegmented in {seconds / 60:.1f} minutes")
        print(
            f"peak {peak / 1e9:.2f} GB, {(peak - model) / 1e9:.2f} GB beyond the model's "
            f"{model / 1e9:.2f} GB; the target is {TARGET / 1e9:.0f} GB"
        )
        for entry, presence in zip(CLASSES, result.presence, strict=True):
            print(f"{entry.name:10} presence {presence:.2f}")
        step = -(-given.side // SHOWN)
        small = np.asarray(mosaic[::step, ::step])
        overlay = draw_overlay(small, np.asarray(result.labels[::step, ::step]), CLASSES)
        Image.fromarray(overlay).quantize(128).save(given.images / "large-result.png")
        draw_memory(memory, model, given.side, given.images / "large-memory.png")


if __name__ == "__main__":
    main()
