"""The method written down a second time, the plain way, to compare the engine with.

Tests compare what comes out, the benchmark how long it takes.

Dense matrices, one layer, head and crop at a time, and the towers' own modules where they have what
is needed: nothing of the engine is used. The steps' numbers are those of docs/method.md.
"""

import math
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass
class Tower:
    """What step 2 gives for one picture or crop."""

    embeddings: list[Tensor]  # of every layer, (h * w, D), of length 1
    attention: Tensor  # Ā, (h * w, h * w)
    kept: Tensor | None = None  # one block's self-attention, (heads, h * w, h * w)


def tokens_of(visual: Any, pixels: Tensor) -> Tensor:
    """Tokens before the first block, (1, 1 + h * w, width)."""
    patches = visual.conv1(pixels)
    grid = patches.shape[-2:]
    own = visual.positional_embedding
    square = own[1:].T.reshape(1, -1, *visual.grid_size)
    resized = F.interpolate(square, size=grid, mode="bilinear", align_corners=False)
    positions = torch.cat([own[:1], resized.flatten(2)[0].T])
    tokens = torch.cat([visual.class_embedding[None, None], patches.flatten(2).mT], dim=1)
    embedded: Tensor = visual.ln_pre(tokens + positions)
    return embedded


def attend(block: Any, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Attention of torch's own module, (heads, T, T), and the block's output."""
    normed = block.ln_1(tokens)
    mixed, weights = block.attn(
        normed, normed, normed, need_weights=True, average_attn_weights=False
    )
    tokens = tokens + block.ls_1(mixed)
    return weights[0], tokens + block.ls_2(block.mlp(block.ln_2(tokens)))


def projections(block: Any, tokens: Tensor) -> list[list[Tensor]]:
    """Queries, keys and values of each head, each (T, d)."""
    normed = block.ln_1(tokens)[0]
    parts = (normed @ block.attn.in_proj_weight.T + block.attn.in_proj_bias).chunk(3, dim=-1)
    return [list(part.chunk(block.attn.num_heads, dim=-1)) for part in parts]


def balanced(matrix: Tensor) -> Tensor:
    """Columns, then rows divided by their sums."""
    matrix = matrix / matrix.sum(dim=0, keepdim=True)
    return matrix / matrix.sum(dim=1, keepdim=True)


def symmetric(matrix: Tensor) -> Tensor:
    """The symmetric part less its column means, cut off at 0, its rows divided by their sums."""
    weights = (matrix + matrix.T) / 2
    weights = (weights - weights.mean(dim=0, keepdim=True)).clamp(min=0)
    return weights / weights.sum(dim=1, keepdim=True)


def softmax_of(left: Tensor, right: Tensor) -> Tensor:
    """softmax(left · rightᵀ / √d), (T, T)."""
    return torch.softmax(left @ right.T / math.sqrt(left.shape[-1]), dim=-1)


def weights_of(kind: str, heads: list[list[Tensor]], head: int) -> Tensor:
    """The last block's attention of one head, (T, T), for the methods that compare tokens."""
    queries, keys, values = (part[head] for part in heads)
    return {
        "query-query": lambda: softmax_of(queries, queries),
        "key-key": lambda: softmax_of(keys, keys),
        "value-value": lambda: softmax_of(values, values),
        "query-query+key-key": lambda: softmax_of(queries, queries) + softmax_of(keys, keys),
        "vanilla": lambda: softmax_of(queries, keys),
        "identity": lambda: torch.eye(len(queries), device=queries.device),
    }[kind]()


def tower(
    visual: Any,
    pixels: Tensor,
    kind: str,
    variant: str,
    whole: bool,
    embedded: int | None = None,
    keep: int | None = None,
) -> Tower:
    """Step 2.

    Parameters
    ----------
    visual : open_clip.transformer.VisionTransformer
    pixels : (1, 3, h * patch, w * patch) float32
    kind, variant, whole
        As `Settings.attention`, `variant` and `whole_last_block`.
    embedded : int or None
        How many of the last layers are embedded; None takes all.
    keep : int or None
        The block, counted from 0 and not the last, whose self-attention is returned too.
    """
    *early, last = visual.transformer.resblocks
    count = len(early) + 1
    inputs, maps = [tokens_of(visual, pixels)], []
    for block in early:
        weights, output = attend(block, inputs[-1])
        maps.append(weights)
        inputs.append(output)
    if variant == "paper":
        layers = inputs[1:]
        fused = [torch.stack([m[h] for m in maps]).sum(0) / count for h in range(len(maps[0]))]
    else:
        layers = [block.ln_1(x) for block, x in zip(early, inputs[:-1], strict=True)]
        layers.append(inputs[-1])
        fused = [torch.stack([m[h] for m in maps]).sum(0) for h in range(len(maps[0]))]
    embeddings = []
    first = 0 if embedded is None else len(layers) - embedded
    for index, layer in enumerate(layers):
        heads = projections(last, layer)
        mixed, used = [], []
        for head, values in enumerate(heads[2]):
            if kind == "fused" and variant == "reference":
                fused[head] = balanced(fused[head])
                weights = symmetric(fused[head])
            else:
                weights = fused[head] if kind == "fused" else weights_of(kind, heads, head)
            used.append(weights)
            mixed.append(weights @ values)
        if index < first:
            continue
        z = last.ls_1(last.attn.out_proj(torch.cat(mixed, dim=-1)))
        if whole:
            z = layer[0] + z
            z = z + last.ls_2(last.mlp(last.ln_2(z)))
        embedding = visual.ln_post(z) @ visual.proj
        embeddings.append(embedding[1:] / embedding[1:].norm(dim=1, keepdim=True))
    attention = torch.stack(used).mean(dim=0)[1:, 1:]
    return Tower(embeddings, attention, None if keep is None else maps[keep][:, 1:, 1:])


def logits_of(layer: Tensor, classes: Tensor, background: Tensor, scale: float) -> Tensor:
    """Steps 3 and 4: scaled cosines with all text rows, (C + B + 1, h * w)."""
    rows = torch.cat([classes, background, classes.mean(dim=0, keepdim=True)])
    rows = rows / rows.norm(dim=1, keepdim=True)
    logits: Tensor = scale * rows @ layer.T
    return logits


def crops_of(side: int, crop: int, stride: int) -> list[int]:
    """Where crops of a side begin."""
    starts = [0]
    while starts[-1] + crop < side:
        starts.append(min(starts[-1] + stride, side - crop))
    return starts


def coarse(
    visual: Any,
    pixels: Tensor,
    classes: Tensor,
    background: Tensor,
    scale: float,
    threshold: float,
    selected: int,
    crop: int = 0,
    stride: int = 0,
    kind: str = "fused",
) -> Tensor:
    """Steps 2 to 4 of the reference: (C, h * w)."""
    whole = tower(visual, pixels, kind, "reference", whole=False)
    count = len(classes)
    logits = [logits_of(layer, classes, background, scale) for layer in whole.embeddings]
    probabilities = [layer.softmax(dim=0)[:count] for layer in logits]
    if crop:
        patch = visual.patch_size[0]
        rows, columns = pixels.shape[-2] // patch, pixels.shape[-1] // patch
        summed = [torch.zeros_like(layer) for layer in logits]
        times = torch.zeros(rows * columns)
        attention, pairs = torch.zeros(2, rows * columns, rows * columns)
        for top in crops_of(pixels.shape[-2], crop, stride):
            for left in crops_of(pixels.shape[-1], crop, stride):
                cut = pixels[..., top : top + crop, left : left + crop]
                part = tower(visual, cut, kind, "reference", whole=False)
                places = [
                    row * columns + column
                    for row in range(top // patch, min(top + crop, rows * patch) // patch)
                    for column in range(left // patch, min(left + crop, columns * patch) // patch)
                ]
                for total, layer in zip(summed, part.embeddings, strict=True):
                    total[:, places] += logits_of(layer, classes, background, scale)
                times[places] += 1
                for i, place in enumerate(places):
                    attention[place, places] += part.attention[i]
                    pairs[place, places] += 1
        attention = attention / (pairs + 1e-5)
        attention = attention / attention.sum(dim=1, keepdim=True)
        for index, total in enumerate(summed):
            spread = (total / times) @ attention
            probabilities[index] = (probabilities[index] + spread.softmax(dim=0)[:count]) / 2
    return mixed(probabilities, whole.attention, threshold, selected)


def mixed(
    probabilities: list[Tensor], attention: Tensor, threshold: float, selected: int
) -> Tensor:
    """Step 4: the selected layer's map thresholded and spread, plus the mean of all, (C, h * w)."""
    chosen = probabilities[selected]
    for row in chosen:
        row[row < threshold * row.max()] = 0
    return chosen @ attention + sum(probabilities) / len(probabilities)


def prepared(map_: Tensor, threshold: float) -> Tensor:
    """Equation 9 for a raw map, (P, P): by column maxima, thresholded, by row sums."""
    map_ = map_ / (map_.max(dim=0, keepdim=True).values + 1e-5)
    map_ = torch.where(map_ < threshold, 0, map_)
    return map_ / (map_.sum(dim=1, keepdim=True) + 1e-5)


def operator(maps: Tensor, threshold: float, fusion: str | int) -> Tensor:
    """Step 5: raw maps, (n, P, P), become one dense operator, (P, P), as `Settings.head_fusion`."""
    if isinstance(fusion, int):
        return prepared(maps[fusion], threshold)
    ready = torch.stack([prepared(map_, threshold) for map_ in maps])
    return ready.mean(dim=0) if fusion == "mean" else reduce(torch.matmul, ready)


def labels(
    refined: Tensor,
    presence: Tensor,
    size: tuple[int, int],
    normalise: bool,
    background: float,
    present: Tensor,
) -> Tensor:
    """Step 7: (C, gh, gw) maps become (H, W) labels; the classes that are `present`, (C,) bool.

    `background` is a threshold above 0.
    """
    scores = F.interpolate(refined[None], size, mode="bilinear", align_corners=False)[0]
    scores = scores * (presence / (scores.amax(dim=(1, 2)) + 1e-5))[:, None, None]
    if normalise:
        low, high = scores.amin(dim=(1, 2), keepdim=True), scores.amax(dim=(1, 2), keepdim=True)
        scores = (scores - low) / (high - low + 1e-6)
    scores = scores[present]
    scores = torch.cat([scores.new_full((1, *size), background), scores])
    numbers = F.pad(present.nonzero()[:, 0] + 1, (1, 0))
    return numbers[scores.argmax(dim=0)]
