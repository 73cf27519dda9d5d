"""Class names become rows of the text matrix (METHOD step 3)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_cliper.errors import NapariCliperError

BATCH = 64


@dataclass(frozen=True)
class TextEncoder:
    """A text tower and the tokenizer that feeds it.

    Attributes
    ----------
    encode : callable
        (B, L) token ids to (B, D) embeddings, not normalised.
    tokenize : callable
        A list of B strings to (B, L) token ids.
    count_tokens : callable
        How many tokens a string takes, the ones that mark beginning and end included. Tokenizers
        cut silently what is too long, so this is asked first.
    context_length : int
        How many tokens fit.
    device : torch.device
    causal : bool
        Whether tokens after a sentence's end make no difference, and `encode` takes any L.
    """

    encode: Callable[[Tensor], Tensor]
    tokenize: Callable[[list[str]], Tensor]
    count_tokens: Callable[[str], int]
    context_length: int
    device: torch.device
    causal: bool = False


def lengths(encoder: TextEncoder, prompts: Sequence[str], templates: Sequence[str]) -> list[int]:
    """How many tokens each prompt takes in each template, prompt by prompt.

    Raises
    ------
    NapariCliperError
        The text tower would cut one; it is named.
    """
    counts: list[int] = []
    for prompt in prompts:
        counts += (encoder.count_tokens(template.format(prompt)) for template in templates)
        longest = max(counts[-len(templates) :])
        if longest > encoder.context_length:
            shown = prompt if len(prompt) <= 40 else prompt[:37] + "…"
            raise NapariCliperError(
                f"“{shown}” is too long for the text encoder ({longest} tokens with the template, "
                f"{encoder.context_length} fit): shorten the name or give fewer synonyms."
            )
    return counts


@torch.no_grad()
def encode_prompts(
    encoder: TextEncoder, prompts: Sequence[str], templates: Sequence[str]
) -> Tensor:
    """One unit embedding a prompt: the mean over the templates it is put into.

    Parameters
    ----------
    encoder : TextEncoder
    prompts : sequence of C str
        A class's name with its synonyms, as one string.
    templates : sequence of str
        Each with one `{}`.

    Returns
    -------
    (C, D) float32, each row of length 1

    Raises
    ------
    NapariCliperError
        If a prompt is too long for the text tower.
    """
    counts = lengths(encoder, prompts, templates)
    sentences = [template.format(prompt) for prompt in prompts for template in templates]
    # Those of like length together, for a batch is as long as its longest.
    order = sorted(range(len(sentences)), key=counts.__getitem__)
    encoded = []
    for start in range(0, len(sentences), BATCH):
        places = order[start : start + BATCH]
        tokens = encoder.tokenize([sentences[place] for place in places])
        if encoder.causal:
            tokens = tokens[:, : counts[places[-1]]]
        encoded.append(encoder.encode(tokens.to(encoder.device)))
    found = F.normalize(torch.cat(encoded).float(), dim=-1)
    units = torch.empty_like(found)
    units[order] = found
    return F.normalize(units.view(len(prompts), len(templates), -1).mean(dim=1), dim=-1)


def text_rows(classes: Tensor, background: Tensor) -> Tensor:
    """The rows a patch is compared with: classes, background words, the mean of the classes.

    Parameters
    ----------
    classes : (C, D)
    background : (B, D), B may be 0

    Returns
    -------
    (C + B + 1, D), each of length 1
    """
    rows = torch.cat([classes, background, classes.mean(dim=0, keepdim=True)])
    return F.normalize(rows, dim=-1)
