"""The benchmarks as data: complete, in order, and such as a preset can be asked with."""

import pytest

from napari_cliper.cliper import Settings
from napari_cliper.evaluation.benchmarks import (
    asked,
    get_benchmark,
    load_benchmarks,
    setup_of,
    vocabulary_of,
)
from napari_cliper.evaluation.comparison import variants
from napari_cliper.evaluation.datasets import LAYOUTS
from napari_cliper.models.choices import Choices
from napari_cliper.models.presets import get_preset

CLASSES = {
    "voc21": 20,
    "voc20": 20,
    "context60": 59,
    "context59": 59,
    "coco-object": 80,
    "coco-stuff": 171,
    "ade150": 150,
    "cityscapes": 19,
}


def test_each_benchmark_has_its_classes_and_a_layout() -> None:
    assert {name: len(vocabulary_of(name).names) for name in load_benchmarks()} == CLASSES
    assert LAYOUTS.keys() == CLASSES.keys()
    assert [name for name in CLASSES if get_benchmark(name).background] == [
        "voc21",
        "context60",
        "coco-object",
    ]


@pytest.mark.parametrize("name", CLASSES)
def test_what_is_asked_is_what_the_file_says(name: str) -> None:
    classes = asked(name, None)
    assert classes.prompts == vocabulary_of(name).prompts
    assert classes.ids == tuple(range(1, CLASSES[name] + 1))
    assert classes.background
    assert classes.templates is None  # the preset's own
    assert len(set(vocabulary_of(name).names)) == CLASSES[name]


def test_names_for_tables_and_words_for_the_model() -> None:
    words = vocabulary_of("voc21")
    assert words.names[14] == "person"
    assert asked("voc21", None)[14].prompt == "person with clothes, people, human"


@pytest.mark.parametrize("preset", ["base", "large"])
@pytest.mark.parametrize("name", CLASSES)
def test_each_encoder_of_the_tables_has_settings_that_are_valid(preset: str, name: str) -> None:
    setup = setup_of(name, get_preset(preset))
    assert setup is not None
    settings = Settings(**setup.settings)  # type: ignore[arg-type]
    assert settings.shorter_side == {"cityscapes": settings.shorter_side}.get(name, 336)
    templates = asked(name, setup).templates
    assert templates is not None
    assert len(templates) == (80 if setup.templates == "imagenet" else 15)


def test_the_large_presets_own_settings_are_those_for_voc() -> None:
    preset = get_preset("large")
    setup = setup_of("voc21", preset)
    assert setup is not None
    assert {**Settings(**preset.settings).__dict__} == Settings(**setup.settings).__dict__
    assert asked("voc21", setup).templates == preset.templates
    assert asked("voc21", setup).background == preset.background


def test_no_settings_are_known_for_what_is_not_clip() -> None:
    assert setup_of("voc21", get_preset("small")) is None


def test_a_benchmarks_settings_stand_below_the_methods_and_what_is_chosen() -> None:
    setup = setup_of("voc21", get_preset("large"))
    choices = Choices(changes=["settings.logit_scale=33"])
    whole, clip = variants(["cliper", "clip"], choices, setup=setup)
    settings = get_preset("base", whole.choices.as_changes()).settings
    assert (settings["selected_layer"], settings["presence_threshold"]) == (-2, 0.5)
    assert settings["logit_scale"] == 33
    settings = get_preset("base", clip.choices.as_changes()).settings
    assert (settings["selected_layer"], settings["presence_threshold"]) == (-1, 0.5)
