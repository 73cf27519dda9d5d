"""Zarr folders that would fill the memory."""

import numpy as np
import pytest
import zarr
from zarr.storage import LocalStore

from napari_cliper.errors import NapariCliperError
from napari_cliper.files.formats import formats
from napari_cliper.files.importing import read_annotations
from napari_cliper.files.zarr_bounds import check_chunks

# 8 × 8 labels, and what is unpacked for them.
HUGE = [
    {"chunks": (2**16, 2**16)},
    {"chunks": (2**8, 2**8), "shards": (2**16, 2**16)},
    {"chunks": (2**16, 2**16), "zarr_format": 2},
]


def array(path, **options):
    return zarr.create_array(LocalStore(path), shape=(8, 8), dtype=np.uint8, **options)


@pytest.mark.parametrize("options", HUGE)
def test_chunks_larger_than_memory_are_refused(tmp_path, options):
    with pytest.raises(NapariCliperError, match=r"65536 × 65536 values, 4\.0 GiB each, .* smaller"):
        check_chunks(array(tmp_path, **options), tmp_path)


@pytest.mark.parametrize("options", [{}, {"chunks": (2**15, 2**15)}, {"chunks": (2, 2)}])
def test_usual_chunks_are_none(tmp_path, options):
    check_chunks(array(tmp_path, **options), tmp_path)


@pytest.mark.parametrize("options", HUGE[:2])
def test_labels_in_such_chunks_are_not_read(tmp_path, options):
    named = {"version": "0.5", "image-label": {}, "multiscales": [{"datasets": [{"path": "0"}]}]}
    zarr.create_group(LocalStore(tmp_path / "a.zarr"), attributes={"ome": named})
    array(tmp_path / "a.zarr" / "0", **options)
    with pytest.raises(NapariCliperError, match=r"save it in smaller chunks"):
        list(read_annotations(tmp_path / "a.zarr", formats()["ome-zarr"]))
