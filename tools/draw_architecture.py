"""Draw docs/images/architecture.svg: the way from words to masks, and who may import whom.

The layers are import-linter's contract in pyproject.toml, and what each module is for is the first
sentence of its docstring: the picture is true as long as it is drawn anew (tests/test_docs.py).
"""

import ast
import textwrap
import tomllib
from html import escape
from pathlib import Path

HOME = Path(__file__).parents[1]
SOURCE = HOME / "src" / "napari_cliper"
TARGET = HOME / "docs" / "images" / "architecture.svg"

WIDTH, MARGIN, GAP, LINE = 1200, 20, 12, 17
INK, SOFT, PAPER = "#1b2733", "#5b6b7a", "#ffffff"
FILLS = ["#fde7d3", "#fbf0cf", "#e8f3d2", "#d3efdf", "#d0edf0", "#d7e5f8", "#e4dff6", "#eceff2"]

# Each: text, where its left edge and top are, and how often it is made.
FLOW = [
    ("words", 20, 60, ""),
    ("class list", 185, 60, ""),
    ("text rows", 350, 60, "once a word"),
    ("picture", 20, 150, ""),
    ("RGB plane", 185, 150, ""),
    ("Encoding", 350, 150, "once a picture: seconds"),
    ("Scores", 560, 105, "words change: milliseconds"),
    ("Segmentation", 785, 105, "a slider moves: at once"),
    ("layers", 1020, 60, ""),
    ("files", 1020, 150, ""),
]
ARROWS = [(0, 1), (1, 2), (3, 4), (4, 5), (2, 6), (5, 6), (6, 7), (7, 8), (7, 9)]
FLOW_SIZE = (140, 44)
LAYERS_TOP = 270


def layers() -> list[list[str]]:
    """The modules of each layer, from the top down."""
    settings = tomllib.loads((HOME / "pyproject.toml").read_text("utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    [contract] = [one for one in contracts if one["type"] == "layers"]
    return [line.split(" | ") for line in contract["layers"]]


def purpose(module: str) -> str:
    """The first sentence of a module's docstring."""
    file = SOURCE / module / "__init__.py"
    tree = ast.parse((file if file.exists() else SOURCE / f"{module}.py").read_text("utf-8"))
    return (ast.get_docstring(tree) or "").partition("\n\n")[0].replace("\n", " ").replace("`", "")


def drawing() -> str:
    """The whole picture."""
    body, bottom = [*flow()], LAYERS_TOP
    body.append(_text(MARGIN, 32, "From words to masks", 20, INK, "bold"))
    title = "Who may import whom: each line only what stands below it"
    body.append(_text(MARGIN, LAYERS_TOP - 22, title, 20, INK, "bold"))
    for modules, fill in zip(layers(), FILLS, strict=True):
        shapes, height = layer(modules, bottom, fill)
        body += shapes
        bottom += height + GAP
    size = f'width="{WIDTH}" height="{bottom + 8}" viewBox="0 0 {WIDTH} {bottom + 8}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif">'
    arrow = f'<path d="M0,0 L9,4 L0,8 z" fill="{SOFT}"/>'
    marker = '<marker id="arrow" markerWidth="9" markerHeight="8" refX="8" refY="4" orient="auto">'
    paper = f'<rect width="{WIDTH}" height="{bottom + 8}" fill="{PAPER}"/>'
    top = [head, f"<defs>{marker}{arrow}</marker></defs>", paper]
    return "\n".join([*top, *body, "</svg>", ""])


def flow() -> list[str]:
    """The upper part: what is made of what."""
    width, height = FLOW_SIZE
    shapes = []
    for start, end in ARROWS:
        _, left, top, _ = FLOW[start]
        _, to_left, to_top, _ = FLOW[end]
        ends = f'x1="{left + width}" y1="{top + height // 2}" x2="{to_left}" '
        ends += f'y2="{to_top + height // 2}"'
        shapes.append(f'<line {ends} stroke="{SOFT}" stroke-width="2" marker-end="url(#arrow)"/>')
    for title, left, top, often in FLOW:
        fill = FILLS[5] if often else FILLS[7]
        shapes.append(_box(left, top, width, height, fill))
        shapes.append(_text(left + width // 2, top + 28, title, 16, INK, "bold", "middle"))
        shapes.append(_text(left + width // 2, top + height + 18, often, 13, SOFT, align="middle"))
    return shapes


def layer(modules: list[str], top: int, fill: str) -> tuple[list[str], int]:
    """One line of modules, and how high it is."""
    width = (WIDTH - 2 * MARGIN - GAP * (len(modules) - 1)) // len(modules)
    told = [textwrap.wrap(purpose(module), (width - 24) // 7) for module in modules]
    height = 40 + LINE * max(map(len, told))
    shapes = []
    for at, (module, lines) in enumerate(zip(modules, told, strict=True)):
        left = MARGIN + at * (width + GAP)
        shapes.append(_box(left, top, width, height, fill))
        shapes.append(_text(left + 12, top + 24, module, 16, INK, "bold"))
        for number, line in enumerate(lines):
            shapes.append(_text(left + 12, top + 44 + number * LINE, line, 13, INK))
    return shapes, height


def _box(left: int, top: int, width: int, height: int, fill: str) -> str:
    place = f'x="{left}" y="{top}" width="{width}" height="{height}" rx="6"'
    return f'<rect {place} fill="{fill}" stroke="{SOFT}"/>'


def _text(
    x: int, y: int, text: str, size: int, fill: str, weight: str = "normal", align: str = "start"
) -> str:
    style = f'font-size="{size}" font-weight="{weight}" text-anchor="{align}" fill="{fill}"'
    return f'<text x="{x}" y="{y}" {style}>{escape(text)}</text>'


if __name__ == "__main__":
    TARGET.write_text(drawing(), "utf-8")
    print(TARGET)
