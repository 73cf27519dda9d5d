"""What the dock “Inspect attention” adds besides the live layer; prepared in any thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_cliper.widgets.layers import ResultLayer, labels_layer, map_layer
from napari_cliper.widgets.segmentation import Request, segmentation

if TYPE_CHECKING:
    from napari_cliper.cliper.steps import Steps
    from napari_cliper.inspector import Inspector
    from napari_cliper.result import Result, Scored
    from napari_cliper.widgets.segmentation import Segmented

Point = tuple[float, float]


def group_layer(inspector: Inspector, point: Point, group: str) -> ResultLayer:
    """Where a point's attention goes in all heads, or in all layers, to scroll through."""
    names = tuple(view.name for view in inspector.views if view.group == group)
    maps = inspector.stack_at(point, group)
    return _stack(f"{group} at {_written(point)}", maps, "map", names)


def pinned_layer(inspector: Inspector, points: Sequence[Point], view: str) -> ResultLayer:
    """Where each pinned point's attention goes, to scroll through."""
    maps = np.stack([inspector.at(point, view) for point in points])
    return _stack(f"{view} of the points", maps, "point", tuple(map(_written, points)))


def similarity_layer(inspector: Inspector, point: Point) -> ResultLayer:
    """How alike a point in each layer is to all places in the last one (Figure 2)."""
    maps = inspector.similarity(point)
    return _stack(f"likeness at {_written(point)}", maps, "layer", _layers(maps))


def colors_layer(inspector: Inspector) -> ResultLayer:
    """Each layer's patch embeddings, their three main directions as colours (PCA)."""
    colors = inspector.colors()
    first = {"rgb": True, "opacity": 0.9}
    return ResultLayer(
        "layer colours", colors, {}, first, axis_labels=("layer",), names=_layers(colors)
    )


def received_layer(inspector: Inspector) -> ResultLayer:
    """How much attention each place receives from all places, 1 on average."""
    return map_layer("attention received", inspector.received())


def score_layers(scored: Scored) -> list[ResultLayer]:
    """Each class's map before and after compensation (Figure 6)."""
    names = scored.classes.names
    maps = {"scores before": scored.coarse_maps, "scores after": scored.refined_maps}
    return [
        replace(map_layer(role, values, "viridis", "class"), names=names)
        for role, values in maps.items()
    ]


def uncertainty_layer(result: Result) -> ResultLayer:
    """One minus the margin between the two best classes."""
    uncertainty = result.uncertainty
    return map_layer("uncertainty", uncertainty, "inferno")


def comparison(request: Request, methods: Sequence[str]) -> Steps[list[tuple[str, Segmented]]]:
    """Segment one picture by several methods, each with its own thresholds."""
    found = []
    for method in methods:
        model = replace(request.model, method=method)
        segmented = yield from segmentation(replace(request, model=model))
        found.append((method, segmented))
    return found


def method_layer(method: str, segmented: Segmented) -> ResultLayer:
    """One method's masks."""
    item = labels_layer(f"by {method}", segmented.result.labels, segmented.result.classes)
    return replace(item, first={"opacity": 0.6})


def _stack(role: str, maps: NDArray[np.float32], axis: str, names: tuple[str, ...]) -> ResultLayer:
    item = map_layer(role, maps, axis=axis)
    return replace(item, names=names)


def _layers(maps: NDArray[Any]) -> tuple[str, ...]:
    return tuple(f"layer {number}" for number in range(1, len(maps) + 1))


def _written(point: Point) -> str:
    return f"{point[0]:.0f}, {point[1]:.0f}"
