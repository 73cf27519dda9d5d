"""What only shows in a process of its own: imports, crashes, the way to the end."""

import subprocess
import sys
import textwrap

import pytest

PREPARE = """
import sys, threading
import napari
from qtpy.QtTest import QTest

importers = {}

class Watch:
    '''Notes which thread imports torch first.'''
    def find_spec(self, name, path=None, target=None):
        importers.setdefault(name, threading.current_thread())

sys.meta_path.insert(0, Watch())
viewer = napari.Viewer(show=True)

def open_dock():
    return viewer.window.add_plugin_dock_widget("napari-cliper", "Segment with text")[1]

def wait_until(condition, seconds=90):
    for _ in range(seconds * 20):
        if condition():
            return
        QTest.qWait(50)
    raise TimeoutError
"""


def run(script: str) -> str:
    """Run a script in a new process with a window; what it prints."""
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", PREPARE + textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, f"{done.returncode}\n{done.stdout}\n{done.stderr[-4000:]}"
    return done.stdout


def test_opening_the_dock_leaves_torch_to_the_background() -> None:
    run(
        """
        before = set(sys.modules)
        open_dock()
        assert not [thread for thread in threading.enumerate() if "warm-up" in thread.name]
        heavy = {"torch", "open_clip", "diffusers", "transformers"}
        # Nothing has been given a chance to run but the widget's own making.
        assert not heavy & set(sys.modules), heavy & set(sys.modules)
        from napari_cliper.widgets import warm_up
        wait_until(lambda: not warm_up.start().is_alive())
        assert "torch" in sys.modules
        assert "pandas" in sys.modules
        assert importers["torch"] is warm_up.start()
        viewer.close()
        """
    )


def test_no_crash_with_a_window_before_the_engine() -> None:
    """Mesa's LLVM and triton's, see `_triton`."""
    out = run(
        """
        viewer.open_sample("napari-cliper", "cat")
        widget = open_dock()
        wait_until(lambda: viewer.window._qt_viewer.canvas.native.isVisible())
        from qtpy.QtWidgets import QPushButton
        from qtpy.QtCore import Qt
        QTest.mouseClick(widget.findChild(QPushButton, "cliper-segment"), Qt.MouseButton.LeftButton)
        wait_until(lambda: len(viewer.layers) == 3)
        print([layer.name for layer in viewer.layers])
        print("open_clip" in sys.modules, importers["open_clip"] is threading.main_thread())
        viewer.close()
        """
    )
    assert "['cat', 'cat [coarse]', 'cat [refined]']\nTrue False" in out


@pytest.mark.parametrize("moment", ["warming up", "segmenting"])
def test_the_program_ends_in_the_middle_of_work(moment: str) -> None:
    out = run(
        f"""
        viewer.open_sample("napari-cliper", "cat")
        widget = open_dock()
        from qtpy.QtCore import QTimer
        from qtpy.QtWidgets import QProgressBar, QPushButton

        def close_when_busy():
            step = widget.findChild(QProgressBar, "cliper-progress").format()
            if {moment!r} == "warming up" or step == "Looking at the picture":
                print("closed", step)
                viewer.close()
            else:
                QTimer.singleShot(20, close_when_busy)

        if {moment!r} == "segmenting":
            widget.findChild(QPushButton, "cliper-segment").click()
        QTimer.singleShot(200, close_when_busy)
        napari.run()
        """
    )
    assert "closed" in out
