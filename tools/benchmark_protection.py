"""Print what protecting a person's strokes costs: time of a stroke, and bytes at rest.

A stroke is what napari does between pressing and releasing the mouse button: dabs along a line, one
step of the history; once without drawing the window, once drawn after each dab, as a person sees
it. The same strokes go to two Labels layers of the same pixels in turn, one followed as our masks
are, one not.
"""

import json
import statistics
import time

import numpy as np
from napari import Viewer
from napari.layers import Labels
from numpy.typing import NDArray
from qtpy.QtWidgets import QApplication

from napari_cliper.annotation.class_list import ClassList
from napari_cliper.files.session import encode_protected
from napari_cliper.widgets import masks
from napari_cliper.widgets.layers import labels_layer
from napari_cliper.widgets.planes import shown_plane

SIZE = 4096
DABS, BRUSH, PAIRS = 30, 40, 60


def stroke(
    layer: Labels, begin: NDArray[np.float64], end: NDArray[np.float64], label: int, drawn: bool
) -> float:
    """Seconds that one stroke takes on the GUI thread."""
    layer.brush_size = BRUSH
    began = time.perf_counter()
    with layer.block_history():
        for at in np.linspace(begin, end, DABS):
            layer.paint(tuple(at), label)
            if drawn:
                QApplication.processEvents()
    return time.perf_counter() - began


def compare(
    ours: Labels, plain: Labels, random: np.random.Generator, drawn: bool
) -> dict[str, float]:
    """Paint the same strokes on both layers in turn."""
    times: dict[str, list[float]] = {"with": [], "without": []}
    for number in range(PAIRS):
        begin = random.uniform(0, SIZE, 2)
        end = np.clip(begin + random.uniform(-600, 600, 2), 0, SIZE - 1)
        pair = [("with", ours), ("without", plain)]
        for name, layer in pair if number % 2 else reversed(pair):
            times[name].append(stroke(layer, begin, end, number % 3, drawn))
        QApplication.processEvents()
    ratios = [a / b for a, b in zip(times["with"], times["without"], strict=True)]
    return {
        "with, ms": round(1000 * statistics.median(times["with"]), 2),
        "without, ms": round(1000 * statistics.median(times["without"]), 2),
        "ratio, median of pairs": round(statistics.median(ratios), 3),
        "ratio of the sums": round(sum(times["with"]) / sum(times["without"]), 3),
    }


def main() -> None:
    """Paint in turn on both layers."""
    viewer = Viewer()
    labels = np.random.default_rng(0).integers(0, 3, (SIZE // 64, SIZE // 64)).astype(np.uint16)
    labels = labels.repeat(64, axis=0).repeat(64, axis=1)
    picture = viewer.add_image(np.zeros((SIZE, SIZE), np.uint8), name="picture")
    classes = ClassList.parse("cat; dog")
    item = labels_layer("refined", labels, classes)
    mask = masks.show_mask(viewer, shown_plane(viewer, picture), item, classes)
    plain = Labels(item.data.copy(), **item.attributes, **item.first)
    viewer.add_layer(plain)
    QApplication.processEvents()
    random = np.random.default_rng(1)
    figures = {
        "not drawn": compare(mask.layer, plain, random, False),
        "drawn": compare(mask.layer, plain, random, True),
    }
    assert np.array_equal(mask.layer.data, plain.data)
    noise = random.random((SIZE, SIZE)) < 0.5  # nothing compresses worse
    kept = {
        name: round(len(encode_protected(protected)) * 8 / SIZE**2, 4)
        for name, protected in (("strokes", mask.painted.mask), ("noise", noise))
    }
    print(
        json.dumps(
            {
                "mask": f"{SIZE} × {SIZE}",
                "a stroke": figures,
                "protected": int(mask.painted.count()),
                "bits a pixel at rest": kept,
            },
            indent=2,
            ensure_ascii=False,
        )
    )
    viewer.close()


if __name__ == "__main__":
    main()
