"""Do what docs/tutorial.md says, in a real window: `screenshot_tutorial.py [docs/images]`.

Each step is done with mouse and keys as a person would, and what the page promises of it is
asserted. Writes tutorial-*.png. On a machine without a screen, run it under xvfb-run.
"""

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import napari
import numpy as np
from hands import CONTROL, Hands
from napari.layers import Labels
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel
from skimage import data, io

from napari_cliper.files.review import open_review
from napari_cliper.widgets import masks

SIZE = 1300, 950
ALT, SHIFT = Qt.KeyboardModifier.AltModifier, Qt.KeyboardModifier.ShiftModifier
CAT, EYE, ROCK = 1, 2, 3  # the classes' numbers


def main(folder: Path) -> None:
    """Write all pictures into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as place, patch.dict(os.environ, {"XDG_DATA_HOME": place}):
        session = Path(place) / "cat session"
        hands = sit_down()
        segment(hands, folder)
        look(hands, folder)
        choose_regions(hands, folder)
        fix(hands)
        scribble(hands, folder)
        ask_anew(hands, folder)
        compare(hands, folder)
        split(hands)
        saved = refined(hands).data.copy()
        hands.choose_folder("save-session", session)
        hands.viewer.close()

        hands = sit_down()
        reopen(hands, session, saved)
        hands.viewer.close()

        hands = sit_down()
        review(hands, Path(place) / "pictures", folder)
        hands.viewer.close()


def sit_down() -> Hands:
    """A new window with the first dock in it."""
    hands = Hands(napari.Viewer(show=True))
    hands.viewer.window.resize(*SIZE)
    hands.open_dock("Segment with text")
    return hands


def refined(hands: Hands) -> Labels:
    """The mask that the tutorial corrects."""
    return hands.viewer.layers["cat [refined]"]


def yours(hands: Hands) -> int:
    """How many of its pixels are the person's."""
    mask = masks.of(refined(hands))
    assert mask is not None
    return mask.painted.count()


def said(hands: Hands, name: str = "correct-status") -> str:
    """What a dock says."""
    return hands.part(QLabel, name).text()


def names(hands: Hands) -> list[str]:
    """Of the layers."""
    return [layer.name for layer in hands.viewer.layers]


def segment(hands: Hands, folder: Path) -> None:
    """1. Two words become a mask."""
    hands.viewer.open_sample("napari-cliper", "cat")
    hands.settle()
    hands.choose_preset("small")
    hands.type_classes("cat\neye")
    hands.press("segment")
    assert set(np.unique(refined(hands).data)) == {0, CAT, EYE}
    hands.take(folder / "tutorial-segment.png")


def look(hands: Hands, folder: Path) -> None:
    """2. What is unsure."""
    hands.open_dock("Correct masks")
    hands.key(Qt.Key.Key_N)
    hands.key(Qt.Key.Key_N)
    assert "unsure place" in said(hands)
    hands.take(folder / "tutorial-unsure.png")
    hands.press("forget-seen")
    assert "cat [look here]" not in names(hands)
    hands.key(Qt.Key.Key_R, CONTROL)


def choose_regions(hands: Hands, folder: Path) -> None:
    """3. A region gets another class, or none."""
    mask = refined(hands)
    before, eye = mask.data.copy(), (100, 170)
    assert mask.data[eye] == EYE
    hands.click(mask, eye)
    hands.take(folder / "tutorial-region.png")
    hands.key(Qt.Key.Key_1, ALT)
    assert mask.data[eye] == CAT
    assert yours(hands) > 2000
    hands.key(Qt.Key.Key_Z, CONTROL)
    hands.click(mask, eye)
    hands.key(Qt.Key.Key_0, ALT)
    assert mask.data[eye] == 0
    hands.key(Qt.Key.Key_Z, CONTROL)
    assert np.array_equal(mask.data, before)
    assert yours(hands) == 0


def fix(hands: Hands) -> None:
    """4. Specks are shown and dropped."""
    mask = refined(hands)
    before = mask.data.copy()
    hands.choose("fix", "Drop specks")
    hands.press("fix-preview")
    assert "Drop specks: 5 pixels" in said(hands)
    assert np.array_equal(mask.data, before)
    hands.key(Qt.Key.Key_Return)
    assert np.count_nonzero(mask.data != before) == yours(hands) == 5


def scribble(hands: Hands, folder: Path) -> None:
    """5. Strokes of the background and of a class spread."""
    hands.press("scribble")
    layer = hands.viewer.layers["cat [scribbles]"]
    hands.key(Qt.Key.Key_0, ALT)
    hands.stroke(layer, (258, 345), (285, 400))
    hands.key(Qt.Key.Key_1, ALT)
    hands.stroke(layer, (180, 345), (200, 350))
    drawn = np.count_nonzero(layer.data)
    hands.take(folder / "tutorial-scribble.png")
    hands.key(Qt.Key.Key_Return)
    assert yours(hands) > 3 * drawn
    assert "cat [scribbles]" not in names(hands)


def ask_anew(hands: Hands, folder: Path) -> None:
    """6. and 7. Strokes are shown, stay when other words are asked for, and are taken back."""
    mask = refined(hands)
    hands.key(Qt.Key.Key_P)
    hands.stroke(mask, (150, 20), (122, 13), (95, 18))
    hands.key(Qt.Key.Key_6)
    hands.tick("show-yours")
    before, theirs = mask.data.copy(), hands.viewer.layers["cat [yours]"].data != 0
    hands.type_classes("cat\neye\nrock")
    hands.submit()
    assert (mask.data == ROCK).any()
    assert np.array_equal(mask.data[theirs], before[theirs])
    said(hands)
    hands.take(folder / "tutorial-yours.png")
    hands.key(Qt.Key.Key_Z, CONTROL)
    assert np.array_equal(mask.data, before)
    hands.key(Qt.Key.Key_Z, CONTROL)
    assert not np.array_equal(mask.data, before)
    for _ in range(2):
        hands.key(Qt.Key.Key_Z, CONTROL | SHIFT)
    assert (mask.data == ROCK).any()
    hands.tick("show-yours")
    assert "cat [yours]" not in names(hands)


def compare(hands: Hands, folder: Path) -> None:
    """8. The mask is compared with what was proposed."""
    hands.press("compare")
    assert "of the pixels agree" in said(hands)
    hands.take(folder / "tutorial-agreement.png")
    hands.viewer.layers.remove("cat [difference]")
    hands.settle()


def split(hands: Hands) -> None:
    """9. Each eye gets a number."""
    hands.click_class("eye")
    hands.press("split")
    assert said(hands).startswith("2 instances of eye")
    assert "cat [instances of eye]" in names(hands)


def reopen(hands: Hands, session: Path, saved: NDArray[Any]) -> None:
    """10. The session is opened again."""
    hands.choose_folder("open-session", session)
    assert names(hands) == ["cat", "cat [coarse]", "cat [refined]", "cat [instances of eye]"]
    assert np.array_equal(refined(hands).data, saved)
    assert yours(hands) > 0


def review(hands: Hands, pictures: Path, folder: Path) -> None:
    """11. A folder is reviewed by keys."""
    pictures.mkdir()
    for name in ("astronaut", "cat", "coffee"):
        io.imsave(pictures / f"{name}.png", getattr(data, name)())
    hands.choose_preset("small")
    hands.type_classes("cat\nastronaut = woman, suit\ncup\nspoon")
    hands.open_dock("Review pictures")
    hands.choose_folder("open-folder", pictures)
    assert "astronaut.png [refined]" in names(hands)
    hands.key(Qt.Key.Key_S)
    hands.key(Qt.Key.Key_A)
    hands.take(folder / "tutorial-review.png")
    hands.key(Qt.Key.Key_A)
    assert "Every picture" in said(hands, "review-status")
    hands.key(Qt.Key.Key_PageUp)
    hands.key(Qt.Key.Key_PageUp)
    assert "astronaut.png [refined]" in names(hands)
    hands.key(Qt.Key.Key_PageDown)
    _, found = open_review(pictures)
    assert [entry.state for entry in found.entries] == ["skipped", "accepted", "accepted"]


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images"))
