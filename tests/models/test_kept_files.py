"""A folder of tensors: whatever happens to it, it costs a computation and nothing else."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from napari_cliper.errors import NapariCliperError
from napari_cliper.models.kept_files import KeptFiles, disk_limit, key_of, stamp

TENSORS = {
    "half": torch.rand(3, 5, 5).half(),
    "brain": torch.rand(4).bfloat16(),
    "number": torch.tensor(7),
    "none": torch.zeros(0, 3),
}
ENTRY = (TENSORS, {"grid": [5, 5], "name": "ä", "threshold": 0.1, "nothing": None})
SIZE = 4096  # bytes of the tensor in `of_size`


def of_size(value: float) -> tuple[dict[str, torch.Tensor], None]:
    return {"tensor": torch.full((SIZE // 4,), float(value))}, None


def names(kept: KeptFiles) -> set[str]:
    return {path.name.removesuffix(".safetensors") for path in kept.folder.iterdir()}


def age(kept: KeptFiles, *keys: str) -> None:
    """Let entries be used long ago, the first longest."""
    for number, key in enumerate(keys):
        os.utime(kept.folder / f"{key}.safetensors", (number, number))


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    kept = KeptFiles(tmp_path / "deep" / "folder", 1e6)
    assert kept.get("a") is None
    assert kept.size() == 0
    kept.put({"a": ENTRY})
    found = kept.get("a")
    assert found is not None
    assert found[1] == ENTRY[1]
    assert found[0].keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert torch.equal(found[0][name], tensor)
        assert found[0][name].dtype == tensor.dtype
    assert names(kept) == {"a"}  # and no temporary file
    assert kept.size() == (kept.folder / "a.safetensors").stat().st_size


def test_views_of_one_tensor_can_be_kept(tmp_path: Path) -> None:
    whole = torch.rand(4, 4)
    views = {"whole": whole, "same": whole, "turned": whole.T, "row": whole[1], "part": whole[:, 1]}
    kept = KeptFiles(tmp_path)
    kept.put({"a": (views, None)})
    found = kept.get("a")
    assert found is not None
    for name, tensor in views.items():
        assert torch.equal(found[0][name], tensor)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def rewrite(change: Callable[[dict[str, torch.Tensor]], None]) -> Callable[[Path], None]:
    """Other tensors under the same notes and checksum."""

    def damage(path: Path) -> None:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
        tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
        change(tensors)
        save_file(tensors, path, metadata=metadata)

    return damage


def change_notes(path: Path) -> None:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    ours = json.loads(metadata["napari-cliper"])
    ours["notes"]["grid"] = [6, 5]
    save_file(load_file(path), path, metadata={"napari-cliper": json.dumps(ours)})


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"no header at all"),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes()[:100]),
        lambda path: path.write_bytes(path.read_bytes() + b"1"),
        lambda path: path.write_bytes(bytes(path.stat().st_size)),
        lambda path: save_file(TENSORS, path),
        lambda path: save_file(TENSORS, path, metadata={"napari-cliper": "[]"}),
        flip,
        rewrite(lambda tensors: tensors["half"].fill_(torch.inf)),
        rewrite(lambda tensors: tensors.update(half=tensors["half"].reshape(5, 3, 5))),
        rewrite(lambda tensors: tensors.update(half=tensors["half"].view(torch.bfloat16))),
        rewrite(lambda tensors: tensors.update(other=tensors.pop("half"))),
        change_notes,
    ],
)
def test_a_damaged_entry_is_dropped_and_can_be_kept_anew(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    kept = KeptFiles(tmp_path)
    kept.put({"a": ENTRY})
    path = tmp_path / "a.safetensors"
    whole = path.read_bytes()
    damage(path)
    assert path.read_bytes() != whole
    assert kept.get("a") is None
    assert not path.exists()
    kept.put({"a": ENTRY})
    assert path.read_bytes() == whole
    assert kept.get("a") is not None


def test_those_not_used_for_longest_go_first(tmp_path: Path) -> None:
    kept = KeptFiles(tmp_path, 3.5 * SIZE)
    for number, key in enumerate("abc"):
        kept.put({key: of_size(number)})
    age(kept, "b", "a", "c")
    assert names(kept) == {"a", "b", "c"}
    kept.put({"d": of_size(3)})
    assert names(kept) == {"a", "c", "d"}
    age(kept, "a", "c", "d")
    assert kept.get("a") is not None  # used now
    kept.put({"e": of_size(4)})
    assert names(kept) == {"a", "d", "e"}
    assert kept.size() <= kept.limit


def test_a_smaller_limit_holds_from_the_next_entry_on(tmp_path: Path) -> None:
    for key in "abc":
        KeptFiles(tmp_path).put({key: of_size(1)})
    age(KeptFiles(tmp_path), "a", "b", "c")
    small = KeptFiles(tmp_path, 1.5 * SIZE)
    small.put({"d": of_size(2)})
    assert names(small) == {"d"}


def test_what_is_too_large_is_not_kept_and_nothing_goes_for_it(tmp_path: Path) -> None:
    kept = KeptFiles(tmp_path, 1.5 * SIZE)
    kept.put({"a": of_size(1)})
    kept.put({"b": ({"tensor": torch.zeros(SIZE)}, None)})
    assert names(kept) == {"a"}
    # Within the limit, but for its header.
    tight = KeptFiles(tmp_path / "tight", SIZE)
    tight.put({"a": of_size(1)})
    assert names(tight) == set()


def test_what_a_killed_process_left_goes_too(tmp_path: Path) -> None:
    part = tmp_path / ".0123.part"
    part.write_bytes(bytes(SIZE))
    os.utime(part, (1, 1))
    kept = KeptFiles(tmp_path, 2.5 * SIZE)
    kept.put({"a": of_size(1)})
    assert part.exists()
    kept.put({"b": of_size(1)})
    assert not part.exists()
    assert names(kept) == {"a", "b"}


def test_an_entry_is_never_written_under_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []

    def record(tensors: object, path: Path, metadata: object) -> None:
        written.append(path)
        save_file(tensors, path, metadata)  # type: ignore[arg-type]

    monkeypatch.setattr(safetensors.torch, "save_file", record)
    kept = KeptFiles(tmp_path)
    kept.put({"a": ENTRY})
    kept.put({"a": ENTRY})  # is there already
    assert len(written) == 1
    assert written[0].parent == tmp_path
    assert written[0].name != "a.safetensors"
    assert names(kept) == {"a"}


@pytest.mark.parametrize("error", [OSError(28, "No space left"), SafetensorError("I/O error")])
def test_a_full_disk_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def write_half(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half")
        raise error

    kept = KeptFiles(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(safetensors.torch, "save_file", write_half)
        kept.put({"a": ENTRY})
    assert names(kept) == set()
    kept.put({"a": ENTRY})
    assert names(kept) == {"a"}


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    kept = KeptFiles(tmp_path / "file" / "folder", 1e6)
    kept.put({"a": ENTRY})
    assert kept.get("a") is None
    assert kept.size() == 0
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_folder_that_can_only_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may write everywhere, so that permissions cannot stand for it here."""
    kept = KeptFiles(tmp_path, 1e6)
    kept.put({"a": ENTRY, "damaged": ENTRY})
    flip(tmp_path / "damaged.safetensors")

    def refuse(*arguments: object, **keywords: object) -> None:
        raise PermissionError(13, "Permission denied")

    for place, name in (
        (os, "utime"),
        (os, "unlink"),
        (Path, "unlink"),
        (Path, "mkdir"),
        (safetensors.torch, "save_file"),
    ):
        monkeypatch.setattr(place, name, refuse)
    assert kept.get("a") is not None
    assert kept.get("damaged") is None
    kept.put({"b": ENTRY})
    kept.drop("a")
    assert names(kept) == {"a", "damaged"}


ROUNDS = 150
OTHER = f"""
import random, sys
from pathlib import Path
import torch
from napari_cliper.models.kept_files import KeptFiles
kept = KeptFiles(Path(sys.argv[1]), 6.5 * {SIZE})
found = 0
for _ in range({ROUNDS}):
    value = random.randrange(12)
    entry = kept.get(str(value))
    if entry is not None:
        found += 1
        assert (entry[0]["tensor"] == value).all()
    kept.put({{str(value): ({{"tensor": torch.full(({SIZE // 4},), float(value))}}, None)}})
print(found)
"""


def test_two_processes_at_once(tmp_path: Path) -> None:
    """Both read, write and delete the same entries, of which half have room."""
    command = [sys.executable, "-c", OTHER, str(tmp_path)]
    processes = [
        subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    results = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], results
    assert all(0 < int(output) < ROUNDS for output, _ in results)
    kept = KeptFiles(tmp_path)
    assert kept.size() <= 6.5 * SIZE
    assert names(kept) <= {str(value) for value in range(12)}  # and no temporary file
    for key in names(kept):
        assert kept.get(key) is not None


def test_keys_and_stamps(tmp_path: Path) -> None:
    assert key_of("a", ["b"]) == key_of("a", ("b",))
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})
    assert len({key_of("ab"), key_of("a", "b"), key_of(["a", "b"]), key_of("a", ["b"])}) == 4
    path = tmp_path / "weights"
    path.write_text("1")
    link = tmp_path / "link"
    link.symlink_to(path)
    before = stamp(path)
    assert stamp(link) == before
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    assert stamp(path) != before
    other = tmp_path / "other"
    other.write_text("1")
    os.utime(other, ns=(0, path.stat().st_mtime_ns))
    assert stamp(other) != stamp(path)


def test_the_limit_in_gigabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NAPARI_CLIPER_KEEP", raising=False)
    assert disk_limit() == 0
    assert disk_limit(1.5) == 1.5e9
    monkeypatch.setenv("NAPARI_CLIPER_KEEP", "2")
    assert disk_limit() == 2e9
    assert disk_limit(0) == 0
    monkeypatch.setenv("NAPARI_CLIPER_KEEP", "")
    assert disk_limit() == 0


@pytest.mark.parametrize("wrong", ["much", "-1", "nan", "inf"])
def test_a_limit_that_is_none(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    monkeypatch.setenv("NAPARI_CLIPER_KEEP", wrong)
    with pytest.raises(NapariCliperError, match=rf"“{wrong}” is no size .*NAPARI_CLIPER_KEEP"):
        disk_limit()
    with pytest.raises(NapariCliperError, match="is no size for kept encodings"):
        disk_limit(-0.1)
