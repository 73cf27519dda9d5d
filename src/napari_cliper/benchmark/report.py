"""What the benchmark found: as JSON, as a table for the terminal and as Markdown."""

from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict

ENCODE = "encode a picture"
COLUMNS = ("step", "ours", "plain", "ratio", "floor", "floor / ours", "peak", "plain's peak")


class Figures(BaseModel):
    """One step, one way. Frozen.

    Attributes
    ----------
    seconds : float
        The median of the repetitions.
    multiply_adds : int
        Counted in products and convolutions.
    peak : int or None
        Bytes held at most, above those held before, as of `memory.peak_bytes`.
    """

    model_config = ConfigDict(frozen=True)

    seconds: float
    multiply_adds: int
    peak: int | None


class Measured(BaseModel):
    """One step. Frozen.

    Attributes
    ----------
    name : str
    ours, plain : Figures
    """

    model_config = ConfigDict(frozen=True)

    name: str
    ours: Figures
    plain: Figures

    @property
    def ratio(self) -> float:
        """How many times faster ours is."""
        return self.plain.seconds / self.ours.seconds


class Report(BaseModel):
    """All steps. Frozen.

    Attributes
    ----------
    preset, device : str
    precision : str
        Of our way; the plain way's is float32.
    random_weights : bool
    machine : str
        The name of the GPU or the CPU.
    units : tuple of str
        The CPU's that multiply matrices.
    threads : int
        That torch computes with.
    torch : str
        Its version.
    rate : float
        Multiply-adds a second of a large product of matrices, in our precision.
    weights, plain_weights : int
        Bytes of the models, which no peak contains.
    steps : tuple of Measured
    """

    model_config = ConfigDict(frozen=True)

    preset: str
    device: str
    precision: str
    random_weights: bool
    machine: str
    units: tuple[str, ...]
    threads: int
    torch: str
    rate: float
    weights: int
    plain_weights: int
    steps: tuple[Measured, ...]

    @property
    def title(self) -> str:
        """What was measured, and where, in a line."""
        place = self.machine if self.device != "cpu" else f"{self.machine}, {self.threads} threads"
        having = f" with {', '.join(self.units)}" if self.units else ""
        weights = "random weights" if self.random_weights else "real weights"
        return (
            f"{self.preset}, {self.precision}, {weights}: {place}{having}, torch {self.torch}, "
            f"{self.rate / 1e9:.0f} thousand million multiply-adds a second"
        )

    def floor(self, figures: Figures) -> float:
        """Seconds that the step's multiply-adds take at the machine's rate."""
        return figures.multiply_adds / self.rate

    def rows(self) -> Iterator[tuple[str, ...]]:
        """What the table says, a text for each of `COLUMNS`."""
        for step in self.steps:
            floor = self.floor(step.ours)
            yield (
                step.name,
                _seconds(step.ours.seconds),
                _seconds(step.plain.seconds),
                _ratio(step.ratio),
                _seconds(floor),
                f"{100 * floor / step.ours.seconds:.0f} %",
                _bytes(step.ours.peak),
                _bytes(step.plain.peak),
            )
        encode = next(step for step in self.steps if step.name == ENCODE)
        ours, plain = encode.ours.peak, encode.plain.peak
        if ours is not None and plain is not None:
            yield _memory("peak memory, without the models", ours, plain)
        yield _memory("the models", self.weights, self.plain_weights)

    def markdown(self) -> str:
        """The title and the table."""
        lines = [COLUMNS, ("---", *["--:"] * (len(COLUMNS) - 1)), *self.rows()]
        return "\n".join([f"{self.title}.", "", *(f"| {' | '.join(line)} |" for line in lines)])


def _memory(name: str, ours: int, plain: int) -> tuple[str, ...]:
    return name, _bytes(ours), _bytes(plain), f"{ours / plain:.2f}×", "", "", "", ""


def _seconds(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{1e3 * seconds:.1f} ms" if seconds >= 1e-4 else f"{1e6 * seconds:.0f} µs"


def _ratio(ratio: float) -> str:
    return f"{ratio:.2f}×" if ratio < 10 else f"{ratio:.0f}×"


def _bytes(count: int | None) -> str:
    if count is None:
        return "?"
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
