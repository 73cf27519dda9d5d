"""Runs over a folder, as the tests of batch make them."""

from pathlib import Path
from typing import Any

from napari_cliper.batch.plan import Plan, plan
from napari_cliper.batch.sources import find_sources

IDENTITY = "a recipe"


def planned(pictures: Path, results: Path, identity: str = IDENTITY, **more: Any) -> Plan:
    """What a run over all pictures of a folder would do."""
    found = find_sources([pictures], results)
    return plan(found.top, found.pictures, results, identity, **more)


def contents(folder: Path) -> dict[str, bytes]:
    """The label maps in a folder, by their paths from it."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.png")
    }
