"""Every command and every piece of code that a page shows runs.

`napari-cliper` and bash run. Of programs that install, build, or work for minutes (pip, make, dask,
tools/*.py, the window) what they are given is checked by their own parsers: `code_blocks.programs`.
What cannot run here is marked on its page by a comment that no reader sees; it is only parsed then:

    <!--- skip: next "needs a GPU" -->
"""

import os
import re
import shutil
from contextlib import chdir
from functools import partial
from pathlib import Path
from unittest import SkipTest

import pytest
from markdown_it import MarkdownIt
from napari.components import ViewerModel
from sybil import Example, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.example import SybilFailure
from sybil.parsers.myst import CodeBlockParser, SkipParser

import napari_cliper as nc
from code_blocks.given import QUICK, photograph, write_folder
from code_blocks.programs import PROGRAMS, ROOT
from code_blocks.shell import Shell
from napari_cliper.models.presets import get_preset


def pages() -> list[Path]:
    """All pages, but what Sphinx makes: `_build`, and `reference` of the docstrings."""
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    made = ("_build", "reference")
    return [page for page in found if page.is_file() and not set(page.parts) & set(made)]


PAGES = {page.relative_to(ROOT).as_posix(): page for page in pages()}
LANGUAGES = ("bash", "python", "toml", "text")
# Most pages make these; some begin where the reader has them.
OFTEN_MADE = ("masks", "classes.json")
BEGINS_WITH = {
    "docs/batch.md": ("classes.json",),
    "docs/formats.md": ("masks", "classes.json"),
    "docs/how-to/export.md": ("masks",),
}
# What is there after a page's commands, as it says.
MADE = {
    "README.md": ("masks/photo_labels.png", "masks/photo_overlay.png", "masks/classes.json"),
    "docs/batch.md": ("masks/review.json", "masks/batch.jsonl", "masks/deeper/two_labels.png"),
    "docs/evaluation.md": ("voc21/results.md", "methods/methods.png", "halves/cliper-tuning.png"),
    "docs/formats.md": ("coco/classes.json", "yolo/data.yaml"),
    "docs/large-pictures.md": ("masks/slide_labels.zarr", "masks/photo_labels.png", "labels.zarr"),
    "docs/tutorial.md": ("pictures/astronaut.png",),
}
SKIP = re.compile(r"<!--.*skip: .*-->")
SKIP_WITH_REASON = re.compile(r'<!--- skip: next "[^"]+" -->')


@pytest.fixture(scope="session")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All files that pages speak of."""
    folder = tmp_path_factory.mktemp("given")
    write_folder(folder)
    return folder


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models with few patches in Python, as the commands have them."""
    monkeypatch.setattr(nc, "load", partial(nc.load, changes=QUICK))


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", PAGES)
def test_what_a_page_shows_runs(name: str, given: Path, tmp_path: Path) -> None:
    folder = tmp_path / "page"
    shutil.copytree(given, folder)
    for place in set(OFTEN_MADE) - set(BEGINS_WITH.get(name, ())):
        (shutil.rmtree if (folder / place).is_dir() else os.remove)(folder / place)
    shell = Shell(folder, tmp_path / "shell", PROGRAMS)

    def bash(example: Example, run: bool = True) -> str | None:
        return shell.run(
            example.parsed,
            example.line + 1,  # the code begins below its fence
            lambda call: PROGRAMS[call.program](call, run),
            lenient=not run,
        )

    def preset(example: Example) -> None:
        """The page's TOML is a preset, and its commands' `mine.toml`."""
        (folder / "mine.toml").write_text(example.parsed)
        get_preset(folder / "mine.toml")

    document = Sybil(
        [
            SkipParser(),
            CodeBlockParser("bash", bash),
            CodeBlockParser("python", PythonEvaluator()),
            CodeBlockParser("toml", preset),
        ]
    ).parse(PAGES[name])
    document.namespace.update(viewer=ViewerModel(), image=photograph("cat"))
    with chdir(folder):
        for example in document:
            try:
                example.evaluate()
                continue
            except SkipTest:
                pass
            if example.region.evaluator is not bash:
                compile(example.parsed, name, "exec")
            elif wrong := bash(example, run=False):
                raise SybilFailure(example, f"parsed only: {wrong}")
    for place in MADE.get(name, ()):
        assert (folder / place).exists(), f"{name} promises {place}"


@pytest.mark.parametrize("name", PAGES)
def test_no_block_escapes(name: str) -> None:
    text = PAGES[name].read_text("utf-8")
    for token in MarkdownIt().parse(text):
        line = f"{name}, line {token.map[0] + 1}" if token.map else name
        assert token.type != "code_block", f"{line}: make this a fence with its language"
        if token.type == "fence":
            language = token.info.strip()
            assert language in LANGUAGES or language[:1] == "{", f"{line}: “{language}”"
    for comment in SKIP.findall(text):
        assert SKIP_WITH_REASON.fullmatch(comment), f"{name}: {comment} gives no reason"


def test_few_blocks_are_only_parsed(capsys: pytest.CaptureFixture[str]) -> None:
    texts = [page.read_text("utf-8") for page in PAGES.values()]
    skipped = sum(len(SKIP.findall(text)) for text in texts)
    blocks = sum(len(re.findall(r"^ *```(?:bash|python)$", text, re.MULTILINE)) for text in texts)
    with capsys.disabled():
        print(f"\n{skipped} of the pages' {blocks} blocks are only parsed")
    assert skipped < blocks / 3
