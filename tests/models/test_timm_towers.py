"""Vision transformers of timm's from the files that presets name."""

from pathlib import Path

import pytest
import skimage.data
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from napari_cliper.cliper.image_tower import embed_patches, run_blocks
from napari_cliper.cliper.preprocessing import to_pixels
from napari_cliper.cliper.steps import drain
from napari_cliper.cliper.vision_model import VisionModel
from napari_cliper.errors import NapariCliperError
from napari_cliper.models import schema, timm_towers
from napari_cliper.models.open_clip_towers import load_dual
from napari_cliper.models.presets import get_preset
from napari_cliper.models.schema import DualEncoder
from napari_cliper.models.timm_towers import load_vision_model
from napari_cliper.models.weights import locate

CPU = torch.device("cpu")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
IMAGE = skimage.data.chelsea()
TOLERANCE = 1e-4  # tokens reach 10
DINOV2_S = "vit_small_patch14_dinov2.lvd142m"


def vision(architecture: str) -> schema.VisionModel:
    weights = schema.Repository(repo="timm/any", files={"model.safetensors": ""})
    return schema.VisionModel(architecture=architecture, mean=MEAN, std=STD, weights=weights)


@pytest.fixture
def encoder() -> DualEncoder:
    encoder = get_preset("small").encoder
    assert isinstance(encoder, DualEncoder)
    return encoder


@pytest.fixture
def graph(encoder: DualEncoder) -> Path:
    found = locate(encoder.image)
    assert found is not None, 'these tests need pip install "napari-cliper[offline]"'
    return found.model


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of timm's smallest vision transformer, as timm itself writes it."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("tiny") / "model.safetensors"
    save_file(timm.create_model("test_vit", num_classes=0).state_dict(), path)
    return path


def test_same_as_the_tower_under_open_clips_names(
    graph: Path, towers: Path, encoder: DualEncoder
) -> None:
    """Two ways from the wheel to tokens and attention; the grid is the pretrained one."""
    grid, block = (37, 37), 9
    model = load_vision_model(vision(DINOV2_S), graph, CPU)
    visual = load_dual(encoder, towers, CPU)[0].visual
    with torch.no_grad():
        tokens = embed_patches(visual, to_pixels(IMAGE, grid, 14, MEAN, STD))
        seen: list[Tensor] = []

        def look(number: int, heads: slice, attention: Tensor) -> None:
            if number == block:
                seen.append(attention)

        *_, (_, output) = run_blocks(visual, tokens, look)
        expected = visual.ln_post(visual.transformer.resblocks[-1](output))[0, 1:]
    features = model.patch_features(IMAGE, grid).flatten(0, 1)
    assert features.abs().max() > 1
    assert (features - expected).abs().max() <= TOLERANCE
    maps = drain(model.attention_maps(IMAGE, grid, block))
    torch.testing.assert_close(maps, torch.cat(seen)[:, 1:, 1:], rtol=1e-3, atol=1e-6)


def test_file_as_timm_loads_it(tiny: Path) -> None:
    model = load_vision_model(vision("test_vit"), tiny, CPU)
    reference = timm.create_model("test_vit", num_classes=0)
    reference.load_state_dict(load_file(tiny))
    pixels = torch.randn(1, 3, 160, 160)
    with torch.no_grad():
        assert torch.equal(model.model(pixels), reference.eval()(pixels))
    assert not model.model.training
    assert not any(parameter.requires_grad for parameter in model.model.parameters())
    assert (model.mean, model.std) == (MEAN, STD)


def test_precision(tiny: Path) -> None:
    model = load_vision_model(vision("test_vit"), tiny, CPU, torch.bfloat16)
    assert {parameter.dtype for parameter in model.model.parameters()} == {torch.bfloat16}
    assert drain(model.attention_maps(IMAGE, (2, 3), -1)).dtype == torch.float32


def random_model(architecture: str, monkeypatch: pytest.MonkeyPatch) -> VisionModel:
    """A model of its whole size, in half precision to be quick, from a file that there is not."""
    torch.manual_seed(0)
    wanted = timm.create_model(architecture, num_classes=0, device=torch.device("meta"))
    tensors = {
        name: torch.empty(tensor.shape, dtype=torch.bfloat16).uniform_(-0.05, 0.05)
        for name, tensor in wanted.state_dict().items()
    }
    monkeypatch.setattr(timm_towers, "read_tensors", lambda path: tensors)
    return load_vision_model(vision(architecture), Path("model.safetensors"), CPU, torch.bfloat16)


@pytest.mark.parametrize(
    ("architecture", "patch", "blocks", "heads", "width"),
    [
        (DINOV2_S, 14, 12, 6, 384),
        ("vit_base_patch14_dinov2.lvd142m", 14, 12, 12, 768),
        ("vit_large_patch14_dinov2.lvd142m", 14, 24, 16, 1024),
        ("vit_small_patch14_reg4_dinov2.lvd142m", 14, 12, 6, 384),
        ("vit_small_patch16_224.dino", 16, 12, 6, 384),
        ("vit_small_patch8_224.dino", 8, 12, 6, 384),
        ("vit_base_patch16_224.dino", 16, 12, 12, 768),
        ("vit_base_patch8_224.dino", 8, 12, 12, 768),
    ],
)
def test_whole_size(
    architecture: str,
    patch: int,
    blocks: int,
    heads: int,
    width: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = random_model(architecture, monkeypatch)
    assert (model.patch_size, model.blocks, model.heads) == (patch, blocks, heads)
    maps = drain(model.attention_maps(IMAGE, (2, 3), -2))
    assert maps.shape == (heads, 6, 6)
    sums = maps.sum(dim=-1)
    assert bool((sums > 0).all())
    assert bool((sums < 1).all())
    features = model.patch_features(IMAGE, (3, 2))
    assert features.shape == (3, 2, width)
    assert bool(features.isfinite().all())


@pytest.mark.parametrize(
    ("architecture", "said"),
    [
        ("vit_base_patch14_dino2", "no architecture “vit_base_patch14_dino2”: take .*_dinov2"),
        ("VIT_BASE_PATCH8_224.DINO", "take vit_base_patch8_224.dino,"),
        ("vit_base_patch14_dinov2.other", "take vit_base_patch14_dinov2.lvd142m,"),
        ("", "take vit_base_patch14_dinov2.lvd142m, vit_base_patch8_224.dino"),
        # timm would ask the hub for the first, and look on this machine for the second.
        ("hf-hub:timm/vit_base_patch8_224.dino", "no architecture “hf-hub:timm/vit_base"),
        ("local-dir:/tmp", "no architecture “local-dir:/tmp”"),
        ("convnext_base", "“convnext_base” cannot serve .* since it is of timm's family convnext"),
        ("swin_base_patch4_window7_224", "family swin_transformer: take a plain"),
        (
            "vit_base_patch16_dinov3",
            "family eva: take a plain vision transformer, such as vit_base",
        ),
        ("vit_base_r50_s16_224", "family vision_transformer_hybrid"),
        ("deit_small_distilled_patch16_224", "its VisionTransformerDistilled computes in another"),
        ("vit_base_patch16_xp_224", "its ParallelScalingBlock computes in another way"),
        ("vit_base_patch16_rpn_224", "its ResPostBlock computes in another way"),
        ("vit_dlittle_patch16_reg1_gap_256", "its DiffAttention computes in another way"),
    ],
)
def test_unsuitable_architectures(architecture: str, said: str, tiny: Path) -> None:
    with pytest.raises(NapariCliperError, match=said):
        load_vision_model(vision(architecture), tiny, CPU)


def changed(tiny: Path, tmp_path: Path, **more: Tensor) -> Path:
    path = tmp_path / "changed.safetensors"
    save_file(
        load_file(tiny) | {name.replace("__", "."): value for name, value in more.items()}, path
    )
    return path


def test_mask_token_is_passed_over(tiny: Path, tmp_path: Path) -> None:
    path = changed(tiny, tmp_path, mask_token=torch.zeros(1, 64))
    assert load_vision_model(vision("test_vit"), path, CPU).blocks == 6


@pytest.mark.parametrize("name", ["head__weight", "register_tokens"])
def test_superfluous_weights_are_refused(name: str, tiny: Path, tmp_path: Path) -> None:
    path = changed(tiny, tmp_path, **{name: torch.zeros(2, 64)})
    with pytest.raises(NapariCliperError, match=f"also holds {name.replace('__', '.')}; take the"):
        load_vision_model(vision("test_vit"), path, CPU)


def test_weights_of_another_architecture(tiny: Path, graph: Path) -> None:
    refused = rf"The weights {tiny} are not those of {DINOV2_S}: the file .*64, not .*384; take"
    with pytest.raises(NapariCliperError, match=refused):
        load_vision_model(vision(DINOV2_S), tiny, CPU)
    with pytest.raises(NapariCliperError, match=r"the file lacks reg_token; take"):
        load_vision_model(vision("vit_small_patch14_reg4_dinov2.lvd142m"), graph, CPU)
    with pytest.raises(NapariCliperError, match=r"cls_token of the shape 1×1×384, not 1×1×768"):
        load_vision_model(vision("vit_base_patch14_dinov2.lvd142m"), graph, CPU)


@pytest.mark.parametrize("name", ["model.safetensors", "graph.onnx"])
def test_damaged_files(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"no header")
    with pytest.raises(NapariCliperError, match=name):
        load_vision_model(vision(DINOV2_S), tmp_path / name, CPU)
