"""Every figure of docs/models/small.md: `evaluate_small.py --data FOLDER [PART …]`.

Parts: `held-out` (the shipped heads and settings on the pictures that nothing was learnt or chosen
from), `left-out` (words that were not learnt), `settings` (alternatives), `time`. The parts
`left-out` and `settings` train heads of their own on some of the other pictures and look at the
rest of those (four folds).
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from small_data import Picture, Vocabulary, fold, read_pictures, read_vocabulary
from torch import Tensor
from torch.nn import functional as F
from train_small_heads import (
    Heads,
    Places,
    Recipe,
    embed_vocabulary,
    embed_words,
    load_towers,
    name_places,
    text_rows,
    train,
)

from napari_cliper.cliper import (
    CLIPer,
    Encoding,
    Settings,
    SharedSelfAttention,
    TransformerSelfAttention,
    drain,
)
from napari_cliper.cliper.coarse import resize_maps
from napari_cliper.models import loading
from napari_cliper.models.presets import get_preset
from napari_cliper.models.schema import SelfAttention

FOLDS = 4
PRESET = get_preset("small")


@dataclass
class Overlap:
    """Intersection over union, of all pictures together and of each picture."""

    intersection: NDArray[np.float64]
    union: NDArray[np.float64]
    pictures: list[float]

    @classmethod
    def empty(cls, classes: int) -> "Overlap":
        """Of no picture yet."""
        return cls(np.zeros(classes + 1), np.zeros(classes + 1), [])

    def add(self, found: NDArray[np.int64], truth: NDArray[np.uint8]) -> None:
        """Count one picture; 0 is background and counts as a class."""
        size = len(self.union)
        both = np.bincount(truth[found == truth], minlength=size)
        either = np.bincount(truth.ravel(), minlength=size)
        either = either + np.bincount(found.ravel(), minlength=size) - both
        self.intersection += both
        self.union += either
        present = np.unique(truth)
        self.pictures.append(float((both[present] / either[present]).mean()))

    def __str__(self) -> str:
        seen = self.union > 0
        pooled = (self.intersection[seen] / self.union[seen]).mean()
        return f"{100 * np.mean(self.pictures):5.1f} / {100 * pooled:4.1f}"


def background_rows(rows: dict[str, Tensor], words: Sequence[str], taken: Sequence[str]) -> Tensor:
    """Rows of the background words that are none of the classes asked for."""
    kept = [rows[word] for word in words if word not in taken]
    return torch.stack(kept) if kept else torch.zeros(0, len(next(iter(rows.values()))))


def label(
    engine: CLIPer,
    encoding: Encoding,
    asked: Sequence[int],
    names: Sequence[str],
    rows: dict[str, Tensor],
    background: Sequence[str],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Refined and coarse labels, as index + 1 of all classes, when these classes are asked for."""
    words = [names[index] for index in asked]
    classes = torch.stack([rows[word] for word in words])
    scores = engine.score(encoding, classes, background_rows(rows, background, words))
    segmentation = engine.label(scores)
    table = np.array([0, *(index + 1 for index in asked)])
    return table[segmentation.labels.numpy()], table[segmentation.coarse_labels.numpy()]


def right_pixels(
    engine: CLIPer, encoding: Encoding, picture: Picture, asked: Sequence[int], rows: Tensor
) -> int:
    """Marked pixels whose best class, of those asked for, by the coarse map is the true one."""
    coarse = engine.score(encoding, rows[asked], rows[:0]).coarse
    best = resize_maps(coarse, encoding.size).argmax(dim=0).numpy()
    return int((np.array(asked)[best] == picture.mask.astype(int) - 1).sum())


def others(picture: Picture, classes: int, count: int = 3) -> list[int]:
    """Some classes that are not in the picture, always the same ones."""
    absent = [index for index in range(classes) if index not in picture.classes]
    return sorted(absent, key=lambda index: fold(f"{picture.name} {index}", 1 << 32))[:count]


def held_out(pictures: Sequence[Picture], vocabulary: Vocabulary) -> None:
    """The shipped heads on the pictures held out."""
    engine = drain(loading.Loader(PRESET, torch.device("cpu")).load())
    names, templates = vocabulary.class_names, PRESET.templates
    words = [*names, *(word for word in PRESET.background if word not in names)]
    encoded = drain(engine.encode_text(words, templates))
    rows = dict(zip(words, encoded, strict=True))
    count = len(names)
    told, coarse_told, more, coarse_more = (Overlap.empty(count) for _ in range(4))
    right = right_all = marked = 0
    shares: dict[bool, list[float]] = {True: [], False: []}
    for picture in pictures:
        if not picture.classes:
            continue
        encoding = drain(engine.encode(picture.image))
        marked += int((picture.mask > 0).sum())
        right += right_pixels(engine, encoding, picture, picture.classes, encoded[:count])
        right_all += right_pixels(engine, encoding, picture, range(count), encoded[:count])
        asked = picture.classes
        for overlap, coarse_overlap, ask in (
            (told, coarse_told, asked),
            (more, coarse_more, sorted([*asked, *others(picture, count)])),
        ):
            refined, coarse = label(engine, encoding, ask, names, rows, PRESET.background)
            overlap.add(refined, picture.mask)
            coarse_overlap.add(coarse, picture.mask)
        for index in ask:
            found = float((refined == index + 1).mean())
            shares[index in asked].append(found > 0.001)
    print(f"{len(told.pictures)} held-out pictures")
    print(f"marked pixels right, told the picture's classes  {100 * right / marked:5.1f} %")
    print(f"marked pixels right, among all 80                {100 * right_all / marked:5.1f} %")
    print("mIoU, mean over pictures / over classes, background included")
    print(f"  coarse, told the picture's classes   {coarse_told}")
    print(f"  refined, told the picture's classes  {told}")
    print(f"  coarse, and three absent classes     {coarse_more}")
    print(f"  refined, and three absent classes    {more}")
    print(
        f"asked for with three absent ones: {100 * np.mean(shares[True]):.0f} % of the classes "
        f"present are found, {100 * np.mean(shares[False]):.0f} % of the absent ones too"
    )


@dataclass(frozen=True)
class Choice:
    """One way to set up the preset."""

    name: str
    settings: Settings
    block: int
    grid: tuple[int, int] | None
    background: tuple[str, ...] = PRESET.background


class Workshop:
    """Encodes the training pictures without heads, and trains heads on some of them."""

    def __init__(self, pictures: Sequence[Picture], vocabulary: Vocabulary) -> None:
        self.pictures, self.vocabulary = pictures, vocabulary
        self.names = vocabulary.class_names
        self.image_encoder, self.text_encoder, settings, self.templates = load_towers()
        self.words = embed_vocabulary(self.text_encoder, vocabulary, self.templates)
        compensation = PRESET.compensation
        assert isinstance(compensation, SelfAttention)
        # Four layers, so that fewer can be taken from them.
        self.shipped = Choice("as shipped", settings, compensation.block, compensation.grid)
        self.encodings = self.encode(self.shipped, layers=4)

    def engine(self, choice: Choice) -> CLIPer:
        """The method on towers without heads."""
        source = (
            SharedSelfAttention(choice.block)
            if choice.grid is None
            else TransformerSelfAttention(self.image_encoder, choice.block, choice.grid)
        )
        return CLIPer(self.image_encoder, self.text_encoder, source, choice.settings)

    def encode(self, choice: Choice, layers: int) -> list[Encoding]:
        """All pictures, before the projection; embeddings of length √width."""
        engine = self.engine(
            replace(choice, settings=replace(choice.settings, early_layers=layers))
        )
        encodings = (drain(engine.encode(picture.image)) for picture in self.pictures)
        return [
            replace(
                encoding,
                embeddings=encoding.embeddings * encoding.embeddings.shape[-1] ** 0.5,
                attention=encoding.attention.half(),
            )
            for encoding in encodings
        ]

    def compensate(self, choice: Choice) -> list[Encoding]:
        """The shipped encodings with another compensation, on a grid of its own."""
        assert choice.grid is not None
        source = TransformerSelfAttention(self.image_encoder, choice.block, choice.grid)
        return [
            replace(
                encoding,
                compensation=drain(source.compensation(picture.image, choice.settings)),
            )
            for picture, encoding in zip(self.pictures, self.encodings, strict=True)
        ]

    def heads(
        self,
        encodings: Sequence[Encoding],
        without: int,
        layers: int = 1,
        taught: Tensor | None = None,
    ) -> Heads:
        """Heads that learnt from all pictures but those of one fold."""
        recipe = Recipe(layers=layers)
        chosen = [
            (picture, encoding)
            for picture, encoding in zip(self.pictures, encodings, strict=True)
            if fold(picture.name, FOLDS) != without
        ]
        words = [
            name_places(picture, encoding.embeddings[-1], encoding.grid, self.vocabulary)
            for picture, encoding in chosen
        ]
        every = slice(None, None, recipe.every)
        places = Places(
            torch.cat([e.embeddings[-layers:, every].transpose(0, 1) for _, e in chosen]),
            torch.cat([named[every] for named in words]),
            torch.cat([torch.full_like(named[every], i) for i, named in enumerate(words)]),
        )
        scale = self.shipped.settings.logit_scale
        return train(places, self.words, self.vocabulary, recipe, scale, 0, taught)

    def rows(self, background: Sequence[str], text_head: Tensor) -> dict[str, Tensor]:
        """Text rows of the classes and the background words."""
        words = list(dict.fromkeys([*self.names, *background]))
        raw = embed_words(self.text_encoder, words, self.templates)
        return dict(zip(words, text_rows(raw, text_head), strict=True))


def projected(encoding: Encoding, visual_head: Tensor, layers: int) -> Encoding:
    """An encoding as the engine makes it with this head."""
    units = F.normalize(encoding.embeddings[-layers:] @ visual_head, dim=-1)
    return replace(encoding, embeddings=units, attention=encoding.attention.float())


def try_choice(
    shop: Workshop,
    choice: Choice,
    encodings: Sequence[Encoding],
    heads: Sequence[Heads],
    absent: int = 0,
) -> None:
    """Print how one choice does on pictures its heads have not seen."""
    refined_overlap, coarse_overlap = (Overlap.empty(len(shop.names)) for _ in range(2))
    engine = shop.engine(choice)
    rows = [shop.rows(choice.background, text_head) for _, text_head in heads]
    for picture, encoding in zip(shop.pictures, encodings, strict=True):
        number = fold(picture.name, FOLDS)
        if not picture.classes:
            continue
        seen = projected(encoding, heads[number][0], int(choice.settings.early_layers) or 1)
        asked = sorted([*picture.classes, *others(picture, len(shop.names), absent)])
        refined, coarse = label(engine, seen, asked, shop.names, rows[number], choice.background)
        refined_overlap.add(refined, picture.mask)
        coarse_overlap.add(coarse, picture.mask)
    print(f"{choice.name:48} {coarse_overlap}   {refined_overlap}", flush=True)


def compare_settings(shop: Workshop) -> None:
    """One change at a time from what is shipped."""
    shipped, encodings = shop.shipped, shop.encodings
    heads = [shop.heads(encodings, number) for number in range(FOLDS)]
    print("mIoU on training pictures the heads did not see, mean over pictures / over classes")
    print(f"{'':48} {'coarse':>12}   {'refined':>12}")
    try_choice(shop, shipped, encodings, heads)

    def change(name: str, **values: Any) -> Choice:
        return replace(shipped, name=name, settings=replace(shipped.settings, **values))

    for choice in (
        change("logit scale 10", logit_scale=10.0),
        change("logit scale 40", logit_scale=40.0),
        change("activation threshold 0.3, of the coarse map", activation_threshold=0.3),
        change("background threshold 0.4", background_threshold=0.4),
        change("background threshold 0.6", background_threshold=0.6),
        change("classes not normalised, background threshold 0.3",
               normalise_each_class=False, background_threshold=0.3),
        replace(shipped, name="no background words", background=()),
        replace(shipped, name="background words: first nine", background=shipped.background[:9]),
        replace(shipped, name="background words: and things",
                background=(*shipped.background, "plate", "table", "cloth", "box", "shelf")),
    ):  # fmt: skip
        try_choice(shop, choice, encodings, heads)
    for threshold in (0.0, 0.05, 0.1, 0.2, 0.3, 0.5):
        choice = change(f"three absent words, presence {threshold}", presence_threshold=threshold)
        try_choice(shop, choice, encodings, heads, absent=3)
    for block, side, activation in (
        (10, 32, 0.1), (2, 32, 0.1), (6, 32, 0.1), (8, 32, 0.1), (9, 32, 0.1), (10, 32, 0.3),
        (10, 42, 0.1),
    ):  # fmt: skip
        name = f"compensation: block {block}, {side}×{side}, threshold {activation}"
        choice = replace(change(name), block=block, grid=(side, side))
        made = replace(choice, settings=replace(choice.settings, activation_threshold=activation))
        try_choice(shop, choice, shop.compensate(made), heads)
    product = change("compensation: product over heads", head_fusion="product")
    try_choice(shop, product, shop.compensate(product), heads)
    several = change("4 layers", early_layers=4)
    learnt = [shop.heads(encodings, number, layers=4) for number in range(FOLDS)]
    try_choice(shop, several, encodings, learnt)
    for name, layers, values in (
        ("12 layers", 12, {"early_layers": 12}),
        ("attention identity", 1, {"attention": "identity"}),
        ("attention vanilla", 1, {"attention": "vanilla"}),
        ("shorter side 336", 1, {"shorter_side": 336}),
        ("shorter side 560", 1, {"shorter_side": 560}),
    ):
        choice = change(name, **values)
        made_encodings = shop.encode(choice, layers)
        learnt = [shop.heads(made_encodings, number, layers) for number in range(FOLDS)]
        try_choice(shop, choice, made_encodings, learnt)


def leave_words_out(shop: Workshop) -> None:
    """Words that were not learnt beside words that were, both in pictures not learnt from."""
    names, settings = shop.names, shop.shipped.settings
    engine = shop.engine(shop.shipped)
    found: dict[bool, list[tuple[float, float, float]]] = {True: [], False: []}
    right = {True: [0, 0], False: [0, 0]}
    for number in range(FOLDS):
        known = [fold(f"class {name}", FOLDS) != number for name in names]
        more = len(shop.vocabulary.entries) - len(names)
        taught = torch.tensor([*known, *[True] * more])
        visual_head, text_head = shop.heads(shop.encodings, number, taught=taught)
        rows = shop.rows(PRESET.background, text_head)
        for picture, encoding in zip(shop.pictures, shop.encodings, strict=True):
            if fold(picture.name, FOLDS) != number:
                continue
            seen = projected(encoding, visual_head, int(settings.early_layers) or 1)
            for index in picture.classes:
                truth = picture.mask == index + 1
                if truth.mean() < 0.01:
                    continue
                refined, _ = label(engine, seen, [index], names, rows, PRESET.background)
                score = engine.score(
                    seen, rows[names[index]][None],
                    background_rows(rows, PRESET.background, [names[index]]),
                ).refined  # fmt: skip
                score_map = resize_maps(score, encoding.size)[0].numpy()
                both, either = (truth & (refined > 0)).sum(), (truth | (refined > 0)).sum()
                found[known[index]].append(
                    (float(both / either), float(truth.mean()), _rank(score_map, truth))
                )
                right[known[index]][0] += int(both)
                right[known[index]][1] += int(truth.sum())
    print("words asked for one at a time, regions of at least 1 % of the picture")
    for learnt, name in ((True, "learnt"), (False, "not learnt")):
        overlap, share, rank = np.mean(found[learnt], axis=0)
        pixels = right[learnt][0] / right[learnt][1]
        print(
            f"  {name:10} {len(found[learnt]):3} regions: IoU {100 * overlap:4.1f} "
            f"(whole picture labelled: {100 * share:4.1f}), {100 * pixels:3.0f} % of the pixels "
            f"found, region ranked above the rest {100 * rank:4.1f} %"
        )


def _rank(score: NDArray[np.float32], truth: NDArray[np.bool_]) -> float:
    """How often a pixel of the region scores higher than one outside it (area under the curve)."""
    inside, outside = np.sort(score[truth]), np.sort(score[~truth])
    if not len(outside):
        return 1.0
    return float(np.searchsorted(outside, inside).mean() / len(outside))


def take_time() -> None:
    """Seconds in the engine on scikit-image's cat, third of three runs."""
    from skimage.data import cat

    image = cat()
    engine = drain(loading.Loader(PRESET, torch.device("cpu")).load())
    for _ in range(3):
        began = time.perf_counter()
        words = drain(engine.encode_text(["cat", *PRESET.background], PRESET.templates))
        encoding = drain(engine.encode(image))
        engine.label(engine.score(encoding, words[:1], words[1:]))
        seconds = time.perf_counter() - began
    print(
        f"{image.shape[1]}×{image.shape[0]} cat, {torch.get_num_threads()} threads: {seconds:.1f} s"
    )


def main() -> None:
    """Print what is asked for."""
    parts = ("held-out", "left-out", "settings", "time")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a folder like coco128-seg")
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(parts))
    arguments = parser.parse_args()
    wanted = arguments.parts or list(parts)
    if set(wanted) - set(parts):
        parser.error(f"choose from {', '.join(parts)}")
    learn, kept = read_pictures(arguments.data)
    vocabulary = read_vocabulary()
    if "time" in wanted:
        take_time()
    if "held-out" in wanted:
        held_out(kept, vocabulary)
    if {"left-out", "settings"} & set(wanted):
        shop = Workshop(learn, vocabulary)
        if "left-out" in wanted:
            leave_words_out(shop)
        if "settings" in wanted:
            compare_settings(shop)


if __name__ == "__main__":
    main()
