"""The small preset with whatever words, settings and pictures: a result or our own error."""

import numpy as np
import pytest
import skimage.data
from hypothesis import strategies as st

import napari_cliper as nc
from fuzz.examples import allowed, fuzz
from fuzz.test_class_texts import TEXTS
from napari_cliper.segmenter import Segmenter

CAT = skimage.data.cat()[::4, ::4]
THRESHOLDS = st.none() | st.floats(-0.1, 1.1) | st.floats()


@pytest.fixture(scope="module")
def small() -> Segmenter:
    return nc.load("small", device="cpu", changes=["settings.shorter_side=224"])


@fuzz(
    0.016,
    words=st.sampled_from(["cat; dog", "cat = kitty", "a" * 3000, "🏳️‍🌈; كلب", "\u200b"]) | TEXTS,
    picture=st.sampled_from([CAT, CAT[..., 0], CAT[::-1], CAT / 255, CAT[:16, :16], CAT[:2]]),
    presence=THRESHOLDS,
    background=THRESHOLDS,
)
def test_any_words_and_thresholds(small, words, picture, presence, background):
    scored = allowed(small.score, picture, words)
    if scored is None:
        return
    result = allowed(scored.label, presence_threshold=presence, background_threshold=background)
    if result is not None:
        assert result.labels.shape == picture.shape[:2]
        assert {*np.unique(result.labels).tolist()} <= {0, *result.classes.ids}
        assert np.isfinite(result.presence).all()
