"""The documents name what there is, with the figures of the data."""

from pathlib import Path

import pytest

from napari_cliper.models.inventory import catalogue
from napari_cliper.models.presets import load_methods, load_presets

DOCS = Path(__file__).parents[1] / "docs"


def rows(page: str) -> list[str]:
    return [line for line in (DOCS / page).read_text("utf-8").splitlines() if line[:1] == "|"]


@pytest.mark.parametrize("name", list(load_presets()))
def test_each_preset_is_in_the_models_page(name: str) -> None:
    preset = load_presets()[name]
    size = f"| `{name}` | {preset.size_mb / 1000:.1f} GB | {preset.licence} |"
    assert any(row.startswith(size) for row in rows("models.md")), size


@pytest.mark.parametrize("name", list(catalogue()))
def test_each_repository_is_in_the_models_page(name: str) -> None:
    for repository in catalogue()[name].repositories:
        found = [row for row in rows("models.md") if f"`{repository.repo}`" in row]
        assert found, repository.repo
        for row in found:
            assert f"{repository.size_mb} MB, {repository.licence} |" in row
            assert "| yes |" in row
            assert repository.revision


@pytest.mark.parametrize("name", list(load_methods()))
def test_each_method_is_in_the_method_page(name: str) -> None:
    assert any(row.startswith(f"| `{name}` |") for row in rows("method.md"))
