"""Encoded pictures and words on disk, so that another process need not encode them again."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from importlib.metadata import version
from typing import Any, TypeVar, get_args, get_type_hints

import torch
from pydantic import TypeAdapter
from torch import Tensor

from napari_cliper.cliper import Encoding, Settings
from napari_cliper.models.kept_files import KeptFiles, encodings_folder, key_of
from napari_cliper.models.schema import Preset

# Of the entries; another number makes old ones be forgotten. Count it up when a field of an
# encoding comes to mean something else; where fields come or go, the entries tell by themselves.
FORMAT = 1
ROW = "row"
Templates = tuple[str, ...]
T = TypeVar("T")


@dataclass(frozen=True)
class EncodingFiles:
    """What one model has encoded, in a folder that it shares with others.

    Attributes
    ----------
    files : KeptFiles
    pictures, words : str
        Of all that an encoding depends on besides the picture, and a text row besides its words.
    settings : Settings
        Of encodings that are read.
    device : str
        Where what is read is put. What was computed on one device serves on another.
    """

    files: KeptFiles
    pictures: str
    words: str
    settings: Settings
    device: str

    @classmethod
    def of(
        cls,
        limit: float,
        preset: Preset,
        settings: Settings,
        device: torch.device,
        dtype: torch.dtype,
        origins: Mapping[str, str],
    ) -> "EncodingFiles":
        """Those of a preset's models.

        Parameters
        ----------
        limit : float
            Bytes, of all models' together.
        preset : Preset
        settings : Settings
        device : torch.device
        dtype : torch.dtype
            Of the models' weights.
        origins : mapping of str to str
            As of `loading.Loader`.
        """
        program = [FORMAT, version("napari-cliper"), str(dtype)]
        encoder = preset.encoder.model_dump(mode="json")
        others = preset.model_dump(mode="json", include={"compensation", "proxy"})
        return cls(
            KeptFiles(encodings_folder(), limit),
            key_of(program, encoder, others, dict(origins), settings.of_encoding()),
            key_of(program, encoder, origins["encoder"]),
            settings,
            str(device),
        )

    def encoding(self, picture: str) -> Encoding | None:
        """What is kept of a picture, by its `encodings.digest`; None where that is nothing."""
        key = key_of(self.pictures, picture)
        entry = self.files.get(key)
        if entry is None:
            return None
        tensors, notes = entry
        try:
            tensors = {name: tensor.to(self.device) for name, tensor in tensors.items()}
            return replace(put_together(Encoding, tensors, notes), settings=self.settings)
        except (LookupError, TypeError, ValueError):  # of another state of this program
            self.files.drop(key)
            return None

    def keep_encoding(self, picture: str, encoding: Encoding) -> None:
        """Keep an encoding, without what is only looked into: that is large."""
        plain = replace(encoding, inspection=None)
        self.files.put({key_of(self.pictures, picture): take_apart(plain)})

    def rows(self, templates: Templates, prompts: Iterable[str]) -> dict[str, Tensor]:
        """The rows, (D,), of those prompts that are kept."""
        found = {prompt: self.files.get(self._key(templates, prompt)) for prompt in prompts}
        return {
            prompt: entry[0][ROW].to(self.device)
            for prompt, entry in found.items()
            if entry is not None
        }

    def keep_rows(self, templates: Templates, rows: Mapping[str, Tensor]) -> None:
        """Keep the row, (D,), of each prompt."""
        entries = {self._key(templates, prompt): ({ROW: row}, None) for prompt, row in rows.items()}
        self.files.put(entries)

    def _key(self, templates: Templates, prompt: str) -> str:
        return key_of(self.words, templates, prompt)


def take_apart(value: Any, path: str = "") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a dataclass and of those in it, by dotted names, and the rest for JSON."""
    tensors: dict[str, Tensor] = {}
    notes: dict[str, Any] = {}
    for field in fields(value):
        part = getattr(value, field.name)
        if isinstance(part, Tensor):
            tensors[path + field.name] = part
        elif is_dataclass(part):
            inner, notes[field.name] = take_apart(part, f"{path}{field.name}.")
            tensors |= inner
        else:
            notes[field.name] = part
    return tensors, notes


def put_together(
    kind: type[T], tensors: Mapping[str, Tensor], notes: Mapping[str, Any], path: str = ""
) -> T:
    """What was taken apart, as the dataclass's annotations say.

    Raises
    ------
    LookupError, TypeError, ValueError
        If it was another dataclass, or had other fields.
    """
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    for field in fields(kind):  # type: ignore[arg-type]
        name, choices = field.name, get_args(hints[field.name]) or (hints[field.name],)
        types = (choice for choice in choices if isinstance(choice, type))
        inner = next(filter(is_dataclass, types), None)
        if path + name in tensors:
            values[name] = tensors[path + name]
        elif notes[name] is None and type(None) in choices:
            values[name] = None
        elif inner is not None:
            values[name] = put_together(inner, tensors, notes[name], f"{path}{name}.")
        else:
            values[name] = TypeAdapter(hints[name]).validate_python(notes[name])
    return kind(**values)
