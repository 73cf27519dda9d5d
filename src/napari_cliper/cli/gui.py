"""`napari-cliper gui`: napari with the dock widget in place."""

from pathlib import Path
from typing import Annotated

import typer

from napari_cliper.errors import NapariCliperError


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
