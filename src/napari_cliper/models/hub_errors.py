"""What may go wrong with the hub, each as one sentence that says what to do."""

import errno
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
from huggingface_hub import constants
from huggingface_hub.errors import (
    DisabledRepoError,
    EntryNotFoundError,
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from napari_cliper.errors import NapariCliperError
from napari_cliper.models.schema import Repository

FULL = (errno.ENOSPC, errno.EDQUOT)
KEPT = "what has been fetched is kept, and the next try goes on from there"
ELSEWHERE = "name a folder with the weights, or another repository in a preset file"
# What the client may raise for reasons that lie outside this program.
EXPECTED = (OSError, ValueError, httpx2.HTTPError, httpx2.InvalidURL)


def offline(repository: Repository) -> NapariCliperError:
    """The sentence for HF_HUB_OFFLINE."""
    return NapariCliperError(
        f"{repository.repo} is not on this machine and HF_HUB_OFFLINE forbids fetching it: "
        "unset that variable, or name a folder with the weights."
    )


def impossible_name(repository: Repository) -> NapariCliperError:
    """The sentence for what cannot be a name on the hub."""
    return NapariCliperError(
        f"“{repository.repo}” is no name on the hub: write owner/name, or a folder's path that "
        "is absolute or begins with “.” or “~”."
    )


def explained(
    error: Exception, repository: Repository, name: str, folder: Path
) -> NapariCliperError:
    """One of `EXPECTED` as one sentence. It never holds a token: only chosen parts are quoted.

    Parameters
    ----------
    error : Exception
    repository : Repository
    name : str
        The file that was to be fetched.
    folder : Path
        The hub's cache.
    """
    if isinstance(error, OfflineModeIsEnabled):
        return offline(repository)
    if isinstance(error, HfHubHTTPError):
        said = _refused(error, repository, name)
    elif isinstance(error, FileMetadataError):
        said = (
            f"What answers at {_host()} is not the hub: check HF_ENDPOINT, and whether a proxy or "
            "a login page stands in between"
        )
    elif isinstance(error, httpx2.HTTPError | httpx2.InvalidURL):
        said = _unreachable(error, repository, name)
    elif isinstance(error, OSError):
        said = _unwritten(error, repository, folder)
    else:
        said = (
            f"{name} could not be fetched from {repository.repo} ({type(error).__name__}): check "
            "the proxy variables, HF_ENDPOINT and HF_TOKEN"
        )
    return NapariCliperError(f"{said}.")


def _refused(error: HfHubHTTPError, repository: Repository, name: str) -> str:
    repo, status = repository.repo, error.response.status_code
    page = f"{constants.ENDPOINT}/{repo}"
    if isinstance(error, GatedRepoError):
        return (
            f"The repository {repo} is gated: accept its licence at {page}, log in with "
            "“hf auth login”, and try again"
        )
    if isinstance(error, DisabledRepoError):
        return f"The hub has closed the repository {repo}: {ELSEWHERE}"
    if isinstance(error, RepositoryNotFoundError):
        return (
            f"There is no repository {repo} on the hub, or it is private: log in with “hf auth "
            f"login” if it is yours; if it has vanished, {ELSEWHERE}"
        )
    if isinstance(error, RevisionNotFoundError):
        return (
            f"The repository {repo} has no revision {repository.revision}: correct “revision” in "
            f"the preset file; if it has vanished, {ELSEWHERE}"
        )
    if isinstance(error, EntryNotFoundError) or status == 404:
        return (
            f"The repository {repo} has no file {name}: only safetensors weights are read, so "
            f"{ELSEWHERE}"
        )
    if status == 401:
        return (
            "The hub does not know your token: log in again with “hf auth login”, or unset HF_TOKEN"
        )
    if status == 403:
        return f"Your token may not read the repository {repo}: see {page}"
    if status == 429:
        return f"The hub has been asked too often (429): wait some minutes; {KEPT}"
    if status >= 500:
        return f"The hub has trouble of its own ({status}): try again later; {KEPT}"
    return f"{name} could not be fetched from {repo} (the hub says {status}): see {page}"


def _unreachable(error: Exception, repository: Repository, name: str) -> str:
    if isinstance(error, httpx2.ProxyError):  # its address may hold a password
        return "The proxy does not let this through: check HTTPS_PROXY and NO_PROXY"
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        return (
            f"The hub ({_host()}) cannot be reached{_reason(error)}: check the connection, or name "
            "a folder with the weights"
        )
    if isinstance(
        error, httpx2.TimeoutException | httpx2.NetworkError | httpx2.RemoteProtocolError
    ):
        return (
            f"The connection broke off while {name} was fetched from {repository.repo}"
            f"{_reason(error)}: check the network; {KEPT}"
        )
    return (
        f"{name} could not be fetched from {repository.repo} ({type(error).__name__}): check the "
        "proxy variables, HF_ENDPOINT and HF_TOKEN"
    )


def _unwritten(error: OSError, repository: Repository, folder: Path) -> str:
    if error.errno in FULL:
        return (
            f"The disk is full at {folder}: make room there, or set HF_HUB_CACHE to a folder on a "
            f"larger disk; {KEPT}"
        )
    return (
        f"{repository.repo} cannot be written into the hub's cache {folder} "
        f"({error.strerror or type(error).__name__}): make it writable, or set HF_HUB_CACHE to "
        "another folder"
    )


def _host() -> str:
    return urlsplit(constants.ENDPOINT).netloc


def _reason(error: Exception) -> str:
    said = str(error).strip().rstrip(".")
    return f" ({said.splitlines()[0]})" if said else ""
