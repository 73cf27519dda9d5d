"""A server on this machine that behaves as the Hugging Face hub and its content network do.

Large files are elsewhere, as on the hub: asked for one, it answers with their size and checksum and
leads on to a second server. Small files lead on to another address on the same server.
"""

import hashlib
import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import close_session, constants

from napari_cliper.models import transfer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
BLOCK = 16 * 1024


def safetensors(size: int, seed: int = 0) -> bytes:
    """A safetensors file with so many random bytes in it."""
    tensor = {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}
    header = json.dumps({"a": tensor}).encode()
    return len(header).to_bytes(8, "little") + header + random.Random(seed).randbytes(size)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass
class Asked:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    status: int = 0
    sent: int = 0

    @property
    def range(self) -> str | None:
        return self.headers.get("range")


@dataclass
class FakeHub:
    """What the servers know, and how they are to misbehave."""

    url: str = ""
    content_url: str = ""
    # Repository and file name to content, all of the one commit that `main` is at.
    files: dict[tuple[str, str], bytes] = field(default_factory=dict)
    commit: str = COMMIT
    # Repository to status and error code.
    refused: dict[str, tuple[int, str]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    # Large files: the connection breaks after so many bytes, once for each number.
    drops: list[int] = field(default_factory=list)
    # Large files: answered with such a status, once for each.
    failures: list[int] = field(default_factory=list)
    # What is sent for a large file in place of what was promised.
    instead: bytes | None = None
    # Seconds before each block of a large file.
    delay: float = 0
    # After so many bytes of a large file nothing comes for as long as the test runs.
    stall: int | None = None
    ranges: bool = True
    ended: threading.Event = field(default_factory=threading.Event)

    def contents(self) -> list[Asked]:
        """The requests for the bytes of large files."""
        return [asked for asked in self.asked if asked.path.startswith("/content/")]

    def sent(self) -> int:
        """Bytes of large files that were sent."""
        return sum(asked.sent for asked in self.contents())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: FakeHub

    def log_message(self, *_: object) -> None: ...

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.asked = Asked(self.command, self.path, headers)
        self.hub.asked.append(self.asked)
        path = self.path.partition("?")[0]
        if path.startswith("/content/"):
            return self._content(path.removeprefix("/content/"))
        repo, _, rest = path.removeprefix("/small/").strip("/").partition("/resolve/")
        revision, _, name = rest.partition("/")
        if repo in self.hub.refused:
            status, code = self.hub.refused[repo]
            return self._send(status, {"X-Error-Code": code} if code else {})
        if not any(known == repo for known, _ in self.hub.files):
            return self._send(401, {"X-Error-Code": "RepoNotFound"})
        if revision not in ("main", self.hub.commit):
            return self._send(404, {"X-Error-Code": "RevisionNotFound"})
        if (repo, name) not in self.hub.files:
            return self._send(404, {"X-Error-Code": "EntryNotFound"})
        return self._file(self.hub.files[repo, name], name)

    def _file(self, content: bytes, name: str) -> None:
        known = {"X-Repo-Commit": self.hub.commit}
        if name.endswith(".safetensors"):
            sum_ = sha256(content)
            return self._send(
                302,
                known
                | {
                    "Location": f"{self.hub.content_url}/content/{sum_}?Signature=abc",
                    "X-Linked-Etag": f'"{sum_}"',
                    "X-Linked-Size": str(len(content)),
                    "X-Xet-Hash": sum_,
                    "X-Xet-Refresh-Route": "/api/xet",
                },
            )
        if not self.path.startswith("/small/"):
            return self._send(307, {"Location": f"/small{self.path}"})
        etag = sha256(content)[:40]  # as long as git's, which it is on the hub
        return self._send(200, known | {"ETag": f'"{etag}"'}, content)

    def _content(self, sum_: str) -> None:
        if self.hub.failures:
            return self._send(self.hub.failures.pop(0), {})
        whole = next(it for it in self.hub.files.values() if sha256(it) == sum_)
        if self.hub.instead is not None:
            whole = self.hub.instead
        start = int((self.asked.range or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        if not start or not self.hub.ranges:
            return self._send(200, {}, whole, large=True)
        if start >= len(whole):
            return self._send(416, {"Content-Range": f"bytes */{len(whole)}"})
        part = f"bytes {start}-{len(whole) - 1}/{len(whole)}"
        return self._send(206, {"Content-Range": part}, whole[start:], large=True)

    def _send(
        self, status: int, headers: dict[str, str], body: bytes = b"", large: bool = False
    ) -> None:
        self.asked.status = status
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        end = self.hub.drops.pop(0) if large and self.hub.drops else len(body)
        for at in range(0, end, BLOCK):
            if large and self.hub.stall is not None and at >= self.hub.stall:
                self.hub.ended.wait()
            if large and self.hub.delay:
                time.sleep(self.hub.delay)
            try:
                self.wfile.write(body[at : min(at + BLOCK, end)])
            except OSError:  # whoever asked has gone
                self.close_connection = True
                return
            self.asked.sent = min(at + BLOCK, end)
        if end < len(body):
            self.close_connection = True


@contextmanager
def serve(patch: pytest.MonkeyPatch, cache: Path) -> Iterator[FakeHub]:
    """Run the servers and let huggingface_hub take them for the hub, with an empty cache."""
    hub = FakeHub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), handler) for _ in range(2)]
    hub.url, hub.content_url = (f"http://127.0.0.1:{it.server_port}" for it in servers)
    for server in servers:
        server.daemon_threads = True
        server.block_on_close = False
        arguments: dict[str, Any] = {"poll_interval": 0.02}
        threading.Thread(target=server.serve_forever, kwargs=arguments, daemon=True).start()
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    patch.setattr(constants, "ENDPOINT", hub.url)
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    patch.setattr(constants, "HF_HUB_OFFLINE", False)
    patch.setattr(constants, "HF_HUB_CACHE", str(cache))
    patch.setattr(constants, "HF_TOKEN_PATH", str(cache / "no-token"))
    patch.setattr(transfer, "PAUSES", (0.05, 0.05))
    for name in ("HF_TOKEN", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        patch.delenv(name, raising=False)
    close_session()
    try:
        yield hub
    finally:
        hub.ended.set()
        close_session()
        for server in servers:
            server.shutdown()
            server.server_close()
