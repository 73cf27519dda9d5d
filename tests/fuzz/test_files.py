"""Whatever a file holds, its reader gives what it holds or refuses it."""

import tempfile
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image

from annotations import ours
from fuzz.broken import NASTY, broken_bytes, broken_file, broken_json
from fuzz.examples import allowed, fuzz
from fuzz.own_files import LABELS, SESSION, saved_session
from napari_cliper.annotation.annotation import Annotation
from napari_cliper.annotation.review import Entry, Review
from napari_cliper.annotation.session import Session
from napari_cliper.files.exporting import export
from napari_cliper.files.formats import Options, formats
from napari_cliper.files.importing import left_out, read_annotations, recognized, within
from napari_cliper.files.indexed_png import load_labels
from napari_cliper.files.napari_io import get_reader, read
from napari_cliper.files.pictures import read_pages, read_picture
from napari_cliper.files.review import open_review, reviewed, saved_review
from napari_cliper.files.session import is_session, load_session, read_session

FORMATS = formats()
NAMES = [
    "a.png", "a.json", "a.zip", "a.tif", "a.ome.tif", "a.txt", "a.yaml", "a.jpg", "a.gif",
    "classes.json", "metadata.jsonl", "session.json", "review.json", "zarr.json", ".zgroup",
    "data.yaml", "classes.txt", "labelmap.txt", "id2label.json",
]  # fmt: skip
BEGINNINGS = [
    b"", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"II+\0\x08\0", b"PK\3\4", b"\xff\xd8\xff",
    b"GIF89a", b"BM", b"RIFF", b'{"', b"[{", b"names: [", b"0 0.1 0.1 ", b"\xef\xbb\xbf{}",
]  # fmt: skip


@cache
def written(key: str, masks: bool) -> dict[str, bytes]:
    """What a format writes of two pictures: of each file, its path and content."""
    with tempfile.TemporaryDirectory() as hidden:
        folder = Path(hidden, "out")
        classes = ours("cat", "dog = hound", "sofa")
        several = [Annotation(name, LABELS, classes) for name in ("one", "two")]
        export(several, FORMATS[key], folder, Options(masks=masks))
        Image.fromarray(np.zeros(LABELS.shape, np.uint8)).save(folder / "one.jpg")
        return content_of(folder)


def content_of(folder: Path) -> dict[str, bytes]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def put(files: dict[str, bytes], folder: Path) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def check_reading(path: Path, format_=None) -> None:
    """All that may be done with a file that somebody gives."""
    assert isinstance(is_session(path), bool)
    found = recognized(path)
    for known in {found, format_} - {None}:
        for annotation in allowed(lambda k=known: list(read_annotations(path, k))) or []:
            check_annotation(annotation)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # remarks
        reader = get_reader(str(path))
        layers = (allowed(reader, str(path)) if reader else None) or []
    for _, attributes, _ in layers:
        assert np.all(np.isfinite(attributes.get("translate", 0)))


def check_annotation(annotation: Annotation) -> None:
    labels = annotation.labels
    assert labels.dtype == np.uint16
    assert {*np.unique(labels).tolist()} <= {0, *annotation.classes.ids}
    assert annotation.instances is None or annotation.instances.shape == labels.shape
    assert len(annotation.scale) in (0, labels.ndim)
    assert all(isinstance(size, float) and 0 < size < np.inf for size in annotation.scale)
    assert len(annotation.units) in (0, labels.ndim)
    assert all(isinstance(remark, str) for remark in annotation.remarks)


@pytest.mark.parametrize("key", [*FORMATS])
@fuzz(0.04, data=st.data())
def test_any_fault_in_a_file_of_a_format(key, data):
    files = dict(written(key, data.draw(st.booleans())))
    several = st.lists(st.sampled_from(sorted(files)), min_size=1, max_size=2, unique=True)
    for chosen in data.draw(several):
        files[chosen] = data.draw(broken_file(chosen, files[chosen]))
    if data.draw(st.integers(0, 4)) == 0:
        del files[data.draw(st.sampled_from(sorted(files)))]
    with tempfile.TemporaryDirectory() as hidden:
        folder = Path(hidden)
        put(files, folder)
        tops = {name.partition("/")[0] for name in files}
        for path in [folder, *(folder / name for name in sorted({*tops, chosen}))]:
            if path.exists():
                check_reading(path, FORMATS[key])
        found = allowed(within, folder) or []
        allowed(left_out, folder, found)


@fuzz(
    0.1,
    name=st.sampled_from(NAMES),
    content=st.builds(bytes.__add__, st.sampled_from(BEGINNINGS), st.binary(max_size=300)),
    key=st.sampled_from([*FORMATS]),
)
def test_any_bytes(name, content, key):
    with tempfile.TemporaryDirectory() as hidden:
        path = Path(hidden, name)
        path.write_bytes(content)
        check_reading(path, FORMATS[key])
        check_reading(path.parent, FORMATS[key])
        allowed(read_picture, path)
        allowed(lambda: list(read_pages(path)))
        allowed(load_labels, path)
        allowed(load_session, path.parent)
        allowed(saved_review, path.parent)


@fuzz(0.06, data=st.data())
def test_any_fault_in_a_picture(data):
    kind = data.draw(st.sampled_from(["PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF"]))
    compression = data.draw(st.sampled_from(["raw", "tiff_deflate", "tiff_lzw", "jpeg"]))
    with tempfile.TemporaryDirectory() as hidden:
        path = Path(hidden, "picture.png")
        picture = Image.fromarray(np.arange(48 * 32, dtype=np.uint8).reshape(32, 48) % 251)
        more = {"compression": compression} if kind == "TIFF" else {}
        picture.save(path, kind, **more)
        path.write_bytes(data.draw(broken_bytes(path.read_bytes())))
        pixels = allowed(read_picture, path)
        assert pixels is None or (pixels.ndim in (2, 3) and pixels.dtype.kind in "buif")
        for page in allowed(lambda: list(read_pages(path))) or []:
            assert page.ndim in (2, 3)


@fuzz(0.06, content=broken_json(SESSION) | broken_bytes(SESSION))
def test_any_session(content):
    found = allowed(Session.from_json, content)
    if found is not None:
        text = found.to_json().encode("utf-8", "surrogatepass")
        assert Session.from_json(text) == found


@fuzz(0.05, data=st.data())
def test_any_fault_in_a_session_folder(data):
    files = dict(saved_session())
    chosen = data.draw(st.sampled_from(sorted(files)))
    files[chosen] = data.draw(broken_file(chosen, files[chosen]))
    with tempfile.TemporaryDirectory() as hidden:
        folder = Path(hidden)
        put(files, folder)
        allowed(read_session, folder)
        loaded = allowed(load_session, folder)
        if loaded is not None:
            for maps in loaded.maps:
                assert maps.labels.shape == loaded.session.picture.size
        check_reading(folder)


REVIEW = Review(
    entries=(Entry(picture="a.png"), Entry(picture="b/c.jpg", uncertainty=0.5)),
    gone=(Entry(picture="d.png"),),
    pictures="..",
    masks_from="masks",
).to_json()


@fuzz(0.06, content=broken_json(REVIEW) | broken_bytes(REVIEW.encode()))
def test_any_review(content):
    with tempfile.TemporaryDirectory() as hidden:
        results = Path(hidden, "cliper-review")
        put({"a.png": b"", "b/c.jpg": b"", "cliper-review/review.json": content}, Path(hidden))
        found = allowed(saved_review, results)
        if found is not None:
            assert Review.from_json(found.to_json()) == found
        allowed(reviewed, results)
        opened = allowed(open_review, hidden)
        if opened is not None:
            folder, review = opened
            for entry in (*review.entries, *review.gone):
                inside = folder.session(entry)
                assert results in inside.parents
                assert not folder.has_session(entry)
                folder.proposal(entry)


@fuzz(0.02, name=st.text(max_size=20) | st.sampled_from([n for n in NASTY if isinstance(n, str)]))
def test_any_path(name):
    path = Path("/nowhere at all", name.lstrip("/"))
    recognized(path)
    is_session(path)
    for function in (read_picture, load_labels, load_session, saved_review, within):
        allowed(function, path)
    for known in FORMATS.values():
        allowed(lambda k=known: list(read_annotations(path, k)))
    if reader := get_reader(str(path)):
        allowed(reader, str(path))
    allowed(read, str(path))
