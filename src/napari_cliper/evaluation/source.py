"""Where pictures and their truth are from, as a person says: a benchmark's splits, or files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_cliper.errors import NapariCliperError
from napari_cliper.evaluation.benchmarks import Setup
from napari_cliper.evaluation.datasets import Dataset, open_benchmark, open_files, read_classes
from napari_cliper.evaluation.datasets.dataset import names_in

SPLITS = ("val", "train")  # of the benchmarks; the first one is reported on


@dataclass(frozen=True)
class Source:
    """Where the pictures and their truth are from, as the options say."""

    benchmark: str | None
    root: Path | None
    pictures: Path | None
    masks: Path | None
    classes: str | None
    ignore: str

    def __post_init__(self) -> None:
        if (self.benchmark is None) == (self.pictures is None):
            raise NapariCliperError(
                "Say what to evaluate on: either --benchmark and --root, or --pictures and --masks."
            )
        if self.benchmark is not None and self.root is None:
            raise NapariCliperError("Say where the benchmark was unpacked: --root FOLDER.")
        if self.pictures is not None and self.masks is None:
            raise NapariCliperError("Say where the truth of the pictures is: --masks PATH.")

    def open(self, split: str | None, setup: Setup | None) -> Dataset:
        """The pictures of a split; of their own, all, or those that a file lists.

        Raises
        ------
        NapariCliperError
            They cannot be opened, or one that is listed is not there.
        """
        listed = names_in(Path(split)) if split and Path(split).is_file() else None
        title = Path(split or "").name
        if self.benchmark is not None:
            if listed is None:
                return self._split(split or SPLITS[0], setup)
            return self._listed(listed, title, setup)
        assert self.pictures is not None
        assert self.masks is not None
        if split is not None and listed is None:
            raise NapariCliperError(
                f"There is no file “{split}”: name a text file that lists the pictures."
            )
        asked = None if self.classes is None else read_classes(self.classes)
        dataset = open_files(self.pictures, self.masks, asked, self._ignored())
        return dataset if listed is None else dataset.only(listed, title)

    def _split(self, split: str, setup: Setup | None) -> Dataset:
        assert self.benchmark is not None
        assert self.root is not None
        return open_benchmark(self.benchmark, self.root, split, setup)

    def _listed(self, names: Sequence[str], title: str, setup: Setup | None) -> Dataset:
        """Pictures of a benchmark, from whichever split they are in."""
        found: Dataset | None = None
        unread: dict[str, NapariCliperError] = {}
        for split in SPLITS:
            try:
                part = self._split(split, setup)
            except NapariCliperError as error:  # not all splits need be there
                unread[split] = error
                continue
            found = part if found is None else found.joined(part)
            if not found.lost(names):
                break
        if found is None:
            raise unread[SPLITS[0]]
        lost = found.lost(names)
        for split, problem in unread.items():
            if lost:
                raise NapariCliperError(
                    f"{title} names “{lost[0]}”, which is none of the pictures; it may be in "
                    f"{split}, which cannot be read. {problem}"
                ) from problem
        return found.only(names, title)

    def _ignored(self) -> frozenset[int]:
        try:
            return frozenset(int(part) for part in self.ignore.split(",") if part.strip())
        except ValueError as error:
            raise NapariCliperError(
                f"“{self.ignore}” are no values: give whole numbers, such as 0,255."
            ) from error
