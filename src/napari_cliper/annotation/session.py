"""What an annotator has done on one picture, beside the pixels: all that reopening it takes."""

import json
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
)

from napari_cliper.annotation.class_list import ClassList
from napari_cliper.annotation.validation import (
    REMEDY,
    TAKEN_BY_WINDOWS,
    newer_format,
    told,
)
from napari_cliper.errors import NapariCliperError

FORMAT: Final = 1
INSTANCES = "instances of "  # how the role of a layer begins that numbers a class's objects


def _plain(name: str) -> str:
    """A name that stays inside its folder on every system."""
    marks = [letter for letter in name if letter in '/\\:*?"<>|' or not letter.isprintable()]
    taken = TAKEN_BY_WINDOWS.fullmatch(name)
    if marks or taken or name.startswith(".") or not name.endswith(".png"):
        raise ValueError(
            f"“{name}” is no name for a file of a session: give a plain one that ends in “.png”."
        )
    return name


FileName = Annotated[str, AfterValidator(_plain)]
DType = Literal["uint8", "uint16"]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Picture(_Data):
    """The plane that was annotated, and where it came from. Frozen.

    Attributes
    ----------
    name : str
        Of its layer.
    path : str or None
        Of its file: absolute, with ``/``.
    sample : str or None
        napari's key of it, such as "cat", if it is a sample picture.
    sha256 : str
        Of its pixels, as who saves works it out: hex digits.
    size : (H, W)
        Pixels.
    place : tuple of int
        Where the plane lies along the axes before its own; () for a 2-D picture.
    """

    name: str
    path: str | None = None
    sample: str | None = None
    sha256: str
    size: tuple[PositiveInt, PositiveInt]
    place: tuple[int, ...] = ()


class Model(_Data):
    """What was chosen to segment with. Frozen."""

    preset: str
    device: str
    method: str
    precision: str


class Adjustment(_Data):
    """What can be changed without running a model. Frozen.

    Attributes
    ----------
    presence, background : float in [0, 1], or None for the preset's threshold
    refinement : float in [0, 1]
    all_present : bool
        Whether all classes are known to be in the picture.
    """

    presence: Fraction | None = None
    background: Fraction | None = None
    refinement: Fraction = 1.0
    all_present: bool = False


class MaskNotes(_Data):
    """A label layer, but for its pixels. Frozen.

    Attributes
    ----------
    role : str
        What it shows: "refined", "coarse", "instances of cat" and so on.
    name : str
        Of the layer.
    classes : ClassList
        What its labels mean, each label that occurs.
    visible : bool
    opacity : float in [0, 1]
    contour : int
        Width of its outlines; 0 for filled regions.
    selected_label : int
        What the brush paints.
    """

    role: str
    name: str
    classes: ClassList
    visible: bool = True
    opacity: Fraction = 1.0
    contour: NonNegativeInt = 0
    selected_label: int = 1


class Mask(MaskNotes):
    """A label layer and the files that hold its pixels. Frozen.

    Attributes
    ----------
    labels : str
        File of the labels.
    dtype : str
        Of the labels, "uint8" or "uint16".
    protected : str or None
        File of the pixels that the program leaves alone.
    proposal : str or None
        File of what the program last wanted to write.
    proposal_dtype : str or None
        Of the proposal; None for the same as the labels'.
    """

    labels: FileName
    dtype: DType
    protected: FileName | None = None
    proposal: FileName | None = None
    proposal_dtype: DType | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """The names of its files."""
        return tuple(name for name in (self.labels, self.protected, self.proposal) if name)


class Notes(_Data):
    """All of a session but its masks. Frozen.

    Attributes
    ----------
    format : int
        Of the file.
    saved : datetime
        When, with its time zone.
    versions : dict of str to str
        Of the programs it was made with.
    picture : Picture
    classes : ClassList or None
        The list that people work on; None if nothing was typed.
    hidden : tuple of int
        Ids of classes that are not drawn.
    model : Model
    adjustment : Adjustment
    seen : tuple of (row, column)
        Places that were reviewed.
    """

    format: Literal[1] = FORMAT
    saved: AwareDatetime
    versions: dict[str, str] = {}
    picture: Picture
    classes: ClassList | None = None
    hidden: tuple[int, ...] = ()
    model: Model
    adjustment: Adjustment = Adjustment()
    seen: tuple[tuple[int, int], ...] = ()


class Session(Notes):
    """A session as its file holds it. Frozen.

    Attributes
    ----------
    masks : tuple of Mask
        In the order of their layers.
    """

    masks: tuple[Mask, ...] = ()

    @property
    def files(self) -> frozenset[str]:
        """The names of all files of its masks."""
        return frozenset(name for mask in self.masks for name in mask.files)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read what `to_json` wrote.

        Raises
        ------
        NapariCliperError
            The text is not JSON, not a valid session, or of a newer format.
        """
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:  # also broken UTF-8, or nested without end
            raise NapariCliperError(f"The session is not JSON ({error}): {REMEDY}.") from error
        _check_format(data)
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise told(error, "session") from error

    def to_json(self) -> str:
        """All of it as JSON, indented for people to read.

        To be encoded with "surrogatepass": a path may hold bytes that are no letters.
        """
        # pydantic's own writer would refuse such a path.
        return json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"


def _check_format(data: Any) -> None:
    """A newer format first: what else it holds cannot be judged."""
    found = data.get("format") if isinstance(data, dict) else None
    if isinstance(found, int) and found > FORMAT:
        raise NapariCliperError(newer_format("session", found, FORMAT))
