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
from numpy.typing import NDArray
from truth import SCALE, check, classes, maps

LABELS = "labels/classes"


def check_zarr(path: Path, wanted: NDArray[np.uint16], ids: list[int]) -> None:
    """The models accept it, and each reader finds the labels with colours and names."""
    root = zarr.open_group(path, mode="r")
    assert isinstance(ome_zarr_models.open_ome_zarr(root), v05.Image)
    assert v05.Labels.from_zarr(zarr.open_group(path / "labels", mode="r")).label_paths
    label = zarr.open_group(path / LABELS, mode="r")
    known = v05.ImageLabel.from_zarr(label).attributes.ome
    colors = {color.label_value: color.rgba for color in known.image_label.colors}
    assert list(colors) == ids, colors
    check(f"zarr, {path.name}", np.asarray(label["0"]), wanted)

    nodes = list(ome_zarr.reader.Reader(ome_zarr.io.parse_url(path))())
    (found,) = (node for node in nodes if node.load(ome_zarr.reader.Label))
    check(f"ome-zarr, {path.name}", np.asarray(found.data[0]), wanted)
    assert set(found.metadata["color"]) == set(found.metadata["properties"]) == set(colors)

    above = set(path.parent.parent.glob("*"))
    (given,) = (one for one in napari_get_reader(str(path))() if one[2] == "labels")
    assert above == set(path.parent.parent.glob("*")), "it wrote a file"
    layer = Layer.create(*given)
    pixels = np.asarray(layer.data[0] if layer.multiscale else layer.data)
    check(f"napari-ome-zarr, {path.name}", pixels, wanted)
    assert tuple(layer.scale) == SCALE, layer.scale
    for id_, rgba in colors.items():
        assert np.allclose(layer.colormap.map(id_) * 255, rgba, atol=1), id_
    assert list(layer.features["index"]) == list(colors)

    image = BioImage(path, reader=bioio_ome_zarr.Reader)
    check(f"bioio, {path.name}", np.squeeze(image.data), wanted)


def check_tiff(path: Path, wanted: NDArray[np.uint16]) -> None:
    """Its XML is valid, and the labels and sizes are the same to all."""
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_ome
        assert len(tiff.series) == 1
        xml = str(tiff.ome_metadata)
        check(f"tifffile, {path.name}", tiff.series[0].asarray(), wanted)
    ome_types.validate_xml(xml)
    told = ome_types.from_xml(xml).images[0].pixels
    image = BioImage(path, reader=bioio_ome_tiff.Reader)
    check(f"bioio, {path.name}", np.squeeze(image.data), wanted)
    assert (told.physical_size_y, told.physical_size_x) == SCALE, told
    sizes = image.physical_pixel_sizes
    assert (sizes.Y, sizes.X) == SCALE, sizes


def main(folder: Path) -> None:
    """Both files of each picture."""
    ids = list(classes(folder))
    wanted = dict(maps(folder))
    assert wanted, "there is nothing to check"
    for name, labels in wanted.items():
        check_zarr(folder / "ome-zarr" / f"{name}.ome.zarr", labels, ids)
        check_tiff(folder / "ome-tiff" / f"{name}.ome.tif", labels)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
