"""Put the tables of docs/results.md in anew, from the JSON files beside this one."""

from pathlib import Path

from napari_cliper.evaluation.markdown import summary
from napari_cliper.evaluation.report import Report

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "results.md"


def section(file: Path) -> str:
    """What stands between the marks of a file, marks included."""
    report = Report.model_validate_json(file.read_bytes())
    tables = (table.markdown() for table in summary(report))
    return "\n\n".join([begin(file), f"{report.title}.", *tables, END])


def begin(file: Path) -> str:
    """The mark before a file's tables."""
    return f"<!-- {file.name}: written by benchmarks/evaluation/write_results.py -->"


END = "<!-- / -->"


def write() -> None:
    """Put each file's tables between its marks."""
    text = PAGE.read_text("utf-8")
    for file in sorted(HERE.glob("*.json")):
        before, mark, rest = text.partition(begin(file))
        if not mark:
            raise SystemExit(f"{PAGE} has no mark for {file.name}: add {begin(file)} and {END}.")
        text = before + section(file) + rest.partition(END)[2]
    PAGE.write_text(text, "utf-8")


if __name__ == "__main__":
    write()
