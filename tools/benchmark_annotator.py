"""Measure what an annotator waits for, and print it as JSON.

One megapixel, 20 classes, the small preset on the CPU, a real window. For a slider: what labelling
takes in its thread, what our own code takes on the GUI thread, and what napari takes to draw the
layer anew; all 20 classes are kept, the worst case, and beside it the plain way, which resizes all
maps and takes the best. For a point's attention: from the click to the layer, with ten maps of
64 × 64 places as Stable Diffusion 2.1 gives them, and beside it the plain way, which forms their
product. For a word: from the end of typing to the new masks, the picture being encoded. Then the
longest that any of our callbacks held the GUI thread, napari's part in it included. On a machine
without a screen, run it under xvfb-run; it takes two minutes on two idle cores.
"""

import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import napari
import numpy as np
from event_loop import wait, wait_until
from pulse import OURS, Pulse, milliseconds
from qtpy.QtWidgets import QCheckBox, QComboBox, QPushButton
from skimage.data import astronaut
from skimage.transform import resize
from superqt import QLabeledDoubleSlider

from napari_cliper.widgets import masks
from napari_cliper.widgets.class_box import ClassBox
from napari_cliper.widgets.segment_widget import SegmentWidget

SIDE = 1000
RUNS = 9
WORDS = [
    "woman", "suit", "flag", "shuttle", "cat", "dog", "car", "tree", "chair", "table",
    "lamp", "book", "door", "window", "bird", "horse", "boat", "train", "bottle", "cup",
]  # fmt: skip


def main() -> None:
    """Measure everything."""
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1500, 950)
    pixels = resize(astronaut(), (SIDE, SIDE), preserve_range=True).astype(np.uint8)
    viewer.add_image(pixels, name="picture")
    pulse = Pulse()
    pulse.watch(*OURS)
    _, widget = viewer.window.add_plugin_dock_widget("napari-cliper", "Segment with text")
    preset = widget.findChild(QComboBox, "cliper-preset")
    preset.setCurrentIndex(preset.findData("small"))
    widget.findChild(QCheckBox, "cliper-all-present").setChecked(True)
    widget.findChild(ClassBox, "cliper-classes").setPlainText("\n".join(WORDS))
    button = widget.findChild(QPushButton, "cliper-segment")
    wait(300)
    button.click()
    wait_until(button.isEnabled)
    wait(1000)
    mask = masks.of(viewer.layers["picture [refined]"])
    assert mask is not None
    report: dict[str, Any] = {"picture": f"{SIDE} × {SIDE}", "classes": len(WORDS)}
    report["slider, ms"] = {
        name: slider(viewer, widget, mask, name, pulse)
        for name in ("background", "presence", "refinement")
    }
    report["labelling, ms"] = labelling(widget)
    report["a point's attention at 64 × 64, ms"] = attention(viewer, widget, pulse)
    report["one word changed, s"] = word(widget, button, pulse)
    print(json.dumps(report, indent=2, ensure_ascii=False))
    viewer.close()


def slider(
    viewer: napari.Viewer, widget: SegmentWidget, mask: masks.Mask, name: str, pulse: Pulse
) -> dict[str, Any]:
    """Drag a slider to and fro."""
    handle = widget.findChild(QLabeledDoubleSlider, f"cliper-{name}")
    spent = {"ours on the GUI thread": 0.0, "napari's assignment": 0.0}
    real = mask.layer.refresh

    def refresh(*args: Any, **keywords: Any) -> None:
        start = time.perf_counter()
        real(*args, **keywords)
        spent["napari's assignment"] += time.perf_counter() - start

    preview = masks.Mask.preview

    def timed(self: masks.Mask, labels: Any) -> None:
        start = time.perf_counter()
        preview(self, labels)
        spent["ours on the GUI thread"] += time.perf_counter() - start

    ours, theirs, answers = [], [], []
    masks.Mask.preview = timed  # type: ignore[method-assign]
    object.__setattr__(mask.layer, "refresh", refresh)
    pulse.restart()
    handle.setSliderDown(True)
    for number in range(RUNS):
        spent |= dict.fromkeys(spent, 0.0)
        start = time.perf_counter()
        handle.setValue(0.3 + 0.05 * (number % 7))
        wait(35)
        wait_until(lambda: widget._masks.idle, pause_milliseconds=1)
        answers.append(time.perf_counter() - start)
        theirs.append(spent["napari's assignment"])
        ours.append(spent["ours on the GUI thread"] - spent["napari's assignment"])
    masks.Mask.preview = preview  # type: ignore[method-assign]
    report = pulse.report()
    pulse.restart()
    start = time.perf_counter()
    handle.setSliderDown(False)
    wait(50)
    wait_until(lambda: widget._masks.idle, pause_milliseconds=1)
    release = time.perf_counter() - start
    released = pulse.report()
    object.__delattr__(mask.layer, "refresh")
    viewer.layers.selection.active = mask.layer
    return {
        "ours on the GUI thread": milliseconds(statistics.median(ours)),
        "napari's assignment": milliseconds(statistics.median(theirs)),
        "from the move to the layer, 30 of them debounced": milliseconds(
            statistics.median(answers)
        ),
        "release, both masks and the undo step": milliseconds(release),
        "release, longest callback": released["longest callback of ours, ms"],
        "longest callback, napari's part included": report["longest callback of ours, ms"],
        "which": report["which"],
    }


def labelling(widget: SegmentWidget) -> dict[str, Any]:
    """What a slider's move costs in its thread, and the plain way of the same."""
    import torch
    from torch.nn import functional as F

    plane = widget._picture.plane()
    scene = widget._workspace.scene(plane)
    assert scene is not None
    scored = scene.scored
    refined = torch.from_numpy(scored.refined_maps)

    def plain() -> Any:
        maps = F.interpolate(refined[None], scored.size, mode="bilinear", align_corners=False)[0]
        maps = maps / maps.amax(dim=(1, 2), keepdim=True)
        best, winner = maps.max(dim=0)
        return torch.where(best >= 0.5, winner + 1, 0).numpy()

    values = iter(np.linspace(0.1, 0.9, 1000))
    timed = {
        "background": lambda: scored.label(background_threshold=next(values), present="all").labels,
        "presence, another set of classes": lambda: (
            scored.label(presence_threshold=next(values) / 2).labels
        ),
        "refinement": lambda: scored.label(refinement=next(values), present="all").labels,
        "the plain way": plain,
    }
    taken = {name: best_of(run) for name, run in timed.items()}
    worst = max(taken["background"], taken["refinement"])
    return {name: milliseconds(seconds) for name, seconds in taken.items()} | {
        "ratio of the plain way to our worst": round(taken["the plain way"] / worst, 1)
    }


def attention(viewer: napari.Viewer, widget: SegmentWidget, pulse: Pulse) -> dict[str, Any]:
    """From a click to the layer, and the plain way of the same."""
    import torch

    from napari_cliper.cliper.compact_maps import CompactMaps
    from napari_cliper.cliper.compensation import Compensation
    from napari_cliper.cliper.pipeline import Encoding
    from napari_cliper.cliper.settings import Settings
    from napari_cliper.inspector import Inspector
    from napari_cliper.widgets.live_attention import LiveAttention

    places = 64 * 64
    maps = torch.rand(10, places, places)
    maps /= maps.sum(dim=-1, keepdim=True)
    units = torch.nn.functional.normalize(torch.rand(1, 24 * 24, 32), dim=-1)
    encoding = Encoding(
        (SIDE, SIDE),
        (24, 24),
        units,
        torch.rand(24 * 24, 24 * 24),
        Settings(),
        Compensation(CompactMaps.of(maps), (64, 64)),
    )
    inspector = Inspector(encoding)
    live = LiveAttention(viewer)
    plane = widget._picture.plane()
    live.look_into(viewer.layers["picture"], plane, inspector)
    live.view = inspector.views[0].name
    live._show((10, 10))
    wait_until(lambda: live.idle, pause_milliseconds=1)
    taken = []
    pulse.restart()
    for number in range(RUNS):
        start = time.perf_counter()
        live._show((100 + 90 * number, 500))
        wait_until(lambda: live.idle, pause_milliseconds=1)
        taken.append(time.perf_counter() - start)
        wait(50)
    report = pulse.report()
    row = best_of(lambda: inspector.at((500, 500), live.view), 5)
    plain = best_of(lambda: torch.linalg.multi_dot(list(maps))[2080], 1)
    live.stop()
    return {
        "from the click to the layer": milliseconds(statistics.median(taken)),
        "the row alone": milliseconds(row),
        "the plain way, the whole product": milliseconds(plain),
        "ratio": round(plain / row),
        "longest callback, napari's part included": report["longest callback of ours, ms"],
    }


def word(widget: SegmentWidget, button: QPushButton, pulse: Pulse) -> dict[str, Any]:
    """From the end of typing to the new masks."""
    box = widget.findChild(ClassBox, "cliper-classes")
    taken = []
    pulse.restart()
    for word in ("spaceship", "rocket", "pilot", "banner", "portrait"):
        box.setPlainText("\n".join([*WORDS[:-1], word]))
        wait(300)
        start = time.perf_counter()
        box.submitted.emit()
        wait_until(button.isEnabled, pause_milliseconds=5)
        taken.append(time.perf_counter() - start)
        wait(300)
    report = pulse.report()
    return {
        "median": round(statistics.median(taken), 3),
        "longest": round(max(taken), 3),
        "longest callback, napari's part included, ms": report["longest callback of ours, ms"],
        "which": report["which"],
        "longest on the processor, ms": report["longest on the processor, ms"],
    }


def best_of(run: Callable[[], Any], times: int = RUNS) -> float:
    """Seconds that the quickest of some runs takes."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return min(taken)


if __name__ == "__main__":
    main()
