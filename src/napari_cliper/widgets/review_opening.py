"""Opening a folder under review, with the folder of masks made before that was chosen for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from napari_cliper.annotation.review import Review, State
from napari_cliper.files.review import ReviewFolder, open_review, reviewed, text_of


@dataclass(frozen=True)
class Opened:
    """A folder under review.

    Attributes
    ----------
    folder : ReviewFolder
    review : Review
    remark : str
        What a person is to be told of it; "" for nothing.
    """

    folder: ReviewFolder
    review: Review
    remark: str = ""


def open_folder(pictures: Path, results: Path | None = None, masks: Path | None = None) -> Opened:
    """List a folder's pictures, as `open_review` does. Writes nothing.

    Parameters
    ----------
    pictures : Path
        Or the folder of results of a review, which knows its pictures.
    results : Path, optional
    masks : Path, optional
        The folder with masks made before; unless given, the one that the review remembers. Where
        that one is gone, the remark says so, and it is remembered on: a disk may come back.

    Raises
    ------
    NapariCliperError
        As of `open_review`; or the name of `masks` cannot be written.
    """
    if results is None:
        pictures, results = reviewed(pictures)
    folder, review = open_review(pictures, results, masks)
    if masks is not None:
        return Opened(folder, review.with_masks_from(_as_written(masks, pictures)))
    if review.masks_from is None:
        return Opened(folder, review)
    known = pictures / review.masks_from
    if not _is_folder(known):
        return Opened(
            folder,
            review,
            f"The folder “{known}”, which masks were taken from, is gone: bring it back, or choose "
            "another one with “Masks from…”.",
        )
    folder = replace(folder, proposals=known)
    new = [entry for entry in review.entries if entry.state is State.NEW]
    found = [entry.picture for entry in new if folder.proposal(entry) is not None]
    return Opened(folder, review.with_proposals(found))


def _as_written(masks: Path, pictures: Path) -> str:
    """A folder's path as the review remembers it: what lies with the pictures moves with them."""
    masks, pictures = masks.absolute(), pictures.absolute()
    inside = masks.is_relative_to(pictures)
    return text_of((masks.relative_to(pictures) if inside else masks).as_posix())


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name too long, a folder that may not be read
        return False
