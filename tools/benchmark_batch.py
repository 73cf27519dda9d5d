"""Print what many pictures cost: `benchmark_batch.py --data FOLDER [PART …]`.

Parts: `overhead` (a run in one process beside the bare engine), `workers` (two worker processes
beside the best single process, from start to end), `memory` (a run's memory, picture by picture).
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from napari_cliper.annotation.class_list import ClassList
from napari_cliper.batch.order import Order
from napari_cliper.batch.run import run
from napari_cliper.batch.work import Recipe, load
from napari_cliper.cliper.steps import drain
from napari_cliper.files.pictures import read_picture

WORDS = "person; dog; car; cat; bird; chair; bottle; train"
PICTURES = 128
TOGETHER = 8


def main() -> None:
    """Print the parts asked for."""
    parts = {"overhead": overhead, "workers": workers, "memory": memory}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, type=Path, help="folder with pictures")
    # Not `choices`: Python 3.11 refuses a default beside them where there may be none or many.
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(parts)}; else all")
    given = parser.parse_args()
    if unknown := set(given.parts) - parts.keys():
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    pictures = sorted(given.data.rglob("*.jpg"))
    for part in given.parts or parts:
        parts[part](pictures)


def overhead(pictures: Sequence[Path]) -> None:
    """Reading and segmenting alone, and the same with masks, index and records.

    Some pictures the one way, then the other, and so on: the machine's pace changes.
    """
    recipe = Recipe(ClassList.parse(WORDS), "small", "cpu")
    model = drain(load(recipe))
    paths = pictures[:PICTURES]
    model.segment(read_picture(paths[0]), recipe.classes)  # the first one reads the words
    bare = batch = 0.0
    for first in range(0, len(paths), TOGETHER):
        some = paths[first : first + TOGETHER]
        began = time.perf_counter()
        for path in some:
            _ = model.segment(read_picture(path), recipe.classes).labels
        bare += time.perf_counter() - began
        with tempfile.TemporaryDirectory() as folder:
            plan = drain(Order(tuple(map(str, some)), Path(folder) / "out", recipe).plan())
            assert len(plan.to_make) == len(some)
            began = time.perf_counter()
            summary = drain(run(plan, recipe))
            batch += time.perf_counter() - began
            assert summary.made == len(some)
    print(f"{len(paths)} pictures, small, one process")
    print(f"  bare engine     {bare:7.1f} s")
    print(f"  batch           {batch:7.1f} s   {batch / bare:.3f} times as long")


def workers(pictures: Sequence[Path]) -> None:
    """The command from start to end, by itself and with two workers."""
    paths = pictures[:PICTURES]
    alone, two = (_command(paths, *more) for more in ((), ("--workers", "2")))
    print(f"{len(paths)} pictures, small, the whole command")
    print(f"  one process     {alone:7.1f} s")
    print(f"  two workers     {two:7.1f} s   {two / alone:.3f} times as long")


def memory(pictures: Sequence[Path]) -> None:
    """What the process holds after each hundred pictures; a quarter of the patches."""
    print(f"{len(pictures)} pictures, small with shorter_side=224: resident memory")
    with tempfile.TemporaryDirectory() as folder:
        process, journal = _start(pictures, Path(folder), "--set", "settings.shorter_side=224")
        told = 0
        while process.poll() is None:
            done = journal.read_bytes().count(b"\n") - 1 if journal.exists() else 0
            if done >= told + 100:
                told = done - done % 100
                print(f"  after {told:5}     {_resident(process.pid):7.0f} MB", flush=True)
            time.sleep(0.2)


def _command(pictures: Sequence[Path], *more: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        process, _ = _start(pictures, Path(folder), *more)
        assert process.wait() == 0
        return time.perf_counter() - began


def _start(
    pictures: Sequence[Path], folder: Path, *more: str
) -> tuple["subprocess.Popen[bytes]", Path]:
    command = [str(Path(sys.executable).parent / "napari-cliper"), "batch", *map(str, pictures)]
    command += ["--classes", WORDS, "--preset", "small", "--device", "cpu"]
    command += ["--output", str(folder / "out"), *more]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return process, folder / "out" / "batch.jsonl"


def _resident(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("VmRSS"))


if __name__ == "__main__":
    main()
