"""What only shows in a process of its own: imports, crashes, the way to the end."""

import subprocess
import sys
import textwrap

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


def test_from_opening_the_dock_to_closing_the_window_at_work() -> None:
    out = run(
        """
        viewer.open_sample("napari-cliper", "cat")
        wait_until(lambda: viewer.window._qt_window.isVisible())
        widget = open_dock()
        # Nothing has had a chance to run but the widget's own making.
        heavy = {"torch", "open_clip", "diffusers", "transformers"}
        assert not heavy & set(sys.modules), heavy & set(sys.modules)
        assert not [thread for thread in threading.enumerate() if "warm-up" in thread.name]

        from napari_cliper.widgets import warm_up
        wait_until(lambda: not warm_up.start().is_alive())
        for name in ("pandas", "torch", "open_clip"):
            assert importers[name] is warm_up.start(), importers.get(name)

        # Mesa's LLVM is there since the window, triton's since the imports: see `_triton`.
        from qtpy.QtCore import QTimer
        from qtpy.QtWidgets import QProgressBar, QPushButton
        segment = widget.findChild(QPushButton, "cliper-segment")
        progress = widget.findChild(QProgressBar, "cliper-progress")
        segment.click()
        wait_until(segment.isEnabled)
        print([layer.name for layer in viewer.layers])

        viewer.layers["cat"].data = viewer.layers["cat"].data[::-1].copy()
        segment.click()

        def close_when_busy():
            if progress.format() == "Looking at the picture":
                print("closed at work")
                viewer.close()
            else:
                QTimer.singleShot(10, close_when_busy)

        close_when_busy()
        napari.run()
        """
    )
    assert out == "['cat', 'cat [coarse]', 'cat [refined]']\nclosed at work\n"


def test_closing_the_window_while_it_warms_up() -> None:
    out = run(
        """
        from qtpy.QtCore import QTimer
        from napari_cliper.widgets import warm_up

        def close():
            assert warm_up.start().is_alive()
            print("closed")
            viewer.close()

        open_dock()
        QTimer.singleShot(300, close)
        napari.run()
        """
    )
    assert out == "closed\n"
