"""The tests lie as the source does, so that either is found from the other."""

from pathlib import Path

import pytest

from marks import MARKED

TESTS = Path(__file__).parent
SOURCE = TESTS.parent / "src" / "napari_cliper"
# What is about more than one module.
CROSSING = {
    "fuzz": "random input, wherever any comes in",
    "napari": "widgets in a real window, and what else needs one",
    "test_code_blocks.py": "what the pages show",
    "test_contributing.py": "what CONTRIBUTING.md shows",
    "test_docs.py": "the pages and what they name",
    "test_examples.py": "the notebooks in docs/examples",
    "test_layout.py": "this",
    "test_no_float64.py": "all computing",
    "test_pictures_of_docs.py": "who draws what the pages show",
    "test_security.py": "what docs/security.md promises",
    "test_wheel.py": "what is published",
}
FILES = sorted(path.relative_to(TESTS) for path in TESTS.rglob("test_*.py"))


def is_mirrored(file: Path) -> bool:
    """Whether the source has this folder; at the top, this module."""
    if file.parent.name:
        return (SOURCE / file.parent / "__init__.py").is_file()
    return (SOURCE / file.name.removeprefix("test_")).is_file()


@pytest.mark.parametrize("file", FILES, ids=str)
def test_it_lies_where_its_module_lies(file: Path) -> None:
    assert is_mirrored(file) != (file.parts[0] in CROSSING), (
        f"move {file} to where the source has its module, or say in CROSSING what it is about"
    )


def test_what_crosses_modules_is_there() -> None:
    assert {file.parts[0] for file in FILES} >= CROSSING.keys()


def test_what_is_marked_is_there() -> None:
    """A file that moves does not lose its mark unseen."""
    places = [place for places in MARKED.values() for place in places]
    assert [place for place in places if not (TESTS / place).exists()] == []
