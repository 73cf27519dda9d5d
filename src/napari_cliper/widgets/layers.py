"""Between napari's layers and the core: the picture that is shown, and the layers of a result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Layer
from napari.utils.colormaps import DirectLabelColormap
from napari.utils.transforms import CompositeAffine
from numpy.typing import NDArray

from napari_cliper.errors import NapariCliperError
from napari_cliper.images import to_rgb

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_cliper.annotation.class_list import ClassList
    from napari_cliper.segmenter import Result

KEY = "napari-cliper"
"""Under this name our notes lie in a layer's metadata."""


@dataclass(frozen=True)
class Plane:
    """The 2-D plane of a picture that is shown, as it was when it was asked for.

    Attributes
    ----------
    name : str
        Of the picture's layer.
    picture : str
        The layer's identity, which outlives its name.
    data : array-like
        All of the layer's pixels, perhaps lazy.
    index : tuple
        Picks the plane out of `data`.
    contrast_limits : (float, float) or None
        None for colour pictures.
    placement : dict
        scale, translate, rotate, shear, affine, units and axis_labels of the plane's two axes.
    """

    name: str
    picture: str
    data: Any
    index: tuple[int | slice, ...]
    contrast_limits: tuple[float, float] | None
    placement: dict[str, Any]

    def pixels(self) -> NDArray[np.uint8]:
        """Read the plane: (H, W, 3) uint8. May take long for lazy data.

        Raises
        ------
        NapariCliperError
            If the array is no picture.
        """
        return to_rgb(np.asarray(self.data[self.index]), self.contrast_limits)


@dataclass(frozen=True)
class ResultLayer:
    """One layer to be shown.

    Attributes
    ----------
    role : str
        "coarse", "refined" or "attention"; a picture has one layer of each.
    data : (h, w) array
        Unsigned integers make a Labels layer, floats an Image layer.
    digest : str
        Of the data, so that later it can be told whether a person changed it.
    attributes : dict
        What else the layer is given whenever its data is set.
    first : dict
        What the layer is given when it is made, and the person may change for good.
    stretch : (float, float)
        Picture pixels per pixel of `data`.
    """

    role: str
    data: NDArray[Any]
    digest: str
    attributes: Mapping[str, Any]
    first: Mapping[str, Any]
    stretch: tuple[float, float] = (1.0, 1.0)


def shown_plane(viewer: Viewer, layer: Image) -> Plane:
    """Note what `viewer` shows of a picture, and where.

    Raises
    ------
    NapariCliperError
        If other than the picture's last two axes are shown, or the sliders stand outside it.
    """
    if sorted(viewer.dims.order[-2:]) != [viewer.dims.ndim - 2, viewer.dims.ndim - 1]:
        raise NapariCliperError(
            f"“{layer.name}” is shown along other axes than its last two:"
            " press “Change order of the visible axes” below the layer list until they are back."
        )
    data = layer.data[0] if layer.multiscale else layer.data
    point = layer.world_to_data(viewer.dims.point)
    index = tuple(int(i) for i in np.round(point[: layer.ndim - 2]))
    if any(not 0 <= i < size for i, size in zip(index, data.shape, strict=False)):
        raise NapariCliperError(
            f"Nothing of “{layer.name}” is shown here: move the sliders below the picture back"
            " into its range."
        )
    return Plane(
        name=layer.name,
        picture=str(layer.unique_id),
        data=data,
        index=(*index, slice(None), slice(None)),
        contrast_limits=None if layer.rgb else tuple(layer.contrast_limits),
        placement=_placement(layer),
    )


def result_layers(
    result: Result, attention: NDArray[np.float32] | None = None
) -> list[ResultLayer]:
    """Prepare the layers of a result; needs no window and may run in any thread.

    Parameters
    ----------
    result : Result
    attention : (gh, gw) float32, or None to leave that layer out
    """
    label_maps = {"coarse": result.coarse_labels, "refined": result.labels}
    layers = [labels_layer(role, labels, result.classes) for role, labels in label_maps.items()]
    if attention is not None:
        layers.insert(0, attention_layer(attention, result.labels.shape))
    return layers


def labels_layer(role: str, labels: NDArray[np.uint16], classes: ClassList) -> ResultLayer:
    """Prepare a Labels layer with class names and colours.

    The data is uint8 where the ids allow it: napari hands that to the graphics card as it is,
    while wider labels are converted, and their colours worked out, on the GUI thread. Every change
    makes a new colour map: changing one in place has no effect (napari#7327).
    """
    ids = [entry.id for entry in classes]
    colors: dict[int | None, Any] = {None: "white", 0: "transparent"}
    colors |= {entry.id: np.array((*entry.color, 255)) / 255 for entry in classes}
    data = labels.astype(np.uint8 if max(ids) <= 255 else np.uint16)
    colormap = DirectLabelColormap(color_dict=colors)
    colormap.map(data[:1])  # napari keeps the table it builds here: not for the GUI thread
    attributes = {
        "colormap": colormap,
        "features": {
            "index": [0, *ids],
            "name": ["background", *(entry.name for entry in classes)],
        },
    }
    # The refined mask is what people look at and paint on; under two tints no photograph is seen.
    first = {"visible": role == "refined", "opacity": 0.5}
    return ResultLayer(role, data, digest(data), attributes, first)


def attention_layer(attention: NDArray[np.float32], size: tuple[int, ...]) -> ResultLayer:
    """Prepare an Image layer whose grid of patches covers a picture of `size` = (H, W)."""
    stretch = (size[0] / attention.shape[0], size[1] / attention.shape[1])
    limits = float(attention.min()), float(np.nextafter(attention.max(), np.float32(np.inf)))
    return ResultLayer(
        "attention",
        attention,
        digest(attention),
        attributes={"contrast_limits": limits},
        first={"colormap": "magma", "opacity": 0.6},
        stretch=stretch,
    )


def show(viewer: Viewer, plane: Plane, item: ResultLayer) -> Layer:
    """Update our layer for `item`, or add one if there is none or a person changed its pixels."""
    placement = _stretched(plane.placement, item.stretch)
    notes = {"picture": plane.picture, "role": item.role, "digest": item.digest}
    layer = _untouched_layer(viewer, notes, item.data.shape)
    if layer is None:
        kind = Labels if item.data.dtype.kind == "u" else Image
        layer = kind(
            item.data,
            name=f"{plane.name} [{item.role}]",
            **item.attributes,
            **item.first,
            **placement,
        )
        # A copy that the person makes carries these notes on, but it is theirs.
        layer.metadata[KEY] = notes | {"layer": str(layer.unique_id)}
        viewer.add_layer(layer)
    else:
        layer.data = item.data
        if isinstance(layer, Labels):
            _forget_strokes(layer)
        _set_changed(layer, placement)
        for name, value in item.attributes.items():
            setattr(layer, name, value)
        layer.metadata[KEY] = layer.metadata[KEY] | notes  # a copy may share the old ones
    return layer


def is_ours(layer: Layer) -> bool:
    """Tell whether we made this layer for a result."""
    return "role" in layer.metadata.get(KEY, {})


def fitting_classes(layer: Layer) -> str:
    """Class names that come with a picture, as our samples do; "" if none do."""
    return str(layer.metadata.get(KEY, {}).get("classes", ""))


def digest(data: NDArray[Any]) -> str:
    """Tell arrays apart by dtype, shape and content. About half a millisecond a megabyte."""
    hashed = sha256(f"{data.dtype.str} {data.shape}".encode())
    hashed.update(np.ascontiguousarray(data).data)
    return hashed.hexdigest()


def _untouched_layer(
    viewer: Viewer, notes: Mapping[str, str], shape: tuple[int, ...]
) -> Layer | None:
    """Find the topmost layer with our `notes` that still holds what we put in."""
    for layer in reversed(viewer.layers):
        found = layer.metadata.get(KEY, {})
        if (
            found.get("layer") == str(layer.unique_id)
            and all(found.get(name) == notes[name] for name in ("picture", "role"))
            and layer.data.shape == shape
            and found.get("digest") == digest(layer.data)
        ):
            return layer
    return None


def _forget_strokes(layer: Labels) -> None:
    """Clear the undo history, which setting the data does not: old strokes would replay on it.

    napari has no method for it, but a layer forgets its strokes when it ceases to be editable.
    """
    mode = layer.mode
    layer.editable = False
    layer.editable = True
    layer.mode = mode


def _placement(layer: Image) -> dict[str, Any]:
    """Where the plane of the last two axes lies."""
    axes = [layer.ndim - 2, layer.ndim - 1]
    inner = CompositeAffine(
        layer.scale, layer.translate, rotate=layer.rotate, shear=layer.shear, ndim=layer.ndim
    ).set_slice(axes)
    return {
        "scale": inner.scale,
        "translate": inner.translate,
        "rotate": inner.rotate,
        "shear": inner.shear,
        "affine": layer.affine.set_slice(axes).affine_matrix,
        "units": layer.units[-2:],
        "axis_labels": layer.axis_labels[-2:],
    }


def _stretched(placement: dict[str, Any], stretch: tuple[float, float]) -> dict[str, Any]:
    """Place an array with `stretch` times fewer pixels so that it covers the same ground.

    Pixel i of it covers the picture's pixels from i · stretch on, and its centre is their mean.
    """
    inner = CompositeAffine(
        **{name: placement[name] for name in ("scale", "translate", "rotate", "shear")}
    )
    scale = np.multiply(placement["scale"], stretch)
    translate = inner((np.array(stretch) - 1) / 2)
    return placement | {"scale": scale, "translate": translate}


def _set_changed(layer: Layer, placement: Mapping[str, Any]) -> None:
    """Set what differs; each setting costs a redraw."""
    for name, value in placement.items():
        if not np.array_equal(np.asarray(getattr(layer, name)), np.asarray(value)):
            setattr(layer, name, value)
