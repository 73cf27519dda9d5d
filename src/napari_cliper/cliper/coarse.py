"""The coarse map: how much each patch looks like each class (METHOD step 4)."""

from torch import Tensor
from torch.nn import functional as F

from napari_cliper.cliper.settings import Settings


def class_probabilities(embeddings: Tensor, rows: Tensor, classes: int, scale: float) -> Tensor:
    """Softmax over all text rows of the scaled cosine similarities; the class rows are kept.

    Parameters
    ----------
    embeddings : (K, h * w, D)
        Of length 1, or means of such.
    rows : (R, D), of length 1; the first `classes` of them are the classes.

    Returns
    -------
    (K, C, h * w), in [0, 1]
    """
    logits = scale * (rows @ embeddings.transpose(-1, -2))
    return logits.softmax(dim=-2)[:, :classes]


def mean_similarity(embeddings: Tensor, rows: Tensor, classes: int) -> Tensor:
    """The paper's coarse map: the mean over layers of the cosine similarities with the classes.

    Parameters
    ----------
    embeddings : (K, h * w, D), of length 1
    rows : (R, D), of length 1; the first `classes` of them are the classes.

    Returns
    -------
    (C, h * w), in [-1, 1]
    """
    # The mean of the cosines is the cosine with the mean.
    return rows[:classes] @ embeddings.mean(dim=0).T


def sliding_probabilities(
    embeddings: Tensor, attention: Tensor, rows: Tensor, classes: int, scale: float
) -> Tensor:
    """The same from sliding crops: logits averaged over crops, spread by the crops' attention.

    Averaging unit embeddings and comparing the mean with the rows averages the logits.

    Parameters
    ----------
    embeddings : (K, h * w, D), mean over the crops that hold a patch of its unit embeddings
    attention : (h * w, h * w), see `sliding.SlidingFeatures`

    Returns
    -------
    (K, C, h * w), in [0, 1]
    """
    logits = scale * (rows @ embeddings.transpose(-1, -2))
    return (logits @ attention).softmax(dim=-2)[:, :classes]


def coarse_map(probabilities: Tensor, attention: Tensor, settings: Settings) -> Tensor:
    """Combine the layers' maps: the selected one thresholded and spread, plus the mean of all.

    Parameters
    ----------
    probabilities : (K, C, h * w)
        K is 1 where `settings.early_layers` is 0.
    attention : (h * w, h * w)
        Ā of the whole picture.

    Returns
    -------
    (C, h * w), in [0, 2]
    """
    selected_layer = -1 if settings.early_layers == 0 else settings.selected_layer
    selected = probabilities[selected_layer]
    if settings.spread:
        least = settings.activation_threshold * selected.amax(dim=-1, keepdim=True)
        selected = selected.where(selected >= least, 0)
    coarse = selected @ attention if settings.spread else selected
    if settings.early_layers == 0:
        return coarse
    # The mean sees the thresholded map too, as in the reference implementation.
    others = probabilities.sum(dim=0) - probabilities[selected_layer]
    return coarse + (others + selected) / len(probabilities)


def resize_maps(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear, without corner alignment: (C, h, w) to (C, *size)."""
    return F.interpolate(maps[None], size, mode="bilinear", align_corners=False)[0]
