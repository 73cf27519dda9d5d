"""`napari-cliper convert`: masks of one tool as masks of another."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from napari_cliper.cli.options import Overwrite, class_list
from napari_cliper.cli.reporter import Reporter
from napari_cliper.errors import NapariCliperError

if TYPE_CHECKING:
    from napari_cliper.annotation.annotation import Annotation
    from napari_cliper.annotation.class_list import ClassList
    from napari_cliper.files.formats import Format
    from napari_cliper.files.importing import Numbering

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
    typer.Option(
        help="A classes.json that says what the labels mean, in place of the files' own; files "
        "that have names alone get its labels."
    ),
]
Layer = Annotated[
    Literal["refined", "coarse", "instances", "all"],
    typer.Option(help="What to take of a session; all there is if it has no refined mask."),
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
    layer: Layer = "refined",
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
    classes = None if classes_file is None else class_list(classes_file)
    wanted = None if only is None else _names(only)
    by_pattern(pattern, name="", picture="")  # a mistake in it shows before the work
    options = Options(void=void, masks=masks)
    with Reporter() as reporter:
        asked = _Asked(source, pictures, classes, layer, target.keeps.instances, reporter.say)

        def read() -> Iterator["Annotation"]:
            seen: dict[str, str] = {}
            kept: dict[str, str] = {}
            for annotation in _annotations(paths, asked):
                reporter.show(f"Converting {annotation.name}")
                for remark in annotation.remarks:
                    reporter.say(f"{annotation.name}: {remark}")
                seen |= {name.casefold(): name for name in annotation.classes.names}
                annotation = _chosen(annotation, wanted, pattern)
                kept |= {name.casefold(): name for name in annotation.classes.names}
                yield annotation
            # All has been read, and nothing is in its place yet.
            _check_known(wanted or (), seen)
            _check_known(() if void is None else [void.strip().casefold()], kept)

        if dry_run:
            for planned in preview(read(), target, output, options):
                state = "replaces another" if planned.taken else "new"
                reporter.say(f"{planned.place}: {_bytes(planned.nbytes)}, {state}")
            return
        written = export(read(), target, output, options, overwrite)
    typer.echo(f"Written to {output}: {_files(len(written))}")


@dataclass(frozen=True)
class _Asked:
    """How masks are to be read."""

    source: "Format | None"
    pictures: Path | None
    classes: "ClassList | None"
    layer: Layer
    objects: bool
    say: Callable[[str], None]


def _annotations(paths: list[Path], asked: _Asked) -> Iterator["Annotation"]:
    """All masks, and a word about what may be masks and is passed over."""
    from napari_cliper.files.importing import Numbering, left_out, within
    from napari_cliper.files.session import is_session

    numbering = Numbering()
    for path in paths:
        shown: set[Path | None] = set()
        found = within(path, asked.source)
        for one in found:
            session = asked.source is None and is_session(one)
            read = _of_session(one, asked) if session else _of_file(one, asked, numbering)
            for annotation in read:
                shown.add(annotation.picture)
                yield annotation
        left = [] if asked.source else [one for one in left_out(path, found) if one not in shown]
        if left:
            first = left[0].name
            asked.say(
                f"1 file in “{path}” is of no format that is known surely, “{first}”: "
                "it is left out."
                if len(left) == 1
                else f"{len(left)} files in “{path}” are of no format that is known surely, "
                f"“{first}” for one: they are left out."
            )


def _of_session(path: Path, asked: _Asked) -> Iterator["Annotation"]:
    """The layers of a session that were asked for, or a word if it has none of them."""
    from napari_cliper.annotation.annotation import with_all
    from napari_cliper.files.importing import session_annotations

    found = False
    for annotation in session_annotations(path, asked.objects, asked.layer):
        found = True
        if asked.classes is not None:
            classes = with_all(asked.classes, annotation.labels)
            annotation = replace(annotation, classes=classes)
        yield annotation
    if not found:
        asked.say(f"“{path}” holds no layer “{asked.layer}”: it is left out.")


def _of_file(path: Path, asked: _Asked, numbering: "Numbering") -> Iterator["Annotation"]:
    """The masks of a file, with the labels that the whole run has for names."""
    from napari_cliper.annotation.annotation import with_all
    from napari_cliper.files.importing import by_names, read_annotations, recognized
    from napari_cliper.files.nearby import classes_near

    format_ = asked.source or recognized(path)
    named = format_ is not None and format_.keeps.names and not format_.keeps.ids
    near = classes_near(path) if named else None
    if near is not None:
        numbering.note(near)
    for annotation in read_annotations(path, format_, asked.pictures):
        if asked.classes is not None and named:
            annotation = by_names(annotation, asked.classes)
        elif asked.classes is not None:
            classes = with_all(asked.classes, annotation.labels)
            annotation = replace(annotation, classes=classes)
        elif named and annotation.classes != near:
            annotation = numbering.renumbered(annotation)
        yield annotation


def _names(only: str) -> set[str]:
    """The names of classes, without regard to case.

    Raises
    ------
    NapariCliperError
        There are none.
    """
    if names := {name.strip().casefold() for name in only.split(";")} - {""}:
        return names
    raise NapariCliperError("No class is left to write: name at least one.")


def _chosen(annotation: "Annotation", wanted: set[str] | None, pattern: str) -> "Annotation":
    """With some of its classes, and another name, as they were asked for."""
    from napari_cliper.files.names import by_pattern, plain

    if wanted is not None:
        ids = [entry.id for entry in annotation.classes if entry.name.casefold() in wanted]
        if ids:
            annotation = annotation.only(ids)
        else:  # a class list is never empty: it keeps its own
            empty = annotation.labels * 0
            annotation = replace(annotation, labels=empty, instances=None)
    picture = annotation.picture.stem if annotation.picture else annotation.name
    return replace(annotation, name=plain(by_pattern(pattern, annotation.name, picture)))


def _check_known(wanted: Iterable[str], known: dict[str, str]) -> None:
    """Refuse a name that no picture knows; `known` has names without regard to case."""
    if known and (unknown := sorted(set(wanted) - known.keys())):
        raise NapariCliperError(
            f"“{unknown[0]}” is none of the classes: choose from {', '.join(known.values())}."
        )


def _bytes(count: int) -> str:
    return f"{count / 1000:.1f} kB" if count < 1e6 else f"{count / 1e6:.1f} MB"


def _files(count: int) -> str:
    return f"{count} file" if count == 1 else f"{count} files"
