"""`napari-cliper info`: what a report of a fault has to say of the machine."""

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

import typer

# What behaves differently from version to version; a Qt binding is one of the two.
PACKAGES = (
    *("napari-cliper", "napari", "PyQt6", "PySide6", "torch", "open_clip_torch", "diffusers"),
    *("transformers", "timm", "numpy", "scikit-image", "dask", "zarr", "pydantic"),
)


def info() -> None:
    """Print versions, devices, and which presets' weights are here: for a report of a fault."""
    for what, value in _lines():
        typer.echo(f"{what:16} {value}")


def _lines() -> Iterator[tuple[str, str]]:
    """What is known, in two columns; no folder's name, for that may be a person's."""
    yield "Python", f"{platform.python_version()} on {platform.platform()}"
    for package in PACKAGES:
        try:
            yield package, version(package)
        except PackageNotFoundError:
            yield package, "absent"
    yield from _devices()
    yield from _presets()


def _devices() -> Iterator[tuple[str, str]]:
    import torch

    from napari_cliper.benchmark import machine
    from napari_cliper.models.loading import devices

    cpu = torch.device("cpu")
    units = ", ".join(machine.units(cpu)) or "no units for matrices"
    yield "device cpu", f"{machine.name(cpu)} ({units}), {torch.get_num_threads()} threads"
    for name, title in devices().items():
        if name not in ("auto", "cpu"):
            yield f"device {name}", title


def _presets() -> Iterator[tuple[str, str]]:
    from napari_cliper.models import inventory, weights
    from napari_cliper.models.presets import load_presets

    folder = weights.user_folder()
    for name in load_presets():
        yield f"preset {name}", inventory.state(inventory.find(name), folder).where
