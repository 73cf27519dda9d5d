"""Indexed PNG, as Pascal VOC's: the palette is the classes' colours, an index is a label."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from napari_cliper.annotation.annotation import VOID, Annotation, with_all
from napari_cliper.files.formats.format import Format, Keeps, Options
from napari_cliper.files.indexed_png import LABELS, encode_labels, holds_classes, load_labels
from napari_cliper.files.nearby import picture_near


def write(annotations: Iterable[Annotation], folder: Path, options: Options) -> None:
    """Write `{name}.png` of each."""
    for annotation in annotations:
        content = encode_labels(annotation.labels, annotation.classes)
        (folder / f"{annotation.name}.png").write_bytes(content)


def read(path: Path, pictures: Path | None) -> Iterator[Annotation]:
    """Read one picture's labels: ours, Pascal VOC's, or any indexed or grey PNG."""
    labels, classes = load_labels(path)
    stem = path.stem
    name = stem.removesuffix(LABELS.removesuffix(".png"))
    picture = picture_near(name, path, pictures)
    found = with_all(classes, labels)
    remarks = []
    if classes is None:
        remarks.append(f"“{path.name}” tells no class names: they are its labels.")
    if VOID in found.ids and (classes is None or VOID not in classes.ids):
        remarks.append(
            f"Its label {VOID} is taken for a class “void”: with the option void, it is no object."
        )
    yield Annotation(
        stem,
        labels,
        found,
        picture=picture if picture != path else None,
        remarks=tuple(remarks),
    )


FORMAT = Format(
    key="png",
    title="Indexed PNG",
    rank=0,
    suffix=".png",
    keeps=Keeps(
        note="Indices are labels, the palette is the classes' colours; beyond label 255 it is "
        "16-bit grey. The class list is inside the file. With the option void, that class is 255."
    ),
    write=write,
    recognizes=lambda path: holds_classes(path, grey=False),
    read=read,
    void_label=True,
)
