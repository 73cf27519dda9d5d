"""What a person set in napari's preferences about us, as the manifest declares it."""

from __future__ import annotations

from dataclasses import dataclass

PLUGIN = "napari-cliper"


@dataclass(frozen=True)
class Preferences:
    """The values under Preferences ▸ CLIPer; the manifest says what each is for.

    Attributes
    ----------
    preset, device, precision : str
        What the docks choose at first.
    memory_limit : float
        Gigabytes that encoded pictures may take.
    disk_limit : float
        Gigabytes that encoded pictures and words may take on disk; 0 for what the environment says.
    idle_limit : float
        Minutes after which models and encodings that nobody uses are let go; 0 keeps them.
    undo_limit : float
        Gigabytes that the strokes and updates of a mask may take that can be undone.
    cache_folder : str
        Where converted weights are kept; "" for the usual place.
    autosave : float
        Seconds between two saves of what was painted; 0 for none.
    """

    preset: str = "auto"
    device: str = "auto"
    precision: str = "auto"
    memory_limit: float = 4.0
    disk_limit: float = 0.0
    idle_limit: float = 0.0
    undo_limit: float = 0.5
    cache_folder: str = ""
    autosave: float = 30.0

    @classmethod
    def read(cls) -> Preferences:
        """Read them now; the usual ones where the plugin is not installed, as in a plain script."""
        from napari.settings import get_plugin_settings

        try:
            given = get_plugin_settings(PLUGIN).segmentation
        except KeyError:
            return cls()
        return cls(**{name: getattr(given, name) for name in cls.__dataclass_fields__})
