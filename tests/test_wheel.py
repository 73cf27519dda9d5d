"""What is published: its contents, and that it works without the checkout."""

import ast
import email
import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

TOP = Path(__file__).parents[1]
VERSION = version("napari-cliper")
MEGABYTE = 10**6

# Opens napari as a person does, then a dock from the Plugins menu.
LOOK = """
import json
import napari
import napari_cliper
from qtpy.QtTest import QTest

window = napari.Viewer().window._qt_window
menu = window.menuBar()
for name in ("Plugins", "CLIPer"):
    menu = {action.text().replace("&", ""): action for action in menu.actions()}[name].menu()
    menu.aboutToShow.emit()
docks = {action.text(): action for action in menu.actions()}
docks["Segment with text (CLIPer)"].trigger()
from napari_cliper.widgets import SegmentWidget
for _ in range(100):
    QTest.qWait(50)
    if (opened := window.findChild(SegmentWidget)) is not None and opened.isVisible():
        break
print(json.dumps({"docks": list(docks), "opened": opened.isVisible(),
                  "from": napari_cliper.__file__}))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source distribution, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(TOP)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (path,) = built.glob("*.whl")
    assert path.name == f"napari_cliper-{VERSION}-py3-none-any.whl"
    return path


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of an environment with the wheel and the packages of this one, not the checkout."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    install = ["install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), *install],
        check=True,
        env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    )
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(subprocess.check_output([python, "-c", ask], text=True).strip())
    # A folder that is named like this is looked into; .pth files in it, by one of which the
    # checkout is found here, are not read.
    (site / "packages.pth").write_text(sysconfig.get_path("purelib"), "utf-8")
    return python


def run(python: Path, *arguments: object, cwd: Path) -> str:
    """What a process prints that has nothing of the checkout on its path."""
    done = subprocess.run(
        [python, *map(str, arguments)],
        cwd=cwd,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-4000:]}"
    return done.stdout


def test_what_the_wheel_holds(wheel: Path) -> None:
    assert wheel.stat().st_size < 10 * MEGABYTE
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.split("/")[0] for name in names} == {
        "napari_cliper",
        f"napari_cliper-{VERSION}.dist-info",
    }
    # All that lies in the package's folder, and nothing else.
    source = TOP / "src"
    files = [path for path in source.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert {path.relative_to(source).as_posix() for path in files} == {
        name for name in names if name.startswith("napari_cliper/")
    }
    for needed in ("napari.yaml", "py.typed", "models/presets.toml"):
        assert f"napari_cliper/{needed}" in names


def test_what_pypi_and_the_napari_hub_read(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        info = f"napari_cliper-{VERSION}.dist-info"
        entries = archive.read(f"{info}/entry_points.txt").decode()
        metadata = email.message_from_string(archive.read(f"{info}/METADATA").decode())
        licence = archive.read(f"{info}/licenses/LICENSE")
    assert "[napari.manifest]\nnapari-cliper = napari_cliper:napari.yaml" in entries
    assert licence == (TOP / "LICENSE").read_bytes()
    assert metadata["License-Expression"] == "BSD-3-Clause"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload().strip() == (TOP / "README.md").read_text("utf-8").strip()
    assert "Framework :: napari" in metadata.get_all("Classifier")
    # Whoever installs the plugin into napari has a Qt already.
    needed = [one for one in metadata.get_all("Requires-Dist") if "extra ==" not in one]
    assert not [one for one in needed if one.startswith(("PyQt", "PySide", "napari["))]


def test_what_the_source_distribution_holds(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    assert path.stat().st_size < 20 * MEGABYTE
    with tarfile.open(path) as archive:
        sizes = {one.name.partition("/")[2]: one.size for one in archive.getmembers()}
    assert max(sizes.values()) < 2 * MEGABYTE
    for needed in ("tests/conftest.py", "tests/data/published.json", "docs/formats.md", "LICENSE",
                   "tools/formats_table.py", "CONTRIBUTING.md", "Makefile"):  # fmt: skip
        assert needed in sizes
    assert not [name for name in sizes if name.split("/")[0] in (".ci", ".github", ".venv", "dist")]


def test_the_command_is_the_wheels(python: Path, tmp_path: Path) -> None:
    command = python.with_name("napari-cliper")
    assert run(python, command, "--version", cwd=tmp_path) == f"napari-cliper {VERSION}\n"
    assert "coco-panoptic" in run(python, command, "formats", cwd=tmp_path)
    code = "import napari_cliper, sys; print(napari_cliper.__file__, *sys.path, sep='\\n')"
    file, *places = run(python, "-c", code, cwd=tmp_path).splitlines()
    assert Path(file).is_relative_to(python.parents[1])
    assert str(TOP / "src") not in places


def test_napari_shows_the_docks(python: Path, wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        manifest = yaml.safe_load(archive.read("napari_cliper/napari.yaml"))
    seen = json.loads(run(python, "-c", LOOK, cwd=tmp_path).splitlines()[-1])
    assert seen["docks"] == [
        f"{dock['display_name']} (CLIPer)" for dock in manifest["contributions"]["widgets"]
    ]
    assert seen["opened"]
    assert Path(seen["from"]).is_relative_to(python.parents[1])


def imported() -> set[str]:
    """The packages of others that the source imports, by the names one imports."""
    names = set()
    for file in (TOP / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add((node.module or "").partition(".")[0])
    return names - set(sys.stdlib_module_names) - {"napari_cliper"}


def test_all_that_is_imported_is_asked_for(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        metadata = email.message_from_bytes(
            file.read(f"napari_cliper-{VERSION}.dist-info/METADATA")
        )
    asked = {canonicalize_name(Requirement(one).name) for one in metadata.get_all("Requires-Dist")}
    known = packages_distributions()
    missing = {
        name
        for name in imported()
        if not asked & {canonicalize_name(one) for one in known.get(name, [name])}
    }
    assert missing == set()
