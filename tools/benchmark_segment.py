"""Time the command on the 451×300 cat: the whole process, and the part of it in the engine.

Prints the median of three runs after one that converts the weights if they are not in the cache.
"""

import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from skimage.data import cat
from skimage.io import imsave

RUN = [sys.executable, "-c", "from napari_cliper.cli import main; main()", "segment"]


def run(folder: Path) -> tuple[float, float]:
    """Seconds of one run: the whole process, the engine."""
    began = time.perf_counter()
    done = subprocess.run(
        [*RUN, "cat.png", "--classes", "cat", "--preset", "small", "--overwrite"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    seconds = time.perf_counter() - began
    engine = re.search(r"cat\.png: ([\d.]+) s", done.stdout)
    if engine is None:
        raise SystemExit(f"The command printed no time:\n{done.stdout}")
    return seconds, float(engine[1])


def main() -> None:
    """Print both figures, and what `import napari_cliper` takes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        imsave(folder / "cat.png", cat())
        run(folder)
        process, engine = zip(*(run(folder) for _ in range(3)), strict=True)
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    empty = time.perf_counter() - began
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import napari_cliper"], check=True)
    imported = time.perf_counter() - began - empty
    print(
        f"napari-cliper segment, small preset, whole process  {statistics.median(process):6.1f} s"
    )
    print(f"of it in the engine                                 {statistics.median(engine):6.1f} s")
    print(f"import napari_cliper                                {imported:6.2f} s")


if __name__ == "__main__":
    main()
