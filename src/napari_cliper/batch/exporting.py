"""The masks of a run in another tool's format."""

import tempfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cliper.annotation.annotation import Annotation
from napari_cliper.annotation.review import natural_key
from napari_cliper.batch.journal import Exported, Journal
from napari_cliper.batch.plan import Plan
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.exporting import export
from napari_cliper.files.formats import Format
from napari_cliper.files.indexed_png import load_labels
from napari_cliper.files.names import different
from napari_cliper.files.review import as_named

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
        The format cannot hold a mask, there is none, or something else is in the way.
    """
    from napari_cliper.cliper.steps import Step

    journal, results = Journal(plan.folder.results), plan.folder.results
    made = sorted(journal.records, key=natural_key)
    made = [one for one in made if plan.labels(one).is_file() and not plan.has_session(one)]
    if not made:
        raise NapariCliperError("There are no masks to write: let a run make some first.")
    folder = results / format_.key
    names = different(one.rpartition(".")[0].replace("/", "_") for one in made)

    def masks() -> Iterator[Annotation]:
        for picture, name in zip(made, names, strict=True):
            labels, classes = load_labels(plan.labels(picture))
            yield Annotation.of(name, labels, classes, picture=plan.file(picture))

    yield Step(f"Writing {format_.title}")
    with tempfile.TemporaryDirectory(dir=results, prefix=".export-") as hidden:
        new = Path(hidden) / format_.key
        export(masks(), format_, new)
        ours = folder.exists() and journal.is_ours(format_.key, digest_of(folder))
        if folder.exists() and not ours:
            raise NapariCliperError(
                f"“{folder}” was changed since a run wrote it, or is not ours: move it away, or "
                "rename it."
            )
        # Written down first: after a kill in between, what is there is still known as ours.
        journal.begin(as_named(plan.folder.pictures, results))
        journal.add(Exported(exported=format_.key, sha256=digest_of(new)))
        if folder.exists():
            folder.rename(Path(hidden) / "old")
        new.rename(folder)
    return folder


def digest_of(folder: Path) -> str:
    """What tells a folder's files from others: their places and contents."""
    found = sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        found.update(f"{file.relative_to(folder).as_posix()}\0".encode())
        found.update(sha256(file.read_bytes()).digest())
    return found.hexdigest()
