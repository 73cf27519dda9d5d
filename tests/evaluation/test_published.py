"""Figures, settings and words of others: against a copy that was not made from the package's.

`tests/data/published.json` was written from a description of the reference implementation and the
paper's tables. A slip in `benchmarks.toml` or `published.toml` shows here.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from napari_cliper.cliper import Settings
from napari_cliper.evaluation import benchmarks
from napari_cliper.evaluation.benchmarks import asked, get_benchmark, load_benchmarks, vocabulary_of
from napari_cliper.evaluation.published import _file
from napari_cliper.models.presets import get_preset

COPY = json.loads((Path(__file__).parents[1] / "data" / "published.json").read_text("utf-8"))


def test_every_published_figure() -> None:
    ours = _file()
    assert ours.keys() == {"reference", "sliding", "paper", "seconds"}
    for table in ("reference", "sliding", "paper"):
        assert ours[table] == COPY[table]
    measured = {encoder: times["milliseconds"] for encoder, times in ours["seconds"].items()}
    assert measured == COPY["paper_milliseconds"]


@pytest.mark.parametrize("name", COPY["benchmarks"])
def test_every_class_and_background_word(name: str) -> None:
    benchmark = COPY["benchmarks"][name]
    words = COPY["words"][benchmark["words"]]
    classes = asked(name, None)
    assert len(classes) == benchmark["classes"]
    assert list(classes.prompts) == words["classes"]
    assert list(classes.background or ()) == words["background"]
    assert list(vocabulary_of(name).prompts) == words["classes"]


def test_there_are_no_other_benchmarks_and_no_other_words() -> None:
    assert load_benchmarks().keys() == COPY["benchmarks"].keys()
    used = {get_benchmark(name).vocabulary for name in load_benchmarks()}
    assert benchmarks._file().vocabularies.keys() == used


def told() -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (encoder, name, settings)
        for encoder, each in COPY["settings"].items()
        for name, settings in each.items()
    ]


@pytest.mark.parametrize(("encoder", "name", "settings"), told())
def test_every_threshold_and_other_setting(
    encoder: str, name: str, settings: dict[str, Any]
) -> None:
    setup = benchmarks._file().encoders[encoder][name]
    other = {"templates", "ignored_labels"}
    assert setup.settings == {key: settings[key] for key in settings if key not in other}
    assert setup.settings.keys() <= Settings.__dataclass_fields__.keys()
    assert setup.templates == settings["templates"]
    assert get_benchmark(name).background == (0 not in settings["ignored_labels"])


def test_there_are_no_other_settings() -> None:
    ours = benchmarks._file().encoders
    assert {(encoder, name) for encoder in ours for name in ours[encoder]} == {
        (encoder, name) for encoder, name, _ in told()
    }


def test_the_templates() -> None:
    scene = asked("voc21", benchmarks.setup_of("voc21", get_preset("large"))).templates
    assert list(scene or ()) == COPY["scene_templates"]
    assert benchmarks._file().templates.keys() == {"scene"}
