"""A folder of pictures and one of indexed masks of the same names."""

from pathlib import Path

from napari_cliper.annotation.class_list import ClassList
from napari_cliper.errors import NapariCliperError
from napari_cliper.evaluation.datasets.dataset import (
    IGNORED,
    Sample,
    by_stem,
    check_sizes,
    indices_of,
    looked_up,
    paired,
    pictures_in,
)
from napari_cliper.files.indexed_png import LABELS

SUFFIX = LABELS.removesuffix(".png")  # what the masks that we write end in


def masks(
    folder: Path, pictures: Path, classes: ClassList, ignored: frozenset[int]
) -> tuple[Sample, ...]:
    """Masks named like their pictures, or so with “_labels”; a value is a class's id, 0 none.

    All are read once before the work begins, so that what is wrong shows then.

    Parameters
    ----------
    folder, pictures : Path
    classes : ClassList
    ignored : set of int
        Values whose pixels do not count.

    Raises
    ------
    NapariCliperError
        A picture has no mask, a mask no picture, or its size or a value does not fit.
    """
    found = pictures_in(pictures)
    truth = by_stem(folder.glob("*.png"), SUFFIX)
    if lost := sorted(found.keys() ^ truth.keys()):
        one, other = ("picture", "mask") if lost[0] in found else ("mask", "picture")
        where = folder if other == "mask" else pictures
        raise NapariCliperError(
            f"The {one} “{lost[0]}” has no {other} of its name in “{where}”: "
            "put it there, or take the other away."
        )
    meaning = {0: 0} | {id_: place for place, id_ in enumerate(classes.ids, 1)}
    meaning |= dict.fromkeys(ignored, IGNORED)
    samples = paired(
        list(found),
        found.__getitem__,
        truth.__getitem__,
        lambda path: looked_up(indices_of(path), meaning, path),
    )
    for sample in samples:
        sample.truth()
    check_sizes(samples)
    return samples
