"""`napari-cliper gui` in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest
import skimage.data
from PIL import Image

SCRIPT = """
import sys
import napari
from napari.qt import get_qapp
from qtpy.QtCore import QTimer
from napari_cliper.cli import main

application = get_qapp()

def look():
    viewer = napari.current_viewer()
    if viewer is None:
        return
    boxes = [box for box in application.allWidgets() if box.objectName() == "cliper-image"]
    if boxes and len(viewer.layers):
        timer.stop()
        print([layer.name for layer in viewer.layers], boxes[0].currentText())
        viewer.close()

timer = QTimer()
timer.timeout.connect(look)
timer.start(100)
QTimer.singleShot(60_000, application.quit)
sys.argv = ["napari-cliper", "gui", *sys.argv[1:]]
main()
"""


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_pictures_are_opened_beside_the_dock(tmp_path: Path) -> None:
    Image.fromarray(skimage.data.cat()).save(tmp_path / "tabby.png")
    done = run(tmp_path / "tabby.png")
    assert "['tabby'] tabby" in done.stdout, done.stderr


def test_without_a_picture_the_sample_is_opened() -> None:
    done = run()
    assert "['cat'] cat" in done.stdout, done.stderr


@pytest.mark.parametrize("name", ["missing.png", "."])
def test_a_file_that_is_no_picture_opens_no_window(tmp_path: Path, name: str) -> None:
    done = run(tmp_path / name)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
