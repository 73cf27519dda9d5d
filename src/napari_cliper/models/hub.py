"""The Hugging Face hub: its cache on this machine, and the hub itself where that is asked for.

The cache is huggingface_hub's, shared with all other programs that use the hub, and laid out as
they expect it: the content of a file is `blobs/ETAG`, its name is a link to that in
`snapshots/COMMIT`, and `blobs/ETAG.incomplete` is what has come of it so far.
"""

import re
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cliper.errors import NapariCliperError
from napari_cliper.models.schema import Repository
from napari_cliper.models.sources import Files, Place, Source, amount, differing, is_whole, pins

if TYPE_CHECKING:
    from napari_cliper.cliper.steps import Steps

RESERVE = 200_000_000  # bytes that are left free on the disk
PARTIAL = ".incomplete"


def cache_folder() -> Path:
    """The hub's cache; the environment variable HF_HUB_CACHE moves it."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE).expanduser()


def store(repository: Repository) -> Path:
    """Where the hub's cache keeps a repository, whether it is there or not.

    Raises
    ------
    NapariCliperError
        If the hub has no such names.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.file_download import repo_folder_name

    try:
        name = repo_folder_name(repo_id=repository.repo, repo_type="model")
    except HFValidationError as error:
        from napari_cliper.models.hub_errors import impossible_name

        raise impossible_name(repository) from error
    return cache_folder() / name


def in_cache(repository: Repository) -> Source | None:
    """A repository's files in the hub's cache. Never uses the network.

    Of the pinned revision; of the newest one only where all sums are known and agree, or where
    none is pinned. Files that were cut short count as absent, so that `download` mends them; to
    find any other damage would take reading gigabytes at every start.

    Raises
    ------
    NapariCliperError
        If the hub has no such names.
    """
    pinned = _snapshot(repository, repository.revision)
    if pinned is not None and repository.revision is not None:
        return Source(pinned, pins(repository), Place.HUB)
    newest = pinned if repository.revision is None else _snapshot(repository, None)
    checked = repository.revision is None or all(repository.files.values())
    if newest is None or not checked or differing(newest, repository.files) is not None:
        return None
    sums = {name: sum_ for name, sum_ in repository.files.items() if sum_}
    return Source(newest, sums, Place.HUB)


def _snapshot(repository: Repository, revision: str | None) -> Files | None:
    from huggingface_hub import try_to_load_from_cache

    cache = store(repository).parent
    try:
        found = {
            name: try_to_load_from_cache(repository.repo, name, cache_dir=cache, revision=revision)
            for name in repository.files
        }
    except ValueError as error:
        raise NapariCliperError(
            f"The files of {repository.repo} have names that lead out of it: correct the preset."
        ) from error
    files = {name: Path(path) for name, path in found.items() if isinstance(path, str)}
    whole = len(files) == len(found) and all(map(is_whole, files.values()))
    return files if whole else None


def commit_in_cache(repository: Repository) -> str | None:
    """The commit whose files `in_cache` takes, or some of whose files are there."""
    folder, revision = store(repository), repository.revision
    if revision is not None and (folder / "snapshots" / revision).is_dir():
        return revision
    if revision is None or in_cache(repository) is not None or not is_commit(revision):
        named = "main" if revision is None or is_commit(revision) else revision
        reference = folder / "refs" / named
        return reference.read_text().strip() if reference.is_file() else None
    return None


def is_in_cache(repository: Repository) -> bool:
    """Whether the cache has anything of a repository that `remove` would delete."""
    folder = store(repository)
    return commit_in_cache(repository) is not None or any(folder.glob(f"blobs/*{PARTIAL}"))


def bytes_in_cache(repository: Repository) -> int:
    """What lies in the cache of a repository's files, those on their way included."""
    folder, commit = store(repository), commit_in_cache(repository)
    partial = [path for path in folder.glob(f"blobs/*{PARTIAL}") if _is_ours(path)]
    whole = [folder / "snapshots" / commit / name for name in repository.files] if commit else []
    return sum(path.stat().st_size for path in (*partial, *whole) if path.is_file())


def _is_ours(partial: Path) -> bool:
    """Whether we can go on with a file on its way: the hub's own client gives random names."""
    return "." not in partial.name.removesuffix(PARTIAL)


def free_space() -> int:
    """Bytes free where the cache is or will be."""
    folder = cache_folder().absolute()
    there = next(path for path in (folder, *folder.parents) if path.is_dir())
    return shutil.disk_usage(there).free


def check_space(what: str, needed: int) -> None:
    """Refuse to begin with what does not fit on the disk.

    Parameters
    ----------
    what : str
        For the sentence.
    needed : int
        Bytes still to come.

    Raises
    ------
    NapariCliperError
        If less than that and `RESERVE` is free.
    """
    free = free_space()
    if needed and free < needed + RESERVE:
        raise NapariCliperError(
            f"{what} takes {amount(needed + RESERVE)} of disk space, and {cache_folder()} has "
            f"{amount(free)} free: make room there, or set HF_HUB_CACHE to a folder on a larger "
            "disk."
        )


def check_online(repositories: Iterable[Repository]) -> None:
    """Refuse to fetch anything where HF_HUB_OFFLINE is set.

    Raises
    ------
    NapariCliperError
        If it is, and there is something to fetch.
    """
    from huggingface_hub import constants

    for repository in repositories if constants.HF_HUB_OFFLINE else ():
        from napari_cliper.models.hub_errors import offline

        raise offline(repository)


def download(repository: Repository, names: Iterable[str]) -> "Steps[Files]":
    """Fetch files from the hub into its cache, as far as they are not there, and check them.

    Closing the generator stops in the middle of a file; the next call goes on from there, as it
    does after an error.

    Parameters
    ----------
    repository : Repository
    names : iterable of str
        Of files in it.

    Yields
    ------
    Step
        A few times a second; `done` and `total` are kilobytes of all files.

    Returns
    -------
    mapping of file name to Path

    Raises
    ------
    NapariCliperError
        If HF_HUB_OFFLINE is set, the hub does not give the files, they are not what they should
        be, or cannot be written.
    """
    from napari_cliper.models.hub_download import download_steps

    check_online([repository])
    return (yield from download_steps(repository, list(names)))


def is_commit(revision: str) -> bool:
    """Whether this names one commit for ever, rather than a branch or a tag."""
    return re.fullmatch(r"[0-9a-f]{40}", revision) is not None


def remove(repository: Repository) -> int:
    """Delete a repository's revision from the cache, and what is left of downloads broken off.

    Returns
    -------
    int
        Bytes freed.

    Raises
    ------
    NapariCliperError
        If the cache is damaged there.
    """
    from huggingface_hub import scan_cache_dir

    folder, commit = store(repository), commit_in_cache(repository)
    if not folder.is_dir():
        return 0
    places = (folder, folder.parent / "blobs")  # the latter holds what repositories share
    before = sum(map(_bytes_in, places))
    if commit is not None:
        cache = scan_cache_dir(folder.parent)
        # Copies of a repository have the same commits, and only the first found would be deleted.
        only = frozenset(found for found in cache.repos if found.repo_path.name == folder.name)
        if not only:
            raise NapariCliperError(f"The hub's cache is damaged at {folder}: delete that folder.")
        replace(cache, repos=only).delete_revisions(commit).execute()
        if (folder / "snapshots" / commit).exists():  # it does not raise
            raise NapariCliperError(
                f"{folder} cannot be deleted: check its permissions, and whether a program uses it."
            )
    for partial in folder.glob(f"blobs/*{PARTIAL}"):
        partial.unlink()
    return before - sum(map(_bytes_in, places))


def _bytes_in(folder: Path) -> int:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_size for path in files)
