"""BID (Ciancio et al. 2011): `DatabaseGrades.xlsx` with every subject's grade, and DatabaseImage0001.JPG … ."""

from math import isnan
from pathlib import Path
from statistics import stdev

from vqafeat.datasets.dataset import first_few
from vqafeat.datasets.label_readers import parsed_scores, read_workbook
from vqafeat.errors import DatasetError
from vqafeat.pretraining.image_sets.base import IMAGE_SETS, ImageSet, ImageSetReader, first_there, labelled

_FEWEST_COLUMNS = 5
BID_STD_SOURCE = "standard deviation (N − 1) of each image's grades"


def read_bid(root: Path) -> ImageSet:
    """Return BID: the mean grade of the workbook, and the deviation over its grades, empty cells left out.

    Source: `data_BID.m` in the released code of UNIQUE, which numbers files from the first column and takes `std(grades, 0, 2, 'omitnan')`.

    Raises:
        DatasetError: the workbook is missing or of another layout, or an image has fewer than two grades.
    """
    path = first_there(root, ("DatabaseGrades.xlsx", "DatabaseGrades.xls"), "label file of BID")
    table = read_workbook(path)
    if len(table.header) < _FEWEST_COLUMNS:
        raise DatasetError(
            f"label file '{path}' has {len(table.header)} columns; BID's has the image's number, the mean grade, and from the fourth "
            "column on the grades of the subjects."
        )
    columns = [parsed_scores(((line, cells[item]) for line, cells in table.rows), path) for item in range(len(table.header)) if item != 2]
    numbers, mos, *grades = columns
    wrong = [str(number) for number in numbers if isnan(number) or number != int(number)]
    if wrong:
        raise DatasetError(f"label file '{path}': the first column has to number the images, but holds {first_few(wrong)}.")
    given = [[grade for grade in row if not isnan(grade)] for row in zip(*grades, strict=True)]
    names = [f"DatabaseImage{int(number):04d}.JPG" for number in numbers]
    few = [name for name, row in zip(names, given, strict=True) if len(row) < 2]
    if few:
        raise DatasetError(f"label file '{path}': images with fewer than two grades have no deviation: {first_few(few)}.")
    folder = first_there(root, ("ImageDatabase", "."), "images of BID")
    return ImageSet("bid", labelled(folder, names, mos, [stdev(row) for row in given]), path, BID_STD_SOURCE)


IMAGE_SETS.add("bid", ImageSetReader(read_bid, "BID: DatabaseGrades.xlsx, ImageDatabase/", pairs=20_000))
