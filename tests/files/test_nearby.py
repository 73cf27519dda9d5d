"""What lies near a file: class lists and pictures."""

import json

import pytest

from annotations import ours
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.nearby import classes_for, classes_near, picture_near


@pytest.mark.parametrize("name", ["a/x.jpg", "a\\x.jpg", "a/x"])
def test_a_picture_in_the_folder_that_its_name_tells(tmp_path, name):
    for place in ("ph/x.jpg", "ph/a/x.jpg"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
    file = tmp_path / "file.json"
    assert picture_near(name, file, tmp_path / "ph") == tmp_path / "ph" / "a" / "x.jpg"
    assert picture_near("b/x.jpg", file, tmp_path / "ph") == tmp_path / "ph" / "x.jpg"
    (tmp_path / "ph").rename(tmp_path / "images")
    assert picture_near(name, file, None) == tmp_path / "images" / "a" / "x.jpg"


def test_a_pictures_name_does_not_lead_out(tmp_path):
    for place in ("x.jpg", "ph/a/y.jpg", "ph/y.jpg"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
    folder = tmp_path / "ph"
    for name in ("../x.jpg", "a/../../x.jpg", str(tmp_path / "x.jpg"), "..", ".", "", "a/", "\0"):
        assert picture_near(name, tmp_path / "file.json", folder) is None
    for name in ("../ph/a/y.jpg", "C:\\a\\y.jpg", "/a/y.jpg"):
        assert picture_near(name, tmp_path / "file.json", folder) == folder / "y.jpg"


def test_the_list_near_does_not_change_numbers_of_the_files_own(tmp_path):
    (tmp_path / "classes.json").write_text(ours("hen", "dog", "cat").to_json())
    file = tmp_path / "file.json"
    classes, labels = classes_for({1: "Cat", 2: "dog"}, file)
    assert labels == {1: 1, 2: 2}
    assert classes.names == ("Cat", "dog")
    classes, labels = classes_for({3: "Cat", 2: "dog"}, file)
    assert labels == {3: 3, 2: 2}
    assert classes.names == ("hen", "dog", "cat")


def test_by_their_names_where_numbers_are_no_labels(tmp_path):
    (tmp_path / "classes.json").write_text(ours("hen", "dog", "cat").to_json())
    file = tmp_path / "file.json"
    assert classes_for({0: "cat", 1: "dog"}, file)[1] == {0: 3, 1: 2}
    assert classes_for({1: "cat", 2: "dog"}, file, own=())[1] == {1: 3, 2: 2}
    assert classes_for({1: "cat", 2: "dog"}, file, own={2})[1] == {1: 3, 2: 2}
    assert classes_for({1: "cat", 2: "dog"}, file, own={1})[1] == {1: 1, 2: 2}


@pytest.mark.parametrize("content", [["cat", "dog"], {"classes": ["cat"]}, {}, {"classes": 3}, 7])
def test_another_tools_class_list_is_passed_over(tmp_path, content):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "classes.json").write_text(json.dumps(content))
    assert classes_near(tmp_path / "in" / "file.json") is None
    (tmp_path / "classes.json").write_text(ours("cat").to_json())
    assert classes_near(tmp_path / "in" / "file.json") == ours("cat")


@pytest.mark.parametrize("text", ['{"classes": []}', '{"classes": [{"id": 0}]}', '{"classes": ['])
def test_a_list_of_ours_that_is_wrong_is_refused(tmp_path, text):
    (tmp_path / "classes.json").write_text(text)
    with pytest.raises(NapariCliperError, match=r"In “.*classes.json”: "):
        classes_near(tmp_path / "file.json")
