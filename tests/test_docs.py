"""The documents name what there is, with the figures of the data."""

import ast
import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from napari_cliper.annotation import review, session
from napari_cliper.annotation.regions import FIXES, Fix
from napari_cliper.models.inventory import catalogue
from napari_cliper.models.presets import load_methods, load_presets
from napari_cliper.widgets.help_dialog import SHORTCUTS

DOCS = Path(__file__).parents[1] / "docs"
SOURCE = DOCS.parent / "src"
MADE = {DOCS / "_build", DOCS / "reference"}  # by Sphinx
PAGES = [
    DOCS.parent / "README.md",
    *(page for page in sorted(DOCS.rglob("*.md")) if not MADE & {*page.parents}),
]


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


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(DOCS.parent / "tools")


def test_the_table_of_formats_is_what_they_keep(tools: None) -> None:
    from formats_table import table

    assert table() in (DOCS / "formats.md").read_text("utf-8")


def test_the_picture_of_the_architecture_is_drawn_anew(tools: None) -> None:
    from draw_architecture import TARGET, drawing

    assert TARGET.read_text("utf-8") == drawing(), "run python tools/draw_architecture.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_links_to_is_there(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8"))
    for link in links:
        if "://" in link:
            continue
        path, _, part = link.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), link
        if part:
            titles = re.findall(r"^#+ (.+)$", file.read_text("utf-8"), re.MULTILINE)
            assert part in {title.lower().replace(" ", "-") for title in titles}, link


def test_each_picture_is_on_a_page() -> None:
    text = "".join(page.read_text("utf-8") for page in PAGES)
    for picture in (DOCS / "images").iterdir():
        assert f"images/{picture.name})" in text, picture.name


def test_the_help_and_the_annotating_page_have_the_same_keys() -> None:
    _, _, table = (DOCS / "annotating.md").read_text("utf-8").partition("\n## Keys\n")
    lines = [line for line in table.split("\n## ")[0].splitlines() if line[:1] == "|"]
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines[2:]] == list(SHORTCUTS)


@pytest.mark.parametrize("fix", FIXES, ids=lambda fix: fix.name)
def test_each_fix_is_in_the_annotating_page(fix: Fix) -> None:
    assert any(row.startswith(f"| {fix.title} |") for row in rows("annotating.md"))


@pytest.mark.parametrize(
    "model",
    [
        session.Session, session.Picture, session.Model, session.Adjustment, session.Mask,
        review.Review, review.Entry,
    ],
)  # fmt: skip
def test_each_field_of_the_files_is_in_the_sessions_page(model: type[BaseModel]) -> None:
    fields = set(re.findall(r"`([a-z_0-9]+)`", "".join(rows("sessions.md"))))
    assert set(model.model_fields) <= fields


def said(node: ast.AST) -> str:
    """A text in the source, with “…” for what differs."""
    if isinstance(node, ast.JoinedStr):
        return re.sub("…+", "…", "".join(map(said, node.values)))
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else "…"


def test_each_message_in_troubleshooting_is_one_of_the_program() -> None:
    texts = "\n".join(
        said(node)
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant | ast.JoinedStr)
    )
    page = (DOCS / "troubleshooting.md").read_text("utf-8")
    messages = re.findall(r"(?:^> .+\n)+", page, re.MULTILINE)
    assert len(messages) > 40
    unknown = [one for one in messages if one.replace("\n> ", " ").strip("> \n") not in texts]
    assert not unknown


def test_what_is_said_of_pictures_is_tested() -> None:
    tests = "\n".join(
        path.name + "\n" + path.read_text("utf-8") for path in (DOCS.parent / "tests").rglob("*.py")
    )
    named = [
        re.findall(r"`(test_\w+(?:\.py)?)`", row.split("|")[-2]) for row in rows("pictures.md")
    ]
    assert sum(not names for names in named) == 2 * 4  # the heads of four tables
    assert sum(map(len, named)) > 25
    for name in {name for names in named for name in names}:
        assert name in tests if name.endswith(".py") else f"def {name}(" in tests, name
