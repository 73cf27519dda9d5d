"""Nothing is computed in float64, which Apple's GPUs (MPS) do not have."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from napari_cliper.annotation.class_list import ClassList
from napari_cliper.cliper import CLIPer, SharedSelfAttention, TransformerSelfAttention, drain
from napari_cliper.inspector import Inspector
from napari_cliper.result import Scored
from reference_cases import Case


class NoFloat64(TorchDispatchMode):
    """While active, an operation that takes or gives float64 fails."""

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = function(*args, **kwargs or {})
        for leaf in tree_leaves((args, kwargs, result)):
            if isinstance(leaf, Tensor) and leaf.dtype in (torch.float64, torch.complex128):
                raise TypeError(f"{function} sees {leaf.dtype}")
        return result


def own_attention(case: Case) -> CLIPer:
    return replace(case.engine, attention_source=SharedSelfAttention(2))


def another_pass(case: Case) -> CLIPer:
    encoder = case.engine.image_encoder
    return replace(case.engine, attention_source=TransformerSelfAttention(encoder, 2, (6, 6)))


def as_in_the_paper(case: Case) -> CLIPer:
    return replace(case.engine, settings=replace(case.settings, variant="paper"))


# The reference's engines: Stable Diffusion, features of another model, crops; and what none has.
CASES = ["portrait", "affinity", "proxy", "sliding", "attn_identity"]
ENGINES = [
    *((name, lambda case: case.engine) for name in CASES),
    *(("portrait", change) for change in (own_attention, another_pass, as_in_the_paper)),
]


@pytest.mark.parametrize(("name", "engine_of"), ENGINES)
def test_from_the_picture_to_what_is_shown(name: str, engine_of: Any) -> None:
    case = Case(name)
    engine, image = engine_of(case), case.image  # random weights and features, made before
    with NoFloat64():
        encoding = drain(engine.encode(image, inspect=True))
        rows = [
            drain(engine.encode_text(case.made[words], case.made["templates"]))
            for words in ("fg", "bg")
        ]
        scores = engine.score(encoding, *rows)
        engine.label(scores)
        classes = ClassList.parse([f"class {number}" for number in range(len(rows[0]))])
        scored = Scored(classes, scores, engine.settings)
        show(scored)
        strokes = np.full(encoding.size, -1)
        strokes[2:9, 5], strokes[12, 3:9] = 1, 0
        show(scored.corrected(encoding, strokes))
        look(Inspector(encoding))


def show(scored: Scored) -> None:
    """All that a result has to show."""
    for refinement, background in ((1.0, 0.4), (0.5, 0.0)):
        result = scored.label(0.1, background, refinement=refinement)
        _ = result.labels, result.coarse_labels, result.scores, result.uncertainty
    _ = scored.label(present="all").labels


def look(inspector: Inspector) -> None:
    """All that there is to look at in an encoding."""
    for view in inspector.views:
        inspector.at((4.5, 7.0), view.name)
    inspector.colors()
    inspector.similarity((4.5, 7.0))
    inspector.received()


def test_the_guard_sees_it() -> None:
    with NoFloat64(), pytest.raises(TypeError, match="float64"):
        torch.from_numpy(np.ones(3)).float()
