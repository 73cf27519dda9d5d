"""Which pictures a split is, where a file lists them."""

import shutil
from pathlib import Path

import pytest

from drawn_pictures import draw, save_mask
from napari_cliper.errors import NapariCliperError
from napari_cliper.evaluation.source import Source

SPLITS = {"val": ("a", "b"), "train": ("c", "d")}


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    lists = tmp_path / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    for split, names in SPLITS.items():
        (lists / f"{split}.txt").write_text("\n".join(names))
        for name in names:
            draw(tmp_path / f"JPEGImages/{name}.jpg", (1, 1, 1, 1))
            save_mask(tmp_path / f"SegmentationClass/{name}.png", (1, 1, 1, 1))
    return tmp_path


def opened(root: Path, *names: str) -> list[str]:
    path = root / "list.txt"
    path.write_text("\n".join(names))
    dataset = Source("voc21", root, None, None, None, "").open(str(path), None)
    assert dataset.split == "list.txt"
    return [sample.name for sample in dataset.samples]


def test_listed_pictures_are_found_in_either_split(voc: Path) -> None:
    assert opened(voc, "a") == ["a"]
    assert opened(voc, "d.jpg", "c") == ["c", "d"]
    assert opened(voc, "d", "a") == ["a", "d"]


def test_without_a_list_a_split_is_itself(voc: Path) -> None:
    source = Source("voc21", voc, None, None, None, "")
    for split, names in ((None, SPLITS["val"]), *SPLITS.items()):
        assert tuple(sample.name for sample in source.open(split, None).samples) == names


def test_a_picture_that_is_in_none_is_named(voc: Path) -> None:
    with pytest.raises(NapariCliperError, match=r"list\.txt names “e”, which is none of the"):
        opened(voc, "a", "e")


def test_a_split_that_is_not_there_is_not_missed_unless_it_is_needed(voc: Path) -> None:
    (voc / "ImageSets/Segmentation/train.txt").unlink()
    assert opened(voc, "b") == ["b"]
    says = r"names “c”, .* may be in train, which cannot be read\. There is no file “.*train\.txt”"
    with pytest.raises(NapariCliperError, match=says):
        opened(voc, "b", "c")


def test_only_what_is_listed_need_be_unpacked(voc: Path) -> None:
    (voc / "ImageSets/Segmentation/val.txt").unlink()
    assert opened(voc, "c") == ["c"]
    shutil.rmtree(voc / "ImageSets")
    with pytest.raises(NapariCliperError, match=r"There is no file “.*val\.txt”"):
        opened(voc, "c")
