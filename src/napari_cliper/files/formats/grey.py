"""Grey PNG: a pixel's value is its label, for tools that turn palettes into colours."""

from collections.abc import Iterable
from pathlib import Path

from napari_cliper.annotation.annotation import Annotation
from napari_cliper.files.formats.format import Format, Keeps, Options
from napari_cliper.files.formats.indexed import read
from napari_cliper.files.indexed_png import encode_labels, holds_classes


def write(annotations: Iterable[Annotation], folder: Path, options: Options) -> None:
    """Write `{name}.png` of each."""
    for annotation in annotations:
        content = encode_labels(annotation.labels, annotation.classes, grey=True)
        (folder / f"{annotation.name}.png").write_bytes(content)


FORMAT = Format(
    key="grey-png",
    title="Grey PNG",
    rank=1,
    suffix=".png",
    keeps=Keeps(
        note="A pixel's value is its label, up to 255. For OpenCV and others that read a palette "
        "as colours. The class list is inside the file."
    ),
    write=write,
    recognizes=lambda path: holds_classes(path, grey=True),
    read=read,
    max_label=255,
    void_label=True,
)
