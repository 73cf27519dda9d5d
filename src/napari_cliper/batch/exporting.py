"""The masks of a run in another tool's format."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cliper.annotation.annotation import Annotation
from napari_cliper.batch.journal import Exported, Journal
from napari_cliper.batch.plan import Plan
from napari_cliper.files.exporting import export
from napari_cliper.files.formats import Format
from napari_cliper.files.indexed_png import load_labels
from napari_cliper.files.names import plain

if TYPE_CHECKING:
    from napari_cliper.cliper.steps import Steps


def export_masks(plan: Plan, format_: Format) -> "Steps[Path]":
    """Write the masks that runs have made, and nobody has taken up, in a format.

    What an earlier run wrote there is written anew; not, if somebody has changed it since.

    Parameters
    ----------
    plan : Plan
    format_ : Format

    Yields
    ------
    Step

    Returns
    -------
    Path
        The folder, named after the format.

    Raises
    ------
    NapariCliperError
        The format cannot hold a mask, or something else is in the way.
    """
    from napari_cliper.cliper.steps import Step

    journal = Journal(plan.folder.results)
    pictures = [item.picture for item in plan.items if item.picture in journal.records]
    pictures = [one for one in pictures if not plan.has_session(one)]
    folder = plan.folder.results / format_.key

    def masks() -> Iterator[Annotation]:
        for picture in pictures:
            labels, classes = load_labels(plan.labels(picture))
            name = plain(picture.rpartition(".")[0].replace("/", "_"))
            yield Annotation.of(name, labels, classes, picture=plan.file(picture))

    yield Step(f"Writing {format_.title}")
    ours = folder.exists() and journal.exports.get(format_.key) == digest_of(folder)
    export(masks(), format_, folder, overwrite=ours)
    journal.add(Exported(exported=format_.key, sha256=digest_of(folder)))
    return folder


def digest_of(folder: Path) -> str:
    """What tells a folder's files from others: their places and contents."""
    found = sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        found.update(f"{file.relative_to(folder).as_posix()}\0".encode())
        found.update(sha256(file.read_bytes()).digest())
    return found.hexdigest()
