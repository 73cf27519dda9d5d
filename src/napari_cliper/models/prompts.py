"""The empty prompt's embedding in our cache, so that a text encoder is loaded only once.

Of a text encoder's gigabyte Stable Diffusion's self-attention needs 0.3 MB, always the same.
"""

import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from napari_cliper.models.weights import cache_folder

LENGTH = 77  # tokens, whatever the prompt
FORMAT = 1  # of the files; another number makes old ones be forgotten
NAME = "embedding"


def cached_embedding(config: Path, weights: Sequence[Path], encode: Callable[[], Tensor]) -> Tensor:
    """What `encode` gives, from the cache if this text encoder was asked before.

    Two processes may do so at the same time: both encode, and the last to finish has its file kept.
    A cache that cannot be written is done without.

    Parameters
    ----------
    config : Path
        The text encoder's configuration.
    weights : sequence of Path
        Its weights; only their place, size and time of change are looked at.
    encode : callable
        No arguments to (1, 77, width) float32; called where the cache has nothing.

    Returns
    -------
    (1, 77, width) float32, on the CPU
    """
    path = cache_folder() / "prompts" / f"{_key(config, weights)}.safetensors"
    embedding = _read(path)
    if embedding is None:
        embedding = encode()
        _write(path, embedding)
    return embedding


def _key(config: Path, weights: Sequence[Path]) -> str:
    """What tells a text encoder from others without reading gigabytes."""
    places = [path.resolve() for path in weights]
    states = [path.stat() for path in places]
    known = [
        FORMAT,
        hashlib.sha256(config.read_bytes()).hexdigest(),
        [
            (str(path), state.st_size, state.st_mtime_ns)
            for path, state in zip(places, states, strict=True)
        ],
    ]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:32]


def _read(path: Path) -> Tensor | None:
    """The embedding in a file; None where there is none, and a damaged file is dropped."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        content = path.read_bytes()  # a file mapped into memory cannot be replaced on Windows
    except OSError:
        return None
    with suppress(SafetensorError, KeyError):
        embedding = load(content)[NAME]
        whole = embedding.ndim == 3 and embedding.shape[:2] == (1, LENGTH)
        if whole and embedding.dtype == torch.float32 and embedding.isfinite().all():
            return embedding
    with suppress(OSError):
        path.unlink()
    return None


def _write(path: Path, embedding: Tensor) -> None:
    """Put the embedding into a file, all at once or not at all."""
    from safetensors.torch import save

    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.stem}-", dir=path.parent) as folder:
            temporary = Path(folder, path.name)
            temporary.write_bytes(save({NAME: embedding}))
            temporary.replace(path)
