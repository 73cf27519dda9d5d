"""A program that saves is killed at random moments; what it leaves is whole."""

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from napari_cliper.files.session import KEPT_FOR, is_session, load_session

SIZE = (60, 80)
# States are numbers; all that a state holds tells its number. Many places were reviewed, so that
# writing `session.json` takes a good part of the time.
SAVER = """
import os, sys
from datetime import UTC, datetime
import numpy as np
from napari_cliper.annotation.class_list import ClassEntry, ClassList
from napari_cliper.annotation.session import MaskNotes, Model, Notes, Picture
from napari_cliper.files.session import MaskMaps, save_session

assert not {"torch", "napari", "qtpy"} & sys.modules.keys()
folder, number = sys.argv[1], int(sys.argv[2])
size = (60, 80)
picture = Picture(name="cat", sha256="", size=size)
model = Model(preset="small", device="cpu", method="cliper", precision="float32")
while True:
    number += 1
    classes = ClassList(classes=(ClassEntry(id=number, name=f"class {number}"),))
    labels = np.full(size, number, np.uint16)
    protected = (number >> np.arange(size[0] * size[1]) % 16 & 1).astype(bool).reshape(size)
    notes = Notes(saved=datetime.now(UTC), picture=picture, model=model, seen=((number, 0),) * 3000)
    masks = [
        (
            MaskNotes(role=role, name="cat", classes=classes, selected_label=number),
            MaskMaps(labels, protected, labels),
        )
        for role in ("refined", "coarse")
    ]
    save_session(folder, notes, masks)
    os.write(1, f"{number}\\n".encode())
"""

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")


def state_of(folder):
    """The number that all of a session holds."""
    loaded = load_session(folder)
    (number,) = {row for row, _ in loaded.session.seen}
    expected = (number >> np.arange(SIZE[0] * SIZE[1]) % 16 & 1).astype(bool).reshape(SIZE)
    assert [mask.role for mask in loaded.session.masks] == ["refined", "coarse"]
    for mask, maps in zip(loaded.session.masks, loaded.maps, strict=True):
        assert mask.selected_label == number
        assert mask.classes.ids == (number,)
        np.testing.assert_array_equal(maps.labels, np.full(SIZE, number))
        np.testing.assert_array_equal(maps.protected, expected)
        np.testing.assert_array_equal(maps.proposal, np.full(SIZE, number))
    return number


def save_and_kill(folder, number, seconds):
    """Save the states after a number; the last one that was told to be saved."""
    command = [sys.executable, "-c", SAVER, str(folder), str(number)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as saver:
        first = saver.stdout.readline()
        time.sleep(seconds)
        saver.kill()
        told = (first + saver.stdout.read()).split(b"\n")
    assert len(told) > 1, "it ended before its first save"
    assert saver.returncode == -signal.SIGKILL, "it ended by itself"
    return int(told[-2])


def kill_often(folder, times):
    number = 0
    for _ in range(times):
        told = save_and_kill(folder, number, random.uniform(0, 0.06))
        number = state_of(folder)
        assert told <= number <= told + 1


def test_no_kill_breaks_a_session(tmp_path):
    kill_often(tmp_path, 10)


@pytest.mark.slow
def test_many_kills_do_not_break_a_session(tmp_path):
    kill_often(tmp_path, 200)


def test_what_kills_left_behind_goes(tmp_path):
    """Half-written and unnamed files are gone an hour later, with the next save."""
    number = save_and_kill(tmp_path, 0, 0.05)
    names = [".0123456789abcdef.part", "refined-labels.0123456789abcdef.png"]
    for name in names:
        (tmp_path / name).write_bytes(b"half")
    for path in tmp_path.iterdir():
        os.utime(path, (time.time() - KEPT_FOR - 60,) * 2)
    assert is_session(tmp_path)
    save_and_kill(tmp_path, number, 0)
    assert not {*names} & {path.name for path in tmp_path.iterdir()}
    assert state_of(tmp_path) > number
