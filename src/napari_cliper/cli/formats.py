"""`napari-cliper formats`: what `convert` reads and writes."""

from rich.table import Table

from napari_cliper.cli.reporter import console


def formats() -> None:
    """List the formats of masks, and what each keeps."""
    from napari_cliper.files.formats import formats as known

    table = Table()
    for column in ("--to, --from", "format", "keeps", "to know"):
        table.add_column(column)
    for format_ in known().values():
        table.add_row(format_.key, format_.title, ", ".join(format_.keeps.kept), format_.keeps.note)
    console().print(table)
