"""Words become a mask, photographed as it happens: `screenshot_story.py [docs/images]`.

A picture is opened in a real window, words are typed key by key, *Segment* is pressed, and what the
words did not find is painted with the brush. Writes words-become-a-mask.webp, which moves, of the
whole window, and words-become-a-mask.png, the five steps side by side, cut out of the same
photographs. On a machine without a screen, run it under xvfb-run.
"""

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import napari
import numpy as np
from event_loop import wait
from hands import LEFT, Hands, QTest
from matplotlib.figure import Figure
from napari.layers import Labels
from numpy.typing import NDArray
from PIL import Image
from qtpy.QtCore import QPoint, QRect, Qt
from qtpy.QtWidgets import QProgressBar, QPushButton, QWidget

from napari_cliper.widgets.class_box import ClassBox
from napari_cliper.widgets.class_table import ClassTable

SIZE, DOCK = (1200, 900), 400
WORDS = "cat\neye\nnose"
STROKES = (  # on the nose, which the word does not find; row and column of pixels
    ((233, 245), (235, 283)),
    ((243, 253), (243, 277)),
    ((253, 264), (253, 268)),
)
BRUSH = 14  # pixels
SHORT, LONG, LAST = 130, 1300, 2600  # milliseconds that a photograph is shown

Pixels = NDArray[np.uint8]


@dataclass
class Film:
    """Photographs of the window, and how long each is shown.

    Attributes
    ----------
    hands : Hands
    frames : list of Image
    milliseconds : list of int
    """

    hands: Hands
    frames: list[Image.Image] = field(default_factory=list)
    milliseconds: list[int] = field(default_factory=list)

    def take(self, milliseconds: int) -> Pixels:
        """Photograph the window; the pixels are returned, too."""
        shot = self.hands.viewer.window.screenshot(canvas_only=False, flash=False)
        pixels: Pixels = shot[..., :3].astype(np.uint8)
        self.frames.append(Image.fromarray(pixels))
        self.milliseconds.append(milliseconds)
        return pixels

    def save(self, path: Path) -> None:
        """Write what moves."""
        first, *others = self.frames
        first.save(
            path,
            save_all=True,
            append_images=others,
            duration=self.milliseconds,
            loop=0,
            quality=70,
            method=6,
        )
        print(path)


def main(folder: Path) -> None:
    """Tell the story once, and write it twice."""
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as place, patch.dict(os.environ, {"XDG_DATA_HOME": place}):
        hands = Hands(napari.Viewer(show=True))
        hands.viewer.window.resize(*SIZE)
        hands.open_dock("Segment with text")
        hands.viewer.open_sample("napari-cliper", "cat")
        hands.choose_preset("small")
        make_room(hands)
        film = Film(hands)
        steps = tell(film)
        picture, words = around_picture(hands), around_words(hands)
        hands.viewer.close()
    film.save(folder / "words-become-a-mask.webp")
    save_steps(steps, picture, words, folder / "words-become-a-mask.png")


def make_room(hands: Hands) -> None:
    """A wider dock, and no words in it: the sample brings one along."""
    box = hands.part(ClassBox, "classes")
    box.selectAll()
    QTest.keyClick(box, Qt.Key.Key_Delete)
    dock = hands._docks[0].parent()
    hands.viewer.window._qt_window.resizeDocks([dock], [DOCK], Qt.Orientation.Horizontal)
    hands.settle()
    hands.viewer.reset_view()


def tell(film: Film) -> dict[str, Pixels]:
    """Do it, and give the photographs of the five steps."""
    hands = film.hands
    wait(1000)
    steps = {"a picture": film.take(LONG)}
    steps["words, typed"] = type_words(film)
    run(film)
    coarse, refined = (hands.viewer.layers[f"cat [{kind}]"] for kind in ("coarse", "refined"))
    coarse.visible, refined.visible = True, False
    wait(500)
    steps["coarse mask"] = film.take(LONG)
    coarse.visible, refined.visible = False, True
    wait(500)
    steps["refined mask"] = film.take(LONG)
    steps["corrected: a nose, painted"] = correct(film, refined)
    return steps


def type_words(film: Film) -> Pixels:
    """Key by key."""
    box = film.hands.part(ClassBox, "classes")
    for letter in WORDS:
        QTest.keyClicks(box, letter.replace("\n", "\r"))
        film.take(SHORT)
    wait(600)  # the table follows
    return film.take(LONG)


def run(film: Film) -> None:
    """Press the button, and photograph each step that the dock names."""
    QTest.mouseClick(film.hands.part(QPushButton, "segment"), LEFT)
    bar, told = film.hands.part(QProgressBar, "progress"), ""
    while not all(dock.idle for dock in film.hands._docks):
        if bar.text() != told:
            told = bar.text()
            film.take(3 * SHORT)
        wait(20)
    film.hands.settle()


def correct(film: Film, mask: Labels) -> Pixels:
    """Choose the class in the table, and paint."""
    hands = film.hands
    before = mask.data.copy()
    hands.viewer.layers.selection.active = mask
    hands.click_class("nose")
    hands.key(Qt.Key.Key_P)
    mask.brush_size = BRUSH
    film.take(LONG)
    for stroke in STROKES:
        hands.stroke(mask, *stroke)
        film.take(4 * SHORT)
    changed = mask.data != before
    nose = int(mask.selected_label)
    assert changed.any()
    assert set(mask.data[changed].tolist()) == {nose}
    return film.take(LAST)


def around_picture(hands: Hands) -> QRect:
    """Where the picture is in the window."""
    canvas, camera = hands._canvas, hands.viewer.scene.camera
    height, width = hands.viewer.layers["cat"].data.shape[:2]
    across, down = round(width * camera.zoom), round(height * camera.zoom)
    middle = in_window(hands, canvas).center()
    return QRect(middle - QPoint(across // 2, down // 2), middle + QPoint(across // 2, down // 2))


def around_words(hands: Hands) -> QRect:
    """Where the words and the table of classes are in the window."""
    parts = hands.part(ClassBox, "classes"), hands.part(ClassTable, "class-table")
    boxes = [in_window(hands, part) for part in parts]
    return boxes[0].united(boxes[1])


def in_window(hands: Hands, part: QWidget) -> QRect:
    """The place of a part, in pixels of the photographs."""
    corner = part.mapTo(hands.viewer.window._qt_window, QPoint(0, 0))
    return QRect(corner, part.size())


def cut(shot: Pixels, place: QRect) -> Pixels:
    """A part of a photograph."""
    return shot[place.top() : place.bottom() + 1, place.left() : place.right() + 1]


def save_steps(steps: dict[str, Pixels], picture: QRect, words: QRect, path: Path) -> None:
    """The steps from left to right."""
    parts = {
        title: cut(shot, words if title.startswith("words") else picture)
        for title, shot in steps.items()
    }
    shares = [part.shape[1] / part.shape[0] for part in parts.values()]
    figure = Figure(figsize=(3 * sum(shares) + 0.5, 3.4), layout="constrained", dpi=80)
    axes = figure.subplots(1, len(parts), width_ratios=shares)
    for panel, (title, part) in zip(axes, parts.items(), strict=True):
        panel.imshow(part)
        panel.set_title(title)
        panel.axis("off")
    figure.savefig(path)
    print(path)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images"))
