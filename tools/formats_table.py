"""Draw the table of docs/formats.md anew."""

from pathlib import Path

from napari_cliper.files.formats import formats

PAGE = Path(__file__).parents[1] / "docs" / "formats.md"
BEGIN, END = "<!-- the table is drawn by tools/formats_table.py -->\n", "<!-- /table -->"
TITLES = (
    *("`--to`", "format", "pixels", "names", "colours", "ids", "objects", "empty pictures"),
    *("stacks", "void"),
)
COLUMNS = ("pixels", "names", "colors", "ids", "instances", "empty")


def table() -> str:
    """A row for each format."""
    lines = [f"| {' | '.join(TITLES)} |", "|---" * len(TITLES) + "|"]
    notes = []
    for known in formats().values():
        kept = [*(getattr(known.keeps, name) for name in COLUMNS), known.stacks]
        words = ["yes" if keeps else "no" for keeps in kept]
        void = "255" if known.void_label else "left out"
        lines.append(f"| `{known.key}` | {known.title} | {' | '.join(words)} | {void} |")
        notes.append(f"- **{known.title}.** {known.keeps.note}")
    return "\n".join([*lines, "", *notes]) + "\n\n"


if __name__ == "__main__":
    text = PAGE.read_text("utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(before + BEGIN + "\n" + table() + END + after, "utf-8")
