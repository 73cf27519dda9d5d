"""Runs over a folder: whole, stopped, killed, gone on with, beside a person's work."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from PIL import Image

import napari_cliper as nc
from batch_runs import IDENTITY, contents, planned
from napari_cliper.annotation.class_list import ClassList
from napari_cliper.annotation.review import Review, State
from napari_cliper.batch.exporting import export_masks
from napari_cliper.batch.journal import JOURNAL_FILE, Journal, digest
from napari_cliper.batch.plan import Todo, plan
from napari_cliper.batch.run import Summary, one_by_one, progress, run
from napari_cliper.batch.sources import find_sources
from napari_cliper.batch.work import Recipe, identify, load
from napari_cliper.batch.work import make as make_picture
from napari_cliper.cliper.steps import Step, drain
from napari_cliper.errors import NapariCliperError
from napari_cliper.files.formats import format_of
from napari_cliper.files.indexed_png import load_labels
from napari_cliper.files.pictures import read_picture
from napari_cliper.files.review import REVIEW_FILE, open_review, reviewed, save_review
from napari_cliper.images import normalised
from napari_cliper.models.choices import Choices


def ran(pictures: Path, results: Path, recipe: Recipe, **more: Any) -> Summary:
    return drain(run(planned(pictures, results, **more), recipe))


def test_each_picture_gets_what_segment_finds(
    pictures: Path, tmp_path: Path, recipe: Recipe
) -> None:
    results = tmp_path / "out"
    told: list[Step] = []
    summary = drain(run(planned(pictures, results), recipe), told.append)
    assert (summary.made, summary.failed) == (5, [])
    model = nc.load("small", "cpu", precision="float32", changes=list(recipe.choices.changes))
    for name in planned(pictures, results).of(Todo.DONE):
        labels, classes = load_labels(results / (name.rpartition(".")[0] + "_labels.png"))
        found = model.segment(read_picture(pictures / name), recipe.classes)
        assert np.array_equal(labels, found.labels)
        assert classes == recipe.classes
    last = [step for step in told if step.total == 5][-1]
    assert last.name.startswith("5 of 5 pictures · ")
    assert "left" in last.name


def test_neighbours_that_were_not_asked_for_are_not_listed(
    pictures: Path, tmp_path: Path, recipe: Recipe
) -> None:
    found = find_sources([pictures / "noise.png", pictures / "cat9.png"], tmp_path / "out")
    drain(run(plan(found.top, found.pictures, tmp_path / "out", IDENTITY), recipe))
    _, review = open_review(*reviewed(tmp_path / "out"))
    assert [entry.picture for entry in review.entries] == ["cat9.png", "noise.png"]


def test_the_review_queue_opens_the_index(pictures: Path, tmp_path: Path, recipe: Recipe) -> None:
    results = tmp_path / "out"
    ran(pictures, results, recipe)
    # A person may choose either folder.
    assert reviewed(results) == (pictures, results)
    folder, review = open_review(pictures, results)
    assert {entry.state for entry in review.entries} == {State.PROPOSED}
    ordered = review.ordered(by_uncertainty=True)
    values = [entry.uncertainty for entry in ordered]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == 5
    assert all(folder.proposal(entry) is not None for entry in ordered)


def test_what_is_done_is_not_done_again(pictures: Path, tmp_path: Path, recipe: Recipe) -> None:
    results = tmp_path / "out"
    ran(pictures, results, recipe)
    (results / "noise_labels.png").unlink()
    Image.open(pictures / "cat9.png").save(pictures / "new.png")
    again = planned(pictures, results)
    assert set(again.to_make) == {"noise.png", "new.png"}
    assert drain(run(again, recipe)).made == 2
    assert planned(pictures, results).to_make == []


def test_a_persons_work_is_left_alone(pictures: Path, tmp_path: Path, recipe: Recipe) -> None:
    results = tmp_path / "out"
    ran(pictures, results, recipe)
    folder, review = open_review(pictures, results)
    save_review(folder, review.with_stroke("cat9.png").with_state("person.jpg", State.ACCEPTED))
    Image.new("L", (120, 80), 1).save(results / "noise_labels.png")
    before = contents(results)
    again = planned(pictures, results, identity="another", overwrite=True)
    assert again.of(Todo.PERSONS) == ["cat9.png", "person.jpg"]
    assert again.of(Todo.CHANGED) == ["noise.png"]
    assert again.to_make == again.of(Todo.ANEW) == ["cat10.png", "more/cat9.png"]
    assert drain(run(again, recipe)).made == 2
    assert contents(results) == before
    # What is left of the first recipe is a person's: nothing stands in the second one's way.
    assert planned(pictures, results, identity="another").to_make == []
    states = {entry.picture: entry.state for entry in open_review(pictures, results)[1].entries}
    assert states["cat9.png"] is State.CORRECTED
    assert states["person.jpg"] is State.ACCEPTED


def test_what_a_person_does_meanwhile_is_kept(
    pictures: Path, tmp_path: Path, recipe: Recipe
) -> None:
    results = tmp_path / "out"
    steps = run(planned(pictures, results), recipe)
    for step in steps:
        if step.done == 2:
            break
    folder, review = open_review(pictures, results)
    save_review(folder, review.with_state("person.jpg", State.SKIPPED))
    for _ in steps:
        pass
    states = {entry.picture: entry.state for entry in open_review(pictures, results)[1].entries}
    assert states["person.jpg"] is State.SKIPPED


def test_another_recipe_needs_to_be_allowed(pictures: Path, tmp_path: Path, recipe: Recipe) -> None:
    results = tmp_path / "out"
    ran(pictures, results, recipe)
    with pytest.raises(NapariCliperError, match="other classes, models or settings"):
        planned(pictures, results, identity="another")
    again = planned(pictures, results, identity="another", overwrite=True)
    assert len(again.of(Todo.ANEW)) == 5
    other = replace(recipe, classes=ClassList.parse("sky; wall"))
    # Stopped halfway, it is still known whose the masks of the first run are.
    steps = run(again, other)
    for step in steps:
        if step.done == 2:
            break
    steps.close()
    rest = planned(pictures, results, identity="another", overwrite=True)
    summary = drain(run(rest, other))
    assert (summary.made, summary.failed) == (3, [])
    assert planned(pictures, results, identity="another").to_make == []
    assert load_labels(results / "noise_labels.png")[1] == other.classes


def test_percentiles_are_part_of_the_recipe(tmp_path: Path, recipe: Recipe) -> None:
    dark = skimage.data.cat()[::4, ::4, 1].astype(np.uint16)
    dark[0, 0] = 65535
    (tmp_path / "pictures").mkdir()
    picture = tmp_path / "pictures" / "dark.png"
    Image.fromarray(dark).save(picture)
    results, cutting = tmp_path / "out", replace(recipe, percentiles=(0.1, 99.9))
    assert len({identify(recipe), identify(cutting), identify(replace(recipe, refinement=0))}) == 3
    ran(picture.parent, results, recipe, identity=identify(recipe))
    with pytest.raises(NapariCliperError, match="other classes, models or settings"):
        planned(picture.parent, results, identity=identify(cutting))
    ran(picture.parent, results, cutting, identity=identify(cutting), overwrite=True)
    assert planned(picture.parent, results, identity=identify(cutting)).to_make == []
    model = nc.load("small", "cpu", precision="float32", changes=list(recipe.choices.changes))
    seen = [
        model.segment(one, recipe.classes).labels
        for one in (dark, normalised(dark, cutting.percentiles))
    ]
    assert not np.array_equal(*seen)
    assert np.array_equal(load_labels(results / "dark_labels.png")[0], seen[1])


def test_a_bad_picture_keeps_no_other_from_it(
    pictures: Path, tmp_path: Path, recipe: Recipe
) -> None:
    (pictures / "cat8.png").write_bytes(b"no picture")
    Image.new("RGB", (10, 10)).save(pictures / "tiny.png")
    summary = ran(pictures, tmp_path / "out", recipe)
    assert summary.made == 5
    assert [sentence.partition(":")[0] for sentence in summary.failed] == ["cat8.png", "tiny.png"]
    assert planned(pictures, tmp_path / "out").to_make == ["cat8.png", "tiny.png"]


def test_a_stopped_run_goes_on(pictures: Path, tmp_path: Path, recipe: Recipe) -> None:
    results = tmp_path / "out"
    steps = run(planned(pictures, results), recipe)
    for step in steps:
        if step.done == 2:
            break
    steps.close()
    assert len(contents(results)) == 2
    assert len(Review.from_json((results / REVIEW_FILE).read_text("utf-8")).entries) == 5
    whole = tmp_path / "whole"
    ran(pictures, whole, recipe)
    assert ran(pictures, results, recipe).made == 3
    assert contents(results) == contents(whole)


def test_a_mask_of_somebody_else_is_not_written_over(
    pictures: Path, tmp_path: Path, recipe: Recipe
) -> None:
    results = tmp_path / "out"
    results.mkdir()
    Image.new("L", (120, 80), 1).save(results / "noise_labels.png")
    before = contents(results)["noise_labels.png"]
    summary = ran(pictures, results, recipe)
    assert summary.made == 4
    assert "was not made by a run" in summary.failed[0]
    assert contents(results)["noise_labels.png"] == before


@pytest.mark.parametrize("had", [None, b"old"], ids=["nothing there", "an older one there"])
def test_a_kill_between_record_and_mask_is_mended(
    pictures: Path, tmp_path: Path, recipe: Recipe, had: bytes | None
) -> None:
    """The record is written first: the mask may be missing, or be that of the record before."""
    results = tmp_path / "out"
    ran(pictures, results, recipe)
    before = contents(results)
    labels = results / "noise_labels.png"
    labels.unlink()
    if had is not None:
        labels.write_bytes(had)
        journal = Journal(results)
        journal.begin("")
        record = journal.records["noise.png"]
        journal.add(record.model_copy(update={"sha256": digest(had)}))
        journal.add(record)
    assert planned(pictures, results).to_make == ["noise.png"]
    assert ran(pictures, results, recipe).made == 1
    assert contents(results) == before


def test_a_line_that_a_kill_cut_short_is_none(
    pictures: Path, tmp_path: Path, recipe: Recipe
) -> None:
    results = tmp_path / "out"
    (pictures / "noise.png").rename(pictures / "noise \u2028 ä.png")
    ran(pictures, results, recipe)
    assert len(Journal(results).records) == 5
    before = contents(results)
    whole = (results / JOURNAL_FILE).read_bytes()
    cut = whole.rindex("ä".encode()) + 1  # within a letter
    (results / JOURNAL_FILE).write_bytes(whole[:cut])
    assert ran(pictures, results, recipe).made == 5 - whole[:cut].count(b"\n") + 1
    assert contents(results) == before
    assert len(Journal(results).records) == 5


def test_the_index_is_mended_by_a_run_with_nothing_to_do(
    pictures: Path, tmp_path: Path, recipe: Recipe
) -> None:
    results = tmp_path / "out"
    ran(pictures, results, recipe)
    before = (results / REVIEW_FILE).read_bytes()
    (results / REVIEW_FILE).unlink()
    assert ran(pictures, results, recipe).made == 0
    assert (results / REVIEW_FILE).read_bytes() == before


def test_another_folders_pictures_are_refused(
    pictures: Path, tmp_path: Path, recipe: Recipe
) -> None:
    results = tmp_path / "out"
    ran(pictures, results, recipe)
    other = tmp_path / "other"
    pictures.rename(other)
    with pytest.raises(NapariCliperError, match="holds masks of the pictures in"):
        planned(other, results)


def test_a_picture_that_was_replaced_is_segmented_anew(
    pictures: Path, tmp_path: Path, recipe: Recipe
) -> None:
    results = tmp_path / "out"
    ran(pictures, results, recipe)
    Image.open(pictures / "cat9.png").transpose(Image.Transpose.ROTATE_180).save(
        pictures / "noise.png"
    )
    assert planned(pictures, results).to_make == ["noise.png"]
    assert ran(pictures, results, recipe).made == 1
    assert planned(pictures, results).to_make == []


def test_what_a_person_takes_up_meanwhile_is_left_to_them(
    pictures: Path, tmp_path: Path, recipe: Recipe
) -> None:
    results = tmp_path / "out"
    steps = run(planned(pictures, results), recipe)
    for step in steps:
        if step.done == 1:
            break
    folder, review = open_review(pictures, results)
    desk = review  # as the dock holds it, while the run goes on
    save_review(folder, desk.with_state("person.jpg", State.SKIPPED))
    summary = drain(steps)
    assert (summary.made, summary.left) == (4, 1)
    assert not (results / "person_labels.png").exists()
    # The dock saves what it knows, and what the run has told stays.
    save_review(folder, desk.with_state("cat9.png", State.ACCEPTED))
    assert reviewed(results) == (pictures, results)
    found = {entry.picture: entry for entry in open_review(pictures, results)[1].entries}
    assert found["cat9.png"].state is State.ACCEPTED
    assert found["noise.png"].state is State.PROPOSED
    assert found["noise.png"].uncertainty is not None


def test_two_runs_at_a_time_are_refused(pictures: Path, tmp_path: Path, recipe: Recipe) -> None:
    results = tmp_path / "out"
    plan_ = planned(pictures, results)
    steps = run(plan_, recipe)
    for step in steps:
        if step.done == 1:
            break
    with pytest.raises(NapariCliperError, match="Somebody else is at work"):
        drain(run(plan_, recipe))
    steps.close()
    assert ran(pictures, results, recipe).made == 4


def test_an_error_that_nobody_thought_of_keeps_no_other_picture_from_it(
    pictures: Path, tmp_path: Path, recipe: Recipe
) -> None:
    def make(recipe: Recipe, name: str, content: Any) -> Any:
        yield Step("on the CPU", notice=True)
        if name.endswith("noise.png"):
            raise RuntimeError("a kernel failed")
        return (yield from make_picture(recipe, name, content))

    told: list[Step] = []
    work = one_by_one(load, make)
    summary = drain(run(planned(pictures, tmp_path / "out"), recipe, work), told.append)
    assert summary.made == 4
    assert summary.failed == ["noise.png: something went wrong (RuntimeError: a kernel failed)."]
    assert sum(step.notice for step in told) == 5


KILLED = """
import sys
from napari_cliper.cli import app
app(sys.argv[1:])
"""


def test_a_killed_run_loses_nothing(pictures: Path, tmp_path: Path, recipe: Recipe) -> None:
    results, whole = tmp_path / "out", tmp_path / "whole"
    arguments = ["batch", str(pictures), "--classes", "cat; person", "--preset", "small"]
    arguments += ["--device", "cpu", "--set", recipe.choices.changes[0], "--precision", "float32"]

    def start(output: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", KILLED, *arguments, "--output", str(output)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL)

    process = start(results)
    journal = results / JOURNAL_FILE
    until = time.monotonic() + 120
    while not (journal.exists() and journal.read_bytes().count(b"\n") >= 3):
        assert time.monotonic() < until
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    there = contents(results)
    # A mask is written down before it is put into its place: the last one may not be there yet.
    noted = [f"{name.rpartition('.')[0]}_labels.png" for name in Journal(results).records]
    assert len(noted) >= 2
    assert set(noted[:-1]) <= set(there) <= set(noted)
    assert len(there) < 5
    for name in there:
        load_labels(results / name)
    assert start(results).wait() == 0
    assert start(whole).wait() == 0
    assert {name: contents(results)[name] for name in there} == there
    assert contents(results) == contents(whole)
    assert not list(results.rglob("*.part"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("no json\n", "The run is not valid"),
        ('{"format": 2, "pictures": "x"}\n', "newer napari-cliper"),
        ('{"format": 1, "pictures": "x"}\n{"picture": 3}\n', "The run is not valid"),
    ],
)
def test_a_damaged_journal_is_told(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / JOURNAL_FILE).write_text(text, "utf-8")
    with pytest.raises(NapariCliperError, match=told):
        Journal(tmp_path)


def test_masks_are_exported_and_exported_anew(
    pictures: Path, tmp_path: Path, recipe: Recipe
) -> None:
    results = tmp_path / "out"
    (pictures / "noise.png").rename(tmp_path / "noise.png")
    ran(pictures, results, recipe)
    coco = format_of("coco")

    def export() -> dict[str, Any]:
        folder = drain(export_masks(planned(pictures, results), coco))
        [file] = [path for path in folder.glob("*.json") if path.name != "classes.json"]
        found: dict[str, Any] = json.loads(file.read_text("utf-8"))
        return found

    assert len(export()["images"]) == 4
    (tmp_path / "noise.png").rename(pictures / "noise.png")
    ran(pictures, results, recipe)
    assert len(export()["images"]) == 5
    [file] = [path for path in (results / "coco").glob("*.json") if path.name != "classes.json"]
    file.write_text(file.read_text("utf-8") + " ", "utf-8")  # somebody's edit
    with pytest.raises(NapariCliperError, match="was changed since a run wrote it"):
        export()


def test_progress_is_told_in_words() -> None:
    assert progress(0, 128, 0) == "0 of 128 pictures"
    assert progress(12, 128, 15.6) == "12 of 128 pictures · 1.3 s each · 2.5 min left"
    assert progress(100, 10_000, 10) == "100 of 10000 pictures · 10.0 a second · 16.5 min left"
    assert progress(10, 9_000, 20) == "10 of 9000 pictures · 2.0 s each · 5.0 h left"
    assert progress(127, 128, 127) == "127 of 128 pictures · 1.0 s each · 1 s left"


def test_models_that_cannot_be_loaded_are_told_once(
    pictures: Path, tmp_path: Path, recipe: Recipe
) -> None:
    with pytest.raises(NapariCliperError, match="not on this machine"):
        ran(pictures, tmp_path / "out", replace(recipe, preset="large", choices=Choices()))
    assert not (tmp_path / "out").exists()
