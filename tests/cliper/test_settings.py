import pytest

from napari_cliper.cliper import Settings


@pytest.mark.parametrize(
    "wrong",
    [
        {"background_threshold": 1.5},
        {"presence_threshold": -0.1},
        {"activation_threshold": 2},
        {"attention": "cross"},
        {"variant": "newspaper"},
        {"variant": "paper", "sliding_crop": 224},
        {"shorter_side": 0},
        {"sliding_stride": 0},
        {"sliding_crop": -1},
        {"early_layers": -1},
        {"early_layers": "some"},
        {"logit_scale": float("inf")},
        {"logit_scale": -1.0},
        {"head_fusion": "men"},
        {"selected_layer": 0},
        {"selected_layer": -3, "early_layers": 2},
    ],
)
def test_values_outside_their_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(reversed(wrong))):
        Settings(**wrong)  # type: ignore[arg-type]
