"""What can be exported of a picture: its masks as corrected or proposed, its instances."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cliper.annotation.annotation import Annotation
from napari_cliper.files.layer_data import CLASSES, annotation_of
from napari_cliper.files.names import by_pattern, plain
from napari_cliper.widgets import masks
from napari_cliper.widgets.layers import KEY
from napari_cliper.widgets.session_layers import label_layers

if TYPE_CHECKING:
    from napari.layers import Labels
    from napari.viewer import Viewer

    from napari_cliper.widgets.planes import Plane


@dataclass(frozen=True, eq=False)
class Source:
    """One map of labels that can be exported.

    Attributes
    ----------
    key : str
        By which it is remembered: "refined", "refined as proposed", "coarse", …
    layer : Labels
    proposed : bool
        Whether what a person painted is left out.
    """

    key: str
    layer: Labels
    proposed: bool = False

    @property
    def title(self) -> str:
        """What it is called in a list."""
        return self.key[:1].upper() + self.key[1:]

    def annotation(
        self, plane: Plane, picture: Path | None, pattern: str, objects: bool, visible: bool
    ) -> Annotation:
        """What it holds now, copied: a thread may write it while the person paints on.

        Parameters
        ----------
        plane : Plane
        picture : Path or None
            The picture's file.
        pattern : str
            As for `by_pattern`.
        objects : bool
            Whether instances become objects of their class.
        visible : bool
            Whether classes that are hidden in the list are left out.

        Raises
        ------
        NapariCliperError
            The pattern is none, or no class is visible.
        """
        data, attributes, _ = self.layer.as_layer_data_tuple()
        mask = masks.on(self.layer, plane.key)
        if mask is not None:
            data = mask.proposal if self.proposed else mask.data
            attributes |= {name: attributes[name][-2:] for name in ("scale", "units")}
            notes = attributes["metadata"][KEY] | {CLASSES: mask.classes.to_json()}
            attributes["metadata"] = attributes["metadata"] | {KEY: notes}
        place = "".join(f"_{at}" for at in plane.place)
        role = self.key.replace(" as corrected", "")
        name = by_pattern(pattern, f"{plane.name}{place}_{role}", plane.name + place)
        found = annotation_of(data, attributes, plain(name), objects)
        found = replace(found, picture=picture)
        return found.only(_shown(self.layer, found)) if visible else found


def sources(viewer: Viewer, plane: Plane) -> list[Source]:
    """What there is of a plane, what people mostly want first."""
    found = []
    for layer in label_layers(viewer, plane.key):
        role = layer.metadata[KEY]["role"]
        if masks.on(layer, plane.key) is None:
            found.append(Source(role, layer))
        else:
            found += [
                Source(f"{role} as corrected", layer),
                Source(f"{role} as proposed", layer, proposed=True),
            ]
    return sorted(found, key=lambda source: (not source.key.startswith("refined"), source.proposed))


def picture_file(viewer: Viewer, plane: Plane) -> Path | None:
    """The file that a picture was opened from; None for a plane of a stack, which has no file."""
    if plane.place:
        return None
    layer: Any = next((one for one in viewer.layers if str(one.unique_id) == plane.picture), None)
    path = layer.source.path if layer is not None else None
    return Path(path) if path else None


def _shown(layer: Labels, annotation: Annotation) -> list[int]:
    ids = list(annotation.classes.ids)
    if layer.metadata[KEY]["role"] not in ("refined", "coarse"):
        return ids
    opacity = layer.colormap.map(np.array(ids))[:, 3]
    return [id_ for id_, alpha in zip(ids, opacity.tolist(), strict=True) if alpha > 0]
