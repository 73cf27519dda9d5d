"""The command `napari-cliper`: the same core without a window."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from napari_cliper.cli.batch import batch
from napari_cliper.cli.benchmark import benchmark
from napari_cliper.cli.classify import classify
from napari_cliper.cli.convert import convert
from napari_cliper.cli.evaluate import evaluate
from napari_cliper.cli.formats import formats
from napari_cliper.cli.gui import gui
from napari_cliper.cli.models import models_app
from napari_cliper.cli.segment import segment
from napari_cliper.errors import NapariCliperError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Segment pictures by the words you type.",
)
for command in (segment, classify, batch, convert, formats, gui, evaluate, benchmark):
    app.command()(command)
app.add_typer(models_app, name="models")


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
