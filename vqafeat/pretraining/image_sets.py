"""Sets of labelled images: the published ones as they ship, and a user's CSV."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import inf, isfinite, isnan
from pathlib import Path
from statistics import stdev

from vqafeat.datasets.label_readers import (
    Table,
    column_of,
    label_error,
    mat5_variables,
    parsed_scores,
    read_table,
    read_workbook,
    text_of,
)
from vqafeat.errors import ArgumentError, DatasetError
from vqafeat.io import duplicates, read_toml, summarize
from vqafeat.registry import named
from vqafeat.schema import Texts, parse


@dataclass(frozen=True)
class LabelledImage:
    """An image and its label."""

    name: str
    path: Path
    mos: float  # mean opinion score, higher is better
    std: float  # standard deviation of the opinions, in the unit of the MOS
    content: str  # images of one content are in the same part, training or validation


@dataclass(frozen=True)
class ImageSet:
    """A set of labelled images, in the order of the label file `labels`."""

    name: str
    images: tuple[LabelledImage, ...]
    labels: Path
    std_source: str  # source of the standard deviations, in words

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
            allowed = "finite numbers with a std of at least 0"
            raise DatasetError(
                f"{where}: {len(bad)} labels are not {allowed}: {summarize(bad)}; correct them."
            )

    @property
    def digest(self) -> str:
        """SHA-256 of all names and labels."""
        rows = [(image.name, image.mos, image.std, image.content) for image in self.images]
        return sha256(json.dumps(rows).encode()).hexdigest()


# (image, MOS, std, content or "") of each image, and the source of the standard deviations
Labels = tuple[list[tuple[str, float, float, str]], str]


@dataclass(frozen=True)
class Columns:
    """The columns of a label table."""

    image: str
    mos: str
    std: Texts  # names, of which the first in the table is read
    std_source: str = ""  # source of the standard deviations in words; the column's name by default
    content: str = ""
    # assumed_std, assumed_source: standard deviation of every image if the table has no `std`
    assumed_std: float | None = None
    assumed_source: str = ""


def _read_columns(path: Path, columns: Columns) -> Labels:
    read = {".csv": read_table, ".txt": _read_lists}.get(path.suffix.lower(), read_workbook)
    table = read(path)

    def cells(*names: str) -> list[tuple[int, str]]:
        column = column_of(table, names, path)
        return [(line, row[column]) for line, row in table.rows]

    names = [cell for _, cell in cells(columns.image)]
    contents = [cell for _, cell in cells(columns.content)] if columns.content else [""] * len(names)
    if columns.assumed_std is None or any(name in table.header for name in columns.std):
        stds = parsed_scores(cells(*columns.std), path)
        source = columns.std_source or f"column {table.header[column_of(table, columns.std, path)]}"
    else:
        stds, source = [columns.assumed_std] * len(names), columns.assumed_source
    return list(zip(names, parsed_scores(cells(columns.mos), path), stds, contents, strict=True)), source


def _read_lists(path: Path) -> Table:
    # as `data_spaq.m` in the released code of Li et al. writes them: folder/image, MOS and std, tabs between;
    # a fifth of the images is in the list of the test part
    test = path.with_name(path.name.replace("train_score", "test"))
    if not test.is_file():
        raise label_error(path, f"'{test.name}' is missing next to it; copy both, which share the images")
    rows = list[tuple[int, tuple[str, ...]]]()
    for part in (path, test):
        lines = enumerate(text_of(part).splitlines(), start=1)
        rows += [
            (number, tuple(line.rpartition("/")[2].split("\t"))) for number, line in lines if line.strip()
        ]
    if wrong := [f"line {number} '{cells[0]}'" for number, cells in rows if len(cells) != 3]:
        raise label_error(path, f"image, MOS and std are not in {summarize(wrong)}; fetch both lists again")
    rows.sort(key=lambda row: row[1])  # the order of the data set's own workbook
    return Table(("Image name", "MOS", "Std"), tuple(rows))


def _read_bid(path: Path) -> Labels:
    # as `data_BID.m` in the released code of UNIQUE, which numbers files from the first column and takes
    # `std(grades, 0, 2, 'omitnan')`
    table = read_workbook(path)
    if len(table.header) < 5:
        layout = "the image's number, the mean grade, and from the fourth column on the grades"
        raise label_error(path, f"it has {len(table.header)} columns; BID's has {layout}")
    columns = [index for index in range(len(table.header)) if index != 2]
    cells = [[(line, row[index]) for line, row in table.rows] for index in columns]
    numbers, mos, *grades = (parsed_scores(column, path) for column in cells)
    if wrong := [str(number) for number in numbers if isnan(number) or number != int(number)]:
        raise label_error(path, f"the first column has to number the images, but holds {summarize(wrong)}")
    names = [f"DatabaseImage{int(number):04d}.JPG" for number in numbers]
    given = [[grade for grade in row if not isnan(grade)] for row in zip(*grades, strict=True)]
    if few := [name for name, row in zip(names, given, strict=True) if len(row) < 2]:
        raise label_error(path, f"images need at least two grades for a standard deviation: {summarize(few)}")
    rows = [(name, score, stdev(row), "") for name, score, row in zip(names, mos, given, strict=True)]
    return rows, "standard deviation (N − 1) of each image's grades"


CLIVE_TRAINING_IMAGES = 7  # t1.bmp … t7.bmp, the first of its lists, on which subjects learned the task


def _read_clive(path: Path) -> Labels:
    # as `data_clive.m` in the released code of UNIQUE, which takes rows 8 to 1169
    files = ("AllImages_release", "AllMOS_release", "AllStdDev_release")
    names, mos, std = (mat5_variables(path.with_name(f"{name}.mat"), name)[0] for name in files)
    if not len(names) == len(mos) == len(std) > CLIVE_TRAINING_IMAGES:
        counts = f"{len(names)} names, {len(mos)} MOS and {len(std)} standard deviations"
        allowed = f"as many of each, and more than {CLIVE_TRAINING_IMAGES}"
        raise DatasetError(f"'{path.parent}' has {counts}, but needs {allowed}; fetch the three files again.")
    kept = slice(CLIVE_TRAINING_IMAGES, None)
    columns = zip(names[kept], mos[kept], std[kept], strict=True)
    rows = [(str(name), float(mean), float(spread), "") for name, mean, spread in columns]
    return rows, "AllStdDev_release.mat"


@dataclass(frozen=True)
class PublishedImageSet:
    """A published image set as it ships; image_sets.toml explains the keys."""

    described: str  # title, label file and folder, for lists
    labels: tuple[str, ...]
    folders: tuple[str, ...]
    pairs: int | None = None
    columns: Columns | None = None  # None for a set with a reader in `_READERS`


_FILE = Path(__file__).with_suffix(".toml")
IMAGE_SETS = parse(dict[str, PublishedImageSet], read_toml(_FILE, "image sets"), f"'{_FILE}'")
_READERS = {"bid": _read_bid, "clive": _read_clive}


def load_image_set(argument: str) -> ImageSet:
    """Read the published image set that `NAME=FOLDER` names, or the user's images of `NAME=FILE.csv`."""
    name, _, text = argument.partition("=")
    if not name or not text:
        known = f"NAME=FOLDER with a known set ({', '.join(IMAGE_SETS)})"
        own = "NAME=FILE.csv with the columns image,mos,std"
        raise ArgumentError(f"--images {argument} has to be {known}, or {own}.")
    path = labels = Path(text)
    if path.suffix.lower() == ".csv":
        folder, (rows, std_source) = path.parent, _read_own(path)
    else:
        published = named("image set", name, IMAGE_SETS)
        if not path.is_dir():
            next_step = f"give the folder of '{name}' as it ships"
            raise DatasetError(f"--images {argument} is not a folder; {next_step}.")
        title = published.described.partition(":")[0]
        labels = _first_existing(path, published.labels, f"label file of {title}")
        folder = _first_existing(path, published.folders, f"images of {title}")
        columns = published.columns
        rows, std_source = _read_columns(labels, columns) if columns else _READERS[name](labels)
    images = tuple(
        LabelledImage(image, folder / image, mos, std, content or image) for image, mos, std, content in rows
    )
    return ImageSet(name, images, labels, std_source)


def _first_existing(root: Path, candidates: Sequence[str], what: str) -> Path:
    if existing := [root / candidate for candidate in candidates if (root / candidate).exists()]:
        return existing[0]
    problem = f"'{root}' holds no {what}; looked for {', '.join(candidates)}"
    raise DatasetError(f"{problem}. Give the folder that the set unpacks to.")


def _read_own(path: Path) -> Labels:
    header = read_table(path).header
    if set(header) - {"content"} != {"image", "mos", "std"}:
        problem = f"'{path}' has the columns {','.join(header)}, not image,mos,std and optionally content"
        advice = "If no std is known, write the same for all images, such as a sixth of the scale"
        raise DatasetError(f"{problem}. {advice}.")
    content = "content" if "content" in header else ""
    return _read_columns(path, Columns("image", "mos", ("std",), content=content))
