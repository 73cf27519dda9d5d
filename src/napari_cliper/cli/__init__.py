"""The command `napari-cliper`: the same core without a window."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from napari_cliper.cli.batch import batch
from napari_cliper.cli.benchmark import benchmark
from napari_cliper.cli.classify import classify
from napari_cliper.cli.convert import convert
from napari_cliper.cli.evaluate import evaluate
from napari_cliper.cli.formats import formats
from napari_cliper.cli.gui import gui
from napari_cliper.cli.info import info
from napari_cliper.cli.models import models_app
from napari_cliper.cli.segment import segment
from napari_cliper.errors import NapariCliperError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Segment pictures by the words you type.",
)
for command in (segment, classify, batch, convert, formats, gui, evaluate, benchmark, info):
    app.command()(command)
app.add_typer(models_app, name="models")


def _print_version(wanted: bool) -> None:
    if wanted:
        from napari_cliper import __version__

        typer.echo(f"napari-cliper {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print it."),
    ] = False,
) -> None:
    """What stands before a command."""


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turn a user's mistake into one line on standard error and exit status 2."""
    try:
        yield
    except NapariCliperError as error:
        typer.echo(f"napari-cliper: {error}", err=True)
        sys.exit(2)


def main() -> None:
    """Run the command line."""
    with one_sentence():
        app()
