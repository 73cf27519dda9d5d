"""The figures that docs/results.md prints are those of the files they are said to be from."""

import re
from pathlib import Path

import pytest

from napari_cliper.evaluation.markdown import summary
from napari_cliper.evaluation.report import Report

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "results.md"
FILES = sorted((ROOT / "benchmarks" / "evaluation").glob("*.json"))


def test_there_are_results() -> None:
    assert FILES


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_page_has_the_tables_of_the_file(file: Path) -> None:
    report = Report.model_validate_json(file.read_bytes())
    _, mark, after = PAGE.read_text("utf-8").partition(f"<!-- {file.name}: ")
    assert mark
    told = after.partition("<!-- / -->")[0]
    assert f"\n{report.title}.\n" in told
    assert all(table.markdown() in told for table in summary(report))


def test_each_command_that_is_printed_has_a_file() -> None:
    told = set(re.findall(r"<!-- (\S+\.json): ", PAGE.read_text("utf-8")))
    assert told == {file.name for file in FILES}
