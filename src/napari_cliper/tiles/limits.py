"""What becomes black and white in a picture that need not fit into memory."""

import math
from collections.abc import Sequence

import numpy as np

from napari_cliper.cliper.steps import Step, Steps
from napari_cliper.images import Percentiles, is_shown_as_stored, percentile_limits
from napari_cliper.tiles.picture import (
    TOGETHER,
    Lazy,
    blocks,
    channels_of,
    dtype_of,
    read_part,
)

ENOUGH = 2**20  # pixels that a smaller copy needs to tell of the picture
MOST = 2**22  # values that are kept


def percentile_limits_steps(
    levels: Sequence[Lazy], percentiles: Percentiles
) -> Steps[tuple[float, float] | None]:
    """Contrast limits by percentiles, estimated from some of the pixels.

    The smallest copy with a million pixels is read, or else the picture itself, block by block; of
    each block every n-th row and column are kept, so that four million values are the most there
    are in memory beside one block.

    Parameters
    ----------
    levels : sequence of arrays
        As of `Picture.levels`.
    percentiles : (float, float)
        As of `images.percentile_limits`.

    Yields
    ------
    Step

    Returns
    -------
    (float, float) or None
        None for colours of 8 bits, which stay as they are.

    Raises
    ------
    NapariCliperError
        Something cannot be read, or no value is finite.
    """
    channels = channels_of(levels[0])
    if is_shown_as_stored(dtype_of(levels[0]), channels):
        return None
    large = (level for level in reversed(levels) if math.prod(level.shape[:2]) >= ENOUGH)
    level = next(large, levels[0])
    height, width = level.shape[:2]
    step = math.ceil(math.sqrt(height * width * min(channels, 3) / MOST))
    parts = list(blocks((slice(0, height), slice(0, width)), TOGETHER))
    kept = []
    for done, part in enumerate(parts):
        yield Step("Looking for the contrast", done, len(parts))
        values = read_part(level, part)[::step, ::step]
        kept.append((values[..., :3] if values.ndim == 3 else values).ravel())
    return percentile_limits(np.concatenate(kept), *percentiles)
