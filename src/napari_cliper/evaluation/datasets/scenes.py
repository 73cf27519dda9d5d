"""ADE20K and Cityscapes, as their owners distribute them."""

from collections.abc import Sequence
from pathlib import Path

from napari_cliper.errors import NapariCliperError
from napari_cliper.evaluation.datasets.dataset import (
    IGNORED,
    Sample,
    by_stem,
    indices_of,
    looked_up,
    paired,
    part_of,
)

ADE_SPLITS = {"val": "validation", "train": "training"}
# Of Cityscapes' labelIds, those that are evaluated, in the order of its classes.
CITYSCAPES = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
PICTURE, MASK = "_leftImg8bit", "_gtFine_labelIds"


def ade(root: Path, split: str, names: Sequence[str], background: bool) -> tuple[Sample, ...]:
    """ADEChallengeData2016: `images/SPLIT`, `annotations/SPLIT`, 0 being what does not count.

    Parameters
    ----------
    root : Path
        Of `ADEChallengeData2016`, or the folder above it.
    split : str
        "val" (its `validation`) or "train" (`training`).
    names : sequence of str
        Of the 150 classes.
    background : bool
        Whether 0 counts.
    """
    top = part_of(root, "ADEChallengeData2016/images", "images").parent
    folder = ADE_SPLITS.get(split, split)
    masks = part_of(top, f"annotations/{folder}")
    meaning = {value: value for value in range(1, len(names) + 1)}
    meaning |= {0: 0 if background else IGNORED, 255: IGNORED}
    found = by_stem(masks.glob("*.png"))
    return paired(
        list(found),
        lambda name: top / "images" / folder / f"{name}.jpg",
        lambda name: found[name],
        lambda path: looked_up(indices_of(path), meaning, path),
    )


def cityscapes(
    root: Path, split: str, names: Sequence[str], background: bool
) -> tuple[Sample, ...]:
    """Cityscapes: `leftImg8bit/SPLIT/CITY`, `gtFine/SPLIT/CITY` with its labelIds.

    Parameters
    ----------
    root : Path
        Of these folders.
    split : str
        "val" or "train".
    names : sequence of str
        Of the 19 classes that are evaluated.
    background : bool
        Whether what is none of them counts.
    """
    pictures = by_stem(part_of(root, f"leftImg8bit/{split}").glob(f"*/*{PICTURE}.png"), PICTURE)
    truth = by_stem(part_of(root, f"gtFine/{split}").glob(f"*/*{MASK}.png"), MASK)
    if lost := sorted(pictures.keys() ^ truth.keys()):
        raise NapariCliperError(
            f"“{lost[0]}” is in only one of leftImg8bit and gtFine: unpack both archives whole."
        )
    meaning = {value: label for label, value in enumerate(CITYSCAPES, 1)}
    none = 0 if background else IGNORED
    return paired(
        list(pictures),
        pictures.__getitem__,
        truth.__getitem__,
        lambda path: looked_up(indices_of(path), meaning, path, none),
    )
