import os
import subprocess
import sys

import pytest

from napari_cliper.errors import NapariCliperError
from napari_cliper.files.atomic import atomic_write


def write(path, content, overwrite=False):
    with atomic_write(path, overwrite) as file:
        file.write(content)


def everything_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "folder" / "file.bin"
    with atomic_write(path) as file:
        file.write(b"half")
        file.flush()
        assert not path.exists()
        file.write(b" and half")
    assert path.read_bytes() == b"half and half"
    assert everything_in(path.parent) == ["file.bin"]


@pytest.mark.parametrize("error", [ValueError("a bug"), KeyboardInterrupt()])
def test_nothing_is_left_of_what_was_interrupted(tmp_path, error):
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")

    def interrupted():
        with atomic_write(path, overwrite=True) as file:
            file.write(b"new")
            file.flush()
            raise error

    with pytest.raises(type(error)):
        interrupted()
    assert path.read_bytes() == b"old"
    assert everything_in(tmp_path) == ["file.bin"]


def test_a_file_that_is_there_is_replaced_only_if_asked(tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    with pytest.raises(NapariCliperError, match=r"exists already: .* allow overwriting"):
        write(path, b"new")
    assert path.read_bytes() == b"old"
    write(path, b"new", overwrite=True)
    assert path.read_bytes() == b"new"


def test_a_folder_is_not_replaced(tmp_path):
    with pytest.raises(NapariCliperError, match="is a folder: give a file name"):
        write(tmp_path, b"new", overwrite=True)


def test_a_parent_that_is_a_file(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(NapariCliperError, match=r"cannot be written .*: choose another folder"):
        write(tmp_path / "file" / "file.bin", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_name_that_is_too_long(tmp_path):
    with pytest.raises(NapariCliperError, match="cannot be written"):
        write(tmp_path / ("x" * 300), b"new")
    assert everything_in(tmp_path) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps symbolic links to administrators")
def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "kept.bin").write_bytes(b"old")
    (tmp_path / "link.bin").symlink_to("kept.bin")
    write(tmp_path / "link.bin", b"new", overwrite=True)
    assert (tmp_path / "link.bin").is_symlink()
    assert (tmp_path / "kept.bin").read_bytes() == b"new"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_the_file_has_the_permissions_that_new_files_have(tmp_path):
    write(tmp_path / "file.bin", b"new")
    (tmp_path / "plain.bin").touch()
    modes = {(tmp_path / name).stat().st_mode for name in ("file.bin", "plain.bin")}
    assert len(modes) == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit to set on files")
def test_a_full_disk(tmp_path):
    """A limit on the size of files fails a write as a full disk does, in the midst of it."""
    code = """
import resource, sys
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.atomic import atomic_write

resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    with atomic_write(sys.argv[1], overwrite=True) as file:
        for _ in range(100):
            file.write(bytes(10_000))
except NapariCliperError as error:
    print(error)
"""
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, check=True, text=True
    )
    assert "cannot be written (File too large)" in done.stdout
    assert path.read_bytes() == b"old"
    assert everything_in(tmp_path) == ["file.bin"]


KILLED = """
import os, signal, sys
from napari_cliper.files.atomic import atomic_write
with atomic_write(sys.argv[1], overwrite=True, alone=True) as file:
    file.write(b"half of much more")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGKILL")
def test_what_a_kill_has_left_is_written_over(tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    for _ in range(2):
        subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert path.read_bytes() == b"old"
    assert len(everything_in(tmp_path)) == 2
    with atomic_write(path, overwrite=True, alone=True) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"
    assert everything_in(tmp_path) == ["file.bin"]
