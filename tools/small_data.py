"""Pictures, polygons, points and words that the heads of the small preset learn from.

The folder is one like coco128-seg: `images/train2017/NAME.jpg` and `labels/train2017/NAME.txt`, a
line an instance: the class's index, then x y pairs relative to width and height.
"""

import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

HERE = Path(__file__).parent
HELD_OUT = HERE / "small_held_out.txt"
POINTS = HERE / "small_points.txt"
WORDS = HERE / "small_words.toml"


@dataclass(frozen=True)
class Picture:
    """A photograph and what is marked in it.

    Attributes
    ----------
    name : str
        Of the file.
    image : (H, W, 3) uint8
    mask : (H, W) uint8
        0 where nothing is marked, else a class's index + 1; where instances overlap, the smallest.
    points : tuple of (x, y, word)
        Shares of width and height, and what is there.
    """

    name: str
    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    points: tuple[tuple[float, float, str], ...]

    @property
    def classes(self) -> list[int]:
        """Indices of the classes that have a pixel in it."""
        return [int(value) - 1 for value in np.unique(self.mask) if value]

    def shares(self, grid: tuple[int, int]) -> Tensor:
        """What share of each patch is which class: (h * w, 1 + classes), unmarked first."""
        rows, columns = grid
        size = (columns * 8, rows * 8)
        mask = np.array(Image.fromarray(self.mask).resize(size, Image.Resampling.NEAREST))
        cells = mask.reshape(rows, 8, columns, 8).swapaxes(1, 2).reshape(rows * columns, 64)
        counts = np.stack([(cells == value).mean(axis=1) for value in range(81)], axis=1)
        return torch.from_numpy(counts).float()


def read_pictures(folder: Path) -> tuple[list[Picture], list[Picture]]:
    """All pictures of a folder: those to learn from, and those held out."""
    held_out = set(HELD_OUT.read_text(encoding="utf-8").split())
    points: dict[str, list[tuple[float, float, str]]] = {}
    for line in POINTS.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            name, x, y, word = line.split(" ", 3)
            points.setdefault(name, []).append((float(x), float(y), word))
    paths = sorted((folder / "images" / "train2017").glob("*.jpg"))
    if held_out - {path.name for path in paths}:
        raise SystemExit(f"{folder} lacks some of the pictures that {HELD_OUT.name} lists.")
    pictures = []
    for path in paths:
        image = iio.imread(path, mode="RGB")
        label = folder / "labels" / "train2017" / f"{path.stem}.txt"
        text = label.read_text(encoding="utf-8") if label.is_file() else ""
        mask = draw_mask(text, image.shape[:2])
        pictures.append(Picture(path.name, image, mask, tuple(points.get(path.name, ()))))
    learn = [picture for picture in pictures if picture.name not in held_out]
    return learn, [picture for picture in pictures if picture.name in held_out]


def draw_mask(text: str, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Polygons as a mask, the largest first, so that smaller ones lie on top."""
    polygons = []
    for line in text.splitlines():
        index, *numbers = line.split()
        points = np.array(numbers, float).reshape(-1, 2)
        x, y = points.T
        area = abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2
        polygons.append((area, int(index), points * size[::-1]))
    mask = Image.new("L", size[::-1], 0)
    draw = ImageDraw.Draw(mask)
    for _, number, points in sorted(polygons, key=lambda polygon: -polygon[0]):
        draw.polygon([(x, y) for x, y in points], fill=number + 1)
    return np.array(mask)


@dataclass(frozen=True)
class Vocabulary:
    """The words that are learnt.

    Attributes
    ----------
    entries : tuple of tuples of str
        A name and its synonyms: COCO's classes, then stuff, then wider words such as "animal".
    classes, stuff : int
        How many of the former two there are.
    compatible : (V, V) bool
        Whether both words may be true of one place.
    wider : (V,) int64
        The wider word of each, or -1.
    """

    entries: tuple[tuple[str, ...], ...]
    classes: int
    stuff: int
    compatible: Tensor
    wider: Tensor

    def index(self, word: str) -> int:
        """The entry with this name."""
        return next(number for number, entry in enumerate(self.entries) if entry[0] == word)

    @property
    def class_names(self) -> list[str]:
        """COCO's names."""
        return [entry[0] for entry in self.entries[: self.classes]]


def read_vocabulary() -> Vocabulary:
    """The words of `small_words.toml`."""
    table = tomllib.loads(WORDS.read_text(encoding="utf-8"))
    named = table["classes"] | table["stuff"]
    entries = [(name, *synonyms) for name, synonyms in named.items()]
    entries += [(name,) for name in table["wider"]]
    index = {entry[0]: number for number, entry in enumerate(entries)}
    compatible = torch.zeros(len(entries), len(entries), dtype=torch.bool)
    for group in table["together"]:
        numbers = torch.tensor([index[word] for word in group])
        compatible[numbers[:, None], numbers] = True
    wider = torch.full((len(entries),), -1)
    for name, words in table["wider"].items():
        for word in words:
            compatible[index[word], index[name]] = True
            if wider[index[word]] < 0:
                wider[index[word]] = index[name]
    compatible.fill_diagonal_(False)
    return Vocabulary(tuple(entries), len(table["classes"]), len(table["stuff"]), compatible, wider)


def fold(text: str, folds: int) -> int:
    """A number below `folds` that depends on the text alone."""
    return int(hashlib.sha256(text.encode()).hexdigest(), 16) % folds
