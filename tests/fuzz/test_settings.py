"""Whatever is chosen as a setting or stands in a preset file is taken or refused."""

import tempfile
from dataclasses import fields
from pathlib import Path
from typing import get_args

from hypothesis import strategies as st

from fuzz.broken import NASTY, broken_bytes, broken_lines, nasty_values
from fuzz.examples import allowed, fuzz
from napari_cliper.cliper import Settings
from napari_cliper.cliper.settings import LastBlockAttention
from napari_cliper.models import inventory
from napari_cliper.models.choices import Choices
from napari_cliper.models.loading import make_settings
from napari_cliper.models.presets import (
    BUILT_IN,
    compensation_changes,
    get_preset,
    load_methods,
    load_presets,
    parse_change,
)

FIELDS = [
    *(f"settings.{field.name}" for field in fields(Settings)),
    "settings", "settings.nothing", "encoder", "encoder.kind", "encoder.weights.repo", "method",
    "encoder.image", "encoder.image.repo", "encoder.image.files", "encoder.heads", "name",
    "compensation", "compensation.kind", "compensation.block", "compensation.grid",
    "compensation.model", "compensation.weights.repo", "compensation.weights.files", "proxy",
    "templates", "background", "extends", "title", "sources", "a.b.c", "", ".", "..", "é",
]  # fmt: skip
VALUES = [
    "1", "0", "-1", "true", "70", "0.5", "nan", "inf", "-inf", "1e400", "1" * 5000, "[]", "{}",
    "[[[]]]", "{a = {b = 1}}", "{kind = 'vision-model', model = 'dinov2-small'}", '"a {} b"',
    "['{}']", "2020-01-01", "12:00:00", "all", "dinov2-small", "stable-diffusion-2.1", "none",
    "~nobody_is_called_so/x", "./here", "../there", "/nowhere", "a\0b", "'''", '"', "\\", "=",
    "{repo = 'a', files = 3}", "{repo = 'a', files = {}}", "{kind = 'stable-diffusion'}",
    "{kind = 'stable-diffusion', weights = {repo = 'a'}}", "[" * 3000, "{a=" * 3000,
    *get_args(LastBlockAttention),
]  # fmt: skip
CHANGES = st.one_of(
    st.builds("{}={}".format, st.sampled_from(FIELDS), st.sampled_from(VALUES) | st.text()),
    st.text(max_size=20),
    st.builds("{}=1".format, st.integers(0, 3000).map(lambda n: ".".join("a" * n))),
)
PRESETS = st.sampled_from([*load_presets(), "nothing", "", "a.toml", "~nobody/x.toml", "\0.toml"])
FILE = (
    'extends = "small"\ntitle = "Mine"\nbackground = ["sky", "wall"]\n\n[settings]\n'
    'shorter_side = 448\nlogit_scale = 70.5\nattention = "fused"\n\n'
    '[encoder]\nheads = "heads.safetensors"\n\n[encoder.image]\nrepo = "./weights"\n'
    'files = {"a.onnx" = ""}\n'
)
WHOLE = BUILT_IN.read_text("utf-8")
FIRST = WHOLE[WHOLE.index("\n[small]") + 9 : WHOLE.index("\n[base]")].replace("[small.", "[")


def check(preset):
    if preset is not None:
        made = allowed(make_settings, preset)
        assert made is None or isinstance(made, Settings)


@fuzz(0.1, name=PRESETS, changes=st.lists(CHANGES, max_size=3))
def test_any_changes(name, changes):
    chosen = allowed(Choices(changes=changes).as_changes)
    if chosen is not None:
        check(allowed(get_preset, name, chosen))


@fuzz(0.04, change=CHANGES, changes=st.lists(st.dictionaries(st.text(), nasty_values())))
def test_any_tables(change, changes):
    parsed = allowed(parse_change, change)
    check(allowed(get_preset, "small", [*([parsed] if parsed else []), *changes]))


@fuzz(
    0.04,
    method=st.sampled_from([*load_methods(), *NASTY]),
    encoder=st.none() | st.text(max_size=8) | st.sampled_from(["ViT-B-16", "ViT-B-16:openai", ":"]),
    compensation=st.none() | st.text(max_size=8) | st.sampled_from(VALUES),
)
def test_any_choices(method, encoder, compensation):
    changes = allowed(Choices(method, encoder, compensation).as_changes)
    if changes is not None:
        check(allowed(get_preset, "small", changes))
    if compensation is not None:
        allowed(compensation_changes, compensation)
        allowed(inventory.find, compensation)


@fuzz(
    0.08,
    content=broken_bytes(FILE.encode())
    | broken_lines(FILE)
    | broken_lines(FIRST)
    | st.builds(
        "{}\n{} = {}".format, st.just(FILE), st.sampled_from(FIELDS), st.sampled_from(VALUES)
    ).map(str.encode),
    change=st.none() | CHANGES,
)
def test_any_preset_file(content, change):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "mine.toml")
        path.write_bytes(content)
        check(allowed(get_preset, path))
        parsed = None if change is None else allowed(parse_change, change)
        if parsed is not None:
            check(allowed(get_preset, path, [parsed]))
