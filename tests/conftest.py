"""What holds for every test."""

import errno
import ipaddress
import os
import socket
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from marks import MARKED

# Nothing of whoever runs the tests is read or written: settings, caches, weights. This stands
# here, and not in a fixture, because napari and huggingface_hub read it when they are imported.
_CACHES = tempfile.TemporaryDirectory(prefix="napari-cliper-tests-")
os.environ["NAPARI_CONFIG"] = ""
os.environ["NAPARI_CLIPER_CACHE"] = f"{_CACHES.name}/cache"
os.environ["HF_HUB_CACHE"] = f"{_CACHES.name}/hub"
os.environ.pop("NAPARI_CLIPER_WEIGHTS", None)
# The same result whatever the processor has; what “auto” takes by itself has tests of its own.
os.environ["NAPARI_CLIPER_PRECISION"] = "float32"


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        for mark, places in MARKED.items():
            if any(item.path.is_relative_to(here / place) for place in places):
                item.add_marker(mark)


@pytest.fixture(autouse=True)
def _unplugged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behave as a machine without a network, so that no test depends on having one."""
    connect, getaddrinfo = socket.socket.connect, socket.getaddrinfo

    def connect_nearby(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_here(address[0]):
            raise OSError(errno.ENETUNREACH, "the tests run without a network")
        connect(self, address)

    def look_up_nearby(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host is not None and not _is_here(host):
            raise socket.gaierror(socket.EAI_AGAIN, "the tests run without a network")
        return getaddrinfo(host, *args, **kwargs)

    monkeypatch.setattr(socket.socket, "connect", connect_nearby)
    monkeypatch.setattr(socket, "getaddrinfo", look_up_nearby)


def _is_here(host: str | bytes) -> bool:
    """Tell whether `host` is this machine."""
    name = host.decode() if isinstance(host, bytes) else host
    try:
        return name in ("", "localhost") or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
