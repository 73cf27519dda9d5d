"""Drive the real window and photograph it: `screenshot.py [docs/images/window.png]`.

The dock is opened from the plugin, the cat from the samples, and Segment is clicked, as a person
would. On a machine without a screen, run it under xvfb-run.
"""

import sys
from pathlib import Path

import napari
from event_loop import wait, wait_until
from qtpy.QtWidgets import QComboBox, QPushButton

SIZE = 1400, 900


def main(path: Path) -> None:
    """Segment the cat with the small preset and write the window to `path`."""
    viewer = napari.Viewer(show=True)
    viewer.window.resize(*SIZE)
    viewer.open_sample("napari-cliper", "cat")
    _, widget = viewer.window.add_plugin_dock_widget("napari-cliper", "Segment with text")
    preset = widget.findChild(QComboBox, "cliper-preset")
    preset.setCurrentIndex(preset.findData("small"))
    segment = widget.findChild(QPushButton, "cliper-segment")
    wait(500)
    segment.click()
    wait_until(segment.isEnabled)
    viewer.layers["cat [coarse]"].visible = True
    viewer.layers["cat [coarse]"].contour = 2
    viewer.reset_view()
    wait(500)
    path.parent.mkdir(parents=True, exist_ok=True)
    viewer.window.screenshot(str(path), canvas_only=False, flash=False)
    viewer.close()
    print(path)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images/window.png"))
