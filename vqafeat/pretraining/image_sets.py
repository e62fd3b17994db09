"""Sets of labelled images: the published ones as they ship, and a user's CSV."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import isfinite, isnan
from pathlib import Path
from statistics import stdev
from typing import NamedTuple

from vqafeat.datasets.label_readers import Table, column_of, parsed_scores, read_table, read_workbook
from vqafeat.datasets.matlab import mat5_variables
from vqafeat.errors import ArgumentError, DatasetError
from vqafeat.io import duplicates, summarize
from vqafeat.registry import named


@dataclass(frozen=True)
class LabelledImage:
    """One image and what people said of it.

    Attributes:
        mos: mean opinion score, higher is better.
        std: standard deviation of the opinions, in the unit of the MOS.
        content: images of one content are in the same part, training or validation.
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
        images: in the order of the label file.
        labels: the label file.
        std_source: where the deviations come from, in words.

    Raises:
        DatasetError: there are no images, a name is doubled, or a label or deviation is not allowed.
    """

    name: str
    images: tuple[LabelledImage, ...]
    labels: Path
    std_source: str

    def __post_init__(self) -> None:
        where = f"image set '{self.name}'"
        if not self.images:
            raise DatasetError(
                f"{where}: '{self.labels}' lists no images; give a label file with at least two rows."
            )
        if twice := duplicates([image.name for image in self.images]):
            raise DatasetError(
                f"{where}: '{self.labels}' lists images twice: {summarize(twice)}; keep one row of each."
            )
        bad_mos = [f"{item.name} ({item.mos})" for item in self.images if not isfinite(item.mos)]
        bad_std = [f"{item.name} ({item.std})" for item in self.images if not 0 <= item.std < float("inf")]
        for what, bad, allowed in (
            ("labels (MOS)", bad_mos, "finite numbers"),
            ("deviations (std)", bad_std, "finite numbers of at least 0"),
        ):
            if bad:
                raise DatasetError(
                    f"{where}: {len(bad)} {what} in '{self.labels}' are not {allowed}: {summarize(bad)}; "
                    f"mend these rows or leave them out."
                )

    @property
    def digest(self) -> str:
        """SHA-256 of all names and labels."""
        rows = [(image.name, image.mos, image.std, image.content) for image in self.images]
        return sha256(json.dumps(rows).encode()).hexdigest()


class LabelColumns(NamedTuple):
    """What a label file says, row by row; an empty content, or none at all, is the image itself."""

    names: Sequence[str]
    mos: Sequence[float]
    std: Sequence[float]
    std_source: str
    contents: Sequence[str] = ()


@dataclass(frozen=True)
class ImageSetReader:
    """A published image set as it ships.

    Attributes:
        described: title, label file and folder, for lists.
        labels: paths, below the folder of the set, that the label file may have.
        folders: paths that the folder of the images may have.
        columns: reads a label file.
        pairs: drawn by default (FACTS § 8); None where no paper states a number.
    """

    described: str
    labels: tuple[str, ...]
    folders: tuple[str, ...]
    columns: Callable[[Path], LabelColumns]
    pairs: int | None = None

    def read(self, name: str, root: Path) -> ImageSet:
        """Return the set in a folder."""
        title = self.described.partition(":")[0]
        labels = _first_existing(root, self.labels, f"label file of {title}")
        folder = _first_existing(root, self.folders, f"images of {title}")
        return _image_set(name, labels, folder, self.columns(labels))


def _first_existing(root: Path, candidates: Sequence[str], what: str) -> Path:
    for candidate in candidates:
        if (root / candidate).exists():
            return root / candidate
    raise DatasetError(
        f"'{root}' holds no {what}; looked for {', '.join(candidates)}. Give the folder that the set unpacks "
        f"to."
    )


def _image_set(name: str, labels: Path, folder: Path, columns: LabelColumns) -> ImageSet:
    contents = [
        content or image
        for image, content in zip(columns.names, columns.contents or columns.names, strict=True)
    ]
    rows = zip(columns.names, columns.mos, columns.std, contents, strict=True)
    images = tuple(
        LabelledImage(image, folder / image, mos, std, content) for image, mos, std, content in rows
    )
    return ImageSet(name, images, labels, columns.std_source)


def _read(path: Path) -> Table:
    return read_table(path) if path.suffix.lower() == ".csv" else read_workbook(path)


def _cells(table: Table, column: str, path: Path) -> list[tuple[int, str]]:
    index = column_of(table, (column,), path)
    return [(line, cells[index]) for line, cells in table.rows]


def _texts(table: Table, column: str, path: Path) -> list[str]:
    return [cell for _, cell in _cells(table, column, path)]


def _numbers(table: Table, column: str, path: Path) -> list[float]:
    return parsed_scores(_cells(table, column, path), path)


def named_columns(
    name: str, mos: str, std: str, std_source: str, content: str = ""
) -> Callable[[Path], LabelColumns]:
    """Return a reader of the columns of these names."""

    def read(path: Path) -> LabelColumns:
        table = _read(path)
        names, contents = _texts(table, name, path), _texts(table, content, path) if content else ()
        return LabelColumns(
            names, _numbers(table, mos, path), _numbers(table, std, path), std_source, contents
        )

    return read


def bid_columns(path: Path) -> LabelColumns:
    """Return the mean grade of BID's workbook, and the deviation over its grades, empty cells left out.

    Source: `data_BID.m` in the released code of UNIQUE, which numbers files from the first column and takes
        `std(grades, 0, 2, 'omitnan')`.
    """
    table, where = _read(path), f"label file '{path}'"
    if len(table.header) < 5:
        raise DatasetError(
            f"{where} has {len(table.header)} columns; BID's has the image's number, the mean grade, and "
            f"from the fourth column on the grades of the subjects."
        )
    numbers, mos, *grades = [
        parsed_scores(((line, cells[index]) for line, cells in table.rows), path)
        for index in range(len(table.header))
        if index != 2
    ]
    if wrong := [str(number) for number in numbers if isnan(number) or number != int(number)]:
        raise DatasetError(
            f"{where}: the first column has to number the images, but holds {summarize(wrong)}."
        )
    given = [[grade for grade in row if not isnan(grade)] for row in zip(*grades, strict=True)]
    names = [f"DatabaseImage{int(number):04d}.JPG" for number in numbers]
    if few := [name for name, row in zip(names, given, strict=True) if len(row) < 2]:
        raise DatasetError(f"{where}: images with fewer than two grades have no deviation: {summarize(few)}.")
    return LabelColumns(
        names, mos, [stdev(row) for row in given], "standard deviation (N − 1) of each image's grades"
    )


CLIVE_TRAINING_IMAGES = 7  # t1.bmp … t7.bmp, which subjects were shown to learn the task


def clive_columns(path: Path) -> LabelColumns:
    """Return the lists of LIVE Challenge without the seven training images that they begin with.

    Source: `data_clive.m` in the released code of UNIQUE, which takes rows 8 to 1169.
    """
    files = ("AllImages_release", "AllMOS_release", "AllStdDev_release")
    names, mos, std = (mat5_variables(path.with_name(f"{name}.mat"), name)[0] for name in files)
    if not len(names) == len(mos) == len(std) > CLIVE_TRAINING_IMAGES:
        raise DatasetError(
            f"'{path.parent}': {len(names)} names, {len(mos)} MOS and {len(std)} deviations; the three files "
            f"have to have as many, and more than {CLIVE_TRAINING_IMAGES} training images. Fetch them again."
        )
    kept = slice(CLIVE_TRAINING_IMAGES, None)
    scores, deviations = ([float(value) for value in column[kept]] for column in (mos, std))
    return LabelColumns([str(name) for name in names[kept]], scores, deviations, "AllStdDev_release.mat")


_SPAQ_FILES = ("MOS Std and Image attribute scores.xlsx", "MOS and Image attribute scores.xlsx")
_SPAQ_STD_COLUMNS = ("Std", "STD", "MOS Std", "MOS std", "SD")
# about the mean deviation in spaq_train_score.txt, which Li et al. released: 2 to 30 points on the scale of 0
# to 100
ASSUMED_STD = 14.0


def spaq_columns(path: Path) -> LabelColumns:
    """Return SPAQ's MOS, 0 to 100, with the deviations where a workbook has them.

    The published workbook holds none. Li et al. worked from one that does ("MOS Std and Image attribute
    scores.xlsx" in their `data_spaq.m`). Without them, all images get the same deviation: probabilities are
    then scaled as they are with the true ones on average, and no pair says which of its images is the less
    certain.
    """
    table = _read(path)
    names, mos = _texts(table, "Image name", path), _numbers(table, "MOS", path)
    if column := next((name for name in _SPAQ_STD_COLUMNS if name in table.header), None):
        return LabelColumns(names, mos, _numbers(table, column, path), f"column {column}")
    assumed = f"SPAQ ships none: {ASSUMED_STD:g} of 100 points for each image"
    assumed += ", so that its pairs teach the scores alone"
    return LabelColumns(names, mos, [ASSUMED_STD] * len(mos), assumed)


_KONIQ_FILE = "koniq10k_scores_and_distributions.csv"
IMAGE_SETS = {
    "bid": ImageSetReader(
        "BID: DatabaseGrades.xlsx, ImageDatabase/",
        ("DatabaseGrades.xlsx", "DatabaseGrades.xls"),
        ("ImageDatabase", "."),
        bid_columns,
        20_000,
    ),
    "clive": ImageSetReader(
        "LIVE Challenge: Data/All*_release.mat, Images/",
        ("Data/AllMOS_release.mat", "AllMOS_release.mat"),
        ("Images", "."),
        clive_columns,
        40_000,
    ),
    # `data_koniq10k.m` in the released code of UNIQUE takes the eighth and ninth column, MOS and SD, and not
    # MOS_zscore: the mean of the ratings, 1 to 5, and their deviation
    "koniq": ImageSetReader(
        f"KonIQ-10k: {_KONIQ_FILE}, 1024x768/",
        (_KONIQ_FILE, f"koniq10k_scores_and_distributions/{_KONIQ_FILE}"),
        ("1024x768", "512x384"),
        named_columns("image_name", "MOS", "SD", "column SD"),
        90_000,
    ),
    "spaq": ImageSetReader(
        f"SPAQ: Annotations/{_SPAQ_FILES[1]}, TestImage/",
        tuple(f"{folder}{name}" for name in _SPAQ_FILES for folder in ("Annotations/", "")),
        ("TestImage", "TestImage/TestImage"),
        spaq_columns,
        100_000,
    ),
    # `dmos` runs from 1 to 5 and is higher for better images; versions of one reference are one content. The
    # column `var` holds standard deviations: with 30 ratings of 1 to 5 an image, the first rows (4.57, 0.496)
    # and (4.33, 0.869) give whole sums of squares as deviations (633 and 586), and broken ones as variances.
    # UNIQUE's `data_kadid10k.m` takes its square root
    "kadid": ImageSetReader(
        "KADID-10k: dmos.csv, images/",
        ("dmos.csv",),
        ("images",),
        named_columns(
            "dist_img", "dmos", "var", "column var, which holds standard deviations", content="ref_img"
        ),
    ),
}

_REQUIRED_COLUMNS, _CONTENT_COLUMN = ("image", "mos", "std"), "content"


def _read_own(path: Path, name: str) -> ImageSet:
    """Return the images that a user's CSV lists; paths are relative to its folder."""
    header = read_table(path).header
    missing = [column for column in _REQUIRED_COLUMNS if column not in header]
    unknown = [column for column in header if column not in (*_REQUIRED_COLUMNS, _CONTENT_COLUMN)]
    if missing or unknown:
        problems = [f"no column {' and '.join(missing)}"] if missing else []
        problems += [f"unknown column {', '.join(unknown)}"] if unknown else []
        raise DatasetError(
            f"'{path}': {', '.join(problems)}; your own images have the columns image,mos,std and, if "
            f"needed, content. Where no deviation is known, write one value for all, as a sixth of the scale."
        )
    content = _CONTENT_COLUMN if _CONTENT_COLUMN in header else ""
    columns = named_columns(*_REQUIRED_COLUMNS, "column std", content)(path)
    return _image_set(name, path, path.parent, columns)


def load_image_set(argument: str) -> ImageSet:
    """Read the published image set that `NAME=FOLDER` names, or the user's images of `NAME=FILE.csv`.

    Raises:
        ArgumentError: the argument has no such form.
        UnknownNameError: a folder is given under a name that is no known set's.
        DatasetError: the folder or its label file is not what it should be.
    """
    name, _, text = argument.partition("=")
    if not name or not text:
        raise ArgumentError(
            f"--images {argument} has to be NAME=FOLDER with a known set ({', '.join(IMAGE_SETS)}), "
            f"or NAME=FILE.csv with the columns image,mos,std."
        )
    path = Path(text)
    if path.suffix.lower() == ".csv":
        return _read_own(path, name)
    reader = named("image set", name, IMAGE_SETS)
    if not path.is_dir():
        raise DatasetError(
            f"--images {argument}: '{path}' is no folder; give the folder of '{name}' as it ships."
        )
    return reader.read(name, path)
