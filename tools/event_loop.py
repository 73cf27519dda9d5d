"""Waiting without stopping the window, for the scripts beside this one."""

import time
from collections.abc import Callable

from qtpy.QtCore import QEventLoop, QTimer


def wait(milliseconds: int) -> None:
    """Let the window live for a while."""
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()


def wait_until(
    condition: Callable[[], bool], seconds: float = 180, pause_milliseconds: int = 20
) -> None:
    """Let the window live until the condition holds.

    Raises
    ------
    TimeoutError
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("the window did not get there")
        wait(pause_milliseconds)
