"""The Hugging Face hub: its cache on this machine, and the hub itself where that is asked for."""

from pathlib import Path
from typing import Any

from napari_cliper.errors import NapariCliperError
from napari_cliper.models.presets import Repository
from napari_cliper.models.sources import Source, differing, pins


def in_cache(repository: Repository) -> Source | None:
    """A repository's files in the hub's cache. Never uses the network.

    Of the pinned revision; of the newest one only where all sums are known and agree, or where
    none is pinned.

    Raises
    ------
    NapariCliperError
        If the hub has no such names.
    """
    pinned = _snapshot(repository, repository.revision)
    if pinned is not None and repository.revision is not None:
        return Source(pinned, pins(repository))
    newest = pinned if repository.revision is None else _snapshot(repository, None)
    checked = repository.revision is None or all(repository.files.values())
    if newest is None or not checked or differing(newest, repository.files) is not None:
        return None
    sums = {name: sum_ for name, sum_ in repository.files.items() if sum_}
    return Source(newest, sums)


def _snapshot(repository: Repository, revision: str | None) -> dict[str, Path] | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = {
            name: try_to_load_from_cache(repository.repo, name, revision=revision)
            for name in repository.files
        }
    except HFValidationError as error:
        raise NapariCliperError(
            f"“{repository.repo}” is no name on the hub: write owner/name, or a folder's path that "
            "is absolute or begins with “.” or “~”."
        ) from error
    files = {name: Path(path) for name, path in found.items() if isinstance(path, str)}
    return files if len(files) == len(found) else None


def download_size(repository: Repository, name: str) -> int | None:
    """Bytes that fetching a file takes, asked of the hub: 0 if it is here, None if it won't say.

    Raises
    ------
    NapariCliperError
        As of `download`.
    """
    answer = _ask(repository, name, dry_run=True)
    size: int | None = answer.file_size
    return size if answer.will_download else 0


def download(repository: Repository, name: str) -> Path:
    """Fetch one file from the hub into its cache, and check it.

    Raises
    ------
    NapariCliperError
        If there is no network, HF_HUB_OFFLINE is set, or what came is not what it should be.
    """
    path = Path(_ask(repository, name))
    if differing({name: path}, repository.files) is not None:
        raise NapariCliperError(
            f"{name} from {repository.repo} has the wrong checksum: delete {path} and try again."
        )
    return path


def _ask(repository: Repository, name: str, **options: Any) -> Any:
    """What the hub client answers; all it may raise becomes one sentence."""
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    if constants.HF_HUB_OFFLINE:
        raise NapariCliperError(
            f"{repository.repo} is not on this machine and HF_HUB_OFFLINE forbids fetching it: "
            "unset that variable, or name a folder with the weights."
        )
    try:
        with disable_progress_bars():  # progress is told as steps: others would write across them
            return hf_hub_download(repository.repo, name, revision=repository.revision, **options)
    except Exception as error:  # the network has many ways to fail, and the client names them all
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise NapariCliperError(
            f"{name} could not be fetched from {repository.repo} ({reason.rstrip('.')}): check the "
            "connection, or name a folder with the weights."
        ) from error
