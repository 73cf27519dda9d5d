"""Presets: which models, which weights, which settings. Data in TOML files, read here.

`presets.toml` holds whole presets. All else is a change to one, a table of what is different: a
preset file of a person's own, a method (`methods.toml`), a source of compensation
(`compensations.toml`), a single value from the command line. Changes are merged in turn, and the
result is checked once.

Nothing heavy is imported, so that a window can list presets at once.
"""

import os
import tomllib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from napari_cliper.errors import NapariCliperError
from napari_cliper.models.paths import path_of
from napari_cliper.models.schema import Method, Preset

AUTO = "auto"
BUILT_IN = Path(__file__).with_name("presets.toml")
METHODS = BUILT_IN.with_name("methods.toml")
COMPENSATIONS = BUILT_IN.with_name("compensations.toml")
VISION_MODELS = BUILT_IN.with_name("vision_models.toml")

LARGEST = 2**20  # bytes of a preset file; the built-in presets together have less than 2**15
DEEPEST = 16  # tables and lists within each other; a preset has five

Changes = Mapping[str, Any]


@cache
def load_presets() -> dict[str, Preset]:
    """The built-in presets by name, from the smallest to the largest."""
    return {name: Preset(name=name, **_built_in(name)) for name in _read(BUILT_IN)}


@cache
def load_methods() -> dict[str, Method]:
    """The methods to compare by name, CLIPer itself first."""
    return {name: Method(**table) for name, table in _read(METHODS).items()}


@cache
def load_compensations() -> dict[str, Changes]:
    """What each named source of compensation changes in a preset."""
    return _read(COMPENSATIONS)


def method_changes(name: str) -> Changes:
    """What a method changes in a preset.

    Raises
    ------
    NapariCliperError
        If there is no such method.
    """
    methods = load_methods()
    if name not in list(methods):  # whatever type it is of
        raise NapariCliperError(f"There is no method “{name}”: choose {', '.join(methods)}.")
    return {"method": name, "settings": methods[name].settings}


def compensation_changes(name: str) -> Changes:
    """What a choice of the compensation's source changes in a preset.

    Parameters
    ----------
    name : str
        A name of `load_compensations`; "preset" for the preset's own, also with a method that
        would do without; "none" for none; or the path of a folder with Stable Diffusion 1 or 2,
        laid out as diffusers does.

    Raises
    ------
    NapariCliperError
        If it is none of these.
    """
    known = load_compensations()
    if not name:
        raise NapariCliperError("The source of compensation is empty: say none to go without.")
    if name == "none":
        return {"settings": {"compensate": False}}
    on: Changes = {"settings": {"compensate": True}}
    if name == "preset":
        return on
    if name in known:
        return _merged(on, known[name])
    folder = path_of(name)
    if not os.path.isdir(folder):  # noqa: PTH112  # Path.is_dir raises if the name is too long
        raise NapariCliperError(
            f"There is no source of compensation “{name}”: choose preset, none, "
            f"{', '.join(known)}, or give a folder with Stable Diffusion 1 or 2."
        )
    default = known["stable-diffusion-2.1"]
    return _merged(
        _merged(on, default), {"compensation": {"weights": {"repo": str(folder.absolute())}}}
    )


def parse_change(text: str) -> Changes:
    """One change as the command line has it: "settings.logit_scale=70", "compensation.seed=3".

    What stands behind the sign is TOML; if it is none, it is taken for a string.

    Raises
    ------
    NapariCliperError
        If there is no field or no value.
    """
    field, sign, value = (part.strip() for part in text.partition("="))
    names = field.split(".")
    if not (sign and value and all(names) and len(names) < DEEPEST):
        raise NapariCliperError(
            f"“{text}” changes nothing: write FIELD=VALUE, for example settings.logit_scale=70."
        )
    try:
        change: Any = _parsed(f"value = {value}")["value"]
    except ValueError:
        change = value
    for name in reversed(names):
        change = {name: change}
    return change  # type: ignore[no-any-return]


def get_preset(name: str | Path, changes: Sequence[Changes] = ()) -> Preset:
    """A preset by its name, or from a file.

    Parameters
    ----------
    name : str or Path
        A built-in preset's name, or the path of a TOML file that holds one preset's fields. With
        `extends = "NAME"` the file need only say what differs from that built-in preset.
    changes : sequence of tables
        What is different from it, the later ones having the last word.

    Raises
    ------
    NapariCliperError
        If there is no such preset, the file does not hold one, or a change does not fit it.
    """
    presets = load_presets()
    if str(name) in presets:
        if not changes:
            return presets[str(name)]
        table, where = {"name": str(name), **_built_in(str(name))}, f"preset {name}, as changed,"
    else:
        path = path_of(name)
        table, where = {"name": path.stem} | _from_file(path), f"preset file {path}"
    for change in changes:
        if _is_too_deep(change):
            raise NapariCliperError(
                f"A change to the {where} nests more than {DEEPEST} tables: write single values."
            )
        table = _merged(table, _resolved(change, Path.cwd()))
    try:
        return Preset.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        said = first["msg"].removeprefix("Value error, ")
        raise NapariCliperError(f"The {where} is wrong at “{field}”: {said}.") from error


def _from_file(path: Path) -> dict[str, Any]:
    """What a person's preset file says, on top of the preset it extends."""
    presets = load_presets()
    if path.suffix != ".toml":
        raise NapariCliperError(
            f"There is no preset “{path}”: choose {AUTO}, {', '.join(presets)}, or give the path "
            "of a preset file that ends in .toml."
        )
    try:
        table = _read(path)
    except OSError as error:
        raise NapariCliperError(
            f"The preset file {path} cannot be read ({error.strerror or error}): check the path."
        ) from error
    except ValueError as error:  # bad TOML or bad UTF-8
        raise NapariCliperError(f"The preset file {path} is not TOML: {error}.") from error
    if table.get("extends", "small") not in list(presets):  # whatever type it is of
        raise NapariCliperError(
            f"The preset file {path} extends “{table['extends']}”: choose {', '.join(presets)}."
        )
    if "method" in table:
        raise NapariCliperError(
            f"The preset file {path} names a method: leave it out, and choose one when you run it."
        )
    return _extended(table)


def _built_in(name: str) -> dict[str, Any]:
    return _extended(_read(BUILT_IN)[name])


def _read(path: Path) -> dict[str, Any]:
    """A TOML file whose names are resolved and whose own paths are absolute."""
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(f"it has more than {LARGEST >> 20} MiB")
    return _resolved(_parsed(content.decode("utf-8")), path.parent.absolute())


def _parsed(text: str) -> dict[str, Any]:
    """The table of a TOML text.

    Raises
    ------
    ValueError
        It is no TOML, or nested deeper than any preset.
    """
    deep = f"it nests more than {DEEPEST} tables or lists"
    try:
        table = tomllib.loads(text)
    except RecursionError as error:  # tomllib itself knows no bound
        raise ValueError(deep) from error
    if _is_too_deep(table):
        raise ValueError(deep)
    return table


def _is_too_deep(table: Changes) -> bool:
    """Whether more than `DEEPEST` tables and lists lie within each other."""
    level: list[Any] = [table]
    for _ in range(DEEPEST):
        inner = (one.values() if isinstance(one, Mapping) else one for one in level)
        level = [part for parts in inner for part in parts if isinstance(part, (Mapping, list))]
    return bool(level)


def _resolved(table: Changes, folder: Path) -> dict[str, Any]:
    """The table with paths from this folder, and parts in place of their names."""

    def resolved(key: str, value: Any) -> Any:
        if isinstance(value, dict):
            return _resolved(value, folder)
        local = key == "heads" or (key == "repo" and str(value).startswith("."))
        if local and isinstance(value, str):
            return str(folder / path_of(value))
        if key in _BY_NAME and isinstance(value, str):
            return _BY_NAME[key](value)
        return value

    return {key: resolved(key, value) for key, value in table.items()}


def _vision_model(name: str) -> dict[str, Any]:
    return _named("vision model", name, VISION_MODELS)


def _compensation(name: str) -> Any:
    return _named("source of compensation", name, COMPENSATIONS)["compensation"]


def _named(what: str, name: str, path: Path) -> dict[str, Any]:
    known = _read(path)
    if name not in known:
        raise NapariCliperError(
            f"There is no {what} “{name}”: choose {', '.join(known)}, or give a table."
        )
    return known[name]  # type: ignore[no-any-return]


# What each field may have a name in place of.
_BY_NAME: dict[str, Callable[[str], Any]] = {
    "model": _vision_model,
    "proxy": _vision_model,
    "image": lambda name: _vision_model(name)["weights"],
    "compensation": _compensation,
}


def _extended(table: Changes) -> dict[str, Any]:
    """The table on top of the built-in one it extends, if it extends one."""
    own = {key: value for key, value in table.items() if key != "extends"}
    return _merged(_built_in(table["extends"]), own) if "extends" in table else own


def _merged(under: Changes, over: Changes) -> dict[str, Any]:
    """Two tables as one; what the upper one does not say is taken from the lower one."""
    if over.get("kind", under.get("kind")) != under.get("kind"):
        return dict(over)
    if "repo" in under and over.get("repo", under["repo"]) != under["repo"]:
        # Another repository has other commits and other sums, and maybe other files.
        files = under.get("files")
        known = files if isinstance(files, dict) and "files" not in over else None
        under = {} if known is None else {"files": dict.fromkeys(known, "")}
    merged = dict(under)
    for key, value in over.items():
        below = under.get(key)
        both = isinstance(below, dict) and isinstance(value, dict)
        merged[key] = _merged(below, value) if both else value  # type: ignore[arg-type]
    return merged
