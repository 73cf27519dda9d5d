"""The photographs under File ▸ Open Sample ▸ CLIPer, from scikit-image's wheel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LayerData = tuple[NDArray[np.uint8], dict[str, Any], str]


def cat_sample() -> list[LayerData]:
    """Return a cat that lies on a blanket: (300, 451, 3)."""
    from skimage.data import cat

    return [_photograph("cat", cat(), "cat")]


def motorcycle_sample() -> list[LayerData]:
    """Return a motorcycle in a workshop: (500, 741, 3)."""
    from skimage.data import stereo_motorcycle

    return [_photograph("motorcycle", stereo_motorcycle()[0], "motorcycle = motorbike")]


def _photograph(name: str, pixels: NDArray[np.uint8], classes: str) -> LayerData:
    # The key is that of widgets.layers, which would import napari's layers.
    return (
        pixels,
        {"name": name, "rgb": True, "metadata": {"napari-cliper": {"classes": classes}}},
        "image",
    )
