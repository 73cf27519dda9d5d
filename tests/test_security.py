"""What docs/security.md promises, beside what bandit and the fuzz tests hold."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]
OFFLINE = """
import socket
def refuse(*args, **kwargs):
    raise SystemExit(f"the network was asked for: {args[1:]}")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
import skimage.data
import napari_cliper as nc
model = nc.load("small", device="cpu", changes=["settings.shorter_side=224"])
result = model.segment(skimage.data.cat(), "cat; sofa")
nc.save_labels("cat.png", result)
assert nc.load_labels("cat.png")[0].any()
print("done")
"""


def test_a_segmentation_asks_for_no_network(tmp_path: Path) -> None:
    # In a process of its own, without what tells libraries to stay off the network.
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HF_") or k == "HF_HUB_CACHE"}
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE], cwd=tmp_path, env=kept, capture_output=True, text=True
    )
    assert done.stdout == "done\n", done.stderr


UNSAFE = """
import pickle
os.system("ls")
subprocess.run("ls", shell=True)
eval("1")
exec("1")
torch.load("a.pt")
marshal.loads(b"")
xml.etree.ElementTree.fromstring("<a/>")
tarfile.open("a").extractall()
urllib.request.urlopen("file:///a")
tempfile.mktemp()
"""


def test_bandit_finds_what_is_unsafe(tmp_path: Path) -> None:
    pytest.importorskip("bandit", reason="bandit is in the extra dev")
    lines = UNSAFE.strip().splitlines()
    modules = "os, subprocess, torch, marshal, xml.etree.ElementTree, tarfile, urllib.request"
    code = "\n".join([f"import {modules}, tempfile", *lines, ""])
    (tmp_path / "unsafe.py").write_text(code)
    command = [sys.executable, "-m", "bandit", "-q", "-f", "json", "-c", TOP / "pyproject.toml"]
    done = subprocess.run([*command, tmp_path / "unsafe.py"], capture_output=True, text=True)
    found = {result["line_number"] for result in json.loads(done.stdout)["results"]}
    missed = [line for number, line in enumerate(lines, 2) if number not in found]
    assert not missed


def calls(name: str) -> list[tuple[Path, ast.Call]]:
    """Where a method or function of this name is called in the source."""
    found = []
    for path in sorted((TOP / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            called = getattr(node, "func", None)
            if isinstance(node, ast.Call) and name in (
                getattr(called, "attr", None), getattr(called, "id", None)
            ):  # fmt: skip
                found.append((path, node))
    return found


# What bandit is told to leave to these tests: it knows no reason for an exception.
def test_yaml_makes_no_objects() -> None:
    for path, call in [*calls("load"), *calls("load_all"), *calls("unsafe_load")]:
        if ast.unparse(call.func).startswith("yaml."):
            loaders = {ast.unparse(word.value) for word in call.keywords if word.arg == "Loader"}
            assert loaders <= {"_LOADER", "yaml.BaseLoader"}, path
            assert loaders, path


def test_no_code_is_fetched_with_weights() -> None:
    for path in (TOP / "src").rglob("*.py"):
        text = path.read_text("utf-8")
        assert "trust_remote_code" not in text, path
        assert "torch.hub" not in text, path
    for path, call in calls("from_pretrained"):
        # Of tensors that are read already: nothing is looked up by a name.
        assert ast.unparse(call.args[0]) == "None", path
