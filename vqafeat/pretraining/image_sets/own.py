"""Images of one's own: a CSV with the columns image,mos,std and, if wanted, content."""

from pathlib import Path

from vqafeat.datasets.label_readers import read_table
from vqafeat.errors import DatasetError
from vqafeat.pretraining.image_sets.base import ImageSet, column_cells, column_numbers, labelled

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
            f"'{path}': {', '.join(said)}; images of one's own have the columns image,mos,std and, if wanted, content. Where no deviation "
            "is known, write one value for all, as a sixth of the scale."
        )
    names = [cell for _, cell in column_cells(table, ("image",), path)]
    contents = [cell for _, cell in column_cells(table, (CONTENT_COLUMN,), path)] if CONTENT_COLUMN in table.header else None
    grouped = [content or listed for content, listed in zip(contents, names, strict=True)] if contents else None
    mos, std = column_numbers(table, ("mos",), path), column_numbers(table, ("std",), path)
    return ImageSet(name, labelled(path.parent, names, mos, std, grouped), path, OWN_STD_SOURCE)
