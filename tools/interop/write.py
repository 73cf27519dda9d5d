"""Write the same labels in every format, and as arrays, for the tools' own code to read.

    python tools/interop/write.py FOLDER

`FOLDER/truth` holds label maps as .npy and `classes.json`, `FOLDER/pictures` what they are of, and
`FOLDER/<format>` each format; `FOLDER/labelme-masks` and `FOLDER/coco-masks` bitmaps in place of
polygons.
"""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from truth import SCALE

from napari_cliper import ClassList
from napari_cliper.annotation.annotation import Annotation
from napari_cliper.files.exporting import export
from napari_cliper.files.formats import Options, formats

CLASSES = ClassList.parse("cat; traffic light; größer “than” life 🦁; x")


def blobs(random: np.random.Generator, size: tuple[int, int]) -> NDArray[np.uint16]:
    """Regions of all classes with holes, thin lines and single pixels."""
    coarse = random.choice([0, 0, 1, 2, 3], (size[0] // 8 + 1, size[1] // 8 + 1))
    labels = coarse.repeat(8, axis=0).repeat(8, axis=1)[: size[0], : size[1]].astype(np.uint16)
    labels[random.random(size) < 0.02] = 4
    labels[size[0] // 2] = 1
    labels[:, size[1] // 3] = 0
    return labels


def main(folder: Path) -> None:
    """Write everything into a folder."""
    random = np.random.default_rng(0)
    (folder / "truth").mkdir(parents=True)
    (folder / "pictures").mkdir()
    annotations = []
    for name, size in (("one", (120, 161)), ("two_two", (97, 64))):
        labels = blobs(random, size)
        np.save(folder / "truth" / f"{name}.npy", labels)
        picture = folder / "pictures" / f"{name}.png"
        pixels = random.integers(0, 256, (*size, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(picture)
        annotations.append(
            Annotation(
                name,
                labels,
                CLASSES,
                picture=picture,
                scale=SCALE,
                units=("micrometer", "micrometer"),
            )
        )
    (folder / "truth" / "classes.json").write_text(CLASSES.to_json(), encoding="utf-8")
    for key, format_ in formats().items():
        export(annotations, format_, folder / key)
    for key in ("coco", "labelme"):
        export(annotations, formats()[key], folder / f"{key}-masks", Options(masks=True))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
