"""What a person names, and which pictures that is."""

from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_cliper.batch.frames import extract, frames
from napari_cliper.batch.order import Order
from napari_cliper.batch.run import run
from napari_cliper.batch.sources import Sources, find_sources
from napari_cliper.batch.work import Recipe
from napari_cliper.cliper.steps import drain
from napari_cliper.errors import NapariCliperError

NAMES = ("cat9.png", "cat10.png", "more/cat9.png", "noise.png", "person.jpg")


def test_a_folder_is_looked_through_in_natural_order(pictures: Path, tmp_path: Path) -> None:
    (pictures / ".hidden.png").write_bytes(b"")
    (pictures / "cat9_labels.png").write_bytes(b"")
    (pictures / "notes.txt").write_text("no picture")
    found = find_sources([pictures], tmp_path / "out")
    assert found.top == pictures
    assert sorted(found.pictures) == sorted(NAMES)
    assert found.pictures.index("cat9.png") < found.pictures.index("cat10.png")
    assert find_sources([pictures, pictures / "noise.png"], tmp_path / "out") == found


def test_results_are_no_sources(pictures: Path) -> None:
    results = pictures / "cliper-review"
    results.mkdir()
    (results / "old.png").write_bytes(b"")
    for given in (str(pictures), f"{pictures}/**/*"):
        assert sorted(find_sources([given], results).pictures) == sorted(NAMES)


def test_masks_sessions_and_hidden_films_are_no_sources(pictures: Path, tmp_path: Path) -> None:
    (pictures / "cat9_labels.png").write_bytes(b"")
    (pictures / ".hidden").mkdir()
    (pictures / ".hidden" / "film.mp4").write_bytes(b"")
    (pictures / "._film.mp4").write_bytes(b"")
    session = pictures / "old" / "cat9.png.session"
    session.mkdir(parents=True)
    (session / "session.json").write_text("{}")
    (session / "refined.png").write_bytes(b"")
    for given in (str(pictures), f"{pictures}/**/*", f"{pictures}/more/../**/*.*"):
        assert sorted(find_sources([given], tmp_path / "out").pictures) == sorted(NAMES)


def test_a_picture_named_twice_is_one(pictures: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(pictures / "more")
    given = ["../cat9.png", str(pictures / "cat9.png"), "cat9.png"]
    found = find_sources(given, tmp_path / "out")
    assert (found.top, found.pictures) == (pictures, ("cat9.png", "more/cat9.png"))


def test_patterns_and_files(pictures: Path, tmp_path: Path) -> None:
    def names(*given: object) -> tuple[str, ...]:
        return find_sources([str(one) for one in given], tmp_path / "out").pictures

    assert names(f"{pictures}/cat*.png") == ("cat9.png", "cat10.png")
    assert names(f"{pictures}/**/cat*.png") == ("cat9.png", "cat10.png", "more/cat9.png")
    assert names(pictures / "noise.png", pictures / "more" / "cat9.png") == (
        "more/cat9.png",
        "noise.png",
    )
    one = find_sources([pictures / "more" / "cat9.png"], tmp_path / "out")
    assert one == Sources(pictures / "more", ("cat9.png",))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("missing.png", "There is no"),
        ("nothing*.png", "There are no pictures in"),
        ("empty", "There are no pictures in"),
    ],
)
def test_what_is_not_there_is_refused(tmp_path: Path, given: str, told: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(NapariCliperError, match=told):
        find_sources([str(tmp_path / given)], tmp_path / "out")


def test_two_pictures_with_one_stem_are_refused(pictures: Path, tmp_path: Path) -> None:
    Image.new("RGB", (20, 20)).save(pictures / "Cat9.bmp")
    with pytest.raises(NapariCliperError, match=r"written to the same files: rename one"):
        find_sources([pictures], tmp_path / "out")


def test_pages_of_a_tiff_become_pictures(tmp_path: Path) -> None:
    pages = np.arange(3 * 20 * 30, dtype=np.uint16).reshape(3, 20, 30)
    stack = tmp_path / "stack.tif"
    tifffile.imwrite(stack, pages, photometric="minisblack")
    results = tmp_path / "out"
    found = find_sources([stack], results)
    assert found == Sources(results / "frames", films=(stack,))
    names = drain(extract(found.films, found.top)).pictures
    assert names == tuple(f"stack/stack_{index:06}.png" for index in range(3))
    for name, page in zip(names, pages, strict=True):
        assert np.array_equal(np.asarray(Image.open(found.top / name)), page)


def test_pages_of_any_size_colour_and_compression(tmp_path: Path) -> None:
    grey = np.arange(20 * 30, dtype=np.uint8).reshape(20, 30)
    pages = [
        Image.fromarray(grey),
        Image.fromarray(np.stack([grey, grey[::-1], grey], axis=-1)[:, :25]),
        Image.fromarray(grey).convert("P"),
    ]
    pages[0].save(
        tmp_path / "scan.tif", save_all=True, append_images=pages[1:], compression="tiff_lzw"
    )
    found = find_sources([tmp_path], tmp_path / "out")
    names = drain(extract(found.films, found.top)).pictures
    shapes = [np.asarray(Image.open(found.top / name)).shape for name in names]
    assert shapes == [(20, 30), (20, 25, 3), (20, 30, 3)]
    assert np.array_equal(np.asarray(Image.open(found.top / names[1])), np.asarray(pages[1]))


def test_frames_of_another_film_are_not_taken_for_this_ones(tmp_path: Path) -> None:
    film, results = tmp_path / "film.tif", tmp_path / "out"
    pages = np.zeros((3, 20, 30), np.uint8)
    tifffile.imwrite(film, pages, photometric="minisblack")
    drain(extract((film,), results))
    with pytest.raises(NapariCliperError, match="frames of another film"):
        drain(extract((film,), results, every=2))
    tifffile.imwrite(film, pages[:2], photometric="minisblack")
    with pytest.raises(NapariCliperError, match="frames of another film"):
        drain(extract((film,), results))


def test_values_that_png_does_not_hold_are_cut_off_as_pages_are_taken(tmp_path: Path) -> None:
    film, results = tmp_path / "film.tif", tmp_path / "out"
    page = np.tile(np.array([1, 2], np.float32), (20, 15))
    page[0, 0] = 1e6
    tifffile.imwrite(film, np.stack([page, page]), photometric="minisblack")
    (name, _) = drain(extract((film,), results, percentiles=(1, 99))).pictures
    assert np.unique(np.asarray(Image.open(results / name))).tolist() == [0, 255]
    for percentiles in (None, (2, 98)):
        with pytest.raises(NapariCliperError, match="taken in another way"):
            drain(extract((film,), results, percentiles=percentiles))


def test_smaller_copies_of_a_page_are_no_pages(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "pyramid.tif") as file:
        file.write(np.zeros((40, 60), np.uint8))
        file.write(np.zeros((20, 30), np.uint8), subfiletype=1)
    assert find_sources([tmp_path], tmp_path / "out").pictures == ("pyramid.tif",)


def test_one_page_is_a_picture(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "grey.tif", np.zeros((20, 30), np.uint8))
    tifffile.imwrite(
        tmp_path / "planes.tif",
        np.zeros((3, 20, 30), np.uint8),
        photometric="rgb",
        planarconfig="separate",
    )
    found = find_sources([tmp_path], tmp_path / "out")
    assert found.pictures == ("grey.tif", "planes.tif")


def test_frames_of_a_video_become_pictures(tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    grey = np.linspace(0, 255, 9).astype(np.uint8)
    video = np.broadcast_to(grey[:, None, None, None], (9, 64, 96, 3)).copy()
    imageio.imwrite(film, video, plugin="pyav", codec="mpeg4", fps=10)
    assert sum(1 for _ in frames(film)) == 9
    found = find_sources([tmp_path], tmp_path / "out")
    names = drain(extract(found.films, found.top, every=4)).pictures
    assert names == tuple(f"film/film_{index:06}.png" for index in (0, 4, 8))
    means = [np.asarray(Image.open(found.top / name)).mean() for name in names]
    np.testing.assert_allclose(means, [0, 127, 255], atol=12)
    # What is there is not written again.
    times = [(found.top / name).stat().st_mtime_ns for name in names]
    assert drain(extract(found.films, found.top, every=4)).pictures == names
    assert [(found.top / name).stat().st_mtime_ns for name in names] == times


def test_a_film_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(b"no film")
    found = find_sources([tmp_path / "film.mp4"], tmp_path / "out")
    with pytest.raises(NapariCliperError, match=r"film\.mp4"):
        drain(extract(found.films, found.top))


def test_a_damaged_film_keeps_no_other_from_being_taken(tmp_path: Path, recipe: Recipe) -> None:
    pages = np.arange(3 * 20 * 30, dtype=np.uint16).reshape(3, 20, 30)
    tifffile.imwrite(tmp_path / "b.tif", pages, photometric="minisblack")
    tifffile.imwrite(tmp_path / "c.tif", pages, photometric="minisblack", compression="zlib")
    with tifffile.TiffFile(tmp_path / "c.tif") as tiff:
        offset = tiff.pages[1].dataoffsets[0]
    content = bytearray((tmp_path / "c.tif").read_bytes())
    content[offset : offset + 20] = bytes(20)
    (tmp_path / "c.tif").write_bytes(content)
    (tmp_path / "a.mp4").write_bytes(b"no film")
    order = Order((str(tmp_path),), tmp_path / "out", recipe)
    made = drain(order.plan())
    assert made.to_make == ["b/b_000000.png", "b/b_000001.png", "b/b_000002.png", "c/c_000000.png"]
    assert [Path(why.partition("”")[0]).name for why in made.failed] == ["a.mp4", "c.tif"]
    summary = drain(run(made, recipe))
    assert (summary.made, summary.lost, len(summary.failed)) == (4, 0, 2)
    assert "2 failed" in " ".join(summary.told(made))


def test_films_and_pictures_are_runs_of_their_own(pictures: Path, tmp_path: Path) -> None:
    tifffile.imwrite(
        pictures / "stack.tif", np.zeros((3, 20, 30), np.uint8), photometric="minisblack"
    )
    with pytest.raises(NapariCliperError, match="runs of their own"):
        find_sources([pictures], tmp_path / "out")
