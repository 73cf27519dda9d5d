"""Options that several commands share, and what they choose."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_cliper.cli.reporter import Reporter
from napari_cliper.errors import NapariCliperError
from napari_cliper.images import Percentiles, parse_percentiles
from napari_cliper.models.choices import Choices
from napari_cliper.models.presets import load_compensations, load_methods

if TYPE_CHECKING:
    from napari_cliper.annotation.class_list import ClassList
    from napari_cliper.models.schema import Preset
    from napari_cliper.segmenter import Segmenter

Images = Annotated[list[Path], typer.Argument(help="Pictures: PNG, JPEG, TIFF, …")]
Classes = Annotated[
    str, typer.Option(help='What to look for, for example "cat; sofa = couch, settee".')
]
PresetName = Annotated[
    str, typer.Option("--preset", help="auto, small, base, large, huge, or a preset file's path.")
]
Method = Annotated[str, typer.Option(help=f"{', '.join(load_methods())}: what the paper compares.")]
Encoder = Annotated[
    str | None,
    typer.Option(
        help="Another CLIP of open_clip's: ViT-B-16:openai, or ViT-B-16-quickgelu:PATH of a "
        "safetensors file."
    ),
]
Compensation = Annotated[
    str | None,
    typer.Option(
        help="Another source of self-attention: preset (its own, also where the method goes "
        f"without), none, {', '.join(load_compensations())}, or a folder with Stable Diffusion."
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="FIELD=VALUE",
        help="Change one field of the preset: settings.logit_scale=70, compensation.seed=3, "
        "compensation.layers=[-2]. May be repeated.",
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        help="Of the models' weights: auto (what suits the device), float32, bfloat16, float16."
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
PERCENTILES = (
    "Let a picture's darkest and brightest values become black and white: 1,99 cuts off one per "
    "cent at either end. Colours of 8 bits stay as they are."
)
PercentilesText = Annotated[
    str | None, typer.Option("--percentiles", metavar="LOW,HIGH", help=PERCENTILES)
]
Weights = Annotated[
    Path | None, typer.Option(help="Folder with weights, looked at before all others.")
]
Download = Annotated[
    bool,
    typer.Option(
        "--download", help="Fetch weights that are missing, after telling sizes and licences."
    ),
]

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")]


def percentiles(text: str | None) -> Percentiles | None:
    """What `--percentiles` says.

    Raises
    ------
    NapariCliperError
        They are none.
    """
    return None if text is None else parse_percentiles(text)


def class_list(path: Path) -> "ClassList":
    """The class list in a JSON file; of a .txt file, one class a line.

    Raises
    ------
    NapariCliperError
        It cannot be read, or is none.
    """
    from napari_cliper.annotation.class_list import ClassList
    from napari_cliper.files.bounded import read_bounded
    from napari_cliper.files.pictures import explained

    with explained(path):
        text = read_bounded(path)
        if path.suffix.lower() == ".txt":
            return ClassList.parse(text.decode("utf-8-sig"))
    try:
        return ClassList.from_json(text)
    except NapariCliperError as error:
        raise NapariCliperError(f"In “{path}”: {error}") from error


@dataclass(frozen=True)
class Model:
    """A model as the options choose it; a choice that is none is refused when this is made.

    Attributes
    ----------
    preset, device : str
    weights : Path or None
    download : bool
    choices : Choices
    """

    preset: str
    device: str
    weights: Path | None
    download: bool
    choices: Choices

    def __post_init__(self) -> None:
        self.choices.as_changes()

    def load(self, reporter: Reporter) -> "Segmenter":
        """Load it, telling what happens."""
        reporter.show("Loading the libraries")
        from napari_cliper.segmenter import load_steps

        self.announce(reporter)
        model = reporter.run(
            load_steps(self.preset, self.device, self.weights, self.download, self.choices)
        )
        if model.note:
            reporter.say(model.note)
        return model

    def choose(self) -> "Preset":
        """The preset that is meant, as it is to be used."""
        from napari_cliper.models import weights
        from napari_cliper.models.loading import resolve_device

        folder = weights.user_folder(self.weights)
        return weights.choose(self.preset, resolve_device(self.device).type, folder, self.choices)[
            0
        ]

    def announce(self, reporter: Reporter) -> None:
        """Tell what is about to be fetched, if anything: from where, how much, which licence."""
        if not self.download:
            return
        from napari_cliper.models import hub, inventory, weights

        folder = weights.user_folder(self.weights)
        if missing := weights.missing(self.choose(), folder):
            hub.check_online(missing)
            hub.check_space("Fetching the weights", inventory.still_to_fetch(missing))
            reporter.say(f"To fetch:\n{inventory.describe(missing)}")
