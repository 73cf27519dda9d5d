"""Bytes from the hub into a file, in a thread that can be stopped at any time.

huggingface_hub's own `hf_hub_download` (2.4) is not used for this, as it cannot resume: it writes
to a file of a random name and deletes that file when anything goes wrong, over HTTP and over Xet
alike. It also tells of its progress only every 10 MB, and sends the versions of installed libraries
along. What is taken from it is the session (proxies, certificates, offline mode), the token and the
hub's errors. Files that the hub stores in Xet are fetched over HTTP like all others.
"""

import hashlib
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any, TypeVar

import httpx2
from huggingface_hub import constants, get_session, get_token
from huggingface_hub.errors import FileMetadataError, HfHubHTTPError
from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined]

from napari_cliper.cliper.steps import Step, Steps

T = TypeVar("T")

PAUSES: tuple[float, ...] = (1, 2, 4)  # seconds before each new attempt; then it is given up
POLL = 0.25  # seconds between two steps
REDIRECTS = 5
SHA256 = re.compile(r"[0-9a-f]{64}")


class Stopped(Exception):
    """Nobody waits for the result any more."""


class WrongSize(Exception):
    """More came than the hub has announced, or another part of the file."""


class Watch:
    """How a thread tells of its work, and how it is told to stop."""

    def __init__(self, step: Step) -> None:
        self.step = step
        self._stop = Event()
        self._socket: socket.socket | None = None

    def check(self) -> None:
        """Raise `Stopped` if the work is to stop."""
        if self._stop.is_set():
            raise Stopped

    def pause(self, seconds: float) -> None:
        """Wait; raise `Stopped` as soon as the work is to stop."""
        if self._stop.wait(seconds):
            raise Stopped

    def stop(self) -> None:
        """Make the thread stop, also where it waits for bytes that do not come."""
        self._stop.set()
        if self._socket is not None:
            with suppress(OSError):  # it may be closed already
                self._socket.shutdown(socket.SHUT_RDWR)

    @contextmanager
    def reading(self, response: httpx2.Response) -> Iterator[None]:
        """Let `stop` end the reading of this response."""
        stream = response.extensions.get("network_stream")
        self._socket = stream.get_extra_info("socket") if stream is not None else None
        try:
            self.check()
            yield
        finally:
            self._socket = None


def watched(work: Callable[[Watch], T], first: str) -> Steps[T]:
    """Do work in a thread, and tell what it does a few times a second.

    Closing the generator stops the thread and waits until it has ended.

    Parameters
    ----------
    work : callable
        Its `Watch` to its result.
    first : str
        The name of the first step.
    """
    watch = Watch(Step(first))
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(work(watch))
        except BaseException as error:  # raised again where the steps are driven
            outcome.set_exception(error)

    # A daemon, so that a program whose user has left does not stay for gigabytes.
    thread = Thread(target=run, name="napari-cliper download", daemon=True)
    thread.start()
    try:
        while not outcome.done():
            yield watch.step
            wait([outcome], POLL)
        return outcome.result()
    finally:
        watch.stop()
        # Not `thread.join` alone: on Python 3.11 one that Ctrl+C breaks takes the thread for ended.
        wait([outcome])
        thread.join()


@dataclass(frozen=True)
class Remote:
    """What the hub says of a file.

    Attributes
    ----------
    commit : str
    etag : str
        What the hub's cache calls the content.
    size : int
        Bytes.
    sum : str
        The sha256; "" where it does not tell, as for small files.
    """

    commit: str
    etag: str
    size: int
    sum: str


def look(url: str, watch: Watch) -> Remote:
    """Ask the hub about a file.

    Raises
    ------
    Stopped
    HfHubHTTPError, httpx2.HTTPError
        As the client does.
    FileMetadataError
        If what answers is not the hub.
    """
    for pause in (*PAUSES, None):
        watch.check()
        try:
            return _look(url)
        except (HfHubHTTPError, httpx2.TransportError) as error:
            # Without a connection one wants to hear so at once; the rest may pass.
            if pause is None or isinstance(error, httpx2.ConnectError) or not _may_pass(error):
                raise
            watch.pause(pause)
    raise AssertionError("the last attempt returns or raises")


def _look(url: str) -> Remote:
    session = get_session()
    request = session.build_request(
        "HEAD", url, headers=_headers(), timeout=constants.HF_HUB_ETAG_TIMEOUT
    )
    for _ in range(REDIRECTS):
        response = session.send(request, follow_redirects=False)
        hf_raise_for_status(response)
        linked = constants.HUGGINGFACE_HEADER_X_LINKED_ETAG in response.headers
        # A renamed repository leads on; a large file's answer leads to where its bytes are.
        if response.next_request is None or linked:
            return _remote(response.headers)
        request = response.next_request
    raise FileMetadataError


def _remote(headers: Mapping[str, str]) -> Remote:
    linked = headers.get(constants.HUGGINGFACE_HEADER_X_LINKED_ETAG)
    commit = headers.get(constants.HUGGINGFACE_HEADER_X_REPO_COMMIT)
    etag = (linked or headers.get("ETag", "")).removeprefix("W/").strip('"')
    size = headers.get(
        constants.HUGGINGFACE_HEADER_X_LINKED_SIZE, headers.get("Content-Length", "")
    )
    # Both become names of files, so nothing else than plain names is taken.
    plain = re.fullmatch(r"[\w.-]+", etag) and re.fullmatch(r"[0-9a-f]{40}", commit or "")
    if not (commit and plain and size.isdecimal()):
        raise FileMetadataError
    return Remote(commit, etag, int(size), etag if linked and SHA256.fullmatch(etag) else "")


def _headers(**more: str) -> dict[str, str]:
    """All that is sent; the token goes to the hub alone, as the client drops it elsewhere."""
    headers = {"user-agent": "napari-cliper", "accept-encoding": "identity", **more}
    token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()
    return headers | ({"authorization": f"Bearer {token}"} if token else {})


def fetch(url: str, path: Path, size: int, watch: Watch, tell: Callable[[int], None]) -> None:
    """Go on with a file until it has all its bytes.

    Parameters
    ----------
    url : str
    path : Path
        What is there of it already is taken as its beginning.
    size : int
        Bytes it will have.
    watch : Watch
    tell : callable
        Called with the number of bytes there are.

    Raises
    ------
    Stopped
    HfHubHTTPError, httpx2.HTTPError
        As the client does, when several attempts in a row brought no byte.
    WrongSize
        If what comes is not what was announced.
    OSError
        If the file cannot be written.
    """
    failures = 0
    path.touch()
    if path.stat().st_size > size:
        path.unlink()
        path.touch()
    while (before := path.stat().st_size) != size:
        watch.check()
        problem: Exception = httpx2.RemoteProtocolError("nothing came")
        try:
            _fetch(url, path, size, watch, tell)
        except (HfHubHTTPError, httpx2.TransportError) as error:
            if not _may_pass(error):
                raise
            problem = error
        after = path.stat().st_size
        if after == size:
            return
        failures = 0 if after > before else failures + 1
        if failures > len(PAUSES):
            raise problem
        watch.pause(PAUSES[max(failures, 1) - 1])


def _fetch(url: str, path: Path, size: int, watch: Watch, tell: Callable[[int], None]) -> None:
    have = path.stat().st_size
    headers = _headers(**({"range": f"bytes={have}-"} if have else {}))
    timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
    request: dict[str, Any] = {"headers": headers, "timeout": timeout, "follow_redirects": True}
    with get_session().stream("GET", url, **request) as response, watch.reading(response):
        if response.status_code == 416:
            raise WrongSize
        hf_raise_for_status(response)
        if response.status_code != 206:
            have = 0  # the server does not do parts
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            raise WrongSize
        with path.open("ab" if have else "wb") as file:
            for chunk in response.iter_bytes():
                watch.check()
                have += len(chunk)
                if have > size:
                    raise WrongSize
                file.write(chunk)
                tell(have)


def _may_pass(error: Exception) -> bool:
    """Whether trying again may help."""
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        return status in (408, 429) or status >= 500
    passing = (httpx2.TimeoutException, httpx2.NetworkError, httpx2.RemoteProtocolError)
    return isinstance(error, passing)


def checksum(path: Path, watch: Watch) -> str:
    """The sha256 of a file, as 64 hexadecimal digits; raises `Stopped` in the middle of it."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            watch.check()
            digest.update(block)
    return digest.hexdigest()
