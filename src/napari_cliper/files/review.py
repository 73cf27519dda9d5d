"""A folder of pictures under review: what lies where, and the file that keeps how far it is."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from filelock import FileLock, Timeout

from napari_cliper.annotation.review import Entry, Review, State
from napari_cliper.annotation.validation import TAKEN_BY_WINDOWS
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.atomic import atomic_write
from napari_cliper.files.bounded import read_bounded
from napari_cliper.files.indexed_png import LABELS, OVERLAY
from napari_cliper.files.pictures import explained
from napari_cliper.files.session import is_session
from napari_cliper.models.weights import cache_folder

RESULTS_FOLDER = "cliper-review"
REVIEW_FILE = "review.json"
SESSION = ".session"  # the ending of a picture's session folder
# The usual endings of the formats that `read_picture` reads.
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif")

_PLAIN = re.compile("[a-z0-9_-]+( [a-z0-9_-]+)*")


@dataclass(frozen=True)
class ReviewFolder:
    """Where the files of a review are.

    Attributes
    ----------
    pictures : Path
        The folder that the entries' paths start from.
    results : Path
        Of `review.json` and the sessions; need not exist.
    proposals : Path or None
        Another folder with label maps made before.
    places : mapping
        Of each picture, where its label map may lie in `results` and `proposals`.
    """

    pictures: Path
    results: Path
    proposals: Path | None
    places: Mapping[str, tuple[str, ...]] = field(compare=False, repr=False)

    def picture(self, entry: Entry) -> Path:
        """The picture itself."""
        return self.pictures / entry.picture

    def session(self, entry: Entry) -> Path:
        """The folder for a picture's session; need not exist.

        It depends on the picture's path alone. On no system two pictures have the same, and none
        lies in another.
        """
        *above, name = map(_safe, entry.picture.split("/"))
        return self.results.joinpath(*above, name + SESSION)

    def has_session(self, entry: Entry) -> bool:
        """Whether a picture has a session already."""
        return is_session(self.session(entry))

    def proposal(self, entry: Entry) -> Path | None:
        """The label map made before, as `napari-cliper segment` names it; None if there is none.

        It lies in the picture's own subfolder, or in none, of `results` or `proposals`. One that
        may be another picture's, because only their folders or formats differ, is not taken.
        """
        folders = (self.results,) if self.proposals is None else (self.results, self.proposals)
        paths = (top / place for place in self.places.get(entry.picture, ()) for top in folders)
        return next(filter(_is_file, paths), None)


def open_review(
    pictures: str | Path, results: str | Path | None = None, proposals: str | Path | None = None
) -> tuple[ReviewFolder, Review]:
    """List a folder's pictures, with what is known of them. Writes nothing.

    Left out are hidden files, sessions, the results, and what `napari-cliper segment` wrote.
    Links to folders are not followed. A new picture that has a proposal or a session is proposed.

    Parameters
    ----------
    pictures : str or Path
        Looked through with all folders in it.
    results : str or Path, optional
        Where `review.json` and the sessions are or shall be; ``cliper-review`` in `pictures`
        unless given.
    proposals : str or Path, optional
        Where else label maps may lie that were made before.

    Returns
    -------
    folder : ReviewFolder
    review : Review
        Of pictures that are saved but not there now, the records are kept as its `gone`.

    Raises
    ------
    NapariCliperError
        A folder is missing, may not be read or holds no pictures, a name is no text, or the
        saved review is damaged or newer than this program.
    """
    pictures = Path(pictures)
    results = pictures / RESULTS_FOLDER if results is None else Path(results)
    proposals = None if proposals is None else Path(proposals)
    try:
        for needed in filter(None, (pictures, proposals)):
            if not needed.is_dir():
                raise NapariCliperError(
                    f"There is no folder “{needed}”: check its name and its disk."
                )
        if results.resolve() == pictures.resolve():
            raise NapariCliperError(
                f"“{results}” holds the pictures: "
                "choose another folder for the results, or one in it."
            )
        names = _listed(pictures, results)
    except OSError as error:
        raise NapariCliperError(
            f"The folder “{error.filename}” cannot be read ({error.strerror or error}): "
            "change its permissions, check its disk, or move it away."
        ) from error
    if not names:
        raise NapariCliperError(
            f"There are no pictures in “{pictures}”: "
            "choose a folder with PNG, JPEG, TIFF, BMP, WebP or GIF files."
        )
    folder = ReviewFolder(pictures, results, proposals, places_of(names))
    review = saved_review(results).of(names)
    new = (entry for entry in review.entries if entry.state is State.NEW)
    return folder, review.with_proposals(
        [e.picture for e in new if folder.proposal(e) or is_session(folder.session(e))]
    )


def _listed(pictures: Path, results: Path) -> list[str]:
    """The pictures of a review: those that a run was about, else all that are there."""
    saved = saved_review(results)
    if saved.pictures is None:
        return list(pictures_in(pictures.resolve(), results.resolve()))
    names = [entry.picture for entry in (*saved.entries, *saved.gone)]
    return [name for name in names if (pictures / name).is_file()]


def reviewed(folder: Path) -> tuple[Path, Path | None]:
    """The pictures and results of a review, whichever of both folders a person chose.

    Returns
    -------
    pictures : Path
    results : Path or None
        None for the usual place.
    """
    if not (folder / REVIEW_FILE).is_file():
        return folder, None
    named = saved_review(folder).pictures
    if named is None:
        return (folder.parent, folder) if folder.name == RESULTS_FOLDER else (folder, None)
    return Path(os.path.normpath(folder / named)), folder


def as_named(pictures: Path, results: Path) -> str:
    """A folder of pictures as the review in `results` names it: what lies together moves together.

    Raises
    ------
    NapariCliperError
        Its name is no text.
    """
    pictures, results = pictures.absolute(), results.absolute()
    together = results.is_relative_to(pictures) or pictures.is_relative_to(results)
    path = Path(os.path.relpath(pictures, results)) if together else pictures
    return text_of(path.as_posix())


def save_review(folder: ReviewFolder, review: Review) -> None:
    """Write `review.json`, over the one that is there, keeping what a run has told it meanwhile.

    Raises
    ------
    NapariCliperError
        It cannot be written. What was there is as it was.
    """

    def beside(saved: Review) -> Review:
        return review.beside(saved)

    update_review(folder.results, beside)


def update_review(results: Path, change: Callable[[Review], Review]) -> None:
    """Change what is saved; others who do so, in whatever process, wait meanwhile.

    Raises
    ------
    NapariCliperError
        It cannot be written. What was there is as it was.
    """
    with locked(results, "review"):
        try:
            saved = saved_review(results)
        except NapariCliperError:  # told to whoever opens it; what is known now is better
            saved = Review(entries=())
        with atomic_write(results / REVIEW_FILE, overwrite=True, alone=True) as file:
            file.write(change(saved).to_json().encode())


@contextmanager
def locked(folder: Path, what: str, wait: float = 10) -> Iterator[None]:
    """Be the only one, of this person's processes on this machine, who does something to a folder.

    Parameters
    ----------
    folder : Path
        Need not exist; nothing is written there.
    what : str
        What is done.
    wait : float
        Seconds to wait for others.

    Raises
    ------
    NapariCliperError
        Somebody else is at it, or no lock can be made.
    """
    name = sha256(f"{what} {os.path.realpath(folder)}".encode(errors="surrogateescape")).hexdigest()
    path = cache_folder() / "locks" / f"{name}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, timeout=wait)
        lock.acquire()
    except Timeout as error:
        raise NapariCliperError(
            f"Somebody else is at work on “{folder}”: let them end, or choose another folder."
        ) from error
    except OSError as error:
        raise NapariCliperError(
            f"“{path.parent}” cannot be written ({error.strerror or error}): make room and check "
            "its permissions, or set NAPARI_CLIPER_CACHE to another folder."
        ) from error
    try:
        yield
    finally:
        lock.release()


def saved_review(results: Path) -> Review:
    """What `save_review` wrote into a folder of results; a review of nothing if it did not.

    Raises
    ------
    NapariCliperError
        It is damaged or newer than this program.
    """
    path = results / REVIEW_FILE
    with explained(path):
        if not path.exists():
            return Review(entries=())
    text = read_bounded(path)
    try:
        return Review.from_json(text)
    except NapariCliperError as error:
        raise NapariCliperError(f"In “{path}”: {error}") from error


def pictures_in(top: Path, results: Path, suffixes: tuple[str, ...] = SUFFIXES) -> Iterator[str]:
    """The path of each picture from `top`, with ``/``. Both folders are given without links.

    Left out are hidden files, sessions, `results`, and what `napari-cliper segment` wrote.

    Parameters
    ----------
    top, results : Path
    suffixes : tuple of str
        What names of pictures end in.

    Raises
    ------
    OSError
        A folder may not be read.
    NapariCliperError
        A name is no text.
    """

    def fail(error: OSError) -> None:
        raise error

    for above, folders, names in os.walk(top, onerror=fail):
        here = Path(above)
        below = [name for name in folders if not name.startswith(".")]
        folders[:] = [n for n in below if here / n != results and not is_session(here / n)]
        prefix = "" if here == top else here.relative_to(top).as_posix() + "/"
        yield from (text_of(prefix + name) for name in names if _is_picture(name, suffixes))


def _is_picture(name: str, suffixes: tuple[str, ...]) -> bool:
    """Whether a file is a picture to review, by its name."""
    name = name.lower()
    ours = name.startswith(".") or name.endswith((LABELS, OVERLAY))
    return not ours and name.endswith(suffixes)


def text_of(path: str) -> str:
    """The same path, if JSON can hold it.

    Raises
    ------
    NapariCliperError
    """
    try:
        path.encode()
    except UnicodeEncodeError as error:
        shown = path.encode(errors="replace").decode()
        raise NapariCliperError(f"The name “{shown}” is no valid text: rename it.") from error
    return path


def places_of(pictures: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Of each picture, where its label map and no other picture's may lie in a folder of results.

    There with the picture's own subfolder; or without, as the command line writes them.
    """
    own = [picture.rpartition(".")[0] + LABELS for picture in pictures]
    flat = [place.rpartition("/")[2] for place in own]
    own_times, flat_times = (Counter(map(str.casefold, places)) for places in (own, flat))
    places = {}
    for picture, mine, name in zip(pictures, own, flat, strict=True):
        times = {mine: own_times[mine.casefold()]}
        times.setdefault(name, flat_times[name.casefold()])  # the same where there is no subfolder
        places[picture] = tuple(place for place, count in times.items() if count == 1)
    return places


def _safe(name: str) -> str:
    """The name itself if every system takes it as it is; else one like it, with a digest.

    No system takes two of these names for the same. None ends in `SESSION` or is `REVIEW_FILE`.
    """
    stem, dot, suffix = name.partition(".")
    plain = _PLAIN.fullmatch(stem) and not TAKEN_BY_WINDOWS.fullmatch(stem)
    if plain and len(name) <= 60 and dot + suffix in ("", *SUFFIXES):
        return name
    # 48 letters of up to four bytes, and the rest, fit into the 255 bytes of a name.
    like_it = re.sub(r"[^\w -]", "_", unicodedata.normalize("NFC", name))[:48].strip()
    return f"{like_it}~{sha256(name.encode()).hexdigest()[:10]}"


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name too long, a folder that may not be read
        return False
