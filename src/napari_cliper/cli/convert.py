"""`napari-cliper convert`: masks of one tool as masks of another."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_cliper.cli.options import Overwrite
from napari_cliper.cli.reporter import Reporter
from napari_cliper.errors import NapariCliperError

if TYPE_CHECKING:
    from napari_cliper.annotation.annotation import Annotation
    from napari_cliper.annotation.class_list import ClassList
    from napari_cliper.files.formats import Format

Paths = Annotated[
    list[Path],
    typer.Argument(help="Files of masks, session folders, or folders of such files."),
]
To = Annotated[
    str, typer.Option("--to", help="The format to write: “napari-cliper formats” lists them.")
]
From = Annotated[
    str | None, typer.Option("--from", help="The format to read; found out unless given.")
]
Output = Annotated[Path, typer.Option(help="Folder to write to.")]
Pictures = Annotated[
    Path | None, typer.Option(help="Folder of the pictures; else they are looked for nearby.")
]
ClassesFile = Annotated[
    Path | None,
    typer.Option(help="A classes.json that says what the labels mean, in place of the files' own."),
]
Only = Annotated[
    str | None, typer.Option(help="Names of classes, separated by semicolons: no others.")
]
Void = Annotated[
    str | None,
    typer.Option(
        help="The class of pixels that nobody has decided: 255 in an indexed PNG, left out "
        "of formats of objects."
    ),
]
Masks = Annotated[bool, typer.Option("--masks", help="Bitmaps where polygons are usual.")]
Pattern = Annotated[
    str, typer.Option(help="What files are called: {name} as it was read, {picture} its picture.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Tell what would be written.")]


def convert(
    paths: Paths,
    to: To,
    from_: From = None,
    output: Output = Path("napari-cliper-output"),
    pictures: Pictures = None,
    classes_file: ClassesFile = None,
    only: Only = None,
    void: Void = None,
    masks: Masks = False,
    pattern: Pattern = "{name}",
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
) -> None:
    """Read masks of any format and write them in another, with classes.json beside them."""
    from napari_cliper.files.exporting import export, preview
    from napari_cliper.files.formats import Options, format_of
    from napari_cliper.files.names import by_pattern

    target = format_of(to)
    source = None if from_ is None else format_of(from_)
    classes = None if classes_file is None else _class_list(classes_file)
    by_pattern(pattern, name="", picture="")  # a mistake in it shows before the work
    options = Options(void=void, masks=masks)
    with Reporter() as reporter:

        def read() -> Iterator["Annotation"]:
            for annotation in _annotations(paths, source, pictures):
                reporter.show(f"Converting {annotation.name}")
                for remark in annotation.remarks:
                    reporter.say(f"{annotation.name}: {remark}")
                yield _chosen(annotation, classes, only, pattern)

        if dry_run:
            for planned in preview(read(), target, output, options):
                state = "replaces another" if planned.taken else "new"
                reporter.say(f"{planned.place}: {_bytes(planned.nbytes)}, {state}")
            return
        written = export(read(), target, output, options, overwrite)
    typer.echo(f"Written to {output}: {_files(len(written))}")


def _annotations(
    paths: list[Path], source: "Format | None", pictures: Path | None
) -> Iterator["Annotation"]:
    from napari_cliper.files.importing import read_annotations, session_annotations, within
    from napari_cliper.files.session import is_session

    for path in paths:
        for found in within(path, source):
            if source is None and is_session(found):
                yield from session_annotations(found)
            else:
                yield from read_annotations(found, source, pictures)


def _chosen(
    annotation: "Annotation", classes: "ClassList | None", only: str | None, pattern: str
) -> "Annotation":
    """With other classes, some of them, and another name, as they were asked for."""
    from napari_cliper.annotation.annotation import with_all
    from napari_cliper.files.names import by_pattern, plain

    if classes is not None:
        annotation = replace(annotation, classes=with_all(classes, annotation.labels))
    if only is not None:
        # One that a picture does not know has no pixel there.
        wanted = {name.strip().casefold() for name in only.split(";")} - {""}
        known = {entry.name.casefold(): entry.id for entry in annotation.classes}
        if unknown := sorted(wanted - known.keys()):
            raise NapariCliperError(
                f"“{unknown[0]}” is none of the classes of “{annotation.name}”: choose from "
                f"{', '.join(annotation.classes.names)}."
            )
        annotation = annotation.only([known[name] for name in wanted])
    picture = annotation.picture.stem if annotation.picture else annotation.name
    return replace(annotation, name=plain(by_pattern(pattern, annotation.name, picture)))


def _class_list(path: Path) -> "ClassList":
    from napari_cliper.annotation.class_list import ClassList
    from napari_cliper.files.pictures import explained

    with explained(path):
        text = path.read_bytes()
    try:
        return ClassList.from_json(text)
    except NapariCliperError as error:
        raise NapariCliperError(f"In “{path}”: {error}") from error


def _bytes(count: int) -> str:
    return f"{count / 1000:.1f} kB" if count < 1e6 else f"{count / 1e6:.1f} MB"


def _files(count: int) -> str:
    return f"{count} file" if count == 1 else f"{count} files"
