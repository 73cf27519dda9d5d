import pytest
import torch
from numpy.testing import assert_allclose

from napari_cliper.cliper import TextEncoder
from napari_cliper.cliper.text import encode_prompts, text_rows
from napari_cliper.errors import NapariCliperError


def letters(texts: list[str]) -> torch.Tensor:
    """Token ids of a tower whose tokens are letters."""
    rows = [[ord(letter) for letter in text] for text in texts]
    length = max(map(len, rows))
    return torch.tensor([row + [0] * (length - len(row)) for row in rows])


ENCODER = TextEncoder(
    encode=lambda tokens: torch.nn.functional.one_hot(tokens, 128).sum(dim=1)[:, 32:].float(),
    tokenize=letters,
    count_tokens=len,
    context_length=20,
    device=torch.device("cpu"),
)


def test_a_row_is_the_mean_over_templates() -> None:
    rows = encode_prompts(ENCODER, ["cat", "dog"], ["a {}", "{}."])
    units = torch.nn.functional.normalize(ENCODER.encode(letters(["a dog", "dog."])), dim=-1)
    assert_allclose(rows.norm(dim=1), 1, rtol=1e-6)
    assert_allclose(rows[1], units.mean(dim=0) / units.mean(dim=0).norm(), rtol=1e-5, atol=1e-7)


def test_batches_do_not_change_rows() -> None:
    prompts = [f"word {number}" for number in range(70)]
    together = encode_prompts(ENCODER, prompts, ["{}", "a {}"])
    alone = encode_prompts(ENCODER, prompts[-1:], ["{}", "a {}"])
    assert_allclose(together[-1:], alone, rtol=1e-6)


def test_what_the_tower_would_cut_is_refused_by_name() -> None:
    with pytest.raises(NapariCliperError, match="“rhinoceros, hippopotamus” is too long"):
        encode_prompts(ENCODER, ["cat", "rhinoceros, hippopotamus"], ["{}"])


def test_the_last_row_is_the_mean_of_the_classes() -> None:
    classes = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])
    rows = text_rows(classes, torch.tensor([[0, 0, 1.0]]))
    assert_allclose(rows[-1], [0.5**0.5, 0.5**0.5, 0], rtol=1e-6)
    assert text_rows(classes, classes.new_zeros(0, 3)).shape == (3, 3)
