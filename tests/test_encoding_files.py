"""The small preset's encodings and text rows on disk, found by models that did not make them."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from torch import Tensor

import napari_cliper as nc
from napari_cliper import encoding_files
from napari_cliper.cliper import CLIPer, Encoding
from napari_cliper.cliper.steps import Step
from napari_cliper.encoding_files import EncodingFiles, put_together, take_apart
from napari_cliper.models.choices import Choices
from napari_cliper.models.kept_files import KeptFiles
from napari_cliper.models.presets import get_preset, parse_change
from napari_cliper.segmenter import Segmenter, drain, load_steps

CAT = skimage.data.cat()[::2, ::2]
WORDS = "cat; sofa = couch, settee"
QUICK = ("settings.shorter_side=112",)  # 8 × 11 patches


@pytest.fixture(scope="module")
def loaded() -> Segmenter:
    return nc.load("small", "cpu", changes=QUICK, keep=0)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(encoding_files, "encodings_folder", lambda: tmp_path / "kept")
    return tmp_path / "kept"


@pytest.fixture
def worked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a model was run for: "picture", and words."""
    work: list[str] = []
    encode, encode_text = CLIPer.encode, CLIPer.encode_text

    def look(self: CLIPer, image: Any, inspect: bool = False) -> Iterator[Step]:
        work.append("picture")
        return encode(self, image, inspect)

    def read(self: CLIPer, prompts: Any, templates: Any) -> Iterator[Step]:
        work.extend(prompts)
        return encode_text(self, prompts, templates)

    monkeypatch.setattr(CLIPer, "encode", look)
    monkeypatch.setattr(CLIPer, "encode_text", read)
    return work


def anew(loaded: Segmenter, choices: Choices | None = None, keep: float = 1) -> Segmenter:
    """As a new process has it: nothing in memory but the models."""
    choices = choices or Choices(changes=QUICK)
    fresh = drain(load_steps("small", "cpu", choices=choices, before=loaded, keep=keep))
    fresh._text_rows.clear()
    return fresh


def assert_same(first: Encoding, second: Encoding) -> None:
    (tensors, notes), (others, other_notes) = map(take_apart, (first, second))
    assert notes == other_notes
    assert tensors.keys() == others.keys()
    for name, tensor in tensors.items():
        assert torch.equal(tensor, others[name])
        assert tensor.dtype == others[name].dtype


def test_a_picture_and_its_words_are_found_again(
    loaded: Segmenter, folder: Path, worked: list[str]
) -> None:
    first = anew(loaded)
    expected = first.segment(CAT, WORDS)
    assert worked == ["cat", "sofa, couch, settee", *first.preset.background, "picture"]
    assert len(list(folder.iterdir())) == len(worked)
    worked.clear()
    second = anew(loaded)
    found = second.segment(CAT, WORDS)
    assert worked == []
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_array_equal(found.presence, expected.presence)
    assert_same(second.encode(CAT), first.encode(CAT))
    for key, row in first._text_rows.items():
        assert torch.equal(second._text_rows[key], row)
    second.segment(CAT, f"{WORDS}; teapot")
    assert worked == ["teapot"]


SECOND = """
import hashlib, sys
import skimage.data
import napari_cliper as nc
from napari_cliper.cliper import CLIPer
del CLIPer.encode, CLIPer.encode_text
model = nc.load("small", "cpu", changes=["settings.shorter_side=112"])
result = model.segment(skimage.data.cat()[::2, ::2], sys.argv[1])
print(hashlib.sha256(result.labels.tobytes()).hexdigest(), *result.presence.tolist())
"""


def test_another_process_runs_no_model(worked: list[str]) -> None:
    words = "cat; wicker basket"
    result = nc.load("small", "cpu", changes=QUICK, keep=1).segment(CAT, words)
    assert worked[-1] == "picture"
    environment = os.environ | {"NAPARI_CLIPER_KEEP": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SECOND, words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    sum_, *presence = done.stdout.split()
    assert sum_ == hashlib.sha256(result.labels.tobytes()).hexdigest()
    assert list(map(float, presence)) == result.presence.tolist()


@pytest.mark.parametrize(
    "choices",
    [
        Choices(changes=QUICK),
        Choices(changes=[*QUICK, "settings.compensate=false"]),
        Choices(changes=[*QUICK, "settings.sliding_crop=84", "settings.sliding_stride=56"]),
        Choices("cliper-paper", changes=QUICK),
        Choices(changes=[*QUICK, "compensation.grid=[6, 7]", "settings.head_fusion=product"]),
        Choices(
            compensation="dinov2-small",
            changes=[*QUICK, "compensation.grid=[9, 9]", "compensation.maps=affinity"],
        ),
    ],
)
def test_every_kind_of_encoding_comes_back_whole(
    loaded: Segmenter, folder: Path, worked: list[str], choices: Choices
) -> None:
    model = anew(loaded, choices)
    encoding = model.encode(CAT)
    model.encodings.clear()
    found = model.encode(CAT)
    assert worked == ["picture"]
    assert found is not encoding
    assert_same(found, encoding)
    assert found.nbytes == encoding.nbytes
    scored, expected = model.score(found, "cat; sofa"), model.score(encoding, "cat; sofa")
    np.testing.assert_array_equal(scored.label().labels, expected.label().labels)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_comes_back_as_it_is(
    loaded: Segmenter, folder: Path, dtype: torch.dtype
) -> None:
    model = anew(loaded)
    assert model.disk is not None
    encoding = model.encode(CAT)
    half = replace(encoding, embeddings=encoding.embeddings.to(dtype))
    model.disk.keep_encoding("half", half)
    found = model.disk.encoding("half")
    assert found is not None
    assert found.embeddings.dtype == dtype
    assert torch.equal(found.embeddings, half.embeddings)


def test_nothing_is_kept_unasked(
    loaded: Segmenter, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    anew(loaded, keep=0).segment(CAT, WORDS)
    assert not folder.exists()
    # Nor, whatever was asked for, of models of which nobody knows where they came from.
    monkeypatch.setenv("NAPARI_CLIPER_KEEP", "1")
    plain = Segmenter(loaded.preset, loaded.device, loaded.precision, loaded.engine)
    plain.segment(CAT, WORDS)
    assert not folder.exists()


def test_only_the_same_pixels_are_found(loaded: Segmenter, folder: Path, worked: list[str]) -> None:
    anew(loaded).encode(CAT)
    worked.clear()
    other = CAT.copy()
    other[0, 0, 0] ^= 1
    for picture in (other, CAT[1:], np.ascontiguousarray(CAT[..., ::-1])):
        anew(loaded).encode(picture)
    # The same bytes in another shape.
    anew(loaded).encode(CAT.reshape(-1, CAT.shape[1] * 2, 3))
    assert worked == ["picture"] * 4
    anew(loaded).encode(CAT.copy())
    assert len(worked) == 4


def test_what_is_only_looked_into_is_not_kept(
    loaded: Segmenter, folder: Path, worked: list[str]
) -> None:
    encoding = anew(loaded).encode(CAT, inspect=True)
    assert encoding.inspection is not None
    second = anew(loaded)
    found = second.encode(CAT)
    assert worked == ["picture"]
    assert found.inspection is None
    assert_same(found, replace(encoding, inspection=None))
    assert second.encode(CAT, inspect=True).inspection is not None
    assert worked == ["picture"] * 2
    assert second.encode(CAT).inspection is not None  # it serves for that as well
    assert worked == ["picture"] * 2


def test_thresholds_are_those_of_who_reads(
    loaded: Segmenter, folder: Path, worked: list[str]
) -> None:
    anew(loaded).encode(CAT)
    later = Choices(changes=[*QUICK, "settings.logit_scale=30", "settings.presence_threshold=0.1"])
    model = anew(loaded, later)
    assert model.encode(CAT).settings == model.engine.settings
    assert worked == ["picture"]
    for change in ("settings.shorter_side=126", "settings.activation_threshold=0.2"):
        anew(loaded, Choices(changes=[*QUICK, change])).encode(CAT)
    assert worked == ["picture"] * 3


def test_another_version_of_the_program_encodes_anew(
    loaded: Segmenter, folder: Path, worked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    anew(loaded).segment(CAT, "cat")
    count = len(worked)
    monkeypatch.setattr(encoding_files, "version", lambda name: "99.0")
    anew(loaded).segment(CAT, "cat")
    assert len(worked) == 2 * count
    monkeypatch.setattr(encoding_files, "FORMAT", encoding_files.FORMAT + 1)
    anew(loaded).segment(CAT, "cat")
    assert len(worked) == 3 * count


def keys(
    loaded: Segmenter,
    changes: tuple[str, ...] = (),
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    settings: dict[str, Any] | None = None,
    **origins: str,
) -> tuple[str, str]:
    """What pictures and words go by."""
    disk = EncodingFiles.of(
        1e9,
        get_preset("small", [parse_change(change) for change in changes]),
        replace(loaded.engine.settings, **(settings or {})),
        torch.device(device),
        dtype,
        {"encoder": "towers", "compensation": "unet", **origins},
    )
    return disk.pictures, disk.words


@pytest.mark.parametrize(
    ("change", "pictures", "words"),
    [
        ({"device": "cuda:1"}, True, True),
        ({"settings": {"logit_scale": 3.0}}, True, True),
        ({"changes": ("background=[]", "templates=['{}']")}, True, True),
        ({"settings": {"head_fusion": 0}}, False, True),
        ({"changes": ("compensation.block=9",)}, False, True),
        ({"changes": ("proxy.mean=[0.5, 0.5, 0.5]",)}, False, True),
        ({"compensation": "another unet"}, False, True),
        ({"proxy": "a model"}, False, True),
        ({"dtype": torch.bfloat16}, False, False),
        ({"encoder": "other towers"}, False, False),
        ({"changes": ("encoder.std=[0.5, 0.5, 0.5]",)}, False, False),
    ],
)
def test_what_an_entry_is_known_by(
    loaded: Segmenter, change: dict[str, Any], pictures: bool, words: bool
) -> None:
    """The same key where the result is the same, and only there."""
    usual, other = keys(loaded), keys(loaded, **change)
    assert (usual[0] == other[0], usual[1] == other[1]) == (pictures, words)
    assert keys(loaded) == usual


def test_sentences_count_for_words(loaded: Segmenter, folder: Path, worked: list[str]) -> None:
    anew(loaded).segment(CAT, "cat")
    worked.clear()
    other = Choices(changes=[*QUICK, 'templates=["a drawing of a {}."]'])
    model = anew(loaded, other)
    model.segment(CAT, "cat")
    assert worked == ["cat", *model.preset.background]


def test_damaged_entries_are_made_anew(loaded: Segmenter, folder: Path, worked: list[str]) -> None:
    expected = anew(loaded).segment(CAT, "cat")
    work = sorted(worked)
    worked.clear()
    whole = {path: path.read_bytes() for path in folder.iterdir()}
    for path, content in whole.items():
        path.write_bytes(content[:-1])
    found = anew(loaded).segment(CAT, "cat")
    np.testing.assert_array_equal(found.labels, expected.labels)
    assert sorted(worked) == work
    assert whole.keys() == set(folder.iterdir())
    assert all(path.stat().st_size == len(content) for path, content in whole.items())


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors, notes: tensors.pop("attention"),
        lambda tensors, notes: notes.pop("grid"),
        lambda tensors, notes: notes.update(grid="large"),
        lambda tensors, notes: notes["compensation"].pop("grid"),
        lambda tensors, notes: notes.update(compensation=[1]),
    ],
)
def test_an_entry_with_other_fields_is_made_anew(
    loaded: Segmenter, folder: Path, worked: list[str], change: Any
) -> None:
    anew(loaded).encode(CAT)
    (path,) = folder.iterdir()
    kept = KeptFiles(folder)
    entry = kept.get(path.stem)
    assert entry is not None
    change(*entry)
    path.unlink()
    kept.put({path.stem: entry})
    assert kept.get(path.stem) is not None  # it is whole
    anew(loaded).encode(CAT)
    assert worked == ["picture"] * 2
    anew(loaded).encode(CAT)
    assert worked == ["picture"] * 2


def test_a_folder_that_cannot_be_written(
    loaded: Segmenter, folder: Path, worked: list[str]
) -> None:
    folder.write_text("in the way")
    expected = anew(loaded, keep=0).segment(CAT, "cat")
    found = anew(loaded).segment(CAT, "cat")
    np.testing.assert_array_equal(found.labels, expected.labels)
    assert folder.read_text() == "in the way"


def test_the_limit_holds_for_pictures_and_words(loaded: Segmenter, folder: Path) -> None:
    size = anew(loaded).encode(CAT).nbytes
    limit = 2.5 * size
    model = anew(loaded, keep=limit / 1e9)
    for shift in range(4):
        model.segment(np.roll(CAT, shift, axis=1), "cat")
        assert KeptFiles(folder).size() <= limit
    assert KeptFiles(folder).size() > 2 * size


def test_what_is_taken_apart_is_put_together() -> None:
    encoding = Encoding((4, 6), (2, 3), torch.rand(1, 6, 2), torch.rand(6, 6), settings=SETTINGS)
    tensors, notes = take_apart(encoding)
    assert tensors.keys() == {"embeddings", "attention"}
    assert notes["compensation"] is None
    again = put_together(Encoding, tensors, notes)
    assert (again.size, again.grid, again.settings) == ((4, 6), (2, 3), SETTINGS)
    assert isinstance(again.attention, Tensor)
    with pytest.raises(LookupError):
        put_together(Encoding, {}, notes)


SETTINGS = replace(encoding_files.Settings(), early_layers=2, logit_scale=7.0)
