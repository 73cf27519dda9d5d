"""Where weights are looked for, what is refused, and that nothing is fetched unasked."""

import hashlib
from pathlib import Path

import huggingface_hub
import pytest

from napari_cliper.errors import NapariCliperError
from napari_cliper.models import weights
from napari_cliper.models.presets import Repository, Wheel, get_preset

CONTENT = b"numbers"
SUM = hashlib.sha256(CONTENT).hexdigest()
REVISION = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = Repository(repo="owner/model", revision=REVISION, files={"a.safetensors": SUM})


def put(path: Path, content: bytes = CONTENT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.fixture
def wheel(tmp_path, monkeypatch) -> Wheel:
    """A distribution of one file, installed where Python looks."""
    site = tmp_path / "site"
    put(site / "made_up-1.0.dist-info" / "METADATA", b"Name: made-up\nVersion: 1.0\n")
    put(site / "made_up" / "data" / "a.safetensors")
    monkeypatch.syspath_prepend(str(site))
    return Wheel(
        distribution="made-up",
        version="1.0",
        folder="made_up/data",
        files={"a.safetensors": SUM},
    )


def test_nowhere():
    assert weights.locate(REPOSITORY) is None


@pytest.mark.parametrize("inside", ["", "model", "owner/model"])
def test_in_the_users_folder(tmp_path, inside):
    path = put(tmp_path / "mine" / inside / "a.safetensors")
    assert weights.locate(REPOSITORY, tmp_path / "mine") == {"a.safetensors": path}


def test_a_single_file_of_the_user(tmp_path):
    path = put(tmp_path / "other_name.safetensors")
    assert weights.locate(REPOSITORY, path) == {"a.safetensors": path}


def test_the_users_folder_comes_before_the_wheel(tmp_path, wheel):
    repository = REPOSITORY.model_copy(update={"wheel": wheel})
    installed = tmp_path / "site" / "made_up" / "data" / "a.safetensors"
    assert weights.locate(repository) == {"a.safetensors": installed}
    path = put(tmp_path / "mine" / "a.safetensors")
    assert weights.locate(repository, tmp_path / "mine") == {"a.safetensors": path}


def test_the_wheel_comes_before_the_hub(tmp_path, wheel, hub_cache):
    repository = REPOSITORY.model_copy(update={"wheel": wheel})
    cached = put(hub_cache / "models--owner--model" / "snapshots" / REVISION / "a.safetensors")
    installed = tmp_path / "site" / "made_up" / "data" / "a.safetensors"
    assert weights.locate(REPOSITORY) == {"a.safetensors": cached}
    assert weights.locate(repository) == {"a.safetensors": installed}


def test_wheel_with_a_wrong_checksum(tmp_path, wheel):
    put(tmp_path / "site" / "made_up" / "data" / "a.safetensors", b"other numbers")
    with pytest.raises(NapariCliperError) as caught:
        weights.locate(REPOSITORY.model_copy(update={"wheel": wheel}))
    assert str(caught.value) == (
        "a.safetensors of the wheel made-up has the wrong checksum; reinstall it: "
        "pip install --force-reinstall --no-deps made-up==1.0."
    )


def test_wheel_that_lacks_its_file(tmp_path, wheel):
    (tmp_path / "site" / "made_up" / "data" / "a.safetensors").unlink()
    with pytest.raises(NapariCliperError, match=r"lacks a\.safetensors; reinstall it"):
        weights.locate(REPOSITORY.model_copy(update={"wheel": wheel}))


def test_hub_cache_takes_the_newest_where_the_pinned_one_is_not_there(hub_cache):
    other = "f" * 40
    cached = put(hub_cache / "models--owner--model" / "snapshots" / other / "a.safetensors")
    assert weights.locate(REPOSITORY) is None
    put(hub_cache / "models--owner--model" / "refs" / "main", other.encode())
    assert weights.locate(REPOSITORY) == {"a.safetensors": cached}


def test_repository_that_is_a_folder(tmp_path):
    repository = Repository(repo=str(tmp_path), files={"vae/config.json": "", "b.json": ""})
    put(tmp_path / "b.json")
    with pytest.raises(NapariCliperError, match=r"lacks vae/config\.json"):
        weights.locate(repository)
    path = put(tmp_path / "vae" / "config.json")
    assert weights.locate(repository) == {"vae/config.json": path, "b.json": tmp_path / "b.json"}


@pytest.mark.parametrize("name", ["a.bin", "a.ckpt", "a.pt", "open_clip_pytorch_model.bin"])
def test_pickled_weights_in_the_users_folder(tmp_path, name):
    put(tmp_path / "mine" / name)
    with pytest.raises(NapariCliperError, match="only safetensors weights are read"):
        weights.locate(REPOSITORY, tmp_path / "mine")


def test_the_users_folder_from_the_environment(tmp_path, monkeypatch):
    assert weights.user_folder() is None
    monkeypatch.setenv("NAPARI_CLIPER_WEIGHTS", str(tmp_path))
    assert weights.user_folder() == tmp_path
    with pytest.raises(NapariCliperError, match="no weights folder"):
        weights.user_folder(tmp_path / "absent")
    with pytest.raises(NapariCliperError, match="only safetensors weights are read"):
        weights.user_folder(put(tmp_path / "model.pt"))


def test_cache_folder(tmp_path, monkeypatch):
    assert weights.cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("NAPARI_CLIPER_CACHE")
    assert weights.cache_folder().name == "napari-cliper"


def test_no_download_where_the_hub_is_off():
    with pytest.raises(NapariCliperError, match="HF_HUB_OFFLINE forbids"):
        weights.download(REPOSITORY, "a.safetensors")


@pytest.fixture
def network(monkeypatch):
    """The hub, as if there were one; the list tells what was asked of it."""
    answers: list[Path | Exception] = []
    asked: list[tuple[str, str, str | None]] = []

    def hf_hub_download(repo: str, name: str, revision: str | None = None) -> str:
        asked.append((repo, name, revision))
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hf_hub_download)
    return answers, asked


def test_download_takes_the_pinned_revision(network, tmp_path):
    answers, asked = network
    answers.append(put(tmp_path / "a.safetensors"))
    assert weights.download(REPOSITORY, "a.safetensors") == tmp_path / "a.safetensors"
    assert asked == [("owner/model", "a.safetensors", REVISION)]


def test_download_of_something_else(network, tmp_path):
    network[0].append(put(tmp_path / "a.safetensors", b"other numbers"))
    with pytest.raises(NapariCliperError, match="wrong checksum: delete"):
        weights.download(REPOSITORY, "a.safetensors")


def test_download_without_a_connection(network):
    network[0].append(ConnectionError("Name or service not known\nand so on"))
    with pytest.raises(NapariCliperError) as caught:
        weights.download(REPOSITORY, "a.safetensors")
    assert str(caught.value) == (
        "a.safetensors could not be fetched from owner/model (Name or service not known): check "
        "the connection, or name a folder with the weights."
    )


def test_auto_falls_back_to_small():
    name, note = weights.choose_preset("cpu")
    assert name == "small"
    assert note is not None
    assert "the preset base" in note
    assert "\n" not in note
    assert "the preset large" in str(weights.choose_preset("cuda")[1])


def test_auto_takes_the_best_that_is_here(tmp_path):
    for name in ("base", "large"):
        for repository in weights.repositories(get_preset(name)):
            for file in repository.files:
                put(tmp_path / name / repository.repo / file)
    assert weights.choose_preset("cpu", tmp_path / "base") == ("base", None)
    assert weights.choose_preset("cuda", tmp_path / "base") == ("base", None)
    assert weights.choose_preset("cpu", tmp_path / "large")[0] == "small"
    assert weights.choose_preset("cuda", tmp_path / "large") == ("large", None)


def test_small_is_available_from_wheels_or_converted(tmp_path):
    preset = get_preset("small")
    assert weights.is_available(preset)
    assert not weights.is_available(get_preset("base"))
    assert weights.converted_folder(preset) is None
    folder = tmp_path / "cache" / preset.encoder.architecture
    for name in ("open_clip_model.safetensors", "config.json", "tokenizer.json"):
        put(folder / name)
    assert weights.converted_folder(preset) is None
    put(folder / "tokenizer_config.json")
    assert weights.converted_folder(preset) == folder


def test_the_sentence_for_absent_weights():
    small, base = get_preset("small"), get_preset("base")
    text = str(weights.absent(small, weights.repositories(small)[0]))
    assert 'pip install "napari-cliper[offline]"' in text
    assert "pip install" not in str(weights.absent(base, weights.repositories(base)[0]))
