"""KonIQ-10k (Hosu et al. 2020): `koniq10k_scores_and_distributions.csv`, pictures below `1024x768/` or `512x384/`."""

from pathlib import Path

from vqafeat.datasets.label_readers import read_table
from vqafeat.pretraining.image_sets.base import (
    IMAGE_SETS,
    ImageSet,
    ImageSetReader,
    column_cells,
    column_numbers,
    first_there,
    labelled,
)

_LABELS = "koniq10k_scores_and_distributions.csv"
KONIQ_STD_SOURCE = "column SD"


def read_koniq(root: Path) -> ImageSet:
    """Return KonIQ-10k with the mean of its ratings, 1 to 5, and their deviation.

    Source: `data_koniq10k.m` in the released code of UNIQUE, which takes the eighth and ninth column, MOS and SD, and not MOS_zscore.

    Raises:
        DatasetError: the label file is missing, or lacks a column.
    """
    path = first_there(root, (_LABELS, f"koniq10k_scores_and_distributions/{_LABELS}"), "label file of KonIQ-10k")
    table = read_table(path)
    names = [cell for _, cell in column_cells(table, ("image_name",), path)]
    mos, std = column_numbers(table, ("MOS",), path), column_numbers(table, ("SD",), path)
    folder = first_there(root, ("1024x768", "512x384"), "images of KonIQ-10k")
    return ImageSet("koniq", labelled(folder, names, mos, std), path, KONIQ_STD_SOURCE)


IMAGE_SETS.add("koniq", ImageSetReader(read_koniq, f"KonIQ-10k: {_LABELS}, 1024x768/", pairs=90_000))
