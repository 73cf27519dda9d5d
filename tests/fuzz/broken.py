"""Files that are wrong somewhere: bytes flipped, cut off, put in, JSON values replaced."""

import io
import json
import zipfile
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

NASTY = [
    None, True, 0, -1, 1, 2, 255, 256, 65535, 65536, 2**31, 2**63, -(2**63) - 1, 10**30, 10**400,
    0.5, -0.0, 1e308, float("nan"), float("inf"), -float("inf"), "", " ", "0", "cat", "Dog", "NaN",
    "../up", "..", "/etc/passwd", "C:\\x", "\\\\host\\share", "a\0b", "con.png", "~nobody/x",
    "é" * 300, "\ud800", "#12", "#zzzzzz", "hsl(1,2%,3%)", "hsv(0,0%,0%)", [], {}, [[]], [{}],
    {"": None}, [0, 0], [1e300, -1e300], [[1, 2], [3, 4]], [1] * 20, [[[[[[[[0]]]]]]]],
    {"id": 1, "name": "x"}, "2020-01-01T00:00:00Z", "data:image/png;base64,AAAA", "http://[x",
]  # fmt: skip


def nasty_values() -> st.SearchStrategy[Any]:
    """Values that a field of JSON seldom holds."""
    return st.recursive(
        st.sampled_from(NASTY) | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
        max_leaves=6,
    )


@st.composite
def broken_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """A file's bytes with a few of them changed, or others altogether."""
    broken = bytearray(content)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(len(broken) - 1, 0)))
        match draw(st.sampled_from(["flip", "flip", "cut", "put in", "zeros", "double"])):
            case "flip" if broken:
                broken[at] ^= draw(st.integers(1, 255))
            case "cut":
                end = draw(st.integers(at, len(broken)))
                del broken[at:end]
            case "put in":
                broken[at:at] = draw(st.binary(max_size=12))
            case "zeros":
                broken[at : at + 8] = bytes(len(broken[at : at + 8]))
            case "double":
                broken[at:at] = broken[at : at + 64]
    return bytes(broken) if draw(st.integers(0, 9)) else draw(st.binary(max_size=200))


@st.composite
def broken_json(draw: st.DrawFn, text: str | bytes) -> bytes:
    """JSON with one to three of its values replaced, left out, or under another name."""
    return json.dumps(_with_faults(draw, json.loads(text))).encode()


def _with_faults(draw: st.DrawFn, data: Any) -> Any:
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(data))
        if not places:
            return draw(nasty_values())
        holder, key = draw(st.sampled_from(places))
        match draw(st.sampled_from(["replace", "replace", "replace", "drop", "add", "repeat"])):
            case "replace":
                holder[key] = deepcopy(draw(nasty_values()))
            case "drop":
                del holder[key]
            case "add" if isinstance(holder, dict):
                holder[draw(st.text(max_size=4))] = deepcopy(draw(nasty_values()))
            case "repeat" if isinstance(holder, list):
                holder.append(deepcopy(holder[key]))
    return data


def _places(data: Any) -> Any:
    """Where there is a value: what holds it, and its key or index."""
    if isinstance(data, dict | list):
        for key in list(data) if isinstance(data, dict) else range(len(data)):
            yield data, key
            yield from _places(data[key])


@st.composite
def broken_lines(draw: st.DrawFn, text: str) -> bytes:
    """Text of which single words are replaced."""
    lines = [line.split(" ") for line in text.split("\n")]
    words = st.one_of(
        st.text(max_size=6),
        st.sampled_from(
            ["nan", "-1", "1e999", "9" * 40, "*a", "&a [*a]", "!!python/none", "[", "{"]
        ),
    )
    for _ in range(draw(st.integers(1, 3))):
        line = draw(st.sampled_from(lines))
        at = draw(st.integers(0, len(line)))
        line[at : at + draw(st.integers(0, 2))] = [draw(words)]
    return "\n".join(map(" ".join, lines)).encode(errors="surrogatepass")


def broken_file(name: str, content: bytes) -> st.SearchStrategy[bytes]:
    """A file that is wrong somewhere in the way its name tells."""
    ways = [broken_bytes(content)]
    if name.endswith((".json", ".zarray", ".zattrs", ".zgroup")):
        ways += [broken_json(content)] * 3
    elif name.endswith((".jsonl", ".txt", ".yaml", ".xml")):
        ways += [broken_lines(content.decode())] * 2
    elif name.endswith(".zip"):
        ways += [broken_zip(content)] * 3
    return st.one_of(ways)


@st.composite
def broken_zip(draw: st.DrawFn, content: bytes) -> bytes:
    """An archive of which one file is wrong."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    chosen = draw(st.sampled_from(sorted(files)))
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, inside in files.items():
            if name == chosen:
                inside = draw(broken_file(name, inside))
                name = draw(st.sampled_from([name, name, name, "../" + name, "/" + name, "a\\b"]))
            archive.writestr(name, inside)
    return made.getvalue()
