"""SPAQ (Fang et al. 2020): a workbook below `Annotations/`, pictures below `TestImage/`."""

from pathlib import Path

from vqafeat.datasets.label_readers import read_workbook
from vqafeat.pretraining.image_sets.base import (
    IMAGE_SETS,
    ImageSet,
    ImageSetReader,
    column_cells,
    column_numbers,
    first_there,
    labelled,
)

_FILES = ("MOS Std and Image attribute scores.xlsx", "MOS and Image attribute scores.xlsx")
_STD_COLUMNS = ("Std", "STD", "MOS Std", "MOS std", "SD")
# about the mean deviation in spaq_train_score.txt, which Li et al. released: 2 to 30 points on the scale of 0 to 100
ASSUMED_STD = 14.0
STD_ASSUMED = f"SPAQ ships none: {ASSUMED_STD:g} of 100 points for each image, so that its pairs teach the scores alone"


def read_spaq(root: Path) -> ImageSet:
    """Return SPAQ with its MOS, 0 to 100.

    The published workbook holds no deviations. Li et al. worked from one that does ("MOS Std and Image attribute scores.xlsx" in their
    `data_spaq.m`); where a workbook has such a column it is read. Without one, all images get the same deviation: probabilities are then
    scaled as they are with the true ones on average, and no pair says which of its images is the less certain.

    Raises:
        DatasetError: the workbook is missing, or lacks a column.
    """
    path = first_there(root, tuple(f"{folder}{name}" for name in _FILES for folder in ("Annotations/", "")), "label file of SPAQ")
    table = read_workbook(path)
    names = [cell for _, cell in column_cells(table, ("Image name",), path)]
    mos = column_numbers(table, ("MOS",), path)
    shipped = next((name for name in _STD_COLUMNS if name in table.header), None)
    std = column_numbers(table, (shipped,), path) if shipped else [ASSUMED_STD] * len(mos)
    folder = first_there(root, ("TestImage", "TestImage/TestImage"), "images of SPAQ")
    return ImageSet("spaq", labelled(folder, names, mos, std), path, f"column {shipped}" if shipped else STD_ASSUMED)


IMAGE_SETS.add("spaq", ImageSetReader(read_spaq, f"SPAQ: Annotations/{_FILES[1]}, TestImage/", pairs=100_000))
