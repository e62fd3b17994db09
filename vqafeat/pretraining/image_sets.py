"""What a set of labelled images is, and what its readers share."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import isfinite, isnan
from pathlib import Path
from statistics import stdev

from vqafeat.datasets.label_readers import Table, column_of, parsed_scores, read_table, read_workbook
from vqafeat.datasets.matlab import mat5_variables
from vqafeat.errors import ArgumentError, DatasetError
from vqafeat.io import duplicates, summarize
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
        DatasetError: there are no images, a name is doubled, a label is not finite, a deviation is negative
            or not finite.
    """

    name: str
    images: tuple[LabelledImage, ...]
    labels: Path
    std_source: str

    def __post_init__(self) -> None:
        if not self.images:
            raise DatasetError(
                f"image set '{self.name}': '{self.labels}' lists no images; give a label file with at least "
                f"two rows."
            )
        if twice := duplicates([image.name for image in self.images]):
            raise DatasetError(
                f"image set '{self.name}': '{self.labels}' lists images twice: {summarize(twice)}; keep one "
                f"row of each."
            )
        self._refuse(
            "labels (MOS)",
            [f"{item.name} ({item.mos})" for item in self.images if not isfinite(item.mos)],
            "finite numbers",
        )
        wrong = [
            f"{item.name} ({item.std})" for item in self.images if not (isfinite(item.std) and item.std >= 0)
        ]
        self._refuse("deviations (std)", wrong, "finite numbers of at least 0")

    @property
    def digest(self) -> str:
        """SHA-256 of all names and labels."""
        rows = [(image.name, image.mos, image.std, image.content) for image in self.images]
        return sha256(json.dumps(rows).encode()).hexdigest()

    def _refuse(self, what: str, wrong: Sequence[str], allowed: str) -> None:
        if wrong:
            raise DatasetError(
                f"image set '{self.name}': {len(wrong)} {what} in '{self.labels}' are not {allowed}: "
                f"{summarize(wrong)}; "
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
    raise DatasetError(
        f"'{root}' holds no {what}; looked for {', '.join(candidates)}. Give the folder that the set "
        f"unpacks to."
    )


def column_cells(table: Table, names: tuple[str, ...], path: Path) -> list[tuple[int, str]]:
    """Return (line, cell) of the first of these columns that a table has."""
    column = column_of(table, names, path)
    return [(line, cells[column]) for line, cells in table.rows]


def column_numbers(table: Table, names: tuple[str, ...], path: Path) -> list[float]:
    """Return the numbers of the first of these columns that a table has; an empty cell is NaN."""
    return parsed_scores(column_cells(table, names, path), path)


def labelled(
    folder: Path,
    names: Iterable[str],
    mos: Iterable[float],
    std: Iterable[float],
    contents: Iterable[str] | None = None,
) -> tuple[LabelledImage, ...]:
    """Return the images of a folder with their labels; without contents, each image is one of its own."""
    listed = list(names)
    grouped = listed if contents is None else list(contents)
    rows = zip(listed, mos, std, grouped, strict=True)
    return tuple(
        LabelledImage(name, folder / name, score, deviation, content)
        for name, score, deviation, content in rows
    )


REQUIRED_COLUMNS = ("image", "mos", "std")
CONTENT_COLUMN = "content"
OWN_STD_SOURCE = "column std"


def read_own(path: Path, name: str) -> ImageSet:
    """Return the images that a CSV lists; paths are relative to its folder.

    Raises:
        DatasetError: a column is missing or unknown, or a label is no number.
    """
    table = read_table(path)
    missing = [column for column in REQUIRED_COLUMNS if column not in table.header]
    unknown = [column for column in table.header if column not in (*REQUIRED_COLUMNS, CONTENT_COLUMN)]
    if missing or unknown:
        said = [f"no column {' and '.join(missing)}"] if missing else []
        said += [f"unknown column {', '.join(unknown)}"] if unknown else []
        raise DatasetError(
            f"'{path}': {', '.join(said)}; images of one's own have the columns image,mos,std and, if "
            f"wanted, content. Where no deviation "
            "is known, write one value for all, as a sixth of the scale."
        )
    names = [cell for _, cell in column_cells(table, ("image",), path)]
    contents = (
        [cell for _, cell in column_cells(table, (CONTENT_COLUMN,), path)]
        if CONTENT_COLUMN in table.header
        else None
    )
    grouped = (
        [content or listed for content, listed in zip(contents, names, strict=True)] if contents else None
    )
    mos, std = column_numbers(table, ("mos",), path), column_numbers(table, ("std",), path)
    return ImageSet(name, labelled(path.parent, names, mos, std, grouped), path, OWN_STD_SOURCE)


def load_image_set(argument: str) -> ImageSet:
    """Read the image set that `NAME=FOLDER` names, or `NAME=FILE.csv` for images of one's own.

    Raises:
        ArgumentError: the argument has no such form.
        UnknownNameError: a folder is given under a name that is no known set's.
        DatasetError: the folder or its label file is not what it should be.
    """
    name, separator, place = argument.partition("=")
    if not separator or not name or not place:
        raise ArgumentError(
            f"--images {argument} has to be NAME=FOLDER with a known set ({', '.join(IMAGE_SETS.names())}), "
            f"or NAME=FILE.csv with the "
            "columns image,mos,std."
        )
    path = Path(place)
    if path.suffix.lower() == ".csv":
        return read_own(path, name)
    reader = IMAGE_SETS.get(name)
    if not path.is_dir():
        raise DatasetError(
            f"--images {argument}: '{path}' is no folder; give the folder of '{name}' as it ships."
        )
    return reader.read(path)


_FEWEST_COLUMNS = 5
BID_STD_SOURCE = "standard deviation (N − 1) of each image's grades"


def read_bid(root: Path) -> ImageSet:
    """Return BID: the mean grade of the workbook, and the deviation over its grades, empty cells left out.

    Source: `data_BID.m` in the released code of UNIQUE, which numbers files from the first column and takes
        `std(grades, 0, 2, 'omitnan')`.

    Raises:
        DatasetError: the workbook is missing or of another layout, or an image has fewer than two grades.
    """
    path = first_there(root, ("DatabaseGrades.xlsx", "DatabaseGrades.xls"), "label file of BID")
    table = read_workbook(path)
    if len(table.header) < _FEWEST_COLUMNS:
        raise DatasetError(
            f"label file '{path}' has {len(table.header)} columns; BID's has the image's number, the mean "
            f"grade, and from the fourth "
            "column on the grades of the subjects."
        )
    columns = [
        parsed_scores(((line, cells[item]) for line, cells in table.rows), path)
        for item in range(len(table.header))
        if item != 2
    ]
    numbers, mos, *grades = columns
    wrong = [str(number) for number in numbers if isnan(number) or number != int(number)]
    if wrong:
        raise DatasetError(
            f"label file '{path}': the first column has to number the images, but holds {summarize(wrong)}."
        )
    given = [[grade for grade in row if not isnan(grade)] for row in zip(*grades, strict=True)]
    names = [f"DatabaseImage{int(number):04d}.JPG" for number in numbers]
    few = [name for name, row in zip(names, given, strict=True) if len(row) < 2]
    if few:
        raise DatasetError(
            f"label file '{path}': images with fewer than two grades have no deviation: {summarize(few)}."
        )
    folder = first_there(root, ("ImageDatabase", "."), "images of BID")
    return ImageSet("bid", labelled(folder, names, mos, [stdev(row) for row in given]), path, BID_STD_SOURCE)


IMAGE_SETS.add("bid", ImageSetReader(read_bid, "BID: DatabaseGrades.xlsx, ImageDatabase/", pairs=20_000))

TRAINING_IMAGES = 7  # t1.bmp … t7.bmp, which subjects were shown to learn the task
CLIVE_STD_SOURCE = "AllStdDev_release.mat"


def read_clive(root: Path) -> ImageSet:
    """Return LIVE Challenge without the seven training images that its lists begin with.

    Source: `data_clive.m` in the released code of UNIQUE, which takes rows 8 to 1169.

    Raises:
        DatasetError: a file is missing or of another layout.
    """
    folder = first_there(root, ("Data", "."), "label files of LIVE Challenge")
    files = ("AllImages_release", "AllMOS_release", "AllStdDev_release")
    names, mos, std = (mat5_variables(folder / f"{name}.mat", name)[0] for name in files)
    if not len(names) == len(mos) == len(std) > TRAINING_IMAGES:
        raise DatasetError(
            f"'{folder}': {len(names)} names, {len(mos)} MOS and {len(std)} deviations; the three files "
            f"have to have as many, "
            f"and more than the {TRAINING_IMAGES} training images. Fetch them again."
        )
    kept = slice(TRAINING_IMAGES, None)
    listed = [str(name) for name in names[kept]]
    scores, deviations = ([float(value) for value in column[kept]] for column in (mos, std))
    images = labelled(
        first_there(root, ("Images", "."), "images of LIVE Challenge"), listed, scores, deviations
    )
    return ImageSet("clive", images, folder / "AllMOS_release.mat", CLIVE_STD_SOURCE)


IMAGE_SETS.add(
    "clive", ImageSetReader(read_clive, "LIVE Challenge: Data/All*_release.mat, Images/", pairs=40_000)
)

_LABELS = "koniq10k_scores_and_distributions.csv"
KONIQ_STD_SOURCE = "column SD"


def read_koniq(root: Path) -> ImageSet:
    """Return KonIQ-10k with the mean of its ratings, 1 to 5, and their deviation.

    Source: `data_koniq10k.m` in the released code of UNIQUE, which takes the eighth and ninth column, MOS and
        SD, and not MOS_zscore.

    Raises:
        DatasetError: the label file is missing, or lacks a column.
    """
    path = first_there(
        root, (_LABELS, f"koniq10k_scores_and_distributions/{_LABELS}"), "label file of KonIQ-10k"
    )
    table = read_table(path)
    names = [cell for _, cell in column_cells(table, ("image_name",), path)]
    mos, std = column_numbers(table, ("MOS",), path), column_numbers(table, ("SD",), path)
    folder = first_there(root, ("1024x768", "512x384"), "images of KonIQ-10k")
    return ImageSet("koniq", labelled(folder, names, mos, std), path, KONIQ_STD_SOURCE)


IMAGE_SETS.add("koniq", ImageSetReader(read_koniq, f"KonIQ-10k: {_LABELS}, 1024x768/", pairs=90_000))

_FILES = ("MOS Std and Image attribute scores.xlsx", "MOS and Image attribute scores.xlsx")
_STD_COLUMNS = ("Std", "STD", "MOS Std", "MOS std", "SD")
# about the mean deviation in spaq_train_score.txt, which Li et al. released: 2 to 30 points on the scale of 0
# to 100
ASSUMED_STD = 14.0
STD_ASSUMED = (
    f"SPAQ ships none: {ASSUMED_STD:g} of 100 points for each image, so that its pairs teach the scores alone"
)


def read_spaq(root: Path) -> ImageSet:
    """Return SPAQ with its MOS, 0 to 100.

    The published workbook holds no deviations. Li et al. worked from one that does ("MOS Std and Image
    attribute scores.xlsx" in their `data_spaq.m`); where a workbook has such a column it is read. Without
    one, all images get the same deviation: probabilities are then scaled as they are with the true ones on
    average, and no pair says which of its images is the less certain.

    Raises:
        DatasetError: the workbook is missing, or lacks a column.
    """
    path = first_there(
        root,
        tuple(f"{folder}{name}" for name in _FILES for folder in ("Annotations/", "")),
        "label file of SPAQ",
    )
    table = read_workbook(path)
    names = [cell for _, cell in column_cells(table, ("Image name",), path)]
    mos = column_numbers(table, ("MOS",), path)
    shipped = next((name for name in _STD_COLUMNS if name in table.header), None)
    std = column_numbers(table, (shipped,), path) if shipped else [ASSUMED_STD] * len(mos)
    folder = first_there(root, ("TestImage", "TestImage/TestImage"), "images of SPAQ")
    return ImageSet(
        "spaq", labelled(folder, names, mos, std), path, f"column {shipped}" if shipped else STD_ASSUMED
    )


IMAGE_SETS.add("spaq", ImageSetReader(read_spaq, f"SPAQ: Annotations/{_FILES[1]}, TestImage/", pairs=100_000))

KADID_STD_SOURCE = "column var, which holds standard deviations"


def read_kadid(root: Path) -> ImageSet:
    """Return KADID-10k: `dmos` runs from 1 to 5 and is higher for better images; versions of one reference
    image are one content.

    The column `var` holds standard deviations: with 30 ratings of 1 to 5 an image, the first rows (4.57,
    0.496) and (4.33, 0.869) give whole sums of squares as deviations (633 and 586), and broken ones as
    variances. UNIQUE's `data_kadid10k.m` takes its square root.

    Raises:
        DatasetError: the label file is missing, or lacks a column.
    """
    path = first_there(root, ("dmos.csv",), "label file of KADID-10k")
    table = read_table(path)
    names = [cell for _, cell in column_cells(table, ("dist_img",), path)]
    references = [cell for _, cell in column_cells(table, ("ref_img",), path)]
    mos, std = column_numbers(table, ("dmos",), path), column_numbers(table, ("var",), path)
    folder = first_there(root, ("images",), "images of KADID-10k")
    return ImageSet("kadid", labelled(folder, names, mos, std, references), path, KADID_STD_SOURCE)


IMAGE_SETS.add("kadid", ImageSetReader(read_kadid, "KADID-10k: dmos.csv, images/"))
