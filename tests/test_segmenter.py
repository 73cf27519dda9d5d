"""The scripting interface with the small preset's real weights."""

import numpy as np
import pytest
import skimage.data

import napari_cliper as nc
from napari_cliper.annotation.class_list import ClassEntry, ClassList
from napari_cliper.cliper import CLIPer, SharedSelfAttention, TransformerSelfAttention
from napari_cliper.cliper.last_block import proxy_weights
from napari_cliper.cliper.steps import Steps
from napari_cliper.inspector import Inspector
from napari_cliper.models.choices import Choices
from napari_cliper.models.presets import load_methods
from napari_cliper.segmenter import Encoding, Segmenter, drain, load_steps

QUICK = ["settings.shorter_side=224"]  # a quarter of the patches


@pytest.fixture(scope="module")
def model() -> Segmenter:
    return nc.load("small", device="cpu")


@pytest.fixture(scope="module")
def cat() -> np.ndarray:
    return skimage.data.cat()


@pytest.fixture(scope="module")
def encoding(model: Segmenter, cat: np.ndarray) -> Encoding:
    return model.encode(cat)


def test_segment_once_then_again_with_other_words(
    model: Segmenter, encoding: Encoding, cat: np.ndarray
) -> None:
    result = model.segment(encoding, "cat; sofa = couch, settee")
    assert result.labels.shape == result.coarse_labels.shape == (300, 451)
    assert result.labels.dtype == result.coarse_labels.dtype == np.uint16
    assert set(np.unique(result.labels)) <= {0, 1, 2}
    assert result.presence.shape == (2,)
    assert result.presence.dtype == np.float32
    assert result.scores.shape == (2, 300, 451)
    assert result.scores.dtype == np.float32
    again = model.segment(encoding, "sofa = couch, settee; cat")
    np.testing.assert_allclose(again.presence, result.presence[::-1], rtol=1e-4)
    # Rounding may move a patch over a threshold from one pass of the tower to the next.
    model.encodings.clear()
    anew = model.segment(cat, "cat; sofa = couch, settee")
    assert (anew.labels == result.labels).mean() > 0.99


def test_thresholds_change_labels_and_nothing_else(model: Segmenter, encoding: Encoding) -> None:
    scored = model.score(encoding, "cat")
    usual = scored.label()
    strict = scored.label(background_threshold=0.9)
    unlikely = model.score(encoding, "toaster")
    absent = unlikely.label(presence_threshold=float(unlikely.presence[0]) + 0.01)
    assert 0 < (strict.labels > 0).sum() < (usual.labels > 0).sum()
    assert not (strict.labels > usual.labels).any()
    assert absent.labels.max() == 0
    assert unlikely.label(presence_threshold=0.0).labels.max() == 1
    np.testing.assert_array_equal(usual.presence, strict.presence)


def test_refinement_goes_from_coarse_to_refined(model: Segmenter, encoding: Encoding) -> None:
    scored = model.score(encoding, "cat; sofa")
    none, half, full = (scored.label(refinement=share) for share in (0, 0.5, 1))
    np.testing.assert_array_equal(none.labels, none.coarse_labels)
    np.testing.assert_array_equal(full.labels, scored.label().labels)
    np.testing.assert_array_equal(full.coarse_labels, half.coarse_labels)
    for end in (none, full):
        assert 0 < (half.labels != end.labels).mean() < (none.labels != full.labels).mean()


def test_borders_are_less_certain_than_middles(model: Segmenter, encoding: Encoding) -> None:
    result = model.segment(encoding, "cat; sofa")
    assert result.uncertainty.shape == result.labels.shape
    assert result.uncertainty.dtype == np.float32
    border = np.zeros(result.labels.shape, bool)
    border[1:] |= result.labels[1:] != result.labels[:-1]
    assert result.uncertainty[border].mean() > result.uncertainty[~border].mean() + 0.1


def test_ids_of_a_class_list_are_kept(model: Segmenter, encoding: Encoding) -> None:
    classes = ClassList(classes=(ClassEntry(id=300, name="cat"), ClassEntry(id=7, name="sofa")))
    result = model.segment(encoding, classes)
    plain = model.segment(encoding, "cat; sofa")
    np.testing.assert_array_equal(result.labels == 300, plain.labels == 1)
    np.testing.assert_array_equal(result.labels == 7, plain.labels == 2)


def test_the_background_words_of_a_class_list_count(model: Segmenter, encoding: Encoding) -> None:
    rival = model.segment(
        encoding, ClassList.parse("cat").model_copy(update={"background": ("kitten",)})
    )
    alone = model.segment(encoding, ClassList.parse("cat").model_copy(update={"background": ()}))
    assert rival.presence[0] < alone.presence[0]


def test_a_class_is_not_its_own_background(model: Segmenter, encoding: Encoding) -> None:
    word = model.preset.background[0]
    result = model.segment(encoding, f"cat; thing = {word.upper()}")
    without = ClassList.parse(f"cat; thing = {word.upper()}").model_copy(
        update={"background": model.preset.background[1:]}
    )
    np.testing.assert_array_equal(result.labels, model.segment(encoding, without).labels)


def test_attention_is_relative_to_its_mean(model: Segmenter, encoding: Encoding) -> None:
    attention = Inspector(encoding).received()
    assert attention.ndim == 2
    assert attention.mean() == pytest.approx(1, rel=1e-4)


def test_compensation_costs_no_second_pass(
    model: Segmenter, encoding: Encoding, cat: np.ndarray
) -> None:
    engine = model.engine
    assert isinstance(engine.attention_source, SharedSelfAttention)
    second = TransformerSelfAttention(
        engine.image_encoder, engine.attention_source.block, encoding.grid
    )
    expected = drain(second.compensation(cat, engine.settings))
    assert encoding.compensation is not None
    for found, wanted in zip(encoding.compensation.maps, expected.maps, strict=True):
        # Kernels round otherwise, so that an entry at the threshold may fall on its other side.
        off = (found - wanted).abs()
        assert (off > 1e-5).float().mean() < 1e-5
        assert off.max() < 1e-3


def test_steps_have_names_and_can_be_left(model: Segmenter, cat: np.ndarray) -> None:
    model.encodings.clear()
    steps = model.segment_steps(cat, "cat")
    assert next(steps).name
    steps.close()
    names: list[str] = []
    drain(model.segment_steps(cat, "unheard-of word"), lambda step: names.append(step.name))
    assert {"Reading the words", "Looking at the picture", "Labelling"} == set(names)


def test_a_picture_is_encoded_once(cat: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[bool] = []
    encode = CLIPer.encode

    def count(self: CLIPer, image: np.ndarray, inspect: bool) -> Steps[Encoding]:
        looked.append(inspect)
        return encode(self, image, inspect)

    monkeypatch.setattr(CLIPer, "encode", count)
    model = nc.load("small", "cpu", changes=QUICK)
    first = model.segment(cat, "cat")
    model.segment(cat.copy(), "cat; sofa")
    assert looked == [False]
    np.testing.assert_array_equal(model.segment(cat, "cat").labels, first.labels)
    assert looked == [False]
    assert model.encode(cat) is model.encode(cat)
    assert model.encode(cat).inspection is None
    assert model.encode(cat, inspect=True).inspection is not None
    assert model.encode(cat, inspect=True) is model.encode(cat)
    assert looked == [False, True]
    # Other pixels, another method, another model's memory.
    model.encode(cat[:, ::-1])
    assert looked == [False, True, False]
    other = drain(load_steps("small", "cpu", choices=Choices("sclip", changes=QUICK), before=model))
    other.encode(cat)
    assert looked == [False, True, False, False]
    model.encodings.limit = 1
    model.encode(cat[::-1])
    assert len(model.encodings) == 1  # the newest, however large
    model.encode(cat)
    assert looked == [False, True] + [False] * 4


def test_a_word_is_encoded_once(model: Segmenter, encoding: Encoding) -> None:
    model.segment(encoding, "teapot")
    names: list[str] = []
    drain(model.segment_steps(encoding, "teapot"), lambda step: names.append(step.name))
    assert "Reading the words" not in names


def test_saving_a_result(model: Segmenter, encoding: Encoding, tmp_path: object) -> None:
    result = model.segment(encoding, "cat; sofa")
    nc.save_labels(f"{tmp_path}/cat.png", result)
    labels, classes = nc.load_labels(f"{tmp_path}/cat.png")
    np.testing.assert_array_equal(labels, result.labels)
    assert classes == result.classes


@pytest.mark.parametrize("name", [name for name in load_methods() if name != "cliper"])
def test_every_method_finds_the_cat_on_the_same_models(
    model: Segmenter, cat: np.ndarray, name: str
) -> None:
    other = drain(load_steps("small", "cpu", choices=Choices(name, changes=QUICK), before=model))
    assert other.preset.method == name
    assert other.engine.image_encoder is model.engine.image_encoder
    assert other.engine.settings != model.engine.settings
    encoding = other.encode(cat)
    assert (encoding.compensation is None) == (name != "cliper-paper")
    labels = other.segment(encoding, "cat; sofa").labels
    if name == "cliper-paper":
        # No threshold, so no background; and the small preset's heads know the last layer alone.
        assert set(np.unique(labels)) == {1, 2}
        return
    assert (labels[100:250, 150:350] == 1).mean() > 0.3  # some lose eyes and nose
    assert (labels[:, 410:] == 1).mean() < 0.1  # beside the animal


def test_proxyclip_looks_with_the_other_model(model: Segmenter, cat: np.ndarray) -> None:
    choices = Choices("proxyclip", changes=QUICK)
    other = drain(load_steps("small", "cpu", choices=choices, before=model))
    encoding = other.encode(cat)
    assert other.engine.proxy_model is not None
    features = other.engine.proxy_model.patch_features(cat, encoding.grid)
    expected = proxy_weights(features)[1:, 1:]
    # Rounding may move a pair of patches over the mean likeness from one pass to the next.
    close = np.isclose(encoding.attention, expected, atol=1e-5, rtol=1e-3)
    assert close.mean() > 0.999
    # Once more: nothing is loaded again.
    again = drain(load_steps("small", "cpu", choices=choices, before=other))
    assert again.engine.proxy_model is other.engine.proxy_model


def test_compensation_by_another_model(model: Segmenter, cat: np.ndarray) -> None:
    changes = [*QUICK, "compensation.grid=[20, 20]"]

    def load(changes: list[str]) -> Segmenter:
        choices = Choices(compensation="dinov2-small", changes=changes)
        return drain(load_steps("small", "cpu", choices=choices, before=model))

    other = load(changes)
    encoding = other.encode(cat)
    assert encoding.compensation is not None
    assert encoding.compensation.grid == (20, 20)
    assert len(encoding.compensation.maps) == 1  # the mean of its heads
    affine = load([*changes, "compensation.maps=affinity"])
    assert affine.encode(cat).compensation is not None
    for segmenter in (other, affine):
        labels = segmenter.segment(cat, "cat; sofa").labels
        assert (labels[100:250, 150:350] == 1).mean() > 0.8


def test_classes_that_are_known_to_be_there(model: Segmenter, encoding: Encoding) -> None:
    words = "cat; toaster; violin"
    usual = model.segment(encoding, words)
    assert usual.present.tolist() == [True, False, False]
    known = model.segment(encoding, words, present="Cat; toaster")
    assert known.present.tolist() == [True, True, False]
    assert set(np.unique(known.labels)) <= {0, 1, 2}
    assert (known.labels == 2).any()
    everything = model.segment(encoding, words, present="all")
    assert set(np.unique(everything.labels)) == {0, 1, 2, 3}
    assert not (model.segment(encoding, words, present=["toaster"]).labels == 1).any()
    with pytest.raises(nc.NapariCliperError, match="“dog” is said to be in the picture"):
        model.segment(encoding, words, present=["dog"])
    for nonsense in (1, [True, False, True]):
        with pytest.raises(nc.NapariCliperError, match="are given by their names"):
            model.segment(encoding, words, present=nonsense)  # type: ignore[arg-type]
    with pytest.raises(nc.NapariCliperError, match="No class is said to be"):
        model.segment(encoding, words, present=[])


def test_which_classes_are_in_the_picture(model: Segmenter, encoding: Encoding) -> None:
    found = model.classify(encoding, "toaster; cat; violin")
    assert found.names == ("cat",)
    result = model.segment(encoding, "toaster; cat; violin")
    np.testing.assert_array_equal(found.presence, result.presence)
    np.testing.assert_array_equal(found.present, result.present)
    low = model.classify(encoding, "toaster; cat; violin", presence_threshold=0.0)
    assert low.names[0] == "cat"
    assert len(low.names) == 3


@pytest.mark.parametrize(("precision", "agree"), [("bfloat16", 0.995), ("float16", 0.999)])
def test_half_precision_gives_the_same_labels(
    model: Segmenter, cat: np.ndarray, precision: str, agree: float
) -> None:
    """Measured on five photographs: 99.66 to 99.95 % in bfloat16, 99.94 to 99.99 % in float16."""
    half = nc.load("small", "cpu", precision=precision, changes=QUICK)
    full = drain(load_steps("small", "cpu", choices=Choices(changes=QUICK), before=model))
    labels, expected = (each.segment(cat, "cat; sofa").labels for each in (half, full))
    assert (labels == expected).mean() >= agree
    assert half.engine.image_encoder.dtype != model.engine.image_encoder.dtype


def test_auto_is_resolved_before_models_are_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAPARI_CLIPER_PRECISION", "bfloat16")
    first = nc.load("small", "cpu")
    assert first.precision == "bfloat16"
    for choices in (Choices(), Choices(precision="bfloat16")):
        again = drain(load_steps("small", "cpu", choices=choices, before=first))
        assert again.precision == "bfloat16"
        assert again.engine.image_encoder is first.engine.image_encoder
    monkeypatch.setenv("NAPARI_CLIPER_PRECISION", "float32")
    other = drain(load_steps("small", "cpu", before=first))
    assert other.precision == "float32"
    assert other.engine.image_encoder is not first.engine.image_encoder


def test_an_encoding_for_another_method_is_refused(model: Segmenter, encoding: Encoding) -> None:
    other = drain(load_steps("small", "cpu", choices=Choices("sclip"), before=model))
    with pytest.raises(nc.NapariCliperError, match="encoded for another method"):
        other.segment(encoding, "cat")
    with pytest.raises(nc.NapariCliperError, match="encoded for another method"):
        other.score(encoding, "cat")
    # Thresholds and the logit scale come after it.
    later = Choices(changes=["settings.logit_scale=30", "settings.background_threshold=0.2"])
    sharper = drain(load_steps("small", "cpu", choices=later, before=model))
    assert sharper.segment(encoding, "cat").labels.max() == 1


@pytest.mark.parametrize(
    ("field", "choices"),
    [
        ("image_encoder", Choices(precision="bfloat16")),
        ("attention_source", Choices(changes=["compensation.block=9"])),
        ("proxy_model", Choices("proxyclip", changes=["proxy.mean=[0.5, 0.5, 0.5]"])),
    ],
)
def test_what_was_built_otherwise_is_not_taken_again(field: str, choices: Choices) -> None:
    before = nc.load("small", "cpu", method="proxyclip", compensation="preset")
    now = drain(load_steps("small", "cpu", choices=choices, before=before))
    assert getattr(now.engine, field) is not getattr(before.engine, field)
    assert getattr(now.engine, field) != getattr(before.engine, field)


def test_one_change_need_not_be_a_list() -> None:
    for changes in ("settings.logit_scale=70", {"settings": {"logit_scale": 70}}):
        (_, change) = Choices(changes=changes).as_changes()
        assert change == {"settings": {"logit_scale": 70}}
    assert len(Choices(changes=None).as_changes()) == 1
    with pytest.raises(nc.NapariCliperError, match="“method” is no field to change"):
        Choices(changes="method=clip").as_changes()


def test_mistakes_are_told_in_a_sentence(
    model: Segmenter, encoding: Encoding, cat: np.ndarray
) -> None:
    with pytest.raises(nc.NapariCliperError, match="no preset"):
        nc.load("tiny")
    with pytest.raises(nc.NapariCliperError, match="no method “slip”"):
        nc.load("small", method="slip")
    with pytest.raises(nc.NapariCliperError, match="“-1” is no size for kept encodings"):
        nc.load("small", keep=-1)
    with pytest.raises(nc.NapariCliperError, match="no precision “float8”"):
        nc.load("small", precision="float8")
    with pytest.raises(nc.NapariCliperError, match="no source of compensation"):
        nc.load("small", compensation="nowhere")
    with pytest.raises(nc.NapariCliperError, match="no device"):
        nc.load("small", device="cuda:99")
    with pytest.raises(nc.NapariCliperError):
        model.segment(cat, "")
    with pytest.raises(nc.NapariCliperError):
        model.segment(cat[:, :1], "cat")
    with pytest.raises(nc.NapariCliperError, match="0 to 1"):
        model.segment(cat, "cat", presence_threshold=2)
    with pytest.raises(nc.NapariCliperError, match="0 to 1"):
        model.score(encoding, "cat").label(refinement=1.5)
