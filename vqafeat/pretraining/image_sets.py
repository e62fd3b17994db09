"""Sets of labelled images: the published ones as they ship, and a user's CSV."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from math import inf, isfinite, isnan
from pathlib import Path
from statistics import stdev

from vqafeat.datasets.label_readers import column_of, label_error, parsed_scores, read_table, read_workbook
from vqafeat.datasets.matlab import mat5_variables
from vqafeat.errors import ArgumentError, DatasetError
from vqafeat.io import duplicates, summarize
from vqafeat.registry import named


@dataclass(frozen=True)
class LabelledImage:
    """One image and its label.

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
    """A set of labelled images; its scores are not compared with those of other sets.

    Attributes:
        labels: the label file, which has the images in the same order.
        std_source: source of the deviations, in words.
    """

    name: str
    images: tuple[LabelledImage, ...]
    labels: Path
    std_source: str

    def __post_init__(self) -> None:
        where = f"image set '{self.name}': '{self.labels}'"
        if not self.images:
            raise DatasetError(f"{where} lists no images; give a label file with at least two rows.")
        if twice := duplicates([image.name for image in self.images]):
            raise DatasetError(f"{where} lists images twice: {summarize(twice)}; keep one row of each.")
        bad = [
            f"{image.name} (MOS {image.mos}, std {image.std})"
            for image in self.images
            if not isfinite(image.mos) or not 0 <= image.std < inf
        ]
        if bad:
            allowed = "finite numbers, with a deviation (std) of at least 0"
            raise DatasetError(
                f"{where}: {len(bad)} labels are not {allowed}: {summarize(bad)}; correct these rows."
            )

    @property
    def digest(self) -> str:
        """SHA-256 of all names and labels."""
        rows = [(image.name, image.mos, image.std, image.content) for image in self.images]
        return sha256(json.dumps(rows).encode()).hexdigest()


# (image, MOS, deviation, content) of each image, "" for an image that is its own content; and where the
# deviations come from
Labels = tuple[list[tuple[str, float, float, str]], str]


def _read_columns(
    path: Path,
    image: str,
    mos: str,
    std: Sequence[str],
    content: str = "",
    std_source: str = "",
    without_std: tuple[float, str] | None = None,
) -> Labels:
    """Return the labels in a table with columns of these names; the first of `std` that it has counts.

    Args:
        std_source: the column's name by default.
        without_std: deviation of every image, and its source, if the table has no column of `std`.
    """
    table = read_table(path) if path.suffix.lower() == ".csv" else read_workbook(path)

    def cells(*names: str) -> list[tuple[int, str]]:
        column = column_of(table, names, path)
        return [(line, row[column]) for line, row in table.rows]

    names = [cell for _, cell in cells(image)]
    contents = [cell for _, cell in cells(content)] if content else [""] * len(names)
    if without_std is None or any(name in table.header for name in std):
        stds = parsed_scores(cells(*std), path)
        source = std_source or f"column {table.header[column_of(table, tuple(std), path)]}"
    else:
        stds, source = [without_std[0]] * len(names), without_std[1]
    return list(zip(names, parsed_scores(cells(mos), path), stds, contents, strict=True)), source


def _read_bid(path: Path) -> Labels:
    """Return the mean grade of BID's workbook, and the deviation over its grades, empty cells left out.

    Source: `data_BID.m` in the released code of UNIQUE, which numbers files from the first column and takes
        `std(grades, 0, 2, 'omitnan')`.
    """
    table = read_workbook(path)
    if len(table.header) < 5:
        layout = (
            "the image's number, the mean grade, and from the fourth column on the grades of the subjects"
        )
        raise label_error(path, f"it has {len(table.header)} columns; BID's has {layout}")
    columns = [index for index in range(len(table.header)) if index != 2]
    numbers, mos, *grades = [
        parsed_scores(((line, cells[index]) for line, cells in table.rows), path) for index in columns
    ]
    if wrong := [str(number) for number in numbers if isnan(number) or number != int(number)]:
        raise label_error(path, f"the first column has to number the images, but holds {summarize(wrong)}")
    names = [f"DatabaseImage{int(number):04d}.JPG" for number in numbers]
    given = [[grade for grade in row if not isnan(grade)] for row in zip(*grades, strict=True)]
    if few := [name for name, row in zip(names, given, strict=True) if len(row) < 2]:
        raise label_error(path, f"images with fewer than two grades have no deviation: {summarize(few)}")
    rows = [(name, score, stdev(row), "") for name, score, row in zip(names, mos, given, strict=True)]
    return rows, "standard deviation (N − 1) of each image's grades"


CLIVE_TRAINING_IMAGES = 7  # t1.bmp … t7.bmp, which subjects were shown to learn the task


def _read_clive(path: Path) -> Labels:
    """Return the labels of LIVE Challenge without the seven training images that its lists begin with.

    Source: `data_clive.m` in the released code of UNIQUE, which takes rows 8 to 1169.
    """
    files = ("AllImages_release", "AllMOS_release", "AllStdDev_release")
    names, mos, std = (mat5_variables(path.with_name(f"{name}.mat"), name)[0] for name in files)
    if not len(names) == len(mos) == len(std) > CLIVE_TRAINING_IMAGES:
        counts = f"{len(names)} names, {len(mos)} MOS and {len(std)} deviations"
        allowed = f"as many of each, and more than {CLIVE_TRAINING_IMAGES}"
        raise DatasetError(f"'{path.parent}' has {counts}, but needs {allowed}; fetch the three files again.")
    kept = slice(CLIVE_TRAINING_IMAGES, None)
    columns = zip(names[kept], mos[kept], std[kept], strict=True)
    rows = [(str(name), float(score), float(deviation), "") for name, score, deviation in columns]
    return rows, "AllStdDev_release.mat"


@dataclass(frozen=True)
class PublishedImageSet:
    """A published image set as it ships.

    Attributes:
        described: title, label file and folder, for lists.
        labels, folders: paths that the label file and the images' folder may have below the set's folder.
        read: returns the labels in a label file.
        pairs: drawn by default (FACTS § 8); None where no paper states a number.
    """

    described: str
    labels: tuple[str, ...]
    folders: tuple[str, ...]
    read: Callable[[Path], Labels]
    pairs: int | None = None


_KONIQ_FILE = "koniq10k_scores_and_distributions.csv"
_SPAQ_FILES = ("MOS Std and Image attribute scores.xlsx", "MOS and Image attribute scores.xlsx")
_SPAQ_STD_COLUMNS = ("Std", "STD", "MOS Std", "MOS std", "SD")
# about the mean deviation in spaq_train_score.txt, which Li et al. released: 2 to 30 points on the scale of 0
# to 100
ASSUMED_STD = 14.0
IMAGE_SETS = {
    "bid": PublishedImageSet(
        "BID: DatabaseGrades.xlsx, ImageDatabase/",
        ("DatabaseGrades.xlsx", "DatabaseGrades.xls"),
        ("ImageDatabase", "."),
        _read_bid,
        20_000,
    ),
    "clive": PublishedImageSet(
        "LIVE Challenge: Data/All*_release.mat, Images/",
        ("Data/AllMOS_release.mat", "AllMOS_release.mat"),
        ("Images", "."),
        _read_clive,
        40_000,
    ),
    # `data_koniq10k.m` in the released code of UNIQUE takes the eighth and ninth column, MOS and SD, and not
    # MOS_zscore: the mean of the ratings, 1 to 5, and their deviation
    "koniq": PublishedImageSet(
        f"KonIQ-10k: {_KONIQ_FILE}, 1024x768/",
        (_KONIQ_FILE, f"koniq10k_scores_and_distributions/{_KONIQ_FILE}"),
        ("1024x768", "512x384"),
        partial(_read_columns, image="image_name", mos="MOS", std=["SD"]),
        90_000,
    ),
    # the published workbook has no deviations; Li et al. worked from one that has ("MOS Std and Image
    # attribute scores.xlsx" in their `data_spaq.m`). One value for all images scales probabilities as the
    # true ones do on average, and no pair says which of its images is the less certain
    "spaq": PublishedImageSet(
        f"SPAQ: Annotations/{_SPAQ_FILES[1]}, TestImage/",
        tuple(f"{folder}{name}" for name in _SPAQ_FILES for folder in ("Annotations/", "")),
        ("TestImage", "TestImage/TestImage"),
        partial(
            _read_columns,
            image="Image name",
            mos="MOS",
            std=_SPAQ_STD_COLUMNS,
            without_std=(
                ASSUMED_STD,
                f"SPAQ ships none: {ASSUMED_STD:g} of 100 points for each image, so that its pairs teach the "
                "scores alone",
            ),
        ),
        100_000,
    ),
    # `dmos` runs from 1 to 5 and is higher for better images; versions of one reference are one content. The
    # column `var` holds standard deviations: with 30 ratings of 1 to 5 an image, the first rows (4.57, 0.496)
    # and (4.33, 0.869) give whole sums of squares as deviations (633 and 586), and broken ones as variances.
    # UNIQUE's `data_kadid10k.m` takes its square root
    "kadid": PublishedImageSet(
        "KADID-10k: dmos.csv, images/",
        ("dmos.csv",),
        ("images",),
        partial(
            _read_columns,
            image="dist_img",
            mos="dmos",
            std=["var"],
            content="ref_img",
            std_source="column var, which holds standard deviations",
        ),
    ),
}

_REQUIRED_COLUMNS, _CONTENT_COLUMN = ("image", "mos", "std"), "content"


def load_image_set(argument: str) -> ImageSet:
    """Read the published image set that `NAME=FOLDER` names, or the user's images of `NAME=FILE.csv`."""
    name, _, text = argument.partition("=")
    if not name or not text:
        raise ArgumentError(
            f"--images {argument} has to be NAME=FOLDER with a known set ({', '.join(IMAGE_SETS)}), "
            f"or NAME=FILE.csv with the columns image,mos,std."
        )
    path = Path(text)
    if path.suffix.lower() == ".csv":
        return _image_set(name, path, path.parent, _read_own(path))
    published = named("image set", name, IMAGE_SETS)
    if not path.is_dir():
        raise DatasetError(f"--images {argument} is no folder; give the folder of '{name}' as it ships.")
    title = published.described.partition(":")[0]
    labels = _first_existing(path, published.labels, f"label file of {title}")
    folder = _first_existing(path, published.folders, f"images of {title}")
    return _image_set(name, labels, folder, published.read(labels))


def _image_set(name: str, path: Path, folder: Path, labels: Labels) -> ImageSet:
    rows, std_source = labels
    images = tuple(
        LabelledImage(image, folder / image, mos, std, content or image) for image, mos, std, content in rows
    )
    return ImageSet(name, images, path, std_source)


def _first_existing(root: Path, candidates: Sequence[str], what: str) -> Path:
    for candidate in candidates:
        if (root / candidate).exists():
            return root / candidate
    paths = ", ".join(candidates)
    problem = f"'{root}' holds no {what}; looked for {paths}"
    raise DatasetError(f"{problem}. Give the folder that the set unpacks to.")


def _read_own(path: Path) -> Labels:
    """Return the labels in a user's CSV."""
    header = read_table(path).header
    if not set(_REQUIRED_COLUMNS) <= set(header) <= {*_REQUIRED_COLUMNS, _CONTENT_COLUMN}:
        raise DatasetError(
            f"'{path}' has the columns {','.join(header)}; your own images have image,mos,std and optionally "
            "content. If no deviation is known, write one value for all, as a sixth of the scale."
        )
    content = _CONTENT_COLUMN if _CONTENT_COLUMN in header else ""
    return _read_columns(path, "image", "mos", ["std"], content)
