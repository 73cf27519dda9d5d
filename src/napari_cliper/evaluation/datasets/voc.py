"""Pascal VOC 2012 and Pascal Context, as their owners distribute them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_cliper.errors import NapariCliperError
from napari_cliper.evaluation.datasets.dataset import (
    IGNORED,
    Labels,
    Sample,
    indices_of,
    looked_up,
    names_in,
    paired,
    part_of,
)
from napari_cliper.evaluation.needs import needed
from napari_cliper.files.pictures import explained

VOC_VOID = 255
AUGMENTED = (
    "aug"  # what the split of 10,582 pictures ends in, whose masks have a folder of their own
)


def voc(root: Path, split: str, names: Sequence[str], background: bool) -> tuple[Sample, ...]:
    """VOC 2012: `JPEGImages`, `SegmentationClass`, `ImageSets/Segmentation/SPLIT.txt`.

    Parameters
    ----------
    root : Path
        Of `VOCdevkit`, the folder above it, or `VOC2012`.
    split : str
        A list in `ImageSets/Segmentation`: "val", "train", or "trainaug", whose masks lie in
        `SegmentationClassAug`.
    names : sequence of str
        Of the classes.
    background : bool
        Whether 0 counts.
    """
    top = part_of(root, "VOCdevkit/VOC2012/JPEGImages", "VOC2012/JPEGImages", "JPEGImages").parent
    masks = "SegmentationClassAug" if split.endswith(AUGMENTED) else "SegmentationClass"
    meaning = _meaning(len(names), background)
    return paired(
        names_in(top / "ImageSets/Segmentation" / f"{split}.txt"),
        lambda name: top / "JPEGImages" / f"{name}.jpg",
        lambda name: top / masks / f"{name}.png",
        lambda path: looked_up(indices_of(path), meaning, path),
    )


def context(root: Path, split: str, names: Sequence[str], background: bool) -> tuple[Sample, ...]:
    """Pascal Context: VOC 2010's pictures with 59 classes.

    The masks are the owner's `trainval/NAME.mat` (some 460 labels, named in `labels.txt`), or
    PNG files of 0 to 59 in `SegmentationClassContext`. The split is VOC 2010's: a list in
    `ImageSets/SegmentationContext`, else in `ImageSets/Main`, of which those pictures count that
    have a mask.

    Parameters
    ----------
    root, split, names, background
        As of `voc`.
    """
    top = part_of(root, "VOCdevkit/VOC2010/JPEGImages", "VOC2010/JPEGImages", "JPEGImages").parent
    lists = part_of(top, "ImageSets/SegmentationContext", "ImageSets/Main")
    listed = names_in(lists / f"{split}.txt")
    pngs = top / "SegmentationClassContext"
    if pngs.is_dir():
        meaning = _meaning(len(names), background)
        suffix, masks = ".png", pngs

        def read(path: Path) -> Labels:
            return looked_up(indices_of(path), meaning, path)
    else:
        suffix, masks = ".mat", _owners_masks(root, top)
        numbers = _owners_numbers(masks.parent, names)
        none = 0 if background else IGNORED

        def read(path: Path) -> Labels:
            return looked_up(_label_map(path), numbers, path, none)

    if lists.name == "Main":
        listed = [name for name in listed if (masks / f"{name}{suffix}").is_file()]
    return paired(
        listed,
        lambda name: top / "JPEGImages" / f"{name}.jpg",
        lambda name: masks / f"{name}{suffix}",
        read,
    )


def _meaning(count: int, background: bool) -> dict[int, int]:
    """Of the values of VOC's masks, the labels."""
    own = {value: value for value in range(1, count + 1)}
    return {0: 0 if background else IGNORED, VOC_VOID: IGNORED, **own}


def _owners_masks(root: Path, top: Path) -> Path:
    for place in (root, top, top.parent, top.parent.parent):
        if (place / "trainval").is_dir():
            return place / "trainval"
    raise NapariCliperError(
        f"“{root}” has neither trainval (the owner's masks) nor SegmentationClassContext: "
        "unpack one of them there."
    )


def _owners_numbers(folder: Path, names: Sequence[str]) -> dict[int, int]:
    """Of the owner's numbers, those of the 59 classes with their labels, by name."""
    path = part_of(folder, "labels.txt", "trainval/labels.txt")
    with explained(path):
        lines = path.read_bytes().decode("utf-8-sig").splitlines()
    number = {
        name.strip(): id_ for id_, sign, name in (one.partition(":") for one in lines) if sign
    }
    if lost := [name for name in names if name not in number]:
        raise NapariCliperError(
            f"“{path}” does not name “{lost[0]}”: give the labels.txt that came with the masks."
        )
    return {int(number[name]): label for label, name in enumerate(names, 1)}


def _label_map(path: Path) -> NDArray[np.int64]:
    with explained(path):
        values = needed("scipy.io").loadmat(path)["LabelMap"]
    return np.asarray(values, np.int64)
