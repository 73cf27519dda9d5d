"""The folder that the pages' commands work in: all files that they speak of, small."""

from datetime import UTC, datetime
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import skimage.data
import tifffile
from numpy.typing import NDArray
from PIL import Image

import napari_cliper as nc
from napari_cliper.annotation.review import State
from napari_cliper.annotation.session import MaskNotes, Model, Notes, Picture
from napari_cliper.files.exporting import export
from napari_cliper.files.formats import format_of
from napari_cliper.files.importing import read_annotations
from napari_cliper.files.indexed_png import encode_labels
from napari_cliper.files.overlay import save_overlay
from napari_cliper.files.review import open_review, save_review
from napari_cliper.files.session import MaskMaps, save_session
from napari_cliper.result import Result

QUICK = "settings.shorter_side=112"  # few patches: the pages show commands, not masks
CLASSES = nc.ClassList.parse("cat; dog")
# Half of the picture is a cat: what a text file of polygons says, of the class 0.
POLYGON = "0 0.0 0.0 1.0 0.0 1.0 0.5 0.0 0.5\n"


def photograph(name: str, side: int = 120) -> NDArray[np.uint8]:
    """One of scikit-image's, (H, W, 3), its shorter side so long."""
    whole = Image.fromarray(getattr(skimage.data, name)())
    scale = side / min(whole.size)
    size = round(whole.width * scale), round(whole.height * scale)
    return np.asarray(whole.resize(size))


PICTURES = {
    "photo.jpg": "cat",
    "picture.png": "coffee",
    "photos/a.jpg": "cat",
    "photos/b.jpg": "coffee",
    "scans/one.png": "coffee",
    "scans/deeper/two.png": "cat",
    "more/odd.jpg": "astronaut",
    "pictures/cat.png": "cat",
    "pictures/coffee.png": "coffee",
    "images/train2017/1.jpg": "cat",
    "images/train2017/2.jpg": "coffee",
    "VOCdevkit/VOC2012/JPEGImages/A.jpg": "cat",
    "VOCdevkit/VOC2012/JPEGImages/B.jpg": "coffee",
}
TEXTS = {
    "classes.json": CLASSES.to_json(),
    "classes.txt": "cat\ndog\n",
    "my-clip.safetensors": "",  # stands for weights; only its name is looked at
    "report.txt": "a\n",
    "tune.txt": "b\n",
    "labels/train2017/1.txt": POLYGON,
    "labels/train2017/2.txt": "",
    "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt": "A\n",
    "VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt": "B\n",
}


def write_folder(folder: Path) -> None:
    """Write everything; masks come from the program itself."""
    for place, name in PICTURES.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photograph(name)).save(folder / place)
    for place, text in TEXTS.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_text(text)
    frames = np.stack([photograph("cat", 64)[:64, :96]] * 30)
    imageio.imwrite(folder / "film.mp4", frames, plugin="pyav", codec="mpeg4", fps=10)
    tifffile.imwrite(folder / "slide.tif", photograph("coffee", 160), tile=(64, 64))
    model = nc.load("small", changes=QUICK)
    results = {
        place: model.segment(photograph(name), CLASSES)
        for place, name in PICTURES.items()
        if place.startswith(("photo", "pictures/"))
    }
    _masks(folder, results)
    _session(folder / "cat session", "photo", results["photo.jpg"])
    _review(folder / "pictures", results)


def _masks(folder: Path, results: dict[str, Result]) -> None:
    """Masks as the program writes them, truth, and masks of other tools."""
    nc.save_labels(folder / "masks/photo_labels.png", results["photo.jpg"])
    save_overlay(
        folder / "masks/photo_overlay.png",
        photograph("cat"), results["photo.jpg"].labels, CLASSES,
    )  # fmt: skip
    for name in "ab":
        nc.save_labels(folder / f"truth/{name}.png", results[f"photos/{name}.jpg"])
    # Pascal VOC's own masks carry no names.
    voc = folder / "VOCdevkit/VOC2012/SegmentationClass"
    for place in (folder / "voc/a.png", voc / "A.png", voc / "B.png"):
        name = "coffee" if place.name == "B.png" else "cat"
        labels = np.zeros(photograph(name).shape[:2], np.uint8)
        labels[30:] = 1
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(encode_labels(labels, None))
    made = folder / "coco-made"
    export(read_annotations(folder / "truth/a.png"), format_of("coco"), made)
    (document,) = (path for path in made.glob("*.json") if path.name != "classes.json")
    document.rename(folder / "annotations.json")
    for path in made.iterdir():
        path.unlink()
    made.rmdir()


def _session(folder: Path, name: str, result: Result) -> None:
    height, width = result.labels.shape
    notes = Notes(
        saved=datetime(2026, 5, 17, 9, 30, tzinfo=UTC),
        picture=Picture(name=name, sha256="", size=(height, width)),
        model=Model(preset="small", device="auto", method="cliper", precision="float32"),
    )
    mask = MaskNotes(role="refined", name=f"{name} [refined]", classes=result.classes)
    save_session(folder, notes, [(mask, MaskMaps(result.labels))])


def _review(pictures: Path, results: dict[str, Result]) -> None:
    """A picture that somebody accepted, and one that nobody has looked at."""
    folder, review = open_review(pictures)
    entry = review.entry("cat.png")
    _session(folder.session(entry), "cat", results["pictures/cat.png"])
    save_review(folder, review.with_state("cat.png", State.ACCEPTED))
