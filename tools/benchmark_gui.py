"""Measure what the window costs, and print it as JSON.

A timer beats every 5 ms on the GUI thread; where it is late, something held that thread: napari,
Qt, the interpreter's lock, another program, or one of our callbacks. The longest of those, and of
its time on the processor, stands beside the longest pause of each phase; it includes what napari
does when it is called. Then the same segmentation runs in the main thread and in napari's worker by
turns. On a machine without a screen, run it under xvfb-run; it takes a minute on two idle cores.
"""

import json
import statistics
import subprocess
import sys
import time
from typing import Any

import napari
import numpy as np
from event_loop import wait, wait_until
from pulse import OURS, Pulse, milliseconds
from qtpy.QtWidgets import QPushButton

from napari_cliper.widgets import warm_up
from napari_cliper.widgets.class_box import ClassBox
from napari_cliper.widgets.jobs import Job
from napari_cliper.widgets.progress import ProgressBar
from napari_cliper.widgets.segment_widget import SegmentWidget

RUNS = 5
PAIRS = 7
WORDS = "cat; sofa = couch"


def main() -> None:
    """Measure everything."""
    report: dict[str, Any] = {"import napari_cliper, s": import_time()}
    viewer = napari.Viewer(show=True)
    viewer.open_sample("napari-cliper", "cat")
    wait(500)
    pulse = Pulse()
    pulse.watch(*OURS)

    start = time.perf_counter()
    _, widget = viewer.window.add_plugin_dock_widget("napari-cliper", "Segment with text")
    report["opening the dock, ms"] = milliseconds(time.perf_counter() - start)
    report["torch imported by opening the dock"] = "torch" in sys.modules

    pulse.restart()
    wait(100)
    wait_until(lambda: not warm_up.start().is_alive())
    report["warm-up"] = pulse.report()
    report["first run"] = timed_run(widget, "cat", pulse)
    report["later runs"] = [
        timed_run(widget, words, pulse) for words in [WORDS, "cat", WORDS, "dog", WORDS][:RUNS]
    ]
    report["worker and main thread"] = compare_threads(viewer.layers["cat"].data, widget)
    viewer.close()
    print(json.dumps(report, indent=2, ensure_ascii=False))


def import_time() -> float:
    """Seconds for `import napari_cliper` in a fresh process, the best of five."""
    script = (
        "import sys, time; start = time.perf_counter(); import napari_cliper; "
        "assert 'torch' not in sys.modules; print(time.perf_counter() - start)"
    )
    command = [sys.executable, "-c", script]
    return round(min(float(subprocess.check_output(command)) for _ in range(5)), 4)


def timed_run(widget: SegmentWidget, words: str, pulse: Pulse) -> dict[str, Any]:
    """Segment by a click; a new picture each time, so that the engine has all its work to do."""
    from napari_cliper.widgets import segmentation

    segmentation.encodings.clear()
    widget.findChild(ClassBox, "cliper-classes").setPlainText(words)
    button = widget.findChild(QPushButton, "cliper-segment")
    wait(200)
    pulse.restart()
    start = time.perf_counter()
    button.click()
    wait_until(button.isEnabled)
    took = time.perf_counter() - start
    wait(200)  # napari draws what was added
    return {"seconds": round(took, 2), **pulse.report()}


def compare_threads(pixels: np.ndarray[Any, Any], widget: SegmentWidget) -> dict[str, Any]:
    """The same segmentation in the main thread and in the worker, by turns.

    The worker's has an open window beside it, whose progress bar it moves.
    """
    from napari_cliper.segmenter import drain, load

    model = load("small", "cpu")
    in_main, in_worker = [], []
    job = Job()
    job.stepped.connect(widget.findChild(ProgressBar).step)
    for _ in range(PAIRS + 1):
        model.encodings.clear()
        start = time.perf_counter()
        drain(model.segment_steps(pixels, WORDS))
        in_main.append(time.perf_counter() - start)
        model.encodings.clear()
        start = time.perf_counter()
        job.start(model.segment_steps(pixels, WORDS))
        wait_until(lambda: not job.running, pause_milliseconds=2)
        in_worker.append(time.perf_counter() - start)
    pairs = list(zip(in_main, in_worker, strict=True))[1:]  # the first pair warms up
    return {
        "main, s": round(statistics.median(main for main, _ in pairs), 3),
        "worker, s": round(statistics.median(worker for _, worker in pairs), 3),
        "ratio": round(statistics.median(worker / main for main, worker in pairs), 3),
        "pairs": PAIRS,
    }


if __name__ == "__main__":
    main()
