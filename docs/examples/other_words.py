"""Look once, ask often: `other_words.py [FOLDER]`.

A picture is encoded once. Then other words are asked for, and other thresholds, and neither looks
at the picture again. Prints how long each took. Into FOLDER (example-output) go three overlays:
`words-1.png` for a motorcycle, `words-2.png` for the floor too, `words-3.png` for the same words
with a higher background threshold, which leaves more pixels to nobody.
"""

import sys
import time
from pathlib import Path

from skimage.data import stereo_motorcycle

import napari_cliper as nc
from napari_cliper.files.overlay import save_overlay


def main(folder: Path) -> None:
    """Encode, then ask three times."""
    picture = stereo_motorcycle()[0]
    model = nc.load("small")

    began = time.perf_counter()
    encoding = model.encode(picture)
    print(f"encoded in {time.perf_counter() - began:.2f} s")

    questions = [
        ("motorcycle = motorbike", None),
        ("motorcycle = motorbike; floor", None),
        ("motorcycle = motorbike; floor", 0.7),
    ]
    for number, (words, background) in enumerate(questions, start=1):
        began = time.perf_counter()
        result = model.segment(encoding, words, background_threshold=background)
        labelled = (result.labels > 0).mean()
        print(
            f"{words!r}, background {background or 'as the preset'}: {labelled:.0%} of the pixels "
            f"labelled, {time.perf_counter() - began:.2f} s"
        )
        path = folder / f"words-{number}.png"
        save_overlay(path, picture, result.labels, result.classes, overwrite=True)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "example-output"))
