"""What the pages' programs do here: run, or have their arguments checked.

Each is a function of a `Call` and of whether it shall run. What is only checked has to exist with
just these options and values, so that no page shows what is gone.
"""

import argparse
import importlib.metadata
import importlib.util
import io
import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
import traceback
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any
from unittest.mock import patch

from packaging.requirements import Requirement
from pip._internal.commands import create_command
from typer import BadParameter
from typer.main import get_command

from code_blocks.given import QUICK
from code_blocks.shell import Call, Done
from napari_cliper.cli import app, main, one_sentence
from napari_cliper.files.formats import format_of
from napari_cliper.files.pictures import read_picture
from napari_cliper.models.choices import Choices
from napari_cliper.models.presets import AUTO, get_preset

UsageError = BadParameter.__base__  # typer does not name it
ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
DEBIAN = re.compile(r"[a-z0-9][a-z0-9+.-]+")


class Person(io.StringIO):
    """Somebody at the keyboard, who says yes."""

    def isatty(self) -> bool:
        return True


@contextmanager
def called(call: Call) -> Iterator[tuple[io.StringIO, io.StringIO]]:
    """Be the process that was called: its folder, variables, arguments; and hear what it says."""
    output, error = io.StringIO(), io.StringIO()
    with (
        chdir(call.folder),
        patch.dict(os.environ, call.variables),
        patch.object(sys, "argv", [call.program, *call.arguments]),
        patch.object(sys, "stdin", Person("y\n")),
        redirect_stdout(output),
        redirect_stderr(error),
    ):
        yield output, error


def ended(call: Call, work: Callable[[], object]) -> Done:
    """How it ends to do this as the process that was called."""
    status = 0
    with called(call) as (output, error):
        try:
            work()
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
            if isinstance(stop.code, str):
                print(stop.code, file=error)
        except Exception:
            status = 1
            traceback.print_exc()
    return Done(status, output.getvalue(), error.getvalue())


def cliper(call: Call, run: bool) -> Done:
    """`napari-cliper`: run with few patches, but for the window, or its arguments checked."""
    command, arguments = get_command(app), list(call.arguments)
    while arguments and (below := getattr(command, "commands", {}).get(arguments[0])):
        command, arguments = below, arguments[1:]
    if run and command.name != "gui":
        if any(parameter.name == "changes" for parameter in command.params):
            call = replace(call, arguments=[*call.arguments, "--set", QUICK])
        return ended(call, main)

    def parse() -> None:
        try:
            given = command.make_context(command.name, arguments).params
        except UsageError as error:
            sys.exit(error.format_message())
        with one_sentence():
            _check_values(given, run)

    return ended(call, parse)


def _check_values(given: dict[str, Any], run: bool) -> None:
    """Refuse a value that is none, of options that take any text."""
    preset = given.get("preset", AUTO)
    for method in given.get("method", "cliper").split(","):
        choices = Choices(
            method, *(given.get(name) for name in ("encoder", "compensation")),
            given.get("precision", AUTO), given.get("changes") or (),
        )  # fmt: skip
        get_preset("small" if preset == AUTO else preset, choices.as_changes())
    for name in [given.get("to"), *(given.get("format_") or ())]:
        if name is not None:
            format_of(name)
    if run:  # a window: as far as before it opens
        for picture in given["images"] or ():
            read_picture(picture)


def make(call: Call, run: bool) -> Done:
    """`make`: what it would do, in the repository."""
    # Those by which a `make` that runs the tests would speak to this one.
    variables = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL")}
    done = subprocess.run(
        [shutil.which("make") or "make", "--dry-run", *call.arguments],
        cwd=ROOT,
        env=variables | call.variables,
        capture_output=True,
        text=True,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def python(call: Call, run: bool) -> Done:
    """`python`: `-c` is run; of a tool of the repository's the arguments are checked."""
    first, *rest = call.arguments
    if first == "-c":
        code = compile(rest[0], "<python -c>", "exec")
        return ended(call, lambda: exec(code, {"__name__": "__main__"}) if run else None)
    if first == "-m":
        if rest[0] == "pip":
            return pip(replace(call, arguments=rest[1:]), run)
        known = importlib.util.find_spec(rest[0]) is not None
        return Done(0 if known else 1, error="" if known else f"there is no module {rest[0]}")
    return ended(replace(call, arguments=rest), lambda: _parse_tool(ROOT / first, rest))


class Parsed(Exception):
    """The arguments of a tool are fine."""


def _parse_tool(tool: Path, arguments: list[str]) -> None:
    """Run a tool to where it has parsed its arguments; one that takes none is compiled."""
    source = tool.read_text("utf-8")
    compile(source, str(tool), "exec")
    if "argparse" not in source:
        if arguments and "sys.argv" not in source:
            sys.exit(f"{tool.name} takes no arguments: {arguments}")
        return
    parse = argparse.ArgumentParser.parse_args

    def parse_only(parser: argparse.ArgumentParser, *args: Any, **more: Any) -> None:
        parse(parser, *args, **more)
        raise Parsed

    with (
        patch.object(argparse.ArgumentParser, "parse_args", parse_only),
        patch.object(sys, "path", [str(tool.parent), *sys.path]),
    ):
        try:
            runpy.run_path(str(tool), run_name="__main__")
        except Parsed:
            return
    sys.exit(f"{tool.name} does not parse its arguments")


def pip(call: Call, run: bool) -> Done:
    """`pip`: by pip's own parser; our extras exist, and what is pinned is what the extras pin."""

    def check() -> None:
        name, *arguments = call.arguments
        _, named = create_command(name).parse_args(arguments)
        pinned = {need.name: need for need in map(Requirement, chain(*EXTRAS.values()))}
        for text in named:
            need = Requirement(re.sub(r"^\.(?=\[|$)", PROJECT["name"], text))
            if need.name == PROJECT["name"]:
                if unknown := need.extras - EXTRAS.keys():
                    sys.exit(f"there is no extra {unknown}")
            elif need.name not in pinned:
                sys.exit(f"{need.name} is in no extra of pyproject.toml")
            elif need.specifier and need.specifier != pinned[need.name].specifier:
                sys.exit(f"pyproject.toml says {pinned[need.name]}")

    return ended(call, check)


def apt(call: Call, run: bool) -> Done:
    """`apt-get`: simulated, where the lists of packages are there."""
    if call.arguments[0] not in ("install", "update"):
        return Done(1, error="only “install” and “update” are known here")
    lists = list(Path("/var/lib/apt/lists").glob("*Packages*"))
    if wrong := [name for name in call.arguments if not (name[0] == "-" or DEBIAN.fullmatch(name))]:
        return Done(1, error=f"these are no packages: {wrong}")
    if call.arguments[0] == "update" or not lists:
        return Done()
    done = subprocess.run(
        ["apt-get", "--simulate", *call.arguments], capture_output=True, text=True, check=False
    )
    return Done(done.returncode, done.stdout, done.stderr)


def sudo(call: Call, run: bool) -> Done:
    """`sudo`: the program behind it."""
    program, *arguments = call.arguments
    return PROGRAMS[program](replace(call, program=program, arguments=arguments), run)


def dask(call: Call, run: bool) -> Done:
    """`dask`: the arguments of its command, as distributed declares them."""
    name, *arguments = call.arguments
    commands = {one.name: one for one in importlib.metadata.entry_points(group="dask_cli")}
    return ended(call, lambda: commands[name].load().make_context(name, arguments))


def napari(call: Call, run: bool) -> Done:
    """`napari`: not run, for it wants a screen; `--info` is all that a page may ask of it."""
    known = call.arguments == ["--info"]
    return Done(0 if known else 1, error="" if known else "only “napari --info” is known here")


PROGRAMS: dict[str, Callable[[Call, bool], Done]] = {
    "apt-get": apt,
    "dask": dask,
    "make": make,
    "napari": napari,
    "napari-cliper": cliper,
    "pip": pip,
    "python": python,
    "sudo": sudo,
}
