import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from annotations import ours
from napari_cliper.annotation.annotation import Annotation
from napari_cliper.annotation.class_list import ClassEntry, ClassList
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.exporting import export
from napari_cliper.files.formats import Options, format_of
from napari_cliper.files.formats.binary import KEY
from napari_cliper.files.importing import read_annotations, recognized

BINARY = format_of("binary")
CLASSES = ClassList(
    classes=(
        ClassEntry(id=7, name="dog/cat", synonyms=("pet",), color=(1, 2, 3)),
        ClassEntry(id=2, name="Straße", color=(4, 5, 6)),
        ClassEntry(id=300, name="nothing of it"),
    )
)
LABELS = np.zeros((4, 6), np.uint16)
LABELS[1:, :2], LABELS[0] = 7, 2
LEFT = np.zeros((4, 6), np.uint8)
LEFT[:, :3] = 255
RIGHT = 255 - LEFT


def mask(path, pixels, text=None):
    """A mask as other tools write it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    info = PngInfo()
    if text is not None:
        info.add_itxt(KEY, text)
    Image.fromarray(pixels).save(path, pnginfo=info)


def read(path, format_=BINARY):
    (found,) = read_annotations(path, format_)
    return found


def names(annotation):
    return {entry.id: entry.name for entry in annotation.classes}


def test_other_programs_see_black_and_white(tmp_path):
    export([Annotation("photo", LABELS, CLASSES)], BINARY, tmp_path)
    files = sorted(path.name for path in (tmp_path / "photo").iterdir())
    assert files == ["002_Straße.png", "007_dog_cat.png", "300_nothing of it.png"]
    for name, id_ in zip(files, (2, 7, 300), strict=True):
        with Image.open(tmp_path / "photo" / name) as picture:
            assert picture.mode == "L"
            pixels = np.array(picture)
        assert np.array_equal(pixels, np.isin(LABELS, [id_]) * 255)


def test_the_files_alone_tell_their_classes(tmp_path):
    export([Annotation("photo", LABELS, CLASSES)], BINARY, tmp_path)
    (tmp_path / "classes.json").unlink()
    assert recognized(tmp_path / "photo") is BINARY
    found = read(tmp_path / "photo")
    assert found.name == "photo"
    np.testing.assert_array_equal(found.labels, LABELS)
    assert set(found.classes) == set(CLASSES)
    one = read(tmp_path / "photo" / "007_dog_cat.png")
    assert names(one) == {7: "dog/cat"}


def test_with_the_list_near_the_classes_are_in_order(tmp_path):
    export([Annotation("photo", LABELS, CLASSES)], BINARY, tmp_path)
    assert read(tmp_path / "photo").classes == CLASSES


def test_the_void_is_left_out(tmp_path):
    annotation = Annotation("photo", LABELS, CLASSES)
    export([annotation], BINARY, tmp_path, Options(void="straße"))
    assert not (tmp_path / "photo" / "002_Straße.png").exists()
    np.testing.assert_array_equal(read(tmp_path / "photo").labels, np.where(LABELS == 7, 7, 0))


def test_pictures_are_found(tmp_path):
    export([Annotation("photo", LABELS, CLASSES)], BINARY, tmp_path)
    mask(tmp_path / "photo.png", LEFT)
    assert read(tmp_path / "photo").picture == tmp_path / "photo.png"


def test_other_folders_beside_ours_are_passed_over(tmp_path):
    export([Annotation("photo", LABELS, CLASSES)], BINARY, tmp_path)
    mask(tmp_path / "drawings" / "grey.png", np.arange(24, dtype=np.uint8).reshape(4, 6))
    mask(tmp_path / "photo" / "._002_Straße.png", LEFT)  # as macOS leaves them
    assert recognized(tmp_path) is BINARY
    np.testing.assert_array_equal(read(tmp_path).labels, LABELS)


def test_foreign_masks_are_named_after_their_files(tmp_path):
    mask(tmp_path / "cat.png", LEFT // 255)  # white may be 1
    mask(tmp_path / "dog.PNG", RIGHT > 0)  # or one bit
    assert recognized(tmp_path) is None
    found = read(tmp_path)
    assert found.name == tmp_path.name
    assert names(found) == {1: "cat", 2: "dog"}
    np.testing.assert_array_equal(found.labels, np.where(LEFT, 1, 2))


def test_foreign_masks_with_numbers_keep_them(tmp_path):
    mask(tmp_path / "set" / "one" / "03-cat.png", LEFT)
    mask(tmp_path / "set" / "two" / "05 big dog.png", RIGHT)
    one, two = read_annotations(tmp_path / "set", BINARY)
    assert (one.name, two.name) == ("one", "two")
    assert (names(one), names(two)) == ({3: "cat"}, {5: "big dog"})


def test_foreign_masks_get_the_classes_near_them(tmp_path):
    mask(tmp_path / "photo" / "2_x.png", LEFT)
    assert recognized(tmp_path / "photo") is None
    (tmp_path / "classes.json").write_text(ours("cat", "dog").to_json())
    assert recognized(tmp_path / "photo") is BINARY
    assert read(tmp_path / "photo").classes == ours("cat", "dog")
    mask(tmp_path / "photo" / "9_x.png", LEFT)
    assert recognized(tmp_path / "photo") is None
    (tmp_path / "photo" / "9_x.png").unlink()
    (tmp_path / "photo" / "2_x.png").rename(tmp_path / "photo" / "Dog.png")
    assert read(tmp_path / "photo").labels.max() == 2


def test_grey_pictures_that_happen_to_be_numbered_are_not_recognized(tmp_path):
    (tmp_path / "classes.json").write_text(ours("cat", "dog").to_json())
    for pixels in (np.arange(24, dtype=np.uint8).reshape(4, 6), LEFT // 255):
        mask(tmp_path / "1_photo.png", pixels)
        assert not BINARY.recognizes(tmp_path)
    mask(tmp_path / "1_photo.png", LEFT > 0)
    assert BINARY.recognizes(tmp_path)


def test_where_masks_overlap_the_last_wins(tmp_path):
    mask(tmp_path / "1_a.png", LEFT)
    mask(tmp_path / "2_b.png", np.full_like(LEFT, 255))
    found = read(tmp_path)
    assert (found.labels == 2).all()
    assert found.remarks == ("12 pixels belong to several objects: the last one has them.",)


def test_what_does_not_fit_is_refused(tmp_path, subtests):
    mask(tmp_path / "sizes" / "1_a.png", LEFT)
    mask(tmp_path / "sizes" / "2_b.png", LEFT[:, :-1])
    mask(tmp_path / "grey" / "a.png", np.arange(24, dtype=np.uint8).reshape(4, 6))
    mask(tmp_path / "colours" / "a.png", np.dstack([LEFT] * 3))
    mask(tmp_path / "damaged" / "a.png", LEFT, "{")
    mask(tmp_path / "other" / "a.png", LEFT, '{"id": 0, "name": "a"}')
    twice = ours("cat")[0].model_dump_json()
    mask(tmp_path / "twice" / "a.png", LEFT, twice)
    mask(tmp_path / "twice" / "b.png", LEFT, twice)
    (tmp_path / "empty").mkdir()
    for name, message in (
        ("sizes", r"“.*2_b.png” is 5 by 4 pixels, and “1_a.png” 6 by 4: give masks"),
        ("grey", "is not black and white: give"),
        ("colours", "is not black and white: give"),
        ("damaged", "carries a damaged class: write these masks again"),
        ("other", "In the masks of .*not valid at classes.0.id"),
        ("twice", "In the masks of .*named more than once"),
        ("empty", "holds no masks: give a folder"),
    ):
        with subtests.test(name), pytest.raises(NapariCliperError, match=message):
            read(tmp_path / name)


def test_a_class_that_is_nested_without_end_is_damaged(tmp_path):
    mask(tmp_path / "photo" / "001_cat.png", LEFT, "[" * 5000)
    with pytest.raises(NapariCliperError, match="carries a damaged class"):
        read(tmp_path / "photo")
