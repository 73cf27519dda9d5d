"""The image tower in half precision against float32, on the reference cases.

The U-Net stays float32 here: the cases' miniature one is chaotic (docs/parity.md), so that rounding
of any size makes other maps of it.
"""

from dataclasses import replace

import pytest
import torch

from napari_cliper.cliper import CLIPer, drain
from reference_cases import FOLDER, HERE, Case, case_names

# At least so many of the refined label map's pixels agree. Measured: float16 99.5 to 100 % in every
# case. bfloat16 99.0 to 100 % but for these, whose scores lie close together: 96.98, 97.86, 98.43,
# 98.67 %, and on a processor with bfloat16 arithmetic of its own portrait 98.0 and fused 98.5 %.
# Its weights have eight bits; keeping the last block float32 changed nothing.
CLOSE_SCORES = (
    "background_score",
    "attn_vanilla",
    "heads_mean",
    "last_layer_only",
    "portrait",
    "fused",
)


def least_agreement(case: str, dtype: torch.dtype) -> float:
    return 0.96 if dtype == torch.bfloat16 and case in CLOSE_SCORES else 0.99


# Of cases from elsewhere (CLIPER_REFERENCE_DIR) it is not known how close their scores lie.
CASES = [name for name in case_names() if FOLDER == HERE / "data" / "reference"]


@pytest.mark.parametrize("name", CASES)
def test_labels_in_half_precision(name: str) -> None:
    case = Case(name)
    full = case.encoding
    expected = case.engine.label(case.engine.score(full, *case.text)).labels
    for dtype in (torch.float16, torch.bfloat16):
        half = Case(name)
        half.clip.visual.to(dtype)
        for module in half.clip.visual.modules():
            if isinstance(module, torch.nn.LayerNorm):
                module.float()
        engine = CLIPer(
            half.engine.image_encoder,
            half.engine.text_encoder,
            None,
            half.settings,
            half.engine.proxy_model,
        )
        encoding = replace(drain(engine.encode(case.image)), compensation=full.compensation)
        labels = engine.label(engine.score(encoding, *case.text)).labels
        assert (labels == expected).float().mean() >= least_agreement(name, dtype), dtype
