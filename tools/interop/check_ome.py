# /// script
# dependencies = [
#     "bioio", "bioio-ome-tiff", "bioio-ome-zarr", "napari-ome-zarr", "ome-types", "ome-zarr",
#     "ome-zarr-models", "pyqt6", "tifffile", "xmlschema",
# ]
# ///
"""The readers that others use read our OME files: axes, sizes, pixels, colours and names."""

import sys
from pathlib import Path

import bioio_ome_tiff
import bioio_ome_zarr
import numpy as np
import ome_types
import ome_zarr.io
import ome_zarr.reader
import ome_zarr_models
import ome_zarr_models.v05 as v05
import tifffile
import zarr
from bioio import BioImage
from napari.layers import Layer
from napari_ome_zarr import napari_get_reader

LABELS = "labels/classes"


def check_zarr(path: Path) -> None:
    """The models accept it, and each reader finds labels with colours and names."""
    root = zarr.open_group(path, mode="r")
    assert isinstance(ome_zarr_models.open_ome_zarr(root), v05.Image)
    assert v05.Labels.from_zarr(zarr.open_group(path / "labels", mode="r")).label_paths
    label = zarr.open_group(path / LABELS, mode="r")
    known = v05.ImageLabel.from_zarr(label).attributes.ome
    colors = {color.label_value: color.rgba for color in known.image_label.colors}
    full = np.asarray(label["0"])

    nodes = list(ome_zarr.reader.Reader(ome_zarr.io.parse_url(path))())
    (found,) = (node for node in nodes if node.load(ome_zarr.reader.Label))
    assert np.array_equal(found.data[0], full)
    assert set(found.metadata["color"]) == set(found.metadata["properties"]) == set(colors)

    above = set(path.parent.parent.glob("*"))
    (given,) = (one for one in napari_get_reader(str(path))() if one[2] == "labels")
    assert above == set(path.parent.parent.glob("*")), "it wrote a file"
    layer = Layer.create(*given)
    assert np.array_equal(layer.data[0] if layer.multiscale else layer.data, full)
    for id_, rgba in colors.items():
        assert np.allclose(layer.colormap.map(id_) * 255, rgba, atol=1), id_
    assert list(layer.features["index"]) == list(colors)

    image = BioImage(path, reader=bioio_ome_zarr.Reader)
    assert np.array_equal(np.squeeze(image.data), np.squeeze(full))


def check_tiff(path: Path) -> None:
    """Its XML is valid, and the axes and sizes are the same to all."""
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_ome
        assert len(tiff.series) == 1
        xml = str(tiff.ome_metadata)
        pixels = tiff.series[0].asarray()
    ome_types.validate_xml(xml)
    told = ome_types.from_xml(xml).images[0].pixels
    image = BioImage(path, reader=bioio_ome_tiff.Reader)
    assert np.array_equal(np.squeeze(image.data), np.squeeze(pixels))
    sizes = image.physical_pixel_sizes
    for axis in "XYZ":
        told_size = getattr(told, f"physical_size_{axis.lower()}")
        assert told_size is None or getattr(sizes, axis) == told_size, (axis, sizes)


def check(folder: Path) -> None:
    """All of what is in a folder."""
    zarrs = sorted((folder / "ome-zarr").glob("*.ome.zarr"))
    tiffs = sorted((folder / "ome-tiff").glob("*.ome.tif"))
    assert zarrs, "there is no OME-Zarr to check"
    assert tiffs, "there is no OME-TIFF to check"
    for path in zarrs:
        check_zarr(path)
    for path in tiffs:
        check_tiff(path)
    print(f"OME readers: {len(zarrs)} OME-Zarr and {len(tiffs)} OME-TIFF equal")


if __name__ == "__main__":
    check(Path(sys.argv[1]))
