"""What a set of labelled images is, and what its readers share."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import isfinite
from pathlib import Path

from vqafeat.datasets.dataset import doubled, first_few
from vqafeat.datasets.label_readers import Table, column_of, parsed_scores
from vqafeat.errors import DatasetError
from vqafeat.registry import Registry


@dataclass(frozen=True)
class LabelledImage:
    """One image and what people said of it.

    Attributes:
        name: as the set lists it.
        path: of the file.
        mos: mean opinion score, higher is better.
        std: standard deviation of the opinions, in the unit of the MOS.
        content: images of one content go to the same part, training or validation.
    """

    name: str
    path: Path
    mos: float
    std: float
    content: str


@dataclass(frozen=True)
class ImageSet:
    """A set of labelled images; its scores are compared with those of no other set.

    Attributes:
        name: of the set.
        images: in the order of the label file.
        labels: the label file.
        std_source: where the deviations come from, in words.

    Raises:
        DatasetError: there are no images, a name is doubled, a label is not finite, a deviation is negative or not finite.
    """

    name: str
    images: tuple[LabelledImage, ...]
    labels: Path
    std_source: str

    def __post_init__(self) -> None:
        if not self.images:
            raise DatasetError(f"image set '{self.name}': '{self.labels}' lists no images; give a label file with at least two rows.")
        if twice := doubled([image.name for image in self.images]):
            raise DatasetError(f"image set '{self.name}': '{self.labels}' lists images twice: {first_few(twice)}; keep one row of each.")
        self._refuse("labels (MOS)", [f"{item.name} ({item.mos})" for item in self.images if not isfinite(item.mos)], "finite numbers")
        wrong = [f"{item.name} ({item.std})" for item in self.images if not (isfinite(item.std) and item.std >= 0)]
        self._refuse("deviations (std)", wrong, "finite numbers of at least 0")

    @property
    def digest(self) -> str:
        """SHA-256 of all names and labels."""
        rows = [(image.name, image.mos, image.std, image.content) for image in self.images]
        return sha256(json.dumps(rows).encode()).hexdigest()

    def _refuse(self, what: str, wrong: Sequence[str], allowed: str) -> None:
        if wrong:
            raise DatasetError(
                f"image set '{self.name}': {len(wrong)} {what} in '{self.labels}' are not {allowed}: {first_few(wrong)}; "
                "mend these rows or leave them out."
            )


@dataclass(frozen=True)
class ImageSetReader:
    """How a published image set is read.

    Attributes:
        read: the folder of the set → the set.
        described: title and label file, for lists.
        pairs: drawn by default (FACTS § 8); None where no paper states a number.
    """

    read: Callable[[Path], ImageSet]
    described: str
    pairs: int | None = None


IMAGE_SETS: Registry[ImageSetReader] = Registry("image set")


def first_there(root: Path, candidates: Sequence[str], what: str) -> Path:
    """Return the first of some paths below a folder that is there.

    Raises:
        DatasetError: none is.
    """
    for candidate in candidates:
        if (root / candidate).exists():
            return root / candidate
    raise DatasetError(f"'{root}' holds no {what}; looked for {', '.join(candidates)}. Give the folder that the set unpacks to.")


def column_cells(table: Table, names: tuple[str, ...], path: Path) -> list[tuple[int, str]]:
    """Return (line, cell) of the first of these columns that a table has."""
    column = column_of(table, names, path)
    return [(line, cells[column]) for line, cells in table.rows]


def column_numbers(table: Table, names: tuple[str, ...], path: Path) -> list[float]:
    """Return the numbers of the first of these columns that a table has; an empty cell is NaN."""
    return parsed_scores(column_cells(table, names, path), path)


def labelled(
    folder: Path, names: Iterable[str], mos: Iterable[float], std: Iterable[float], contents: Iterable[str] | None = None
) -> tuple[LabelledImage, ...]:
    """Return the images of a folder with their labels; without contents, each image is one of its own."""
    listed = list(names)
    grouped = listed if contents is None else list(contents)
    rows = zip(listed, mos, std, grouped, strict=True)
    return tuple(LabelledImage(name, folder / name, score, deviation, content) for name, score, deviation, content in rows)
