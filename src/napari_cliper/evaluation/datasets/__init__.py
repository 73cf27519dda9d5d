"""Data sets: the paper's benchmarks, and any pictures with masks."""

from collections.abc import Callable, Sequence
from pathlib import Path

from napari_cliper.annotation.class_list import ClassList
from napari_cliper.errors import NapariCliperError
from napari_cliper.evaluation.benchmarks import Setup, asked, get_benchmark, vocabulary_of
from napari_cliper.evaluation.datasets import coco, folders, polygons, scenes, voc
from napari_cliper.evaluation.datasets.dataset import IGNORED, Dataset, Labels, Sample
from napari_cliper.evaluation.datasets.names import classes_near, read_classes
from napari_cliper.files.pictures import explained

__all__ = ["IGNORED", "Dataset", "Labels", "Sample", "open_benchmark", "open_files", "read_classes"]

Layout = Callable[[Path, str, Sequence[str], bool], tuple[Sample, ...]]

LAYOUTS: dict[str, Layout] = {
    "voc21": voc.voc,
    "voc20": voc.voc,
    "context60": voc.context,
    "context59": voc.context,
    "coco-object": coco.things,
    "coco-stuff": coco.stuff,
    "ade150": scenes.ade,
    "cityscapes": scenes.cityscapes,
}
ALL = "all"  # the split of data sets that have none


def open_benchmark(
    name: str, root: Path, split: str = "val", setup: Setup | None = None
) -> Dataset:
    """A benchmark of the paper's, in its owner's layout.

    Parameters
    ----------
    name : str
        One of `benchmarks.load_benchmarks`.
    root : Path
        Where it was unpacked.
    split : str
        "val" or "train", or what else the layout knows.
    setup : Setup or None
        Of the encoder, as of `benchmarks.setup_of`: whose templates are taken.

    Raises
    ------
    NapariCliperError
        There is no such benchmark or split, or files are missing.
    """
    benchmark, words = get_benchmark(name), vocabulary_of(name)
    if not root.is_dir():
        raise NapariCliperError(f"There is no folder “{root}”: check --root.")
    if LAYOUTS[name] in (coco.things, coco.stuff):
        split = coco.unpacked(root, split)
    samples = LAYOUTS[name](root, split, words.names, benchmark.background)
    title = f"{benchmark.title} ({name})"
    return Dataset(title, split, asked(name, setup), words.names, benchmark.background, samples)


def open_files(
    pictures: Path, masks: Path, classes: ClassList | None, ignored: frozenset[int] = frozenset()
) -> Dataset:
    """Pictures and masks of one's own.

    Parameters
    ----------
    pictures : Path
        A folder.
    masks : Path
        A folder of indexed masks, of text files of polygons, or a COCO file of instances.
    classes : ClassList or None
        None looks for one near the masks, or takes the COCO file's categories.
    ignored : set of int
        Values of masks that do not count; with 0, what is none of the classes does not.

    Raises
    ------
    NapariCliperError
        Something is missing or does not fit, which the message names.
    """
    background = 0 not in ignored
    remarks: tuple[str, ...] = ()
    with explained(masks):
        masks.stat()
    if masks.suffix.lower() == ".json":
        found, samples = coco.instances(masks, pictures, classes, background)
    else:
        texts, pngs = any(masks.glob("*.txt")), any(masks.glob("*.png"))
        if not texts and not pngs:
            raise NapariCliperError(
                f"The folder “{masks}” holds no masks: give indexed PNG files, text files of "
                "polygons, or a COCO file that ends in .json."
            )
        found, indices = (classes, range(len(classes))) if classes else classes_near(masks)
        if pngs:
            samples = folders.masks(masks, pictures, found, ignored)
        else:
            samples, remarks = polygons.text_files(masks, pictures, indices, background)
    found = _renumbered(found)
    # Enough to know it by, and nothing of whose machine it is on.
    title = "/".join(pictures.absolute().parts[-3:])
    return Dataset(title, ALL, found, found.names, background, samples, remarks)


def _renumbered(classes: ClassList) -> ClassList:
    """The same classes with the ids 1, 2, …; their colours are kept."""
    entries = (entry.model_copy(update={"id": id_}) for id_, entry in enumerate(classes, 1))
    return classes.model_copy(update={"classes": tuple(entries)})
