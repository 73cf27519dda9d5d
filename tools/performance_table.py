"""Draw the tables of docs/performance.md anew, from benchmarks/results."""

from pathlib import Path

from napari_cliper.benchmark.report import Report

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- the tables are drawn by tools/performance_table.py -->\n", "<!-- /tables -->"


def tables() -> str:
    """A part for each file."""
    parts = []
    for file in sorted(RESULTS.glob("*.json")):
        report = Report.model_validate_json(file.read_bytes())
        parts.append(f"### {file.name}\n\n{report.markdown()}\n")
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    text = PAGE.read_text("utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(before + BEGIN + "\n" + tables() + END + after, "utf-8")
