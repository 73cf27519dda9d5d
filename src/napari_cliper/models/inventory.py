"""What weights there are: what needs which, where they are on this machine, how large; removal."""

import shutil
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_cliper.errors import NapariCliperError
from napari_cliper.models import hub, weights
from napari_cliper.models.presets import VISION_MODELS, get_preset, load_compensations, load_presets
from napari_cliper.models.schema import (
    DualEncoder,
    OtherModel,
    Preset,
    Repository,
    StableDiffusion,
    VisionModel,
    licences,
    total_mb,
)
from napari_cliper.models.sources import Files, Place, amount, known_identities, share

TEXT_ENCODER = "text_encoder/model.safetensors"


@dataclass(frozen=True)
class Item:
    """Something that has a name and needs weights.

    Attributes
    ----------
    name : str
    what : str
        For people.
    repositories : tuple of Repository
    encoder : DualEncoder or None
        The one whose towers are converted.
    """

    name: str
    what: str
    repositories: tuple[Repository, ...]
    encoder: DualEncoder | None = None

    @property
    def size(self) -> int:
        """Bytes of its weights on the hub, as far as they are known."""
        return total_mb(self.repositories) * 10**6

    @property
    def licence(self) -> str:
        """The licences of its weights."""
        return licences(self.repositories)


@dataclass(frozen=True)
class Part:
    """A repository on this machine.

    Attributes
    ----------
    repository : Repository
    place : Place or None
        None where not all of it is here.
    files : mapping of file name to Path
    size : int
        Bytes of it that are here.
    problem : str
        The sentence that says what is wrong with it; "" where nothing is.
    """

    repository: Repository
    place: Place | None
    files: Files
    size: int
    problem: str = ""


@dataclass(frozen=True)
class State:
    """What is here of an item.

    Attributes
    ----------
    item : Item
    parts : tuple of Part
        For each of its repositories.
    towers : Path or None
        The folder of its converted towers.
    """

    item: Item
    parts: tuple[Part, ...]
    towers: Path | None

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        towers = _size(self.towers) if self.towers else 0
        return sum(part.size for part in self.parts) + towers

    @property
    def is_complete(self) -> bool:
        """Whether all that it needs is here."""
        needed = self.parts[2:] if self.towers else self.parts
        return all(part.place for part in needed)

    @property
    def folders(self) -> list[Path]:
        """The folders that its files are read from."""
        needed = self.parts[2:] if self.towers else self.parts
        tops = [
            path.parents[name.count("/")] for part in needed for name, path in part.files.items()
        ]
        return list(dict.fromkeys([*([self.towers] if self.towers else []), *tops]))

    @property
    def where(self) -> str:
        """In a few words."""
        places = [
            *(["converted"] if self.towers else []),
            *(p.place for p in self.parts if p.place),
        ]
        if self.is_complete:
            return f"here ({', '.join(dict.fromkeys(places))})"
        if any(part.problem for part in self.parts):
            return "wrong"
        size = sum(part.size for part in self.parts)
        if size == 0:
            return "absent"
        return f"in part ({share(size, max(size, self.item.size))})"


def catalogue() -> dict[str, Item]:
    """All that has a name: presets, then sources of compensation, then vision models."""
    items = {name: _of_preset(preset) for name, preset in load_presets().items()}
    others = [
        *((name, "compensation", _source(table)) for name, table in load_compensations().items()),
        *((name, "vision model", model.weights) for name, model in _vision_models().items()),
    ]
    for name, what, repository in others:
        if name in items:  # the same weights in two roles
            items[name] = replace(items[name], what=f"{items[name].what}, {what}")
        else:
            items[name] = Item(name, what, (repository,))
    return items


def _of_preset(preset: Preset) -> Item:
    encoder = preset.encoder if isinstance(preset.encoder, DualEncoder) else None
    return Item(preset.name, f"preset: {preset.title}", preset.repositories, encoder)


def _source(table: Any) -> Repository:
    if table["compensation"]["kind"] == "stable-diffusion":
        return StableDiffusion.model_validate(table["compensation"]).weights
    return OtherModel.model_validate(table["compensation"]).model.weights


def _vision_models() -> dict[str, VisionModel]:
    tables = tomllib.loads(VISION_MODELS.read_text(encoding="utf-8"))
    return {name: VisionModel.model_validate(table) for name, table in tables.items()}


def find(name: str) -> Item:
    """What a person means by a name, or by the path of a preset file.

    Raises
    ------
    NapariCliperError
        If there is no such name, or the file is no preset.
    """
    items = catalogue()
    if name in items:
        return items[name]
    if not name.endswith(".toml"):
        raise NapariCliperError(
            f"There are no weights for “{name}”: choose {', '.join(items)}, or give the path of a "
            "preset file that ends in .toml."
        )
    return _of_preset(get_preset(name))


def state(item: Item, folder: Path | None = None) -> State:
    """Look what is here of an item.

    Parameters
    ----------
    item : Item
    folder : Path or None
        As of `weights.user_folder`.
    """
    parts = tuple(_look(repository, folder) for repository in item.repositories)
    towers = None
    if item.encoder is not None and not any(part.problem for part in parts):
        towers = weights.converted_folder(item.encoder, folder)
    return State(item, parts, towers)


def _look(repository: Repository, folder: Path | None) -> Part:
    try:
        found = weights.locate(repository, folder)
    except NapariCliperError as error:
        return Part(repository, None, {}, 0, str(error))
    if found is None:
        return Part(repository, None, {}, hub.bytes_in_cache(repository))
    size = sum(path.stat().st_size for path in set(found.files.values()))
    return Part(repository, found.place, found.files, size)


def describe(repositories: Iterable[Repository]) -> str:
    """One line for each: its name on the hub, size, licence and address."""
    return "\n".join(map(_described, repositories))


def _described(repository: Repository) -> str:
    size = amount(repository.size_mb * 10**6) if repository.size_mb else "size not known"
    licence = f"licence {repository.licence}" if repository.licence else "licence not known"
    return f"{repository.repo}: {size}, {licence}, https://huggingface.co/{repository.repo}"


def still_to_fetch(repositories: Iterable[Repository]) -> int:
    """Bytes of repositories that are not yet in the hub's cache, as far as sizes are known."""
    return sum(
        max(repository.size_mb * 10**6 - hub.bytes_in_cache(repository), 0)
        for repository in repositories
    )


def sharing(item: Item) -> dict[str, list[str]]:
    """Which others take weights from an item's repositories, by repository."""
    others = [other for other in catalogue().values() if other.name != item.name]
    users = {
        repository.repo: [
            other.name
            for other in others
            if repository.repo in [theirs.repo for theirs in other.repositories]
        ]
        for repository in item.repositories
    }
    return {repo: names for repo, names in users.items() if names}


def removable(item: Item) -> dict[Path, int]:
    """Folders in the two caches that hold something of an item, with its bytes.

    Folders of the user and installed wheels are not among them.
    """
    on_hub = {hub.store(found): hub.bytes_in_cache(found) for found in _on_hub(item)}
    return on_hub | {folder: _size(folder) for folder in _ours(item)}


def remove(item: Item) -> int:
    """Delete all that is `removable`; of a repository's revisions on the hub, the one in use.

    Returns
    -------
    int
        Bytes freed.

    Raises
    ------
    NapariCliperError
        If something cannot be deleted.
    """
    try:
        freed = sum(map(hub.remove, _on_hub(item)))
        for folder in _ours(item):
            freed += _size(folder)
            shutil.rmtree(folder)
    except OSError as error:
        raise NapariCliperError(
            f"{error.filename} cannot be deleted ({error.strerror}): check its permissions, and "
            "whether a program uses it."
        ) from error
    return freed


def _on_hub(item: Item) -> list[Repository]:
    named = [each for each in item.repositories if not weights.is_local(each.repo)]
    return [repository for repository in named if hub.is_in_cache(repository)]


def _ours(item: Item) -> list[Path]:
    """Folders in our cache with what was made of an item's weights."""
    cache = weights.cache_folder()
    found: list[Path] = []
    if item.encoder is not None:
        for image in known_identities(item.encoder.image):
            for text in known_identities(item.encoder.text):
                name = weights.towers_name(item.encoder, image, text)
                # All formats: those of earlier versions of this program too.
                found += cache.glob(f"{name.rpartition('-')[0]}-*")
    # Which text encoder an embedding is of cannot be told; they are small and made again.
    if any(TEXT_ENCODER in repository.files for repository in item.repositories):
        found += cache.glob("prompts")
    return list(dict.fromkeys(found))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
