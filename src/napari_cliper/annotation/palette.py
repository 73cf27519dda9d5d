"""The colours classes get when nobody chose any: Pascal VOC's."""

import numpy as np
from numpy.typing import NDArray


def voc_palette(n: int = 256) -> NDArray[np.uint8]:
    """Colours by class id, as Pascal VOC's own label pictures use them.

    The bits of an id, taken three at a time from the lowest, become the red, green and blue bits
    from the highest downwards: neighbouring ids get colours far apart, id 0 (background) is black,
    and no two ids below 2**24 share a colour.

    Parameters
    ----------
    n : int
        How many colours, 0 to 2**24.

    Returns
    -------
    (n, 3) uint8 array
        Red, green, blue; row i is the colour of id i.

    Examples
    --------
    >>> voc_palette(4).tolist()
    [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    """
    ids = np.arange(n)[:, None]
    bits = np.arange(8)
    channels = [((ids >> (3 * bits + channel) & 1) << (7 - bits)).sum(1) for channel in range(3)]
    return np.stack(channels, axis=1).astype(np.uint8)
