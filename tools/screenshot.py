"""Drive the real window and photograph it for the documentation: `screenshot.py [docs/images]`.

The docks are opened from the plugin, a photograph from the samples; words are segmented, corrected
and looked into, and a folder is worked through, as a person would. Writes window.png, export.png,
inspector.png, methods.png, batch.png and large.png; the others are by screenshot_tutorial.py. On a
machine without a screen, run it under xvfb-run.
"""

import sys
import tempfile
from contextlib import chdir
from pathlib import Path

import napari
import numpy as np
import skimage.data
import skimage.io
import zarr
from event_loop import wait, wait_until
from qtpy.QtWidgets import QComboBox, QLineEdit, QPushButton, QWidget
from superqt import QCollapsible

from napari_cliper.widgets import InspectWidget, SegmentWidget
from napari_cliper.widgets.class_box import ClassBox
from napari_cliper.widgets.export_dialog import ExportDialog

SIZE = 1500, 950


def main(folder: Path) -> None:
    """Write all pictures into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    viewer = napari.Viewer(show=True)
    viewer.window.resize(*SIZE)
    viewer.open_sample("napari-cliper", "motorcycle")
    _, widget = viewer.window.add_plugin_dock_widget("napari-cliper", "Segment with text")
    assert isinstance(widget, SegmentWidget)
    preset = widget.findChild(QComboBox, "cliper-preset")
    preset.setCurrentIndex(preset.findData("small"))
    widget.findChild(ClassBox, "cliper-classes").setPlainText(
        "motorcycle = motorbike\nshelf = rack, bookcase\nfloor"
    )
    wait(500)
    press(widget, "segment")
    wait_until(lambda: widget.idle)
    viewer.layers["motorcycle [refined]"].mode = "paint"
    take(viewer, folder / "window.png")
    take_export(viewer, widget, folder / "export.png")

    viewer.layers["motorcycle [refined]"].visible = False
    viewer.layers.selection.active = viewer.layers["motorcycle"]
    press(widget, "inspect")
    wait(300)
    inspector = viewer.window._qt_window.findChild(InspectWidget)
    assert isinstance(inspector, InspectWidget)
    press(inspector, "look")
    wait_until(lambda: inspector.idle)
    point = (300.0, 190.0)  # on a wheel
    inspector._live._pin(point)
    inspector._live._show(point)
    wait_until(lambda: inspector.idle)
    viewer.layers["motorcycle [attention]"].opacity = 0.8
    take(viewer, folder / "inspector.png")

    inspector.findChild(QCollapsible, "cliper-comparison").expand(animate=False)
    viewer.layers["motorcycle [attention]"].visible = False
    viewer.layers["motorcycle [points]"].visible = False
    press(inspector, "compare")
    wait_until(lambda: inspector.idle)
    take(viewer, folder / "methods.png")
    viewer.close()
    take_batch(folder / "batch.png")
    take_large(folder / "large.png")


def take_batch(path: Path) -> None:
    """Photograph a run over a folder of photographs that scikit-image brings along."""
    viewer = napari.Viewer(show=True)
    viewer.window.resize(*SIZE)
    _, words = viewer.window.add_plugin_dock_widget("napari-cliper", "Segment with text")
    _, widget = viewer.window.add_plugin_dock_widget("napari-cliper", "Segment a folder")
    words.findChild(ClassBox, "cliper-classes").setPlainText(
        "cat\nperson\ncup\ntable\nrocket\nsky\nmotorcycle\nfloor"
    )
    preset = words.findChild(QComboBox, "cliper-preset")
    preset.setCurrentIndex(preset.findData("small"))
    with tempfile.TemporaryDirectory() as name, chdir(name):
        photographs = Path("photographs")
        photographs.mkdir()
        for photograph in ("astronaut", "cat", "coffee", "rocket", "motorcycle"):
            read = getattr(skimage.data, photograph, None)
            pixels = read() if read else skimage.data.stereo_motorcycle()[0]
            skimage.io.imsave(photographs / f"{photograph}.png", pixels)
        widget.findChild(QLineEdit, "cliper-batch-pictures").setText(str(photographs))
        press(widget, "batch-start")
        wait_until(lambda: not widget._job.running)
        press(widget, "batch-review")
        review = viewer.window.add_plugin_dock_widget("napari-cliper", "Review pictures")[1]
        wait_until(lambda: review.desk.entry is not None and review.idle)
        widget._docking.come_forward()
        take(viewer, path)
        viewer.close()


def take_large(path: Path) -> None:
    """Photograph a run over a mosaic of photographs, whose labels lie on disk."""
    viewer = napari.Viewer(show=True)
    viewer.window.resize(*SIZE)
    names = ("cat", "coffee"), ("astronaut", "rocket")
    squares = [
        [getattr(skimage.data, name)()[:300, :400].repeat(3, 0).repeat(3, 1) for name in row]
        for row in names
    ]
    _, words = viewer.window.add_plugin_dock_widget("napari-cliper", "Segment with text")
    _, widget = viewer.window.add_plugin_dock_widget("napari-cliper", "Segment large pictures")
    words.findChild(ClassBox, "cliper-classes").setPlainText("cat\ncup\nrocket\nperson")
    preset = words.findChild(QComboBox, "cliper-preset")
    preset.setCurrentIndex(preset.findData("small"))
    with tempfile.TemporaryDirectory(prefix="slides-") as name:
        mosaic = np.vstack([np.hstack(row) for row in squares])
        stored = zarr.create_array(f"{name}/mosaic.zarr", data=mosaic, chunks=(600, 600, 3))
        viewer.add_image(stored, name="mosaic", rgb=True)
        widget.findChild(QLineEdit, "cliper-large-output").setText(f"{name}/mosaic_labels.zarr")
        press(widget, "large-start")
        wait_until(lambda: not widget._job.running)
        widget._docking.come_forward()
        take(viewer, path)
        viewer.close()


def press(widget: QWidget, name: str) -> None:
    """Press a button of a dock."""
    widget.findChild(QPushButton, f"cliper-{name}").click()


def take_export(viewer: napari.Viewer, widget: QWidget, path: Path) -> None:
    """Photograph the export dialog, over a folder of its own."""
    press(widget, "export")
    dialog = viewer.window._qt_window.findChild(ExportDialog)
    assert isinstance(dialog, ExportDialog)
    choice = dialog.findChild(QComboBox, "cliper-export-format")
    choice.setCurrentText("COCO instances")
    folder = dialog.findChild(QLineEdit, "cliper-export-folder")
    folder.setText("dataset/annotations")
    choice.activated.emit(choice.currentIndex())
    wait(1500)
    dialog.grab().save(str(path))
    print(path)
    dialog.reject()


def take(viewer: napari.Viewer, path: Path) -> None:
    """Photograph the whole window."""
    viewer.reset_view()
    wait(1000)
    viewer.window.screenshot(str(path), canvas_only=False, flash=False)
    print(path)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images").resolve())
