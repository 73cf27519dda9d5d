"""The empty prompt's embedding in our cache, so that a text encoder is loaded only once.

Of a text encoder's gigabyte Stable Diffusion's self-attention needs 0.3 MB, always the same.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor

from napari_cliper.models.kept_files import KeptFiles, key_of, stamp
from napari_cliper.models.weights import cache_folder

LENGTH = 77  # tokens, whatever the prompt
FORMAT = 1  # of the files; another number makes old ones be forgotten
NAME = "embedding"


def cached_embedding(config: Path, weights: Sequence[Path], encode: Callable[[], Tensor]) -> Tensor:
    """What `encode` gives, from the cache if this text encoder was asked before.

    Two processes may do so at the same time: both encode, and one has its file kept.

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
    kept = KeptFiles(cache_folder() / "prompts")
    sum_ = hashlib.sha256(config.read_bytes()).hexdigest()
    key = key_of(FORMAT, sum_, [stamp(path) for path in weights])
    entry = kept.get(key)
    if entry is not None:
        return entry[0][NAME]
    embedding = encode()
    kept.put({key: ({NAME: embedding}, None)})
    return embedding
