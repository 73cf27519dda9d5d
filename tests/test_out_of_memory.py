"""A picture that does not fit into a device's memory, tried by injecting it: there is no GPU."""

import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch

import napari_cliper as nc
from napari_cliper import out_of_memory, segmenter
from napari_cliper.cliper import CLIPer, Step, drain, pieces
from napari_cliper.cliper.steps import Steps
from napari_cliper.errors import NapariCliperError
from napari_cliper.out_of_memory import is_out_of_memory, within_memory
from napari_cliper.segmenter import Segmenter

CUDA = torch.device("cuda")
PICTURE = skimage.data.astronaut()[:96, :128]


@pytest.fixture(autouse=True)
def usual_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "_LARGEST", dict(pieces._LARGEST))
    monkeypatch.setattr(out_of_memory, "free_bytes", lambda device: 1e9)


def nothing() -> int:
    return 0


def test_pieces_fit_before_anything_is_tried() -> None:
    seen: list[int] = []
    told: list[Step] = []
    steps = within_memory(
        lambda: fitting(2**30, seen), CUDA, lambda: 800_000_000 + pieces.largest(CUDA)
    )
    assert drain(steps, told.append) == "done"
    assert seen == [2**26]
    assert not any(step.notice for step in told)


@pytest.fixture(scope="module")
def small() -> Segmenter:
    return nc.load("small", "cpu")


def fitting(most: int, seen: list[int]) -> Steps[str]:
    """Work that fits if pieces take no more than this."""
    size = pieces.largest(CUDA)
    seen.append(size)
    yield Step("Working")
    if size > most:
        raise torch.OutOfMemoryError("CUDA out of memory.")
    return "done"


def test_it_is_tried_in_smaller_pieces_and_stays_with_them() -> None:
    seen: list[int] = []
    told: list[Step] = []
    assert (
        drain(within_memory(lambda: fitting(70 * 2**20, seen), CUDA, nothing), told.append)
        == "done"
    )
    assert seen == [2**30, 2**28, 2**26]
    notices = [step.name for step in told if step.notice]
    assert notices == 2 * ["The memory of cuda ran out: going on in smaller pieces"]
    assert drain(within_memory(lambda: fitting(70 * 2**20, seen), CUDA, nothing)) == "done"
    assert seen[3:] == [2**26]


def test_where_the_smallest_pieces_do_not_fit_it_goes_elsewhere() -> None:
    told: list[Step] = []

    def elsewhere() -> Iterator[Step]:
        yield Step("Elsewhere")
        return "done there"  # type: ignore[return-value]

    found = drain(within_memory(lambda: fitting(0, []), CUDA, nothing, elsewhere), told.append)  # type: ignore[arg-type]
    assert found == "done there"
    assert [step.name for step in told if step.notice][-1] == (
        "The memory of cuda is too small: going on on the CPU"
    )


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_where_nothing_helps_it_says_what_to_do(kind: str) -> None:
    with pytest.raises(
        NapariCliperError, match=r"about 2\.3 GB beside the models.*choose a smaller preset"
    ):
        drain(within_memory(lambda: fitting(0, []), torch.device(kind), lambda: 2_340_000_000))


def test_another_error_is_no_lack_of_memory() -> None:
    def work() -> Iterator[Step]:
        yield Step("Working")
        raise RuntimeError("sizes differ")

    with pytest.raises(RuntimeError, match="sizes differ"):
        drain(within_memory(work, CUDA, nothing))  # type: ignore[arg-type]


def test_what_torch_says_on_the_cpu_is_known() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(ValueError("out of memory"))


class Greedy(CLIPer):
    """Needs more memory than there is."""

    def encode(self, image: Any, inspect: bool = False) -> Steps[Any]:
        yield Step("Looking at the picture")
        raise torch.OutOfMemoryError("CUDA out of memory.")


def greedy(model: Segmenter, device: str) -> Segmenter:
    engine = model.engine
    parts = (engine.image_encoder, engine.text_encoder, engine.attention_source, engine.settings)
    return replace(model, engine=Greedy(*parts), device=device, encodings=type(model.encodings)())


def test_a_gpu_that_is_too_small_leaves_the_picture_to_the_cpu(
    small: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = greedy(small, "cuda")
    with pytest.warns(UserWarning, match="going on on the CPU"):
        result = model.segment(PICTURE, "person; sky")
    assert np.array_equal(result.labels, small.segment(PICTURE, "person; sky").labels)
    # The next picture is not tried on the GPU again, unless there is room for it.
    monkeypatch.setattr(out_of_memory, "free_bytes", lambda device: 0)
    monkeypatch.setattr(segmenter, "free_bytes", lambda device: 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.encode(PICTURE[::-1])
    monkeypatch.setattr(segmenter, "free_bytes", lambda device: 1e12)
    with pytest.warns(UserWarning, match="going on on the CPU"):
        model.encode(PICTURE[:, ::-1])


def test_pieces_stay_as_they_are_where_smaller_ones_would_not_fit_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(out_of_memory, "free_bytes", lambda device: 0)
    seen: list[int] = []
    assert drain(within_memory(lambda: fitting(2**30, seen), CUDA, lambda: 10**9)) == "done"
    assert seen == [2**30]


def test_a_cpu_that_is_too_small_says_so(small: Segmenter) -> None:
    model = greedy(small, "cpu")
    with pytest.raises(NapariCliperError, match="close other programs"):
        model.encode(PICTURE)
    assert len(model.encodings) == 0
