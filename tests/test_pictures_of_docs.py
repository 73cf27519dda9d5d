"""Each picture of the documents has a script that draws it, and `make screenshots` runs it."""

import re
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]
TOOLS = TOP / "tools"
PICTURES = sorted(path.name for path in (TOP / "docs" / "images").iterdir())


def scripts() -> list[Path]:
    """What `make screenshots` runs."""
    text = (TOP / "Makefile").read_text("utf-8")
    target = re.search(r"^screenshots:.*\n(?:\t.*\n)+", text, re.MULTILINE)
    assert target
    return [TOP / path for path in re.findall(r"python (tools/\w+\.py)", target[0])]


@pytest.mark.parametrize("picture", PICTURES)
def test_each_picture_is_drawn_by_a_script(picture: str) -> None:
    assert any(picture in path.read_text("utf-8") for path in scripts())


def test_each_script_that_draws_is_run() -> None:
    others = (TOOLS / "where_it_fails.py", TOOLS / "demonstrate_large.py")
    drawing = [*TOOLS.glob("screenshot*.py"), *TOOLS.glob("draw_*.py"), *others]
    assert sorted(scripts()) == sorted(drawing)


def test_the_pictures_load_quickly() -> None:
    sizes = {name: (TOP / "docs" / "images" / name).stat().st_size for name in PICTURES}
    assert not {name: size for name, size in sizes.items() if size > 1_200_000}
    assert not {
        name: size for name, size in sizes.items() if name.startswith("method-") and size > 400_000
    }
