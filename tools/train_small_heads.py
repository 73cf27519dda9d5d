"""Train the heads of the small preset: `train_small_heads.py --data FOLDER`.

The image tower's patch embeddings, as the engine computes them before the projection, and the
words' embeddings are brought into one space by two matrices: `visual.proj` and `text.proj.weight`.
A ridge regression gives both a start; some steps of gradient descent on the engine's own comparison
(cosine, logit scale, softmax over words) follow, three times with other random numbers, and the
mean of the three is kept. What is in the pictures is told by COCO's polygons and
`small_points.txt`.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from small_data import Picture, Vocabulary, read_pictures, read_vocabulary
from torch import Tensor
from torch.nn import functional as F

from napari_cliper.cliper import ImageEncoder, Settings, TextEncoder, drain
from napari_cliper.cliper.early_layer_fusion import fuse_early_layers
from napari_cliper.cliper.preprocessing import patch_grid, to_pixels
from napari_cliper.models import loading
from napari_cliper.models.open_clip_towers import load_dual
from napari_cliper.models.presets import get_preset
from napari_cliper.models.schema import DualEncoder

OUTPUT = Path(loading.__file__).with_name("small_heads.safetensors")
Heads = tuple[Tensor, Tensor]
ANY_STUFF, IGNORED = -1, -2


@dataclass(frozen=True)
class Recipe:
    """How the heads are trained.

    Attributes
    ----------
    layers : int
        How many of the last layers' embeddings to learn from.
    every : int
        Of a picture's patches, every so manieth is used.
    ridge : float
        On the visual side; a feature's mean square is 1.
    text_ridge : float
        On the side of the words.
    shares : three floats
        Of COCO's classes, of stuff and of unnamed places in a batch.
    steps, batch, runs : int
    visual_rate, text_rate : float
        Adam's learning rates; they rise over 20 steps and fall like a cosine.
    visual_noise, text_noise : float
        Standard deviation of Gaussian noise, on features and, relative to their length, on words.
    synonyms, wider : float
        How often a synonym, or the wider word, stands in for the name.
    """

    layers: int = 1
    every: int = 3
    ridge: float = 0.1
    text_ridge: float = 10.0
    shares: tuple[float, float, float] = (0.6, 0.25, 0.15)
    steps: int = 200
    batch: int = 768
    runs: int = 3
    visual_rate: float = 1e-3
    text_rate: float = 5e-4
    visual_noise: float = 0.5
    text_noise: float = 0.3
    synonyms: float = 0.6
    wider: float = 0.15


@dataclass(frozen=True)
class Places:
    """Patches to learn from.

    Attributes
    ----------
    features : (N, layers, width) float, of length √width
    words : (N,) int64
        Index into the vocabulary, `ANY_STUFF` or `IGNORED`.
    pictures : (N,) int64
    """

    features: Tensor
    words: Tensor
    pictures: Tensor

    def weights(self, shares: Sequence[float], vocabulary: Vocabulary, taught: Tensor) -> Tensor:
        """How often to look at each place: big regions and frequent words do not drown the rest."""
        usable = self.words != IGNORED
        usable &= (self.words < 0) | taught[self.words.clamp(min=0)]
        key = self.pictures * 1000 + self.words + 2
        regions, region, sizes = key.unique(return_inverse=True, return_counts=True)
        frequency = torch.bincount(regions % 1000, minlength=1000)
        weights: Tensor = (sizes[region] * frequency[key % 1000]).float().rsqrt() * usable
        is_class = (self.words >= 0) & (self.words < vocabulary.classes)
        kinds = (is_class, self.words >= vocabulary.classes, self.words == ANY_STUFF)
        for kind, share in zip(kinds, shares, strict=True):
            weights[kind] *= share / weights[kind].sum().clamp(min=1e-9)
        return weights


@dataclass(frozen=True)
class Words:
    """Embeddings of the vocabulary before the text head.

    Attributes
    ----------
    embeddings : (V, S, templates, width) float
        Of names and synonyms; an entry with fewer than S has zeros behind.
    counts : (V,) int64
        Names and synonyms of each entry.
    """

    embeddings: Tensor
    counts: Tensor

    def names(self) -> Tensor:
        """Unit embeddings of the names, (V, width)."""
        return text_rows(self.embeddings[:, 0], torch.eye(self.embeddings.shape[-1]))


def text_rows(raw: Tensor, head: Tensor) -> Tensor:
    """Rows as the engine makes them, (n, D), from (n, templates, width)."""
    return F.normalize(F.normalize(raw @ head.T, dim=-1).mean(dim=1), dim=-1)


@torch.no_grad()
def embed_words(encoder: TextEncoder, words: Sequence[str], templates: Sequence[str]) -> Tensor:
    """What the text tower says of each word in each template: (n, templates, width)."""
    sentences = [template.format(word) for word in words for template in templates]
    rows = [
        encoder.encode(encoder.tokenize(sentences[start : start + 64]))
        for start in range(0, len(sentences), 64)
    ]
    return torch.cat(rows).view(len(words), len(templates), -1)


def embed_vocabulary(
    encoder: TextEncoder, vocabulary: Vocabulary, templates: Sequence[str]
) -> Words:
    """Names and synonyms of all entries."""
    counts = torch.tensor([len(entry) for entry in vocabulary.entries])
    every = embed_words(
        encoder, [word for entry in vocabulary.entries for word in entry], templates
    )
    split = every.split(counts.tolist())
    return Words(torch.nn.utils.rnn.pad_sequence(split, batch_first=True), counts)


@torch.no_grad()
def embed_picture(
    encoder: ImageEncoder, picture: Picture, settings: Settings, layers: int
) -> tuple[Tensor, tuple[int, int]]:
    """Patch embeddings before the projection, (layers, h * w, width), and the grid.

    The engine compares directions only, so every embedding gets the same length, √width.
    """
    height, width = picture.mask.shape
    grid = patch_grid(height, width, settings.shorter_side, encoder.patch_size)
    pixels = to_pixels(picture.image, grid, encoder.patch_size, encoder.mean, encoder.std)
    settings = replace(settings, early_layers=layers)
    fused = fuse_early_layers(encoder, pixels, settings, project=False)
    embeddings = drain(fused).embeddings[:, 1:]
    return F.normalize(embeddings, dim=-1) * embeddings.shape[-1] ** 0.5, grid


def name_places(
    picture: Picture, features: Tensor, grid: tuple[int, int], vocabulary: Vocabulary
) -> Tensor:
    """The word of each patch, (h * w,): COCO's class, or that of the likest point, or none."""
    shares = picture.shares(grid)
    words = torch.full((len(shares),), IGNORED)
    words[shares[:, 0] > 0.95] = ANY_STUFF
    share, index = shares[:, 1:].max(dim=1)
    words[share > 0.6] = index[share > 0.6]
    if picture.points:
        likest, likeness = likest_points(picture, features, grid)
        named = torch.tensor([vocabulary.index(word) for _, _, word in picture.points])[likest]
        words = torch.where((words == ANY_STUFF) & (likeness > 0.45), named, words)
    return words


def likest_points(
    picture: Picture, features: Tensor, grid: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """For each patch the point that is likest it, and how like: cosine less half the distance."""
    rows, columns = grid
    units = F.normalize(features - features.mean(dim=0), dim=-1)
    place = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).float()
    likenesses = []
    for x, y, _ in picture.points:
        point = torch.tensor([min(int(y * rows), rows - 1), min(int(x * columns), columns - 1)])
        distance = (place - point).norm(dim=-1)
        pattern = F.normalize(units[distance < 1.5].mean(dim=0), dim=-1)
        likenesses.append(units @ pattern - 0.5 * distance / max(grid))
    likeness, likest = torch.stack(likenesses).max(dim=0)
    return likest, likeness


def collect(
    encoder: ImageEncoder,
    pictures: Sequence[Picture],
    vocabulary: Vocabulary,
    settings: Settings,
    recipe: Recipe,
) -> Places:
    """Features and words of the places of all pictures."""
    features, words, numbers = [], [], []
    for number, picture in enumerate(pictures):
        embeddings, grid = embed_picture(encoder, picture, settings, recipe.layers)
        named = name_places(picture, embeddings[-1], grid, vocabulary)
        features.append(embeddings[:, :: recipe.every].transpose(0, 1))
        words.append(named[:: recipe.every])
        numbers.append(torch.full_like(words[-1], number))
    return Places(torch.cat(features), torch.cat(words), torch.cat(numbers))


def regress(
    places: Places, words: Words, vocabulary: Vocabulary, taught: Tensor, recipe: Recipe
) -> Heads:
    """The start: ridge regression from features to words, and from words to their space.

    The text head takes out what all words share; the visual head is
    (XᵀX + γ)⁻¹ Xᵀ Y S (SᵀS + λ)⁻¹ with the words' rows S and the places' one-hot words Y.
    """
    names = words.names()
    centre = F.normalize(names[: vocabulary.classes + vocabulary.stuff].mean(dim=0), dim=-1)
    text_head = torch.eye(len(centre)) - torch.outer(centre, centre)
    known = taught.nonzero()[:, 0]
    rows = F.normalize(names[known] @ text_head.T, dim=-1)
    weights = places.weights((0.7, 0.3, 0.0), vocabulary, taught)
    used = (weights > 0) & (places.words >= 0)
    weights, wanted = weights[used, None], rows[torch.searchsorted(known, places.words[used])]
    features = places.features[used, -1]
    ridge = recipe.ridge * torch.eye(features.shape[1])
    text_ridge = recipe.text_ridge * torch.eye(rows.shape[1])
    solved = torch.linalg.solve(
        features.T @ (features * weights) + ridge, features.T @ (wanted * weights)
    )
    visual_head = torch.linalg.solve(rows.T @ rows + text_ridge, solved.T).T
    return visual_head * 8 / visual_head.norm(), text_head


def refine(
    heads: Heads,
    places: Places,
    words: Words,
    vocabulary: Vocabulary,
    taught: Tensor,
    recipe: Recipe,
    scale: float,
    seed: int,
) -> Heads:
    """Gradient descent on the engine's comparison of patches with words, from these heads on."""
    generator = torch.Generator().manual_seed(seed)
    visual_head, text_head = (head.clone().requires_grad_() for head in heads)
    optimizer = torch.optim.Adam(
        [
            {"params": [visual_head], "lr": recipe.visual_rate},
            {"params": [text_head], "lr": recipe.text_rate},
        ]
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(1, (step + 1) / 20) * (0.5 + 0.5 * np.cos(np.pi * step / recipe.steps)),
    )
    weights = places.weights(recipe.shares, vocabulary, taught)
    for _ in range(recipe.steps):
        chosen = torch.multinomial(weights, recipe.batch, replacement=True, generator=generator)
        layer = int(torch.randint(recipe.layers, (), generator=generator))
        features = places.features[chosen, layer]
        features = features + recipe.visual_noise * torch.randn(features.shape, generator=generator)
        rows = text_rows(_drawn_words(words, recipe, generator), text_head)
        logits = scale * F.normalize(features @ visual_head, dim=-1) @ rows.T
        wanted, open_ = _targets(places.words[chosen], vocabulary, taught, recipe, generator)
        minus_infinity = float("-inf")
        loss = logits.masked_fill(~open_, minus_infinity).logsumexp(dim=1)
        loss = (loss - logits.masked_fill(~wanted, minus_infinity).logsumexp(dim=1)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return visual_head.detach(), text_head.detach()


def _drawn_words(words: Words, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """One name or synonym of each entry, with noise: (V, templates, width)."""
    count = len(words.counts)
    drawn = (torch.rand(count, generator=generator) * words.counts).long()
    drawn[torch.rand(count, generator=generator) > recipe.synonyms] = 0
    raw = words.embeddings[torch.arange(count), drawn]
    noise = torch.randn(count, 1, raw.shape[-1], generator=generator) / raw.shape[-1] ** 0.5
    noisy: Tensor = raw + recipe.text_noise * raw.norm(dim=-1, keepdim=True) * noise
    return noisy


def _targets(
    named: Tensor,
    vocabulary: Vocabulary,
    taught: Tensor,
    recipe: Recipe,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Which words each place should have, and which take part there, both (N, V) bool."""
    some = named.clamp(min=0)
    wider = vocabulary.wider[some]
    widen = (torch.rand(len(named), generator=generator) < recipe.wider) & (wider >= 0)
    word = torch.where(widen, wider, some)
    wanted = F.one_hot(word, len(taught)).bool()
    # The wider word and its narrower one are compatible, so one does not compete with the other.
    open_ = taught & (wanted | ~vocabulary.compatible[some])
    open_ &= wanted | ~(widen[:, None] & F.one_hot(some, len(taught)).bool())
    stuff = torch.zeros(len(taught), dtype=torch.bool)
    stuff[vocabulary.classes : vocabulary.classes + vocabulary.stuff] = True
    unnamed = (named < 0)[:, None]
    return torch.where(unnamed, stuff, wanted), torch.where(unnamed, taught, open_)


def train(
    places: Places,
    words: Words,
    vocabulary: Vocabulary,
    recipe: Recipe,
    scale: float,
    seed: int,
    taught: Tensor | None = None,
) -> Heads:
    """Both heads; `taught` (V,) bool leaves words out, and the places that are called so."""
    if taught is None:
        taught = torch.ones(len(vocabulary.entries), dtype=torch.bool)
    start = regress(places, words, vocabulary, taught, recipe)
    runs = [
        refine(start, places, words, vocabulary, taught, recipe, scale, seed + run)
        for run in range(recipe.runs)
    ]
    visual_heads, text_heads = zip(*runs, strict=True)
    return torch.stack(visual_heads).mean(dim=0), torch.stack(text_heads).mean(dim=0)


def load_towers() -> tuple[ImageEncoder, TextEncoder, Settings, tuple[str, ...]]:
    """The preset's towers without heads, its settings and templates."""
    preset = get_preset("small")
    assert isinstance(preset.encoder, DualEncoder)
    folder = drain(loading.Loader(preset, torch.device("cpu")).convert_towers())
    encoders = load_dual(preset.encoder, folder, torch.device("cpu"))
    return *encoders, loading.make_settings(preset), preset.templates


def main() -> None:
    """Train on the folder's pictures but those held out, and write the heads."""
    from safetensors.torch import save_file

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a folder like coco128-seg")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    began = time.perf_counter()
    recipe = Recipe()
    pictures, _ = read_pictures(arguments.data)
    vocabulary = read_vocabulary()
    image_encoder, text_encoder, settings, templates = load_towers()
    words = embed_vocabulary(text_encoder, vocabulary, templates)
    places = collect(image_encoder, pictures, vocabulary, settings, recipe)
    print(f"{len(pictures)} pictures, {len(places.words)} places")
    heads = train(places, words, vocabulary, recipe, settings.logit_scale, arguments.seed)
    save_file(
        {"visual.proj": heads[0].contiguous(), "text.proj.weight": heads[1].contiguous()},
        arguments.output,
    )
    arguments.output.chmod(0o644)  # what safetensors makes is for the owner alone
    print(f"wrote {arguments.output.name} after {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
