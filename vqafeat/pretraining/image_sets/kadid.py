"""KADID-10k (Lin et al. 2019): `dmos.csv`, pictures below `images/`."""

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

KADID_STD_SOURCE = "column var, which holds standard deviations"


def read_kadid(root: Path) -> ImageSet:
    """Return KADID-10k: `dmos` runs from 1 to 5 and is higher for better images; versions of one reference image are one content.

    The column `var` holds standard deviations: with 30 ratings of 1 to 5 an image, the first rows (4.57, 0.496) and (4.33, 0.869) give
    whole sums of squares as deviations (633 and 586), and broken ones as variances. UNIQUE's `data_kadid10k.m` takes its square root.

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
