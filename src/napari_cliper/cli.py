"""The command `napari-cliper`: the same core without a window."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from napari_cliper.annotation.class_list import ClassList
from napari_cliper.errors import NapariCliperError
from napari_cliper.images import to_rgb

if TYPE_CHECKING:
    from napari_cliper.cliper.steps import Steps, T
    from napari_cliper.segmenter import Result, Segmenter

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Segment pictures by the words you type.",
)

LABELS, OVERLAY = "_labels.png", "_overlay.png"

Images = Annotated[list[Path], typer.Argument(help="Pictures: PNG, JPEG, TIFF, …")]
Classes = Annotated[
    str, typer.Option(help='What to look for, for example "cat; sofa = couch, settee".')
]
PresetName = Annotated[
    str, typer.Option("--preset", help="auto, small, base, large, huge, or a preset file's path.")
]
Output = Annotated[Path, typer.Option(help="Folder to write to.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Weights = Annotated[
    Path | None, typer.Option(help="Folder with weights, looked at before all others.")
]
Download = Annotated[
    bool, typer.Option("--download", help="Fetch weights that are missing; they can be gigabytes.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")]


@app.command()
def segment(
    images: Images,
    classes: Classes,
    preset: PresetName = "auto",
    output: Output = Path("napari-cliper-output"),
    device: Device = "auto",
    weights: Weights = None,
    download: Download = False,
    overwrite: Overwrite = False,
) -> None:
    """Write an indexed PNG and an overlay for each picture, and classes.json beside them."""
    from napari_cliper.files.indexed_png import save_labels
    from napari_cliper.files.overlay import save_overlay
    from napari_cliper.files.pictures import read_picture

    # All mistakes show before the long work.
    class_list = ClassList.parse(classes)
    for image in images:
        to_rgb(read_picture(image))
    targets = plan(images, output, class_list, overwrite)
    with Reporter() as reporter:
        reporter.show("Loading the libraries")
        from napari_cliper.segmenter import load_steps

        model: Segmenter = reporter.run(load_steps(preset, device, weights, download))
        if model.note:
            reporter.say(model.note)
        for image, target in zip(images, targets, strict=True):
            picture = read_picture(image)
            start = time.perf_counter()
            result = reporter.run(model.segment_steps(picture, class_list))
            seconds = time.perf_counter() - start
            save_labels(target.labels, result, overwrite=overwrite)
            save_overlay(target.overlay, picture, result.labels, class_list, overwrite=overwrite)
            reporter.say(summary(image.name, result, seconds))
    typer.echo(f"Written to {output}")


@app.command()
def gui(
    images: Annotated[
        list[Path] | None, typer.Argument(help="Pictures to open; without any, a sample.")
    ] = None,
) -> None:
    """Open napari with the dock widget in place."""
    from napari_cliper.files.pictures import read_picture

    pictures = [(path, read_picture(path)) for path in images or ()]
    try:
        import napari
        from napari.qt import get_qapp  # noqa: F401
    except ImportError as error:
        raise NapariCliperError(
            'napari finds no Qt to draw its window with: pip install "napari-cliper[all]".'
        ) from error
    viewer = napari.Viewer()
    for path, picture in pictures:
        viewer.add_image(picture, name=path.stem)
    if not pictures:
        viewer.open_sample("napari-cliper", "cat")
    viewer.window.add_plugin_dock_widget("napari-cliper", "Segment with text")
    napari.run()


@dataclass(frozen=True)
class Target:
    """The files that come of one picture."""

    labels: Path
    overlay: Path


def plan(images: list[Path], output: Path, classes: ClassList, overwrite: bool) -> list[Target]:
    """Where each picture's results go.

    Raises
    ------
    NapariCliperError
        If two pictures would be written to the same file, a file is there already, or the folder
        cannot be written.
    """
    from napari_cliper.files.atomic import check_free, check_writable
    from napari_cliper.files.indexed_png import check_target

    stems: dict[str, Path] = {}
    for image in images:
        if image.stem in stems:
            raise NapariCliperError(
                f"{stems[image.stem]} and {image} would be written to the same files: "
                "segment them into different folders."
            )
        stems[image.stem] = image
    targets = [Target(output / (stem + LABELS), output / (stem + OVERLAY)) for stem in stems]
    check_writable(output)
    try:
        for target in targets:
            check_target(target.labels, classes, overwrite)
            check_free(target.overlay, overwrite)
    except NapariCliperError as error:
        raise NapariCliperError(f"{error} Here: --overwrite, or another --output.") from error
    return targets


def summary(name: str, result: "Result", seconds: float) -> Table:
    """What was found: class, presence, share of pixels; and how long it took."""
    table = Table(title=f"{name}: {seconds:.1f} s", title_justify="left")
    table.add_column("class")
    for column in ("presence", "share of pixels"):
        table.add_column(column, justify="right")
    for entry, presence in zip(result.classes, result.presence, strict=True):
        share = np.mean(result.labels == entry.id)
        table.add_row(entry.name, f"{presence:.2f}", f"{share:.1%}")
    return table


class Reporter:
    """Shows steps by name on the terminal: even the shortest run takes seconds."""

    def __init__(self) -> None:
        # Names are a person's words, not rich's markup.
        plain = {"markup": False, "emoji": False, "highlight": False}
        self._console = Console(**plain)  # type: ignore[arg-type]
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True, **plain),  # type: ignore[arg-type]
            transient=True,
        )
        self._task = self._progress.add_task("", total=1)

    def __enter__(self) -> "Reporter":
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def run(self, steps: "Steps[T]") -> "T":
        """Drive a generator of steps to its result."""
        from napari_cliper.cliper.steps import drain

        return drain(steps, lambda step: self.show(step.name, step.done, step.total))

    def show(self, name: str, done: int = 0, total: int = 1) -> None:
        """Name the work that is about to be done, and how much of it is over."""
        self._progress.update(self._task, description=name, completed=done, total=total)
        self._progress.start()

    def say(self, what: "str | Table") -> None:
        """Print a line or a table on standard output, above the bar."""
        self._progress.stop()
        self._console.print(what)


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
